//! The statement that appends messages: one for any number of them in any number of conversations.

use std::sync::Arc;

use hashbrown::HashMap;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::digest::{client_digest, message_digest};
use super::super::{Appended, NewMessage, StoreError, repeat_of};
use super::error::ReadError;
use super::pipeline::Values;
use super::rows::{self, digest_column, id_time_column, integer, period_column};
use crate::protocol::{ConversationId, Message};

/// Appends messages under the locks of their conversations, which it takes. The migration that makes the function tells what it does.
pub(super) const APPEND: &str = "SELECT * FROM append_messages($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

/// What a message is found by when it is sent again in the same phase.
type Key<'a> = (ConversationId, &'a str, &'a str);

/// The messages of a phase, and which of them only repeat another one of it.
pub(super) struct Appends<'a> {
    messages: Vec<&'a NewMessage>,
    /// For each message its index among those that go to the statement.
    leaders: Vec<usize>,
    /// Those that go to the statement.
    sent: Vec<&'a NewMessage>,
}

impl<'a> Appends<'a> {
    pub(super) fn new(messages: Vec<&'a NewMessage>) -> Self {
        let mut first: HashMap<Key<'a>, usize> = HashMap::new();
        let mut sent = Vec::with_capacity(messages.len());
        let mut leaders = Vec::with_capacity(messages.len());
        for message in &messages {
            let next = sent.len();
            let key = message.client_message_id.as_deref().map(|id| (message.conversation, message.sender.as_str(), id));
            let leader = key.map_or(next, |key| *first.entry(key).or_insert(next));
            if leader == next {
                sent.push(*message);
            }
            leaders.push(leader);
        }
        Self { messages, leaders, sent }
    }

    /// The values of [`APPEND`].
    pub(super) fn values(&self) -> Values<'a> {
        let sent = &self.sent;
        let digest = |message: &&NewMessage| {
            let found_by = match &message.client_message_id {
                Some(id) => client_digest(&message.sender, id),
                None => message_digest(message.id),
            };
            digest_column(message.conversation, found_by)
        };
        vec![
            Box::new(sent.iter().map(|message| rows::uuid(message.id.as_bytes())).collect::<Vec<Uuid>>()),
            Box::new(sent.iter().map(|message| rows::uuid(message.conversation.as_bytes())).collect::<Vec<Uuid>>()),
            Box::new(sent.iter().map(|message| message.sender.as_str()).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| &*message.sender_name).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| &*message.content).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| message.client_message_id.as_deref()).collect::<Vec<_>>()),
            Box::new(sent.iter().map(digest).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|m| m.reply_to.map(|id| rows::uuid(id.as_bytes()))).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| integer(message.created_at.get())).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| id_time_column(message.id.time())).collect::<Vec<_>>()),
            Box::new(sent.iter().map(|message| period_column(message.id.time())).collect::<Vec<_>>()),
        ]
    }

    /// What came of each message, from the rows of [`APPEND`].
    pub(super) fn outcomes(&self, rows: &[Row]) -> Result<Vec<Result<Appended, StoreError>>, ReadError> {
        // Whoever is not a member gets no row.
        let mut stored: Vec<Option<Stored>> = self.sent.iter().map(|_| None).collect();
        for row in rows {
            let index = rows::number(row, 0)?.checked_sub(1).and_then(|index| usize::try_from(index).ok());
            let index = index.filter(|index| *index < stored.len()).ok_or(ReadError::Corrupt("place in the batch"))?;
            let new = self.sent[index];
            stored[index] = Some(match rows::message(row, 2, new.conversation)? {
                Some(message) => Stored { is_new: message.id == new.id, message },
                None => Stored { is_new: true, message: Arc::new(new.clone().into_message(rows::seq(row, 1)?)) },
            });
        }
        let outcome = |(place, message): (usize, &&NewMessage)| {
            let leader = self.leaders[place];
            let found = stored[leader].as_ref().ok_or(StoreError::NotFound)?;
            if found.is_new && self.sent[leader].id == message.id {
                return Ok(Appended { message: Arc::clone(&found.message), duplicate: false });
            }
            repeat_of(&found.message, message)
        };
        Ok(self.messages.iter().enumerate().map(outcome).collect())
    }
}

/// The row that the log has for a message.
struct Stored {
    /// Whether it is this very message: stored now, or by an attempt whose answer was lost.
    is_new: bool,
    message: Arc<Message>,
}
