//! One person: a connection, what they are waiting for, and the conversations they are in.

use std::collections::HashMap;
use std::rc::Rc;

/// Where a person's connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// None, and none is wanted yet.
    Away,
    /// One is being opened, which was due at that time.
    Connecting { due: u64 },
    /// `auth` is under way.
    LoggingIn,
    /// Logged in.
    Here,
    /// The server said not to come back.
    Lost,
}

/// How far a person is with a conversation. Each step is asked for once and follows from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Not a member: waits for the conversation, or for its invite code.
    Outside,
    /// Asked to create it, or to be let in by its code.
    Entering,
    /// A member who has not joined on this connection.
    Member,
    /// Asked to join.
    Joining,
    /// Gets live events.
    Joined,
}

/// A person in a conversation.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) conversation: u32,
    pub(crate) slot: u32,
    pub(crate) step: Step,
    /// Newest seq seen, for marking as read.
    pub(crate) newest: u64,
    /// Whether a mark is due already.
    pub(crate) marks: bool,
    /// What was missed and has not been loaded yet: after a seq, up to a head.
    pub(crate) missed: Option<(u64, u64)>,
    /// How far back history has been loaded; 0: nothing was yet.
    pub(crate) oldest: u64,
    /// How many messages they are about to write here: one, unless more is asked for than so many people can type.
    pub(crate) composing: u32,
    /// Since when the server has been told that they type, by when that was due.
    pub(crate) typing_since: Option<u64>,
    /// When they last began to, by when that was due; also when they have stopped.
    pub(crate) typing_began: u64,
    /// The history that the position belongs to.
    pub(crate) epoch: Option<Rc<str>>,
}

/// A request that has no answer yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) asked: Asked,
    pub(crate) sent_at: u64,
}

/// What was asked. `membership` is an index into the person's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Auth,
    Enter {
        membership: u32,
    },
    /// `after`: the position that was to be resumed.
    Join {
        membership: u32,
        after: Option<u64>,
    },
    Message {
        number: u64,
        attempt: u32,
    },
    Typing,
    MarkRead,
    /// Of history, for reading: before a seq.
    Page {
        membership: u32,
        before: u64,
    },
    /// Whether the server is still there, after somebody was shown as typing for too long.
    Probe {
        membership: u32,
    },
    /// Of what was missed: after a seq, up to a head.
    CatchUp {
        membership: u32,
    },
    List,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Person {
    pub(crate) token: String,
    pub(crate) line: Line,
    /// Which of their connections this is; what an older one still says is not heard.
    pub(crate) generation: u32,
    pub(crate) memberships: Vec<Membership>,
    next_request: u64,
    pub(crate) pending: HashMap<u64, Pending>,
    /// Messages that could not be sent or have no answer, by number, with how often they were tried.
    pub(crate) unsent: Vec<(u64, u32)>,
    /// Failed attempts to come back in a row.
    pub(crate) failures: u32,
    /// Since when they are coming back, if they are.
    pub(crate) returning_since: Option<u64>,
    /// Whether to join without `since`, as after a reload of the page.
    pub(crate) forgetful: bool,
    pub(crate) idle_until: u64,
}

impl Person {
    pub(crate) fn new(token: String) -> Self {
        Self {
            token,
            line: Line::Away,
            generation: 0,
            memberships: Vec::new(),
            next_request: 0,
            pending: HashMap::new(),
            unsent: Vec::new(),
            failures: 0,
            returning_since: None,
            forgetful: false,
            idle_until: 0,
        }
    }

    /// Notes that `asked` was sent, and returns its request id.
    pub(crate) fn ask(&mut self, asked: Asked, now: u64) -> u64 {
        self.next_request += 1;
        self.pending.insert(self.next_request, Pending { asked, sent_at: now });
        self.next_request
    }

    /// Whether they are logged in, have joined everything and miss nothing.
    pub(crate) fn is_settled(&self) -> bool {
        self.line == Line::Here
            && self.memberships.iter().all(|membership| membership.step == Step::Joined)
            && self.memberships.iter().all(|membership| membership.missed.is_none())
    }

    /// Their membership of a conversation.
    pub(crate) fn membership_of(&self, conversation: u32) -> Option<&Membership> {
        self.memberships.iter().find(|membership| membership.conversation == conversation)
    }

    /// Its index.
    pub(crate) fn membership_index(&self, conversation: u32) -> Option<u32> {
        self.memberships.iter().position(|membership| membership.conversation == conversation).map(|index| index as u32)
    }
}
