//! The statement that appends messages: one for any number of them in any number of conversations.

use std::sync::Arc;

use hashbrown::HashMap;
use tokio_postgres::Row;
use uuid::Uuid;

use super::super::digest::{client_digest, message_digest};
use super::super::{Appended, NewMessage, StoreError, repeat_of};
use super::error::ReadError;
use super::pipeline::Values;
use super::rows::{self, digest_column, id_time_column, integer, log_columns, period_column};
use crate::protocol::{ConversationId, Message};

/// Runs under the locks of all the conversations' rows, taken by a statement before it, so that what it sees of them is what the
/// last holder left. Answers each message of a member: with the row that is in the log already under its client message id or
/// its own id, or else with its new `seq` and nothing. Of somebody who is no member it answers only what is in the log under its
/// own id: an earlier attempt has stored it, before they left.
///
/// In each conversation, `place` numbers the new messages, and the one whose place is `places` is the last. The look-ups in
/// subqueries with a limit or offset stay what they are, whatever the planner thinks of the tables' sizes.
pub(super) const APPEND: &str = concat!(
    "WITH input AS (
         SELECT i.*, c.number, c.head, c.messages, c.active_period, m.is_member, ",
    log_columns!(),
    " FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::bigint[], $8::uuid[], $9::bigint[],
                  $10::bigint[], $11::bigint[])
             WITH ORDINALITY AS i (new_id, conversation, sender, sender_name, new_content, new_client_id, digest, new_reply_to,
                                   sent_at, active_at, period, ord)
         JOIN conversations c ON c.id = i.conversation
         LEFT JOIN LATERAL (SELECT true AS is_member FROM members WHERE conversation = c.number AND \"user\" = i.sender LIMIT 1) m
             ON true
         LEFT JOIN LATERAL (SELECT * FROM log WHERE digest = i.digest OFFSET 0) l
             ON l.conversation = c.number AND l.\"user\" = i.sender AND (l.client_message_id = i.new_client_id OR l.id = i.new_id)
     ), fresh AS (
         SELECT input.*, row_number() OVER place AS place, count(*) OVER (PARTITION BY number) AS places
         FROM input WHERE seq IS NULL AND is_member WINDOW place AS (PARTITION BY number ORDER BY ord)
     ), logged AS (
         INSERT INTO log (conversation, seq, messages, at, digest, kind, id, reply_to, \"user\", name, client_message_id, content)
         SELECT number, head + place, messages + place, sent_at, digest, 0, new_id, new_reply_to, sender, sender_name,
                new_client_id, new_content
         FROM fresh
     ), ended AS (
         UPDATE conversations c
         SET head = f.head + f.places, messages = f.messages + f.places, last_message_seq = f.head + f.places,
             active_at = f.active_at, active_period = CASE WHEN f.active_period = -1 THEN -1 ELSE f.period END
         FROM fresh f WHERE f.place = f.places AND c.number = f.number
     ), counted AS (
         UPDATE members m SET sent = m.sent + s.own, last_sent_seq = s.seq
         FROM (SELECT number, sender, count(*) AS own, max(head + place) AS seq FROM fresh GROUP BY number, sender) s
         WHERE m.conversation = s.number AND m.\"user\" = s.sender
     ), listed AS (
         UPDATE memberships s SET active_period = n.period
         FROM (
             SELECT m.\"user\", f.active_period, f.number, f.period FROM fresh f JOIN members m ON m.conversation = f.number
             WHERE f.place = f.places AND f.active_period <> -1 AND f.period <> f.active_period OFFSET 0
         ) n
         WHERE s.\"user\" = n.\"user\" AND s.active_period = n.active_period AND s.conversation = n.number
     )
     SELECT ord, head + place, NULL::bigint, NULL::smallint, NULL, NULL, NULL::bigint, NULL::uuid, NULL, NULL, NULL::uuid FROM fresh
     UNION ALL
     SELECT ord, NULL, seq, kind, \"user\", name, at, id, content, client_message_id, reply_to FROM input
     WHERE seq IS NOT NULL AND (is_member OR id = new_id)"
);

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
