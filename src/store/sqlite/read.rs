//! The reads: the overlay for the tail of a log, the tables for the rest of it and for everything else.
//!
//! A read copies what it needs from the overlay and opens its transaction while it holds the overlay's lock. So it sees a state
//! of the tables in which nothing is missing that the overlay no longer had, and what is in both it takes from the overlay.

use std::sync::{Arc, RwLock};

use hashbrown::HashMap;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::super::{
    ConversationCursor, ConversationPage, ConversationView, MemberRecord, MessagePage, MessageRange, RoomSnapshot, StoreError,
    message_of,
};
use super::overlay::{Overlay, Unfolded};
use super::read_lock;
use super::rows::{self, integer, log_columns};
use super::staged::{Counters, Entry};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, Seq, UnixMillis, UserId};

/// Why a read found nothing.
pub(super) enum Missing {
    /// The contract says no.
    Refused(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl Missing {
    /// What the caller gets to know of it.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => {
                tracing::error!(%error, "cannot read");
                StoreError::Unavailable
            }
        }
    }
}

impl From<rusqlite::Error> for Missing {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

const NOT_FOUND: Missing = Missing::Refused(StoreError::NotFound);

macro_rules! view_columns {
    () => {
        "SELECT c.number, c.id, c.kind, c.title, c.member_count, c.head, c.messages, c.last_message_seq, c.created_at, c.invite,
                m.role, m.read_seq, m.read_messages, m.sent, m.read_sent, m.last_sent_seq
         FROM members m JOIN conversations c ON c.number = m.conversation WHERE "
    };
}

/// A conversation's end as the overlay has it; what it does not have, the tables do.
struct Ending {
    head: Seq,
    messages: u64,
    last_message: Option<Arc<Message>>,
    active_at: Option<UnixMillis>,
}

impl Ending {
    fn of(tail: &Unfolded) -> Self {
        let (head, messages, active_at) = (tail.head, tail.messages, tail.active_at());
        Self { head, messages, last_message: tail.last_message.clone(), active_at }
    }
}

/// What of a user's view is in the overlay.
type Seen = Option<(Ending, Option<Counters>)>;

fn seen(overlay: &Overlay, conversation: ConversationId, user: &UserId) -> Seen {
    let tail = overlay.tail(conversation)?;
    Some((Ending::of(tail), tail.members.get(user).copied()))
}

/// A read-only connection beside the overlay.
pub(super) struct Reader {
    connection: Connection,
    overlay: Arc<RwLock<Overlay>>,
}

impl Reader {
    pub(super) fn new(connection: Connection, overlay: Arc<RwLock<Overlay>>) -> Self {
        Self { connection, overlay }
    }

    /// Copies from the overlay and opens a transaction on the tables as they are at that moment.
    fn snapshot<T>(&self, copy: impl FnOnce(&Overlay) -> T) -> Result<(Snapshot<'_>, T), Missing> {
        let overlay = read_lock(&self.overlay);
        let copied = copy(&overlay);
        let transaction = self.connection.unchecked_transaction()?;
        // A transaction begins with its first look at the file.
        transaction.prepare_cached("SELECT 1 FROM meta LIMIT 1")?.exists([])?;
        drop(overlay);
        Ok((Snapshot { transaction }, copied))
    }

    pub(super) fn view(&self, conversation: ConversationId, user: &UserId) -> Result<ConversationView, Missing> {
        let (snapshot, seen) = self.snapshot(|overlay| seen(overlay, conversation, user))?;
        let sql = concat!(view_columns!(), "c.id = ?1 AND m.user = ?2");
        let mut find = snapshot.transaction.prepare_cached(sql)?;
        let mut found = find.query(params![conversation.as_bytes(), user.as_str()])?;
        let row = found.next()?.ok_or(NOT_FOUND)?;
        snapshot.view_of(row, user, seen)
    }

    pub(super) fn page(
        &self,
        user: &UserId,
        cursor: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<ConversationPage, Missing> {
        // Which conversations to copy must be known before. One that comes in between began after this read did.
        let mut list = self
            .connection
            .prepare_cached("SELECT c.id FROM members m JOIN conversations c ON c.number = m.conversation WHERE m.user = ?1")?;
        let ids = list.query_map([user.as_str()], |row| rows::conversation_id(row, 0))?;
        let ids: Vec<ConversationId> = ids.collect::<rusqlite::Result<_>>()?;
        let copy = |overlay: &Overlay| -> HashMap<_, _> { ids.iter().map(|id| (*id, seen(overlay, *id, user))).collect() };
        let (snapshot, mut seen) = self.snapshot(copy)?;
        let mut cursors = snapshot.cursors(user, &seen)?;
        cursors.retain(|(found, _)| cursor.is_none_or(|cursor| *found < cursor));
        cursors.sort_unstable_by(|a, b| b.cmp(a));
        let more = cursors.len() > limit;
        cursors.truncate(limit);
        let next = cursors.last().map(|(cursor, _)| *cursor).filter(|_| more);
        let sql = concat!(view_columns!(), "m.conversation = ?1 AND m.user = ?2");
        let mut find = snapshot.transaction.prepare_cached(sql)?;
        let mut conversations = Vec::with_capacity(cursors.len());
        for (cursor, number) in cursors {
            let mut found = find.query(params![number, user.as_str()])?;
            let row = found.next()?.ok_or(NOT_FOUND)?;
            conversations.push(snapshot.view_of(row, user, seen.remove(&cursor.conversation).flatten())?);
        }
        Ok(ConversationPage { conversations, next })
    }

    pub(super) fn messages(
        &self,
        conversation: ConversationId,
        user: &UserId,
        range: MessageRange,
        limit: usize,
    ) -> Result<MessagePage, Missing> {
        let one_more = limit.saturating_add(1);
        let message = |entry: &Entry| message_of(&entry.event).cloned();
        let (snapshot, (first, tail)) = self.snapshot(|overlay| {
            let Some(tail) = overlay.tail(conversation) else { return (Seq::MAX, Vec::new()) };
            let messages: Vec<_> = match range {
                MessageRange::Latest => tail.before(Seq::MAX).filter_map(message).take(one_more).collect(),
                MessageRange::Before(seq) => tail.before(seq).filter_map(message).take(one_more).collect(),
                MessageRange::After(seq) => tail.after(seq).filter_map(message).take(one_more).collect(),
            };
            (tail.first(), messages)
        })?;
        let key = (snapshot.number_for(conversation, user)?, conversation);
        let mut messages = match range {
            MessageRange::Latest => snapshot.messages_before(key, first, tail, one_more)?,
            MessageRange::Before(seq) => snapshot.messages_before(key, seq.min(first), tail, one_more)?,
            MessageRange::After(seq) => snapshot.messages_after(key, (seq, first), tail, one_more)?,
        };
        let has_more = messages.len() > limit;
        messages.truncate(limit);
        match range {
            MessageRange::Latest | MessageRange::Before(_) => messages.reverse(),
            MessageRange::After(_) => {}
        }
        Ok(MessagePage { messages, has_more })
    }

    pub(super) fn events(&self, conversation: ConversationId, after: Seq, limit: usize) -> Result<Vec<LogEvent>, Missing> {
        let (snapshot, (first, tail)) = self.snapshot(|overlay| match overlay.tail(conversation) {
            Some(tail) => (tail.first(), tail.after(after).take(limit).map(|entry| entry.event.clone()).collect()),
            None => (Seq::MAX, Vec::new()),
        })?;
        let mut find = snapshot.transaction.prepare_cached("SELECT number FROM conversations WHERE id = ?1")?;
        let number = find.query_row([conversation.as_bytes()], |row| row.get(0)).optional()?.ok_or(NOT_FOUND)?;
        snapshot.events((number, conversation), (after, first), tail, limit)
    }

    pub(super) fn room(&self, conversation: ConversationId, recent: usize) -> Result<RoomSnapshot, Missing> {
        let (snapshot, tail) = self.snapshot(|overlay| {
            let tail = overlay.tail(conversation)?;
            let mut newest: Vec<_> = tail.before(Seq::MAX).take(recent).map(|entry| entry.event.clone()).collect();
            newest.reverse();
            Some((Ending::of(tail), tail.first(), newest, tail.members.clone()))
        })?;
        let mut find = snapshot.transaction.prepare_cached(
            "SELECT number, kind, title, created_at, invite, head, messages, last_message_seq FROM conversations WHERE id = ?1",
        )?;
        let mut found = find.query([conversation.as_bytes()])?;
        let row = found.next()?.ok_or(NOT_FOUND)?;
        let key = (row.get(0)?, conversation);
        let (ending, first, newest, changed) = match tail {
            Some((ending, first, newest, changed)) => (Some(ending), first, newest, changed),
            None => (None, Seq::MAX, Vec::new(), HashMap::new()),
        };
        let ending = snapshot.ending(key, ending, (rows::seq(row, 5)?, rows::number(row, 6)?, rows::seq(row, 7)?))?;
        let after = Seq::new(ending.head.get().saturating_sub(recent as u64)).unwrap_or(ending.head);
        Ok(RoomSnapshot {
            kind: rows::kind(row, 1)?,
            title: row.get(2)?,
            created_at: rows::time(row, 3)?,
            invite: row.get(4)?,
            members: snapshot.members(key.0, ending.messages, &changed)?,
            recent: snapshot.events(key, (after, first), newest, recent)?,
            head: ending.head,
            last_message: ending.last_message,
        })
    }

    /// Looks at the database for the sake of looking.
    pub(super) fn check(&self) -> Result<(), Missing> {
        self.snapshot(|_| ()).map(drop)
    }
}

/// One consistent state of the tables.
struct Snapshot<'a> {
    transaction: Transaction<'a>,
}

impl Snapshot<'_> {
    /// Every conversation of the user with its activity.
    fn cursors(&self, user: &UserId, seen: &HashMap<ConversationId, Seen>) -> Result<Vec<(ConversationCursor, i64)>, Missing> {
        let mut list = self.transaction.prepare_cached(
            "SELECT c.id, c.active_at, c.number FROM members m JOIN conversations c ON c.number = m.conversation
             WHERE m.user = ?1",
        )?;
        let cursor = |row: &Row<'_>| {
            let conversation = rows::conversation_id(row, 0)?;
            let Some(seen) = seen.get(&conversation) else { return Ok(None) };
            let newer = seen.as_ref().and_then(|(ending, _)| ending.active_at);
            let active_at = newer.map_or_else(|| rows::time(row, 1), Ok)?;
            Ok(Some((ConversationCursor { active_at, conversation }, row.get(2)?)))
        };
        Ok(list.query_map([user.as_str()], cursor)?.filter_map(Result::transpose).collect::<rusqlite::Result<_>>()?)
    }

    fn view_of(&self, row: &Row<'_>, user: &UserId, seen: Seen) -> Result<ConversationView, Missing> {
        let (number, id, kind): (i64, _, _) = (row.get(0)?, rows::conversation_id(row, 1)?, rows::kind(row, 2)?);
        let title = match kind {
            ConversationKind::Group => row.get(3)?,
            ConversationKind::Direct => self.others_name(number, user)?,
        };
        let (ending, counters) = seen.map_or((None, None), |(ending, counters)| (Some(ending), counters));
        let tabled = (rows::seq(row, 5)?, rows::number(row, 6)?, rows::seq(row, 7)?);
        let ending = self.ending((number, id), ending, tabled)?;
        let counters = counters.map_or_else(|| rows::counters_at(row, 11), Ok)?;
        Ok(ConversationView {
            id,
            kind,
            title,
            member_count: rows::number(row, 4)?,
            head: ending.head,
            last_message: ending.last_message,
            read_seq: counters.read_seq,
            unread: counters.unread(ending.messages),
            created_at: rows::time(row, 8)?,
            role: rows::role(row, 10)?,
            invite: row.get(9)?,
        })
    }

    /// The conversation's end: the overlay's, completed from the tables' head, messages and last message.
    fn ending(
        &self,
        key: (i64, ConversationId),
        overlay: Option<Ending>,
        (head, messages, last): (Seq, u64, Seq),
    ) -> Result<Ending, Missing> {
        let mut ending = overlay.unwrap_or(Ending { head, messages, last_message: None, active_at: None });
        if ending.last_message.is_none() {
            ending.last_message = rows::message_at(&self.transaction, key, last)?;
        }
        Ok(ending)
    }

    fn others_name(&self, number: i64, user: &UserId) -> Result<Arc<str>, Missing> {
        let mut find = self.transaction.prepare_cached(
            "SELECT coalesce(u.name, m.user) FROM members m LEFT JOIN users u ON u.id = m.user
             WHERE m.conversation = ?1 AND m.user <> ?2 LIMIT 1",
        )?;
        let name: Option<Arc<str>> = find.query_row(params![number, user.as_str()], |row| row.get(0)).optional()?;
        Ok(name.unwrap_or_else(|| user.shared()))
    }

    /// The conversation's number, for a member.
    fn number_for(&self, conversation: ConversationId, user: &UserId) -> Result<i64, Missing> {
        let sql =
            "SELECT c.number FROM conversations c JOIN members m ON m.conversation = c.number WHERE c.id = ?1 AND m.user = ?2";
        let mut find = self.transaction.prepare_cached(sql)?;
        find.query_row(params![conversation.as_bytes(), user.as_str()], |row| row.get(0)).optional()?.ok_or(NOT_FOUND)
    }

    /// The newest messages, newest first: those of the tail and, before `seq`, those of the table.
    fn messages_before(
        &self,
        key: (i64, ConversationId),
        seq: Seq,
        mut tail: Vec<Arc<Message>>,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, Missing> {
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            " FROM log WHERE conversation = ?1 AND seq > ?2 AND seq < ?3 AND kind = 0 ORDER BY seq DESC LIMIT ?4"
        );
        let tabled = self.list(sql, key, (Seq::ZERO, seq), limit - tail.len())?;
        tail.extend(tabled.iter().filter_map(message_of).cloned());
        Ok(tail)
    }

    /// The oldest messages, oldest first: those of the table between two seqs, and then those of the tail.
    fn messages_after(
        &self,
        key: (i64, ConversationId),
        range: (Seq, Seq),
        tail: Vec<Arc<Message>>,
        limit: usize,
    ) -> Result<Vec<Arc<Message>>, Missing> {
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            " FROM log WHERE conversation = ?1 AND seq > ?2 AND seq < ?3 AND kind = 0 ORDER BY seq LIMIT ?4"
        );
        let tabled = self.list(sql, key, range, limit)?;
        Ok(tabled.iter().filter_map(message_of).cloned().chain(tail).take(limit).collect())
    }

    /// The oldest events, ascending: those of the table between two seqs, and then those of the tail.
    fn events(
        &self,
        key: (i64, ConversationId),
        range: (Seq, Seq),
        tail: Vec<LogEvent>,
        limit: usize,
    ) -> Result<Vec<LogEvent>, Missing> {
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            " FROM log WHERE conversation = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq LIMIT ?4"
        );
        let mut events = self.list(sql, key, range, limit)?;
        events.extend(tail);
        events.truncate(limit);
        Ok(events)
    }

    fn list(
        &self,
        sql: &str,
        (number, conversation): (i64, ConversationId),
        (after, before): (Seq, Seq),
        limit: usize,
    ) -> Result<Vec<LogEvent>, Missing> {
        if limit == 0 || after.next() >= before {
            return Ok(Vec::new());
        }
        let mut list = self.transaction.prepare_cached(sql)?;
        let range = params![number, integer(after.get()), integer(before.get()), integer(limit as u64)];
        let found = list.query_map(range, |row| rows::event(row, conversation))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    fn members(&self, number: i64, messages: u64, changed: &HashMap<UserId, Counters>) -> Result<Vec<MemberRecord>, Missing> {
        let mut list = self.transaction.prepare_cached(
            "SELECT m.user, coalesce(u.name, m.user), m.role, u.last_seen_at, m.read_seq, m.read_messages, m.sent, m.read_sent,
                    m.last_sent_seq
             FROM members m LEFT JOIN users u ON u.id = m.user WHERE m.conversation = ?1 ORDER BY m.join_number",
        )?;
        let member = |row: &Row<'_>| {
            let user = rows::user(row, 0)?;
            let counters = changed.get(&user).map_or_else(|| rows::counters_at(row, 4), |counters| Ok(*counters))?;
            let seen: Option<i64> = row.get(3)?;
            Ok(MemberRecord {
                user,
                name: row.get(1)?,
                role: rows::role(row, 2)?,
                read_seq: counters.read_seq,
                unread: counters.unread(messages),
                last_seen_at: seen.map(|_| rows::time(row, 3)).transpose()?,
            })
        };
        Ok(list.query_map([number], member)?.collect::<rusqlite::Result<_>>()?)
    }
}
