//! Brings what the journal holds into the tables, in large sorted batches, and reads it back when the database is opened.
//!
//! A message costs several pages when it is put in its places alone, since those lie far from each other. The pages of many
//! messages of one conversation are the same.

use rusqlite::{Connection, params};

use super::super::message_of;
use super::journal;
use super::open::SqliteOpenError;
use super::overlay::{Overlay, Step};
use super::rows::{self, integer};
use super::staged::{Counters, Entry};
use crate::protocol::UserId;

/// Writes `plan` to the tables and deletes the journal rows before `needless_before`. Inside a transaction.
pub(super) fn write(connection: &Connection, overlay: &Overlay, plan: &[Step], needless_before: u64) -> rusqlite::Result<()> {
    for step in plan {
        let Some((tail, entries, members)) = overlay.step(step) else { continue };
        write_entries(connection, tail.number, entries)?;
        write_members(connection, tail.number, members)?;
    }
    connection.prepare_cached("DELETE FROM journal WHERE id < ?1")?.execute([integer(needless_before)])?;
    Ok(())
}

fn write_entries<'a>(connection: &Connection, number: i64, entries: impl Iterator<Item = &'a Entry>) -> rusqlite::Result<()> {
    let mut index = Vec::new();
    let (mut last, mut last_message) = (None, None);
    for entry in entries {
        rows::insert_event(connection, number, entry.messages, &entry.event)?;
        if let Some(digest) = entry.digest {
            index.push((digest, entry.event.seq()));
        }
        last = Some(entry);
        last_message = message_of(&entry.event).or(last_message);
    }
    // In the order of the table, so that neighbours are written together.
    index.sort_unstable();
    let mut insert = connection.prepare_cached("INSERT INTO client_ids (conversation, digest, seq) VALUES (?1, ?2, ?3)")?;
    for (digest, seq) in index {
        insert.execute(params![number, digest, integer(seq.get())])?;
    }
    if let Some(last) = last {
        let sql = "UPDATE conversations SET head = ?2, messages = ?3 WHERE number = ?1";
        let head = integer(last.event.seq().get());
        connection.prepare_cached(sql)?.execute(params![number, head, integer(last.messages)])?;
    }
    if let Some(message) = last_message {
        let sql = "UPDATE conversations SET last_message_seq = ?2, active_at = ?3 WHERE number = ?1";
        let (seq, at) = (integer(message.seq.get()), integer(message.created_at.get()));
        connection.prepare_cached(sql)?.execute(params![number, seq, at])?;
    }
    Ok(())
}

fn write_members<'a>(
    connection: &Connection,
    number: i64,
    members: impl Iterator<Item = (&'a UserId, &'a Counters)>,
) -> rusqlite::Result<()> {
    let mut update = connection.prepare_cached(
        "UPDATE members SET read_seq = ?3, read_messages = ?4, sent = ?5, read_sent = ?6, last_sent_seq = ?7
         WHERE conversation = ?1 AND user = ?2",
    )?;
    for (user, counters) in members {
        update.execute(params![
            number,
            user.as_str(),
            integer(counters.read_seq.get()),
            integer(counters.read_messages),
            integer(counters.sent),
            integer(counters.read_sent),
            integer(counters.last_sent_seq.get()),
        ])?;
    }
    Ok(())
}

/// Reads the journal of a database that is being opened. A row may be folded in part: entries up to the head in the tables
/// and counters that the tables have as well or better are left out. Returns the id that the next row gets, too.
pub(super) fn replay(connection: &Connection) -> Result<(Overlay, u64), SqliteOpenError> {
    let mut overlay = Overlay::default();
    let mut next = 1;
    let mut list = connection.prepare("SELECT id, body FROM journal ORDER BY id")?;
    let mut found = list.query([])?;
    while let Some(row) = found.next()? {
        let id = rows::number(row, 0)?;
        next = id + 1;
        let body = row.get_ref(1)?.as_blob().map_err(|_| SqliteOpenError::Journal)?;
        let mut batch = journal::decode(body).map_err(|journal::Corrupt| SqliteOpenError::Journal)?;
        for (conversation, staged) in &mut batch {
            let tabled = rows::position(connection, *conversation)?.ok_or(SqliteOpenError::Journal)?;
            staged.number = tabled.number;
            staged.entries.retain(|entry| entry.event.seq() > tabled.head);
            if staged.head < tabled.head {
                (staged.head, staged.messages) = (tabled.head, tabled.messages);
            }
            for (user, counters) in &mut staged.members {
                // Whoever left has no row; their marks went with them.
                let tabled = rows::counters(connection, tabled.number, user)?;
                let merged = tabled.zip(*counters).map(|(mut merged, journaled)| {
                    merged.merge(&journaled);
                    merged
                });
                *counters = merged.filter(|merged| Some(*merged) != tabled);
            }
        }
        overlay.publish(id, body.len(), batch.into_iter());
    }
    Ok((overlay, next))
}
