//! What `parlor import` refuses: each refusal says what is wrong and what to do next, and leaves nothing behind.

use std::collections::BTreeSet;

use rusqlite::Connection;

use crate::import::{Move, assert_fails, assert_imported, beside, output};
use crate::support::cluster::shared_url;
use crate::support::{Client, group, run_to_exit};

impl Move {
    /// A database with one group, which no server has open.
    async fn filled() -> Self {
        let it = Self::new();
        let mut server = it.on_sqlite("chat.db").await;
        group(&mut Client::login(&server, "ada").await, &[]).await;
        server.terminate();
        server.wait().await;
        it
    }

    /// The names of the files beside the database.
    fn files(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("it is there");
        entries.map(|entry| entry.expect("listed").file_name().to_string_lossy().into_owned()).collect()
    }

    /// Imports into this database.
    async fn import_into(&self, url: &str) -> std::process::Output {
        let mut arguments = self.arguments("chat.db");
        let place = arguments.iter().position(|argument| argument == shared_url()).expect("it is named");
        arguments[place] = url.to_owned();
        run_to_exit(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await
    }
}

#[track_caller]
fn assert_tells(result: &std::process::Output, problem: &str, remedy: &str) {
    assert_fails(result, problem);
    assert_fails(result, remedy);
}

#[tokio::test]
async fn what_is_no_database_of_a_server_is_no_source_and_is_left_as_it_is() {
    let it = Move::new();
    std::fs::write(it.path("notes.txt"), "Nothing of SQLite's is in this file.").expect("written");
    std::fs::create_dir(it.path("directory")).expect("made");
    let foreign = Connection::open(it.path("foreign.db")).expect("opens");
    foreign.execute_batch("PRAGMA journal_mode = wal; CREATE TABLE mine (mine)").expect("made");
    drop(foreign);
    let before = it.files();
    let remedy = "parlor.db in its --data";
    for (file, problem) in [
        ("missing.db", "there is no file"),
        ("no/such/directory.db", "there is no file"),
        ("notes.txt", "is no SQLite database"),
        ("directory", "is no SQLite database"),
        ("foreign.db", "not one of this server"),
    ] {
        assert_tells(&it.import(file, &[]).await, problem, remedy);
        assert_tells(&it.import(file, &["--check-only"]).await, problem, remedy);
    }
    assert_eq!(it.files(), before);
}

#[tokio::test]
async fn a_source_of_another_version_is_to_be_brought_up_to_date_first() {
    let it = Move::filled().await;
    std::fs::remove_file(it.path("chat.db.lock")).expect("it was there");
    let before = it.files();
    let database = Connection::open(it.path("chat.db")).expect("opens");
    let newest = "version = (SELECT max(version) FROM refinery_schema_history)";
    database.execute_batch(&format!("UPDATE refinery_schema_history SET version = 1000 WHERE {newest}")).expect("changed");
    drop(database);
    assert_tells(&it.import("chat.db", &[]).await, "version 1000", "take the newer one");
    let database = Connection::open(it.path("chat.db")).expect("opens");
    database.execute_batch(&format!("DELETE FROM refinery_schema_history WHERE {newest}")).expect("changed");
    drop(database);
    assert_tells(
        &it.import("chat.db", &[]).await,
        "the database's schema has version",
        "`parlor migrate --database sqlite:PATH`",
    );
    assert_eq!(it.files(), before, "no lock file is left");
}

#[tokio::test]
async fn a_target_that_cannot_be_reached_or_changed_is_told_apart() {
    let it = Move::filled().await;
    let (before, at) = shared_url().split_once('@').expect("a user and a host");
    let check = "check --database";
    let wrong = format!("postgres://postgres:hunter2@{at}");
    assert_tells(&it.import_into(&wrong).await, "password authentication failed", check);
    assert_tells(&it.import_into("postgres://postgres:hunter2@127.0.0.1:1/postgres").await, "cannot connect", check);
    let (host, _) = at.rsplit_once('/').expect("a database");
    assert_tells(&it.import_into(&format!("{before}@{host}/elsewhere")).await, "\"elsewhere\" does not exist", check);

    let superuser = beside("public").await;
    let (schema, role) = (&it.schema, format!("role_{}", it.schema));
    superuser.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'")).await.expect("a role");
    let as_role = format!("postgres://{role}:hunter2@{at}");
    let result = it.import_into(&as_role).await;
    assert_tells(&result, "permission denied for database", "the role must own the schema of --database-schema");
    let migrated = run_to_exit(&["migrate", "--database", shared_url(), "--database-schema", schema]).await;
    assert_eq!(output(&migrated).0, Some(0));
    let grant = format!("GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role}");
    superuser.batch_execute(&grant).await.expect("granted");
    let result = it.import_into(&as_role).await;
    assert_tells(&result, "permission denied for table", "name a role in --database that owns the schema");
    assert!(!output(&result).1.contains("hunter2"));
    assert_imported(&it.import("chat.db", &[]).await);
}

#[tokio::test]
async fn servers_and_imports_keep_each_other_out() {
    let it = Move::filled().await;
    // Nothing is stored in it yet, and two may use it.
    let servers = [it.on_postgres().await, it.on_postgres().await];
    for server in servers {
        assert_tells(&it.import("chat.db", &[]).await, "a server uses this schema", "stop it");
        drop(server);
    }
    let client = beside(&it.schema).await;
    crate::import::until(
        &client,
        "the servers' connections to end",
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'
        AND objid::bigint = hashtext(current_schema()::text)::bigint & 4294967295",
        0,
    )
    .await;
    // An import that is going on, as far as anybody can see: it waits for a lock.
    client.batch_execute("BEGIN; LOCK TABLE meta").await.expect("locked");
    let mut import = crate::import::start_import(&it);
    let waits = "SELECT count(*) FROM pg_locks WHERE relation = 'meta'::regclass AND NOT granted";
    crate::import::until(&client, "the import to wait", waits, 1).await;
    let serve = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &it.path("data"), "--database", shared_url()];
    let serve: Vec<&str> = serve.into_iter().chain(["--database-schema", &it.schema]).collect();
    let result = run_to_exit(&serve).await;
    assert_tells(&result, "an import into this schema is going on", "start the server when it has finished");
    client.batch_execute("COMMIT").await.expect("freed");
    assert!(import.wait().expect("it ends").success());
    let server = it.on_postgres().await;
    // Whoever only compares keeps nobody out, and nobody keeps them out.
    let (code, told) = output(&it.import("chat.db", &["--check-only"]).await);
    assert_eq!(code, Some(0), "{told}");
    drop(server);
}
