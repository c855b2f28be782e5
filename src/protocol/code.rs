//! Error codes (PROTOCOL.md section 6) and WebSocket close codes (section 7).

macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal, retryable: $retryable:literal;)*) => {
        /// What went wrong, as the `code` of an `error`. The connection stays open.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum ErrorCode { $($(#[$doc])* $name,)* }

        impl ErrorCode {
            /// Every code, in the order of PROTOCOL.md.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code as it stands on the wire.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// Whether the same request may succeed later without being changed.
            pub const fn is_retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

error_codes! {
    /// The text is not JSON, is nested too deep, or repeats a known key.
    InvalidJson = "invalid_json", retryable: false;
    /// The envelope's own fields are not as they must be.
    InvalidEnvelope = "invalid_envelope", retryable: false;
    /// No such action.
    UnknownType = "unknown_type", retryable: false;
    /// A field of the payload is missing or not as it must be.
    InvalidPayload = "invalid_payload", retryable: false;
    /// A string with a NUL character.
    InvalidText = "invalid_text", retryable: false;
    /// Content, name, or list over its limit.
    TooLarge = "too_large", retryable: false;
    /// No or bad token; the reason is the same for every kind of bad token.
    Unauthorized = "unauthorized", retryable: false;
    /// The token was good and is over.
    TokenExpired = "token_expired", retryable: false;
    /// No such thing, or not yours to see.
    NotFound = "not_found", retryable: false;
    /// You see it, but may not do this.
    Forbidden = "forbidden", retryable: false;
    /// A `clientMessageId` again with another body.
    Conflict = "conflict", retryable: false;
    /// Too fast; `retryAfterMs` says when to try again.
    RateLimited = "rate_limited", retryable: true;
    /// Too many joined conversations, members, conversations of a member.
    LimitExceeded = "limit_exceeded", retryable: false;
    /// The store or broker is not answering; retry with the same `clientMessageId`.
    Unavailable = "unavailable", retryable: true;
    /// A bug.
    Internal = "internal", retryable: true;
}

macro_rules! close_codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $reason:literal;)*) => {
        /// Why the server closes a connection: RFC 6455 section 7.4.1 below 4000, Parlor's own from there.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum CloseCode { $($(#[$doc])* $name,)* }

        impl CloseCode {
            /// Every code the server sends.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The number on the wire.
            pub const fn number(self) -> u16 {
                match self { $(Self::$name => $number,)* }
            }

            /// The reason that goes with it; also the value of the metric's label.
            pub const fn reason(self) -> &'static str {
                match self { $(Self::$name => $reason,)* }
            }
        }
    };
}

close_codes! {
    /// Answers a peer that closed normally.
    Normal = 1000, "";
    /// A frame that RFC 6455 forbids.
    ProtocolError = 1002, "protocol_error";
    /// A binary message.
    UnsupportedData = 1003, "text_only";
    /// A text that is not UTF-8.
    InvalidUtf8 = 1007, "invalid_utf8";
    /// A message over its limit.
    MessageTooBig = 1009, "message_too_big";
    /// The server is stopping; come back after a while.
    Draining = 4000, "draining";
    /// The token's `exp` and its grace have passed.
    TokenExpired = 4001, "token_expired";
    /// Nothing came back for a ping.
    PingTimeout = 4002, "ping_timeout";
    /// The outbound queue grew past its size or age.
    SlowConsumer = 4003, "slow_consumer";
    /// Over the rate again and again.
    RateLimited = 4008, "rate_limited";
    /// Too many errors.
    BadRequest = 4500, "bad_request";
    /// No or bad token, or none in time.
    Unauthorized = 4501, "unauthorized";
    /// Too many connections of one user: the oldest goes.
    ConnectionReplaced = 4502, "connection_replaced";
    /// Ended by an operator.
    Removed = 4503, "removed";
}
