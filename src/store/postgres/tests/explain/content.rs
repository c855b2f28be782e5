//! A store full of messages, made by PostgreSQL itself.

use super::super::super::rows::PERIOD_SHIFT;
use super::super::Beside;

/// Messages for each conversation, on average.
const MESSAGES: u64 = 100;
/// Members of each large conversation. The member "crowd" is in all of these.
pub(super) const LARGE_MEMBERS: u64 = 200;
/// Large conversations.
pub(super) const LARGE: u64 = 40;
/// Conversations that were active at the same time. The member "burst" is in all of these.
pub(super) const BURST: u64 = 200;
/// Between the newest messages of a conversation and the next one.
const INTERVAL_MILLIS: u64 = 15 * 60 * 1_000;
const START_MILLIS: u64 = 1_700_000_000_000;

/// Conversations 1 to `conversations`, each active a quarter of an hour after the one before, with two members of their own who
/// are called by number. "busy" is in every other one. A tenth of all messages is in the first, which is never listed late, and the
/// others share the rest. Beside these, [`LARGE`] large ones and [`BURST`] that were active at once, without messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Content {
    pub(super) conversations: u64,
}

impl Content {
    pub(super) fn messages(&self) -> u64 {
        self.conversations * MESSAGES
    }

    /// The newest seq of the conversation with the longest log.
    pub(super) fn deepest(&self) -> u64 {
        self.messages() / 10
    }

    /// The number of the first large conversation.
    pub(super) fn first_large(&self) -> u64 {
        self.conversations + 1
    }

    fn first_of_burst(&self) -> u64 {
        self.first_large() + LARGE
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

    /// Puts everything into the empty store beside which the connection is.
    pub(super) fn fill(&self, beside: &Beside) {
        let Self { conversations, .. } = *self;
        let (first_large, first_of_burst, last) = (self.first_large(), self.first_of_burst(), self.last());
        let (deepest, others) = (self.deepest(), (self.messages() - self.deepest()) / (conversations - 1));
        beside.run(&format!(
            "INSERT INTO users (id, name, conversations)
             SELECT 'user-' || n, 'Name of ' || n, 1 FROM generate_series(2, 2 * {last} + 1) AS n
             UNION ALL SELECT id, 'Name of ' || id, 1 FROM unnest('{{busy,crowd,burst,newcomer}}'::text[]) AS id;

             INSERT INTO conversations (number, created_at, head, messages, last_message_seq, active_at, active_period, member_count,
                                        next_join_number, id, kind, title, invite, pair)
             SELECT n, millis, head, head, head, millis << 16 | 28672,
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
             SELECT c.number, row_number() OVER (PARTITION BY c.number) - 1, m.read, m.read, m.sent, m.sent, m.sent, 1, m.id
             FROM conversations c CROSS JOIN LATERAL (
                 SELECT 'user-' || 2 * c.number AS id, c.head AS read, c.head AS sent
                 UNION ALL SELECT 'user-' || 2 * c.number + 1, c.head / 2, 0
                 UNION ALL SELECT 'busy', c.head / 2, 0 WHERE c.number <= {conversations} AND c.number % 2 = 0
                 UNION ALL SELECT 'burst', 0, 0 WHERE c.number >= {first_of_burst}
                 UNION ALL SELECT 'crowd', 0, 0 WHERE c.active_period = -1
                 UNION ALL SELECT 'user-' || n, 0, 0 FROM generate_series(2, {LARGE_MEMBERS} - 2) AS n WHERE c.active_period = -1
             ) m;
             INSERT INTO memberships (\"user\", active_period, conversation)
             SELECT m.\"user\", c.active_period, c.number FROM members m JOIN conversations c ON c.number = m.conversation;

             INSERT INTO log (conversation, seq, messages, at, digest, kind, id, \"user\", name, content)
             SELECT c.number, seq, seq, c.created_at,
                    (c.number & 16777215) << 40 | hashint8extended(seq, c.number) & 1099511627775,
                    0, gen_random_uuid(), 'user-' || 2 * c.number, 'Somebody', repeat('x', 64)
             FROM conversations c CROSS JOIN LATERAL generate_series(1, c.head) AS seq"
        ));
    }
}
