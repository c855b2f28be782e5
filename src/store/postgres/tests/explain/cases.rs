//! Every statement of the store, with values that make it work.

use super::super::super::append::APPEND;
use super::super::super::batch::{LOCK_CONVERSATIONS, LOCK_USERS};
use super::super::super::members::{CREATE, JOIN, LEAVE, MARK};
use super::super::super::reads::{EVENTS, MESSAGES_AFTER, MESSAGES_BEFORE, PAGE, ROOM, ROOM_MEMBERS, ROOM_RECENT, VIEW};
use super::super::super::side::{CHECK, FIND_INVITES, PUT_LAST_SEEN, PUT_NAMES};
use super::content::{BURST, Content, EVENT_INTERVAL, EVENTS_IN_A_ROW, LARGE, LARGE_MEMBERS};

/// One statement with its values.
pub(super) struct Case {
    /// The constant's name and, behind a comma, what is particular.
    pub(super) name: String,
    pub(super) sql: &'static str,
    /// As SQL; empty for none.
    pub(super) values: String,
    /// Rows that it answers at least.
    pub(super) rows: u64,
    /// What it is asked for, in rows: what it touches is in proportion to this.
    pub(super) page: u64,
}

fn case(name: &str, sql: &'static str, values: String, (rows, page): (u64, u64)) -> Case {
    Case { name: name.to_owned(), sql, values, rows, page }
}

/// Conversations on a page, and the one more that tells whether there is another page.
const LISTED: u64 = 31;
/// Messages on a page, and one more.
const READ: u64 = 51;
/// Membership events among so many messages.
const PASSED: u64 = READ / (EVENT_INTERVAL - 1) + 1;
const RECENT: u64 = 64;
const EVENTS_AT_ONCE: u64 = 500;
/// Writes in one statement.
const BATCH: u64 = 100;
const FIRST_PAGE: &str = "9223372036854775807, 'ffffffff-ffff-ffff-ffff-ffffffffffff'";

/// An array of what `value` makes of the numbers from 1 on.
fn array(count: u64, value: impl Fn(u64) -> String) -> String {
    let values: Vec<String> = (1..=count).map(value).collect();
    format!("ARRAY[{}]", values.join(","))
}

pub(super) fn cases(content: &Content) -> Vec<Case> {
    [lists(content), logs(content), rooms(content), appends(content), changes(content)].into_iter().flatten().collect()
}

fn lists(content: &Content) -> Vec<Case> {
    let first = |who: &str| format!("'{who}', {FIRST_PAGE}, {LISTED}, 9223372036854775807");
    let middle = content.conversations / 2;
    let (at, id, period) = (content.active_at(middle), content.id(middle), content.period(middle));
    let burst = content.middle_of_burst();
    let (burst, burst_period) = (format!("{}, {}", content.active_at(burst), content.id(burst)), content.period(burst));
    // A tenth of the smaller store holds no more than half a page behind the middle.
    let some = (LISTED - 1).min(content.conversations / 4 - 1);
    vec![
        case("VIEW", VIEW, format!("{}, 'busy'", content.id(content.conversations)), (1, 1)),
        case("PAGE, first, of half of all conversations", PAGE, first("busy"), (LISTED, LISTED)),
        case("PAGE, in the middle", PAGE, format!("'busy', {at}, {id}, {LISTED}, {period}"), (some, LISTED)),
        case("PAGE, of one conversation", PAGE, first("user-301"), (1, LISTED)),
        case("PAGE, of 40 large conversations", PAGE, first("crowd"), (LISTED, LISTED + LARGE)),
        case("PAGE, of 200 conversations active at once", PAGE, first("burst"), (LISTED, LISTED + BURST)),
        case(
            "PAGE, in the middle of these",
            PAGE,
            format!("'burst', {burst}, {LISTED}, {burst_period}"),
            (LISTED, LISTED + BURST),
        ),
    ]
}

fn logs(content: &Content) -> Vec<Case> {
    let (id, middle) = (content.id(1), content.middle());
    let read = (READ, READ + PASSED);
    let read_over_events = (READ, READ + PASSED + EVENTS_IN_A_ROW);
    vec![
        case("MESSAGES_BEFORE, the newest", MESSAGES_BEFORE, format!("{id}, 'user-2', 9223372036854775807, {READ}"), read),
        case(
            "MESSAGES_BEFORE, behind 100 membership events",
            MESSAGES_BEFORE,
            format!("{id}, 'user-2', {middle}, {READ}"),
            read_over_events,
        ),
        case("MESSAGES_AFTER, the oldest", MESSAGES_AFTER, format!("{id}, 'user-2', 0, {READ}"), read),
        case("MESSAGES_AFTER, in the middle", MESSAGES_AFTER, format!("{id}, 'user-2', {middle}, {READ}"), read),
        case("EVENTS, in the middle", EVENTS, format!("{id}, {middle}, {EVENTS_AT_ONCE}"), (EVENTS_AT_ONCE, EVENTS_AT_ONCE)),
    ]
}

fn rooms(content: &Content) -> Vec<Case> {
    let (deep, large) = (content.id(1), content.id(content.first_large()));
    let invites = array(BATCH, |number| format!("sha256('{}'::bytea)", 2 * number));
    let found = BATCH / 2;
    vec![
        case("ROOM", ROOM, deep.clone(), (1, 1)),
        case("ROOM_MEMBERS, two", ROOM_MEMBERS, deep.clone(), (2, 2)),
        case("ROOM_MEMBERS, 200", ROOM_MEMBERS, large, (LARGE_MEMBERS - 1, LARGE_MEMBERS)),
        case("ROOM_RECENT", ROOM_RECENT, format!("{deep}, {RECENT}"), (RECENT, RECENT)),
        case("FIND_INVITES, 100", FIND_INVITES, invites, (found, BATCH)),
    ]
}

/// The values of [`APPEND`] for one message to each of the first `count` conversations, in the period of the one of number `time`.
fn append_values(content: &Content, count: u64, time: u64) -> String {
    let each = |value: &dyn Fn(u64) -> String| array(count, value);
    [
        each(&|number| format!("'00000000-0000-7000-8000-{number:012x}'::uuid")),
        each(&|number| content.id(number)),
        each(&|number| format!("'user-{}'", 2 * number)),
        each(&|_| "'Somebody'".to_owned()),
        each(&|_| "'Hello'".to_owned()),
        each(&|number| format!("'client-{number}'")),
        each(&|number| number.to_string()),
        each(&|_| "NULL::uuid".to_owned()),
        each(&|_| "1".to_owned()),
        each(&|_| content.active_at(time).to_string()),
        each(&|_| content.period(time).to_string()),
    ]
    .join(", ")
}

fn appends(content: &Content) -> Vec<Case> {
    let ids = array(BATCH, |number| content.id(number));
    let late = content.conversations;
    vec![
        case("LOCK_CONVERSATIONS, 100", LOCK_CONVERSATIONS, ids, (BATCH, BATCH)),
        case("APPEND, one message", APPEND, append_values(content, 1, 1), (1, 1)),
        case(
            "APPEND, to 100 conversations, with other activity",
            APPEND,
            append_values(content, BATCH, late),
            (BATCH, 2 * BATCH),
        ),
        case(
            "MARK, the head",
            MARK,
            format!("ARRAY[{}], ARRAY['user-3'], ARRAY[{}], false", content.id(1), content.deepest()),
            (1, 1),
        ),
        case(
            "MARK, in 100 conversations",
            MARK,
            format!(
                "{}, {}, {}, false",
                array(BATCH, |number| content.id(number)),
                array(BATCH, |number| format!("'user-{}'", 2 * number + 1)),
                array(BATCH, |_| "1000000000".to_owned())
            ),
            (BATCH, BATCH),
        ),
    ]
}

fn changes(content: &Content) -> Vec<Case> {
    let users = array(BATCH, |number| format!("'user-{}'", number + 1));
    let new = "'00000000-0000-7000-8000-000000000001'::uuid, 1::smallint, 'New', sha256('new'), NULL, 'user-2',
               ARRAY['user-2', 'user-3', 'newcomer'], 1, 1, 1, 5000";
    let (group, busy) = (content.id(2), content.id(content.conversations));
    vec![
        case("LOCK_USERS, 100 that are there", LOCK_USERS, users.clone(), (0, BATCH)),
        case("CREATE", CREATE, new.to_owned(), (1, 3)),
        case("JOIN", JOIN, format!("{group}, 'newcomer', 'New', 1, 10000, 5000, false"), (1, 1)),
        case("LEAVE", LEAVE, format!("{busy}, 'busy', 1, false"), (1, 1)),
        case("PUT_NAMES, 100", PUT_NAMES, format!("{users}, {}", array(BATCH, |_| "'New name'".to_owned())), (0, BATCH)),
        case("PUT_LAST_SEEN, 100", PUT_LAST_SEEN, format!("{users}, {}", array(BATCH, |_| "7".to_owned())), (0, BATCH)),
        case("CHECK", CHECK, String::new(), (0, 1)),
    ]
}
