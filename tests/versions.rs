//! Versions one minor apart: the contract of 0.1 still stands, its recorded streams are still read, and what a later
//! minor may add is skipped in both directions.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "versions/asked.rs"]
mod asked;
#[path = "versions/frozen.rs"]
mod frozen;
#[path = "versions/later.rs"]
mod later;
#[path = "versions/recorded.rs"]
mod recorded;
