//! The writes, as statements inside the writer's transaction.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::super::{Appended, Created, InviteHash, Joined, Left, NewConversation, NewMessage, ReadMark, StoreError, repeat_of};
use super::rows::{self, integer};
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Role, Seq, UnixMillis, UserId};

/// Why a write did not go through.
#[derive(Debug)]
pub(super) enum Failure {
    /// The contract says no; nothing was written.
    Refused(StoreError),
    /// SQLite failed; something may be half written.
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

const NOT_FOUND: Failure = Failure::Refused(StoreError::NotFound);

/// The writer's open transaction.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a Connection,
    pub(super) max_members: usize,
}

/// A conversation's row as the writer needs it.
struct Row {
    number: i64,
    id: ConversationId,
    kind: ConversationKind,
    head: Seq,
    messages: u64,
    member_count: u64,
    next_join_number: u64,
}

/// A member's counters.
struct Counters {
    read_seq: Seq,
    read_messages: u64,
    sent: u64,
    read_sent: u64,
    last_sent_seq: Seq,
}

macro_rules! conversation_columns {
    () => {
        "SELECT number, id, kind, head, messages, member_count, next_join_number FROM conversations WHERE "
    };
}

fn conversation_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        number: row.get(0)?,
        id: rows::conversation_id(row, 1)?,
        kind: rows::kind(row, 2)?,
        head: rows::seq(row, 3)?,
        messages: rows::number(row, 4)?,
        member_count: rows::number(row, 5)?,
        next_join_number: rows::number(row, 6)?,
    })
}

impl Transaction<'_> {
    pub(super) fn append(&self, new: NewMessage) -> Result<Appended, Failure> {
        let row = self.conversation(new.conversation)?;
        let counters = self.counters(row.number, &new.sender)?;
        let digest = new.client_message_id.as_deref().map(|id| rows::client_digest(&new.sender, id));
        if let Some(digest) = digest
            && let Some(answer) = self.repeat(&row, digest, &new)?
        {
            return answer.map_err(Failure::Refused);
        }
        let seq = row.head.next();
        let sender = new.sender.clone();
        let created_at = integer(new.created_at.get());
        let message = Arc::new(new.into_message(seq));
        rows::insert_event(self.connection, row.number, row.messages + 1, &LogEvent::MessageCreated(Arc::clone(&message)))?;
        if let Some(digest) = digest {
            let sql = "INSERT INTO client_ids (conversation, digest, seq) VALUES (?1, ?2, ?3)";
            self.connection.prepare_cached(sql)?.execute(params![row.number, digest, integer(seq.get())])?;
        }
        let sql = "UPDATE conversations SET head = ?2, messages = messages + 1, last_message_seq = ?2, active_at = ?3
                   WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![row.number, integer(seq.get()), created_at])?;
        let sql = "UPDATE members SET sent = ?3, last_sent_seq = ?4 WHERE conversation = ?1 AND user = ?2";
        self.connection.prepare_cached(sql)?.execute(params![
            row.number,
            sender.as_str(),
            integer(counters.sent + 1),
            integer(seq.get())
        ])?;
        Ok(Appended { message, duplicate: false })
    }

    pub(super) fn mark_read(&self, conversation: ConversationId, user: &UserId, seq: Seq) -> Result<ReadMark, Failure> {
        let row = self.conversation(conversation)?;
        let mut counters = self.counters(row.number, user)?;
        let seq = seq.min(row.head);
        let moved = seq > counters.read_seq;
        if moved {
            counters.read_sent = self.sent_up_to(row.number, user, &counters, seq)?;
            counters.read_seq = seq;
            counters.read_messages = self.messages_up_to(row.number, seq)?;
            let sql =
                "UPDATE members SET read_seq = ?3, read_messages = ?4, read_sent = ?5 WHERE conversation = ?1 AND user = ?2";
            self.connection.prepare_cached(sql)?.execute(params![
                row.number,
                user.as_str(),
                integer(seq.get()),
                integer(counters.read_messages),
                integer(counters.read_sent)
            ])?;
        }
        let unread = (row.messages - counters.read_messages) - (counters.sent - counters.read_sent);
        Ok(ReadMark { seq: counters.read_seq, unread, moved })
    }

    pub(super) fn create(&self, new: &NewConversation) -> Result<Created, Failure> {
        let pair = match (new.kind, &new.members[..]) {
            (ConversationKind::Direct, [a, b]) => Some(format!("{} {}", a.min(b), a.max(b))),
            (ConversationKind::Direct | ConversationKind::Group, _) => None,
        };
        if let Some(pair) = &pair {
            let mut find = self.connection.prepare_cached("SELECT id FROM conversations WHERE pair = ?1")?;
            if let Some(conversation) = find.query_row([pair], |row| rows::conversation_id(row, 0)).optional()? {
                return Ok(Created { conversation, existed: true });
            }
        }
        let title = match new.kind {
            ConversationKind::Direct => "",
            ConversationKind::Group => &new.title,
        };
        let count = new.members.len();
        let created_at = integer(new.created_at.get());
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO conversations (id, kind, title, invite, pair, created_at, active_at, head, messages, last_message_seq,
                                        member_count, next_join_number)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, 0, 0, 0, ?7, ?7)",
        )?;
        let kind = rows::kind_column(new.kind);
        insert.execute(params![new.id.as_bytes(), kind, title, new.invite, pair, created_at, integer(count as u64)])?;
        let number = self.connection.last_insert_rowid();
        for (user, join_number) in new.members.iter().zip(0..) {
            let role = match new.kind {
                ConversationKind::Group if *user == new.creator => Role::Owner,
                ConversationKind::Group | ConversationKind::Direct => Role::Member,
            };
            self.insert_member(number, user, role, join_number, (Seq::ZERO, 0))?;
        }
        Ok(Created { conversation: new.id, existed: false })
    }

    pub(super) fn join(&self, invite: &InviteHash, user: UserId, name: Arc<str>, at: UnixMillis) -> Result<Joined, Failure> {
        let sql = concat!(conversation_columns!(), "invite = ?1");
        let row = self.connection.prepare_cached(sql)?.query_row([invite], conversation_row).optional()?.ok_or(NOT_FOUND)?;
        if let Some(role) = self.role(row.number, &user)? {
            return Ok(Joined { conversation: row.id, event: None, role });
        }
        if row.member_count >= self.max_members as u64 {
            return Err(Failure::Refused(StoreError::MembersFull));
        }
        let role = if row.member_count == 0 { Role::Owner } else { Role::Member };
        let seq = row.head.next();
        let event = LogEvent::MemberJoined { conversation: row.id, seq, user: user.clone(), name, at };
        rows::insert_event(self.connection, row.number, row.messages, &event)?;
        let sql = "UPDATE conversations SET head = ?2, member_count = member_count + 1, next_join_number = next_join_number + 1
                   WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![row.number, integer(seq.get())])?;
        self.insert_member(row.number, &user, role, row.next_join_number, (seq, row.messages))?;
        Ok(Joined { conversation: row.id, event: Some(event), role })
    }

    pub(super) fn leave(&self, conversation: ConversationId, user: UserId, at: UnixMillis) -> Result<Left, Failure> {
        let row = self.conversation(conversation)?;
        let role = self.role(row.number, &user)?.ok_or(NOT_FOUND)?;
        match row.kind {
            ConversationKind::Direct => return Err(Failure::Refused(StoreError::Forbidden)),
            ConversationKind::Group => {}
        }
        let delete = "DELETE FROM members WHERE conversation = ?1 AND user = ?2";
        self.connection.prepare_cached(delete)?.execute(params![row.number, user.as_str()])?;
        let new_owner = match role {
            Role::Owner => self.promote_longest_standing(row.number)?,
            Role::Member => None,
        };
        let seq = row.head.next();
        let name = self.name(&user)?;
        let event = LogEvent::MemberLeft { conversation, seq, user, name, at };
        rows::insert_event(self.connection, row.number, row.messages, &event)?;
        let sql = "UPDATE conversations SET head = ?2, member_count = member_count - 1 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute(params![row.number, integer(seq.get())])?;
        Ok(Left { event, new_owner })
    }

    pub(super) fn put_user(&self, user: &UserId, name: &str) -> Result<(), Failure> {
        // Most logins bring the name that is known already: a look instead of a write.
        let mut known = self.connection.prepare_cached("SELECT 1 FROM users WHERE id = ?1 AND name = ?2")?;
        if !known.exists([user.as_str(), name])? {
            let sql = "INSERT INTO users (id, name) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = excluded.name";
            self.connection.prepare_cached(sql)?.execute([user.as_str(), name])?;
        }
        Ok(())
    }

    pub(super) fn put_last_seen(&self, users: &[(UserId, UnixMillis)]) -> Result<(), Failure> {
        let mut upsert = self.connection.prepare_cached(
            "INSERT INTO users (id, last_seen_at) VALUES (?1, ?2)
             ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at",
        )?;
        for (user, at) in users {
            upsert.execute(params![user.as_str(), integer(at.get())])?;
        }
        Ok(())
    }

    fn conversation(&self, id: ConversationId) -> Result<Row, Failure> {
        let sql = concat!(conversation_columns!(), "id = ?1");
        self.connection.prepare_cached(sql)?.query_row([id.as_bytes()], conversation_row).optional()?.ok_or(NOT_FOUND)
    }

    fn counters(&self, number: i64, user: &UserId) -> Result<Counters, Failure> {
        let sql = "SELECT read_seq, read_messages, sent, read_sent, last_sent_seq FROM members
                   WHERE conversation = ?1 AND user = ?2";
        let counters = |row: &rusqlite::Row<'_>| {
            Ok(Counters {
                read_seq: rows::seq(row, 0)?,
                read_messages: rows::number(row, 1)?,
                sent: rows::number(row, 2)?,
                read_sent: rows::number(row, 3)?,
                last_sent_seq: rows::seq(row, 4)?,
            })
        };
        let mut find = self.connection.prepare_cached(sql)?;
        find.query_row(params![number, user.as_str()], counters).optional()?.ok_or(NOT_FOUND)
    }

    /// The answer to a client message id that is taken.
    fn repeat(&self, row: &Row, digest: i64, new: &NewMessage) -> Result<Option<Result<Appended, StoreError>>, Failure> {
        let sql = "SELECT seq FROM client_ids WHERE conversation = ?1 AND digest = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let mut candidates = find.query(params![row.number, digest])?;
        while let Some(candidate) = candidates.next()? {
            let stored = rows::message_at(self.connection, (row.number, row.id), rows::seq(candidate, 0)?)?;
            let same = |m: &crate::protocol::Message| m.sender == new.sender && m.client_message_id == new.client_message_id;
            if let Some(stored) = stored.filter(|message| same(message)) {
                return Ok(Some(repeat_of(&stored, new)));
            }
        }
        Ok(None)
    }

    fn messages_up_to(&self, number: i64, seq: Seq) -> Result<u64, Failure> {
        let sql = "SELECT messages FROM log WHERE conversation = ?1 AND seq = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let found = find.query_row(params![number, integer(seq.get())], |row| rows::number(row, 0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// How many of the messages up to `seq`, which is past the member's mark, are their own. Mostly `seq` is past all they sent.
    /// Else the shorter side is counted; as marks only move forward, a member's marks together cost one pass over the log.
    fn sent_up_to(&self, number: i64, user: &UserId, counters: &Counters, seq: Seq) -> Result<u64, Failure> {
        if seq >= counters.last_sent_seq {
            return Ok(counters.sent);
        }
        let sql = "SELECT count(*) FROM log WHERE conversation = ?1 AND seq > ?2 AND seq <= ?3 AND kind = 0 AND user = ?4";
        let mut count = self.connection.prepare_cached(sql)?;
        let mut own = |after: Seq, up_to: Seq| {
            let range = params![number, integer(after.get()), integer(up_to.get()), user.as_str()];
            count.query_row(range, |row| rows::number(row, 0))
        };
        if seq.get() - counters.read_seq.get() <= counters.last_sent_seq.get() - seq.get() {
            Ok(counters.read_sent + own(counters.read_seq, seq)?)
        } else {
            Ok(counters.sent - own(seq, counters.last_sent_seq)?)
        }
    }

    fn role(&self, number: i64, user: &UserId) -> Result<Option<Role>, Failure> {
        let mut find = self.connection.prepare_cached("SELECT role FROM members WHERE conversation = ?1 AND user = ?2")?;
        Ok(find.query_row(params![number, user.as_str()], |row| rows::role(row, 0)).optional()?)
    }

    fn name(&self, user: &UserId) -> Result<Arc<str>, Failure> {
        let mut find = self.connection.prepare_cached("SELECT name FROM users WHERE id = ?1")?;
        let name: Option<Option<Arc<str>>> = find.query_row([user.as_str()], |row| row.get(0)).optional()?;
        Ok(name.flatten().unwrap_or_else(|| user.shared()))
    }

    /// Adds a member whose mark is at `read_seq`, up to which the log holds `read_messages` messages.
    fn insert_member(
        &self,
        number: i64,
        user: &UserId,
        role: Role,
        join_number: u64,
        (read_seq, read_messages): (Seq, u64),
    ) -> Result<(), Failure> {
        // What the member sent in an earlier membership lies before the mark and never counts again, so `sent` starts at 0.
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO members (conversation, user, role, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, 0, 0, ?5)",
        )?;
        let (join_number, read_messages) = (integer(join_number), integer(read_messages));
        let role = rows::role_column(role);
        insert.execute(params![number, user.as_str(), role, join_number, integer(read_seq.get()), read_messages])?;
        Ok(())
    }

    fn promote_longest_standing(&self, number: i64) -> Result<Option<UserId>, Failure> {
        let sql = "SELECT user FROM members WHERE conversation = ?1 ORDER BY join_number LIMIT 1";
        let mut find = self.connection.prepare_cached(sql)?;
        let heir = find.query_row([number], |row| rows::user(row, 0)).optional()?;
        if let Some(heir) = &heir {
            let promote = "UPDATE members SET role = ?3 WHERE conversation = ?1 AND user = ?2";
            let owner = rows::role_column(Role::Owner);
            self.connection.prepare_cached(promote)?.execute(params![number, heir.as_str(), owner])?;
        }
        Ok(heir)
    }
}
