//! What to do next about the shared authority. Pure: the time and what was found in, one step out.
//!
//! 1. An authority signs until two thirds of its life are over or an operator asks for another.
//! 2. Then a next one is made and published beside it: **begin**.
//! 3. Once every `ConfigMap` and `APIService` that we look after was seen to hold it, that is written down: **announce**.
//!    Should it be missing somewhere after that, this is taken back: **withdraw**.
//! 4. An overlap later it signs; the key of the former one is thrown away, its certificate stays in the bundle:
//!    **switch**. Replicas replace their serving certificates as soon as they see this.
//! 5. Six overlaps later the former certificate leaves the bundle: **end**.
//!
//! Each step is one optimistic write, so of several replicas one does it, and any of them does the following one. What
//! cannot sign any more and is ours is **repaired**: another authority takes its place at once for replicas that have no
//! certificate, and an overlap later for those that have one which is still trusted.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    bundle::Bundle,
    contents::{Broken, Next, State},
};
use crate::tls::{Authority, TlsError};

/// How long a rotation waits, and how long authorities live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Life of an authority.
    pub life: Duration,
    /// From when a new certificate stands in all `ConfigMap`s and `APIService`s until it is relied on.
    ///
    /// Kubelets refresh a mounted `ConfigMap` after at most 60 s to 90 s of their own period and 60 s of their cache;
    /// agents read the file for each connection. Two and a half minutes, and five minutes for clocks of replicas that are
    /// apart, make less than ten.
    pub overlap: Duration,
}

/// How many overlaps a former authority stays trusted after it stopped signing. Replicas look at the Secret every few
/// seconds and replace their certificate at once. One that cannot look, because the API server is away from it, cannot
/// have tokens reviewed either, so it lets nobody in anew, whatever its certificate. After an hour nobody is behind.
const RETIREMENT: u32 = 6;

/// A write may be this many overlaps ahead of our clock before we take it for nonsense.
const AHEAD: u32 = 2;

/// Where the next authority was just seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Publication {
    /// In every object there is.
    Everywhere,
    /// Not in all of them.
    Lacking,
    /// Some could not be looked at.
    Unknown,
}

/// One write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The first authority.
    Create,
    /// A next one was made.
    Begin,
    /// All clients can know the next one from now on.
    Announce,
    /// Some clients may have read a bundle without the next one: the overlap begins anew when it is everywhere again.
    Withdraw,
    /// The next one signs.
    Switch,
    /// The former one is forgotten.
    End,
    /// A time that is missing or makes no sense is written anew.
    Stamp,
    /// What could not sign was replaced.
    Repair,
}

impl Step {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Create,
        Self::Begin,
        Self::Announce,
        Self::Withdraw,
        Self::Switch,
        Self::End,
        Self::Stamp,
        Self::Repair,
    ];

    /// As a label and in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Begin => "begin",
            Self::Announce => "announce",
            Self::Withdraw => "withdraw",
            Self::Switch => "switch",
            Self::End => "end",
            Self::Stamp => "stamp",
            Self::Repair => "repair",
        }
    }
}

/// What to do about a sound state, if anything; `seen` tells where its next authority was just seen.
#[must_use]
pub fn decide(now: SystemTime, plan: &Plan, state: &State, seen: Publication) -> Option<Step> {
    if !state.is_ours {
        return None;
    }
    if now >= state.signing.valid().end {
        return Some(Step::Repair);
    }
    let is_nonsense = |time: SystemTime| time > now + plan.overlap * AHEAD;
    if let Some(next) = &state.next {
        return match (seen, next.published) {
            (Publication::Everywhere, Some(published)) if !is_nonsense(published) => {
                (now >= published + plan.overlap).then_some(Step::Switch)
            }
            (Publication::Everywhere, _) => Some(Step::Announce),
            (Publication::Lacking, Some(_)) => Some(Step::Withdraw),
            (Publication::Lacking, None) | (Publication::Unknown, _) => None,
        };
    }
    if !state.previous.certificates().is_empty() {
        return match state.from {
            Some(from) if !is_nonsense(from) => {
                (now >= from + plan.overlap * RETIREMENT).then_some(Step::End)
            }
            _ => Some(Step::Stamp),
        };
    }
    (state.is_requested || now >= state.renew()).then_some(Step::Begin)
}

/// The state after a step. [`Step::Create`] changes nothing here: it begins with [`create`].
pub fn take(step: Step, now: SystemTime, plan: &Plan, state: &State) -> Result<State, TlsError> {
    let mut after = state.clone();
    match step {
        Step::Create => {}
        Step::Begin => {
            let authority = Arc::new(Authority::generate_for(now, plan.life)?);
            after.next = Some(Next { authority, published: None });
            after.is_requested = false;
        }
        Step::Announce => {
            if let Some(next) = &mut after.next {
                next.published = Some(now);
            }
        }
        Step::Withdraw => {
            if let Some(next) = &mut after.next {
                next.published = None;
            }
        }
        Step::Switch => {
            if let Some(next) = after.next.take() {
                let former = std::mem::replace(&mut after.signing, next.authority);
                after.previous.add(former.certificate());
                after.from = Some(now);
            }
        }
        Step::End => {
            after.previous = Bundle::default();
        }
        Step::Stamp => after.from = Some(now),
        Step::Repair => {
            let next = state.next.as_ref().map(|next| Arc::clone(&next.authority));
            after = replacement(now, plan, next, &state.bundle())?;
        }
    }
    Ok(after)
}

/// The first authority. What this process trusted before, if anything, stays trusted for a while: the Secret was deleted.
pub fn create(now: SystemTime, plan: &Plan, trusted: &Bundle) -> Result<State, TlsError> {
    replacement(now, plan, None, trusted)
}

/// Another authority for one of ours that cannot sign.
pub fn repair(now: SystemTime, plan: &Plan, broken: &Broken, trusted: &Bundle) -> Result<State, TlsError> {
    let both: Bundle = broken.trusted.certificates().iter().chain(trusted.certificates()).collect();
    replacement(now, plan, broken.next.clone(), &both)
}

fn replacement(
    now: SystemTime,
    plan: &Plan,
    next: Option<Arc<Authority>>,
    trusted: &Bundle,
) -> Result<State, TlsError> {
    let usable = next.filter(|next| now < next.valid().end);
    let signing = match usable {
        Some(next) => next,
        None => Arc::new(Authority::generate_for(now, plan.life)?),
    };
    let former = trusted.certificates().iter().filter(|it| *it != signing.certificate());
    let previous: Bundle = former.collect();
    let is_first = previous.certificates().is_empty();
    let from = if is_first { now } else { now + plan.overlap };
    Ok(State {
        signing,
        from: Some(from),
        next: None,
        previous,
        is_ours: true,
        is_requested: false,
        oddities: Vec::new(),
    })
}

#[cfg(test)]
mod tests;
