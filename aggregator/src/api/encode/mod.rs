//! Answers to bytes, one file per encoding.

pub mod envelope;
pub mod json;
mod wire;
