//! Every limit of the server in one place: its meaning, unit, default and reason. `cli.rs` makes each a setting of the same name.
//!
//! A limit that the operator switched off holds [`OFF`] (or [`OFF_TIME`]), so that a comparison needs no special case.

use std::time::Duration;

/// A count or size that never bites.
pub const OFF: usize = usize::MAX;
/// A time that never passes: about 136 years, small enough to be added to any clock reading.
pub const OFF_TIME: Duration = Duration::from_secs(u32::MAX as u64);
/// Where a message ends even when `max_message_bytes` is switched off, so that memory stays bounded.
pub const HARD_MAX_MESSAGE_BYTES: usize = 16 * 1024 * 1024;
/// Longest `requestId`, in bytes.
pub const MAX_REQUEST_ID_BYTES: usize = 64;
/// Longest `clientMessageId`, in bytes.
pub const MAX_CLIENT_MESSAGE_ID_BYTES: usize = 64;
/// Longest `token` of an `auth`, in bytes: what common proxies allow for a whole header.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;
/// Longest `inviteCode` that is looked up, in bytes.
pub const MAX_INVITE_CODE_BYTES: usize = 128;
/// Longest `cursor` of a page, in bytes.
pub const MAX_CURSOR_BYTES: usize = 128;
/// Longest `epoch` of a position, in bytes.
pub const MAX_EPOCH_BYTES: usize = 64;
/// Longest group name, title or display name, in characters.
pub const MAX_NAME_CHARS: usize = 100;
/// Most `memberIds` in one request.
pub const MAX_MEMBER_IDS: usize = 100;
/// Deepest nesting of a request; the envelope itself is level 1.
pub const MAX_DEPTH: usize = 8;
/// Most messages in a page, and most events in a join without `since`.
pub const MAX_PAGE: usize = 200;
/// Messages in a page when the client names no number.
pub const DEFAULT_PAGE: usize = 50;
/// Most conversations in a page.
pub const MAX_CONVERSATION_PAGE: usize = 100;
/// Conversations in a page when the client names no number.
pub const DEFAULT_CONVERSATION_PAGE: usize = 30;
/// Most members listed in a join reply.
pub const MAX_LISTED_MEMBERS: usize = 200;
/// Longest request, in bytes, for which a parser keeps the memory it used: about 2 MiB at the worst (a node of 24 bytes, an index
/// of 4 and two copies for each byte). What a longer one needed is given back at once.
pub const MAX_KEPT_REQUEST_BYTES: usize = 64 * 1024;
/// About how many bytes of messages one reply carries; a page ends before its `limit` rather than past this. One message always
/// fits: the page goes on with the next request.
pub const MAX_REPLY_BYTES: usize = 512 * 1024;
/// Longest payload of a control frame (RFC 6455, section 5.5).
pub const MAX_CONTROL_BYTES: usize = 125;

const _: () = assert!(DEFAULT_PAGE <= MAX_PAGE && DEFAULT_CONVERSATION_PAGE <= MAX_CONVERSATION_PAGE);

/// The limits an operator can set. Immutable once the server runs.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Largest frame and reassembled message, in bytes. More is close 1009, by the declared length, before anything is allocated.
    pub max_message_bytes: usize,
    /// The same before authentication: a stranger gets less of our memory.
    pub max_unauthenticated_bytes: usize,
    /// Most frames of one fragmented message, empty ones included. More is close 1009.
    pub max_fragments: usize,
    /// Longest content of a message, in characters. More is `too_large`.
    pub max_content_chars: usize,
    /// Most conversations one connection has joined. More is `limit_exceeded`.
    pub max_joined: usize,
    /// Most unanswered requests of one connection; past it the server stops reading that socket.
    pub max_in_flight: usize,
    /// Most connections of one user; one more closes the oldest with 4502.
    pub max_connections_per_user: usize,
    /// Most connections of the server; one more is refused with HTTP 503.
    pub max_connections: usize,
    /// Most members of one conversation. More is `limit_exceeded`.
    pub max_members: usize,
    /// Most conversations that one user is a member of. More is `limit_exceeded`. It bounds what `load_conversations` reads, which
    /// is all of them for any page, and anybody may add anybody.
    pub max_conversations_per_user: usize,
    /// Most bytes waiting to be sent to one connection; past it, close 4003.
    pub max_outbox_bytes: usize,
    /// Longest time in which a connection with waiting bytes takes none of them; past it, close 4003.
    pub max_outbox_age: Duration,
    /// Most events that a join with `since` delivers; a longer absence gets `"recovered": false`.
    pub recovery_limit: usize,
    /// Messages that one user may send each second, sustained. 0: no limit.
    pub messages_per_second: u32,
    /// Messages that one user may send at once.
    pub message_burst: u32,
    /// All other actions of one user each second, sustained. 0: no limit.
    pub actions_per_second: u32,
    /// Other actions that one user may send at once.
    pub action_burst: u32,
    /// Wrong invite codes each minute, for each user and for each address. 0: no limit.
    pub invite_attempts_per_minute: u32,
    /// Conversations and groups that one user may create each minute. 0: no limit.
    pub creations_per_minute: u32,
    /// Errors of one connection's own making in a minute before close 4500.
    pub max_errors_per_minute: usize,
    /// Refusals by a rate limit of one connection in a minute before close 4008.
    pub max_rate_limited_per_minute: usize,
    /// Ping frames of one connection in a minute before close 4008.
    pub max_pings_per_minute: usize,
    /// Longest time from accepting a socket to its being a WebSocket, or to the end of the HTTP answer.
    pub handshake_timeout: Duration,
    /// Longest time from the upgrade to a good token; past it, close 4501.
    pub auth_timeout: Duration,
    /// Silence after which the server pings.
    pub ping_interval: Duration,
    /// Silence after a ping; past it, close 4002.
    pub pong_timeout: Duration,
    /// How long a `typing_start` holds.
    pub typing_lease: Duration,
    /// Joined connections of a room past which typing is not announced.
    pub typing_max_joined: usize,
    /// Time from a user's last connection to their being announced offline.
    pub presence_grace: Duration,
    /// Time before a token's `exp` at which `token_expiring` is sent.
    pub token_warning: Duration,
    /// Time after a token's `exp` at which the connection is closed with 4001.
    pub token_grace: Duration,
    /// Longest time from SIGTERM to exit.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 * 1024,
            max_unauthenticated_bytes: 8 * 1024,
            max_fragments: 64,
            max_content_chars: 4_000,
            max_joined: 256,
            max_in_flight: 64,
            max_connections_per_user: 16,
            max_connections: OFF,
            max_members: 10_000,
            max_conversations_per_user: 5_000,
            max_outbox_bytes: 1024 * 1024,
            max_outbox_age: Duration::from_secs(10),
            recovery_limit: 500,
            messages_per_second: 10,
            message_burst: 30,
            actions_per_second: 30,
            action_burst: 100,
            invite_attempts_per_minute: 10,
            creations_per_minute: 60,
            max_errors_per_minute: 60,
            max_rate_limited_per_minute: 300,
            max_pings_per_minute: 600,
            handshake_timeout: Duration::from_secs(10),
            auth_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(25),
            pong_timeout: Duration::from_secs(8),
            typing_lease: Duration::from_secs(6),
            typing_max_joined: 100,
            presence_grace: Duration::from_secs(5),
            token_warning: Duration::from_secs(60),
            token_grace: Duration::from_secs(25),
            drain_time: Duration::from_secs(20),
        }
    }
}
