//! metrics-server's rules over our page: nothing is refused, whoever runs is accepted, and no zero hides a pod.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    cgroups::Workload,
    kubelet::millis,
    program::{Agent, skipped},
    reader::{Point, Taken, read, samples},
    rig::NODE,
    stage::{NAMESPACE, Running, Stage, TEXT, scrape, scrape_until},
};

/// How often the page is read, far more often than it changes: no state of it is to be missed.
const OFTEN: Duration = Duration::from_millis(50);

const PAGE: &str = "/metrics/resource";

/// All that was taken, and the newest time and start of each container.
#[derive(Debug, Default)]
struct Reading {
    pages: u32,
    newest: BTreeMap<(String, String), Point>,
}

impl Reading {
    /// Reads a page, of which nothing may be refused.
    fn page(&mut self, agent: &Agent) -> Taken {
        let page = scrape(agent.admin_port, PAGE, TEXT).body;
        let taken = read(&page, 0).unwrap_or_else(|fault| panic!("{fault} in\n{page}"));
        assert!(taken.refused_pods.is_empty(), "{:?} in\n{page}", taken.refused_pods);
        assert!(!taken.is_node_refused, "the node in\n{page}");
        for sample in samples(&page).unwrap() {
            let is_taken = sample.name.starts_with("container_") && !sample.name.contains("swap");
            assert!(!is_taken || sample.value > 0.0, "a zero: {sample:?}");
        }
        for ((_, pod), containers) in &taken.pods {
            for (container, point) in containers {
                self.follow(&(pod.clone(), container.clone()), *point);
            }
        }
        self.pages += 1;
        taken
    }

    /// A reader keeps pairs of points; these make sense in every order it may meet them.
    fn follow(&mut self, container: &(String, String), point: Point) {
        assert!(point.start > 0 && point.start / 1_000_000 <= point.time, "{container:?} {point:?}");
        assert!(point.time <= millis(), "of the future: {container:?} {point:?}");
        if let Some(before) = self.newest.insert(container.clone(), point) {
            let is_same = before.start == point.start;
            assert!(before.time <= point.time, "back in time: {container:?} {before:?} {point:?}");
            assert!(before.start <= point.start, "an older one again: {container:?} {before:?} {point:?}");
            assert!(!is_same || before.cpu <= point.cpu, "{container:?} {before:?} {point:?}");
            assert!(before.time < point.time || before == point, "two at once: {before:?} {point:?}");
        }
    }

    fn follow_for(&mut self, agent: &Agent, time: Duration) {
        let begun = Instant::now();
        while begun.elapsed() < time {
            self.page(agent);
            std::thread::sleep(OFTEN);
        }
    }
}

fn is_accepted(taken: &Taken, pod: &str, containers: &[&str]) -> bool {
    let pod = taken.pods.get(&(NAMESPACE.to_owned(), pod.to_owned()));
    pod.is_some_and(|of| of.keys().eq(containers))
}

/// Waits until a pod is accepted with these containers, while nothing else is refused.
fn until_accepted(reading: &mut Reading, agent: &Agent, pod: &str, containers: &[&str]) -> Duration {
    let begun = Instant::now();
    scrape_until(&format!("{pod} is accepted"), (agent.admin_port, PAGE), |_| {
        let taken = reading.page(agent);
        if is_accepted(&taken, pod, containers) { Ok(()) } else { Err(format!("{:?}", taken.pods)) }
    });
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_like_metrics_server_takes_all_that_runs() {
    if skipped("root") {
        return;
    }
    tokio::task::block_in_place(read_all);
}

fn read_all() {
    let stage = Stage::new();
    let agent = stage.agent(NODE, &[]);
    let mut reading = Reading::default();
    // Of a container that an agent finds when it starts the kernel may tell no birth.
    scrape_until("the first sweep", (agent.admin_port, PAGE), |_| {
        reading.page(&agent).node.map(|_| ()).ok_or_else(|| "no node".to_owned())
    });
    let busy = stage.run(NODE, "busy", [("main", Workload::pulse()), ("side", Workload::pulse())]);
    let idle = stage.run(NODE, "idle", [("main", Workload::sleeper())]);
    until_accepted(&mut reading, &agent, busy.name(), &["main", "side"]);
    until_accepted(&mut reading, &agent, idle.name(), &["main"]);
    assert!(reading.page(&agent).node.is_some());

    // Fresh ones, known to the API server before or after they begin.
    let mut fresh = stage.run(NODE, "fresh", [("main", Workload::pulse())]);
    let told = until_accepted(&mut reading, &agent, fresh.name(), &["main"]);
    let late = stage.start(NODE, "late", [("main", Workload::pulse())]);
    reading.follow_for(&agent, Duration::from_secs(2));
    stage.announce(&late);
    let late_told = until_accepted(&mut reading, &agent, late.name(), &["main"]);
    eprintln!("accepted {told:?} after its start, {late_told:?} after the API server knew it");

    let _half = half_begun(&stage, &agent, &mut reading);
    recreated(&stage, &agent, &mut reading, &mut fresh);
    reading.follow_for(&agent, Duration::from_secs(3));
    let taken = reading.page(&agent);
    for (pod, containers) in [(&busy, &["main", "side"][..]), (&idle, &["main"]), (&late, &["main"])] {
        assert!(is_accepted(&taken, pod.name(), containers), "{pod:?}: {taken:?}");
    }
    assert_eq!(taken.pods.len(), 5, "{taken:?}");
    equal_to_the_kernel(&idle, &taken);
    eprintln!("{} pages, and nothing was refused", reading.pages);
}

/// A container in which nothing has run yet does not hide the others of its pod.
fn half_begun(stage: &Stage, agent: &Agent, reading: &mut Reading) -> Running {
    let mut half = stage.start(NODE, "half", [("main", Workload::pulse())]);
    let mut workload = Workload::pulse();
    let container = stage.tree.beside(&half.containers[0]);
    workload.hold();
    container.adopt_plain(workload.child());
    half.containers.push(container);
    half.pod = half.pod.clone().containers(&["main", "side"]);
    stage.announce(&half);
    until_accepted(reading, agent, "half", &["main"]);
    reading.follow_for(agent, Duration::from_secs(2));
    workload.go();
    until_accepted(reading, agent, "half", &["main", "side"]);
    half.workloads.push(workload);
    half
}

/// Another container under the same names: its counter begins anew, and so does its start.
fn recreated(stage: &Stage, agent: &Agent, reading: &mut Reading, running: &mut Running) {
    let container = ("fresh".to_owned(), "main".to_owned());
    let start = reading.newest[&container].start;
    let mut workload = Workload::pulse();
    let next = stage.tree.beside(&running.containers[0]);
    next.adopt_plain(workload.child());
    workload.go();
    running.workloads = vec![workload];
    running.containers[0].remove_alone();
    running.containers[0] = next;
    stage.announce(running);
    let begun = Instant::now();
    while reading.newest[&container].start == start {
        assert!(begun.elapsed() < Duration::from_secs(20), "the new container is not told");
        reading.page(agent);
        std::thread::sleep(OFTEN);
    }
    eprintln!("a recreated container is told after {:?}", begun.elapsed());
    until_accepted(reading, agent, "fresh", &["main"]);
}

/// What sleeps stands still, and so its counters are what the kernel says at any time.
fn equal_to_the_kernel(idle: &Running, taken: &Taken) {
    let point = taken.pods[&(NAMESPACE.to_owned(), idle.name().to_owned())]["main"];
    let [container] = idle.containers.as_slice() else { panic!("one container") };
    assert_eq!(Some(point.cpu), container.raw_cpu_usage());
    assert_eq!(point.memory, container.raw_working_set());
}
