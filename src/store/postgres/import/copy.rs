//! Writes one batch of rows: a statement for each table, all in one round trip and one transaction.

use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use super::super::pipeline::{self, Step, Values};
use super::super::rows::{digest_column, id_time_column, integer, kind_column, period_column, role_column, uuid};
use super::{PATIENCE, PostgresImport, PostgresImportError, answered, prepare};
use crate::protocol::{ConversationId, LogEvent, MessageId};
use crate::store::message_of;
use crate::store::transfer::{ConversationRow, LogRow, MemberRow, Position, Row, UserRow, log_digest};

const USERS: &str = "INSERT INTO users (id, name, last_seen_at) SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[])";

/// In their order, so that they get their numbers in it.
const CONVERSATIONS: &str = "
    INSERT INTO conversations (id, kind, title, invite, pair, created_at, active_at, active_period, head, messages,
                               last_message_seq, member_count, next_join_number)
    SELECT id, kind, title, invite, pair, created_at, active_at,
           CASE WHEN member_count <= small_conversation() THEN period ELSE -1 END,
           head, messages, last_message_seq, member_count, next_join_number
    FROM unnest($1::uuid[], $2::smallint[], $3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[])
        WITH ORDINALITY AS i (id, kind, title, invite, pair, created_at, active_at, period, head, messages, last_message_seq,
                              member_count, next_join_number, ord)
    ORDER BY ord";

const MEMBERS: &str = "
    WITH listed AS (
        INSERT INTO memberships (\"user\", active_period, conversation)
        SELECT i.\"user\", c.active_period, c.number
        FROM unnest($1::uuid[], $2::text[]) AS i (id, \"user\") JOIN conversations c ON c.id = i.id
    )
    INSERT INTO members (conversation, \"user\", role, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq)
    SELECT c.number, i.\"user\", i.role, i.join_number, i.read_seq, i.read_messages, i.sent, i.read_sent, i.last_sent_seq
    FROM unnest($1::uuid[], $2::text[], $3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                $9::bigint[])
        AS i (id, \"user\", role, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq)
    JOIN conversations c ON c.id = i.id";

/// How many conversations everybody is in. Members of whom nothing else is known get their row here.
const COUNTS: &str = "
    INSERT INTO users (id, conversations) SELECT i, count(*) FROM unnest($1::text[]) AS i GROUP BY i
    ON CONFLICT (id) DO UPDATE SET conversations = users.conversations + excluded.conversations";

const LOG: &str = "
    INSERT INTO log (conversation, seq, messages, at, digest, kind, id, reply_to, \"user\", name, client_message_id, content)
    SELECT c.number, i.seq, i.messages, i.at, i.digest, i.kind, i.message, i.reply_to, i.\"user\", i.name, i.client_message_id,
           i.content
    FROM unnest($1::uuid[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::smallint[], $7::uuid[], $8::uuid[],
                $9::text[], $10::text[], $11::text[], $12::text[])
        AS i (id, seq, messages, at, digest, kind, message, reply_to, \"user\", name, client_message_id, content)
    JOIN conversations c ON c.id = i.id";

const POSITION: &str = "UPDATE meta SET value = $1 WHERE key = 'import_position'";

/// The statements of an import, prepared.
pub(crate) struct Copy {
    users: Statement,
    conversations: Statement,
    members: Statement,
    counts: Statement,
    log: Statement,
    position: Statement,
}

/// A batch's rows by their tables.
#[derive(Default)]
struct Batch<'a> {
    users: Vec<&'a UserRow>,
    conversations: Vec<&'a ConversationRow>,
    members: Vec<(ConversationId, &'a MemberRow)>,
    log: Vec<&'a LogRow>,
}

impl PostgresImport {
    /// Prepares what [`Self::write`] needs.
    pub(crate) fn prepare_copy(&self) -> Result<Copy, PostgresImportError> {
        let all = [USERS, CONVERSATIONS, MEMBERS, COUNTS, LOG, POSITION];
        let prepared = self.runtime.block_on(prepare(&self.link.client, &all))?;
        let Ok([users, conversations, members, counts, log, position]) = <[Statement; 6]>::try_from(prepared) else {
            unreachable!("as many as were asked for")
        };
        Ok(Copy { users, conversations, members, counts, log, position })
    }

    /// Writes `rows`, and that the copy has come to `position`: all of it, synced, or nothing.
    pub(crate) fn write(&self, copy: &Copy, rows: &[Row], position: &Position) -> Result<(), PostgresImportError> {
        self.runtime.block_on(answered(PATIENCE, write(&self.link.client, copy, rows, position)))
    }
}

async fn write(client: &Client, copy: &Copy, rows: &[Row], position: &Position) -> Result<(), super::PostgresError> {
    let batch = Batch::of(rows);
    let mut steps = vec![Step::Plain("BEGIN")];
    if !batch.users.is_empty() {
        steps.push(Step::Prepared(&copy.users, batch.user_values()));
    }
    if !batch.conversations.is_empty() {
        steps.push(Step::Prepared(&copy.conversations, batch.conversation_values()));
    }
    if !batch.members.is_empty() {
        steps.push(Step::Prepared(&copy.members, batch.member_values()));
        let users: Vec<&str> = batch.members.iter().map(|(_, member)| member.user.as_str()).collect();
        steps.push(Step::Prepared(&copy.counts, vec![Box::new(users)]));
    }
    if !batch.log.is_empty() {
        steps.push(Step::Prepared(&copy.log, batch.log_values()));
    }
    steps.push(Step::Prepared(&copy.position, vec![Box::new(position.to_string())]));
    steps.push(Step::Plain("COMMIT"));
    pipeline::run(client, steps).await.map(drop)
}

/// One column: what `value` makes of each row.
fn column<'a, R: 'a, T>(rows: &[R], value: impl Fn(&R) -> T) -> Box<dyn ToSql + Sync + Send + 'a>
where
    T: ToSql + Sync + Send + 'a,
{
    Box::new(rows.iter().map(value).collect::<Vec<T>>())
}

impl<'a> Batch<'a> {
    fn of(rows: &'a [Row]) -> Self {
        let mut batch = Self::default();
        for row in rows {
            match row {
                Row::User(row) => batch.users.push(row),
                Row::Conversation(row) => batch.conversations.push(row),
                Row::Member(id, row) => batch.members.push((*id, row)),
                Row::Event(row) => batch.log.push(row),
            }
        }
        batch
    }

    fn user_values(&self) -> Values<'a> {
        let rows = &self.users;
        vec![
            column(rows, |row| row.id.as_str()),
            column(rows, |row| row.name.as_deref()),
            column(rows, |row| row.last_seen_at.map(|at| integer(at.get()))),
        ]
    }

    fn conversation_values(&self) -> Values<'a> {
        let rows = &self.conversations;
        vec![
            column(rows, |row| uuid(row.id.as_bytes())),
            column(rows, |row| kind_column(row.kind)),
            column(rows, |row| &*row.title),
            column(rows, |row| row.invite.as_ref().map(|invite| &invite[..])),
            column(rows, |row| row.pair.as_deref()),
            column(rows, |row| integer(row.created_at.get())),
            column(rows, |row| id_time_column(row.active_at)),
            column(rows, |row| period_column(row.active_at)),
            column(rows, |row| integer(row.head.get())),
            column(rows, |row| integer(row.messages)),
            column(rows, |row| integer(row.last_message_seq.get())),
            column(rows, |row| integer(row.member_count)),
            column(rows, |row| integer(row.next_join_number)),
        ]
    }

    fn member_values(&self) -> Values<'a> {
        let rows = &self.members;
        vec![
            column(rows, |(id, _)| uuid(id.as_bytes())),
            column(rows, |(_, row)| row.user.as_str()),
            column(rows, |(_, row)| role_column(row.role)),
            column(rows, |(_, row)| integer(row.join_number)),
            column(rows, |(_, row)| integer(row.read_seq.get())),
            column(rows, |(_, row)| integer(row.read_messages)),
            column(rows, |(_, row)| integer(row.sent)),
            column(rows, |(_, row)| integer(row.read_sent)),
            column(rows, |(_, row)| integer(row.last_sent_seq.get())),
        ]
    }

    fn log_values(&self) -> Values<'a> {
        let rows = &self.log;
        let message = |row: &&'a LogRow| message_of(&row.event);
        vec![
            column(rows, |row| uuid(row.event.conversation().as_bytes())),
            column(rows, |row| integer(row.event.seq().get())),
            column(rows, |row| integer(row.messages)),
            column(rows, |row| integer(parts(&row.event).at)),
            column(rows, |row| message(row).map(|message| digest_column(message.conversation, log_digest(message)))),
            column(rows, |row| parts(&row.event).kind),
            column(rows, |row| message(row).map(|message| id_column(message.id))),
            column(rows, |row| message(row).and_then(|message| message.reply_to).map(id_column)),
            column(rows, |row| parts(&row.event).user),
            column(rows, |row| parts(&row.event).name),
            column(rows, |row| message(row).and_then(|message| message.client_message_id.as_deref())),
            column(rows, |row| message(row).map(|message| &*message.content)),
        ]
    }
}

fn id_column(id: MessageId) -> Uuid {
    uuid(id.as_bytes())
}

/// What every kind of event has.
struct Parts<'a> {
    kind: i16,
    user: &'a str,
    name: &'a str,
    at: u64,
}

fn parts(event: &LogEvent) -> Parts<'_> {
    use super::super::rows::{MEMBER_JOINED, MEMBER_LEFT, MESSAGE};
    let (kind, user, name, at) = match event {
        LogEvent::MessageCreated(message) => (MESSAGE, &message.sender, &message.sender_name, message.created_at),
        LogEvent::MemberJoined { user, name, at, .. } => (MEMBER_JOINED, user, name, *at),
        LogEvent::MemberLeft { user, name, at, .. } => (MEMBER_LEFT, user, name, *at),
    };
    Parts { kind, user: user.as_str(), name, at: at.get() }
}
