//! The containers of one pod to one answer, or the reason why there is none. Pure.
//!
//! A pod is served whole or not at all: an autoscaler that is given half a pod scales on half its load.

use std::time::Duration;

use kubevitals::sample::BootTime;

use crate::{
    store::ring::Samples,
    usage::{NoUsage, PerContainer, Usage, Window, usage},
};

/// The numbers that govern what is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Length of the window.
    pub window: Duration,
    /// A young container's window is at least this long.
    pub shortest: Duration,
    /// Once so much time has passed since a pod became ready, its window begins there.
    pub after_ready: Duration,
    /// For how long the last whole picture stands in for one that is not whole.
    pub hold: Duration,
    /// What is older is not served.
    pub stale: Duration,
}

/// The samples of one container, if there are any.
pub type Member<'a> = Option<Samples<'a>>;

/// The state of a pod at the time of asking.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// What the node's clock says now.
    pub now: BootTime,
    /// When the pod became ready.
    pub ready: Option<BootTime>,
    /// The node's tick: readings of one sweep lie within half of it.
    pub interval: Duration,
}

/// Why a pod (or node) is left out; also the metric label.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Omission {
    /// The pod has no running container.
    NoContainers,
    /// A running container was not reported by its node's agent.
    NotMeasured,
    /// A container was read once.
    FirstSample,
    /// A container's readings are too close together.
    WindowTooShort,
    /// The newest complete numbers are too old.
    Stale,
    /// No agent speaks for the node.
    NoAgent,
    /// No agent speaks for the node, and its kubelet has not answered yet.
    NoKubelet,
}

impl Omission {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::NoContainers,
        Self::NotMeasured,
        Self::FirstSample,
        Self::WindowTooShort,
        Self::Stale,
        Self::NoAgent,
        Self::NoKubelet,
    ];

    /// As a metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoContainers => "no_containers",
            Self::NotMeasured => "not_measured",
            Self::FirstSample => "first_sample",
            Self::WindowTooShort => "window_too_short",
            Self::Stale => "stale",
            Self::NoAgent => "no_agent",
            Self::NoKubelet => "no_kubelet",
        }
    }
}

impl From<NoUsage> for Omission {
    fn from(reason: NoUsage) -> Self {
        match reason {
            NoUsage::NoSample => Self::NotMeasured,
            NoUsage::FirstSample => Self::FirstSample,
            NoUsage::WindowTooShort => Self::WindowTooShort,
        }
    }
}

/// A whole pod at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// When the earliest of its containers was last read.
    pub end: BootTime,
    /// From the earliest begin of its containers' windows to `end`.
    pub window: Duration,
    /// Whether it is of the former containers.
    pub held: bool,
    /// In the order of the members.
    pub usages: PerContainer<Usage>,
}

/// The picture of a pod as it runs now or, while that is not whole, as it ran before: `previous` is its former
/// set of containers and the moment until which that was the one.
pub fn picture<'a>(
    members: impl Iterator<Item = Member<'a>> + Clone,
    previous: Option<(impl Iterator<Item = Member<'a>> + Clone, BootTime)>,
    situation: &Situation,
    rules: &Rules,
) -> Result<Picture, Omission> {
    let reason = match at(members, BootTime(u64::MAX), situation, rules) {
        Ok(picture) => return fresh(picture, situation, rules),
        Err(reason) => reason,
    };
    match previous {
        Some((members, until)) if situation.now.since(until) <= rules.hold => {
            at(members, until, situation, rules)
                .or(Err(reason))
                .and_then(|former| fresh(Picture { held: true, ..former }, situation, rules))
        }
        _ => Err(reason),
    }
}

fn fresh(picture: Picture, situation: &Situation, rules: &Rules) -> Result<Picture, Omission> {
    if situation.now.since(picture.end) > rules.stale { Err(Omission::Stale) } else { Ok(picture) }
}

/// Where the window of a pod that became ready may begin. A served timestamp is cut to whole seconds, and the autoscaler
/// leaves a young pod out unless `timestamp - window` is not before its change to ready: so a second later.
fn after(ready: BootTime) -> BootTime {
    const CUT_OFF: u64 = 1_000_000;
    BootTime(ready.0.saturating_add(CUT_OFF))
}

/// All members at the moment up to which all of them were read, not later than `until`.
fn at<'a>(
    members: impl Iterator<Item = Member<'a>> + Clone,
    until: BootTime,
    situation: &Situation,
    rules: &Rules,
) -> Result<Picture, Omission> {
    let mut common = until;
    for member in members.clone() {
        let newest = member.and_then(|ring| ring.at_or_before(until)).ok_or(Omission::NotMeasured)?;
        common = common.min(newest.time);
    }
    // Readings of the same sweep are a little apart; of the sweep after, at least half an interval.
    let half = u64::try_from((situation.interval / 2).as_micros()).unwrap_or(u64::MAX);
    let window = Window {
        length: rules.window,
        shortest: rules.shortest,
        until: BootTime(common.0.saturating_add(half).min(until.0)),
        not_before: situation.ready.map(after).filter(|&begin| common.since(begin) >= rules.after_ready),
    };
    let mut usages = PerContainer::with_capacity(members.size_hint().0);
    let (mut start, mut end) = (BootTime(u64::MAX), BootTime(u64::MAX));
    for member in members {
        let ring = member.ok_or(Omission::NotMeasured)?;
        let usage = usage(ring, &window)?;
        start = start.min(usage.start);
        end = end.min(usage.end);
        usages.push(usage);
    }
    if usages.is_empty() {
        return Err(Omission::NoContainers);
    }
    Ok(Picture { end, window: end.since(start), held: false, usages })
}

#[cfg(test)]
mod tests {
    use kubevitals::sample::{CpuTime, Sample, WorkingSet};
    use proptest::prelude::*;

    use super::*;
    use crate::store::ring::Ring;

    const SECOND: u64 = 1_000_000;

    fn rules() -> Rules {
        let seconds = Duration::from_secs;
        Rules {
            window: seconds(15),
            shortest: Duration::from_millis(250),
            after_ready: seconds(5),
            hold: seconds(15),
            stale: seconds(30),
        }
    }

    proptest! {
        /// The horizontal pod autoscaler's own comparison (`groupPods` of its replica calculator), for a pod that became
        /// ready at second 100. Wall time is boot time here.
        #[test]
        fn the_autoscaler_counts_a_pod_six_seconds_after_it_became_ready_and_ever_after(
            every in SECOND / 5..3 * SECOND, jitter in proptest::collection::vec(0..60_000_u64, 300), age in 6_u64..40,
        ) {
            let mut ring = Ring::new(300);
            let mut newest = BootTime(0);
            for (n, late) in (0..).zip(&jitter) {
                let time = BootTime(90 * SECOND + n * every + late);
                if time.0 < (100 + age) * SECOND {
                    let (cpu, working_set) = (CpuTime(n), WorkingSet::from_units(1));
                    ring.push(Sample { time, cpu, working_set }).unwrap();
                    newest = time;
                }
            }
            prop_assume!(newest.0 >= 106 * SECOND);
            let ready = Some(BootTime(100 * SECOND));
            let situation = Situation { now: newest, ready, interval: Duration::from_micros(every) };
            let none = None::<(std::iter::Empty<Member<'_>>, BootTime)>;
            let picture = picture([Some(Samples::from(&ring))].into_iter(), none, &situation, &rules()).unwrap();
            let served = picture.end.0 / SECOND * SECOND;
            let window = u64::try_from(picture.window.as_micros()).unwrap();
            prop_assert!(served - window >= 100 * SECOND, "{} - {window}", picture.end.0);
        }
    }
}
