//! Moving in from Supabase: the statements of docs/migrating-from-supabase.md, as they stand there, on tables as apps have them; and
//! tokens as Supabase makes them.

use std::path::Path;

use serde_json::{Value, json};
use tokio_postgres::NoTls;

use crate::import::until;
use crate::support::cluster::{fresh_schema, shared_url};
use crate::support::{Client, Server, history, join, list, number, run_to_exit, say, text, token};

const ISSUER: &str = "https://project.supabase.co/auth/v1";
const AUDIENCE: &str = "authenticated";

const ADA: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const BOB: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const CYD: &str = "cccccccc-0000-4000-8000-000000000003";
const DAN: &str = "dddddddd-0000-4000-8000-000000000004";

/// Tables as an app on Supabase has them, with what such tables come to hold: two conversations of one pair, messages of one
/// moment, a deleted message, a sender who is gone, a conversation without messages and one without members, a crowd.
const APP: &str = "
    CREATE TABLE profiles (id uuid PRIMARY KEY, full_name text, last_seen_at timestamptz);
    CREATE TABLE conversations (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), is_group boolean NOT NULL, title text, invite_code text UNIQUE, created_by uuid,
        created_at timestamptz NOT NULL);
    CREATE TABLE conversation_members (
        conversation_id uuid REFERENCES conversations, user_id uuid REFERENCES profiles, joined_at timestamptz NOT NULL,
        last_read_at timestamptz, PRIMARY KEY (conversation_id, user_id));
    CREATE TABLE messages (
        id uuid PRIMARY KEY DEFAULT gen_random_uuid(), conversation_id uuid REFERENCES conversations,
        sender_id uuid REFERENCES profiles, content text, reply_to uuid, created_at timestamptz NOT NULL, deleted_at timestamptz);

    INSERT INTO profiles VALUES
        ('aaaaaaaa-0000-4000-8000-000000000001', ' Ada L. ', NULL),
        ('bbbbbbbb-0000-4000-8000-000000000002', 'Bob', '2024-01-09T10:00:00.123456Z'),
        ('cccccccc-0000-4000-8000-000000000003', NULL, NULL),
        ('dddddddd-0000-4000-8000-000000000004', 'Dan', NULL);
    INSERT INTO profiles SELECT ('eeeeeeee-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'Crowd ' || n FROM generate_series(1, 140) n;

    INSERT INTO conversations VALUES
        ('00000000-0000-4000-8000-000000000001', false, NULL, NULL, NULL, '2024-01-01Z'),
        ('00000000-0000-4000-8000-000000000002', false, NULL, NULL, NULL, '2023-06-01Z'),
        ('00000000-0000-4000-8000-000000000003', true, 'Lunch', 'Lunch-OIL7', 'bbbbbbbb-0000-4000-8000-000000000002', '2024-01-02Z'),
        ('00000000-0000-4000-8000-000000000004', true, 'Empty', NULL, 'dddddddd-0000-4000-8000-000000000004', '2024-01-05Z'),
        ('00000000-0000-4000-8000-000000000005', true, 'Crowd', NULL, NULL, '2024-01-03Z'),
        ('00000000-0000-4000-8000-000000000006', true, 'Nobody', 'ghost', NULL, '2024-01-04Z');

    INSERT INTO conversation_members VALUES
        ('00000000-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002', '2024-01-01Z', '2024-01-08T12:02:00Z'),
        ('00000000-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000001', '2024-01-01Z', '2024-01-08T12:00:30Z'),
        ('00000000-0000-4000-8000-000000000002', 'aaaaaaaa-0000-4000-8000-000000000001', '2023-06-01Z', '2024-01-01Z'),
        ('00000000-0000-4000-8000-000000000002', 'bbbbbbbb-0000-4000-8000-000000000002', '2023-06-02Z', NULL),
        ('00000000-0000-4000-8000-000000000003', 'aaaaaaaa-0000-4000-8000-000000000001', '2024-01-02Z', NULL),
        ('00000000-0000-4000-8000-000000000003', 'bbbbbbbb-0000-4000-8000-000000000002', '2024-01-03Z', '2099-01-01Z'),
        ('00000000-0000-4000-8000-000000000003', 'cccccccc-0000-4000-8000-000000000003', '2024-01-04Z', NULL),
        ('00000000-0000-4000-8000-000000000004', 'aaaaaaaa-0000-4000-8000-000000000001', '2024-01-05Z', NULL);
    INSERT INTO conversation_members
        SELECT '00000000-0000-4000-8000-000000000005', id, '2024-01-03Z'::timestamptz + right(id::text, 12)::int * interval '1 s', NULL
        FROM profiles WHERE full_name LIKE 'Crowd %' OR id = 'aaaaaaaa-0000-4000-8000-000000000001';

    INSERT INTO messages (id, conversation_id, sender_id, content, reply_to, created_at, deleted_at) VALUES
        ('10000000-0000-4000-8000-000000000003', '00000000-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000001',
            'three, at the same moment', NULL, '2024-01-08T12:01:00.000250Z', NULL),
        ('10000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000001',
            'one: Grüße, Bob \u{1F44B}', NULL, '2024-01-08T12:00:00.999999Z', NULL),
        ('10000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002',
            'two', '10000000-0000-4000-8000-000000000001', '2024-01-08T12:01:00.000250Z', NULL),
        ('10000000-0000-4000-8000-000000000004', '00000000-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002',
            'taken back', NULL, '2024-01-08T12:01:30Z', '2024-01-08T12:02:30Z'),
        ('10000000-0000-4000-8000-000000000005', '00000000-0000-4000-8000-000000000001', 'aaaaaaaa-0000-4000-8000-000000000001',
            'four', NULL, '2024-01-08T12:03:00Z', NULL),
        ('10000000-0000-4000-8000-000000000006', '00000000-0000-4000-8000-000000000001', 'bbbbbbbb-0000-4000-8000-000000000002',
            'five', NULL, '2024-01-08T12:04:00Z', NULL),
        ('20000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000002', 'aaaaaaaa-0000-4000-8000-000000000001',
            'an older chat of the same two', NULL, '2023-06-03Z', NULL),
        ('30000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000003', NULL, 'from somebody gone', NULL,
            '2024-01-06Z', NULL),
        ('30000000-0000-4000-8000-000000000002', '00000000-0000-4000-8000-000000000003', 'cccccccc-0000-4000-8000-000000000003',
            'nameless', NULL, '2024-01-07Z', NULL),
        ('60000000-0000-4000-8000-000000000001', '00000000-0000-4000-8000-000000000006', 'dddddddd-0000-4000-8000-000000000004',
            'is anybody here?', NULL, '2024-01-04Z', NULL);
    INSERT INTO messages (conversation_id, sender_id, content, created_at)
        SELECT '00000000-0000-4000-8000-000000000005', id, 'from ' || full_name, '2024-01-09Z'::timestamptz + right(id::text, 12)::int * interval '1 s'
        FROM profiles WHERE full_name LIKE 'Crowd %';";

/// The SQL of the guide that is marked with this name.
fn statements(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/migrating-from-supabase.md");
    let guide = std::fs::read_to_string(path).expect("the guide can be read");
    let (_, marked) =
        guide.split_once(&format!("<!-- sql: {name} -->\n```sql\n")).unwrap_or_else(|| panic!("no SQL is marked {name}"));
    marked.split_once("\n```").expect("its end").0.to_owned()
}

/// A database of an app, with the schema of Parlor in it.
struct App {
    url: String,
    client: tokio_postgres::Client,
}

async fn connect(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(&format!("{url}?sslmode=disable"), NoTls).await.expect("the cluster runs");
    tokio::spawn(connection);
    client
}

impl App {
    async fn new() -> Self {
        let name = fresh_schema();
        connect(shared_url()).await.batch_execute(&format!("CREATE DATABASE {name}")).await.expect("a database");
        let url = format!("{}/{name}", shared_url().rsplit_once('/').expect("a URL with a database").0);
        let migrated = run_to_exit(&["migrate", "--database", &url]).await;
        assert!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        let client = connect(&url).await;
        client.batch_execute(APP).await.expect("the app's tables");
        let app = Self { url, client };
        app.run("views").await.expect("the views fit");
        app.run("misfits").await.expect("the view of misfits");
        app
    }

    async fn run(&self, name: &str) -> Result<(), String> {
        self.run_text(&statements(name)).await
    }

    async fn run_text(&self, sql: &str) -> Result<(), String> {
        let outcome = self.client.batch_execute(sql).await;
        if outcome.is_err() {
            self.client.batch_execute("ROLLBACK").await.expect("the connection is there still");
        }
        outcome.map_err(|error| error.as_db_error().map_or_else(|| error.to_string(), |error| error.message().to_owned()))
    }

    /// The faults that the guide's own check counts.
    async fn faults(&self) -> Vec<(String, i64)> {
        let row = self.client.query_one(statements("check").trim_end_matches(';'), &[]).await.expect("a row");
        row.columns().iter().enumerate().map(|(place, column)| (column.name().to_owned(), row.get(place))).collect()
    }

    async fn server(&self) -> Server {
        Server::start(&[("--database", &self.url), ("--jwt-issuer", ISSUER), ("--jwt-audience", AUDIENCE)]).await
    }
}

/// What a token of Supabase's has in it.
fn claims(user: &str, user_metadata: &Value) -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": user, "role": "authenticated", "aal": "aal1", "session_id": "s", "is_anonymous": false,
        "email": "somebody@example.com", "phone": "", "app_metadata": {"provider": "email"}, "user_metadata": user_metadata,
        "iat": token::now(), "exp": token::now() + 3600,
    })
}

async fn login(server: &Server, user: &str) -> Client {
    let mut client = Client::connect(server).await;
    let reply = client.ok("auth", json!({"token": token::sign(&claims(user, &json!({})))})).await;
    assert_eq!(reply["user"], json!({"id": user, "name": user}), "without a name it is the id");
    client.user = user.to_owned();
    client
}

/// Everything in a user's list, page by page.
async fn conversations(client: &mut Client) -> Vec<Value> {
    let (mut all, mut request) = (Vec::new(), json!({"limit": 2}));
    loop {
        let page = client.ok("load_conversations", request).await;
        all.extend(list(&page, "conversations").iter().cloned());
        match page.get("nextCursor") {
            Some(cursor) => request = json!({"limit": 2, "cursor": cursor}),
            None => return all,
        }
    }
}

fn brief(conversation: &Value) -> (String, String, u64, u64, String) {
    let last = conversation["lastMessage"]["content"].as_str().unwrap_or("-").to_owned();
    let (kind, title) = (text(conversation, "kind"), text(conversation, "title"));
    (kind, title, number(conversation, "head"), number(conversation, "unreadCount"), last)
}

fn row(kind: &str, title: &str, head: u64, unread: u64, last: &str) -> (String, String, u64, u64, String) {
    (kind.to_owned(), title.to_owned(), head, unread, last.to_owned())
}

#[tokio::test]
async fn an_imported_history_is_one_that_the_server_could_have_written() {
    let app = App::new().await;
    app.run("import").await.expect("the import");
    for (name, count) in app.faults().await {
        assert_eq!(count, 0, "{name}");
    }
    let server = app.server().await;
    let mut ada = login(&server, ADA).await;
    let lists = conversations(&mut ada).await;
    let expected = [
        row("group", "Crowd", 140, 140, "from Crowd 140"),
        row("direct", "Bob", 5, 2, "five"),
        row("group", "Lunch", 2, 2, "nameless"),
        row("group", "Empty", 0, 0, "-"),
        row("group", "", 1, 0, "an older chat of the same two"),
    ];
    assert_eq!(lists.iter().map(brief).collect::<Vec<_>>(), expected);
    let ids: Vec<String> = lists.iter().map(|conversation| text(conversation, "id")).collect();
    let [crowd, direct, lunch, empty, older] = &ids[..] else { panic!("five conversations") };

    reads_as_it_was(&mut ada, direct).await;
    let group = join(&mut ada, lunch).await;
    let members: Vec<_> =
        list(&group, "members").iter().map(|m| (text(m, "userId"), text(m, "role"), number(m, "readSeq"))).collect();
    let member = |id: &str, role: &str, read| (id.to_owned(), role.to_owned(), read);
    assert_eq!(members, [member(ADA, "member", 0), member(BOB, "owner", 2), member(CYD, "member", 0)]);
    let names: Vec<String> = list(&group, "events").iter().map(|event| text(&event["payload"], "senderName")).collect();
    assert_eq!(names, ["deleted", CYD]);
    assert_eq!(number(&join(&mut ada, crowd).await["conversation"], "memberCount"), 141);
    for id in [empty, older] {
        let joined = join(&mut ada, id).await;
        let owner = &list(&joined, "members")[0];
        assert_eq!((text(owner, "userId"), text(owner, "role")), (ADA.to_owned(), "owner".to_owned()), "the first one in it");
    }
    goes_on(&server, &mut ada, &ids).await;
    for (name, count) in app.faults().await {
        assert!(count == 0 || ["messages_missing", "members_missing"].contains(&name.as_str()), "afterwards {name}: {count}");
    }
}

/// The direct conversation, event by event.
async fn reads_as_it_was(ada: &mut Client, direct: &str) {
    let joined = join(ada, direct).await;
    let marks: Vec<(String, u64)> = list(&joined, "members").iter().map(|m| (text(m, "name"), number(m, "readSeq"))).collect();
    assert_eq!(marks, [(ADA.to_owned(), 1), ("Bob".to_owned(), 3)], "ada's name is from her token by now");
    assert_eq!(joined["members"][1]["lastSeenAt"], json!("2024-01-09T10:00:00.123Z"));
    let log = history(ada, direct).await;
    let old = |n: u8| format!("10000000-0000-4000-8000-00000000000{n}");
    let expected = [
        (ADA, "Ada L.", "one: Grüße, Bob \u{1F44B}", old(1), "2024-01-08T12:00:00.999Z"),
        (BOB, "Bob", "two", old(2), "2024-01-08T12:01:00.000Z"),
        (ADA, "Ada L.", "three, at the same moment", old(3), "2024-01-08T12:01:00.000Z"),
        (ADA, "Ada L.", "four", old(5), "2024-01-08T12:03:00.000Z"),
        (BOB, "Bob", "five", old(6), "2024-01-08T12:04:00.000Z"),
    ];
    assert_eq!(log.len(), expected.len());
    for (place, (message, (sender, name, content, client_id, at))) in log.iter().zip(expected).enumerate() {
        let mut wanted = json!({
            "id": message["id"], "conversationId": direct, "seq": place + 1, "senderId": sender, "senderName": name,
            "content": content, "clientMessageId": client_id, "createdAt": at,
        });
        if place == 1 {
            wanted["replyTo"] = log[0]["id"].clone();
        }
        assert_eq!(*message, wanted);
        assert_eq!(text(message, "id").as_bytes()[14], b'7', "a UUIDv7: {message}");
    }
}

/// What the server does next agrees with what is there: repeats, marks, positions, codes.
async fn goes_on(server: &Server, ada: &mut Client, ids: &[String]) {
    let [crowd, direct, lunch, _, older] = ids else { panic!("five conversations") };
    let repeat = json!({"conversationId": direct, "content": "four", "clientMessageId": "10000000-0000-4000-8000-000000000005"});
    let answer = ada.ok("send_message", repeat).await;
    assert_eq!((&answer["duplicate"], number(&answer["message"], "seq")), (&json!(true), 4));
    let found = ada.ok("create_conversation", json!({"memberIds": [BOB]})).await;
    assert_eq!(text(&found["conversation"], "id"), *direct);

    let mut bob = login(server, BOB).await;
    join(&mut bob, direct).await;
    let lists = conversations(&mut bob).await;
    let unread: Vec<u64> = lists.iter().map(|conversation| number(conversation, "unreadCount")).collect();
    assert_eq!(unread, [1, 0, 1], "direct, Lunch, and the older chat of the two");
    assert_eq!(lists[2]["id"], json!(older));
    assert!(lists[1].get("inviteCode").is_none(), "its owner sees no code that the server has not made: {}", lists[1]);
    assert_eq!(number(&say(ada, direct, "six").await, "seq"), 6);
    assert_eq!(number(&bob.next_event("message_created").await, "seq"), 6);
    // In the middle of what was written, by oneself and by the other.
    for (user, seq, left) in [(ADA, 1, 2), (BOB, 4, 1), (ADA, 3, 1), (ADA, 99, 0), (BOB, 5, 1)] {
        let client = if user == ADA { &mut *ada } else { &mut bob };
        let mark = client.ok("mark_read", json!({"conversationId": direct, "seq": seq})).await;
        assert_eq!(number(&mark, "unreadCount"), left, "up to {seq}");
    }

    let new = ada.ok("create_group", json!({"name": "New", "memberIds": [BOB]})).await;
    assert_eq!(number(&say(ada, &text(&new["conversation"], "id"), "the first").await, "seq"), 1);

    let mut dan = login(server, DAN).await;
    let joined = dan.ok("join_group", json!({"inviteCode": "lunch0117"})).await;
    assert_eq!((&joined["conversation"]["id"], number(&joined["conversation"], "head")), (&json!(lunch), 3));
    let ghost = dan.ok("join_group", json!({"inviteCode": "Ghost"})).await["conversation"].clone();
    assert_eq!((text(&ghost, "title"), number(&ghost, "head")), ("Nobody".to_owned(), 2));
    assert_eq!(join(&mut dan, &text(&ghost, "id")).await["members"][0]["role"], json!("owner"));
    // A large conversation has no period of its own in the list, and still moves to the front.
    assert_eq!(number(&say(ada, direct, "seven").await, "seq"), 7);
    assert_eq!(number(&say(ada, crowd, "hello, all").await, "seq"), 141);
    assert_eq!(conversations(ada).await[0]["id"], json!(crowd));
    ada.ok("leave_group", json!({"conversationId": crowd})).await;
    assert_eq!(conversations(ada).await[0]["id"], json!(direct));
}

#[tokio::test]
async fn what_does_not_fit_is_named_and_nothing_is_imported() {
    let app = App::new().await;
    let misfits = [
        (
            "INSERT INTO messages VALUES (DEFAULT, '00000000-0000-4000-8000-000000000001', NULL, '', NULL, now())",
            "this message is empty",
        ),
        ("UPDATE messages SET content = repeat('x', 4001) WHERE content = ''", "or longer than 4,000"),
        ("UPDATE messages SET content = 'x', created_at = '1969-12-31Z' WHERE content LIKE 'xxx%'", "written at no time"),
        ("UPDATE messages SET created_at = now() + interval '1 hour' WHERE content = 'x'", "or in the future"),
        ("UPDATE messages SET created_at = 'infinity' WHERE content = 'x'", "or in the future"),
        (
            "UPDATE messages SET created_at = now(), reply_to = '20000000-0000-4000-8000-000000000001' WHERE content = 'x'",
            "answers one of another conversation",
        ),
        (
            "UPDATE messages SET reply_to = NULL WHERE content = 'x'; UPDATE conversations SET created_at = 'infinity' WHERE title = 'Empty'",
            "this conversation was made at no time",
        ),
        (
            "UPDATE conversations SET created_at = '2024-01-05Z' WHERE title = 'Empty'; \
             UPDATE profiles SET last_seen_at = 'infinity' WHERE full_name = 'Dan'",
            "this user was last seen",
        ),
        (
            "UPDATE profiles SET last_seen_at = NULL WHERE full_name = 'Dan'; DELETE FROM messages WHERE content = 'x'; UPDATE conversations SET invite_code = '1unch011-7' WHERE title = 'Nobody'",
            "invite code",
        ),
    ];
    for (change, problem) in misfits {
        app.client.batch_execute(change).await.expect("it is changed");
        let rows = app.client.query("SELECT problem FROM chat_import.misfits", &[]).await.expect("rows");
        let problems: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        assert!(problems.len() == 1 && problems[0].contains(problem), "{problem}: {problems:?}");
        let refused = app.run("import").await.expect_err("it does not fit");
        assert!(refused.contains("some rows do not fit"), "{refused}");
    }
    app.client.batch_execute("UPDATE conversations SET invite_code = NULL WHERE title = 'Nobody'").await.expect("it is changed");
    app.run("import").await.expect("now it fits");
    let refused = app.run("import").await.expect_err("once only");
    assert!(refused.contains("the schema parlor is in use"), "{refused}");
}

#[tokio::test]
async fn an_import_that_went_wrong_says_so_and_leaves_nothing() {
    let app = App::new().await;
    let counting = "CREATE VIEW chat_import.faults";
    let whole = statements("import");
    assert!(whole.contains(counting), "it counts before it commits");
    let wrongs = [
        (r#"DELETE FROM parlor.log WHERE "user" = 'deleted'"#, "messages_missing: 1"),
        ("UPDATE parlor.members SET read_messages = read_messages - 1 WHERE read_messages = 3", "wrong_unread_counts: 1"),
    ];
    for (wrong, problem) in wrongs {
        let refused = app.run_text(&whole.replace(counting, &format!("{wrong};\n{counting}"))).await.expect_err("it is wrong");
        assert!(refused.contains("nothing of it is kept") && refused.contains(problem), "{refused}");
        let kept: i64 = app.client.query_one("SELECT count(*) FROM parlor.conversations", &[]).await.expect("a row").get(0);
        assert_eq!(kept, 0);
    }
    app.run("import").await.expect("the import as it is");
}

#[tokio::test]
async fn the_import_waits_for_a_writer_and_has_what_it_wrote() {
    let app = App::new().await;
    let writer = connect(&app.url).await;
    let taken_back = "BEGIN; UPDATE messages SET deleted_at = now() WHERE content = 'four'";
    writer.batch_execute(taken_back).await.expect("it is changed");
    let write = async {
        let waits = "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database
                     WHERE d.datname = current_database() AND NOT l.granted";
        until(&writer, "the import waits", waits, 1).await;
        writer.batch_execute("COMMIT").await.expect("it is stored");
    };
    let (imported, ()) = tokio::join!(app.run("import"), write);
    imported.expect("the import");
    let texts = "SELECT count(*) FROM parlor.log WHERE content IN ('four', 'five')";
    let left: i64 = app.client.query_one(texts, &[]).await.expect("a row").get(0);
    assert_eq!(left, 1, "what was taken back is not there");
}

#[tokio::test]
async fn names_come_from_the_hook_or_else_from_metadata() {
    let app = App::new().await;
    app.run("hook").await.expect("the hook");
    let server = app.server().await;
    let metadata = json!({"full_name": "What bob calls himself"});
    let cases = [(BOB, "Bob"), (CYD, "What bob calls himself")];
    for (user, name) in cases {
        let event = json!({"user_id": user, "claims": claims(user, &metadata)}).to_string();
        let hooked = "SELECT (public.name_in_token($1::text::jsonb) -> 'claims')::text";
        let hooked: String = app.client.query_one(hooked, &[&event]).await.expect("the hook answers").get(0);
        let signed = token::sign(&serde_json::from_str(&hooked).expect("JSON"));
        let reply = Client::connect(&server).await.ok("auth", json!({"token": signed})).await;
        assert_eq!(reply["user"], json!({"id": user, "name": name}));
    }
    let mut anon = claims(BOB, &metadata);
    anon.as_object_mut().expect("an object").remove("sub");
    Client::connect(&server).await.fails("auth", json!({"token": token::sign(&anon)}), "unauthorized").await;
}
