//! Parlor: a chat server that speaks one WebSocket protocol and keeps every acknowledged message.
//!
//! The modules, in reading order; imports point from later to earlier only (`tests/it/tidy.rs` holds them to it).

pub mod protocol;

pub mod rooms;

pub mod store;

pub mod auth;

pub mod cli;
pub mod config;

pub mod logging;
pub mod metrics;

pub mod worker;

mod http;

mod import;
pub mod server;

pub mod commands;
