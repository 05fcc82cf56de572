use std::time::Duration;

use kubevitals::sample::CpuTime;
use proptest::prelude::*;

use super::*;
use crate::kubelet::history::{Births, History, Point, Reading, Witness, is_same_counter};

const STALE: u64 = 30;

#[test]
fn the_newer_answer_is_given_and_the_reason_of_whoever_should_have_one() {
    let choose = |agent, kubelet| choose(agent, kubelet, |&(time, _): &(u64, &str)| WallTime(time));
    assert_eq!(choose(Ok((5, "agent")), Ok((4, "kubelet"))), Ok((5, "agent")));
    assert_eq!(choose(Ok((5, "agent")), Ok((5, "kubelet"))), Ok((5, "agent")));
    assert_eq!(choose(Ok((5, "agent")), Ok((6, "kubelet"))), Ok((6, "kubelet")));
    assert_eq!(choose(Err(Omission::Stale), Ok((6, "kubelet"))), Ok((6, "kubelet")));
    assert_eq!(choose(Ok((5, "agent")), Err(Omission::NoKubelet)), Ok((5, "agent")));
    assert_eq!(choose(Err(Omission::NoAgent), Err(Omission::NoKubelet)), Err(Omission::NoKubelet));
    assert_eq!(choose(Err(Omission::Stale), Err(Omission::NoAgent)), Err(Omission::Stale));
}

/// What happens in one second of a node's life.
#[derive(Debug, Clone, Copy)]
struct Second {
    /// The agent is there and samples.
    agent: bool,
    /// A page comes, whose reading is so many seconds old; polling need not know about the agent.
    page: Option<u64>,
    /// The container ends and another takes its place.
    restart: bool,
}

fn a_second() -> impl Strategy<Value = Second> {
    let page = prop_oneof![3 => Just(None), 1 => (0_u64..15).prop_map(Some)];
    (proptest::bool::weighted(0.6), page, proptest::bool::weighted(0.03))
        .prop_map(|(agent, page, restart)| Second { agent, page, restart })
}

/// Long stretches with and without an agent, as in life.
fn a_life() -> impl Strategy<Value = Vec<Second>> {
    let stretch = (any::<bool>(), proptest::collection::vec(a_second(), 1..60));
    let with = |(has_agent, seconds): (bool, Vec<Second>)| {
        seconds.into_iter().map(move |second| Second { agent: has_agent && second.agent, ..second }).collect()
    };
    proptest::collection::vec(stretch.prop_map(with), 1..6)
        .prop_map(|stretches: Vec<Vec<Second>>| stretches.concat())
}

/// A container that uses a constant number of cores, so that any rate over two containers would show.
#[derive(Debug, Clone, Copy)]
struct Container {
    number: u64,
    start: u64,
}

impl Container {
    fn point(self, at: u64) -> Point {
        let cpu = CpuTime((at - self.start) * self.number * 1_000_000_000 / 10);
        Point { time: WallTime(at * 1_000_000), cpu, memory_bytes: 1 }
    }

    fn nanocores(self) -> u64 {
        self.number * 100_000_000
    }
}

/// An agent as the store has it: the samples of the container that runs now, and the last picture of the former one.
#[derive(Debug, Default)]
struct Agent {
    samples: Vec<Point>,
    nanocores: u64,
    held: Option<(WallTime, u64, u64)>,
}

impl Agent {
    fn answer(&self, now: u64) -> Result<(WallTime, u64), Omission> {
        let (time, nanocores) = match (&self.samples[..], self.held) {
            ([.., _, newest], _) => (newest.time, self.nanocores),
            (_, Some((time, nanocores, until))) if now <= until => (time, nanocores),
            _ => return Err(Omission::FirstSample),
        };
        let is_fresh = time.0 + STALE * 1_000_000 >= now * 1_000_000;
        if is_fresh { Ok((time, nanocores)) } else { Err(Omission::Stale) }
    }

    fn sample(&mut self, container: Container, now: u64) {
        self.samples.push(container.point(now));
        self.nanocores = container.nanocores();
    }

    fn restart(&mut self, now: u64) {
        if let [.., _, newest] = self.samples[..] {
            self.held = Some((newest.time, self.nanocores, now + 15));
        }
        self.samples.clear();
    }

    fn witness(&self, at: WallTime) -> Option<Witness> {
        let newest = *self.samples.last()?;
        let cpu = |point: &Point| point.cpu;
        let before = self.samples.iter().rev().find(|point| point.time.0 + 1_000_000 <= at.0).map(cpu);
        let after = self.samples.iter().find(|point| point.time.0 >= at.0 + 1_000_000).map(cpu);
        Some(Witness { newest, before, after, cpus: 1000 })
    }
}

/// A kubelet that is polled while the agent is silent.
#[derive(Debug, Default)]
struct Kubelet {
    history: History,
    published: Option<(WallTime, u64)>,
    is_polled: bool,
    ended: u64,
}

impl Kubelet {
    fn look(&mut self, agent: &Agent, silent: Option<u64>, now: u64) {
        let is_polled = silent.is_none_or(|silent| silent >= 5);
        match (self.is_polled, is_polled) {
            (false, true) => {
                let last = agent.samples.last().filter(|_| agent.samples.len() > 1);
                let last = last.map(|last| last.time).max(agent.held.map(|(time, ..)| time));
                self.published = self.published.filter(|(time, _)| last.is_none_or(|last| last <= *time));
            }
            (true, false) => self.ended = now,
            (false, false) if now >= self.ended + 10 => *self = Self::default(),
            _ => {}
        }
        self.is_polled = is_polled;
    }

    fn page(&mut self, container: Container, agent: &Agent, at: u64, now: u64) {
        let start = Some(WallTime(container.start * 1_000_000));
        let reading = Reading { point: container.point(at.max(container.start)), start };
        if let Some(witness) = agent.witness(reading.point.time) {
            self.history.take_agents(witness.newest, is_same_counter(&reading, &witness));
        }
        let births = Births { least: Duration::from_secs(5), after: WallTime((now - 15) * 1_000_000) };
        self.history.take(&reading, &births);
        let rate = self.history.rate().map(|rate| (rate.end.time, rate.cpu_nanocores));
        self.published = rate.or(self.published);
    }

    fn answer(&self, now: u64) -> Result<(WallTime, u64), Omission> {
        let is_fresh = |(time, _): &(WallTime, u64)| time.0 + 60_000_000 >= now * 1_000_000;
        self.published.filter(is_fresh).ok_or(Omission::Stale)
    }
}

proptest! {
    #[test]
    fn two_sources_in_any_order_serve_as_one(life in a_life()) {
        let (mut agent, mut kubelet) = (Agent::default(), Kubelet::default());
        let mut container = Container { number: 1, start: 1000 };
        let (mut served, mut ticked): (Option<WallTime>, Option<u64>) = (None, None);
        for (now, second) in (1001..).zip(life) {
            if second.restart {
                container = Container { number: container.number + 1, start: now - 1 };
                agent.restart(now);
            }
            if second.agent {
                agent.sample(container, now);
                ticked = Some(now);
            }
            kubelet.look(&agent, ticked.map(|ticked| now - ticked), now);
            if let Some(lag) = second.page.filter(|_| kubelet.is_polled) {
                kubelet.page(container, &agent, now - lag, now);
            }
            let (of_agent, of_kubelet) = (agent.answer(now), kubelet.answer(now));
            let has_fresh = of_agent.is_ok() || of_kubelet.is_ok();
            let answer = choose(of_agent, of_kubelet, |&(time, _)| time);
            prop_assert_eq!(answer.is_ok(), has_fresh, "no answer disappears");
            if let Ok((time, nanocores)) = answer {
                prop_assert!(served <= Some(time), "at {}: {:?} after {:?}", now, time, served);
                served = Some(time);
                // A rate of the container that runs, or still of one before; never of two together.
                prop_assert_eq!(nanocores % 100_000_000, 0, "at {}: {}", now, nanocores);
                prop_assert!(nanocores <= container.nanocores());
                if time.0 > (container.start + 1) * 1_000_000 {
                    prop_assert_eq!(nanocores, container.nanocores());
                }
            }
        }
    }
}
