//! What is true: the logs as they are durably stored, and what clients were promised.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::store::FaultyStore;
use crate::protocol::{ConversationId, LogEvent, Seq, UserId};

#[derive(Default)]
struct Log {
    events: Vec<LogEvent>,
    first_members: Vec<UserId>,
    /// Who came (`true`) or went, and at which seq.
    changes: Vec<(u64, UserId, bool)>,
}

/// See the module.
pub(super) struct Oracle {
    store: Arc<FaultyStore>,
    logs: BTreeMap<ConversationId, Log>,
    /// The seq at which a message was acknowledged.
    acknowledged: BTreeMap<(ConversationId, UserId, String), u64>,
}

impl Oracle {
    pub(super) fn new(store: Arc<FaultyStore>) -> Self {
        Self { store, logs: BTreeMap::new(), acknowledged: BTreeMap::new() }
    }

    pub(super) fn note_conversation(&mut self, conversation: ConversationId, first_members: Vec<UserId>) {
        self.logs.insert(conversation, Log { first_members, ..Log::default() });
    }

    /// The store was rewound: reads the logs again.
    pub(super) fn reload(&mut self) {
        for log in self.logs.values_mut() {
            log.events.clear();
            log.changes.clear();
        }
        let conversations: Vec<_> = self.logs.keys().copied().collect();
        conversations.into_iter().for_each(|conversation| self.refresh(conversation));
    }

    /// The store said that it was rewound: what was promised of the part that was lost is void.
    pub(super) fn forgive_what_was_lost(&mut self) {
        let logs = &self.logs;
        self.acknowledged.retain(|(conversation, user, client_message_id), seq| {
            logs[conversation].events.get(*seq as usize - 1).is_some_and(|event| is_message(event, user, client_message_id))
        });
    }

    fn refresh(&mut self, conversation: ConversationId) {
        let log = self.logs.get_mut(&conversation).expect("a conversation of this simulation");
        let known = Seq::new(log.events.len() as u64).expect("small");
        for event in self.store.synced_after(conversation, known) {
            assert_eq!(event.seq().get(), log.events.len() as u64 + 1, "the log is dense");
            match &event {
                LogEvent::MessageCreated(_) => {}
                LogEvent::MemberJoined { seq, user, .. } => log.changes.push((seq.get(), user.clone(), true)),
                LogEvent::MemberLeft { seq, user, .. } => log.changes.push((seq.get(), user.clone(), false)),
            }
            log.events.push(event);
        }
    }

    /// The newest seq that is durable.
    pub(super) fn head(&mut self, conversation: ConversationId) -> u64 {
        self.refresh(conversation);
        self.logs[&conversation].events.len() as u64
    }

    /// Whether the user is a member after the event at `seq`.
    pub(super) fn is_member(&mut self, conversation: ConversationId, user: &UserId, seq: u64) -> bool {
        self.refresh(conversation);
        let log = &self.logs[&conversation];
        let last = log.changes.iter().rev().find(|(at, who, _)| *at <= seq && who == user);
        last.map_or_else(|| log.first_members.contains(user), |(_, _, came)| *came)
    }

    /// Holds an event as a client got it to the log.
    pub(super) fn check_event(&mut self, conversation: ConversationId, name: &str, payload: &Value) {
        let seq = payload["seq"].as_u64().expect("a log event has a seq");
        self.refresh(conversation);
        let event = self.logs[&conversation].events.get(seq as usize - 1).expect("only what is durable is told");
        assert_eq!(payload["conversationId"], conversation.to_string());
        match event {
            LogEvent::MessageCreated(message) => {
                assert_eq!(name, "message_created");
                assert_eq!(payload["id"], message.id.to_string());
                assert_eq!(payload["senderId"], message.sender.as_str());
                assert_eq!(payload["content"], *message.content);
            }
            LogEvent::MemberJoined { user, .. } => {
                assert_eq!((name, payload["userId"].as_str()), ("member_joined", Some(user.as_str())));
            }
            LogEvent::MemberLeft { user, .. } => {
                assert_eq!((name, payload["userId"].as_str()), ("member_left", Some(user.as_str())));
            }
        }
    }

    /// A client was told that its message is stored.
    pub(super) fn acknowledge(&mut self, conversation: ConversationId, user: &UserId, client_message_id: &str, reply: &Value) {
        let message = &reply["message"];
        self.check_event(conversation, "message_created", message);
        assert_eq!(message["clientMessageId"], client_message_id);
        let seq = message["seq"].as_u64().expect("a seq");
        let key = (conversation, user.clone(), client_message_id.to_owned());
        if let Some(before) = self.acknowledged.insert(key, seq) {
            assert_eq!(before, seq, "a message is acknowledged at one seq for ever");
            assert_eq!(reply["duplicate"], true);
        }
    }

    pub(super) fn is_acknowledged(&self, conversation: ConversationId, user: &UserId, client_message_id: &str) -> bool {
        self.acknowledged.contains_key(&(conversation, user.clone(), client_message_id.to_owned()))
    }

    /// Each acknowledged message is in the log once, where it was acknowledged.
    pub(super) fn check_acknowledged(&mut self) {
        let conversations: Vec<_> = self.logs.keys().copied().collect();
        conversations.into_iter().for_each(|conversation| self.refresh(conversation));
        for ((conversation, user, client_message_id), seq) in &self.acknowledged {
            let events = &self.logs[conversation].events;
            let found: Vec<_> = events.iter().filter(|event| is_message(event, user, client_message_id)).collect();
            let seqs: Vec<_> = found.iter().map(|event| event.seq().get()).collect();
            assert_eq!(seqs, [*seq], "{user} was told of {client_message_id} at {seq}");
        }
    }
}

fn is_message(event: &LogEvent, user: &UserId, client_message_id: &str) -> bool {
    match event {
        LogEvent::MessageCreated(message) => {
            message.sender == *user && message.client_message_id.as_deref() == Some(client_message_id)
        }
        LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. } => false,
    }
}
