//! The reads: on connections of their own, so that none waits for a write. Each is one statement, or one snapshot, and each finds
//! its rows by an index.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use deadpool_postgres::{Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::super::{
    ConversationCursor, ConversationPage, ConversationView, Done, MemberRecord, MessagePage, MessageRange, RoomSnapshot,
    StoreError,
};
use super::connect::Connector;
use super::error::{NOT_FOUND, PostgresOpenError, ReadError, Verdict};
use super::pipeline::{self, Step};
use super::rows::{self, id_time_column, integer, limit, log_columns, period_column};
use super::write::Reply;
use crate::protocol::{ConversationId, LogEvent, Seq, UserId};

/// Most reads that wait or run.
const MAX_READS: usize = 4_096;

/// The columns that [`view`] reads, of a conversation `c` for its member `m`, and where they come from besides.
macro_rules! view_columns {
    () => {
        concat!(
            "c.id, c.kind, CASE WHEN c.kind = 1 THEN c.title ELSE coalesce(other.name, m.\"user\") END, c.member_count, c.head,
             m.read_seq, (c.messages - m.read_messages) - (m.sent - m.read_sent), c.created_at, m.role, c.invite, c.active_at, ",
            log_columns!()
        )
    };
}
macro_rules! view_joins {
    () => {
        " LEFT JOIN log l ON l.conversation = c.number AND l.seq = c.last_message_seq
         LEFT JOIN LATERAL (
             SELECT coalesce(u.name, o.\"user\") AS name FROM members o LEFT JOIN users u ON u.id = o.\"user\"
             WHERE c.kind = 0 AND o.conversation = c.number AND o.\"user\" <> m.\"user\" LIMIT 1
         ) other ON true "
    };
}

pub(super) const VIEW: &str = concat!(
    "SELECT ",
    view_columns!(),
    " FROM conversations c JOIN members m ON m.conversation = c.number AND m.\"user\" = $2 ",
    view_joins!(),
    " WHERE c.id = $1"
);

/// A page by latest activity, behind the place ($2, $3) or from the start, of at most $4 conversations. Which of them these can be,
/// the user's memberships by period tell: those of the place's own period, the next $4 of earlier periods with all that share the
/// last one's, and the large conversations, which have none.
pub(super) const PAGE: &str = concat!(
    "WITH candidates AS (
         SELECT conversation FROM memberships WHERE \"user\" = $1 AND active_period = -1
         UNION ALL
         SELECT conversation FROM memberships WHERE \"user\" = $1 AND active_period = $5
         UNION ALL
         (SELECT conversation FROM memberships WHERE \"user\" = $1 AND active_period >= 0 AND active_period < $5
          ORDER BY active_period DESC FETCH FIRST $4 ROWS WITH TIES)
     ), page AS (
         SELECT c.number FROM candidates JOIN conversations c ON c.number = candidates.conversation
         WHERE (c.active_at, c.id) < ($2, $3) ORDER BY c.active_at DESC, c.id DESC LIMIT $4
     )
     SELECT ",
    view_columns!(),
    " FROM page JOIN conversations c ON c.number = page.number JOIN members m ON m.conversation = c.number AND m.\"user\" = $1 ",
    view_joins!(),
    " ORDER BY c.active_at DESC, c.id DESC"
);

/// For a member of the conversation: a row for each message or, without any, one without a `seq`.
macro_rules! messages {
    ($range:literal) => {
        concat!(
            "SELECT ",
            log_columns!(),
            " FROM conversations c JOIN members m ON m.conversation = c.number AND m.\"user\" = $2
             LEFT JOIN LATERAL (
                 SELECT * FROM log WHERE conversation = c.number AND kind = 0 AND ",
            $range,
            " LIMIT $4
             ) l ON true
             WHERE c.id = $1 ORDER BY l.seq"
        )
    };
}
pub(super) const MESSAGES_BEFORE: &str = messages!("seq < $3 ORDER BY seq DESC");
pub(super) const MESSAGES_AFTER: &str = messages!("seq > $3 ORDER BY seq");

pub(super) const EVENTS: &str = concat!(
    "SELECT ",
    log_columns!(),
    " FROM conversations c
     LEFT JOIN LATERAL (SELECT * FROM log WHERE conversation = c.number AND seq > $2 ORDER BY seq LIMIT $3) l ON true
     WHERE c.id = $1 ORDER BY l.seq"
);

pub(super) const ROOM: &str = concat!(
    "SELECT c.kind, c.title, c.created_at, c.invite, c.head, ",
    log_columns!(),
    " FROM conversations c LEFT JOIN log l ON l.conversation = c.number AND l.seq = c.last_message_seq WHERE c.id = $1"
);
pub(super) const ROOM_MEMBERS: &str = "
    SELECT m.\"user\", coalesce(u.name, m.\"user\"), m.role, m.read_seq,
           (c.messages - m.read_messages) - (m.sent - m.read_sent), u.last_seen_at
    FROM conversations c JOIN members m ON m.conversation = c.number LEFT JOIN users u ON u.id = m.\"user\"
    WHERE c.id = $1 ORDER BY m.join_number";
pub(super) const ROOM_RECENT: &str = concat!(
    "SELECT ",
    log_columns!(),
    " FROM conversations c JOIN log l ON l.conversation = c.number AND l.seq > c.head - $2 WHERE c.id = $1 ORDER BY l.seq"
);

/// Runs reads on a pool of connections.
#[derive(Clone)]
pub(super) struct Reads {
    pool: Pool,
    runtime: Handle,
    places: Arc<Semaphore>,
    /// How long a read may take, the wait for its connection included.
    patience: Duration,
    /// Whether the last read failed, so that not each of them is logged while the server is away.
    is_failing: Arc<AtomicBool>,
}

impl Reads {
    pub(super) fn new(connector: &Connector, connections: usize, waits: Duration) -> Self {
        let (config, tls) = connector.pool_parts();
        let manager = Manager::from_config(config, tls, ManagerConfig { recycling_method: RecyclingMethod::Fast });
        let connector = connector.clone();
        let set_up = Hook::async_fn(move |client: &mut deadpool_postgres::ClientWrapper, _| {
            let connector = connector.clone();
            Box::pin(async move {
                // The pool's own time for making a connection does not cover this.
                let set_up = timeout(waits, connector.set_up(client)).await;
                let set_up = set_up.unwrap_or(Err(PostgresOpenError::Timeout("setting up a connection")));
                set_up.map_err(|error| HookError::message(error.to_string()))
            })
        });
        let pool = Pool::builder(manager)
            .max_size(connections)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(waits))
            .create_timeout(Some(waits))
            .recycle_timeout(Some(waits))
            .post_create(set_up)
            .build()
            .expect("a runtime is given, which is all that timeouts need");
        Self {
            pool,
            runtime: Handle::current(),
            places: Arc::new(Semaphore::new(MAX_READS)),
            patience: waits,
            is_failing: Arc::default(),
        }
    }

    /// Runs `read` on a connection and answers. Refuses it when too many wait.
    pub(super) fn start<T, F>(&self, done: Done<T>, read: impl FnOnce(Arc<Object>) -> F + Send + 'static)
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ReadError>> + Send,
    {
        let reply = Reply::new(done);
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else { return };
        let (pool, patience, is_failing) = (self.pool.clone(), self.patience, Arc::clone(&self.is_failing));
        self.runtime.spawn(async move {
            let outcome = run(&pool, patience, read).await;
            drop(place);
            if outcome.is_ok() && is_failing.load(Ordering::Relaxed) {
                is_failing.store(false, Ordering::Relaxed);
                tracing::info!("reads succeed again");
            }
            reply.send(outcome.map_err(|error| judge(error, &is_failing)));
        });
    }

    /// Waits until every read that was started is answered.
    pub(super) async fn finished(&self) {
        // It is never closed, so that this only fails when it takes too long; then the runtime ends what is left.
        drop(timeout(self.patience, self.places.acquire_many(MAX_READS as u32)).await);
    }
}

/// What the caller gets to know of a failure.
fn judge(failure: Failure, is_failing: &AtomicBool) -> StoreError {
    match failure {
        Failure::Read(ReadError::Refused(error)) => return error,
        Failure::Read(error @ ReadError::Corrupt(_)) => tracing::error!(%error, "cannot read"),
        failure @ (Failure::Read(ReadError::Postgres(_)) | Failure::Pool(_) | Failure::Timeout) => {
            if is_failing.swap(true, Ordering::Relaxed) {
                tracing::debug!(error = %failure, "cannot read");
            } else {
                tracing::warn!(error = %failure, "cannot read; further failures are logged at debug level until a read succeeds");
            }
        }
    }
    StoreError::Unavailable
}

/// Why a read was not answered.
enum Failure {
    Read(ReadError),
    Pool(PoolError),
    Timeout,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read(error) => error.fmt(f),
            Self::Pool(PoolError::Backend(error)) => write!(f, "{}", super::error::text_of(error)),
            Self::Pool(error) => error.fmt(f),
            Self::Timeout => f.write_str("PostgreSQL does not answer"),
        }
    }
}

async fn run<T, F>(pool: &Pool, patience: Duration, read: impl FnOnce(Arc<Object>) -> F) -> Result<T, Failure>
where
    F: Future<Output = Result<T, ReadError>>,
{
    let deadline = Instant::now() + patience;
    let got = timeout_at(deadline, pool.get()).await;
    let client = Arc::new(got.map_err(|_| Failure::Timeout)?.map_err(Failure::Pool)?);
    let Ok(outcome) = timeout_at(deadline, read(Arc::clone(&client))).await else {
        give_up(client);
        return Err(Failure::Timeout);
    };
    if let Err(ReadError::Postgres(error)) = &outcome
        && error.verdict() == Verdict::Lost
    {
        give_up(client);
    }
    outcome.map_err(Failure::Read)
}

/// Closes the connection instead of giving it back to the pool: an answer may still come.
fn give_up(client: Arc<Object>) {
    // The read that had the other handle is over.
    drop(Arc::into_inner(client).map(Object::take));
}

async fn rows(client: &Object, sql: &str, values: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, ReadError> {
    let statement = client.prepare_cached(sql).await?;
    Ok(client.query(&statement, values).await?)
}

pub(super) async fn check(client: Arc<Object>) -> Result<(), ReadError> {
    rows(&client, "SELECT value FROM meta WHERE key = 'epoch'", &[]).await.map(drop)
}

fn view(row: &Row) -> Result<ConversationView, ReadError> {
    let id = rows::conversation_id(row, 0)?;
    Ok(ConversationView {
        id,
        kind: rows::kind(row, 1)?,
        title: rows::text(row, 2)?,
        member_count: rows::number(row, 3)?,
        head: rows::seq(row, 4)?,
        read_seq: rows::seq(row, 5)?,
        unread: rows::number(row, 6)?,
        created_at: rows::time(row, 7)?,
        role: rows::role(row, 8)?,
        invite: rows::invite(row, 9)?,
        last_message: rows::message(row, 11, id)?,
    })
}

pub(super) async fn load_view(client: Arc<Object>, id: ConversationId, user: UserId) -> Result<ConversationView, ReadError> {
    let found = rows(&client, VIEW, &[&rows::uuid(id.as_bytes()), &user.as_str()]).await?;
    view(found.first().ok_or(NOT_FOUND)?)
}

pub(super) async fn load_page(
    client: Arc<Object>,
    user: UserId,
    cursor: Option<ConversationCursor>,
    max: usize,
) -> Result<ConversationPage, ReadError> {
    let (active_at, id, period) = match cursor {
        Some(cursor) => (id_time_column(cursor.active_at), *cursor.conversation.as_bytes(), period_column(cursor.active_at)),
        None => (i64::MAX, [0xFF; 16], i64::MAX),
    };
    let one_more = limit(max).saturating_add(1);
    let found = rows(&client, PAGE, &[&user.as_str(), &active_at, &rows::uuid(&id), &one_more, &period]).await?;
    let conversations = found.iter().take(max).map(view).collect::<Result<Vec<_>, _>>()?;
    let next = match found.get(..max).and_then(<[Row]>::last) {
        Some(last) if found.len() > max => {
            Some(ConversationCursor { active_at: rows::id_time(last, 10)?, conversation: rows::conversation_id(last, 0)? })
        }
        _ => None,
    };
    Ok(ConversationPage { conversations, next })
}

pub(super) async fn load_messages(
    client: Arc<Object>,
    id: ConversationId,
    user: UserId,
    range: MessageRange,
    max: usize,
) -> Result<MessagePage, ReadError> {
    let (sql, seq) = match range {
        MessageRange::Latest => (MESSAGES_BEFORE, i64::MAX),
        MessageRange::Before(seq) => (MESSAGES_BEFORE, integer(seq.get())),
        MessageRange::After(seq) => (MESSAGES_AFTER, integer(seq.get())),
    };
    let one_more = limit(max).saturating_add(1);
    let found = rows(&client, sql, &[&rows::uuid(id.as_bytes()), &user.as_str(), &seq, &one_more]).await?;
    if found.is_empty() {
        return Err(NOT_FOUND);
    }
    let messages = found.iter().map(|row| rows::message(row, 0, id)).filter_map(Result::transpose);
    let mut messages = messages.collect::<Result<Vec<_>, _>>()?;
    let has_more = messages.len() > max;
    match range {
        MessageRange::Latest | MessageRange::Before(_) => drop(messages.drain(..messages.len().saturating_sub(max))),
        MessageRange::After(_) => messages.truncate(max),
    }
    Ok(MessagePage { messages, has_more })
}

pub(super) async fn load_events(
    client: Arc<Object>,
    id: ConversationId,
    after: Seq,
    max: usize,
) -> Result<Vec<LogEvent>, ReadError> {
    let found = rows(&client, EVENTS, &[&rows::uuid(id.as_bytes()), &integer(after.get()), &limit(max)]).await?;
    if found.is_empty() {
        return Err(NOT_FOUND);
    }
    found.iter().map(|row| rows::event(row, 0, id)).filter_map(Result::transpose).collect()
}

/// Three statements on one snapshot, in one round trip.
pub(super) async fn open_room(client: Arc<Object>, id: ConversationId, recent: usize) -> Result<RoomSnapshot, ReadError> {
    let room = client.prepare_cached(ROOM).await?;
    let members = client.prepare_cached(ROOM_MEMBERS).await?;
    let newest = client.prepare_cached(ROOM_RECENT).await?;
    let uuid = rows::uuid(id.as_bytes());
    let steps = vec![
        Step::Plain("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        Step::Prepared(&room, vec![Box::new(uuid)]),
        Step::Prepared(&members, vec![Box::new(uuid)]),
        Step::Prepared(&newest, vec![Box::new(uuid), Box::new(limit(recent))]),
        Step::Plain("COMMIT"),
    ];
    let answers = pipeline::run(&client, steps).await.map_err(ReadError::Postgres)?;
    let [_, room, members, newest, _] = &answers[..] else { return Err(ReadError::Corrupt("answer")) };
    let room = room.first().ok_or(NOT_FOUND)?;
    let kind = rows::kind(room, 0)?;
    Ok(RoomSnapshot {
        kind,
        title: rows::text(room, 1)?,
        created_at: rows::time(room, 2)?,
        invite: rows::invite(room, 3)?,
        head: rows::seq(room, 4)?,
        last_message: rows::message(room, 5, id)?,
        members: members.iter().map(member).collect::<Result<_, _>>()?,
        recent: newest.iter().map(|row| rows::event(row, 0, id)).filter_map(Result::transpose).collect::<Result<_, _>>()?,
    })
}

fn member(row: &Row) -> Result<MemberRecord, ReadError> {
    Ok(MemberRecord {
        user: rows::user(row, 0)?,
        name: rows::text(row, 1)?,
        role: rows::role(row, 2)?,
        read_seq: rows::seq(row, 3)?,
        unread: rows::number(row, 4)?,
        last_seen_at: row.try_get::<_, Option<i64>>(5)?.map(|_| rows::time(row, 5)).transpose()?,
    })
}
