//! Random histories, imported: the copy answers like the model that the original was compared with, and goes on like it.

use super::*;
use crate::store::contract::model::Model;
use crate::store::contract::random::{Random, compare_all, run_burst, with_seeds};
use crate::store::contract::{LIMITS, Subject};
use crate::store::postgres::PostgresStore;
use crate::store::postgres::tests::{server_at, shared_url};
use crate::store::sqlite::SqliteStore;

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
