//! Answers to bytes, one file per encoding.

pub mod json;
