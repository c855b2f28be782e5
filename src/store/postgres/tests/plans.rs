//! How PostgreSQL finds rows: as planned when a server has just made its schema, which is how it stays.

use tokio_postgres::SimpleQueryMessage;

use super::super::batch::{LOCK_CONVERSATIONS, LOCK_USERS};
use super::super::connect::Connector;
use super::super::members::MARK;
use super::super::reads;
use super::super::side::FIND_INVITES;
use super::*;

/// The plan of a statement, a line for each step, as the store's connections make it.
fn plan(link: &connect::Link, runtime: &tokio::runtime::LocalRuntime, sql: &str) -> Vec<String> {
    let parameters = (1..).take_while(|number| sql.contains(&format!("${number}"))).count();
    let nulls = vec!["NULL"; parameters].join(", ");
    let values = if parameters == 0 { String::new() } else { format!("({nulls})") };
    let explain = format!("DEALLOCATE ALL; PREPARE one AS {sql}; EXPLAIN (COSTS OFF) EXECUTE one{values}");
    let answer = runtime.block_on(link.client.simple_query(&explain)).unwrap();
    let line = |message: SimpleQueryMessage| match message {
        SimpleQueryMessage::Row(row) => row.get(0).map(|line| line.trim().to_owned()),
        _ => None,
    };
    answer.into_iter().filter_map(line).collect()
}

/// The second statement of the function that appends messages, with its parameters as those of a statement.
fn append_statement(link: &connect::Link, runtime: &tokio::runtime::LocalRuntime) -> String {
    let function = "SELECT prosrc, proargnames[1:pronargs], ARRAY(SELECT format_type(unnest(proargtypes), NULL))
                    FROM pg_proc WHERE oid = 'append_messages'::regproc";
    let row = runtime.block_on(link.client.query_one(function, &[])).unwrap();
    let (source, names, types): (String, Vec<String>, Vec<String>) = (row.get(0), row.get(1), row.get(2));
    let statement = source.split_once("RETURN QUERY").unwrap().1.rsplit_once(';').unwrap().0;
    let (arguments, rest) = statement.split_once("WITH ORDINALITY").unwrap();
    let parameters = names.iter().zip(&types).zip(1..);
    let arguments = parameters.fold(arguments.to_owned(), |text, ((name, of_type), at)| {
        [("(", ","), (" ", ","), (" ", ")")].iter().fold(text, |text, (before, after)| {
            text.replace(&format!("{before}{name}{after}"), &format!("{before}${at}::{of_type}{after}"))
        })
    });
    format!("{arguments} WITH ORDINALITY {rest}")
}

#[test]
fn every_row_is_found_by_the_whole_of_an_index_even_as_planned_for_empty_tables() {
    let server = server_at(shared_url());
    PostgresStore::migrate(&server).unwrap();
    let runtime = runtime().unwrap();
    let link = runtime.block_on(Connector::new(&server).unwrap().connect()).unwrap();
    let append = append_statement(&link, &runtime);
    let member = "Index Cond: ((conversation = c.number) AND (\"user\" = ";
    let statements: [(&str, &str, &[&str]); 12] = [
        ("LOCK_CONVERSATIONS", LOCK_CONVERSATIONS, &["Index Cond: (id = ANY ($1))"]),
        ("LOCK_USERS", LOCK_USERS, &["Conflict Arbiter Indexes: users_pkey"]),
        ("FIND_INVITES", FIND_INVITES, &["Index Cond: (invite = ANY ($1))"]),
        (
            "APPEND",
            &append,
            &[
                "Index Cond: (id = i.conversation)",
                member,
                "Index Cond: (digest = i.digest)",
                "Index Cond: (number = f.number)",
                "Index Cond: ((conversation = s.number) AND (\"user\" = ",
                "Index Cond: ((\"user\" = n.\"user\") AND (active_period = n.active_period) AND (conversation = n.number))",
            ],
        ),
        (
            "MARK",
            MARK,
            &["Index Cond: (id = i.conversation)", member, "Index Cond: ((conversation = o.number) AND (seq = o.target))"],
        ),
        ("VIEW", reads::VIEW, &["Index Cond: (id = $1)", member]),
        (
            "PAGE",
            reads::PAGE,
            &[
                "Index Cond: ((\"user\" = $1) AND (active_period = '-1'::integer))",
                "Index Cond: ((\"user\" = $1) AND (active_period = $5))",
                "Index Cond: ((\"user\" = $1) AND (active_period >= 0) AND (active_period < $5))",
                member,
            ],
        ),
        ("MESSAGES_BEFORE", reads::MESSAGES_BEFORE, &[member, "Index Cond: ((conversation = c.number) AND (seq < $3))"]),
        ("MESSAGES_AFTER", reads::MESSAGES_AFTER, &[member, "Index Cond: ((conversation = c.number) AND (seq > $3))"]),
        ("EVENTS", reads::EVENTS, &["Index Cond: ((conversation = c.number) AND (seq > $2))"]),
        ("ROOM_MEMBERS", reads::ROOM_MEMBERS, &["Index Cond: (id = $1)", "Index Cond: (conversation = c.number)"]),
        ("ROOM_RECENT", reads::ROOM_RECENT, &["Index Cond: ((conversation = c.number) AND (seq > (c.head - $2)))"]),
    ];
    for (name, sql, conditions) in statements {
        let plan = plan(&link, &runtime, sql);
        assert!(!plan.iter().any(|step| step.contains("Seq Scan")), "{name}: {plan:#?}");
        for condition in conditions {
            assert!(plan.iter().any(|step| step.starts_with(condition)), "{name} lacks {condition}: {plan:#?}");
        }
    }
}
