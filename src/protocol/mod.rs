//! The wire, pure: identifiers, limits, requests, replies and events, error and close codes, JSON, RFC 6455 frames.
//!
//! Nothing here knows a socket, a clock, randomness or tokio. `PROTOCOL.md` is the contract this module implements.

mod code;
pub mod encode;
mod event_frame;
pub mod frame;
mod ids;
pub mod limits;
mod objects;
pub mod request;
mod time;

pub use code::{CloseCode, ErrorCode};
pub use event_frame::EventFrame;
pub use ids::{ConversationId, IdError, IdTime, MessageId, Seq, UserId};
pub use limits::Limits;
pub use objects::{Conversation, ConversationKind, LogEvent, Member, Message, Role};
pub use time::UnixMillis;
