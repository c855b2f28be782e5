//! A store full of messages, made by PostgreSQL itself.

use super::super::super::rows::PERIOD_SHIFT;
use super::super::Beside;

/// Rows of the log for each conversation, on average: with 10,000 conversations, a million are messages.
const ROWS: u64 = 112;
/// Members of each large conversation. The member "crowd" is in all of these.
pub(super) const LARGE_MEMBERS: u64 = 200;
/// Large conversations.
pub(super) const LARGE: u64 = 40;
/// Conversations that were active at the same time. The member "burst" is in all of these.
pub(super) const BURST: u64 = 200;
/// Every so many rows of a log, one is somebody's coming or going.
pub(super) const EVENT_INTERVAL: u64 = 10;
/// So many of these in a row come before the middle of the longest log.
pub(super) const EVENTS_IN_A_ROW: u64 = 100;
/// Characters of the name in such an event: its row is as long as a message's, and does not fill a gap in an earlier page.
const LONG_NAME: u64 = 96;
/// Between the newest messages of a conversation and the next one.
const INTERVAL_MILLIS: u64 = 15 * 60 * 1_000;
const START_MILLIS: u64 = 1_700_000_000_000;

/// Conversations 1 to `conversations`, each active a quarter of an hour after the one before, with two members of their own who
/// are called by number. "busy" is in every other one. A tenth of all rows of logs is in the first, which is never listed late, and the
/// others share the rest; a tenth of these are no messages, but tell who came and went. Beside these, [`LARGE`] large ones and [`BURST`] that were active at once, without messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) conversations: u64,
}

impl Content {
    /// Rows of all logs.
    pub(super) fn rows(&self) -> u64 {
        self.conversations * ROWS
    }

    /// The newest seq of the conversation with the longest log.
    pub(super) fn deepest(&self) -> u64 {
        self.rows() / 10
    }

    /// Behind the membership events in a row.
    pub(super) fn middle(&self) -> u64 {
        self.deepest() / 2
    }

    /// The number of the first large conversation.
    pub(super) fn first_large(&self) -> u64 {
        self.conversations + 1
    }

    fn first_of_burst(&self) -> u64 {
        self.first_large() + LARGE
    }

    /// The number of one of those that were active at once.
    pub(super) fn middle_of_burst(&self) -> u64 {
        self.first_of_burst() + BURST / 2
    }

    fn last(&self) -> u64 {
        self.first_of_burst() + BURST - 1
    }

    fn millis(&self, number: u64) -> u64 {
        START_MILLIS + number.min(self.first_of_burst()) * INTERVAL_MILLIS
    }

    /// The id of the conversation of this number, as SQL.
    pub(super) fn id(&self, number: u64) -> String {
        format!("'{:012x}70008000{number:012x}'::uuid", self.millis(number))
    }

    /// When it was last active.
    pub(super) fn active_at(&self, number: u64) -> u64 {
        self.millis(number) << 16 | 0x7000
    }

    /// The period that this is in.
    pub(super) fn period(&self, number: u64) -> u64 {
        self.active_at(number) >> PERIOD_SHIFT
    }

    /// Whether a row of a log is a membership event, as SQL.
    fn is_event(&self, number: &str, seq: &str) -> String {
        let (end, count) = (self.middle(), EVENTS_IN_A_ROW);
        format!("({seq} % {EVENT_INTERVAL} = 0 OR {number} = 1 AND {seq} >= {end} - {count} AND {seq} < {end})")
    }

    /// How many messages there are up to a place in a log, as SQL. The events in a row begin with one that would be one anyway.
    fn messages_until(&self, number: &str, seq: &str) -> String {
        let (end, count, last) = (self.middle(), EVENTS_IN_A_ROW, EVENT_INTERVAL - 1);
        let of_row = format!("CASE {number} WHEN 1 THEN least(greatest({seq} - ({end} - {count}) + 1, 0), {count}) ELSE 0 END");
        format!("({seq} - {seq} / {EVENT_INTERVAL} - ({of_row}) + (({of_row}) + {last}) / {EVENT_INTERVAL})")
    }

    /// Puts everything into the empty store beside which the connection is.
    pub(super) fn fill(&self, beside: &Beside) {
        let Self { conversations, .. } = *self;
        let (first_large, first_of_burst, last) = (self.first_large(), self.first_of_burst(), self.last());
        let (deepest, others) = (self.deepest(), (self.rows() - self.deepest()) / (conversations - 1));
        let (all, half) = (self.messages_until("n", "head"), self.messages_until("c.number", "(c.head / 2)"));
        let (until, is_event) = (self.messages_until("c.number", "seq"), self.is_event("c.number", "seq"));
        beside.run(&format!(
            "INSERT INTO users (id, name, conversations)
             SELECT 'user-' || n, 'Name of ' || n, 1 FROM generate_series(2, 2 * {last} + 1) AS n
             UNION ALL SELECT id, 'Name of ' || id, 1 FROM unnest('{{busy,crowd,burst,newcomer}}'::text[]) AS id;

             INSERT INTO conversations (number, created_at, head, messages, last_message_seq, active_at, active_period, member_count,
                                        next_join_number, id, kind, title, invite, pair)
             SELECT n, millis, head, {all}, head - CASE WHEN head > 0 AND head % {EVENT_INTERVAL} = 0 THEN 1 ELSE 0 END,
                    millis << 16 | 28672,
                    CASE WHEN members > small_conversation() THEN -1 ELSE (millis << 16 | 28672) >> {PERIOD_SHIFT} END, members, members,
                    (lpad(to_hex(millis), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid,
                    is_group, CASE is_group WHEN 1 THEN 'Room ' || n ELSE '' END, CASE is_group WHEN 1 THEN sha256(n::text::bytea) END,
                    CASE is_group WHEN 0 THEN 'user-' || 2 * n || ' user-' || 2 * n + 1 END
             FROM (SELECT n, {START_MILLIS} + least(n, {first_of_burst}) * {INTERVAL_MILLIS} AS millis,
                          CASE WHEN n = 1 THEN {deepest} WHEN n <= {conversations} THEN {others} ELSE 0 END AS head,
                          CASE WHEN n BETWEEN {first_large} AND {first_of_burst} - 1 THEN {LARGE_MEMBERS} ELSE 3 - n % 2 END AS members,
                          CASE WHEN n % 3 = 1 AND n % 2 = 1 AND n <= {conversations} THEN 0 ELSE 1 END AS is_group
                   FROM generate_series(1, {last}::bigint) AS n) c;

             SELECT setval(pg_get_serial_sequence('conversations', 'number'), {last});

             INSERT INTO members (conversation, join_number, read_seq, read_messages, sent, read_sent, last_sent_seq, role, \"user\")
             SELECT c.number, row_number() OVER (PARTITION BY c.number) - 1, m.read, m.messages, m.sent, m.sent,
                    CASE WHEN m.sent > 0 THEN c.last_message_seq ELSE 0 END, 1, m.id
             FROM conversations c CROSS JOIN LATERAL (
                 SELECT 'user-' || 2 * c.number AS id, c.head AS read, c.messages AS messages, c.messages AS sent
                 UNION ALL SELECT 'user-' || 2 * c.number + 1, c.head / 2, {half}, 0
                 UNION ALL SELECT 'busy', c.head / 2, {half}, 0 WHERE c.number <= {conversations} AND c.number % 2 = 0
                 UNION ALL SELECT 'burst', 0, 0, 0 WHERE c.number >= {first_of_burst}
                 UNION ALL SELECT 'crowd', 0, 0, 0 WHERE c.active_period = -1
                 UNION ALL SELECT 'user-' || n, 0, 0, 0 FROM generate_series(2, {LARGE_MEMBERS} - 2) AS n WHERE c.active_period = -1
             ) m;
             INSERT INTO memberships (\"user\", active_period, conversation)
             SELECT m.\"user\", c.active_period, c.number FROM members m JOIN conversations c ON c.number = m.conversation;

             INSERT INTO log (conversation, seq, messages, at, digest, kind, id, \"user\", name, content)
             SELECT c.number, seq, {until}, c.created_at,
                    CASE WHEN NOT is_event
                         THEN (c.number & 16777215) << 40 | hashint8extended(seq, c.number) & 1099511627775 END,
                    CASE WHEN is_event THEN 1 + seq / {EVENT_INTERVAL} % 2 ELSE 0 END,
                    CASE WHEN NOT is_event THEN gen_random_uuid() END, 'user-' || 2 * c.number,
                    CASE WHEN is_event THEN rpad('Somebody', {LONG_NAME}, ' or other') ELSE 'Somebody' END,
                    CASE WHEN NOT is_event THEN repeat('x', 64) END
             FROM conversations c CROSS JOIN LATERAL generate_series(1, c.head) AS seq
             CROSS JOIN LATERAL (SELECT {is_event} AS is_event) e"
        ));
    }
}
