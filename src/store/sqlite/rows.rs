//! How values and log rows are written in the tables.

use std::sync::Arc;

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::staged::{Counters, Staged};
use crate::protocol::{ConversationId, ConversationKind, IdTime, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId};

/// The columns that [`event`] reads, in its order.
macro_rules! log_columns {
    () => {
        "seq, kind, user, name, at, id, content, client_message_id, reply_to"
    };
}
pub(super) use log_columns;

const MESSAGE: i64 = 0;
const MEMBER_JOINED: i64 = 1;
const MEMBER_LEFT: i64 = 2;

/// A column that cannot be what it says: the file was changed by somebody else.
fn corrupt(column: usize, kind: Type) -> rusqlite::Error {
    rusqlite::Error::InvalidColumnType(column, "not a value of its type".into(), kind)
}

/// SQLite's integers are signed. What does not fit, such as a clock gone mad, is cut off.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)?.try_into().map_err(|_| corrupt(column, Type::Integer))
}

pub(super) fn seq(row: &Row<'_>, column: usize) -> rusqlite::Result<Seq> {
    Seq::new(number(row, column)?).map_err(|_| corrupt(column, Type::Integer))
}

pub(super) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<UnixMillis> {
    number(row, column).map(UnixMillis::new)
}

pub(super) fn id_time(row: &Row<'_>, column: usize) -> rusqlite::Result<IdTime> {
    row.get::<_, i64>(column).map(|bits| IdTime::new(bits.cast_unsigned()))
}

/// The bits as they are: they are read back, never compared in SQL.
pub(super) fn id_time_column(time: IdTime) -> i64 {
    time.get().cast_signed()
}

pub(super) fn user(row: &Row<'_>, column: usize) -> rusqlite::Result<UserId> {
    UserId::parse(row.get_ref(column)?.as_str()?).map_err(|_| corrupt(column, Type::Text))
}

pub(super) fn conversation_id(row: &Row<'_>, column: usize) -> rusqlite::Result<ConversationId> {
    row.get(column).map(ConversationId::from_bytes)
}

pub(super) fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<ConversationKind> {
    match row.get(column)? {
        0_i64 => Ok(ConversationKind::Direct),
        1 => Ok(ConversationKind::Group),
        _ => Err(corrupt(column, Type::Integer)),
    }
}

pub(super) fn kind_column(kind: ConversationKind) -> i64 {
    match kind {
        ConversationKind::Direct => 0,
        ConversationKind::Group => 1,
    }
}

pub(super) fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<Role> {
    match row.get(column)? {
        0_i64 => Ok(Role::Owner),
        1 => Ok(Role::Member),
        _ => Err(corrupt(column, Type::Integer)),
    }
}

pub(super) fn role_column(role: Role) -> i64 {
    match role {
        Role::Owner => 0,
        Role::Member => 1,
    }
}

/// Reads a row of [`log_columns`].
pub(super) fn event(row: &Row<'_>, conversation: ConversationId) -> rusqlite::Result<LogEvent> {
    let (seq, user, name, at) = (seq(row, 0)?, user(row, 2)?, Arc::from(row.get_ref(3)?.as_str()?), time(row, 4)?);
    match row.get(1)? {
        MESSAGE => Ok(LogEvent::MessageCreated(Arc::new(Message {
            id: MessageId::from_bytes(row.get(5)?),
            conversation,
            seq,
            sender: user,
            sender_name: name,
            content: row.get_ref(6)?.as_str()?.into(),
            client_message_id: row.get_ref(7)?.as_str_or_null()?.map(Into::into),
            reply_to: row.get::<_, Option<[u8; 16]>>(8)?.map(MessageId::from_bytes),
            created_at: at,
        }))),
        MEMBER_JOINED => Ok(LogEvent::MemberJoined { conversation, seq, user, name, at }),
        MEMBER_LEFT => Ok(LogEvent::MemberLeft { conversation, seq, user, name, at }),
        _ => Err(corrupt(1, Type::Integer)),
    }
}

/// Reads the message at `seq`, if there is one.
pub(super) fn message_at(
    connection: &Connection,
    (number, conversation): (i64, ConversationId),
    seq: Seq,
) -> rusqlite::Result<Option<Arc<Message>>> {
    let sql = concat!("SELECT ", log_columns!(), " FROM log WHERE conversation = ?1 AND seq = ?2");
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row(params![number, integer(seq.get())], |row| event(row, conversation)).optional()?;
    Ok(found.and_then(|event| match event {
        LogEvent::MessageCreated(message) => Some(message),
        LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. } => None,
    }))
}

/// Writes one row of a log. `messages` counts the messages up to it.
pub(super) fn insert_event(connection: &Connection, number: i64, messages: u64, event: &LogEvent) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO log (conversation, seq, kind, messages, user, name, at, id, content, client_message_id, reply_to)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    let seq = integer(event.seq().get());
    let messages = integer(messages);
    let (kind, user, name, at) = match event {
        LogEvent::MessageCreated(message) => {
            return statement
                .execute(params![
                    number,
                    seq,
                    MESSAGE,
                    messages,
                    message.sender.as_str(),
                    message.sender_name,
                    integer(message.created_at.get()),
                    message.id.as_bytes(),
                    message.content,
                    message.client_message_id,
                    message.reply_to.as_ref().map(MessageId::as_bytes),
                ])
                .map(drop);
        }
        LogEvent::MemberJoined { user, name, at, .. } => (MEMBER_JOINED, user, name, at),
        LogEvent::MemberLeft { user, name, at, .. } => (MEMBER_LEFT, user, name, at),
    };
    let none: Option<&[u8]> = None;
    statement
        .execute(params![number, seq, kind, messages, user.as_str(), name, integer(at.get()), none, none, none, none])
        .map(drop)
}

/// Where the tables' log of a conversation ends.
pub(super) fn position(connection: &Connection, id: ConversationId) -> rusqlite::Result<Option<Staged>> {
    let mut find = connection.prepare_cached("SELECT number, head, messages FROM conversations WHERE id = ?1")?;
    find.query_row([id.as_bytes()], |row| Ok(Staged::new(row.get(0)?, seq(row, 1)?, number(row, 2)?))).optional()
}

/// A member's counters in the tables.
pub(super) fn counters(connection: &Connection, conversation: i64, user: &UserId) -> rusqlite::Result<Option<Counters>> {
    let mut find = connection.prepare_cached(
        "SELECT read_seq, read_messages, sent, read_sent, last_sent_seq FROM members WHERE conversation = ?1 AND user = ?2",
    )?;
    find.query_row(params![conversation, user.as_str()], |row| counters_at(row, 0)).optional()
}

/// A member's counters from the columns of that order, beginning with `first`.
pub(super) fn counters_at(row: &Row<'_>, first: usize) -> rusqlite::Result<Counters> {
    Ok(Counters {
        read_seq: seq(row, first)?,
        read_messages: number(row, first + 1)?,
        sent: number(row, first + 2)?,
        read_sent: number(row, first + 3)?,
        last_sent_seq: seq(row, first + 4)?,
    })
}
