//! `standalone` with the real kubectl.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    cgroups::{Tree, Workload},
    program::{PATIENCE, Program, built, dies_with_us, skipped},
};

/// From the start to something on the screen; a process start alone took two seconds on a busy machine.
const FIRST_LINE: Duration = Duration::from_secs(10);

#[test]
fn standalone_prints_commands_that_show_this_machine_and_ends_on_interrupt() {
    if skipped("root") || skipped("kubectl") {
        return;
    }
    let tree = Tree::new();
    let (container, job) = (tree.container(), tree.job("worker"));
    let mut workloads = [&container, &job].map(|cgroup| {
        let mut workload = Workload::pulse();
        cgroup.adopt(workload.child());
        workload.go();
        workload
    });
    let files = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut command = dies_with_us(built("kubevitals-aggregator"));
    command
        .args(["standalone", "--node-name", "this-machine"])
        .arg("--kubeconfig-out")
        .arg(files.path().join("kubeconfig"));
    let mut standalone = Program::start("kubevitals-aggregator", &mut command);

    standalone.shows("a first line", FIRST_LINE, |line| line.contains("this-machine").then_some(()));
    let first = started.elapsed();
    standalone.shows("that it is ready", PATIENCE, |line| line.starts_with("ready").then_some(()));
    let ready = started.elapsed();
    eprintln!("first line after {first:?}, ready after {ready:?}");
    assert!(first <= FIRST_LINE);
    standalone.shows("how to end it", PATIENCE, |line| line.contains("Ctrl-C").then_some(()));

    let run = |what: &str| {
        let screen = standalone.screen();
        let printed = screen.lines().find(|line| line.contains(what));
        let printed = printed.unwrap_or_else(|| panic!("{what} is not among the commands: {screen}"));
        let mut shell = Command::new("sh");
        // kubectl keeps what it discovers below the home directory.
        shell.args(["-c", printed]).env("HOME", files.path());
        let output = shell.output().unwrap();
        let (shown, said) = (output.stdout, String::from_utf8_lossy(&output.stderr).into_owned());
        assert!(output.status.success(), "{printed}: {said}");
        String::from_utf8(shown).unwrap()
    };
    let nodes = run("top nodes");
    eprintln!("{nodes}");
    let node = nodes.lines().find(|line| line.starts_with("this-machine ")).unwrap();
    let columns: Vec<&str> = node.split_whitespace().collect();
    for percentage in [columns[2], columns[4]] {
        let number: u32 = percentage.strip_suffix('%').unwrap().parse().unwrap();
        assert!(number <= 100, "{node}");
    }
    let pods = run("top pods -A --containers");
    let shown = |columns: [&str; 3]| {
        let line = pods.lines().find(|line| line.split_whitespace().take(3).eq(columns));
        let line = line.unwrap_or_else(|| panic!("no {columns:?} in:\n{pods}"));
        eprintln!("{line}");
    };
    shown(["kubepods", &container.pod_uid, container.name()]);
    shown([&job.namespace(), "worker", "worker"]);

    standalone.signal(Signal::INT);
    assert_eq!(standalone.ended(Duration::from_secs(5)).code(), Some(0));
    assert_eq!(standalone.log(), "", "the log stays quiet");
    workloads.iter_mut().for_each(Workload::stop);
}
