//! The connection beside the lanes: names, last-seen times, the lookup of invite codes, and the write of a check. None of these
//! is ordered against what is written to conversations.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Statement};

use super::super::{InviteHash, StoreError};
use super::connect::{Connector, Link};
use super::error::{PostgresError, PostgresOpenError, ReadError, Verdict};
use super::import;
use super::lane::{LaneQueue, MAX_TRIES, RECONNECT_PATIENCE, RECOVERY, lane_of};
use super::rows::{self, integer};
use super::write::{Joining, Reply, Write};
use crate::protocol::{ConversationId, UnixMillis, UserId};

/// Most of what waits here. Logins and last-seen times come in bursts.
const MAX_QUEUED: usize = 16_384;
/// Most of it that one round takes.
const MAX_ROUND: usize = 1_024;
/// Pause between attempts to connect.
const PAUSE: Duration = Duration::from_millis(250);
/// As for the lanes.
const _: () = assert!(PAUSE.as_millis() + RECONNECT_PATIENCE.as_millis() < RECOVERY.as_millis());

/// Sorted by id, as all locks of users are taken.
pub(super) const PUT_NAMES: &str = "INSERT INTO users (id, name) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (id) DO UPDATE SET name = excluded.name WHERE users.name IS DISTINCT FROM excluded.name";
pub(super) const PUT_LAST_SEEN: &str = "INSERT INTO users (id, last_seen_at) SELECT * FROM unnest($1::text[], $2::bigint[])
    ON CONFLICT (id) DO UPDATE SET last_seen_at = excluded.last_seen_at
    WHERE users.last_seen_at IS NULL OR users.last_seen_at < excluded.last_seen_at";
pub(super) const CHECK: &str = "UPDATE meta SET value = '' WHERE key = 'checked'";

/// Finds the conversations of invite codes.
pub(super) const FIND_INVITES: &str = "SELECT invite, id FROM conversations WHERE invite = ANY ($1)";

/// What is done here. Dropping it refuses it.
pub(super) enum Side {
    /// Its conversation is looked up, and then it is a write to that.
    Join(Joining),
    PutUser(UserId, Arc<str>, Reply<()>),
    PutLastSeen(Vec<(UserId, UnixMillis)>, Reply<()>),
    Check(Reply<()>),
}

/// The connection with its statements.
pub(super) struct SideLink {
    link: Link,
    find_invites: Statement,
    put_names: Statement,
    put_last_seen: Statement,
    check: Statement,
}

impl SideLink {
    pub(super) async fn open(connector: &Connector) -> Result<Self, PostgresOpenError> {
        let link = connector.connect().await?;
        let client = &link.client;
        let prepare = async {
            import::keep_out(client, connector.schema()).await?;
            import::expect_finished(client).await?;
            let prepared = tokio::try_join!(
                client.prepare(FIND_INVITES),
                client.prepare(PUT_NAMES),
                client.prepare(PUT_LAST_SEEN),
                client.prepare(CHECK)
            );
            prepared.map_err(|error| PostgresOpenError::Schema(error.into()))
        };
        let prepared = connector.within("preparing statements", prepare).await?;
        let (find_invites, put_names, put_last_seen, check) = prepared;
        Ok(Self { link, find_invites, put_names, put_last_seen, check })
    }

    /// Executes a statement, a few times if PostgreSQL rolls it back for the sake of another one.
    async fn execute(&self, statement: &Statement, values: &[&(dyn ToSql + Sync)]) -> Result<(), PostgresError> {
        let mut tries = 1;
        loop {
            match self.link.client.execute(statement, values).await.map_err(PostgresError::from) {
                Ok(_) => return Ok(()),
                Err(error) if error.verdict() == Verdict::Again && tries < MAX_TRIES => tries += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// The history's name, which is made with the schema.
    pub(super) async fn epoch(&self) -> Result<Arc<str>, PostgresOpenError> {
        let row = self.link.client.query_one("SELECT value FROM meta WHERE key = 'epoch'", &[]).await;
        let epoch: String = row.map_err(|error| PostgresOpenError::Schema(error.into()))?.get(0);
        Ok(Arc::from(epoch))
    }
}

/// The queue's two ends.
pub(super) fn queue() -> (mpsc::Sender<Side>, mpsc::Receiver<Side>) {
    mpsc::channel(MAX_QUEUED)
}

/// Works until the queue is closed and empty. What was looked up goes to the lanes.
pub(super) async fn run(
    connector: Connector,
    link: SideLink,
    mut queue: mpsc::Receiver<Side>,
    lanes: Vec<LaneQueue>,
    patience: Duration,
) {
    let mut link = Some(link);
    let mut taken = Vec::new();
    loop {
        let Some(mut open) = link.take() else {
            match reconnect(&connector, &mut queue).await {
                Some(opened) => link = Some(opened),
                None => return,
            }
            continue;
        };
        let count = tokio::select! {
            biased;
            () = open.link.closed() => continue,
            count = queue.recv_many(&mut taken, MAX_ROUND) => count,
        };
        if count == 0 {
            return;
        }
        match timeout(patience, round(&open, &lanes, std::mem::take(&mut taken))).await {
            Ok(true) => link = Some(open),
            Ok(false) => {}
            Err(_) => tracing::error!("PostgreSQL does not answer; a connection is given up"),
        }
    }
}

async fn reconnect(connector: &Connector, queue: &mut mpsc::Receiver<Side>) -> Option<SideLink> {
    let mut patience = RECONNECT_PATIENCE;
    loop {
        let opening = async {
            sleep(PAUSE).await;
            let opening = timeout(patience, SideLink::open(connector)).await;
            opening.unwrap_or(Err(PostgresOpenError::Timeout("connecting again")))
        };
        let mut refused = Vec::new();
        let refusing = async {
            while queue.recv_many(&mut refused, MAX_ROUND).await > 0 {
                refused.clear();
            }
        };
        tokio::select! {
            opened = opening => match opened {
                Ok(link) => return Some(link),
                Err(error) => {
                    if matches!(error, PostgresOpenError::Timeout(_)) {
                        patience = connector.more_patience(patience);
                    }
                    tracing::debug!(%error, "cannot connect");
                }
            },
            () = refusing => return None,
        }
    }
}

/// One round of what was taken: the lookups first, which are not all there is to a joining. Says whether the connection is of use
/// still.
async fn round(link: &SideLink, lanes: &[LaneQueue], taken: Vec<Side>) -> bool {
    let (mut joinings, mut names, mut seen, mut checks) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for one in taken {
        match one {
            Side::Join(joining) => joinings.push(joining),
            Side::PutUser(user, name, reply) => names.push((user, name, reply)),
            Side::PutLastSeen(users, reply) => seen.push((users, reply)),
            Side::Check(reply) => checks.push(reply),
        }
    }
    look_up(link, lanes, joinings).await
        && put_names(link, names).await
        && put_last_seen(link, seen).await
        && check(link, checks).await
}

/// Logs a failure and says whether the connection is of use still.
fn survives(error: &PostgresError, what: &'static str) -> bool {
    tracing::warn!(%error, what, "a statement failed");
    match error.verdict() {
        Verdict::Bad | Verdict::Held | Verdict::Again | Verdict::Failed => true,
        Verdict::Lost => false,
    }
}

async fn look_up(link: &SideLink, lanes: &[LaneQueue], joinings: Vec<Joining>) -> bool {
    if joinings.is_empty() {
        return true;
    }
    let invites: Vec<_> = joinings.iter().map(|joining| &joining.invite).collect();
    match find_invites(&link.link.client, &link.find_invites, &invites).await {
        Ok(found) => {
            for (joining, conversation) in joinings.into_iter().zip(found) {
                match conversation {
                    Some(id) => lanes[lane_of(id, lanes.len())].push(Write::Join(id, joining)),
                    None => joining.reply.send(Err(StoreError::NotFound)),
                }
            }
            true
        }
        Err(ReadError::Postgres(error)) => survives(&error, "looking up invite codes"),
        Err(error @ (ReadError::Refused(_) | ReadError::Corrupt(_))) => {
            tracing::error!(%error, "cannot look up invite codes");
            true
        }
    }
}

/// The conversation of each code, where there is one.
async fn find_invites(
    client: &Client,
    statement: &Statement,
    invites: &[&InviteHash],
) -> Result<Vec<Option<ConversationId>>, ReadError> {
    let bytes: Vec<&[u8]> = invites.iter().map(|invite| &invite[..]).collect();
    let rows = client.query(statement, &[&bytes]).await?;
    let mut found = vec![None; invites.len()];
    for row in &rows {
        let (invite, id) = (rows::invite(row, 0)?, rows::conversation_id(row, 1)?);
        for (place, _) in invites.iter().enumerate().filter(|(_, asked)| Some(***asked) == invite) {
            found[place] = Some(id);
        }
    }
    Ok(found)
}

type Name = (UserId, Arc<str>, Reply<()>);
type Seen = (Vec<(UserId, UnixMillis)>, Reply<()>);

async fn put_names(link: &SideLink, names: Vec<Name>) -> bool {
    match store_names(link, &names).await {
        Ok(()) => {
            names.into_iter().for_each(|(.., reply)| reply.send(Ok(())));
            true
        }
        // One name that cannot be stored must not cost the others.
        Err(error) if error.verdict() == Verdict::Bad && names.len() > 1 => {
            for name in names {
                match store_names(link, std::slice::from_ref(&name)).await {
                    Ok(()) => name.2.send(Ok(())),
                    Err(error) if survives(&error, "storing a name") => {}
                    Err(_) => return false,
                }
            }
            true
        }
        Err(error) => survives(&error, "storing names"),
    }
}

async fn store_names(link: &SideLink, names: &[Name]) -> Result<(), PostgresError> {
    // The last one given to each user, sorted.
    let latest: BTreeMap<&str, &str> = names.iter().map(|(user, name, _)| (user.as_str(), &**name)).collect();
    if latest.is_empty() {
        return Ok(());
    }
    let (users, names): (Vec<&str>, Vec<&str>) = latest.into_iter().unzip();
    link.execute(&link.put_names, &[&users, &names]).await
}

async fn put_last_seen(link: &SideLink, seen: Vec<Seen>) -> bool {
    let mut latest: BTreeMap<&str, i64> = BTreeMap::new();
    for (user, at) in seen.iter().flat_map(|(users, _)| users) {
        let (at, latest) = (integer(at.get()), latest.entry(user.as_str()).or_default());
        *latest = at.max(*latest);
    }
    let (users, times): (Vec<&str>, Vec<i64>) = latest.into_iter().unzip();
    if !users.is_empty()
        && let Err(error) = link.execute(&link.put_last_seen, &[&users, &times]).await
    {
        return survives(&error, "storing when users were last seen");
    }
    seen.into_iter().for_each(|(_, reply)| reply.send(Ok(())));
    true
}

async fn check(link: &SideLink, checks: Vec<Reply<()>>) -> bool {
    if checks.is_empty() {
        return true;
    }
    if let Err(error) = link.execute(&link.check, &[]).await {
        return survives(&error, "checking");
    }
    checks.into_iter().for_each(|reply| reply.send(Ok(())));
    true
}
