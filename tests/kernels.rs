//! Both programs over real kernels: counters of a guest in, API bytes out, compared with the guest's own reading.
//!
//! Each test boots one bed of `tests/guest/`, whose workloads all end up asleep. Then their counters stand still
//! and what the API serves must equal them: CPU to the nanosecond over the served window, memory to the byte.
//! Only the node is never still, so its figures are held to a stated tolerance.
#![allow(
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test fails by panicking, and a skipped one says so"
)]

#[path = "support/guest.rs"]
mod guest;
#[path = "support/served.rs"]
mod served;
#[path = "support/tree.rs"]
mod tree;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use guest::{Bed, Guest, Params, Section};
use serde_json::Value;
use served::{AGENT_TOKEN, Aggregator, SERVER_NAME, program, quantity_nano};
use tree::{Names, Report, Tree};

const MIB: u64 = 1 << 20;
/// The served window: longer than the five seconds of burning, so that some windows hold all of it.
const WINDOW: Duration = Duration::from_secs(20);
/// Long enough for whatever has to happen between two samples, or for a window to pass.
const SOON: Duration = Duration::from_mins(1);
/// The guest goes on working while it is compared: the shell that reads the counters, the agent, page tables.
const NODE_TOLERANCE: u64 = 8 * MIB;
const GUEST_CPUS: u64 = 2;

#[test]
fn v2_guest_is_served_to_the_byte() {
    check(Bed::V2);
}

#[test]
fn v1_guest_is_served_to_the_byte() {
    check(Bed::V1);
}

#[test]
fn hybrid_guest_is_read_as_v1_to_the_byte() {
    check(Bed::Hybrid);
}

#[test]
fn mixed_guest_with_memory_only_in_the_unified_tree_is_served_to_the_byte() {
    check(Bed::Mixed);
}

#[test]
fn systemd_guest_with_real_scopes_is_served_to_the_byte() {
    check(Bed::Systemd);
}

fn check(bed: Bed) {
    if std::env::var("KUBEVITALS_SKIP").is_ok_and(|skip| skip.split(',').any(|what| what == "guests")) {
        eprintln!("SKIPPED: KUBEVITALS_SKIP names guests, so nothing was checked on {}", bed.name());
        return;
    }
    let aggregator = Aggregator::start(bed, WINDOW);
    let mut guest = Guest::boot(
        bed,
        &Params {
            agent: &program("kubevitals-agent"),
            ingest_port: aggregator.ingest_port,
            server_name: SERVER_NAME,
            ca: &aggregator.ca,
            token: AGENT_TOKEN,
        },
    );
    let tree = Tree::parse(&guest.wait_for("tree", SOON));

    served_names_are_the_tree(&aggregator, &tree);
    let (before, after) = burn(&aggregator, &tree, &mut guest);
    served_cpu_is_exact(&aggregator, &tree, before, after);
    served_memory_is_exact(&aggregator, &tree, &mut guest);
    served_node_is_sane(&aggregator, bed, &mut guest);
    sample_lists_every_container(&tree, &mut guest);
}

/// Pods by UID, containers by the first 12 characters of their ID, and nothing else: neither the pod directory
/// that the other cgroup driver left behind nor what runs below a container.
fn served_names_are_the_tree(aggregator: &Aggregator, tree: &Tree) {
    let expected = tree.names();
    eventually("the API lists exactly the guest's pods", || {
        let pods = aggregator.pods()?;
        let served: Names =
            pods.iter().map(|(name, pod)| (name.clone(), pod.containers.keys().cloned().collect())).collect();
        if served != expected {
            return Err(format!("served {served:#?}, expected {expected:#?}"));
        }
        for container in &tree.containers {
            let labels = &pods[&container.pod_uid].labels;
            assert_eq!(labels["kubevitals.io/pod-uid"], container.pod_uid);
            let qos = labels["kubevitals.io/qos"].as_str().unwrap_or_default();
            assert!(qos.eq_ignore_ascii_case(&container.qos), "{qos} is not {}", container.qos);
        }
        Ok(())
    });
}

/// The burner's counter while it sleeps before and after its five seconds of work.
///
/// Between the two, samples of the sleeping burner must have reached the store: only then can a window begin
/// after the start-up and before the burn.
fn burn(aggregator: &Aggregator, tree: &Tree, guest: &mut Guest) -> (u64, u64) {
    let before = counter(&guest.ask("rest", SOON));
    let pod_uid = &tree.container("burner").pod_uid;
    let mut timestamps = BTreeSet::new();
    eventually("two samples of the sleeping burner", || {
        let pods = aggregator.pods()?;
        timestamps.insert(pods.get(pod_uid).ok_or("the burner's pod is gone")?.timestamp.clone());
        // The first may have been there before, the second on its way; the third is new.
        if timestamps.len() >= 3 { Ok(()) } else { Err(format!("only {timestamps:?}")) }
    });
    let after = counter(&guest.ask("burn", SOON));
    assert!(after - before > 2_000_000_000, "the burner hardly ran: {before} to {after}");
    (before, after)
}

fn counter(section: &Section) -> u64 {
    let value = section.lines.iter().find_map(|line| line.strip_prefix("cpu_ns "));
    value.and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("no counter in {section:?}"))
}

/// Some served window begins after the container's start-up and holds the whole burn: its rate is then the
/// difference of the two counters over that window, rounded down and exact. A container that only sleeps
/// is served as a measured zero.
fn served_cpu_is_exact(aggregator: &Aggregator, tree: &Tree, before: u64, after: u64) {
    let burner = tree.container("burner");
    let idle = tree.container("idle");
    let (mut exact, mut zero) = (false, false);
    eventually("an exact rate over the whole burn, and an exact zero", || {
        let pods = aggregator.pods()?;
        let pod = pods.get(&burner.pod_uid).ok_or("the burner's pod is gone")?;
        let rate = |delta: u64| u128::from(delta) * 1_000_000_000 / pod.window_ns;
        let served = pod.container(burner)?.cpu_nanocores;
        exact |= served == rate(after - before);
        zero |= pods.get(&idle.pod_uid).ok_or("the idle pod is gone")?.container(idle)?.cpu_nanocores == 0;
        let seen = format!("served {served} over {} ns, expected {}", pod.window_ns, rate(after - before));
        if exact && zero { Ok(()) } else { Err(format!("exact {exact}, zero {zero}: {seen}")) }
    });
}

/// Working set = usage - inactive file pages. The kernel flushes memory.stat late, so both sides are read again
/// until they agree; nothing but that lag is forgiven.
fn served_memory_is_exact(aggregator: &Aggregator, tree: &Tree, guest: &mut Guest) {
    eventually("every working set equals the kernel's", || {
        let report = Report::parse(&guest.ask("report", SOON));
        let pods = aggregator.pods()?;
        for container in &tree.containers {
            let kernel = report.at(&container.path)?;
            let served = pods.get(&container.pod_uid).ok_or("a pod is gone")?.container(container)?.memory;
            if served != kernel.working_set() {
                return Err(format!(
                    "{} is served as {served}, the kernel says {kernel:?}",
                    container.workload
                ));
            }
        }
        let hog = report.at(&tree.container("hog").path)?;
        let reader = report.at(&tree.container("reader").path)?;
        assert!(hog.working_set() >= 64 * MIB, "the hog holds too little: {hog:?}");
        assert!(reader.inactive_file >= 32 * MIB, "the reader read too little: {reader:?}");
        Ok(())
    });
}

fn served_node_is_sane(aggregator: &Aggregator, bed: Bed, guest: &mut Guest) {
    let path = format!("nodes/guest-{}", bed.name());
    eventually("the node's figures are near the kernel's", || {
        let kernel = Report::parse(&guest.ask("report", SOON)).at("/")?.working_set();
        let node = aggregator.get(&path)?;
        let memory = quantity_nano(&node["usage"]["memory"])? / 1_000_000_000;
        if memory.abs_diff(u128::from(kernel)) > u128::from(NODE_TOLERANCE) {
            return Err(format!("memory served as {memory}, the kernel says {kernel}"));
        }
        let cpu = quantity_nano(&node["usage"]["cpu"])?;
        // A tick-based root counter may be ahead of the window by a little.
        let most = u128::from(GUEST_CPUS) * 1_050_000_000;
        if cpu == 0 || cpu > most {
            return Err(format!("cpu served as {cpu} nanocores of at most {most}"));
        }
        Ok(())
    });
}

/// `sample` says what it sees on its own, without an aggregator.
fn sample_lists_every_container(tree: &Tree, guest: &mut Guest) {
    for (word, is_json) in [("sample-json", true), ("sample-table", false)] {
        let section = guest.ask(word, SOON);
        let text = section.lines.join("\n");
        assert_eq!(section.status, 0, "{word} failed: {text}");
        if is_json {
            let documents: Result<Vec<Value>, _> =
                serde_json::Deserializer::from_str(&text).into_iter().collect();
            assert!(documents.is_ok_and(|documents| !documents.is_empty()), "no JSON: {text}");
        }
        for container in &tree.containers {
            assert!(text.contains(container.name()), "{word} lacks {}: {text}", container.workload);
        }
    }
}

/// Tries until the check passes, and fails with its last answer when the deadline is over.
fn eventually(what: &str, mut check: impl FnMut() -> Result<(), String>) {
    let deadline = Instant::now() + SOON;
    while let Err(reason) = check() {
        assert!(Instant::now() < deadline, "not in {SOON:?}: {what}: {reason}");
        // Four looks at each second's sample; looking faster would only slow the guest down.
        std::thread::sleep(Duration::from_millis(250));
    }
}
