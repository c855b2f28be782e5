//! Reads back what was imported, for a comparison with its source.

use std::collections::HashMap;

use tokio_postgres::{Client, Row, Statement};
use uuid::Uuid;

use super::super::pipeline;
use super::super::rows::{self, digest_column, integer, log_columns, period_column};
use super::{PostgresImport, PostgresImportError, meta, prepare, query, query_one};
use crate::protocol::{ConversationId, Seq, UserId};
use crate::store::message_of;
use crate::store::transfer::{Checksum, ConversationRow, Fingerprint, LogRow, MemberRow, Summing, UserRow, log_digest};

/// Most rows of a log, of members or of users that one answer holds: bounds the memory, together with the number of conversations
/// that are compared at a time.
const PAGE_ROWS: i64 = 256;

const CONVERSATIONS: &str = "
    SELECT number, id, kind, title, invite, pair, created_at, active_at, head, messages, last_message_seq, member_count,
           next_join_number,
           active_period, member_count <= small_conversation()
    FROM conversations WHERE id = ANY ($1)";

const MEMBERS: &str = "
    SELECT m.\"user\", m.role, m.join_number, m.read_seq, m.read_messages, m.sent, m.read_sent, m.last_sent_seq,
           EXISTS (SELECT FROM memberships s
                   WHERE s.\"user\" = m.\"user\" AND s.active_period = c.active_period AND s.conversation = c.number)
    FROM members m JOIN conversations c ON c.number = m.conversation
    WHERE m.conversation = $1 AND m.join_number > $2 ORDER BY m.join_number LIMIT $3";

const LOG: &str = concat!(
    "SELECT ",
    log_columns!(),
    ", l.messages, l.digest FROM log l WHERE l.conversation = $1 AND l.seq > $2 ORDER BY l.seq LIMIT $3"
);

const USERS: &str = "SELECT id, name, last_seen_at FROM users
    WHERE id > $1 AND (name IS NOT NULL OR last_seen_at IS NOT NULL) ORDER BY id LIMIT $2";

/// Conversations whose rows are counted together, and users.
const COUNTED_CONVERSATIONS: i64 = 100;
const COUNTED_USERS: i64 = 1_000;

/// From one conversation's number on: where the range ends, and how much is in it. The last one has no end.
const COUNT_BY_CONVERSATION: &str = "
    WITH page AS (SELECT number FROM conversations WHERE number > $1 ORDER BY number LIMIT $2),
         bounds AS (SELECT count(*) AS found, CASE WHEN count(*) < $2 THEN 9223372036854775807 ELSE max(number) END AS last FROM page)
    SELECT last, found, (SELECT count(*) FROM members WHERE conversation > $1 AND conversation <= last),
           (SELECT count(*) FROM log WHERE conversation > $1 AND conversation <= last)
    FROM bounds";

/// The same by users, who are known by their ids. The last of all characters is behind every id.
const COUNT_BY_USER: &str = "
    WITH page AS (SELECT id, conversations FROM users WHERE id > $1 ORDER BY id LIMIT $2),
         bounds AS (SELECT CASE WHEN count(*) < $2 THEN NULL ELSE max(id) END AS last FROM page)
    SELECT last, (SELECT count(*) FROM memberships WHERE \"user\" > $1 AND \"user\" <= coalesce(last, chr(1114111))),
           (SELECT count(*) FROM page WHERE conversations <> (SELECT count(*) FROM memberships m WHERE m.\"user\" = page.id))
    FROM bounds";

/// The statements of a comparison, prepared.
pub(crate) struct Compare {
    conversations: Statement,
    members: Statement,
    log: Statement,
    users: Statement,
}

/// How many rows there are, and how many do not follow from the others as they should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) conversations: u64,
    pub(crate) members: u64,
    /// The same by user.
    pub(crate) memberships: u64,
    pub(crate) events: u64,
    /// Users whose number of conversations is not that of their memberships.
    pub(crate) miscounted_users: u64,
}

impl PostgresImport {
    /// Prepares what the other methods here need.
    pub(crate) fn prepare_compare(&self) -> Result<Compare, PostgresImportError> {
        let all = [CONVERSATIONS, MEMBERS, LOG, USERS];
        let prepared = self.runtime.block_on(prepare(&self.link.client, &all))?;
        let Ok([conversations, members, log, users]) = <[Statement; 4]>::try_from(prepared) else {
            unreachable!("as many as were asked for")
        };
        Ok(Compare { conversations, members, log, users })
    }

    /// The history's name.
    pub(crate) fn epoch(&self) -> Result<String, PostgresImportError> {
        let epoch = self.runtime.block_on(meta(&self.link.client, "epoch"))?;
        epoch.ok_or(PostgresImportError::Corrupt("epoch"))
    }

    /// The fingerprints of conversations, in the order asked for; `None` for one that is not there.
    pub(crate) fn fingerprints(
        &self,
        compare: &Compare,
        ids: &[ConversationId],
    ) -> Result<Vec<Option<Fingerprint>>, PostgresImportError> {
        let mut found: HashMap<ConversationId, Fingerprint> =
            self.runtime.block_on(fingerprints(&self.link.client, compare, ids))?;
        Ok(ids.iter().map(|id| found.remove(id)).collect())
    }

    /// The checksum of the users of whom something is known.
    pub(crate) fn users_checksum(&self, compare: &Compare) -> Result<Checksum, PostgresImportError> {
        self.runtime.block_on(users_checksum(&self.link.client, &compare.users))
    }

    /// Counts all rows.
    pub(crate) fn counts(&self) -> Result<Counts, PostgresImportError> {
        self.runtime.block_on(counts(&self.link.client))
    }

    /// The ids of conversations behind `after`, ascending.
    pub(crate) fn ids_after(&self, after: Option<ConversationId>) -> Result<Vec<ConversationId>, PostgresImportError> {
        let sql = "SELECT id FROM conversations WHERE id > $1 OR $1 IS NULL ORDER BY id LIMIT $2";
        let after: Option<Uuid> = after.map(|id| rows::uuid(id.as_bytes()));
        let found = self.runtime.block_on(query(&self.link.client, sql, &[&after, &PAGE_ROWS]))?;
        Ok(found.iter().map(|row| rows::conversation_id(row, 0)).collect::<Result<_, _>>()?)
    }
}

/// Counts in ranges, so that no statement takes longer on a larger store. Together the ranges are everything, whatever is in the
/// tables.
async fn counts(client: &Client) -> Result<Counts, PostgresImportError> {
    let mut counts = Counts { conversations: 0, members: 0, memberships: 0, events: 0, miscounted_users: 0 };
    let mut after = i64::MIN;
    while after < i64::MAX {
        let row = query_one(client, COUNT_BY_CONVERSATION, &[&after, &COUNTED_CONVERSATIONS]).await?;
        after = row.try_get(0)?;
        counts.conversations += rows::number(&row, 1)?;
        counts.members += rows::number(&row, 2)?;
        counts.events += rows::number(&row, 3)?;
    }
    let mut after = Some(String::new());
    while let Some(user) = after {
        let row = query_one(client, COUNT_BY_USER, &[&user, &COUNTED_USERS]).await?;
        after = row.try_get(0)?;
        counts.memberships += rows::number(&row, 1)?;
        counts.miscounted_users += rows::number(&row, 2)?;
    }
    Ok(counts)
}

async fn fingerprints(
    client: &Client,
    compare: &Compare,
    ids: &[ConversationId],
) -> Result<HashMap<ConversationId, Fingerprint>, PostgresImportError> {
    let uuids: Vec<Uuid> = ids.iter().map(|id| rows::uuid(id.as_bytes())).collect();
    let found = query(client, &compare.conversations, &[&uuids]).await?;
    // All at once, so that they share round trips.
    let fingerprints = pipeline::all(found.iter().map(|row| fingerprint(client, compare, row))).await;
    fingerprints.into_iter().collect()
}

async fn fingerprint(
    client: &Client,
    compare: &Compare,
    row: &Row,
) -> Result<(ConversationId, Fingerprint), PostgresImportError> {
    let (number, found) = (row.try_get::<_, i64>(0)?, conversation(row)?);
    let mut summing = Summing::new();
    summing.conversation(&found);
    let period = if row.try_get(14)? { period_column(found.active_at) } else { -1 };
    if row.try_get::<_, i64>(13)? != period {
        summing.spoil();
    }
    let (members, log) = (members(client, &compare.members, number).await?, log(client, &compare.log, number, found.id).await?);
    Ok((found.id, Fingerprint { conversation: summing.finish(), members, log }))
}

fn conversation(row: &Row) -> Result<ConversationRow, PostgresImportError> {
    Ok(ConversationRow {
        id: rows::conversation_id(row, 1)?,
        kind: rows::kind(row, 2)?,
        title: row.try_get(3)?,
        invite: rows::invite(row, 4)?,
        pair: row.try_get(5)?,
        created_at: rows::time(row, 6)?,
        active_at: rows::id_time(row, 7)?,
        head: rows::seq(row, 8)?,
        messages: rows::number(row, 9)?,
        last_message_seq: rows::seq(row, 10)?,
        member_count: rows::number(row, 11)?,
        next_join_number: rows::number(row, 12)?,
    })
}

/// Whether a page of so many rows is the last one.
fn is_last(rows: &[Row]) -> bool {
    (rows.len() as u64) < PAGE_ROWS.unsigned_abs()
}

async fn members(client: &Client, statement: &Statement, number: i64) -> Result<Checksum, PostgresImportError> {
    let (mut summing, mut after) = (Summing::new(), -1);
    loop {
        let page = query(client, statement, &[&number, &after, &PAGE_ROWS]).await?;
        for row in &page {
            let member = MemberRow {
                user: rows::user(row, 0)?,
                role: rows::role(row, 1)?,
                join_number: rows::number(row, 2)?,
                read_seq: rows::seq(row, 3)?,
                read_messages: rows::number(row, 4)?,
                sent: rows::number(row, 5)?,
                read_sent: rows::number(row, 6)?,
                last_sent_seq: rows::seq(row, 7)?,
            };
            summing.member(&member);
            if !row.try_get::<_, bool>(8)? {
                summing.spoil();
            }
            after = integer(member.join_number);
        }
        if is_last(&page) {
            return Ok(summing.finish());
        }
    }
}

async fn log(client: &Client, statement: &Statement, number: i64, id: ConversationId) -> Result<Checksum, PostgresImportError> {
    let (mut summing, mut after) = (Summing::new(), Seq::ZERO);
    loop {
        let page = query(client, statement, &[&number, &integer(after.get()), &PAGE_ROWS]).await?;
        for row in &page {
            let event = rows::event(row, 0, id)?.ok_or(PostgresImportError::Corrupt("seq"))?;
            after = event.seq();
            let digest = message_of(&event).map(|message| digest_column(id, log_digest(message)));
            if row.try_get::<_, Option<i64>>(10)? != digest {
                summing.spoil();
            }
            summing.event(&LogRow { event, messages: rows::number(row, 9)? });
        }
        if is_last(&page) {
            return Ok(summing.finish());
        }
    }
}

async fn users_checksum(client: &Client, statement: &Statement) -> Result<Checksum, PostgresImportError> {
    let (mut summing, mut after) = (Summing::new(), None::<UserId>);
    loop {
        let page = query(client, statement, &[&after.as_ref().map_or("", |user| user.as_str()), &PAGE_ROWS]).await?;
        for row in &page {
            let seen: Option<i64> = row.try_get(2)?;
            let user = UserRow {
                id: rows::user(row, 0)?,
                name: row.try_get::<_, Option<&str>>(1)?.map(Into::into),
                last_seen_at: seen.map(|_| rows::time(row, 2)).transpose()?,
            };
            summing.user(&user);
            after = Some(user.id);
        }
        if is_last(&page) {
            return Ok(summing.finish());
        }
    }
}
