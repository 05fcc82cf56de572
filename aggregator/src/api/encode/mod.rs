//! Answers to bytes.
//!
//! In reading order: [`mod@format`] (what a client can ask for), [`list`] (objects, one by one or in a list, in any of these
//! forms), and one module for each encoding: [`json`], [`yaml`], `protobuf` in its [`envelope`]. [`table`] has what
//! tables are made of in every encoding.
//!
//! Objects are written straight from the answers; only small documents go through serde.

pub mod envelope;
pub mod format;
#[cfg(test)]
pub(crate) mod golden;
mod item;
pub mod json;
pub mod list;
pub mod protobuf;
mod repeated;
pub mod table;
mod wire;
pub mod yaml;
