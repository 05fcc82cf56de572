//! Certificates nobody has to look after: real aggregators before a stand-in API server, whose front proxy and whose
//! clients trust what is published and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and says what it measured"
)]

#[path = "support/api.rs"]
mod api;
#[path = "support/apiserver/mod.rs"]
mod apiserver;
#[path = "support/fleet.rs"]
mod fleet;
#[path = "support/program.rs"]
mod program;

#[path = "trust/poll.rs"]
mod poll;
#[path = "trust/setup.rs"]
mod setup;

#[path = "trust/authority.rs"]
mod authority;
#[path = "trust/away.rs"]
mod away;
#[path = "trust/files.rs"]
mod files;
#[path = "trust/publishing.rs"]
mod publishing;
#[path = "trust/rotation.rs"]
mod rotation;
