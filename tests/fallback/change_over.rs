//! A node goes from its agent to its kubelet and back while it is asked 20 times a second.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    alone::FLAGS,
    api::forms,
    apiserver::{ApiServer, make::Pod},
    fleet::Fleet,
    kubelet::{Kubelet, container, millis, seconds},
    program::long,
    rig::{NODE, Rig},
};

/// Between two questions.
const EVERY: Duration = Duration::from_millis(50);

/// Longer than a kubelet is not polled while it is to be.
const NO_POLL: Duration = Duration::from_secs(12);

/// Each change takes less than this: the next reading of a kubelet, and busy cores.
const CHANGED: Duration = Duration::from_secs(80);

/// Numbers that are watched after each change: of a kubelet, three readings.
const NUMBERS: usize = 3;

/// How often the agent leaves and comes back.
fn rounds() -> u32 {
    if long() { 3 } else { 1 }
}

/// How old the readings of the kubelet are: it reads its counters at moments of its own, every 10 s.
const READ_EVERY: u64 = 10_000;

/// The page of a kubelet that reads the same counters as the agent, now and then.
fn page(fleet: &Fleet, held: &std::sync::Mutex<(u64, String)>) -> String {
    let mut held = held.lock().unwrap();
    let now = millis();
    if now >= held.0 + READ_EVERY {
        let (node, containers) = fleet.counted(NODE);
        let mut page = format!(
            "node_cpu_usage_seconds_total {} {now}\nnode_memory_working_set_bytes {} {now}\n",
            seconds(node.cpu_ns),
            node.memory
        );
        for (pod, name, counted) in containers {
            let start = now - u64::try_from(counted.age.as_millis()).unwrap();
            let names = [pod.namespace.as_str(), &pod.name, &name];
            page += &container(names, seconds(counted.cpu_ns), counted.memory, now, start);
        }
        *held = (now, page);
    }
    held.1.clone()
}

/// What was seen while the node was asked.
#[derive(Debug, Default)]
struct Seen {
    questions: u32,
    missing: u32,
    back: u32,
    wrong: u32,
    timestamps: Vec<u64>,
}

impl Seen {
    async fn ask(&mut self, rig: &Rig, path: &str) {
        let answer = rig.get(&rig.admin(), path).await;
        self.questions += 1;
        if answer.status != 200 {
            self.missing += 1;
            return;
        }
        let object = answer.json();
        let timestamp = forms::seconds(object["timestamp"].as_str().unwrap());
        if self.timestamps.last().is_some_and(|&last| timestamp < last) {
            self.back += 1;
        }
        if self.timestamps.last() != Some(&timestamp) {
            self.timestamps.push(timestamp);
        }
        let cpu = object["containers"][0]["usage"]["cpu"].as_str().unwrap().to_owned();
        let is_right = nanocores(&cpu).abs_diff(300_000_000) <= 6_000_000;
        if !is_right {
            eprintln!("{cpu} at {timestamp} over {}", object["window"]);
        }
        self.wrong += u32::from(!is_right);
    }

    async fn watch(&mut self, rig: &Rig, path: &str, time: Duration) {
        let begun = Instant::now();
        let mut every = tokio::time::interval(EVERY);
        while begun.elapsed() < time {
            every.tick().await;
            self.ask(rig, path).await;
        }
    }

    /// Watches until something is so, and some numbers longer.
    async fn watch_until(&mut self, rig: &Rig, path: &str, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + CHANGED;
        let mut enough = None;
        while enough.is_none_or(|enough| self.timestamps.len() < enough) {
            assert!(Instant::now() < deadline, "not in {CHANGED:?}: {what}, and {NUMBERS} numbers");
            if enough.is_none() && is_so() {
                enough = Some(self.timestamps.len() + NUMBERS);
            }
            self.watch(rig, path, EVERY * 4).await;
        }
    }
}

fn nanocores(text: &str) -> u64 {
    let (digits, scale) = match text.split_at(text.find(char::is_alphabetic).unwrap_or(text.len())) {
        (digits, "n") => (digits, 1),
        (digits, "u") => (digits, 1000),
        (digits, "m") => (digits, 1_000_000),
        (digits, _) => (digits, 1_000_000_000),
    };
    digits.parse::<u64>().unwrap() * scale
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_changes_over_from_its_agent_and_back_without_a_gap_or_a_step_back() {
    let mut rig = Rig::with(ApiServer::start(), &FLAGS);
    let pod = Pod::new("default", "steady", NODE);
    rig.agent(NODE, &[rig.ingest()]);
    rig.run(&pod, 300);
    let (stand_in, held) = (Fleet::of(&rig.fleet), std::sync::Mutex::default());
    let stand_in = Arc::new(stand_in);
    let kubelet = Kubelet::start(&rig.api.pki.serving, &["127.0.0.1"], move || page(&stand_in, &held));
    rig.api.cluster.nodes.put(kubelet.node(NODE));
    let path = "/apis/metrics.k8s.io/v1/namespaces/default/pods/steady";
    let begun = Instant::now();
    rig.until(&rig.admin(), path, |answer| answer.status == 200).await;
    eprintln!("served {:?} after the start", begun.elapsed());

    let mut seen = Seen::default();
    seen.watch(&rig, path, Duration::from_secs(6)).await;
    assert!(kubelet.requests().is_empty(), "a node with an agent is not polled");
    for round in 1..=rounds() {
        rig.fleet.stop_agents();
        let before = kubelet.requests().len();
        seen.watch_until(&rig, path, "its kubelet is polled", || kubelet.requests().len() > before).await;
        rig.agent(NODE, &[rig.ingest()]);
        let polled = || rig.aggregator.metrics().get("kubevitals_aggregator_polled_kubelets");
        seen.watch_until(&rig, path, "its agent is back", || polled() < 0.5).await;
        let polls = kubelet.requests().len();
        seen.watch(&rig, path, NO_POLL).await;
        assert_eq!(kubelet.requests().len(), polls, "its agent is back");
        let Seen { questions, missing, back, wrong, .. } = seen;
        eprintln!(
            "round {round}: {questions} questions, {missing} gaps, {back} steps back, {wrong} wrong numbers"
        );
    }
    let longest = seen.timestamps.windows(2).map(|pair| pair[1] - pair[0]).max();
    eprintln!("{} timestamps, at most {longest:?} s apart", seen.timestamps.len());
    assert_eq!((seen.missing, seen.back, seen.wrong), (0, 0, 0));
}
