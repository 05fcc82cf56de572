//! What the agent's pages for scrapers cost: the time and size of one, and the agent's CPU time with and without a
//! scraper, over cgroups of this machine.
//!
//! `cargo bench -p kubevitals --bench page` prints one line for each figure. The second part needs root, version 1
//! controllers and the built agent; `KUBEVITALS_SKIP=root` leaves it out.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "../support/api.rs"]
mod api;
#[path = "../support/cgroups.rs"]
mod cgroups;
#[path = "figure.rs"]
mod figure;
#[path = "../support/program.rs"]
mod program;

use std::{
    fs,
    hint::black_box,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use cgroups::{Tree, Workload};
use figure::{Figures, json_file, median};
use kubevitals::{
    chain::Announcement,
    sample::{
        BootTime, ContainerId, CpuTime, Detail, Details, PodUid, Qos, Sample, SeriesId, Subject, WallTime,
        WorkingSet,
    },
    wire,
};
use kubevitals_agent::{
    cgroup::clock::{boot_time, wall_time},
    exporter::{Exporter, Form, Naming, Publication},
    identity::Identities,
    metrics::Metrics,
};
use program::{Program, built, dies_with_us, probe, skipped};
use prometheus_client::registry::Registry;

const PODS: u32 = 100;
const CONTAINERS: u32 = 250;
const PAGES: usize = 200;

/// Real containers, and how long each half is measured.
const REAL: usize = 100;
const MEASURED: u32 = 30;

fn main() {
    let mut figures = Figures::new("page", json_file());
    pages(&mut figures);
    if !skipped("root") {
        agent(&mut figures);
    }
    figures.finish();
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// Pages of a node of the largest recommended size and more containers than usual.
fn pages(figures: &mut Figures) {
    let (mut publication, identities) = (Publication::default(), Identities::default());
    let metrics = Metrics::register(&mut Registry::default()).exporter;
    let every = (Duration::from_secs(1), Duration::from_secs(10));
    let exporter = Exporter::new(publication.board(), identities.clone(), Naming::Aggregator, every, metrics);
    sweep(&mut publication, &identities);
    let begin = Instant::now();
    (0..PAGES).for_each(|_| publication.finish());
    let took = begin.elapsed() / u32::try_from(PAGES).unwrap();
    let of = format!("{PODS} pods and {CONTAINERS} containers");
    figures.say(format!("{of}: publishing a sweep"), micros(took), "us");
    let (resource, vitals) = (Exporter::resource, Exporter::vitals);
    for (name, page) in [("resource", resource as fn(&_, _) -> _), ("vitals", vitals)] {
        for form in [Form::Text, Form::OpenMetrics] {
            let mut bytes = 0;
            // One of long ago would not be shown.
            publication.begin(boot_time(), wall_time());
            publication.finish();
            let times: Vec<Duration> = (0..PAGES)
                .map(|_| {
                    let begin = Instant::now();
                    bytes = black_box(page(&exporter, form)).body.len();
                    begin.elapsed()
                })
                .collect();
            figures.say(format!("{of}: {name}, {form:?}"), micros(median(&times)), "us");
            figures.say(format!("{of}: {name}, {form:?}"), bytes as f64, "bytes");
        }
    }
}

fn sweep(publication: &mut Publication, identities: &Identities) {
    let (now, wall) = (boot_time(), wall_time());
    publication.begin(now, wall);
    let mut add = |number: u32, subject: Subject| {
        let (series, birth) = (SeriesId(number), Some(WallTime(wall.0 - 3_600_000_000)));
        publication.announce(&Announcement { series, subject, inode: 1, first: None, birth });
        let number = u64::from(number);
        let sample = Sample {
            time: BootTime(now.0 + number),
            cpu: CpuTime(123_456_789 * number),
            working_set: WorkingSet::from_units(4321),
        };
        let mut details = Details::default();
        for (position, &detail) in (1..).zip(Detail::ALL) {
            details.set(detail, Some(4096 * number * position));
        }
        publication.sample(series, sample, Some(&details));
        identities.ticked(&[series], &[]);
    };
    add(1, Subject::Node);
    let uid = |pod: u32| PodUid::new(&format!("{pod:08x}-0000-4000-8000-000000000000")).unwrap();
    for pod in 0..PODS {
        add(pod + 2, Subject::Pod { uid: uid(pod), qos: Some(Qos::Burstable) });
    }
    for container in 0..CONTAINERS {
        let id = ContainerId::new(&format!("{container:064x}")).unwrap();
        let subject = Subject::Container { pod: uid(container % PODS), id, qos: Some(Qos::Burstable) };
        add(container + PODS + 2, subject);
    }
    publication.finish();
    let pods = (0..PODS).map(|pod| {
        let named = |series, container: String| wire::SeriesIdentity { series, container };
        let containers = (pod..CONTAINERS).step_by(PODS as usize);
        let containers = containers.map(|n| named(n + PODS + 2, format!("container-{}", n / PODS)));
        wire::PodIdentity {
            namespace: format!("namespace-{}", pod / 10),
            name: format!("application-{pod:03}-6c8f9d7b5-{pod:05x}"),
            uid: String::new(),
            series: std::iter::once(named(pod + 2, String::new())).chain(containers).collect(),
        }
    });
    assert_eq!(identities.learn("bench", &wire::Identity { pods: pods.collect() }, Instant::now()), 0);
}

/// An agent that streams to nobody.
fn agent(figures: &mut Figures) {
    let tree = Tree::alone();
    let mut workloads = Vec::new();
    for _ in 0..REAL {
        let (container, mut workload) = (tree.plain_container(), Workload::sleeper());
        container.adopt_plain(workload.child());
        workload.go();
        workloads.push(workload);
    }
    let mut command = dies_with_us(built("kubevitals-agent"));
    command.args(["run", "--node-name=bench", "--aggregator=https://127.0.0.1:1", "--listen=127.0.0.1:0"]);
    command.args(["--names=uid", "--log-format=json", "--log-level=info,kubevitals_agent::stream=off"]);
    let agent = Program::start("kubevitals-agent", &mut command);
    let port = agent.port("admin");
    // The first ticks look for more than later ones.
    thread::sleep(Duration::from_secs(12));
    let (mut resource, mut vitals) = (Vec::new(), Vec::new());
    let alone = seconds(&agent, || {});
    let scraped = seconds(&agent, || {
        for (path, times) in [("/metrics/resource", &mut resource), ("/metrics/vitals", &mut vitals)] {
            let begin = Instant::now();
            let (status, page) = probe(port, path).unwrap();
            times.push(begin.elapsed());
            assert!(status == 200 && page.len() > 10_000, "{page}");
        }
    });
    let of = format!("agent over {REAL} containers");
    figures.say(format!("{of}: alone"), alone * 1000.0, "milli-cores");
    figures.say(format!("{of}: with both pages scraped each second"), scraped * 1000.0, "milli-cores");
    figures.say(format!("{of}: with both pages scraped each second"), scraped / alone, "x alone");
    for (name, times) in [("resource", &resource), ("vitals", &vitals)] {
        figures.say(format!("{of}: a new connection and its {name}"), micros(median(times)), "us");
    }
}

/// CPU seconds a second, while `each` is done each second.
fn seconds(agent: &Program, mut each: impl FnMut()) -> f64 {
    let (begin, before) = (Instant::now(), cpu(agent));
    for second in 1..=MEASURED {
        each();
        thread::sleep((begin + Duration::from_secs(second.into())).saturating_duration_since(Instant::now()));
    }
    (cpu(agent) - before) as f64 / 1e9 / begin.elapsed().as_secs_f64()
}

/// Of all threads, nanoseconds.
fn cpu(agent: &Program) -> u64 {
    let tasks =
        fs::read_dir(Path::new("/proc").join(agent.pid().as_raw_nonzero().to_string()).join("task")).unwrap();
    let times = tasks.map(|task| {
        let text = fs::read_to_string(task.unwrap().path().join("schedstat")).unwrap();
        text.split(' ').next().unwrap().parse::<u64>().unwrap()
    });
    times.sum()
}
