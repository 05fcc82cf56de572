//! Containers that come and go while others stay.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{
    api::{PODS, forms::Pod},
    cgroups::{Container, Tree, Workload},
    program::{Agent, Aggregator, Program, long, skipped, wait_until},
};

/// Containers that stay, and how many of them work.
const STAY: usize = 500;
const WORKING: usize = 10;

/// A thousand a minute.
const EVERY: Duration = Duration::from_millis(60);

/// How many are there at a time: each lives for six seconds.
const ALIVE: usize = 100;

/// A removed one is gone after this long: two seconds, which `lifecycle` holds, and ticks that a loaded machine missed.
const GONE: Duration = Duration::from_secs(5);

/// A container that has memory of its own for so long is no longer served with none: a tick, and the way of an answer.
const GROWN: Duration = Duration::from_millis(2500);

/// What may come on top in the second half: a little more memory is no leak yet, a hundredth of what came and went
/// would be.
const MORE_DESCRIPTORS: usize = 60;
const MORE_KIB: u64 = 8 << 10;

/// A container that came.
#[derive(Debug)]
struct Made {
    at: Instant,
    container: Container,
    /// Whether it was there for long enough to be served.
    is_due: bool,
}

#[derive(Debug, Default)]
struct Seen {
    answers: usize,
    served: HashMap<String, (Instant, u64)>,
    zeros_of_the_young: usize,
    /// Containers that were served without memory, and when the kernel was first seen to count some.
    grown: HashMap<String, Instant>,
}

#[test]
fn a_thousand_containers_a_minute_leave_no_wrong_number_and_no_leak() {
    if skipped("root") {
        return;
    }
    let lasting = Duration::from_secs(if long() { 120 } else { 20 });
    let tree = Tree::alone();
    let mut staying: Vec<(Container, Workload)> = Vec::new();
    for number in 0..STAY {
        let workload = if number < WORKING { Workload::pulse() } else { Workload::sleeper() };
        staying.push(begin(&tree, workload));
    }
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let agent = Agent::start(&[&aggregator]);
    wait_until("all that stay are served", Duration::from_secs(30), || {
        let pods = aggregator.api.pods()?;
        let young = |(container, _): &&(Container, Workload)| {
            pods.get(&container.pod_uid).is_none_or(|pod| pod.window < Duration::from_secs(3))
        };
        let missing = staying.iter().filter(young).count();
        (missing == 0).then_some(()).ok_or_else(|| format!("{missing} are missing"))
    });

    let (made, removed) = (Mutex::new(HashMap::new()), Mutex::new(HashMap::new()));
    let over = AtomicBool::new(false);
    let programs = [("agent", &agent.program), ("aggregator", &aggregator.program)];
    let (seen, footprints) = thread::scope(|scope| {
        let watcher = scope.spawn(|| watch(&aggregator, &staying, &made, &removed, &over));
        let footprints = churn(&tree, lasting, &made, &removed, &programs);
        over.store(true, Ordering::Relaxed);
        (watcher.join().unwrap(), footprints)
    });

    let made = made.into_inner().unwrap();
    let due: Vec<_> = made.iter().filter(|(_, made)| made.is_due).collect();
    let never: Vec<&String> =
        due.iter().map(|(uid, _)| *uid).filter(|uid| !seen.served.contains_key(*uid)).collect();
    let mut firsts: Vec<Duration> = due
        .iter()
        .filter_map(|(uid, made)| Some(seen.served.get(*uid)?.0.saturating_duration_since(made.at)))
        .collect();
    firsts.sort();
    eprintln!(
        "{} came and went in {lasting:?}; {} answers; first seen after {:?} (median), {:?} (most); {} young zeros",
        due.len(),
        seen.answers,
        firsts.get(firsts.len() / 2),
        firsts.last(),
        seen.zeros_of_the_young,
    );
    let ended = agent.metrics();
    eprintln!(
        "missed ticks {}, {:.1} ms a sweep, lost batches {}",
        ended.get("kubevitals_agent_missed_ticks_total"),
        ended.get("kubevitals_agent_sweep_seconds_sum") / ended.get("kubevitals_agent_sweep_seconds_count")
            * 1000.0,
        aggregator.metrics().get("kubevitals_aggregator_ingest_lost_batches_total"),
    );
    for (name, points) in &footprints {
        eprintln!("{name}: (descriptors, KiB resident) {points:?}");
    }
    assert!(never.is_empty(), "never served: {never:?}");
    for (name, points) in footprints {
        let [_, (half_fds, half_kib), (fds, kib)] = points[..] else { panic!("three looks") };
        assert!(fds <= half_fds + MORE_DESCRIPTORS, "{name} leaks descriptors: {points:?}");
        assert!(kib <= half_kib + MORE_KIB, "{name} leaks memory: {points:?}");
    }
}

fn begin(tree: &Tree, mut workload: Workload) -> (Container, Workload) {
    let container = tree.plain_container();
    container.adopt_plain(workload.child());
    workload.go();
    (container, workload)
}

type Known = Mutex<HashMap<String, Made>>;
type Times = Mutex<HashMap<String, Instant>>;
type Footprints = BTreeMap<&'static str, Vec<(usize, u64)>>;

/// Makes and removes containers at a steady pace, and looks at the programs at the start, in the middle and at the
/// end, with as many containers each time.
fn churn(
    tree: &Tree,
    lasting: Duration,
    made: &Known,
    removed: &Times,
    programs: &[(&'static str, &Program)],
) -> Footprints {
    let mut alive: VecDeque<(Container, Workload)> = VecDeque::new();
    let mut footprints = Footprints::new();
    let mut look = || {
        for (name, program) in programs {
            footprints.entry(name).or_default().push(program.footprint());
        }
    };
    let filling = EVERY * u32::try_from(ALIVE).unwrap();
    let started = Instant::now();
    let mut looks = VecDeque::from([filling, filling + lasting / 2]);
    let mut turn = 0;
    while started.elapsed() < filling + lasting {
        // The pace of the workload, not a wait for anything.
        thread::sleep((started + EVERY * turn).saturating_duration_since(Instant::now()));
        turn += 1;
        if looks.front().is_some_and(|&at| started.elapsed() >= at) {
            looks.pop_front();
            look();
        }
        let at = Instant::now();
        let (container, workload) = begin(tree, Workload::sleeper());
        let is_due = started.elapsed() + GONE < filling + lasting;
        let young = Made { at, container: container.clone(), is_due };
        made.lock().unwrap().insert(container.pod_uid.clone(), young);
        alive.push_back((container, workload));
        if alive.len() > ALIVE {
            let (container, workload) = alive.pop_front().expect("a hundred");
            drop(workload);
            container.remove();
            removed.lock().unwrap().insert(container.pod_uid, Instant::now());
        }
    }
    look();
    footprints
}

/// Asks for all pods four times a second and checks every number.
fn watch(
    aggregator: &Aggregator,
    staying: &[(Container, Workload)],
    made: &Known,
    removed: &Times,
    over: &AtomicBool,
) -> Seen {
    let poll = aggregator.api.poll(PODS, 4);
    let mut seen = Seen::default();
    let mut before = Instant::now();
    while !over.load(Ordering::Relaxed) {
        let asked = before;
        let answer = poll.next();
        let pods = answer.pods().unwrap();
        before = Instant::now();
        seen.answers += 1;
        for (number, (container, _)) in staying.iter().enumerate() {
            let pod = pods
                .get(&container.pod_uid)
                .unwrap_or_else(|| panic!("number {number} of those that stay is missing"));
            assert!(number >= WORKING || pod.usage().nanocores > 0, "no load: {pod:?}");
        }
        for (uid, pod) in pods {
            check(&uid, &pod, answer.at, &mut seen);
            if pod.usage().memory == 0 {
                let made = made.lock().unwrap();
                let young = made.get(&uid).unwrap_or_else(|| panic!("no memory: {uid} {pod:?}"));
                check_zero(young, &pod, &mut seen);
            }
            let gone = removed.lock().unwrap().get(&uid).copied();
            if let Some(gone) = gone {
                // The answer was begun after `asked`.
                let late = asked.saturating_duration_since(gone);
                assert!(late <= GONE, "{uid} is served {late:?} after it was removed: {pod:?}");
            }
        }
    }
    seen
}

/// A process has no memory in its container before it has run there, which takes as long as others have the cores. What
/// the kernel counts is asked after the answer: only what it counted for a while has to be in it.
fn check_zero(young: &Made, pod: &Pod, seen: &mut Seen) {
    seen.zeros_of_the_young += 1;
    if young.container.raw_memory_usage().is_some_and(|bytes| bytes > 0) {
        let uid = young.container.pod_uid.clone();
        let grown = seen.grown.entry(uid).or_insert_with(Instant::now).elapsed();
        assert!(grown < GROWN, "no memory, and some since {grown:?}: {pod:?}");
    }
}

fn check(uid: &str, pod: &Pod, at: Instant, seen: &mut Seen) {
    assert!(pod.usage().nanocores < 2_000_000_000, "more than there are: {uid} {pod:?}");
    let (_, timestamp) = seen.served.entry(uid.to_owned()).or_insert((at, pod.timestamp));
    assert!(*timestamp <= pod.timestamp, "{uid} went back from {timestamp}: {pod:?}");
    *timestamp = pod.timestamp;
}
