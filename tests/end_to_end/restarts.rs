//! Programs that are killed, restarted and stopped.

use std::{
    io::Write,
    net::TcpStream,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    api::{Answer, PODS, forms::Pod},
    cgroups::{Container, Tree, Workload},
    program::{Agent, Aggregator, probe, skipped, wait_until},
};

/// A restarted aggregator answers with complete windows so soon after it listens.
const COMPLETE: Duration = Duration::from_secs(2);

/// The default window, less the distance of two samples.
const FULL: Duration = Duration::from_secs(14);

/// Successive samples, in whole seconds as they are printed.
const STEP: u64 = 2;

const PATIENCE: Duration = Duration::from_secs(40);

/// A container whose CPU counter stands still but for what a test lets it burn.
struct Stepped {
    container: Container,
    workload: Workload,
}

impl Stepped {
    fn new(tree: &Tree) -> Self {
        let container = tree.container();
        let mut workload = Workload::stepper();
        container.adopt(workload.child());
        workload.go();
        assert_eq!(workload.said(), "ready");
        Self { container, workload }
    }

    fn question(&self) -> String {
        format!("{PODS}/{}", self.container.pod_uid)
    }

    fn wait_for_full_window(&self, aggregator: &Aggregator) {
        wait_until("a complete window", PATIENCE, || {
            let window = aggregator.api.pod(&self.container.pod_uid)?.window;
            (window >= FULL).then_some(()).ok_or_else(|| format!("{window:?}"))
        });
    }

    /// Burns and returns the counter's difference.
    fn burn(&mut self) -> u64 {
        let before = self.container.still_cpu_usage();
        self.workload.work(200_000);
        self.container.still_cpu_usage() - before
    }
}

fn is_exact(pod: &Pod, burnt: u64) -> bool {
    u128::from(pod.usage().nanocores) == u128::from(burnt) * 1_000_000 / pod.window.as_micros()
}

/// Timestamps neither go back nor leave out a sample.
fn assert_no_gap(pods: &[Pod]) {
    for pair in pods.windows(2) {
        let (before, after) = (pair[0].timestamp, pair[1].timestamp);
        assert!((before..=before + STEP).contains(&after), "a gap: {before} to {after} in {pods:#?}");
    }
}

#[test]
fn a_killed_aggregator_answers_completely_two_seconds_after_it_listens_again() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let mut stepped = Stepped::new(&tree);
    let files = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(files.path(), &[]);
    let _agent = Agent::start(&[&aggregator]);
    stepped.wait_for_full_window(&aggregator);
    let burnt = stepped.burn();
    let mut times = Vec::new();

    for _ in 0..3 {
        let last = wait_until("the burn is served", PATIENCE, || {
            let pod = aggregator.api.pod(&stepped.container.pod_uid)?;
            is_exact(&pod, burnt).then_some(()).ok_or_else(|| format!("{pod:?}"))?;
            Ok(pod)
        });
        let killed = Instant::now();
        aggregator.program.kill();
        aggregator = aggregator.again();
        let listening = aggregator.listening;
        let poll = aggregator.api.poll(&stepped.question(), 50);
        let (at, first) = poll.until("a complete window", COMPLETE * 5, |answer| {
            answer.pod().ok().filter(|pod| pod.window >= FULL)
        });
        times.push(at - listening);
        assert!(
            is_exact(&first, burnt),
            "the burn before the end is not in the first answer: {first:?}, {burnt} ns"
        );
        // Nobody can see what is sampled while nobody answers.
        let away = (at - killed).as_secs() + STEP;
        assert!(
            (last.timestamp..=last.timestamp + away).contains(&first.timestamp),
            "{last:?} to {first:?} after {:?}",
            at - killed
        );
        let mut pods = vec![first];
        while pods.len() < 100 {
            let pod = poll.next().pod().expect("it is served from now on");
            assert!(pod.window >= FULL, "{pod:?}");
            pods.push(pod);
        }
        assert_no_gap(&pods);
    }

    eprintln!("complete again {times:?} after it listened");
    assert!(times.iter().all(|&time| time <= COMPLETE), "{times:?}");
}

#[test]
fn windows_go_on_over_a_restart_of_the_agent() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let mut stepped = Stepped::new(&tree);
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let mut agent = Agent::start(&[&aggregator]);
    stepped.wait_for_full_window(&aggregator);
    let poll = aggregator.api.poll(&stepped.question(), 20);

    agent.program.signal(Signal::TERM);
    assert_eq!(agent.program.ended(Duration::from_secs(5)).code(), Some(0));
    let leave = Instant::now();
    let burnt = stepped.burn();
    drop(agent);
    let _agent = Agent::start(&[&aggregator]);
    let away = leave.elapsed();

    let mut pods: Vec<Pod> = Vec::new();
    let mut take = |answer: &Answer| {
        let pod = answer.pod().expect("the pod stays served");
        assert!(pod.window >= FULL, "the window does not go on: {pod:?}");
        pods.push(pod.clone());
        is_exact(&pod, burnt).then_some(pod)
    };
    let (at, _) = poll.until("the burn in between is served", Duration::from_secs(10), &mut take);
    for _ in 0..60 {
        let pod = take(&poll.next());
        assert!(pod.is_some(), "the burn is no longer exact in {:?}", pods.last());
    }
    let longest = pods.windows(2).map(|pair| pair[1].timestamp - pair[0].timestamp).max();
    eprintln!(
        "the agent was away for {away:?}; the burn in between was served {:?} after it stopped; \
         the longest step between timestamps was {longest:?} s",
        at - leave
    );
    assert!(pods.windows(2).all(|pair| pair[0].timestamp <= pair[1].timestamp));
    assert!(longest <= Some(away.as_secs() + STEP + 1), "{longest:?}");
}

#[test]
fn a_signal_ends_both_programs_in_good_order() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let stepped = Stepped::new(&tree);
    let files = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(files.path(), &["--shutdown-delay", "6s"]);
    let mut agent = Agent::start(&[&aggregator]);
    let status = |port| probe(port, "/readyz").map_err(|error| error.to_string());
    for port in [aggregator.admin_port, agent.admin_port] {
        wait_until("readiness", PATIENCE, || match status(port)? {
            (200, _) => Ok(()),
            other => Err(format!("{other:?}")),
        });
    }
    wait_until("a number", PATIENCE, || aggregator.api.pod(&stepped.container.pod_uid));

    // A client that keeps its connection, as API servers do.
    let poll = aggregator.api.poll(&stepped.question(), 20);
    poll.next();
    let signalled = Instant::now();
    aggregator.program.signal(Signal::TERM);
    wait_until("unreadiness", Duration::from_secs(3), || match status(aggregator.admin_port)? {
        (500, _) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    aggregator.api.pod(&stepped.container.pod_uid).expect("it still serves while clients move away");
    assert_eq!(aggregator.program.ended(Duration::from_secs(20)).code(), Some(0));
    eprintln!("the aggregator ended {:?} after the signal, 6 s of it on purpose", signalled.elapsed());
    assert!(signalled.elapsed() >= Duration::from_secs(6));

    // Without an aggregator as well.
    let signalled = Instant::now();
    agent.program.signal(Signal::TERM);
    assert_eq!(agent.program.ended(Duration::from_secs(5)).code(), Some(0));
    eprintln!("the agent ended {:?} after the signal", signalled.elapsed());
}

#[test]
fn clients_that_never_finish_do_not_hold_up_the_end() {
    let files = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start(files.path(), &["--shutdown-delay", "0s"]);
    let mut agent = Agent::start(&[&aggregator]);
    let silent = [aggregator.api.port, aggregator.ingest_port].map(connect);
    let mut halves = [aggregator.admin_port, agent.admin_port].map(connect);
    for half in &mut halves {
        half.write_all(b"GET /livez HT").unwrap();
    }
    // An answer on a later connection: the earlier ones were accepted.
    for port in [aggregator.admin_port, agent.admin_port] {
        assert_eq!(probe(port, "/livez").unwrap().0, 200);
    }

    for (name, program) in [("agent", &mut agent.program), ("aggregator", &mut aggregator.program)] {
        let signalled = Instant::now();
        program.signal(Signal::TERM);
        assert_eq!(program.ended(Duration::from_secs(15)).code(), Some(0));
        eprintln!("the {name} ended {:?} after the signal", signalled.elapsed());
    }
    drop((silent, halves));
}

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}
