//! Read marks, creating, joining and leaving: their statements, values and answers.

use tokio_postgres::Row;
use uuid::Uuid;

use super::super::{Created, Joined, Left, NewConversation, ReadMark, StoreError, StoreLimits};
use super::error::ReadError;
use super::pipeline::Values;
use super::rows::{self, id_time_column, integer, kind_column, limit, period_column};
use super::write::Joining;
use crate::protocol::{ConversationId, ConversationKind, LogEvent, Seq, UnixMillis, UserId};

/// Moves marks forward, at most one of each member, and answers those of members.
///
/// Mostly a mark is past everything that the member sent. Else the shorter side is counted; as marks only move forward, a
/// member's marks together cost one pass over the log.
pub(super) const MARK: &str = "
    WITH old AS (
        SELECT i.ord, c.number, c.head, c.messages, m.\"user\", m.read_seq, m.read_messages, m.sent, m.read_sent, m.last_sent_seq,
               least(i.seq, c.head) AS target, i.seq AS asked
        FROM unnest($1::uuid[], $2::text[], $3::bigint[]) WITH ORDINALITY AS i (conversation, \"user\", seq, ord)
        JOIN conversations c ON c.id = i.conversation
        CROSS JOIN LATERAL (SELECT * FROM members WHERE conversation = c.number AND \"user\" = i.\"user\" LIMIT 1) m
    ), new AS (
        SELECT o.*, l.messages AS now_read_messages,
               CASE WHEN o.target >= o.last_sent_seq THEN o.sent
                    WHEN o.target - o.read_seq <= o.last_sent_seq - o.target THEN o.read_sent + (
                        SELECT count(*) FROM log p WHERE p.conversation = o.number AND p.seq > o.read_seq AND p.seq <= o.target
                        AND p.kind = 0 AND p.\"user\" = o.\"user\")
                    ELSE o.sent - (
                        SELECT count(*) FROM log p WHERE p.conversation = o.number AND p.seq > o.target AND p.seq <= o.last_sent_seq
                        AND p.kind = 0 AND p.\"user\" = o.\"user\")
               END AS now_read_sent
        FROM old o JOIN log l ON l.conversation = o.number AND l.seq = o.target
        WHERE o.target > o.read_seq
    ), moved AS (
        UPDATE members m SET read_seq = n.target, read_messages = n.now_read_messages, read_sent = n.now_read_sent
        FROM new n WHERE m.conversation = n.number AND m.\"user\" = n.\"user\"
    )
    SELECT ord, target, head, (messages - now_read_messages) - (sent - now_read_sent), true FROM new
    UNION ALL
    SELECT ord, read_seq, head, (messages - read_messages) - (sent - read_sent), $4 AND read_seq = target AND read_seq > 0
    FROM old WHERE target <= read_seq";

/// The values of [`MARK`]. When an answer was lost, a mark that is where it should go counts as moved: telling the others twice
/// does no harm, not telling them does.
pub(super) fn mark_values<'a>(marks: &[(ConversationId, &'a UserId, Seq)], asked_before: bool) -> Values<'a> {
    vec![
        Box::new(marks.iter().map(|(id, ..)| rows::uuid(id.as_bytes())).collect::<Vec<Uuid>>()),
        Box::new(marks.iter().map(|(_, user, _)| user.as_str()).collect::<Vec<_>>()),
        Box::new(marks.iter().map(|(.., seq)| integer(seq.get())).collect::<Vec<_>>()),
        Box::new(asked_before),
    ]
}

/// What came of each mark, from the rows of [`MARK`].
pub(super) fn mark_outcomes(rows: &[Row], count: usize) -> Result<Vec<Result<ReadMark, StoreError>>, ReadError> {
    let mut outcomes = vec![Err(StoreError::NotFound); count];
    for row in rows {
        let place = usize::try_from(rows::number(row, 0)?).unwrap_or(0).wrapping_sub(1);
        let outcome = outcomes.get_mut(place).ok_or(ReadError::Corrupt("place in the batch"))?;
        let (seq, head, unread, moved) = (rows::seq(row, 1)?, rows::seq(row, 2)?, rows::number(row, 3)?, row.try_get(4)?);
        *outcome = Ok(ReadMark { seq, unread, head, moved });
    }
    Ok(outcomes)
}

pub(super) const CREATE: &str = "SELECT outcome, found_id FROM create_conversation($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

pub(super) fn create_values(new: &NewConversation, limits: StoreLimits) -> Values<'_> {
    let (title, pair) = match (new.kind, &new.members[..]) {
        (ConversationKind::Direct, [a, b]) => ("", Some(format!("{} {}", a.min(b), a.max(b)))),
        (ConversationKind::Direct, _) => ("", None),
        (ConversationKind::Group, _) => (&*new.title, None),
    };
    let active_at = id_time_column(new.id.time());
    vec![
        Box::new(rows::uuid(new.id.as_bytes())),
        Box::new(kind_column(new.kind)),
        Box::new(title),
        Box::new(new.invite.as_ref().map(|invite| &invite[..])),
        Box::new(pair),
        Box::new(new.creator.as_str()),
        Box::new(new.members.iter().map(UserId::as_str).collect::<Vec<_>>()),
        Box::new(integer(new.created_at.get())),
        Box::new(active_at),
        Box::new(period_column(new.id.time())),
        Box::new(limit(limits.max_conversations_per_user)),
    ]
}

pub(super) fn create_outcome(rows: &[Row]) -> Result<Result<Created, StoreError>, ReadError> {
    let row = only(rows)?;
    let created = |existed| Ok::<_, ReadError>(Created { conversation: rows::conversation_id(row, 1)?, existed });
    Ok(match row.try_get::<_, i16>(0)? {
        0 => Ok(created(false)?),
        1 => Ok(created(true)?),
        2 => Err(StoreError::TooManyConversations),
        _ => return Err(ReadError::Corrupt("outcome")),
    })
}

pub(super) const JOIN: &str = "SELECT outcome, event_seq, their_role FROM join_conversation($1, $2, $3, $4, $5, $6, $7)";

pub(super) fn join_values(id: ConversationId, joining: &Joining, limits: StoreLimits, asked_before: bool) -> Values<'_> {
    vec![
        Box::new(rows::uuid(id.as_bytes())),
        Box::new(joining.user.as_str()),
        Box::new(&*joining.name),
        Box::new(integer(joining.at.get())),
        Box::new(limit(limits.max_members)),
        Box::new(limit(limits.max_conversations_per_user)),
        Box::new(asked_before),
    ]
}

pub(super) fn join_outcome(
    rows: &[Row],
    conversation: ConversationId,
    joining: &Joining,
) -> Result<Result<Joined, StoreError>, ReadError> {
    let row = only(rows)?;
    Ok(match row.try_get::<_, i16>(0)? {
        0 => {
            let (user, name, at) = (joining.user.clone(), joining.name.clone(), joining.at);
            let event = LogEvent::MemberJoined { conversation, seq: rows::seq(row, 1)?, user, name, at };
            Ok(Joined { conversation, event: Some(event), role: rows::role(row, 2)? })
        }
        1 => Ok(Joined { conversation, event: None, role: rows::role(row, 2)? }),
        2 => Err(StoreError::NotFound),
        3 => Err(StoreError::MembersFull),
        4 => Err(StoreError::TooManyConversations),
        _ => return Err(ReadError::Corrupt("outcome")),
    })
}

pub(super) const LEAVE: &str = "SELECT outcome, event_seq, their_name, new_owner FROM leave_conversation($1, $2, $3, $4)";

pub(super) fn leave_values(id: ConversationId, user: &UserId, at: UnixMillis, asked_before: bool) -> Values<'_> {
    vec![Box::new(rows::uuid(id.as_bytes())), Box::new(user.as_str()), Box::new(integer(at.get())), Box::new(asked_before)]
}

pub(super) fn leave_outcome(
    rows: &[Row],
    (conversation, user, at): (ConversationId, &UserId, UnixMillis),
) -> Result<Result<Left, StoreError>, ReadError> {
    let row = only(rows)?;
    Ok(match row.try_get::<_, i16>(0)? {
        0 => {
            let (seq, name) = (rows::seq(row, 1)?, rows::text(row, 2)?);
            let new_owner: Option<&str> = row.try_get(3)?;
            let new_owner = new_owner.map(UserId::parse).transpose().map_err(|_| ReadError::Corrupt("user id"))?;
            Ok(Left { event: LogEvent::MemberLeft { conversation, seq, user: user.clone(), name, at }, new_owner })
        }
        1 => Err(StoreError::NotFound),
        2 => Err(StoreError::Forbidden),
        _ => return Err(ReadError::Corrupt("outcome")),
    })
}

fn only(rows: &[Row]) -> Result<&Row, ReadError> {
    rows.first().ok_or(ReadError::Corrupt("outcome"))
}
