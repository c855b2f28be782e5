//! Which servers the store refuses, what it touches, and what it tells of passwords.

use super::super::super::contract::{call, group, text, user};
use super::*;

fn refusal(server: &DatabaseServer) -> String {
    match PostgresStore::open(server.clone(), LIMITS) {
        Ok(_) => panic!("it opened"),
        Err(error) => format!("{error} {error:?}"),
    }
}

fn with_url(server: &DatabaseServer, url: &str) -> DatabaseServer {
    DatabaseServer { url: ServerUrl::parse(url).unwrap(), ..server.clone() }
}

#[test]
fn a_server_that_would_lose_messages_is_refused_unless_that_is_accepted() {
    let mut cluster = Cluster::start();
    let server = server_at(cluster.url());
    for setting in ["synchronous_commit", "fsync"] {
        cluster.command(&format!("set {setting} = off"));
        cluster.command("restart");
        let refusal = refusal(&server);
        assert!(refusal.contains(&format!("{setting} is off")) && refusal.contains("--allow-unsafe-database"), "{refusal}");
        let store = open(&DatabaseServer { allow_unsafe: true, ..server.clone() });
        assert_eq!(call(|done| store.check(done)), Ok(()));
        cluster.command(&format!("set {setting} = on"));
    }
    cluster.command("restart");
    drop(open(&server));
}

#[test]
fn settings_are_looked_at_again_after_a_restart() {
    let mut cluster = Cluster::start();
    let store = open(&server_at(cluster.url()));
    cluster.command("set fsync = off");
    cluster.command("restart");
    let conversation = call(|done| store.create_conversation(group(&["ann"], None), done));
    assert_eq!(conversation.err(), Some(StoreError::Unavailable));
    cluster.command("set fsync = on");
    cluster.command("restart");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while call(|done| store.check(done)).is_err() {
        assert!(std::time::Instant::now() < deadline, "the store does not come back");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn no_refusal_tells_the_password() {
    let server = server_at(shared_url());
    let at = shared_url().split_once('@').unwrap().1;
    for (url, problem) in [
        (format!("postgres://postgres:hunter2@{at}"), "password authentication failed"),
        ("postgres://postgres:hunter2@127.0.0.1:1/postgres".to_owned(), "error connecting"),
        ("postgres://postgres:hunter2@does.not.exist.invalid/postgres".to_owned(), "error connecting"),
        (format!("postgres://nobody:hunter2@{at}?sslmode=disable"), "password authentication failed"),
    ] {
        let refusal = refusal(&with_url(&server, &url));
        assert!(refusal.contains(problem) && refusal.contains("--database"), "{refusal}");
        assert!(!refusal.contains("hunter2"), "{refusal}");
    }
}

#[test]
fn nothing_outside_the_schema_is_touched() {
    let server = server_at(shared_url());
    let store = open(&server);
    let conversation = call(|done| store.create_conversation(group(&["ann"], None), done)).unwrap().conversation;
    call(|done| store.append_message(text(conversation, "ann", "x"), done)).unwrap();
    let beside = Beside::new(&server);
    let elsewhere = |catalogue: &str, column: &str| {
        beside.number(&format!(
            "SELECT count(*) FROM {catalogue} o JOIN pg_namespace n ON n.oid = o.{column}
             WHERE n.nspname NOT LIKE 'pg\\_%' AND n.nspname NOT LIKE 'test\\_%' AND n.nspname <> 'information_schema'"
        ))
    };
    assert_eq!((elsewhere("pg_class", "relnamespace"), elsewhere("pg_proc", "pronamespace")), (0, 0));
    let outward =
        "SELECT count(*) FROM pg_constraint k JOIN pg_class a ON a.oid = k.conrelid JOIN pg_class b ON b.oid = k.confrelid
                   WHERE k.contype = 'f' AND a.relnamespace <> b.relnamespace";
    assert_eq!(beside.number(outward), 0, "no foreign key leads out");
}

#[test]
fn a_role_needs_no_more_than_its_schema() {
    let server = server_at(shared_url());
    let beside = Beside::new(&server);
    let (role, at) = (format!("role_{}", server.schema), shared_url().split_once('@').unwrap().1);
    beside.run(&format!("CREATE ROLE {role} LOGIN PASSWORD 'hunter2'"));
    let as_role = with_url(&server, &format!("postgres://{role}:hunter2@{at}?sslmode=disable"));
    let refusal = refusal(&as_role);
    assert!(refusal.contains("permission denied") && refusal.contains("--database-schema"), "{refusal}");
    beside.run(&format!("CREATE SCHEMA {} AUTHORIZATION {role}", server.schema));
    let store = open(&as_role);
    let conversation = call(|done| store.create_conversation(group(&["ann"], None), done)).unwrap().conversation;
    call(|done| store.append_message(text(conversation, "ann", "x"), done)).unwrap();
    drop(store);

    // One that may not change the schema runs on a schema that is up to date.
    let user_role = format!("user_{}", server.schema);
    beside.run(&format!(
        "CREATE ROLE {user_role} LOGIN PASSWORD 'hunter2'; GRANT USAGE ON SCHEMA {schema} TO {user_role};
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {user_role}",
        schema = server.schema
    ));
    let store = open(&with_url(&server, &format!("postgres://{user_role}:hunter2@{at}?sslmode=disable")));
    call(|done| store.append_message(text(conversation, "ann", "y"), done)).unwrap();
    call(|done| store.create_conversation(group(&["ann"], Some([1; 32])), done)).unwrap();
    call(|done| store.join_by_invite([1; 32], user("bob"), Arc::from("Bob"), UnixMillis::new(1), done)).unwrap();
    call(|done| store.put_user(user("bob"), Arc::from("Bob"), done)).unwrap();
    assert_eq!(call(|done| store.check(done)), Ok(()));
}

#[test]
fn migrating_says_what_it_did_and_a_newer_schema_is_refused() {
    let server = server_at(shared_url());
    let migrated = PostgresStore::migrate(&server).unwrap();
    assert_eq!(migrated.applied.first().map(String::as_str), Some("V1 conversations"));
    assert_eq!(PostgresStore::migrate(&server).unwrap(), Migrated { applied: Vec::new(), version: migrated.version });
    Beside::new(&server)
        .run("INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (1000, 'x', '', '0')");
    let refusal = refusal(&server);
    assert!(refusal.contains("version 1000") && refusal.contains("newer server"), "{refusal}");
}

#[test]
fn connections_are_encrypted_and_the_server_proves_itself_as_sslmode_says() {
    let cluster = Cluster::start();
    let server = server_at(cluster.url());
    let by_address = cluster.url().to_owned();
    let by_name = by_address.replace("127.0.0.1", "localhost");
    let authority = format!("sslmode=verify-full&sslrootcert={}", cluster.authority());
    let beside = Beside::new(&server);
    let encrypted = "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid)
                     WHERE a.application_name = 'parlor' AND s.ssl";
    let all = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'parlor'";
    for (url, options, is_encrypted) in [
        (&by_address, "sslmode=disable", false),
        (&by_address, "sslmode=prefer", true),
        (&by_address, "sslmode=require", true),
        (&by_name, authority.as_str(), true),
    ] {
        let store = open(&with_url(&server, &format!("{url}?{options}")));
        assert_eq!(call(|done| store.check(done)), Ok(()));
        let count = beside.number(all);
        assert!(count >= LANES as i64 + 2, "{options}");
        assert_eq!(beside.number(encrypted), if is_encrypted { count } else { 0 }, "{options}");
    }
    for (url, options, problem) in [
        (&by_address, authority.as_str(), "certificate"),
        (&by_name, "sslmode=verify-full", "certificate"),
        (&by_name, "sslmode=verify-full&sslrootcert=/dev/null", "sslrootcert"),
        (&by_name, "sslmode=verify-full&sslrootcert=/does/not/exist", "sslrootcert"),
    ] {
        let refusal = refusal(&with_url(&server, &format!("{url}?{options}")));
        assert!(refusal.contains(problem), "{options}: {refusal}");
    }
}

#[test]
fn a_server_without_tls_is_refused_where_it_is_required() {
    let mut cluster = Cluster::start();
    cluster.command("set ssl = off");
    cluster.command("restart");
    let server = server_at(cluster.url());
    drop(open(&with_url(&server, &format!("{}?sslmode=prefer", cluster.url()))));
    let refusal = refusal(&with_url(&server, &format!("{}?sslmode=require", cluster.url())));
    assert!(refusal.contains("TLS"), "{refusal}");
}
