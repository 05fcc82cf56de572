//! A container's first number and its last.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    api::{Answer, PODS, forms::Usage},
    cgroups::{Tree, Workload},
    program::{Agent, Aggregator, skipped, wait_until},
};

/// From the cgroup's making to its first number.
const FIRST: Duration = Duration::from_millis(1500);

/// From the cgroup's removal to the end of its numbers.
const GONE: Duration = Duration::from_secs(2);

/// Each comes and goes at another moment between two ticks: an answer that is waited for comes just after one.
const ROUNDS: u32 = 5;
const PHASE: Duration = Duration::from_millis(200);

#[test]
fn a_new_container_is_served_soon_and_a_removed_one_gone_soon_without_a_zero() {
    if skipped("root") {
        return;
    }
    let tree = Tree::alone();
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let agent = Agent::start(&[&aggregator]);
    wait_until("the agent ticks", Duration::from_secs(10), || {
        let ticks = agent.metrics().get("kubevitals_agent_ticks_total");
        (ticks >= 2.0).then_some(()).ok_or_else(|| ticks.to_string())
    });

    let (mut firsts, mut gones) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let container = tree.planned();
        let mut workload = Workload::pulse();
        let poll = aggregator.api.poll(&format!("{PODS}/{}", container.pod_uid), 50);
        assert_eq!(poll.next().status, 404);

        thread::sleep(PHASE * round);
        let made = Instant::now();
        container.make_plain();
        container.adopt_plain(workload.child());
        workload.go();
        let (at, _) = poll.until("its first number", FIRST * 4, usage);
        firsts.push(at - made);
        poll.until("a second number", FIRST * 4, |answer| {
            usage(answer)?;
            let window = answer.pod().unwrap().window;
            (window > Duration::from_secs(2)).then_some(())
        });

        thread::sleep(PHASE * round);
        drop(workload);
        container.remove();
        let removed = Instant::now();
        let (at, ()) = poll.until("its end", GONE * 4, |answer| usage(answer).is_none().then_some(()));
        gones.push(at.saturating_duration_since(removed));
        // It does not come back.
        for _ in 0..10 {
            assert_eq!(poll.next().status, 404);
        }
    }

    eprintln!("first numbers after {firsts:?}; gone after {gones:?}");
    assert!(firsts.iter().all(|&first| first <= FIRST), "{firsts:?}");
    assert!(gones.iter().all(|&gone| gone <= GONE), "{gones:?}");
}

/// The served usage, which is never nothing: the workload does something all the time. None for a pod that is not
/// served.
fn usage(answer: &Answer) -> Option<Usage> {
    if answer.status == 404 {
        return None;
    }
    let usage = answer.pod().unwrap().usage();
    assert!(usage.nanocores > 0 && usage.memory > 0, "a zero: {answer:?}");
    Some(usage)
}
