//! How values are written in the tables and read back.

use std::sync::Arc;

use tokio_postgres::Row;
use uuid::Uuid;

use super::error::ReadError;
use crate::protocol::{ConversationId, ConversationKind, IdTime, LogEvent, Message, MessageId, Role, Seq, UnixMillis, UserId};

/// The columns that [`event`] reads, in its order.
macro_rules! log_columns {
    () => {
        "l.seq, l.kind, l.\"user\", l.name, l.at, l.id, l.content, l.client_message_id, l.reply_to"
    };
}
pub(super) use log_columns;

pub(super) const MESSAGE: i16 = 0;
pub(super) const MEMBER_JOINED: i16 = 1;
pub(super) const MEMBER_LEFT: i16 = 2;

/// How far [`IdTime`]'s bits are shifted for a period: 2^22 milliseconds, 70 minutes. The longer, the rarer the rows of all members
/// change; the shorter, the fewer conversations share the period in which a page ends.
pub(super) const PERIOD_SHIFT: u32 = 16 + 22;

/// PostgreSQL's integers are signed. What does not fit, such as a clock gone mad, is cut off.
pub(super) fn integer(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// A limit; one that is off is larger than every count.
pub(super) fn limit(value: usize) -> i64 {
    integer(value as u64)
}

pub(super) fn uuid(bytes: &[u8; 16]) -> Uuid {
    Uuid::from_bytes(*bytes)
}

pub(super) fn id_time_column(time: IdTime) -> i64 {
    time.get().cast_signed()
}

/// The period that a time is in.
pub(super) fn period_column(time: IdTime) -> i64 {
    integer(time.get() >> PERIOD_SHIFT)
}

/// What a message is found by in the log: the conversation's share in front, so that its messages are close in the index.
pub(super) fn digest_column(conversation: ConversationId, digest: i64) -> i64 {
    const OWN_BITS: u32 = 40;
    // The end of an id is random.
    let [.., high, middle, low] = *conversation.as_bytes();
    let share = u64::from(u32::from_be_bytes([0, high, middle, low])) << OWN_BITS;
    (share | digest.cast_unsigned() >> (u64::BITS - OWN_BITS)).cast_signed()
}

pub(super) fn kind_column(kind: ConversationKind) -> i16 {
    match kind {
        ConversationKind::Direct => 0,
        ConversationKind::Group => 1,
    }
}

pub(super) fn role_column(role: Role) -> i16 {
    match role {
        Role::Owner => 0,
        Role::Member => 1,
    }
}

pub(super) fn number(row: &Row, column: usize) -> Result<u64, ReadError> {
    u64::try_from(row.try_get::<_, i64>(column)?).map_err(|_| ReadError::Corrupt("count"))
}

pub(super) fn seq(row: &Row, column: usize) -> Result<Seq, ReadError> {
    Seq::new(number(row, column)?).map_err(|_| ReadError::Corrupt("seq"))
}

pub(super) fn time(row: &Row, column: usize) -> Result<UnixMillis, ReadError> {
    number(row, column).map(UnixMillis::new)
}

pub(super) fn id_time(row: &Row, column: usize) -> Result<IdTime, ReadError> {
    Ok(IdTime::new(row.try_get::<_, i64>(column)?.cast_unsigned()))
}

pub(super) fn user(row: &Row, column: usize) -> Result<UserId, ReadError> {
    UserId::parse(row.try_get(column)?).map_err(|_| ReadError::Corrupt("user id"))
}

pub(super) fn text(row: &Row, column: usize) -> Result<Arc<str>, ReadError> {
    Ok(Arc::from(row.try_get::<_, &str>(column)?))
}

pub(super) fn conversation_id(row: &Row, column: usize) -> Result<ConversationId, ReadError> {
    Ok(ConversationId::from_bytes(row.try_get::<_, Uuid>(column)?.into_bytes()))
}

pub(super) fn invite(row: &Row, column: usize) -> Result<Option<super::super::InviteHash>, ReadError> {
    let bytes: Option<&[u8]> = row.try_get(column)?;
    bytes.map(|bytes| bytes.try_into().map_err(|_| ReadError::Corrupt("invite hash"))).transpose()
}

pub(super) fn kind(row: &Row, column: usize) -> Result<ConversationKind, ReadError> {
    match row.try_get::<_, i16>(column)? {
        0 => Ok(ConversationKind::Direct),
        1 => Ok(ConversationKind::Group),
        _ => Err(ReadError::Corrupt("kind of conversation")),
    }
}

pub(super) fn role(row: &Row, column: usize) -> Result<Role, ReadError> {
    match row.try_get::<_, i16>(column)? {
        0 => Ok(Role::Owner),
        1 => Ok(Role::Member),
        _ => Err(ReadError::Corrupt("role")),
    }
}

/// Reads the [`log_columns`] that begin at `first`; `None` where an outer join found no row.
pub(super) fn event(row: &Row, first: usize, conversation: ConversationId) -> Result<Option<LogEvent>, ReadError> {
    if row.try_get::<_, Option<i64>>(first)?.is_none() {
        return Ok(None);
    }
    let (seq, user, name, at) = (seq(row, first)?, user(row, first + 2)?, text(row, first + 3)?, time(row, first + 4)?);
    Ok(Some(match row.try_get::<_, i16>(first + 1)? {
        MESSAGE => LogEvent::MessageCreated(Arc::new(Message {
            id: MessageId::from_bytes(row.try_get::<_, Uuid>(first + 5)?.into_bytes()),
            conversation,
            seq,
            sender: user,
            sender_name: name,
            content: row.try_get(first + 6)?,
            client_message_id: row.try_get(first + 7)?,
            reply_to: row.try_get::<_, Option<Uuid>>(first + 8)?.map(|id| MessageId::from_bytes(id.into_bytes())),
            created_at: at,
        })),
        MEMBER_JOINED => LogEvent::MemberJoined { conversation, seq, user, name, at },
        MEMBER_LEFT => LogEvent::MemberLeft { conversation, seq, user, name, at },
        _ => return Err(ReadError::Corrupt("kind of event")),
    }))
}

/// The same for a row that must be a message.
pub(super) fn message(row: &Row, first: usize, conversation: ConversationId) -> Result<Option<Arc<Message>>, ReadError> {
    match event(row, first, conversation)? {
        Some(LogEvent::MessageCreated(message)) => Ok(Some(message)),
        None => Ok(None),
        Some(LogEvent::MemberJoined { .. } | LogEvent::MemberLeft { .. }) => Err(ReadError::Corrupt("message")),
    }
}
