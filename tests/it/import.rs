//! `parlor import`: everything is as it was, through the protocol; an import that was killed goes on; and what differs is told.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::cluster::{fresh_schema, shared_url};
use crate::support::{Client, Server, direct, group, history, join, list, number, run_to_exit, say, text, within};

/// Those who look at everything; `gus` never comes back.
const USERS: [&str; 4] = ["ada", "bob", "cyd", "dan"];

/// A SQLite database with its data directory, and a schema to import it into.
pub(crate) struct Move {
    pub(crate) directory: TempDir,
    pub(crate) schema: String,
}

impl Move {
    pub(crate) fn new() -> Self {
        Self { directory: TempDir::new().expect("a temporary directory"), schema: fresh_schema() }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.directory.path().join(name).to_str().expect("UTF-8").to_owned()
    }

    /// A server on the SQLite file of that name.
    pub(crate) async fn on_sqlite(&self, file: &str) -> Server {
        let database = format!("sqlite:{}", self.path(file));
        Server::start(&[("--database", &database), ("--data", &self.path("data"))]).await
    }

    /// A server on the schema, with the same data directory.
    pub(crate) async fn on_postgres(&self) -> Server {
        let flags = [("--database", shared_url()), ("--database-schema", &self.schema), ("--data", &self.path("data"))];
        Server::start(&flags).await
    }

    pub(crate) fn arguments(&self, file: &str) -> Vec<String> {
        let source = format!("sqlite:{}", self.path(file));
        ["import", &source, "--database", shared_url(), "--database-schema", &self.schema].map(str::to_owned).to_vec()
    }

    pub(crate) async fn import(&self, file: &str, more: &[&str]) -> Output {
        let arguments = self.arguments(file);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        run_to_exit(&arguments).await
    }

    /// The database as it is on the disk, without what only a server that runs knows.
    fn copy(&self, from: &str, to: &str) {
        for suffix in ["", "-wal"] {
            let source = PathBuf::from(self.path(&format!("{from}{suffix}")));
            if source.exists() {
                std::fs::copy(source, self.path(&format!("{to}{suffix}"))).expect("it can be copied");
            }
        }
    }
}

pub(crate) fn output(output: &Output) -> (Option<i32>, String) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(!text.contains(password()), "the password is told: {text}");
    (output.status.code(), text)
}

fn password() -> &'static str {
    let (user, _) = shared_url().split_once('@').expect("a URL with a password");
    user.rsplit(':').next().expect("a password")
}

#[track_caller]
pub(crate) fn assert_imported(result: &Output) {
    let (code, text) = output(result);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("everything was read back and compared") && text.contains("invite.key"), "{text}");
}

#[track_caller]
pub(crate) fn assert_fails(result: &Output, problem: &str) {
    let (code, text) = output(result);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains(problem), "{problem:?} is not in {text}");
}

/// A connection beside the server, to look and meddle.
pub(crate) async fn beside(schema: &str) -> tokio_postgres::Client {
    let url = format!("{}?sslmode=disable", shared_url());
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.expect("the cluster runs");
    tokio::spawn(connection);
    client.batch_execute(&format!("SET search_path TO {schema}")).await.expect("a schema");
    client
}

/// What everybody sees of everything, but for who is online, and when the users who look were last seen.
async fn picture(server: &Server) -> Value {
    let mut seen = serde_json::Map::new();
    for user in USERS {
        let mut client = Client::login(server, user).await;
        let (mut conversations, mut cursor) = (Vec::new(), Value::Null);
        loop {
            let request = if cursor.is_null() { json!({"limit": 2}) } else { json!({"limit": 2, "cursor": cursor}) };
            let page = client.ok("load_conversations", request).await;
            conversations.extend(list(&page, "conversations").iter().cloned());
            cursor = page["nextCursor"].clone();
            if cursor.is_null() {
                break;
            }
        }
        let mut views = Vec::new();
        for conversation in conversations {
            let id = text(&conversation, "id");
            let mut state = join(&mut client, &id).await;
            for member in state["members"].as_array_mut().expect("a list") {
                let member = member.as_object_mut().expect("an object");
                let looks = USERS.iter().any(|user| member["userId"] == json!(user));
                member.remove("status");
                if looks {
                    member.remove("lastSeenAt");
                }
            }
            views.push(json!({"listed": conversation, "joined": state, "history": history(&mut client, &id).await}));
        }
        seen.insert(user.to_owned(), Value::Array(views));
        client.close().await;
    }
    Value::Object(seen)
}

async fn send(client: &mut Client, room: &str, id: &str) -> Value {
    client.ok("send_message", json!({"conversationId": room, "content": format!("body of {id}"), "clientMessageId": id})).await
}

/// What is remembered of how the database was filled.
struct Filled {
    direct: String,
    room: String,
    code: String,
    left: String,
    left_code: String,
    first: Value,
}

/// Everything that a first server sees, and that is in the tables when the next one runs.
async fn fill(server: &Server) -> Filled {
    let mut ada = Client::login(server, "ada").await;
    let mut bob = Client::login(server, "bob").await;
    let mut gus = Client::login(server, "gus").await;
    let direct = direct(&mut ada, "bob").await;
    let first = send(&mut ada, &direct, "first").await["message"].clone();
    bob.ok("send_message", json!({"conversationId": direct, "content": "an answer \u{1F4A1}", "replyTo": first["id"]})).await;
    let (room, code) = group(&mut ada, &["bob", "never-came"]).await;
    gus.ok("join_group", json!({"inviteCode": code})).await;
    for place in 0..5 {
        send(&mut gus, &room, &format!("gus-{place}")).await;
    }
    bob.ok("mark_read", json!({"conversationId": room, "seq": 4})).await;
    // One that everybody left, and one that its owner left.
    let (left, left_code) = group(&mut ada, &["bob"]).await;
    say(&mut ada, &left, "soon empty").await;
    ada.ok("leave_group", json!({"conversationId": left})).await;
    group(&mut gus, &["cyd", "dan"]).await;
    gus.close().await;
    Filled { direct, room, code, left, left_code, first }
}

/// What is in the journal when the server is killed at its end.
async fn fill_on(server: &Server, filled: &Filled) {
    let mut ada = Client::login(server, "ada").await;
    let mut bob = Client::login(server, "bob").await;
    let mut cyd = Client::login(server, "cyd").await;
    cyd.ok("join_group", json!({"inviteCode": filled.code})).await;
    bob.ok("leave_group", json!({"conversationId": filled.left})).await;
    for place in 0..6 {
        send(&mut ada, &filled.room, &format!("ada-{place}")).await;
        send(&mut cyd, &filled.room, &format!("cyd-{place}")).await;
    }
    cyd.ok("mark_read", json!({"conversationId": filled.room, "seq": 9})).await;
    bob.ok("leave_group", json!({"conversationId": filled.room})).await;
    bob.ok("join_group", json!({"inviteCode": filled.code})).await;
    send(&mut bob, &filled.room, "bob-last").await;
    ada.ok("mark_read", json!({"conversationId": filled.room, "seq": 15})).await;
}

#[tokio::test]
async fn a_server_on_the_copy_shows_everybody_what_the_old_one_did() {
    let it = Move::new();
    let server = it.on_sqlite("chat.db").await;
    let filled = fill(&server).await;
    server.terminate();
    drop(server);
    let mut server = it.on_sqlite("chat.db").await;
    fill_on(&server, &filled).await;
    assert_fails(&it.import("chat.db", &[]).await, "another server has this database open");
    server.kill();
    server.wait().await;
    it.copy("chat.db", "copy.db");
    let before = std::fs::read(it.path("copy.db")).expect("it is there");
    assert_imported(&it.import("copy.db", &[]).await);
    assert_eq!(std::fs::read(it.path("copy.db")).expect("it is there"), before, "the source is only read");
    drop(server);

    let old = it.on_sqlite("chat.db").await;
    let was = picture(&old).await;
    drop(old);
    let new = it.on_postgres().await;
    let is = picture(&new).await;
    for user in USERS {
        assert_eq!(is[user], was[user], "{user}");
        assert!(!list(&is, user).is_empty());
    }
    goes_on(&new, &filled, &was).await;
}

/// Clients resume, codes and retries work, and logs go on behind their heads.
async fn goes_on(server: &Server, filled: &Filled, was: &Value) {
    let mut ada = Client::login(server, "ada").await;
    let is_room = |view: &&Value| view["listed"]["id"] == json!(filled.room);
    let view = list(was, "ada").iter().find(is_room).expect("ada is in it").clone();
    let (epoch, head) = (text(&view["joined"], "epoch"), number(&view["joined"], "head"));
    let since = json!({"conversationId": filled.room, "since": {"epoch": epoch, "seq": head - 3}});
    let reply = ada.ok("join_conversation", since).await;
    assert_eq!((&reply["recovered"], list(&reply, "events").len()), (&json!(true), 3), "{reply}");

    for (client_id, room) in [("first", &filled.direct), ("ada-3", &filled.room)] {
        let repeat = send(&mut ada, room, client_id).await;
        assert_eq!(repeat["duplicate"], json!(true), "{repeat}");
    }
    assert_eq!(send(&mut ada, &filled.direct, "first").await["message"], filled.first);
    let other = json!({"conversationId": filled.direct, "content": "another body", "clientMessageId": "first"});
    ada.fails("send_message", other, "conflict").await;
    let again = ada.ok("create_conversation", json!({"memberIds": ["bob"]})).await;
    assert_eq!(again["conversation"]["id"], json!(filled.direct));

    let mut hal = Client::login(server, "hal").await;
    let joined = hal.ok("join_group", json!({"inviteCode": filled.code})).await;
    assert_eq!((&joined["conversation"]["id"], number(&joined["conversation"], "head")), (&json!(filled.room), head + 1));
    assert_eq!(number(&say(&mut hal, &filled.room, "new here").await, "seq"), head + 2);
    // The group that everybody left belongs to whoever comes first.
    let joined = hal.ok("join_group", json!({"inviteCode": filled.left_code})).await;
    assert_eq!(joined["conversation"]["inviteCode"], json!(filled.left_code));
    assert_eq!(number(&joined["conversation"], "head"), 4);
}

#[tokio::test]
async fn a_finished_import_does_nothing_and_others_are_not_mixed_in() {
    let it = Move::new();
    let server = it.on_sqlite("chat.db").await;
    fill(&server).await;
    server.terminate();
    drop(server);
    assert_imported(&it.import("chat.db", &[]).await);
    let (code, told) = output(&it.import("chat.db", &[]).await);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("was imported before"), "{told}");

    let server = it.on_sqlite("chat.db").await;
    let mut ada = Client::login(&server, "ada").await;
    let rooms = ada.ok("load_conversations", json!({})).await;
    say(&mut ada, &text(&list(&rooms, "conversations")[0], "id"), "later").await;
    server.terminate();
    drop(server);
    assert_fails(&it.import("chat.db", &[]).await, "the source has changed since");
    let server = it.on_sqlite("other.db").await;
    group(&mut Client::login(&server, "ada").await, &[]).await;
    server.terminate();
    drop(server);
    assert_fails(&it.import("other.db", &[]).await, "another database was imported");

    let used = Move { schema: fresh_schema(), ..it };
    assert_fails(&used.import("other.db", &["--check-only"]).await, "nothing was imported");
    let server = used.on_postgres().await;
    group(&mut Client::login(&server, "ada").await, &[]).await;
    drop(server);
    assert_fails(&used.import("other.db", &[]).await, "holds users or conversations already");
    assert_fails(&used.import("missing.db", &[]).await, "missing.db");
    assert!(!Path::new(&used.path("missing.db.lock")).exists());
}

#[tokio::test]
async fn what_cannot_be_imported_is_a_wrong_configuration() {
    let wrong: [&[&str]; 3] = [
        &["import", "postgres://somebody:hunter2@elsewhere/chat", "--database", shared_url()],
        &["import", "sqlite:chat.db"],
        &["import", "sqlite:chat.db", "--database", "sqlite:other.db"],
    ];
    for arguments in wrong {
        let (code, text) = output(&run_to_exit(arguments).await);
        assert_eq!(code, Some(78), "{text}");
        assert!(!text.contains("hunter2") && text.contains("write "), "{text}");
    }
}

const MANY: usize = 3_000;
const WINDOW: usize = 50;

/// A database with a log of several batches.
async fn many_messages(it: &Move) {
    let server = it.on_sqlite("chat.db").await;
    let mut ada = Client::login(&server, "ada").await;
    let (room, _) = group(&mut ada, &["bob"]).await;
    for batch in 0..MANY / WINDOW {
        let mut waiting = Vec::new();
        for place in 0..WINDOW {
            let content = format!("number {}", batch * WINDOW + place + 1);
            waiting.push(ada.send("send_message", json!({"conversationId": room, "content": content})).await);
        }
        for id in waiting {
            ada.reply(&id).await.expect("a member may send");
        }
    }
    group(&mut ada, &["cyd"]).await;
    ada.close().await;
    server.terminate();
}

pub(crate) fn start_import(it: &Move) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parlor"));
    command.args(it.arguments("chat.db")).env_clear().stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the binary starts")
}

/// Polls until `sql` counts `count`.
pub(crate) async fn until(client: &tokio_postgres::Client, what: &str, sql: &str, count: i64) {
    within(what, async {
        while client.query_one(sql, &[]).await.expect("a count").get::<_, i64>(0) != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_import_that_was_killed_goes_on_where_it_was() {
    let it = Move::new();
    many_messages(&it).await;
    let migrated = run_to_exit(&["migrate", "--database", shared_url(), "--database-schema", &it.schema]).await;
    assert_eq!(output(&migrated).0, Some(0));
    let meddler = beside(&it.schema).await;
    let key = std::process::id() & 0xFFFF;
    let hold = format!(
        "CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS
             'BEGIN PERFORM pg_advisory_xact_lock(4711, {key}); RETURN NEW; END'"
    );
    meddler.batch_execute(&hold).await.expect("a function");
    let holder = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 4711 AND NOT granted";
    let waiting = format!("SELECT count(*) FROM ({holder} AND objid = {key}) AS w");
    // The first time the batch is lost. The second time PostgreSQL goes on with it after the kill, and carries out what it has read.
    for (place, is_lost) in [(1_500, true), (2_500, false)] {
        let trigger = format!(
            "CREATE TRIGGER hold BEFORE INSERT ON log FOR EACH ROW WHEN (NEW.seq = {place}) EXECUTE FUNCTION {}.hold()",
            it.schema
        );
        meddler.batch_execute(&trigger).await.expect("a trigger");
        meddler.batch_execute(&format!("SELECT pg_advisory_lock(4711, {key})")).await.expect("the lock");
        let mut import = start_import(&it);
        until(&meddler, "the import to be in the middle of a batch", &waiting, 1).await;
        assert_fails(&it.import("chat.db", &[]).await, "another server has this database open");
        import.kill().expect("it runs");
        import.wait().expect("it is over");
        assert_fails(&it.import("chat.db", &[]).await, "another import into this schema is going on");
        let backend: i32 = meddler.query_one(&format!("{holder} AND objid = {key}"), &[]).await.expect("one").get(0);
        if is_lost {
            meddler.execute("SELECT pg_terminate_backend($1)", &[&backend]).await.expect("a superuser");
        } else {
            meddler.batch_execute(&format!("SELECT pg_advisory_unlock(4711, {key})")).await.expect("held");
        }
        let left = format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {backend}");
        until(&meddler, "the connection to be over", &left, 0).await;
        meddler.batch_execute("SELECT pg_advisory_unlock_all(); DROP TRIGGER hold ON log").await.expect("free");
        let serve = ["serve", "--dev", "--listen", "127.0.0.1:0", "--data", &it.path("data"), "--database", shared_url()];
        let serve: Vec<&str> = serve.into_iter().chain(["--database-schema", &it.schema]).collect();
        assert_fails(&run_to_exit(&serve).await, "an import into this schema is not finished");
    }
    let there: i64 = meddler.query_one("SELECT count(*) FROM log", &[]).await.expect("a count").get(0);
    assert!((1_900..MANY as i64).contains(&there), "{there}");
    let finished = it.import("chat.db", &[]).await;
    assert_imported(&finished);
    let told = String::from_utf8_lossy(&finished.stderr).into_owned();
    let first = told.lines().next().and_then(|line| line.split_whitespace().nth(1)?.parse::<i64>().ok());
    assert!(first.is_some_and(|first| first > there), "it began at {first:?}: {told}");
    assert!(told.contains("compared 2 of 2 conversations (100 %)"), "{told}");
    let server = it.on_postgres().await;
    let mut ada = Client::login(&server, "ada").await;
    let rooms = ada.ok("load_conversations", json!({})).await;
    let log = history(&mut ada, &text(&list(&rooms, "conversations")[1], "id")).await;
    let seqs: Vec<u64> = log.iter().map(|message| number(message, "seq")).collect();
    assert_eq!(seqs, (1..=MANY as u64).collect::<Vec<_>>());
    assert!(log.iter().all(|message| message["content"] == json!(format!("number {}", message["seq"]))));
}

/// What is done to the copy, what undoes it, and what the check says of it.
const MEDDLING: [(&str, &str, &str); 14] = [
    (
        "UPDATE meta SET value = 'x' || value WHERE key = 'epoch'",
        "UPDATE meta SET value = substr(value, 2) WHERE key = 'epoch'",
        "another epoch",
    ),
    (
        "UPDATE log SET content = 'X' || content WHERE kind = 0",
        "UPDATE log SET content = substr(content, 2)",
        "its events differ",
    ),
    ("UPDATE log SET digest = digest + 1", "UPDATE log SET digest = digest - 1", "its events differ"),
    ("UPDATE log SET messages = messages + 1", "UPDATE log SET messages = messages - 1", "its events differ"),
    (
        "CREATE TABLE kept AS SELECT * FROM log WHERE seq = 3; DELETE FROM log WHERE seq = 3",
        "INSERT INTO log SELECT * FROM kept",
        "in the source, ",
    ),
    ("UPDATE members SET role = 1 - role", "UPDATE members SET role = 1 - role", "its members or their marks differ"),
    (
        "UPDATE members SET read_seq = read_seq + 1",
        "UPDATE members SET read_seq = read_seq - 1",
        "its members or their marks differ",
    ),
    (
        "UPDATE memberships SET active_period = active_period + 1",
        "UPDATE memberships SET active_period = active_period - 1",
        "its members or their marks differ",
    ),
    (
        "UPDATE conversations SET invite = overlay(invite placing sha256(invite) from 1)",
        "UPDATE conversations SET invite = (SELECT k.invite FROM invites k WHERE k.number = conversations.number)",
        "its row differs",
    ),
    ("UPDATE users SET name = name || 'x'", "UPDATE users SET name = substr(name, 1, length(name) - 1)", "users, their names"),
    (
        "UPDATE users SET conversations = 7",
        "UPDATE users SET conversations = (SELECT count(*) FROM members WHERE \"user\" = id)",
        "wrong number",
    ),
    (
        "INSERT INTO memberships SELECT \"user\", 1, conversation FROM memberships",
        "DELETE FROM memberships WHERE active_period = 1",
        "memberships by user",
    ),
    (
        "UPDATE conversations SET active_period = -1",
        "UPDATE conversations SET active_period = active_at >> 38",
        "its row differs",
    ),
    (
        "INSERT INTO conversations (created_at, active_at, active_period, member_count, next_join_number, id, kind, title)
         VALUES (0, 0, 0, 0, 0, '01a20c61-6fc0-7c5d-a923-4e55962ff63a', 1, '')",
        "DELETE FROM conversations WHERE active_at = 0",
        "conversation 01a20c61-6fc0-7c5d-a923-4e55962ff63a: it is in the target only",
    ),
];

#[tokio::test]
async fn whatever_differs_is_told_and_named() {
    let it = Move::new();
    let server = it.on_sqlite("chat.db").await;
    let filled = fill(&server).await;
    server.terminate();
    drop(server);
    assert_imported(&it.import("chat.db", &[]).await);
    let meddler = beside(&it.schema).await;
    meddler.batch_execute("CREATE TABLE invites AS SELECT number, invite FROM conversations").await.expect("a table");
    for (change, undo, told) in MEDDLING {
        meddler.batch_execute(change).await.unwrap_or_else(|error| panic!("{change}: {error}"));
        let result = it.import("chat.db", &["--check-only"]).await;
        assert_fails(&result, told);
        assert!(told != "its events differ" || output(&result).1.contains(&filled.room), "the conversation is named");
        meddler.batch_execute(undo).await.unwrap_or_else(|error| panic!("{undo}: {error}"));
        let (code, text) = output(&it.import("chat.db", &["--check-only"]).await);
        assert_eq!(code, Some(0), "after {undo}: {text}");
    }
    // The import itself does not end before the copy is right.
    meddler.batch_execute("DELETE FROM meta WHERE key = 'import_checked'; DELETE FROM log WHERE seq = 2").await.expect("meddled");
    for _ in 0..2 {
        assert_fails(&it.import("chat.db", &[]).await, "source and target differ");
    }
}
