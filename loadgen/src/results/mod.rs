//! What becomes of a run's results: a verdict, and views of an [`Outcome`](crate::outcome::Outcome) for people and for other tools.
//! Everything is a function of the outcome; nothing here measures anything.

pub(crate) mod annotations;
pub(crate) mod baseline;
pub(crate) mod cli;
pub(crate) mod conclusion;
mod csv;
pub(crate) mod files;
#[cfg(test)]
pub(crate) mod fixture;
pub(crate) mod gates;
mod hlog;
mod html;
pub(crate) mod json;
mod percentiles;
pub(crate) mod table;
pub(crate) mod terminal;
pub(crate) mod units;
