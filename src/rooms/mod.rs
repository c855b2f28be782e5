//! Pure state machines of live chat: a room's members, order and typing leases, presence, rates. Time is passed in.
//!
//! Nothing here knows a socket, a clock, randomness, a store or tokio; `worker/` executes what is decided here.

#[cfg(any(test, fuzzing))]
pub mod harness;
mod moment;
mod presence;
mod rate;
mod recent;
mod room;
mod sequencer;
mod snapshot;
mod typing;

pub use moment::Moment;
pub use presence::Presence;
pub use rate::{Rate, Schedule};
pub use recent::RecentEvents;
pub use room::{JoinPlan, Room};
pub use sequencer::{ReadEnd, Sequencer};
pub use snapshot::{InviteHash, MemberRecord, ReadMark, RoomSnapshot};
pub use typing::{TypingLeases, TypingStart};
