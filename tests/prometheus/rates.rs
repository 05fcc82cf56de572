//! Prometheus scrapes two agents, and `PromQL` says what the API says.

use std::time::Duration;

use serde_json::Value;

use crate::{
    api::forms,
    cgroups::Workload,
    program::{Agent, wait_until},
    rig::NODE,
    server::{INTERVAL, Prometheus, Raw},
    stage::{NAMESPACE, Running, Stage},
    tools::left_out,
};

pub(crate) const OTHER: &str = "n2";

pub(crate) const PAGE: &str = "/metrics/resource";

/// How many answers of the API are found again in Prometheus, each with a window of its own.
const ANSWERS: usize = 5;

/// How many more may be made of readings that no scrape was in time for, on a busy machine.
const MISSED: usize = 3;

/// A full window, and what busy cores take to find it again in Prometheus.
const SOON: Duration = Duration::from_secs(60);

/// How much a rate may differ because Prometheus' times are milliseconds: one at each end of a window of ten seconds,
/// and it cuts the milliseconds of `OpenMetrics`, which are binary fractions there.
const ROUNDING: f64 = 4.0 / 10_000.0;

/// The API's answer about a pod or node.
#[derive(Debug, Clone, PartialEq)]
struct Served {
    /// Seconds since 1970, cut.
    timestamp: u64,
    window: Duration,
    usage: forms::Usage,
}

/// Both agents, each with a pod that works, and a Prometheus that scrapes them.
pub(crate) struct Scraped {
    pub(crate) prometheus: Prometheus,
    pub(crate) agents: [Agent; 2],
    pub(crate) pods: [Running; 2],
    pub(crate) stage: Stage,
}

impl Scraped {
    pub(crate) fn start() -> Self {
        let stage = Stage::new();
        let pods = [(NODE, "web"), (OTHER, "shop")]
            .map(|(node, pod)| stage.run(node, pod, [("main", Workload::pulse())]));
        let agents = [NODE, OTHER].map(|node| stage.agent(node, &[]));
        let targets = [(NODE, agents[0].admin_port), (OTHER, agents[1].admin_port)];
        let prometheus = Prometheus::start(PAGE, &targets);
        Self { prometheus, agents, pods, stage }
    }

    /// Each of the pods' CPU counters, as soon as there are so many samples of it.
    pub(crate) fn until_sampled(&self, samples: usize) {
        for pod in &self.pods {
            let selector = selector("container_cpu_usage_seconds_total", pod);
            wait_until(&format!("{samples} samples of {selector}"), SOON, || {
                let count = self.prometheus.raw(&selector).len();
                if count >= samples { Ok(()) } else { Err(format!("{count} samples")) }
            });
        }
    }

    /// Nothing was refused, and no scrape of these nodes failed.
    pub(crate) fn assert_smooth(&self, nodes: &[&str]) {
        assert_eq!(self.prometheus.refused(), [""; 0]);
        for node in nodes {
            let up = self.prometheus.raw(&format!("up{{node=\"{node}\"}}"));
            let took = self.prometheus.raw(&format!("scrape_duration_seconds{{node=\"{node}\"}}"));
            // On a busy machine one may take longer than Prometheus waits. What is refused or garbled ends soon.
            let was_cut =
                |at| took.iter().any(|&(time, took)| time == at && took > INTERVAL.as_secs_f64() * 0.95);
            let is_smooth = up.iter().all(|&(at, value)| value > 0.5 || was_cut(at));
            assert!(up.len() > 10 && is_smooth, "{node}: {up:?} {took:?}");
        }
    }
}

/// The series of a pod's only container.
pub(crate) fn selector(metric: &str, pod: &Running) -> String {
    let (name, node) = (&pod.pod.name, &pod.pod.node);
    format!("{metric}{{namespace=\"{NAMESPACE}\",pod=\"{name}\",container=\"main\",node=\"{node}\"}}")
}

fn served(item: &Value) -> Served {
    // Nodes have in themselves what pods have in each container.
    let usage = if item["containers"].is_null() { &item["usage"] } else { &item["containers"][0]["usage"] };
    Served {
        timestamp: forms::seconds(forms::text(&item["timestamp"])),
        window: forms::duration(forms::text(&item["window"])),
        usage: forms::usage(usage),
    }
}

/// The two samples between which the API's rate was computed.
fn ends<'r>(served: &Served, cpu: &'r Raw) -> Option<[&'r (i64, f64); 2]> {
    let second = i64::try_from(served.timestamp).unwrap() * 1000;
    let window = i64::try_from(served.window.as_millis()).unwrap();
    // A millisecond before the second is one that was cut.
    let ends = |last: &&(i64, f64)| (second - 1..second + 1000).contains(&last.0);
    let begins = |last: i64| move |first: &&(i64, f64)| (last - first.0 - window).abs() <= 2;
    cpu.iter().filter(ends).find_map(|last| Some([cpu.iter().find(begins(last.0))?, last]))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of seconds")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[allow(clippy::cast_precision_loss, reason = "rates of a machine")]
fn cores(nanocores: u64) -> f64 {
    nanocores as f64 / 1e9
}

/// Compares one answer with the samples in Prometheus; an error as long as it has not scraped them, and false if it
/// never did, having later ones.
fn compare(prometheus: &Prometheus, served: &Served, [cpu, memory]: [&str; 2]) -> Result<bool, String> {
    let raw = prometheus.raw(cpu);
    let Some([first, last]) = ends(served, &raw) else {
        let later = i64::try_from(served.timestamp).unwrap() * 1000 + 1000;
        let is_past = raw.iter().any(|sample| sample.0 >= later);
        return if is_past { Ok(false) } else { Err(format!("{served:?} is not in {raw:?}")) };
    };

    // The same two readings: their difference quotient is the API's number, to the nanocore.
    let delta = u128::from(nanos(last.1) - nanos(first.1));
    let quotient = delta * 1_000_000_000 / served.window.as_nanos();
    assert_eq!(u128::from(served.usage.nanocores), quotient, "{served:?} {first:?} {last:?}");

    // And so is what PromQL makes of them.
    let rate = format!("rate({cpu}[{}ms])", last.0 - first.0);
    let rate = prometheus.number(&rate, Some(last.0));
    let differs = (rate / cores(served.usage.nanocores) - 1.0).abs();
    assert!(differs <= ROUNDING, "{rate} cores, and {served:?}");

    // Memory is that of the last reading.
    let memory = prometheus.raw(memory);
    let sample = memory.iter().find(|sample| sample.0 == last.0).ok_or("no memory at that time")?;
    assert_eq!(sample.1.to_string(), served.usage.memory.to_string(), "{served:?}");
    Ok(true)
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_computes_the_rates_that_the_api_serves() {
    if left_out() {
        return;
    }
    let scraped = tokio::task::block_in_place(Scraped::start);
    // A whole window, and so each that is served later.
    tokio::task::block_in_place(|| scraped.until_sampled(18));
    let reader = scraped.stage.rig.reader();
    for pod in &scraped.pods {
        let path = format!("/apis/metrics.k8s.io/v1/namespaces/{NAMESPACE}/pods/{}", pod.name());
        let series = ["container_cpu_usage_seconds_total", "container_memory_working_set_bytes"]
            .map(|name| selector(name, pod));
        found_again(&scraped, &reader, &path, [&series[0], &series[1]]).await;
        let node = &pod.pod.node;
        let series = ["node_cpu_usage_seconds_total", "node_memory_working_set_bytes"]
            .map(|name| format!("{name}{{node=\"{node}\"}}"));
        let path = format!("/apis/metrics.k8s.io/v1/nodes/{node}");
        found_again(&scraped, &reader, &path, [&series[0], &series[1]]).await;
    }
    tokio::task::block_in_place(|| scraped.assert_smooth(&[NODE, OTHER]));
}

/// Several answers of the API, each of which is found in Prometheus.
async fn found_again(scraped: &Scraped, reader: &crate::rig::Who, path: &str, series: [&str; 2]) {
    let (mut before, mut newest, mut missed) = (Vec::new(), None, 0);
    while before.len() < ANSWERS {
        let is_new = |answer: &crate::rig::Answer| {
            answer.status == 200 && newest.as_ref() != Some(&served(&answer.json()))
        };
        let answer = scraped.stage.rig.until(reader, path, is_new).await;
        let served = served(&answer.json());
        let is_found = tokio::task::block_in_place(|| {
            wait_until(&format!("Prometheus has what {path} is made of"), SOON, || {
                compare(&scraped.prometheus, &served, series)
            })
        });
        newest = Some(served.clone());
        if is_found {
            before.push(served);
        } else {
            // Two scrapes in a row took too long, and so a reading is in neither.
            missed += 1;
            assert!(missed <= MISSED, "{served:?} was never scraped, as others before: {before:?}");
        }
    }
    eprintln!("{path}: {before:?}, {missed} missed");
}

#[tokio::test(flavor = "multi_thread")]
async fn prometheus_has_the_kernels_counters() {
    if left_out() {
        return;
    }
    tokio::task::block_in_place(stepped);
}

/// A container whose counter stands still but for steps: each is in Prometheus to the nanosecond.
fn stepped() {
    let stage = Stage::new();
    let pod = stage.run(NODE, "steps", [("main", Workload::stepper())]);
    let agent = stage.agent(NODE, &[]);
    let prometheus = Prometheus::start(PAGE, &[(NODE, agent.admin_port)]);
    let mut pod = pod;
    assert_eq!(pod.workloads[0].said(), "ready");
    let cpu = selector("container_cpu_usage_seconds_total", &pod);
    for _ in 0..4 {
        pod.workloads[0].work(100_000);
        let kernel = pod.containers[0].still_cpu_usage();
        wait_until("the kernel's counter", SOON, || {
            let newest = prometheus.raw(&cpu).last().map(|sample| nanos(sample.1));
            if newest == Some(kernel) { Ok(()) } else { Err(format!("{newest:?}, not {kernel}")) }
        });
    }
    let memory = selector("container_memory_working_set_bytes", &pod);
    wait_until("the kernel's working set", SOON, || {
        let (kernel, raw) = (pod.containers[0].raw_working_set(), prometheus.raw(&memory));
        let newest = raw.last().map(|sample| sample.1.to_string());
        if newest == Some(kernel.to_string()) { Ok(()) } else { Err(format!("{newest:?}, not {kernel}")) }
    });
    assert_eq!(prometheus.refused(), [""; 0]);
}
