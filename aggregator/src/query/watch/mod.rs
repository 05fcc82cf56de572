//! `Watch`: a selection as a stream, a full picture first and then what changes.
//!
//! Those who watch the same share a [`feed`]: a task that has a [`look`] at everything each tick and makes a [`picture`] of
//! it, with what was [`told`] of each item and when that last changed. A [`reader`] holds no queue but a [`cursor`]: when
//! its connection has room it is told what changed since, once and as it is now. [`hub`] finds feeds, [`seats`] bounds them,
//! [`position`] is how a reader finds its place again, [`service`] sends [`message`]s as they are. What readers do with it
//! is in `query.proto`.

pub mod cursor;
pub mod feed;
pub mod hub;
pub mod look;
pub mod message;
#[cfg(test)]
mod model;
pub mod picture;
pub mod position;
pub mod reader;
pub mod seats;
pub mod service;
pub mod told;
#[cfg(test)]
mod world;

use std::time::Duration;

use kubevitals::wire;

use self::feed::Subject;
use super::{faults::Faults, item::Wanted, messages, selection::Selection};

/// How often a selection may be told.
const SHORTEST: Duration = Duration::from_millis(200);
const LONGEST: Duration = Duration::from_secs(60);
const USUAL: Duration = Duration::from_secs(1);

impl Subject {
    /// What a request asks for; `None` and faults when something of it is wrong. `kept` is how far windows may reach.
    pub fn read(request: &wire::WatchRequest, kept: Duration, faults: &mut Faults) -> Option<Self> {
        let selection = Selection::read(request.selection.clone(), faults);
        let (window, without_details) = (request.window, request.without_details);
        let wanted = Wanted::read(window, without_details, request.without_distribution, kept, faults);
        let every = every(request.every, faults);
        Some(Self { selection: selection?, wanted: wanted?, every: every? })
    }
}

fn every(given: Option<prost_types::Duration>, faults: &mut Faults) -> Option<Duration> {
    match given.as_ref().map(messages::length) {
        None => Some(USUAL),
        Some(Some(every)) if (SHORTEST..=LONGEST).contains(&every) => Some(every),
        Some(_) => {
            faults.add("every", "not within 200ms and 60s");
            None
        }
    }
}
