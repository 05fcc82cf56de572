//! A picture of a node's counters, or a kubelet's answer, to the numbers of its subjects. What is called with a node's
//! state runs under its lock.

use std::time::Duration;

use kubevitals::{
    sample::{Detail, Details, WallTime},
    wire::Source,
};

use super::{
    distribution::{Distribution, Span, distribution},
    item::{Numbers, Wanted},
    selection::Selection,
};
use crate::{
    api::source::{NodeAnswer, PodAnswer},
    directory::{ContainerRecord, PodRecord},
    picture::Picture,
    store::node::{CounterRef, NodeState},
    usage::Usage,
};

/// The containers that a picture is of.
pub(super) fn counted(record: &PodRecord, held: bool) -> &[ContainerRecord] {
    match record.previous.as_deref() {
        Some((previous, _)) if held => previous,
        _ => &record.containers,
    }
}

/// One counter's numbers in a picture.
pub(super) fn one(
    state: &NodeState,
    picture: &Picture,
    usage: &Usage,
    counter: &CounterRef,
    wanted: &Wanted,
) -> Numbers {
    let details = if wanted.details { state.details(counter) } else { None };
    Numbers {
        time: state.wall(usage.end),
        window: usage.end.since(usage.start),
        cpu_nanocores: usage.cpu_nanocores,
        working_set_bytes: usage.working_set.bytes(),
        distribution: short_rates(state, std::iter::once((counter, usage)), wanted),
        details: details.map(Box::new),
        birth: state.birth(counter),
        held: picture.held,
        source: Source::Agent,
    }
}

/// The selected containers of a picture.
pub(super) fn each(
    state: &NodeState,
    picture: &Picture,
    containers: &[ContainerRecord],
    selection: &Selection,
    wanted: &Wanted,
) -> Vec<(ContainerRecord, Numbers)> {
    let pairs = containers.iter().zip(&picture.usages);
    let selected = pairs.filter(|(container, _)| selection.has_container(&container.name));
    selected
        .map(|(container, usage)| (container.clone(), one(state, picture, usage, &container.counter, wanted)))
        .collect()
}

/// The whole pod.
pub(super) fn sum(
    state: &NodeState,
    picture: &Picture,
    containers: &[ContainerRecord],
    wanted: &Wanted,
) -> Numbers {
    let counters = || containers.iter().map(|container| &container.counter);
    let births: Option<Vec<WallTime>> = counters().map(|counter| state.birth(counter)).collect();
    let details =
        if wanted.details { sum_of(counters().map(|counter| state.details(counter))) } else { None };
    Numbers {
        time: state.wall(picture.end),
        window: picture.window,
        cpu_nanocores: total(picture.usages.iter().map(|usage| usage.cpu_nanocores)),
        working_set_bytes: total(picture.usages.iter().map(|usage| usage.working_set.bytes())),
        distribution: short_rates(state, counters().zip(&picture.usages), wanted),
        details: details.map(Box::new),
        // One that is not known may be the oldest.
        birth: births.and_then(|births| births.into_iter().min()),
        held: picture.held,
        source: Source::Agent,
    }
}

fn total(values: impl Iterator<Item = u64>) -> u64 {
    values.fold(0, u64::saturating_add)
}

fn short_rates<'a>(
    state: &NodeState,
    counters: impl Iterator<Item = (&'a CounterRef, &'a Usage)>,
    wanted: &Wanted,
) -> Option<Distribution> {
    let interval = state.session().filter(|_| wanted.distribution)?.interval;
    let span = |(counter, usage): (&CounterRef, &Usage)| {
        Some(Span { ring: state.ring(counter)?, start: usage.start, end: usage.end })
    };
    distribution(&counters.map(span).collect::<Option<Vec<_>>>()?, interval)
}

/// What all have and what can be added: highest marks and stalled times of several cgroups overlap in time.
fn sum_of(mut all: impl Iterator<Item = Option<Details>>) -> Option<Details> {
    let mut sum = all.next()??;
    let others: Vec<Details> = all.collect::<Option<_>>()?;
    for &detail in Detail::ALL {
        let add = |sum: u64, other: &Details| Some(sum.saturating_add(other.get(detail)?));
        let value = sum.get(detail).filter(|_| is_additive(detail));
        let value = value.and_then(|first| others.iter().try_fold(first, add));
        sum.set(detail, value);
    }
    sum.iter().next().is_some().then_some(sum)
}

fn is_additive(detail: Detail) -> bool {
    match detail {
        Detail::MemoryUsage
        | Detail::Anon
        | Detail::File
        | Detail::InactiveFile
        | Detail::Swap
        | Detail::OomKills
        | Detail::CpuPeriods
        | Detail::CpuThrottledPeriods
        | Detail::CpuThrottled => true,
        Detail::MemoryPeak
        | Detail::CpuPressureSome
        | Detail::CpuPressureFull
        | Detail::MemoryPressureSome
        | Detail::MemoryPressureFull
        | Detail::IoPressureSome
        | Detail::IoPressureFull => false,
    }
}

/// What a kubelet's page says.
fn polled(time: WallTime, window: Duration, held: bool, cpu_nanocores: u64, memory_bytes: u64) -> Numbers {
    Numbers {
        time,
        window,
        cpu_nanocores,
        working_set_bytes: memory_bytes,
        distribution: None,
        details: None,
        birth: None,
        held,
        source: Source::Kubelet,
    }
}

pub(super) fn polled_node(answer: &NodeAnswer) -> Numbers {
    let NodeAnswer { timestamp, window, usage, .. } = answer;
    polled(*timestamp, *window, false, usage.cpu_nanocores, usage.memory_bytes)
}

pub(super) fn polled_sum(pod: &PodAnswer) -> Numbers {
    let cpu = total(pod.usages.iter().map(|usage| usage.cpu_nanocores));
    let memory = total(pod.usages.iter().map(|usage| usage.memory_bytes));
    polled(pod.timestamp, pod.window, pod.held, cpu, memory)
}

pub(super) fn polled_each(pod: &PodAnswer, selection: &Selection) -> Vec<(ContainerRecord, Numbers)> {
    let pairs = counted(&pod.pod, pod.held).iter().zip(&pod.usages);
    let selected = pairs.filter(|(container, _)| selection.has_container(&container.name));
    selected
        .map(|(container, usage)| {
            let numbers =
                polled(pod.timestamp, pod.window, pod.held, usage.cpu_nanocores, usage.memory_bytes);
            (container.clone(), numbers)
        })
        .collect()
}
