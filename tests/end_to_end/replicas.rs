//! Several aggregators at once, each on its own.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    api::{PODS, forms::Pod},
    cgroups::{Tree, Workload},
    program::{Agent, Aggregator, skipped, wait_until},
};

/// Short, so that windows soon begin after whatever happened.
const WINDOW: &[&str] = &["--window", "4s"];

/// How long one of them is frozen.
const FROZEN: Duration = Duration::from_secs(8);

#[test]
fn a_frozen_aggregator_holds_up_nobody_and_catches_up_without_a_gap() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let container = tree.container();
    let mut workload = Workload::pulse();
    container.adopt(workload.child());
    workload.go();
    let files = tempfile::tempdir().unwrap();
    let one = Aggregator::start(&files.path().join("one"), WINDOW);
    let two = Aggregator::start(&files.path().join("two"), WINDOW);
    let _agent = Agent::start(&[&one, &two]);
    for aggregator in [&one, &two] {
        wait_until("a complete window", Duration::from_secs(20), || {
            let pod = aggregator.api.pod(&container.pod_uid)?;
            let complete = pod.window > Duration::from_secs(3);
            complete.then_some(()).ok_or_else(|| format!("{pod:?}"))
        });
    }
    let question = format!("{PODS}/{}", container.pod_uid);
    assert_same(&one, &two, &container.pod_uid, 3);

    two.program.signal(Signal::STOP);
    let frozen = Instant::now();
    let poll = one.api.poll(&question, 50);
    let (mut last, mut longest, mut previous) = (poll.next().pod().unwrap(), Duration::ZERO, Instant::now());
    while frozen.elapsed() < FROZEN {
        let answer = poll.next();
        let pod = answer.pod().expect("the other one serves");
        assert!(pod.timestamp >= last.timestamp, "{last:?} to {pod:?}");
        if pod != last {
            longest = longest.max(answer.at.saturating_duration_since(previous));
            previous = answer.at;
        }
        last = pod;
    }
    // Also when none came any more.
    longest = longest.max(previous.elapsed());
    eprintln!("new numbers at most {longest:?} apart while the other one was frozen");
    assert!(longest < FROZEN / 2, "{longest:?}");

    two.program.signal(Signal::CONT);
    let thawed = Instant::now();
    let (mut at_one, mut at_two) = (BTreeMap::new(), BTreeMap::new());
    let caught_up = wait_until("it catches up", Duration::from_secs(10), || {
        let pod = two.api.pod(&container.pod_uid)?;
        let newest = one.api.pod(&container.pod_uid)?;
        let near = pod.timestamp + 1 >= newest.timestamp;
        near.then(|| thawed.elapsed()).ok_or_else(|| format!("{pod:?}, the other {newest:?}"))
    });
    eprintln!("caught up {caught_up:?} after it went on");
    // Windows begin within the time it was frozen, then after it: a sample that is missing would show.
    wait_until("windows over the whole time", Duration::from_secs(20), || {
        for (aggregator, seen) in [(&one, &mut at_one), (&two, &mut at_two)] {
            let pod = aggregator.api.pod(&container.pod_uid)?;
            seen.insert(pod.window, pod);
        }
        let common = at_one.keys().filter(|window| at_two.contains_key(*window)).count();
        (common >= 7).then_some(()).ok_or_else(|| format!("{common} in common"))
    });
    for (window, pod) in &at_one {
        assert!(at_two.get(window).is_none_or(|other: &Pod| other == pod), "{pod:?}");
    }
    let missing = two.metrics().get("kubevitals_aggregator_ingest_lost_batches_total");
    assert!(missing < 0.5, "{missing} batches lost");
}

/// Both serve the same numbers for the same sample.
fn assert_same(one: &Aggregator, two: &Aggregator, uid: &str, samples: usize) {
    let mut seen: Vec<Pod> = Vec::new();
    wait_until("the same numbers", Duration::from_secs(20), || {
        let (pod, other) = (one.api.pod(uid)?, two.api.pod(uid)?);
        // A sample may have come between the two questions.
        if pod.window == other.window {
            assert_eq!(pod, other);
            if seen.last() != Some(&pod) {
                seen.push(pod);
            }
        }
        let done = seen.len() >= samples;
        done.then_some(()).ok_or_else(|| format!("{} samples", seen.len()))
    });
}
