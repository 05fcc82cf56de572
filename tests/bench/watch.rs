//! What it costs to watch a large cluster, and whether a watcher that takes nothing delays the others: the query service
//! over 30,000 pods of two containers on 1000 nodes that tick each second, 1000 pods with other numbers each time, and
//! 50 watchers of all pods, each with a connection over loopback TLS of its own.
//!
//! `cargo bench -p kubevitals --bench watch` prints one line for each figure; `-- --json <file>` writes them. The server is
//! a process of its own.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a bench fails by panicking, and prints what it measured"
)]

#[path = "watch/client.rs"]
mod client;
#[path = "figure.rs"]
mod figure;
#[path = "watch/server.rs"]
mod server;
#[path = "list/world.rs"]
#[expect(dead_code, reason = "the nodes tick otherwise here")]
mod world;

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use client::{Counted, Watcher};
use figure::{Figures, json_file};
use server::Scene;
use tokio::{sync::watch, task::JoinSet, time::sleep};

const SCENE: Scene = Scene { pods: 30_000, changing: 1000, tick: Duration::from_secs(1) };
const EVERY: Duration = Duration::from_secs(1);
const WATCHERS: usize = 50;
const PHASE: Duration = Duration::from_secs(30);

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    if std::env::args().any(|argument| argument == "--serve") {
        let running = runtime.block_on(server::start(SCENE));
        println!("{}\n{}", running.port, running.authority);
        std::io::stdout().flush().unwrap();
        std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
        return;
    }
    let mut figures = Figures::new("watch", json_file());
    runtime.block_on(measure(&mut figures));
    figures.finish();
}

/// The server process; ends when dropped.
struct Process {
    child: Child,
    port: u16,
    authority: String,
}

impl Process {
    fn start() -> Self {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new(program);
        let mut child = command.arg("--serve").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let port = lines.next().unwrap().parse().unwrap();
        let authority: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        Self { child, port, authority: authority.join("\n") }
    }

    /// User and system time so far, thousandths of a CPU second.
    fn cpu(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        ticks as f64 * 1000.0 / rustix::param::clock_ticks_per_second() as f64
    }

    /// Resident memory, MiB.
    fn memory(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    async fn watchers(&self, count: usize, follow: bool) -> Vec<Watcher> {
        let mut all = Vec::new();
        for _ in 0..count {
            let mut watcher = Watcher::begin(self.port, &self.authority, EVERY, follow).await;
            while !watcher.read().await {}
            watcher.counted = Counted::default();
            all.push(watcher);
        }
        all
    }

    /// Lets the watchers read for a phase, and says what it cost.
    async fn phase(
        &self,
        figures: &mut Figures,
        what: &str,
        watchers: Vec<Watcher>,
        until: impl Future<Output = ()>,
    ) -> Vec<Watcher> {
        let (end, ends) = watch::channel(false);
        let mut reading = JoinSet::new();
        for watcher in watchers {
            drop(reading.spawn(watcher.run(ends.clone())));
        }
        let (cpu, begun) = (self.cpu(), Instant::now());
        until.await;
        let used = (self.cpu() - cpu) / begun.elapsed().as_secs_f64();
        figures.say(format!("{what}: CPU of the aggregator"), used, "milli-cores");
        figures.say(format!("{what}: memory of the aggregator"), self.memory(), "MiB");
        end.send(true).unwrap();
        reading.join_all().await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn measure(figures: &mut Figures) {
    let process = Process::start();
    sleep(Duration::from_secs(5)).await;
    process.phase(figures, "nobody watches", Vec::new(), sleep(PHASE)).await;
    let followed = process.watchers(1, true).await;
    let mut all = process.phase(figures, "one watcher", followed, sleep(PHASE)).await;
    all.extend(process.watchers(WATCHERS - 1, false).await);
    let all = process.phase(figures, "50 watchers", fresh(all), sleep(PHASE)).await;
    told(figures, "50 watchers", &all);
    let mut stuck = process.watchers(1, true).await.remove(0);
    let mut all = fresh(all);
    all.pop();
    let one_stuck = "49 watchers and one that takes nothing";
    let all = process.phase(figures, one_stuck, all, sleep(PHASE)).await;
    told(figures, one_stuck, &all);
    wake(figures, &process, fresh(all), &mut stuck).await;
}

/// The stuck one reads again, beside the others.
async fn wake(figures: &mut Figures, process: &Process, all: Vec<Watcher>, stuck: &mut Watcher) {
    let begun = Instant::now();
    let mut caught_up = (Duration::ZERO, Counted::default());
    let reading = async {
        while !stuck.read().await || stuck.counted.conflated == 0 {}
        caught_up = (begun.elapsed(), stuck.counted.clone());
        for _ in 0..8 {
            while !stuck.read().await {}
        }
    };
    let all = process.phase(figures, "while it catches up", all, reading).await;
    let (time, counted) = caught_up;
    let mut say =
        |what: &str, value: f64, unit| figures.say(format!("the stuck one wakes: {what}"), value, unit);
    say("until it is up to date", time.as_secs_f64() * 1e3, "ms");
    say("messages until then", counted.messages as f64, "");
    say("usages in them", counted.usages as f64, "");
    say("size of them", counted.bytes as f64 / 1e6, "MB");
    say("ticks conflated", counted.conflated as f64, "");
    say("full pictures among them", counted.full as f64, "");
    let other = all.iter().find(|watcher| watcher.held() > 0).unwrap();
    let common = stuck.digests.iter().filter(|(tick, _)| other.digests.contains_key(*tick));
    let common: Vec<_> = common.collect();
    let same = common.iter().filter(|(tick, digest)| other.digests[*tick] == **digest).count();
    say("common ticks at which its picture is another's", same as f64, "");
    assert!(same > 0 && same == common.len());
}

/// From now on they count anew.
fn fresh(mut all: Vec<Watcher>) -> Vec<Watcher> {
    for watcher in &mut all {
        watcher.counted = Counted::default();
    }
    all
}

fn told(figures: &mut Figures, what: &str, all: &[Watcher]) {
    let sum =
        |of: fn(&Counted) -> usize| all.iter().map(|watcher| of(&watcher.counted)).sum::<usize>() as f64;
    let ticks = sum(|counted| counted.since_tick.len());
    let each = |counted: &str| format!("{what}: {counted} for each watcher and tick");
    figures.say(each("usages"), sum(|counted| counted.usages) / ticks, "");
    figures.say(each("size"), sum(|counted| counted.bytes) / ticks / 1e3, "kB");
    let conflated = all.iter().map(|watcher| watcher.counted.conflated).sum::<u64>();
    figures.say(format!("{what}: ticks conflated"), conflated as f64, "");
    let mut lag = |name: &str, of: fn(&Counted) -> &Vec<Duration>| {
        let mut all: Vec<Duration> = all.iter().flat_map(|watcher| of(&watcher.counted)).copied().collect();
        all.sort_unstable();
        for (permille, at) in [(500, "p50"), (990, "p99"), (1000, "most")] {
            let time = all[(all.len() - 1) * permille / 1000].as_secs_f64() * 1e3;
            figures.say(format!("{what}: {name}, {at}"), time, "ms");
        }
    };
    lag("from the newest batch in it to the message", |counted| &counted.since_batch);
    lag("from the tick to its last message", |counted| &counted.since_tick);
}
