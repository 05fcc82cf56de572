//! `/metrics/vitals` is the kernel's files: each family beside what it is made of, after a real quota, a real death for
//! want of memory, and real page cache.

use std::{collections::BTreeMap, fs, time::Duration};

use crate::{
    cgroups::{Container, Workload},
    kubelet::millis,
    program::{Agent, PATIENCE, skipped, wait_until},
    reader::{Sample, samples},
    rig::NODE,
    stage::{NAMESPACE, Running, Stage, TEXT, scrape},
};

const PAGE: &str = "/metrics/vitals";

/// Of a container and of a pod, without prefix: the controller, its file, and where in it the value stands.
const FILES: [(&str, &str, &str, &str); 10] = [
    ("memory_usage_bytes", "memory", "memory.usage_in_bytes", ""),
    ("memory_anon_bytes", "memory", "memory.stat", "total_rss"),
    ("memory_file_bytes", "memory", "memory.stat", "total_cache"),
    ("memory_inactive_file_bytes", "memory", "memory.stat", "total_inactive_file"),
    ("memory_peak_bytes", "memory", "memory.max_usage_in_bytes", ""),
    ("memory_swap_bytes", "memory", "memory.stat", "total_swap"),
    ("memory_oom_kills_total", "memory", "memory.oom_control", "oom_kill"),
    ("cpu_periods_total", "cpu", "cpu.stat", "nr_periods"),
    ("cpu_throttled_periods_total", "cpu", "cpu.stat", "nr_throttled"),
    ("cpu_throttled_seconds_total", "cpu", "cpu.stat", "throttled_time"),
];

/// Of pods and containers, beside those.
const COMPUTED: [&str; 4] = [
    "kubevitals_container_birth_timestamp_seconds",
    "kubevitals_pod_birth_timestamp_seconds",
    "kubevitals_pod_overhead_working_set_bytes",
    "kubevitals_pod_overhead_cpu_seconds",
];

/// The value behind a key of a file, or the file's only one.
fn value(text: &str, key: &str) -> u64 {
    let mut lines = text.lines().map(|line| line.rsplit_once(' ').unwrap_or(("", line)));
    let found = lines.find(|(found, _)| *found == key).and_then(|(_, value)| value.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {key:?} in {text}"))
}

/// As a metric has it: the kernel's nanoseconds are seconds there.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
fn shown(family: &str, value: u64) -> f64 {
    if family.ends_with("_seconds_total") { value as f64 / 1e9 } else { value as f64 }
}

fn page(agent: &Agent) -> Vec<Sample> {
    samples(&scrape(agent.admin_port, PAGE, TEXT).body).unwrap()
}

/// The one sample of a family with these labels.
fn find<'s>(samples: &'s [Sample], name: &str, labels: &[(&str, &str)]) -> Result<&'s Sample, String> {
    let labels: BTreeMap<String, String> =
        labels.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut found = samples.iter().filter(|sample| sample.name == name && sample.labels == labels);
    let first = found.next().ok_or_else(|| format!("no {name} of {labels:?}"))?;
    assert!(found.next().is_none(), "twice: {first:?}");
    Ok(first)
}

/// Waits until all of a container's or pod's families are what its files say; workloads rest meanwhile.
fn equal_to_the_kernel(
    agent: &Agent,
    level: &str,
    labels: &[(&str, &str)],
    read: impl Fn(&str, &str) -> String,
) {
    for (family, controller, file, key) in FILES {
        let name = format!("kubevitals_{level}_{family}");
        wait_until(&format!("{name} is what {file} says"), PATIENCE, || {
            let kernel = shown(&name, value(&read(controller, file), key));
            let sample = find(&page(agent), &name, labels)?.clone();
            assert!(sample.time.is_some_and(|time| time <= millis()), "{sample:?}");
            let is_equal = (sample.value - kernel).abs() <= kernel * f64::EPSILON;
            if is_equal { Ok(()) } else { Err(format!("{}, and the kernel has {kernel}", sample.value)) }
        });
    }
}

/// A pod with a container that its quota held back, and in which a process died for want of memory.
fn strained(stage: &Stage) -> Running {
    let mut running = stage.start(NODE, "strained", [("main", Workload::stepper())]);
    let container = &running.containers[0];
    container.adopt(running.workloads[0].child());
    assert_eq!(running.workloads[0].said(), "ready");
    container.limit_cpu(Duration::from_millis(10), Duration::from_millis(100));
    running.workloads[0].work(200_000);

    let mut glutton = Workload::glutton();
    container.adopt(glutton.child());
    container.limit_memory(16 << 20);
    glutton.go();
    glutton.work(64 << 20);
    running.workloads.push(glutton);
    assert!(value(&container.text("memory", "memory.oom_control"), "oom_kill") >= 1);
    assert!(value(&container.text("cpu", "cpu.stat"), "nr_throttled") >= 1);
    running
}

#[tokio::test(flavor = "multi_thread")]
async fn every_family_is_the_kernels_file() {
    if skipped("root") {
        return;
    }
    tokio::task::block_in_place(families);
}

fn families() {
    let stage = Stage::new();
    let begun = millis();
    let running = strained(&stage);
    let made = millis();
    stage.announce(&running);
    let agent = stage.agent(NODE, &["--detail-interval=1s"]);
    let container = &running.containers[0];
    let names = [("namespace", NAMESPACE), ("pod", running.name())];
    equal_to_the_kernel(
        &agent,
        "container",
        &[("container", "main"), names[0], names[1]],
        |controller, file| container.text(controller, file),
    );
    equal_to_the_kernel(&agent, "pod", &names, |controller, file| container.pod_text(controller, file));

    // The kernel counts in milliseconds when it stamps an inode; the two clocks are the same.
    let samples = page(&agent);
    for (level, labels) in [("pod", &names[..]), ("container", &[("container", "main"), names[0], names[1]])]
    {
        let birth = find(&samples, &format!("kubevitals_{level}_birth_timestamp_seconds"), labels).unwrap();
        assert!(birth.time.is_none(), "{birth:?}");
        let millis = shown_millis(birth.value);
        assert!((begun.saturating_sub(20)..=made).contains(&millis), "{begun} <= {millis} <= {made}");
    }
    overhead(&agent, &running);
    the_node_is_the_machine(&agent);
    labels_are_bounded(&page(&agent), 1);
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time of this century")]
fn shown_millis(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

/// What the pod has beside its containers; here nobody is, so it is what the kernel itself charges to the pod.
fn overhead(agent: &Agent, running: &Running) {
    let labels = [("namespace", NAMESPACE), ("pod", running.name())];
    let container = &running.containers[0];
    let cpu = || number(&container.pod_text("cpuacct", "cpuacct.usage")) - container.cpu_usage();
    let memory = || pod_working_set(container) - container.raw_working_set();
    let shares: [(&str, &dyn Fn() -> u64, f64); 2] =
        [("overhead_cpu_seconds", &cpu, 1e9), ("overhead_working_set_bytes", &memory, 1.0)];
    for (family, kernel, unit) in shares {
        let name = format!("kubevitals_pod_{family}");
        wait_until(&format!("{name} is the kernel's difference"), PATIENCE, || {
            #[allow(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
            let kernel = kernel() as f64 / unit;
            let sample = find(&page(agent), &name, &labels)?.clone();
            let is_equal = (sample.value - kernel).abs() <= kernel * f64::EPSILON;
            if is_equal { Ok(()) } else { Err(format!("{}, and the kernel has {kernel}", sample.value)) }
        });
    }
}

fn number(text: &str) -> u64 {
    value(text.trim(), "")
}

fn pod_working_set(container: &Container) -> u64 {
    let stat = container.pod_text("memory", "memory.stat");
    number(&container.pod_text("memory", "memory.usage_in_bytes")) - value(&stat, "total_inactive_file")
}

/// The node never rests, so what only grows lies between a reading before and one after.
fn the_node_is_the_machine(agent: &Agent) {
    let swap = || {
        let text = fs::read_to_string("/proc/meminfo").unwrap();
        let line = |name| {
            let line = text.lines().find_map(|line: &str| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
        };
        line("SwapTotal:") - line("SwapFree:")
    };
    wait_until("the node's swap", PATIENCE, || {
        let samples = page(agent);
        let sample = find(&samples, "kubevitals_node_memory_swap_bytes", &[])?;
        if sample.value.to_string() == swap().to_string() { Ok(()) } else { Err(format!("{sample:?}")) }
    });
    for resource in ["cpu", "io", "memory"] {
        for (family, line) in [("waiting", "some"), ("stalled", "full")] {
            let total = || pressure(resource, line);
            let (Some(before), since) = (total(), millis()) else { continue };
            let name = format!("kubevitals_node_pressure_{family}_seconds_total");
            wait_until(&format!("{name} of {resource} since then"), PATIENCE, || {
                let samples = page(agent);
                let Ok(sample) = find(&samples, &name, &[("resource", resource)]) else {
                    // Where controllers are of version 1, pressure is not read.
                    return Ok(());
                };
                if sample.time < Some(since) {
                    return Err(format!("{sample:?}"));
                }
                let after = total().unwrap();
                assert!((before..=after).contains(&sample.value), "{before} {sample:?} {after}");
                Ok(())
            });
        }
    }
}

/// Seconds, as the kernel has them for the machine.
fn pressure(resource: &str, line: &str) -> Option<f64> {
    let text = fs::read_to_string(format!("/proc/pressure/{resource}")).ok()?;
    let micros = text.lines().find(|found| found.starts_with(line))?.rsplit_once("total=")?.1;
    Some(micros.parse::<f64>().ok()? / 1e6)
}

/// Nothing but whose it is stands in labels, and no family has more than a sample for each subject and resource.
fn labels_are_bounded(samples: &[Sample], subjects: usize) {
    let mut series: BTreeMap<&str, usize> = BTreeMap::new();
    for sample in samples {
        let known = |key: &String| ["container", "namespace", "pod", "resource"].contains(&key.as_str());
        assert!(sample.labels.keys().all(known), "{sample:?}");
        let is_vital = ["container", "pod", "node", "exporter"]
            .iter()
            .any(|level| sample.name.starts_with(&format!("kubevitals_{level}_")));
        assert!(is_vital, "{sample:?}");
        *series.entry(&sample.name).or_default() += 1;
    }
    for (name, count) in &series {
        let most = if name.contains("_pressure_") { 3 * subjects } else { subjects };
        assert!(*count <= most, "{count} samples of {name}");
    }
    for name in COMPUTED {
        assert!(series.contains_key(name), "no {name}");
    }
    eprintln!("families: {:?}", series.keys().collect::<Vec<_>>());
}
