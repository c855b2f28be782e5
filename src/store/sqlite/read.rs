//! The reads, each in one transaction of a read-only connection.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::super::{
    ConversationCursor, ConversationPage, ConversationView, MemberRecord, MessagePage, MessageRange, RoomSnapshot, StoreError,
    message_of,
};
use super::rows::{self, integer, log_columns};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, Seq, UserId};

/// Why a read found nothing.
pub(super) enum Missing {
    /// The contract says no.
    Refused(StoreError),
    /// SQLite failed.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Missing {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

const NOT_FOUND: Missing = Missing::Refused(StoreError::NotFound);

/// A read-only connection.
pub(super) struct Reader {
    connection: Connection,
}

impl Reader {
    pub(super) fn new(connection: Connection) -> Self {
        Self { connection }
    }

    /// Runs `read` on one consistent state of the database.
    pub(super) fn run<T>(&self, read: impl FnOnce(Snapshot<'_>) -> Result<T, Missing>) -> Result<T, StoreError> {
        let result = self.connection.unchecked_transaction().map_err(Missing::Sqlite).and_then(|transaction| {
            let result = read(Snapshot { connection: &transaction })?;
            transaction.commit()?;
            Ok(result)
        });
        result.map_err(|missing| match missing {
            Missing::Refused(error) => error,
            Missing::Sqlite(error) => {
                tracing::error!(%error, "cannot read");
                StoreError::Unavailable
            }
        })
    }
}

/// One consistent state of the database.
pub(super) struct Snapshot<'a> {
    connection: &'a Connection,
}

macro_rules! view_columns {
    () => {
        "SELECT c.number, c.id, c.kind, c.title, c.member_count, c.head, c.messages, c.last_message_seq, c.created_at, c.invite,
                m.role, m.read_seq, m.read_messages, m.sent, m.read_sent
         FROM members m JOIN conversations c ON c.number = m.conversation WHERE "
    };
}

impl Snapshot<'_> {
    pub(super) fn view(&self, conversation: ConversationId, user: &UserId) -> Result<ConversationView, Missing> {
        let sql = concat!(view_columns!(), "c.id = ?1 AND m.user = ?2");
        let mut find = self.connection.prepare_cached(sql)?;
        let mut found = find.query(params![conversation.as_bytes(), user.as_str()])?;
        let row = found.next()?.ok_or(NOT_FOUND)?;
        self.view_of(row, user)
    }

    pub(super) fn page(
        &self,
        user: &UserId,
        cursor: Option<ConversationCursor>,
        limit: usize,
    ) -> Result<ConversationPage, Missing> {
        let mut cursors = self.cursors(user)?;
        cursors.retain(|(found, _)| cursor.is_none_or(|cursor| *found < cursor));
        cursors.sort_unstable_by(|a, b| b.cmp(a));
        let more = cursors.len() > limit;
        cursors.truncate(limit);
        let next = cursors.last().map(|(cursor, _)| *cursor).filter(|_| more);
        let sql = concat!(view_columns!(), "m.conversation = ?1 AND m.user = ?2");
        let mut find = self.connection.prepare_cached(sql)?;
        let mut conversations = Vec::with_capacity(cursors.len());
        for (_, number) in cursors {
            let mut found = find.query(params![number, user.as_str()])?;
            let row = found.next()?.ok_or(NOT_FOUND)?;
            conversations.push(self.view_of(row, user)?);
        }
        Ok(ConversationPage { conversations, next })
    }

    /// Every conversation of the user with its activity.
    fn cursors(&self, user: &UserId) -> Result<Vec<(ConversationCursor, i64)>, Missing> {
        let mut list = self.connection.prepare_cached(
            "SELECT c.id, c.active_at, c.number FROM members m JOIN conversations c ON c.number = m.conversation
             WHERE m.user = ?1",
        )?;
        let cursor = |row: &Row<'_>| {
            let (conversation, active_at) = (rows::conversation_id(row, 0)?, rows::time(row, 1)?);
            Ok((ConversationCursor { active_at, conversation }, row.get(2)?))
        };
        Ok(list.query_map([user.as_str()], cursor)?.collect::<rusqlite::Result<_>>()?)
    }

    fn view_of(&self, row: &Row<'_>, user: &UserId) -> Result<ConversationView, Missing> {
        let (number, id, kind): (i64, _, _) = (row.get(0)?, rows::conversation_id(row, 1)?, rows::kind(row, 2)?);
        let title = match kind {
            ConversationKind::Group => row.get(3)?,
            ConversationKind::Direct => self.others_name(number, user)?,
        };
        let messages = rows::number(row, 6)?;
        let (read_messages, sent, read_sent) = (rows::number(row, 12)?, rows::number(row, 13)?, rows::number(row, 14)?);
        Ok(ConversationView {
            id,
            kind,
            title,
            member_count: rows::number(row, 4)?,
            head: rows::seq(row, 5)?,
            last_message: rows::message_at(self.connection, (number, id), rows::seq(row, 7)?)?,
            read_seq: rows::seq(row, 11)?,
            unread: (messages - read_messages) - (sent - read_sent),
            created_at: rows::time(row, 8)?,
            role: rows::role(row, 10)?,
            invite: row.get(9)?,
        })
    }

    fn others_name(&self, number: i64, user: &UserId) -> Result<Arc<str>, Missing> {
        let mut find = self.connection.prepare_cached(
            "SELECT coalesce(u.name, m.user) FROM members m LEFT JOIN users u ON u.id = m.user
             WHERE m.conversation = ?1 AND m.user <> ?2 LIMIT 1",
        )?;
        let name: Option<Arc<str>> = find.query_row(params![number, user.as_str()], |row| row.get(0)).optional()?;
        Ok(name.unwrap_or_else(|| user.shared()))
    }

    pub(super) fn messages(
        &self,
        conversation: ConversationId,
        user: &UserId,
        range: MessageRange,
        limit: usize,
    ) -> Result<MessagePage, Missing> {
        let sql =
            "SELECT c.number FROM conversations c JOIN members m ON m.conversation = c.number WHERE c.id = ?1 AND m.user = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let number = find.query_row(params![conversation.as_bytes(), user.as_str()], |row| row.get(0)).optional()?;
        let key = (number.ok_or(NOT_FOUND)?, conversation);
        let one_more = limit.saturating_add(1);
        let (mut messages, backwards) = match range {
            MessageRange::Latest => (self.messages_before(key, Seq::MAX, one_more)?, true),
            MessageRange::Before(seq) => (self.messages_before(key, seq, one_more)?, true),
            MessageRange::After(seq) => (self.messages_after(key, seq, one_more)?, false),
        };
        let has_more = messages.len() > limit;
        messages.truncate(limit);
        if backwards {
            messages.reverse();
        }
        Ok(MessagePage { messages, has_more })
    }

    /// The newest messages before `seq`, newest first.
    fn messages_before(&self, key: (i64, ConversationId), seq: Seq, limit: usize) -> Result<Vec<Arc<Message>>, Missing> {
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            " FROM log WHERE conversation = ?1 AND seq < ?2 AND kind = 0 ORDER BY seq DESC LIMIT ?3"
        );
        Ok(self.list(sql, key, seq, limit)?.iter().filter_map(message_of).cloned().collect())
    }

    /// The oldest messages after `seq`, oldest first.
    fn messages_after(&self, key: (i64, ConversationId), seq: Seq, limit: usize) -> Result<Vec<Arc<Message>>, Missing> {
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            " FROM log WHERE conversation = ?1 AND seq > ?2 AND kind = 0 ORDER BY seq LIMIT ?3"
        );
        Ok(self.list(sql, key, seq, limit)?.iter().filter_map(message_of).cloned().collect())
    }

    pub(super) fn events(&self, conversation: ConversationId, after: Seq, limit: usize) -> Result<Vec<LogEvent>, Missing> {
        let mut find = self.connection.prepare_cached("SELECT number FROM conversations WHERE id = ?1")?;
        let number = find.query_row([conversation.as_bytes()], |row| row.get(0)).optional()?.ok_or(NOT_FOUND)?;
        self.events_after((number, conversation), after, limit)
    }

    fn events_after(&self, key: (i64, ConversationId), after: Seq, limit: usize) -> Result<Vec<LogEvent>, Missing> {
        let sql = concat!("SELECT ", log_columns!(), " FROM log WHERE conversation = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3");
        self.list(sql, key, after, limit)
    }

    fn list(
        &self,
        sql: &str,
        (number, conversation): (i64, ConversationId),
        seq: Seq,
        limit: usize,
    ) -> Result<Vec<LogEvent>, Missing> {
        let mut list = self.connection.prepare_cached(sql)?;
        let limit = integer(limit as u64);
        let found = list.query_map(params![number, integer(seq.get()), limit], |row| rows::event(row, conversation))?;
        Ok(found.collect::<rusqlite::Result<_>>()?)
    }

    pub(super) fn room(&self, conversation: ConversationId, recent: usize) -> Result<RoomSnapshot, Missing> {
        let mut find = self.connection.prepare_cached(
            "SELECT number, kind, title, created_at, invite, head, last_message_seq, messages FROM conversations WHERE id = ?1",
        )?;
        let mut found = find.query([conversation.as_bytes()])?;
        let row = found.next()?.ok_or(NOT_FOUND)?;
        let (number, head, messages) = (row.get(0)?, rows::seq(row, 5)?, rows::number(row, 7)?);
        let after = Seq::new(head.get().saturating_sub(recent as u64)).unwrap_or(head);
        Ok(RoomSnapshot {
            kind: rows::kind(row, 1)?,
            title: row.get(2)?,
            created_at: rows::time(row, 3)?,
            invite: row.get(4)?,
            head,
            last_message: rows::message_at(self.connection, (number, conversation), rows::seq(row, 6)?)?,
            members: self.members(number, messages)?,
            recent: self.events_after((number, conversation), after, recent)?,
        })
    }

    fn members(&self, number: i64, messages: u64) -> Result<Vec<MemberRecord>, Missing> {
        let mut list = self.connection.prepare_cached(
            "SELECT m.user, coalesce(u.name, m.user), m.role, m.read_seq, u.last_seen_at, m.read_messages, m.sent, m.read_sent
             FROM members m LEFT JOIN users u ON u.id = m.user WHERE m.conversation = ?1 ORDER BY m.join_number",
        )?;
        let member = |row: &Row<'_>| {
            let (read_messages, sent, read_sent) = (rows::number(row, 5)?, rows::number(row, 6)?, rows::number(row, 7)?);
            let seen: Option<i64> = row.get(4)?;
            Ok(MemberRecord {
                user: rows::user(row, 0)?,
                name: row.get(1)?,
                role: rows::role(row, 2)?,
                read_seq: rows::seq(row, 3)?,
                unread: (messages - read_messages) - (sent - read_sent),
                last_seen_at: seen.map(|_| rows::time(row, 4)).transpose()?,
            })
        };
        Ok(list.query_map([number], member)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Looks at the database for the sake of looking.
    pub(super) fn check(&self) -> Result<(), Missing> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM meta LIMIT 1")?.query_row([], |_| Ok(()))?)
    }
}
