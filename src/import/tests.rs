//! Random histories, imported: the copy answers like the model that the original was compared with, and goes on like it.

use super::*;
use crate::protocol::{ConversationId, UnixMillis};
use crate::store::contract::model::Model;
use crate::store::contract::random::{Random, compare_all, run_burst, with_seeds};
use crate::store::contract::{LIMITS, Subject, fresh_message_at, group, text};
use crate::store::postgres::PostgresStore;
use crate::store::postgres::tests::{server_at, shared_url};
use crate::store::sqlite::SqliteStore;
use crate::store::{NewConversation, NewMessage, StoreLimits};

#[test]
fn a_copy_answers_and_goes_on_as_the_original_would() {
    with_seeds(4, |seed| {
        let (mut random, mut model) = (Random::new(seed), Model::default());
        let directory = tempfile::tempdir().unwrap();
        let source = directory.path().join("parlor.db");
        let original = Subject::volatile(SqliteStore::open(&source, LIMITS).unwrap());
        for _ in 0..80 {
            run_burst(&mut random, original.store(), &mut model, 12);
        }
        drop(original);
        let config = ImportConfig { source, target: server_at(shared_url()) };
        let outcome = run(&config, &mut Progress::new()).unwrap();
        let Outcome::Imported(totals) = outcome else { panic!("{outcome:?}") };
        assert_eq!(totals.conversations, model.conversations.len() as u64);
        assert_eq!(totals.events, model.conversations.iter().map(|one| one.log.len() as u64).sum::<u64>());
        assert_eq!(check(&config, &mut Progress::new()).unwrap(), totals);
        assert_eq!(run(&config, &mut Progress::new()).unwrap(), Outcome::WasImported);
        let copy = Subject::volatile(PostgresStore::open(config.target, LIMITS).unwrap());
        compare_all(&mut random, &copy, &model);
        for _ in 0..30 {
            run_burst(&mut random, copy.store(), &mut model, 12);
        }
        compare_all(&mut random, &copy, &model);
    });
}

/// All of ann's conversations, read page by page.
fn listing(subject: &Subject) -> Vec<ConversationId> {
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let page = subject.page("ann", cursor, 2);
        found.extend(page.conversations.iter().map(|view| view.id));
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}

/// Two hours in milliseconds, more than a period.
const HOURS: u64 = 2 * 3_600_000;

/// A group that ann and so many others have made at this time.
fn create_at(subject: &Subject, hours: u64, others: usize) -> ConversationId {
    let crowd: Vec<String> = (0..others).map(|number| format!("user-{number}")).collect();
    let members: Vec<&str> = ["ann"].into_iter().chain(crowd.iter().map(String::as_str)).collect();
    let id = ConversationId::from_bytes(*fresh_message_at(UnixMillis::new(hours * HOURS)).as_bytes());
    subject.create(NewConversation { id, ..group(&members, Some([others as u8; 32])) }).conversation
}

fn say_at(subject: &Subject, hours: u64, conversation: ConversationId, sender: &str) {
    let id = fresh_message_at(UnixMillis::new(hours * HOURS));
    subject.send(NewMessage { id, ..text(conversation, sender, "x") }).unwrap();
}

#[test]
fn large_conversations_keep_their_places() {
    const MANY: StoreLimits = StoreLimits { max_members: usize::MAX, max_conversations_per_user: usize::MAX };
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("parlor.db");
    let original = Subject::volatile(SqliteStore::open(&source, MANY).unwrap());
    // The last of these has as many members as one can have without being large.
    let created = [1, 130, 2, 129, 127].map(|others| create_at(&original, 1, others));
    say_at(&original, 2, created[1], "ann");
    say_at(&original, 3, created[0], "user-0");
    let expected = [created[0], created[1], created[4], created[3], created[2]];
    assert_eq!(listing(&original), expected);
    drop(original);
    let config = ImportConfig { source, target: server_at(shared_url()) };
    run(&config, &mut Progress::new()).unwrap();
    let copy = Subject::volatile(PostgresStore::open(config.target, MANY).unwrap());
    assert_eq!(listing(&copy), expected);
    say_at(&copy, 4, created[3], "user-7");
    say_at(&copy, 5, created[4], "user-7");
    // One more, and this one is large too.
    copy.join([127; 32], "newcomer").unwrap();
    assert_eq!(listing(&copy), [created[4], created[3], created[0], created[1], created[2]]);
    say_at(&copy, 6, created[2], "user-1");
    copy.leave(created[4], "user-7").unwrap();
    copy.leave(created[3], "user-7").unwrap();
    say_at(&copy, 7, created[3], "ann");
    assert_eq!(listing(&copy), [created[3], created[2], created[4], created[0], created[1]]);
}
