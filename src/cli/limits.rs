//! Every field of [`Limits`] as a flag of the same name. One table makes the flags, the limits they become and their listing,
//! so that none can be forgotten; a test holds the defaults to `Limits::default()`.

use clap::Args;

use super::values::{Bytes, Count, Deadline, Rate, Span};
use crate::protocol::Limits;

macro_rules! limit_args {
    ($($(#[$group_doc:meta])* $group:ident, $member:ident, $heading:literal {
        $($(#[$doc:meta])* $field:ident: $kind:ident = $default:literal, $env:literal;)*
    })*) => {
        $(
            $(#[$group_doc])*
            #[derive(Args, Clone, Debug)]
            #[command(next_help_heading = $heading)]
            pub struct $group {
                $(
                    $(#[$doc])*
                    #[arg(long, env = $env, value_name = $kind::VALUE_NAME, default_value = $default)]
                    pub $field: $kind,
                )*
            }
        )*

        /// All limits.
        #[derive(Args, Clone, Debug)]
        pub struct LimitArgs {
            $(
                $(#[$group_doc])*
                #[command(flatten)]
                pub $member: $group,
            )*
        }

        impl LimitArgs {
            /// The limits as they were given, their relations not yet checked.
            pub(crate) fn limits(&self) -> Limits {
                Limits { $($($field: self.$member.$field.get(),)*)* }
            }
        }

        /// Each limit's flag, without its dashes, and value.
        pub(crate) fn listing(limits: &Limits) -> Vec<(String, String)> {
            vec![$($((stringify!($field).replace('_', "-"), $kind::new(limits.$field).to_string()),)*)*]
        }
    };
}

limit_args! {
    /// How many, and how much each may hold.
    ConnectionLimits, connections, "Limits: connections" {
        /// Most connections of the server; one more is refused with HTTP 503. 0: no limit
        max_connections: Count = "0", "PARLOR_MAX_CONNECTIONS";
        /// Most connections of one user; one more closes the oldest. 0: no limit
        max_connections_per_user: Count = "16", "PARLOR_MAX_CONNECTIONS_PER_USER";
        /// Most conversations that one connection has joined. 0: no limit
        max_joined: Count = "256", "PARLOR_MAX_JOINED";
        /// Most unanswered requests of one connection; past it the server stops reading its socket. 0: no limit
        max_in_flight: Count = "64", "PARLOR_MAX_IN_FLIGHT";
        /// Most bytes that wait to be sent to one connection; past it, it is closed. 0: no limit, whatever the memory
        max_outbox_bytes: Bytes = "1m", "PARLOR_MAX_OUTBOX_BYTES";
        /// Most members of one conversation. 0: no limit
        max_members: Count = "10000", "PARLOR_MAX_MEMBERS";
        /// Most conversations that one user is a member of. 0: no limit
        max_conversations_per_user: Count = "5000", "PARLOR_MAX_CONVERSATIONS_PER_USER";
        /// Joined connections of a conversation past which typing is not announced in it. 0: no limit
        typing_max_joined: Count = "100", "PARLOR_TYPING_MAX_JOINED";
        /// Errors of its own making in a minute, past which a connection is closed. 0: no limit
        max_errors_per_minute: Count = "60", "PARLOR_MAX_ERRORS_PER_MINUTE";
        /// Requests refused by a rate limit in a minute, past which a connection is closed. 0: no limit
        max_rate_limited_per_minute: Count = "300", "PARLOR_MAX_RATE_LIMITED_PER_MINUTE";
        /// Ping frames in a minute, past which a connection is closed. 0: no limit
        max_pings_per_minute: Count = "600", "PARLOR_MAX_PINGS_PER_MINUTE";
    }
    /// How large, and how many in which time.
    MessageLimits, messages, "Limits: messages" {
        /// Largest frame and reassembled message, in bytes, at most 16m. 0: 16m
        max_message_bytes: Bytes = "64k", "PARLOR_MAX_MESSAGE_BYTES";
        /// The same before authentication, in bytes. 0: as after it
        max_unauthenticated_bytes: Bytes = "8k", "PARLOR_MAX_UNAUTHENTICATED_BYTES";
        /// Most frames of one fragmented message. 0: no limit
        max_fragments: Count = "64", "PARLOR_MAX_FRAGMENTS";
        /// Longest content of a message, in characters. 0: what fits into a frame
        max_content_chars: Count = "4000", "PARLOR_MAX_CONTENT_CHARS";
        /// Most missed events that a returning client is sent; one who missed more loads afresh. 0: no limit
        recovery_limit: Count = "500", "PARLOR_RECOVERY_LIMIT";
        /// Messages that one user may send each second, sustained. 0: no limit
        messages_per_second: Rate = "10", "PARLOR_MESSAGES_PER_SECOND";
        /// Messages that one user may send at once
        message_burst: Rate = "30", "PARLOR_MESSAGE_BURST";
        /// All other actions of one user each second, sustained. 0: no limit
        actions_per_second: Rate = "30", "PARLOR_ACTIONS_PER_SECOND";
        /// Other actions that one user may send at once
        action_burst: Rate = "100", "PARLOR_ACTION_BURST";
        /// Wrong invite codes each minute, for each user and for each address. 0: no limit
        invite_attempts_per_minute: Rate = "10", "PARLOR_INVITE_ATTEMPTS_PER_MINUTE";
        /// Conversations and groups that one user may create each minute. 0: no limit
        creations_per_minute: Rate = "60", "PARLOR_CREATIONS_PER_MINUTE";
    }
    /// How long.
    TimeLimits, times, "Limits: time" {
        /// Longest time from accepting a socket to its being a WebSocket, or to the end of the HTTP answer. 0: no limit
        handshake_timeout: Deadline = "10s", "PARLOR_HANDSHAKE_TIMEOUT";
        /// Longest time from the upgrade to a good token. 0: no limit
        auth_timeout: Deadline = "10s", "PARLOR_AUTH_TIMEOUT";
        /// Silence after which the server pings. 0: it never does
        ping_interval: Deadline = "25s", "PARLOR_PING_INTERVAL";
        /// Silence after a ping, past which the connection is closed. 0: no limit
        pong_timeout: Deadline = "8s", "PARLOR_PONG_TIMEOUT";
        /// Longest time in which a connection takes none of the bytes that wait for it. 0: no limit
        max_outbox_age: Deadline = "10s", "PARLOR_MAX_OUTBOX_AGE";
        /// How long a sign of typing holds; more than 0
        typing_lease: Span = "6s", "PARLOR_TYPING_LEASE";
        /// Time from a user's last connection until they are announced offline. 0: at once
        presence_grace: Span = "5s", "PARLOR_PRESENCE_GRACE";
        /// Time before a token expires at which its bearer is warned. 0: no warning
        token_warning: Span = "1m", "PARLOR_TOKEN_WARNING";
        /// Time after a token expired at which its connection is closed. 0: at once
        token_grace: Span = "25s", "PARLOR_TOKEN_GRACE";
        /// Longest time from SIGTERM to exit; more than 0
        drain_time: Span = "20s", "PARLOR_DRAIN_TIME";
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct OnlyLimits {
        #[command(flatten)]
        limits: LimitArgs,
    }

    #[test]
    fn defaults_are_those_of_the_limits() {
        assert_eq!(OnlyLimits::parse_from(["parlor"]).limits.limits(), Limits::default());
    }

    #[test]
    fn the_listing_shows_each_limit_as_its_flag_takes_it() {
        let listing = listing(&Limits::default());
        let args = listing.iter().flat_map(|(flag, value)| {
            let given = if value == "off" { "0" } else { value };
            [format!("--{flag}"), given.to_owned()]
        });
        let parsed = OnlyLimits::parse_from(["parlor".to_owned()].into_iter().chain(args));
        assert_eq!(parsed.limits.limits(), Limits::default());
    }
}
