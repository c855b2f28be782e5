//! The writes of one commit. Messages, membership events and marks are staged for the journal; conversations, members and users
//! are written to their tables at once.

use std::sync::Arc;

use hashbrown::HashMap;
use hashbrown::hash_map::Entry as Slot;
use rusqlite::{Connection, OptionalExtension, params};

use super::super::digest::client_digest;
use super::super::{
    Appended, Created, InviteHash, Joined, Left, NewConversation, NewMessage, ReadMark, StoreError, StoreLimits, message_of,
    repeat_of,
};
use super::overlay::{ClientIds, Overlay};
use super::rows::{self, integer};
use super::staged::{Counters, Staged};
use crate::protocol::limits::OFF;
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Message, Role, Seq, UnixMillis, UserId};

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

impl Failure {
    /// What the caller gets to know of it.
    pub(super) fn into_store_error(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Sqlite(error) => {
                tracing::error!(%error, "cannot write");
                StoreError::Unavailable
            }
        }
    }
}

/// A row if the user is in more than so many conversations.
pub(super) const LAST_CONVERSATION: &str = "SELECT 1 FROM members WHERE user = ?1 LIMIT 1 OFFSET ?2";

const NOT_FOUND: Failure = Failure::Refused(StoreError::NotFound);

/// What the commit under way adds to the journal.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) conversations: HashMap<ConversationId, Staged>,
    by_client_id: ClientIds,
    /// Whether conversations or members changed in their tables.
    pub(super) changed_members: bool,
}

impl Batch {
    pub(super) fn clear(&mut self) {
        self.conversations.clear();
        self.by_client_id.clear();
        self.changed_members = false;
    }
}

/// The writer's open transaction.
pub(super) struct Transaction<'a> {
    pub(super) connection: &'a Connection,
    /// All that was committed before and is not in the tables.
    pub(super) overlay: &'a Overlay,
    pub(super) batch: &'a mut Batch,
    pub(super) limits: StoreLimits,
}

/// Where the writer looks things up that the batch does not know: the tail first, then the tables.
#[derive(Clone, Copy)]
struct Committed<'a> {
    connection: &'a Connection,
    overlay: &'a Overlay,
}

impl Transaction<'_> {
    pub(super) fn append(&mut self, new: NewMessage) -> Result<Appended, Failure> {
        let (committed, batch) = self.split();
        let staged = committed.stage(&mut batch.conversations, new.conversation)?;
        let mut counters = committed.counters(staged, new.conversation, &new.sender)?;
        let mut digest = None;
        if let Some(client_id) = new.client_message_id.as_deref() {
            let found = client_digest(&new.sender, client_id);
            let key = (&new.sender, client_id);
            if let Some(stored) = batch.by_client_id.find(found, new.conversation, key) {
                return repeat_of(stored, &new).map_err(Failure::Refused);
            }
            if let Some(stored) = committed.by_client_id(staged.number, found, new.conversation, key)? {
                return repeat_of(&stored, &new).map_err(Failure::Refused);
            }
            digest = Some(found);
        }
        let seq = staged.head.next();
        let message = Arc::new(new.into_message(seq));
        (counters.sent, counters.last_sent_seq) = (counters.sent + 1, seq);
        staged.members.insert(message.sender.clone(), Some(counters));
        staged.push(LogEvent::MessageCreated(Arc::clone(&message)), digest);
        if let Some(digest) = digest {
            batch.by_client_id.insert(digest, Arc::clone(&message));
        }
        Ok(Appended { message, duplicate: false })
    }

    pub(super) fn mark_read(&mut self, conversation: ConversationId, user: &UserId, seq: Seq) -> Result<ReadMark, Failure> {
        let (committed, batch) = self.split();
        let staged = committed.stage(&mut batch.conversations, conversation)?;
        let mut counters = committed.counters(staged, conversation, user)?;
        let seq = seq.min(staged.head);
        let moved = seq > counters.read_seq;
        if moved {
            counters.read_sent = committed.sent_up_to(staged, conversation, (user, &counters), seq)?;
            counters.read_messages = committed.messages_up_to(staged, conversation, seq)?;
            counters.read_seq = seq;
            // Marks of one member in one batch meet here, and the journal gets the last.
            staged.members.insert(user.clone(), Some(counters));
        }
        Ok(ReadMark { seq: counters.read_seq, unread: counters.unread(staged.messages), head: staged.head, moved })
    }

    fn split(&mut self) -> (Committed<'_>, &mut Batch) {
        (Committed { connection: self.connection, overlay: self.overlay }, self.batch)
    }

    pub(super) fn create(&mut self, new: &NewConversation) -> Result<Created, Failure> {
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
        for user in &new.members {
            self.check_room_for_one_more(user)?;
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
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, 0, 0, 0, ?8, ?8)",
        )?;
        let kind = rows::kind_column(new.kind);
        let (active_at, count) = (rows::id_time_column(new.id.time()), integer(count as u64));
        insert.execute(params![new.id.as_bytes(), kind, title, new.invite, pair, created_at, active_at, count])?;
        let number = self.connection.last_insert_rowid();
        for (user, join_number) in new.members.iter().zip(0..) {
            let role = match new.kind {
                ConversationKind::Group if *user == new.creator => Role::Owner,
                ConversationKind::Group | ConversationKind::Direct => Role::Member,
            };
            self.insert_member(number, user, role, join_number, (Seq::ZERO, 0))?;
        }
        self.batch.changed_members = true;
        Ok(Created { conversation: new.id, existed: false })
    }

    pub(super) fn join(&mut self, invite: &InviteHash, user: UserId, name: Arc<str>, at: UnixMillis) -> Result<Joined, Failure> {
        let sql = "SELECT id, number, member_count, next_join_number FROM conversations WHERE invite = ?1";
        let found = |row: &rusqlite::Row<'_>| {
            Ok((rows::conversation_id(row, 0)?, row.get(1)?, rows::number(row, 2)?, rows::number(row, 3)?))
        };
        let found = self.connection.prepare_cached(sql)?.query_row([invite], found).optional()?;
        let (conversation, number, count, join_number) = found.ok_or(NOT_FOUND)?;
        if let Some(role) = self.role(number, &user)? {
            return Ok(Joined { conversation, event: None, role });
        }
        if count >= self.limits.max_members as u64 {
            return Err(Failure::Refused(StoreError::MembersFull));
        }
        self.check_room_for_one_more(&user)?;
        let role = if count == 0 { Role::Owner } else { Role::Member };
        let (seq, messages) = self.position(conversation)?;
        self.insert_member(number, &user, role, join_number, (seq.next(), messages))?;
        let sql = "UPDATE conversations SET member_count = member_count + 1, next_join_number = next_join_number + 1
                   WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute([number])?;
        let event = LogEvent::MemberJoined { conversation, seq: seq.next(), user: user.clone(), name, at };
        self.stage_membership(conversation, user, event.clone())?;
        Ok(Joined { conversation, event: Some(event), role })
    }

    pub(super) fn leave(&mut self, conversation: ConversationId, user: UserId, at: UnixMillis) -> Result<Left, Failure> {
        let sql = "SELECT number, kind FROM conversations WHERE id = ?1";
        let found = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, rows::kind(row, 1)?));
        let found = self.connection.prepare_cached(sql)?.query_row([conversation.as_bytes()], found).optional()?;
        let (number, kind) = found.ok_or(NOT_FOUND)?;
        let role = self.role(number, &user)?.ok_or(NOT_FOUND)?;
        match kind {
            ConversationKind::Direct => return Err(Failure::Refused(StoreError::Forbidden)),
            ConversationKind::Group => {}
        }
        let delete = "DELETE FROM members WHERE conversation = ?1 AND user = ?2";
        self.connection.prepare_cached(delete)?.execute(params![number, user.as_str()])?;
        let new_owner = match role {
            Role::Owner => self.promote_longest_standing(number)?,
            Role::Member => None,
        };
        let sql = "UPDATE conversations SET member_count = member_count - 1 WHERE number = ?1";
        self.connection.prepare_cached(sql)?.execute([number])?;
        let (seq, _) = self.position(conversation)?;
        let event = LogEvent::MemberLeft { conversation, seq: seq.next(), name: self.name(&user)?, user: user.clone(), at };
        self.stage_membership(conversation, user, event.clone())?;
        Ok(Left { event, new_owner })
    }

    /// The conversation's head and number of messages now.
    fn position(&mut self, conversation: ConversationId) -> Result<(Seq, u64), Failure> {
        let (committed, batch) = self.split();
        let staged = committed.stage(&mut batch.conversations, conversation)?;
        Ok((staged.head, staged.messages))
    }

    /// Stages a membership event, after everything else of it succeeded: what is staged is not rolled back alone.
    fn stage_membership(&mut self, conversation: ConversationId, user: UserId, event: LogEvent) -> Result<(), Failure> {
        let (committed, batch) = self.split();
        batch.changed_members = true;
        let staged = committed.stage(&mut batch.conversations, conversation)?;
        staged.push(event, None);
        // The member's row says it all, or is gone.
        staged.members.insert(user, None);
        Ok(())
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
             ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at
             WHERE last_seen_at IS NULL OR last_seen_at < excluded.last_seen_at",
        )?;
        for (user, at) in users {
            upsert.execute(params![user.as_str(), integer(at.get())])?;
        }
        Ok(())
    }

    /// Writes for the sake of writing, so that a full or broken disk shows.
    pub(super) fn check(&self) -> Result<(), Failure> {
        self.connection.prepare_cached("REPLACE INTO meta (key, value) VALUES ('checked', '')")?.execute([])?;
        Ok(())
    }

    /// Refuses who is in as many conversations as one may be. Looks for the last that they may have, in the index: with 5,000, that
    /// takes a quarter of a millisecond for somebody who is in all of them, and next to nothing for most.
    fn check_room_for_one_more(&self, user: &UserId) -> Result<(), Failure> {
        let max = self.limits.max_conversations_per_user;
        if max == OFF {
            return Ok(());
        }
        let mut find = self.connection.prepare_cached(LAST_CONVERSATION)?;
        if find.exists(params![user.as_str(), integer(max.saturating_sub(1) as u64)])? {
            return Err(Failure::Refused(StoreError::TooManyConversations));
        }
        Ok(())
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

impl Committed<'_> {
    /// The conversation in the batch; brings it in at its first mention.
    fn stage(self, batch: &mut HashMap<ConversationId, Staged>, id: ConversationId) -> Result<&mut Staged, Failure> {
        match batch.entry(id) {
            Slot::Occupied(staged) => Ok(staged.into_mut()),
            Slot::Vacant(slot) => Ok(slot.insert(self.load(id)?)),
        }
    }

    fn load(self, id: ConversationId) -> Result<Staged, Failure> {
        if let Some(tail) = self.overlay.tail(id) {
            return Ok(Staged::new(tail.number, tail.head, tail.messages));
        }
        rows::position(self.connection, id)?.ok_or(NOT_FOUND)
    }

    /// A member's counters now. The look that tells a member from others.
    fn counters(self, staged: &Staged, conversation: ConversationId, user: &UserId) -> Result<Counters, Failure> {
        match staged.members.get(user) {
            Some(Some(counters)) => return Ok(*counters),
            Some(None) => {}
            None => {
                if let Some(counters) = self.overlay.tail(conversation).and_then(|tail| tail.members.get(user)) {
                    return Ok(*counters);
                }
            }
        }
        rows::counters(self.connection, staged.number, user)?.ok_or(NOT_FOUND)
    }

    /// The committed message with that client message id.
    fn by_client_id(
        self,
        number: i64,
        digest: i64,
        conversation: ConversationId,
        key: (&UserId, &str),
    ) -> Result<Option<Arc<Message>>, Failure> {
        if let Some(stored) = self.overlay.by_client_id(digest, conversation, key) {
            return Ok(Some(Arc::clone(stored)));
        }
        let sql = "SELECT seq FROM client_ids WHERE conversation = ?1 AND digest = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let mut candidates = find.query(params![number, digest])?;
        while let Some(candidate) = candidates.next()? {
            let stored = rows::message_at(self.connection, (number, conversation), rows::seq(candidate, 0)?)?;
            let same = |m: &Message| m.sender == *key.0 && m.client_message_id.as_deref() == Some(key.1);
            if let Some(stored) = stored.filter(|message| same(message)) {
                return Ok(Some(stored));
            }
        }
        Ok(None)
    }

    fn messages_up_to(self, staged: &Staged, conversation: ConversationId, seq: Seq) -> Result<u64, Failure> {
        if let Some(entry) = staged.at(seq).or_else(|| self.overlay.tail(conversation)?.at(seq)) {
            return Ok(entry.messages);
        }
        let sql = "SELECT messages FROM log WHERE conversation = ?1 AND seq = ?2";
        let mut find = self.connection.prepare_cached(sql)?;
        let found = find.query_row(params![staged.number, integer(seq.get())], |row| rows::number(row, 0)).optional()?;
        Ok(found.unwrap_or(0))
    }

    /// How many of the messages up to `seq`, which is past the member's mark, are their own. Mostly `seq` is past all they sent.
    /// Else the shorter side is counted; as marks only move forward, a member's marks together cost one pass over the log.
    fn sent_up_to(
        self,
        staged: &Staged,
        conversation: ConversationId,
        (user, counters): (&UserId, &Counters),
        seq: Seq,
    ) -> Result<u64, Failure> {
        if seq >= counters.last_sent_seq {
            return Ok(counters.sent);
        }
        if seq.get() - counters.read_seq.get() <= counters.last_sent_seq.get() - seq.get() {
            Ok(counters.read_sent + self.own(staged, conversation, user, (counters.read_seq, seq))?)
        } else {
            Ok(counters.sent - self.own(staged, conversation, user, (seq, counters.last_sent_seq))?)
        }
    }

    /// Counts the user's messages after one seq up to another.
    fn own(
        self,
        staged: &Staged,
        conversation: ConversationId,
        user: &UserId,
        (after, up_to): (Seq, Seq),
    ) -> Result<u64, Failure> {
        let tail = self.overlay.tail(conversation);
        let in_tail = tail.into_iter().flat_map(|tail| tail.after(after));
        let in_batch = staged.entries.iter().filter(|entry| entry.event.seq() > after);
        let untabled = in_tail.chain(in_batch).take_while(|entry| entry.event.seq() <= up_to);
        let own = untabled.filter(|entry| message_of(&entry.event).is_some_and(|message| message.sender == *user)).count();
        let sql = "SELECT count(*) FROM log WHERE conversation = ?1 AND seq > ?2 AND seq <= ?3 AND kind = 0 AND user = ?4";
        let mut count = self.connection.prepare_cached(sql)?;
        let range = params![staged.number, integer(after.get()), integer(up_to.get()), user.as_str()];
        Ok(own as u64 + count.query_row(range, |row| rows::number(row, 0))?)
    }
}
