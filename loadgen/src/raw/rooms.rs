//! Who is in which room, and how the rooms come to be: by name for the peers; for Parlor as groups that the first member founds.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::fault::Fault;
use crate::raw::cli::{Dialect, Target};
use crate::raw::dialect::{self, MAX_NAMED_MEMBERS, Position, Step};
use crate::raw::dialogue::{Dialogue, Finished};
use crate::raw::poller::Poller;
use crate::raw::socket::Socket;
use crate::tokens::{self, Token};

/// Descriptors that are not connections.
const OTHER_DESCRIPTORS: u64 = 32;

/// Rooms that exist, with everybody a member and nobody connected.
pub(crate) struct Rooms<'a> {
    target: &'a Target,
    tokens: Vec<Token>,
    conversations: Vec<Conversation>,
}

struct Conversation {
    id: String,
    invite: Option<String>,
}

/// Everybody connected and joined.
pub(crate) struct Entered {
    /// Watches the sockets under their indices.
    pub(crate) poller: Poller,
    /// The connections.
    pub(crate) sockets: Vec<Socket>,
    /// How long that took.
    pub(crate) took: Duration,
}

impl<'a> Rooms<'a> {
    /// Creates the rooms that `target` asks for. The connections used for that are closed again, so that entering is the same for all.
    pub(crate) fn create(target: &'a Target) -> Result<Self, Fault> {
        let connections = target.connections as usize;
        allow_descriptors(connections as u64 + OTHER_DESCRIPTORS)?;
        let tokens = match &target.tokens {
            Some(path) => tokens::load(path, connections)?,
            None => tokens::made_up(connections),
        };
        let mut rooms = Self { target, tokens, conversations: Vec::new() };
        match target.dialect {
            Dialect::Peer | Dialect::Socketio => {
                let named = |room| Conversation { id: format!("room-{room}"), invite: None };
                rooms.conversations = (0..rooms.count()).map(named).collect();
            }
            Dialect::Parlor => {
                rooms.found_groups()?;
                rooms.join_by_invite()?;
            }
        }
        Ok(rooms)
    }

    /// Number of rooms.
    pub(crate) fn count(&self) -> usize {
        self.target.connections.div_ceil(self.target.room_size) as usize
    }

    /// The room of a connection.
    pub(crate) fn room_of(&self, connection: usize) -> usize {
        connection / self.target.room_size as usize
    }

    /// The connections of a room.
    pub(crate) fn connections_of(&self, room: usize) -> std::ops::Range<usize> {
        let size = self.target.room_size as usize;
        room * size..((room + 1) * size).min(self.target.connections as usize)
    }

    /// The room's name on the wire.
    pub(crate) fn conversation_of(&self, connection: usize) -> &str {
        &self.conversations[self.room_of(connection)].id
    }

    /// The name of a connection's user.
    pub(crate) fn user_of(&self, connection: usize) -> &str {
        &self.tokens[connection].user
    }

    /// Connects everybody: upgrade, authentication, joining.
    pub(crate) fn enter(&self) -> Result<Entered, Fault> {
        self.enter_from(&|_| None, &mut |_, _| Ok(()))
    }

    /// Connects everybody; each joins from where it knows the log already, and hands its reply to `joined`.
    pub(crate) fn enter_from<'b>(
        &'b self,
        since: &'b dyn Fn(usize) -> Option<&'b Position>,
        joined: &'b mut Finished<'b>,
    ) -> Result<Entered, Fault> {
        let poller = Poller::new()?;
        let dialect = self.target.dialect;
        let script = |index: usize| {
            let mut steps = dialect::auth(dialect, &self.tokens[index].text);
            steps.push(dialect::join_conversation(dialect, self.conversation_of(index), since(index)));
            steps
        };
        let begin = Instant::now();
        let sockets = self.dialogue(self.tokens.len(), &script, joined).hold(&poller)?;
        Ok(Entered { poller, sockets, took: begin.elapsed() })
    }

    /// The first member of each room founds the group and names as many of the others as fit into one request.
    fn found_groups(&mut self) -> Result<(), Fault> {
        let script = |room: usize| {
            let members = self.connections_of(room);
            let founder = &self.tokens[members.start];
            let named: Vec<&str> =
                self.tokens[members].iter().skip(1).take(MAX_NAMED_MEMBERS).map(|token| token.user.as_str()).collect();
            let mut steps = dialect::auth(self.target.dialect, &founder.text);
            steps.push(dialect::create_group(&format!("load {room}"), &named));
            steps
        };
        let mut conversations: Vec<Option<Conversation>> = (0..self.count()).map(|_| None).collect();
        let mut finished = |room: usize, reply: &[u8]| {
            conversations[room] = Some(parse_group(reply)?);
            Ok(())
        };
        self.hold_and_leave(self.count(), &script, &mut finished)?;
        self.conversations = conversations.into_iter().flatten().collect();
        Ok(())
    }

    /// The others join by the group's code.
    fn join_by_invite(&self) -> Result<(), Fault> {
        let late = |room: usize| self.connections_of(room).skip(1 + MAX_NAMED_MEMBERS);
        let late: Vec<usize> = (0..self.count()).flat_map(late).collect();
        if late.is_empty() {
            return Ok(());
        }
        if self.conversations.iter().any(|conversation| conversation.invite.is_none()) {
            return Err(Fault::new("the reply to create_group has no inviteCode"));
        }
        let script = |position: usize| {
            let index = late[position];
            let invite = self.conversations[self.room_of(index)].invite.as_deref().unwrap_or_default();
            let mut steps = dialect::auth(self.target.dialect, &self.tokens[index].text);
            steps.push(dialect::join_group(invite));
            steps
        };
        self.hold_and_leave(late.len(), &script, &mut |_, _| Ok(()))
    }

    fn hold_and_leave<'b>(
        &'b self,
        count: usize,
        script: &'b dyn Fn(usize) -> Vec<Step>,
        finished: &'b mut Finished<'b>,
    ) -> Result<(), Fault> {
        drop(self.dialogue(count, script, finished).hold(&Poller::new()?)?);
        Ok(())
    }

    fn dialogue<'b>(
        &'b self,
        count: usize,
        script: &'b dyn Fn(usize) -> Vec<Step>,
        finished: &'b mut Finished<'b>,
    ) -> Dialogue<'b> {
        let Target { url: endpoint, dialect, connecting, .. } = self.target;
        Dialogue { endpoint, dialect: *dialect, count, connecting: *connecting as usize, script, finished }
    }
}

fn parse_group(reply: &[u8]) -> Result<Conversation, Fault> {
    let reply = String::from_utf8_lossy(reply);
    let conversation = reply.split_once(r#""conversation":{"#).map(|(_, conversation)| conversation);
    let id = conversation.and_then(|conversation| dialect::quoted_after(conversation, r#""id":""#));
    let id = id.ok_or_else(|| Fault::new(format!("the reply to create_group has no conversation: {reply}")))?;
    Ok(Conversation { id: id.to_owned(), invite: dialect::quoted_after(&reply, r#""inviteCode":""#).map(str::to_owned) })
}

/// Raises the soft limit of open files, which is often far below what may be had.
fn allow_descriptors(wanted: u64) -> Result<(), Fault> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    if limit.maximum.is_some_and(|maximum| maximum < wanted) {
        return Err(Fault::new(format!("{wanted} open files are needed; the hard limit (ulimit -Hn) is lower")));
    }
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: limit.maximum }).map_err(Fault::while_doing("setrlimit"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_read_from_the_reply() {
        let reply = br#"{"type":"create_group","payload":{"conversation":{"id":"0190f0d8","kind":"group"},"inviteCode":"abc"}}"#;
        let group = parse_group(reply).unwrap();
        assert_eq!((group.id.as_str(), group.invite.as_deref()), ("0190f0d8", Some("abc")));
        assert!(parse_group(b"{}").is_err());
    }
}
