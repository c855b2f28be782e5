//! What the statements touch: run under `EXPLAIN` on a store, and on one ten times as large. None reads a table from end to end, and
//! each touches about as many pages in the one as in the other, in proportion to what it is asked for. Two statements touch more than
//! what they answer, by bounds that the cases have in their `page`: paging over messages passes over the membership events between
//! them; and a list reads, beside its page, the user's large conversations and whatever else of theirs was active in the two periods
//! of 70 minutes where the page begins and ends, all of it at most `max-conversations-per-user`.
//!
//! `scripts/explain` runs this with 1,000,000 messages in 10,000 conversations and prints the table; otherwise it has a tenth.

mod cases;
mod content;

use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use super::super::connect::{Connector, Link};
use super::*;
use cases::{Case, cases};
use content::Content;

/// The tables that grow.
const TABLES: [&str; 5] = ["users", "conversations", "members", "memberships", "log"];
/// Most pages that a statement touches beside those of its rows.
const BASE_PAGES: u64 = 60;
/// Most pages for each row: a dozen look-ups in indexes of four levels.
const ROW_PAGES: u64 = 48;

/// What `EXPLAIN` told.
struct Plan {
    top: String,
    rows: u64,
    pages: u64,
    millis: f64,
}

/// A store with content, and a connection like the store's own.
struct Explained {
    content: Content,
    runtime: tokio::runtime::LocalRuntime,
    link: Link,
    /// What each case did on a connection on which it was planned while the store was empty.
    early: Vec<Plan>,
}

impl Explained {
    fn new(content: Content) -> Self {
        let server = server_at(shared_url());
        PostgresStore::migrate(&server).unwrap();
        let beside = Beside::new(&server);
        for table in TABLES {
            // Statistics come when this test says so: they have everything planned anew.
            beside.run(&format!("ALTER TABLE {table} SET (autovacuum_enabled = off)"));
        }
        let runtime = runtime().unwrap();
        let connector = Connector::new(&DatabaseServer { timeout: Duration::from_secs(300), ..server }).unwrap();
        let link = runtime.block_on(connector.connect()).unwrap();
        let mut explained = Self { content, runtime, link, early: Vec::new() };
        for (place, case) in cases(&content).iter().enumerate() {
            let prepared =
                explained.runtime.block_on(explained.link.client.batch_execute(&format!("PREPARE case_{place} AS {}", case.sql)));
            prepared.unwrap_or_else(|error| panic!("{}: {error}", case.name));
        }
        // Everything is planned when it is first run.
        explained.explain_all();
        content.fill(&beside);
        let wrong = "SELECT count(*) FROM conversations c WHERE messages <> (SELECT count(*) FROM log WHERE conversation = number AND kind = 0)
                     OR last_message_seq <> (SELECT coalesce(max(seq), 0) FROM log WHERE conversation = number AND kind = 0)
                     OR EXISTS (SELECT FROM log l WHERE conversation = number AND seq IN (1, 7, head / 2, head / 2 - 50, head) AND l.messages <>
                                (SELECT count(*) FROM log p WHERE p.conversation = number AND p.kind = 0 AND p.seq <= l.seq))
                     OR EXISTS (SELECT FROM members m JOIN log l ON l.conversation = number AND l.seq = m.read_seq
                                WHERE m.conversation = number AND m.read_messages <> l.messages)";
        assert_eq!(beside.number(wrong), 0, "the content counts its own messages wrongly");
        explained.early = explained.explain_all();
        for table in TABLES {
            beside.run(&format!("VACUUM (ANALYZE) {table}"));
        }
        explained
    }

    /// Runs all cases twice, since the first run may set bits that tell what was committed, and gives the plans of the second.
    fn explain_all(&self) -> Vec<Plan> {
        let cases = cases(&self.content);
        let explain = |(place, case)| {
            self.explain(place, case);
            self.explain(place, case)
        };
        cases.iter().enumerate().map(explain).collect()
    }

    /// Runs a case and takes it back.
    fn explain(&self, place: usize, case: &Case) -> Plan {
        let client = &self.link.client;
        let values = if case.values.is_empty() { String::new() } else { format!("({})", case.values) };
        self.runtime.block_on(async {
            client.batch_execute("BEGIN").await.unwrap();
            let explain = format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE case_{place} {values}");
            let text = only_value(client, &explain).await.unwrap_or_else(|error| panic!("{}: {error}", case.name));
            // What functions do inside is in no plan, but it is counted.
            let scans = "SELECT coalesce(string_agg(relname, ' '), '') FROM pg_stat_xact_user_tables
                         WHERE seq_scan > 0 AND schemaname = current_schema()";
            let scanned = only_value(client, scans).await.unwrap();
            client.batch_execute("ROLLBACK").await.unwrap();
            assert!(
                !TABLES.iter().any(|table| scanned.split(' ').any(|name| name == *table)),
                "{}: reads all of {scanned}",
                case.name
            );
            plan(&case.name, &text)
        })
    }
}

async fn only_value(client: &Client, sql: &str) -> Result<String, tokio_postgres::Error> {
    let messages = client.simple_query(sql).await?;
    let value = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0),
        _ => None,
    });
    Ok(value.unwrap_or_default().to_owned())
}

fn plan(name: &str, text: &str) -> Plan {
    let explained: Value = serde_json::from_str(text).unwrap();
    let top = &explained[0]["Plan"];
    assert!(!has_scan_of_all(top), "{name} reads a whole table: {explained:#}");
    Plan {
        top: top["Node Type"].as_str().unwrap().to_owned(),
        rows: top["Actual Rows"].as_f64().unwrap() as u64,
        pages: pages(top) + changed_pages(top),
        millis: explained[0]["Execution Time"].as_f64().unwrap(),
    }
}

/// What a node touched, and what is below it.
fn pages(node: &Value) -> u64 {
    let number = |field: &str| node[field].as_u64().unwrap_or_else(|| panic!("no {field} in {node}"));
    number("Shared Hit Blocks") + number("Shared Read Blocks")
}

/// What the parts that change something touched. They run after the rest, and nothing above them counts it.
fn changed_pages(node: &Value) -> u64 {
    let is_part = node["Subplan Name"].is_string() && node["Node Type"] == "ModifyTable";
    let below: u64 = node["Plans"].as_array().into_iter().flatten().map(changed_pages).sum();
    below + if is_part { pages(node) } else { 0 }
}

/// Whether a node of the plan reads one of the tables without an index, or a whole index without looking for anything in it.
fn has_scan_of_all(node: &Value) -> bool {
    let is_of_table = TABLES.iter().any(|table| node["Relation Name"] == *table);
    let is_unlimited = node["Node Type"] == "Seq Scan" || node["Index Name"].is_string() && node["Index Cond"].is_null();
    is_of_table && is_unlimited || node["Plans"].as_array().into_iter().flatten().any(has_scan_of_all)
}

#[test]
fn no_statement_touches_more_of_a_larger_store() {
    let is_full = std::env::var_os("PARLOR_TEST_EXPLAIN_FULL").is_some();
    let conversations = if is_full { 10_000 } else { 1_000 };
    let stores = [conversations / 10, conversations].map(|conversations| Explained::new(Content { conversations }));
    let [small, large] = &stores;
    println!(
        "{} and {} rows of logs, nine tenths of them messages, in {} and {} conversations",
        small.content.rows(),
        large.content.rows(),
        small.content.conversations,
        large.content.conversations
    );
    println!(
        "\n| statement | top node | rows | pages, a tenth | pages | planned when empty | ms |\n|---|---|---|---|---|---|---|"
    );
    let mut wrong = Vec::new();
    let plans = small.explain_all().into_iter().zip(large.explain_all()).zip(&large.early);
    for (case, ((tenth, plan), early)) in cases(&large.content).iter().zip(plans) {
        let Plan { top, rows, pages, millis } = &plan;
        println!("| {} | {top} | {rows} | {} | {pages} | {} | {millis:.2} |", case.name, tenth.pages, early.pages);
        // Where the smaller store has fewer rows to answer, it touches fewer pages for these.
        let answered = (*rows).max(1);
        let alike = tenth.pages * answered / tenth.rows.clamp(1, answered);
        let most = (BASE_PAGES + ROW_PAGES * case.page).min(alike * 3 / 2 + 20);
        if early.pages.max(*pages) > most || *rows < case.rows {
            let (least, early) = (case.rows, early.pages);
            wrong.push(format!("{}: {rows} rows (at least {least}), {pages} and {early} pages (at most {most})", case.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_statement_of_the_store_is_left_out() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/store/postgres");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(sources).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            let constant =
                line.trim_start_matches("pub(super) ").strip_prefix("const ").and_then(|rest| rest.split_once(": &str"));
            found.extend(constant.map(|(name, _)| name.to_owned()));
        }
    }
    assert!(found.len() >= 19, "{found:?}");
    let cases = cases(&Content { conversations: 100 });
    found.retain(|name| !cases.iter().any(|case| case.name.split(',').next() == Some(name)));
    assert!(found.is_empty(), "no case for {found:?}");
}
