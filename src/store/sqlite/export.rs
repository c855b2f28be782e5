//! Reads a whole database, row by row, for copying it into another store. Changes nothing in it: what the journal holds is
//! taken from an overlay, as the store's readers do.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::super::transfer::{
    Checksum, ConversationRow, Fingerprint, LogRow, MemberRow, Position, Row, Source, Summing, Totals, UserRow,
};
use super::open::{self, SqliteOpenError};
use super::overlay::Overlay;
use super::rows::{self, integer, log_columns};
use super::staged::Counters;
use super::{Tuning, fold};
use crate::protocol::{ConversationId, Seq};

/// A database that is read in one snapshot, under the lock that keeps servers out.
pub(crate) struct SqliteExport {
    connection: Connection,
    overlay: Overlay,
    epoch: Arc<str>,
    _lock: File,
}

/// A conversation's number in the tables and its id.
type Key = (i64, ConversationId);

/// A page under construction.
struct Page {
    rows: Vec<Row>,
    bytes: usize,
    max_rows: usize,
    max_bytes: usize,
}

impl Page {
    fn has_room(&self) -> bool {
        self.rows.len() < self.max_rows && self.bytes < self.max_bytes
    }

    /// Takes a row and says whether there is room for another.
    fn add(&mut self, row: Row) -> bool {
        self.bytes += row.bytes();
        self.rows.push(row);
        self.has_room()
    }
}

impl SqliteExport {
    /// Opens the database at `path`.
    ///
    /// # Errors
    /// When there is none, a server uses it, or its schema is not this version's.
    pub(crate) fn open(path: &Path) -> Result<Self, SqliteOpenError> {
        let (connection, lock) = open::open_to_read(path, Tuning::default().busy_timeout)?;
        // Ended by closing the connection.
        connection.execute_batch("BEGIN")?;
        let epoch: String = connection.query_row("SELECT value FROM meta WHERE key = 'epoch'", [], |row| row.get(0))?;
        let (overlay, _) = fold::replay(&connection)?;
        Ok(Self { connection, overlay, epoch: epoch.into(), _lock: lock })
    }

    /// The history's name, and how much there is.
    pub(crate) fn source(&self) -> Result<Source, SqliteOpenError> {
        let count = |sql: &str| self.connection.query_row(sql, [], |row| rows::number(row, 0));
        let mut totals = Totals {
            users: count("SELECT count(*) FROM users")?,
            conversations: count("SELECT count(*) FROM conversations")?,
            members: count("SELECT count(*) FROM members")?,
            events: count("SELECT coalesce(sum(head), 0) FROM conversations")?,
            marks: count("SELECT coalesce(sum(read_seq), 0) FROM members")?,
        };
        for (id, tail) in self.overlay.tails() {
            let tabled = rows::position(&self.connection, id)?.ok_or(SqliteOpenError::Journal)?;
            totals.events += tail.head.get() - tabled.head.get();
            for (user, counters) in &tail.members {
                let tabled = rows::counters(&self.connection, tail.number, user)?;
                // Only marks of members are in the overlay.
                let tabled = tabled.ok_or(SqliteOpenError::Journal)?;
                totals.marks += counters.read_seq.get() - tabled.read_seq.get();
            }
        }
        Ok(Source { epoch: Arc::clone(&self.epoch), totals })
    }

    /// The rows behind `position`, at most so many and, but for the last one, so many bytes; and where they end.
    pub(crate) fn page(
        &self,
        mut position: Position,
        max_rows: usize,
        max_bytes: usize,
    ) -> Result<(Vec<Row>, Position), SqliteOpenError> {
        let mut page = Page { rows: Vec::new(), bytes: 0, max_rows, max_bytes };
        while page.has_room() && position != Position::End {
            position = self.advance(position, &mut page)?;
        }
        Ok((page.rows, position))
    }

    /// How many rows there are up to `position`.
    pub(crate) fn rows_until(&self, position: &Position) -> Result<u64, SqliteOpenError> {
        let count =
            |sql: &str, values: &[&dyn rusqlite::ToSql]| self.connection.query_row(sql, values, |row| rows::number(row, 0));
        let users = match position {
            Position::Users(None) => return Ok(0),
            Position::Users(Some(user)) => return Ok(count("SELECT count(*) FROM users WHERE id <= ?1", &[&user.as_str()])?),
            _ => count("SELECT count(*) FROM users", &[])?,
        };
        let (number, of_its_own) = match position {
            Position::Users(_) => return Ok(users),
            Position::Conversations(after) => (after.saturating_add(1), 0),
            Position::Members(number, after) => {
                let sql = "SELECT count(*) FROM members WHERE conversation = ?1 AND join_number <= ?2";
                (*number, 1 + count(sql, &[number, after])?)
            }
            Position::Log(number, after) => {
                let members = count("SELECT count(*) FROM members WHERE conversation = ?1", &[number])?;
                (*number, 1 + members + after.get())
            }
            Position::End => (i64::MAX, 0),
        };
        let before = "SELECT count(*) + coalesce(sum(head), 0) FROM conversations WHERE number < ?1";
        let mut events_and_conversations = count(before, &[&number])?;
        for (id, tail) in self.overlay.tails().filter(|(_, tail)| tail.number < number) {
            let tabled = rows::position(&self.connection, id)?.ok_or(SqliteOpenError::Journal)?;
            events_and_conversations += tail.head.get() - tabled.head.get();
        }
        let members = count("SELECT count(*) FROM members WHERE conversation < ?1", &[&number])?;
        Ok(users + events_and_conversations + members + of_its_own)
    }

    /// One step: fills the page with rows of one kind until it is full or there are no more of them.
    fn advance(&self, position: Position, page: &mut Page) -> Result<Position, SqliteOpenError> {
        Ok(match position {
            Position::Users(after) => {
                let mut last = after.clone();
                let after = after.as_ref().map_or("", |user| user.as_str());
                let ended = self.each_user(after, |user| {
                    last = Some(user.id.clone());
                    page.add(Row::User(user))
                })?;
                if ended { Position::Conversations(i64::MIN) } else { Position::Users(last) }
            }
            Position::Conversations(after) => match self.conversation_after(after)? {
                Some((number, row)) => {
                    page.add(Row::Conversation(row));
                    Position::Members(number, -1)
                }
                None => Position::End,
            },
            Position::Members(number, after) => {
                let (id, mut last) = (self.id_of(number)?, after);
                let ended = self.each_member((number, id), after, |member| {
                    last = integer(member.join_number);
                    page.add(Row::Member(id, member))
                })?;
                if ended { Position::Log(number, Seq::ZERO) } else { Position::Members(number, last) }
            }
            Position::Log(number, after) => {
                let mut last = after;
                let ended = self.each_event((number, self.id_of(number)?), after, |event| {
                    last = event.event.seq();
                    page.add(Row::Event(event))
                })?;
                if ended { Position::Conversations(number) } else { Position::Log(number, last) }
            }
            Position::End => Position::End,
        })
    }

    /// The conversation behind the one of this number, with its own.
    pub(crate) fn conversation_after(&self, number: i64) -> Result<Option<(i64, ConversationRow)>, SqliteOpenError> {
        let sql = "SELECT number, id, kind, title, invite, pair, created_at, active_at, head, messages, last_message_seq,
                          member_count, next_join_number
                   FROM conversations WHERE number > ?1 ORDER BY number LIMIT 1";
        let found = self.connection.prepare_cached(sql)?.query_row([number], |row| self.conversation(row)).optional()?;
        Ok(found)
    }

    fn conversation(&self, row: &SqlRow<'_>) -> rusqlite::Result<(i64, ConversationRow)> {
        let id = rows::conversation_id(row, 1)?;
        let mut conversation = ConversationRow {
            id,
            kind: rows::kind(row, 2)?,
            title: row.get(3)?,
            invite: row.get(4)?,
            pair: row.get(5)?,
            created_at: rows::time(row, 6)?,
            active_at: rows::id_time(row, 7)?,
            head: rows::seq(row, 8)?,
            messages: rows::number(row, 9)?,
            last_message_seq: rows::seq(row, 10)?,
            member_count: rows::number(row, 11)?,
            next_join_number: rows::number(row, 12)?,
        };
        if let Some(tail) = self.overlay.tail(id) {
            (conversation.head, conversation.messages) = (tail.head, tail.messages);
            if let Some(message) = &tail.last_message {
                (conversation.last_message_seq, conversation.active_at) = (message.seq, message.id.time());
            }
        }
        Ok((row.get(0)?, conversation))
    }

    fn id_of(&self, number: i64) -> Result<ConversationId, SqliteOpenError> {
        let mut find = self.connection.prepare_cached("SELECT id FROM conversations WHERE number = ?1")?;
        Ok(find.query_row([number], |row| rows::conversation_id(row, 0))?)
    }

    /// Whether the conversation is here.
    pub(crate) fn has(&self, id: ConversationId) -> Result<bool, SqliteOpenError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM conversations WHERE id = ?1")?.exists([id.as_bytes()])?)
    }

    /// Gives users by id to `take` until it wants no more; says whether these were all.
    fn each_user(&self, after: &str, mut take: impl FnMut(UserRow) -> bool) -> Result<bool, SqliteOpenError> {
        let sql = "SELECT id, name, last_seen_at FROM users WHERE id > ?1 ORDER BY id";
        let mut list = self.connection.prepare_cached(sql)?;
        let mut found = list.query([after])?;
        while let Some(row) = found.next()? {
            let seen: Option<i64> = row.get(2)?;
            let last_seen_at = seen.map(|_| rows::time(row, 2)).transpose()?;
            if !take(UserRow { id: rows::user(row, 0)?, name: row.get(1)?, last_seen_at }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for a conversation's members, in the order of joining.
    fn each_member(&self, key: Key, after: i64, mut take: impl FnMut(MemberRow) -> bool) -> Result<bool, SqliteOpenError> {
        let (number, id) = key;
        let tail = self.overlay.tail(id);
        let mut list = self.connection.prepare_cached(
            "SELECT user, role, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq
             FROM members WHERE conversation = ?1 AND join_number > ?2 ORDER BY join_number",
        )?;
        let mut found = list.query([number, after])?;
        while let Some(row) = found.next()? {
            let (user, role, join_number) = (rows::user(row, 0)?, rows::role(row, 1)?, rows::number(row, 2)?);
            let unfolded = tail.and_then(|tail| tail.members.get(&user)).copied();
            let counters = unfolded.map_or_else(|| rows::counters_at(row, 3), Ok)?;
            let Counters { read_seq, read_messages, sent, read_sent, last_sent_seq } = counters;
            if !take(MemberRow { user, role, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same for a conversation's log.
    fn each_event(&self, key: Key, after: Seq, mut take: impl FnMut(LogRow) -> bool) -> Result<bool, SqliteOpenError> {
        let (number, id) = key;
        let tail = self.overlay.tail(id);
        let tail_first = tail.map_or(Seq::MAX, |tail| tail.first());
        let sql = concat!(
            "SELECT ",
            log_columns!(),
            ", messages FROM log WHERE conversation = ?1 AND seq > ?2 AND seq < ?3 ORDER BY seq"
        );
        let mut list = self.connection.prepare_cached(sql)?;
        let mut found = list.query(params![number, integer(after.get()), integer(tail_first.get())])?;
        while let Some(row) = found.next()? {
            if !take(LogRow { event: rows::event(row, id)?, messages: rows::number(row, 9)? }) {
                return Ok(false);
            }
        }
        for entry in tail.into_iter().flat_map(|tail| tail.after(after)) {
            if !take(LogRow { event: entry.event.clone(), messages: entry.messages }) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The checksums of a conversation that [`Self::conversation_after`] gave.
    pub(crate) fn fingerprint(&self, number: i64, row: &ConversationRow) -> Result<Fingerprint, SqliteOpenError> {
        let (mut conversation, mut members, mut log) = (Summing::new(), Summing::new(), Summing::new());
        conversation.conversation(row);
        self.each_member((number, row.id), -1, |member| {
            members.member(&member);
            true
        })?;
        self.each_event((number, row.id), Seq::ZERO, |event| {
            log.event(&event);
            true
        })?;
        Ok(Fingerprint { conversation: conversation.finish(), members: members.finish(), log: log.finish() })
    }

    /// The checksum of the users of whom something is known.
    pub(crate) fn users_checksum(&self) -> Result<Checksum, SqliteOpenError> {
        let mut users = Summing::new();
        self.each_user("", |user| {
            if user.name.is_some() || user.last_seen_at.is_some() {
                users.user(&user);
            }
            true
        })?;
        Ok(users.finish())
    }
}
