//! What is served equals what the kernel counted.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::{
    api::forms::Pod,
    cgroups::{Tree, Workload},
    program::{Agent, Aggregator, skipped, wait_until},
};

const MIB: u64 = 1 << 20;

/// Looks at so many different samples before it believes.
const SAMPLES: usize = 5;

/// Windows are complete after fifteen seconds; the rest is for busy cores.
const FULL_WINDOW: Duration = Duration::from_secs(40);

#[test]
fn half_a_core_is_served_as_500m_and_a_burn_to_the_nanosecond() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let half = tree.container();
    half.limit_cpu(Duration::from_millis(50), Duration::from_millis(100));
    let mut spinner = Workload::spinner();
    half.adopt(spinner.child());
    spinner.go();
    let burner = tree.container();
    let mut workload = Workload::stepper();
    burner.adopt(workload.child());
    workload.go();
    assert_eq!(workload.said(), "ready");
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let _agent = Agent::start(&[&aggregator]);
    let pod = |uid: &str| aggregator.api.pod(uid);
    wait_until("a complete window", FULL_WINDOW, || {
        let window = pod(&burner.pod_uid)?.window;
        let complete = window >= Duration::from_millis(14_500);
        complete.then_some(()).ok_or_else(|| format!("{window:?}"))
    });

    let before = burner.still_cpu_usage();
    while burner.cpu_usage() < before + 2_000_000_000 {
        workload.work(100_000);
    }
    let after = burner.still_cpu_usage();
    let rested = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();

    let (mut exact, mut halves): (Vec<Pod>, Vec<u64>) = (Vec::new(), Vec::new());
    wait_until("different samples", FULL_WINDOW, || {
        let seen = pod(&burner.pod_uid)?;
        if seen.timestamp <= rested || exact.last() == Some(&seen) {
            return Err(format!("{} samples", exact.len()));
        }
        let window = seen.window.as_micros();
        let expected = u128::from(after - before) * 1_000_000 / window;
        assert_eq!(
            u128::from(seen.usage().nanocores),
            expected,
            "{seen:?} after a burn of {} ns",
            after - before
        );
        exact.push(seen);
        let half_seen = pod(&half.pod_uid)?;
        assert!(half_seen.window.abs_diff(Duration::from_secs(15)) < Duration::from_secs(1));
        assert!(half_seen.containers.contains_key(half.name()));
        halves.push(half_seen.usage().nanocores);
        let done = exact.len() == SAMPLES;
        done.then_some(()).ok_or_else(|| format!("{} samples", exact.len()))
    });

    eprintln!("half a core was served as {halves:?} nanocores");
    let throttling = half.throttling();
    for nanocores in halves {
        assert!(
            nanocores.abs_diff(500_000_000) <= 10_000_000,
            "{nanocores} nanocores are not 500m ± 10m; {throttling}"
        );
    }
    eprintln!("a burn of {} ns was exact in {:?}", after - before, exact);
}

#[test]
fn memory_of_a_hog_is_served_to_the_byte() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let _agent = Agent::start(&[&aggregator]);
    let container = tree.container();
    let size = usize::try_from(64 * MIB).unwrap();
    let mut hog = Workload::hog(size);
    container.adopt(hog.child());
    hog.go();
    hog.feed(size);

    let memory = wait_until("served = usage - inactive_file", Duration::from_secs(20), || {
        let before = container.raw_working_set();
        let served = aggregator.api.pod(&container.pod_uid)?.usage().memory;
        let after = container.working_set();
        let steady = before == after && before >= 64 * MIB;
        (steady && served == after)
            .then_some(served)
            .ok_or_else(|| format!("served {served}, the kernel says {before}, then {after}"))
    });
    eprintln!("the hog is served with {memory} bytes, as the kernel counts");
}
