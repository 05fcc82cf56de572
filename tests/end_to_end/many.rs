//! Far more cgroups than descriptors.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    api::forms::Pod,
    cgroups::{Container, Tree, Workload},
    program::{Agent, Aggregator, long, skipped, wait_until},
};

const PODS: usize = 200;
const CONTAINERS: usize = 10;
const EMPTY_PODS: usize = 80;
const EMPTY_CONTAINERS: usize = 100;

/// A descriptor limit as small as the usual soft one.
const OPEN_FILES: u32 = 1024;

/// A cgroup is new for ten ticks.
const NEW: f64 = 11.0;

/// So many sweeps are measured after that.
const MEASURED: f64 = 5.0;

#[test]
fn ten_thousand_cgroups_are_served_with_a_thousand_descriptors() {
    if skipped("root") {
        return;
    }
    let tree = Tree::alone();
    let mut workloads = Vec::new();
    let mut expected = BTreeSet::new();
    for _ in 0..PODS {
        let pod = tree.plain_container();
        let members = (1..CONTAINERS).map(|_| tree.beside(&pod)).collect::<Vec<Container>>();
        for container in std::iter::once(&pod).chain(&members) {
            let mut workload = Workload::sleeper();
            container.adopt_plain(workload.child());
            workload.go();
            workloads.push(workload);
            expected.insert((container.pod_uid.clone(), container.name().to_owned()));
        }
    }
    for _ in 0..EMPTY_PODS {
        let pod = tree.plain_container();
        (1..EMPTY_CONTAINERS).for_each(|_| drop(tree.beside(&pod)));
    }
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let agent = Agent::with_open_files(OPEN_FILES, &[&aggregator]);

    let first = wait_until("a sweep", Duration::from_secs(60), || {
        let (seconds, count) = sweeps(&agent);
        (count > 0.0).then_some(seconds / count).ok_or_else(|| "none".to_owned())
    });
    let pods = wait_until("all are served", Duration::from_secs(30), || {
        let pods = aggregator.api.pods()?;
        let served: BTreeSet<(String, String)> = pods
            .iter()
            .flat_map(|(uid, pod)| pod.containers.keys().map(move |name| (uid.clone(), name.clone())))
            .collect();
        let missing = expected.difference(&served).count();
        (missing == 0).then_some(pods).ok_or_else(|| format!("{missing} of {} are missing", expected.len()))
    });
    let usages = pods.values().flat_map(|pod: &Pod| pod.containers.values());
    assert!(usages.clone().all(|usage| usage.memory > 0));
    assert_eq!(usages.count(), expected.len(), "an empty cgroup is served");
    let settled = if long() { settled(&agent) } else { f64::NAN };
    let metrics = agent.metrics();
    let of = |name: &str| metrics.get(&format!("kubevitals_agent_{name}"));
    let (kept, on_demand) = (of("cgroups_with_kept_descriptors"), of("cgroups_opened_on_demand"));
    let (descriptors, kib) = agent.program.footprint();
    eprintln!(
        "{} series and {} candidates, {kept} with kept descriptors, {on_demand} on demand; {} ticks, {} missed; \
         {:.0} ms the first sweep, {:.0} ms each of those after (measured in the long form only); {descriptors} descriptors and {kib} KiB resident",
        of("series"),
        of("candidate_cgroups"),
        of("ticks_total"),
        of("missed_ticks_total"),
        first * 1000.0,
        settled * 1000.0,
    );
    assert!(descriptors <= OPEN_FILES as usize);
    assert!(kept > 0.0 && on_demand > 0.0);
    let log = agent.program.log();
    assert!(!log.contains("open files"), "{log}");
}

/// Seconds of all sweeps, and how many there were.
fn sweeps(agent: &Agent) -> (f64, f64) {
    let metrics = agent.metrics();
    let of = |name: &str| metrics.get(&format!("kubevitals_agent_sweep_seconds_{name}"));
    (of("sum"), of("count"))
}

/// Seconds of a sweep once new cgroups are no longer looked at in each.
fn settled(agent: &Agent) -> f64 {
    let after = |count: f64| {
        wait_until("ticks", Duration::from_secs(90), || {
            let seen = sweeps(agent);
            (seen.1 >= count).then_some(seen).ok_or_else(|| format!("{seen:?}"))
        })
    };
    let (before, count) = after(NEW);
    let (now, later) = after(count + MEASURED);
    (now - before) / (later - count)
}
