//! The comparison of source and target: every conversation's row, members and log, the users, and that there is nothing besides.

use super::{ImportError, Progress};
use crate::protocol::ConversationId;
use crate::store::postgres::{Compare, PostgresImport};
use crate::store::sqlite::SqliteExport;
use crate::store::transfer::{ConversationRow, Source};

/// Conversations that are compared together.
const CHUNK: usize = 8;
/// Most differences that are told one by one.
const MAX_TOLD: usize = 10;

/// What was found to differ.
#[derive(Default)]
struct Differences {
    told: Vec<String>,
    more: u64,
}

impl Differences {
    fn add(&mut self, difference: String) {
        if self.told.len() < MAX_TOLD {
            self.told.push(difference);
        } else {
            self.more += 1;
        }
    }

    fn is_empty(&self) -> bool {
        self.told.is_empty()
    }
}

/// Compares everything.
///
/// # Errors
/// [`ImportError::Differs`], or when either cannot be read.
pub(super) fn run(
    export: &SqliteExport,
    source: &Source,
    target: &PostgresImport,
    progress: &mut Progress,
) -> Result<(), ImportError> {
    let compare = target.prepare_compare()?;
    let mut differences = Differences::default();
    if *target.epoch()? != *source.epoch {
        differences.add("the target has another epoch".to_owned());
    }
    let members = compare_conversations(export, source, target, &compare, &mut differences, progress)?;
    let counts = target.counts()?;
    if counts.conversations != source.totals.conversations {
        tell_surplus(export, target, &mut differences)?;
    }
    if counts.memberships != counts.members {
        differences.add(format!("{} members in the target, and {} memberships by user", counts.members, counts.memberships));
    }
    if counts.members != members || counts.events != source.totals.events {
        differences.add(format!(
            "{members} members and {} events in the source, {} and {} in the target",
            source.totals.events, counts.members, counts.events
        ));
    }
    let (ours, theirs) = (export.users_checksum()?, target.users_checksum(&compare)?);
    if ours != theirs {
        let counts = format!("{} in the source, {} in the target", ours.rows, theirs.rows);
        differences.add(format!("users, their names or when they were last online: {counts}"));
    }
    if counts.miscounted_users > 0 {
        differences.add(format!("{} users have a wrong number of conversations in the target", counts.miscounted_users));
    }
    if differences.is_empty() { Ok(()) } else { Err(ImportError::Differs(differences.told, differences.more)) }
}

/// Compares every conversation of the source with its copy, and counts their members.
fn compare_conversations(
    export: &SqliteExport,
    source: &Source,
    target: &PostgresImport,
    compare: &Compare,
    differences: &mut Differences,
    progress: &mut Progress,
) -> Result<u64, ImportError> {
    progress.start("compared", "conversations", source.totals.conversations);
    let (mut after, mut members) = (i64::MIN, 0);
    loop {
        let mut chunk: Vec<(i64, ConversationRow)> = Vec::with_capacity(CHUNK);
        while chunk.len() < CHUNK
            && let Some((number, row)) = export.conversation_after(after)?
        {
            after = number;
            chunk.push((number, row));
        }
        if chunk.is_empty() {
            break;
        }
        let ids: Vec<ConversationId> = chunk.iter().map(|(_, row)| row.id).collect();
        let copies = target.fingerprints(compare, &ids)?;
        for ((number, row), copy) in chunk.iter().zip(copies) {
            let ours = export.fingerprint(*number, row)?;
            members += ours.members.rows;
            match copy.map(|copy| ours.difference(&copy)) {
                Some(None) => {}
                Some(Some(difference)) => differences.add(format!("conversation {}: {difference}", row.id)),
                None => differences.add(format!("conversation {}: it is missing in the target", row.id)),
            }
        }
        progress.advance(ids.len() as u64);
    }
    progress.finish();
    Ok(members)
}

/// Names the conversations that only the target has.
fn tell_surplus(export: &SqliteExport, target: &PostgresImport, differences: &mut Differences) -> Result<(), ImportError> {
    let mut after = None;
    loop {
        let ids = target.ids_after(after)?;
        for id in &ids {
            if !export.has(*id)? {
                differences.add(format!("conversation {id}: it is in the target only"));
            }
        }
        match ids.last() {
            Some(last) => after = Some(*last),
            None => return Ok(()),
        }
    }
}
