//! Drives the real server over real sockets, by the contract in PROTOCOL.md and nothing else.
//!
//! Each module is a kind of behaviour. A client in `support` checks the form and the order of everything that it receives, in every test.

mod actions;
mod actions_groups;
mod bounds;
mod cli;
mod closes;
mod conversations;
mod drain;
mod durability;
mod errors;
mod events;
mod events_hints;
mod hostile_auth;
mod hostile_frames;
mod hostile_load;
mod http;
mod idempotency;
mod import;
mod import_refusals;
mod loadgen;
mod loadgen_processes;
mod matrix;
mod page;
mod postgres;
mod postgres_nodes;
mod postgres_recovery;
mod presence;
mod recovery;
mod supabase;
mod support;
mod tidy;
mod typing;
mod unread;
