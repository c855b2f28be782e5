//! `loadgen run`: thousands of people who use the chat server, timed and verified.
//!
//! `crowd` and `verifier` are pure: what people do and what they must see. `engine` is one thread's sockets and clock around a
//! crowd; `team` is the threads and processes; `conduct` leads a team through a run and makes an `Outcome` of it.

pub(crate) mod cli;
pub(crate) mod clock;
pub(crate) mod conduct;
mod crowd;
mod engine;
pub(crate) mod live;
mod machine;
mod orders;
pub(crate) mod plan;
mod process;
pub(crate) mod scenario;
mod sends;
mod socket;
pub(crate) mod team;
mod verifier;
mod wire;
