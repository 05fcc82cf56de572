//! The phases that are measured: the load of the budgets, and the same with a crowd of readers.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use crate::{
    Options,
    agent::Counted,
    crowd::{self, Crowd},
    probe::{self, Latency},
    process::Cpu,
    reader,
    seen::Seen,
    stage::Stage,
};

/// Memory is looked at so often.
const LOOK: Duration = Duration::from_millis(500);

/// What one phase showed.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) nodes: usize,
    pub(crate) seconds: f64,
    pub(crate) cpu: Cpu,
    /// Of the aggregator, KiB: at each look, and the most.
    pub(crate) resident: Vec<u64>,
    pub(crate) peak: u64,
    /// Of our threads, by name, and our own resident memory at the end, KiB.
    pub(crate) threads: BTreeMap<String, Cpu>,
    pub(crate) ourselves: u64,
    pub(crate) seen: Seen,
    pub(crate) batches: u64,
    pub(crate) payload: u64,
    pub(crate) samples: u64,
    pub(crate) written: u64,
    /// Streams that began: 0 while nothing goes wrong.
    pub(crate) welcomed: u64,
    /// Batches that the aggregator stored, those it lost, and samples it refused.
    pub(crate) stored: f64,
    pub(crate) lost: f64,
    pub(crate) refused: f64,
    /// How late batches were handed over, milliseconds.
    pub(crate) late: Vec<f64>,
}

impl Measured {
    /// This phase and the next one.
    pub(crate) fn join(&mut self, next: Self) {
        self.seconds += next.seconds;
        self.cpu = self.cpu.and(next.cpu);
        self.resident.extend(next.resident);
        self.peak = self.peak.max(next.peak);
        for (name, cpu) in next.threads {
            let all = self.threads.entry(name).or_default();
            *all = all.and(cpu);
        }
        self.ourselves = next.ourselves;
        self.seen.join(next.seen);
        self.batches += next.batches;
        self.payload += next.payload;
        self.samples += next.samples;
        self.written += next.written;
        self.welcomed += next.welcomed;
        self.stored += next.stored;
        self.lost += next.lost;
        self.refused += next.refused;
        self.late.extend(next.late);
    }
}

/// Counters of the two sides at one moment.
struct Mark {
    at: Instant,
    cpu: Cpu,
    threads: BTreeMap<String, Cpu>,
    counted: [u64; 5],
    told: [f64; 3],
}

impl Stage {
    /// The load of the budget for so long.
    pub(crate) fn measure(&self, seconds: u64) -> Measured {
        self.watch(|_| thread::sleep(Duration::from_secs(seconds)))
    }

    /// Times lists by label while the agents stream, without any other reader.
    pub(crate) fn latency(&self, seconds: u64) -> (Latency, Seen) {
        let seen = Arc::default();
        let found = probe::latency(&self.fleet.world, &self.target(), &seen, seconds);
        (found, std::mem::take(&mut *seen.lock().unwrap()))
    }

    /// The same load with clients that stop reading, and then many lists of everything at one time.
    pub(crate) fn crowded(&self, options: &Options) -> (Crowd, Measured) {
        let before = self.aggregator().program.resident();
        let mut crowd = Crowd::default();
        let measured = self.watch(|stage| crowd = crowd::gather(stage, options));
        crowd.before = before;
        (crowd, measured)
    }

    /// Runs the usual readers while `phase` lasts, and tells what that took.
    fn watch(&self, phase: impl FnOnce(&Self)) -> Measured {
        let (seen, mut readers) = (Arc::new(Mutex::new(Seen::default())), JoinSet::new());
        self.fleet.counted.late.lock().unwrap().clear();
        self.aggregator().program.forget_peak();
        let before = self.mark();
        self.send_readers(&mut readers, &seen);
        let resident = self.looking(phase);
        let after = self.mark();
        self.readers.block_on(readers.shutdown());
        let counted = |nth: usize| after.counted[nth] - before.counted[nth];
        let told = |nth: usize| after.told[nth] - before.told[nth];
        let late = std::mem::take(&mut *self.fleet.counted.late.lock().unwrap());
        let since = |(name, cpu): (&String, &Cpu)| {
            (name.clone(), cpu.since(before.threads.get(name).copied().unwrap_or_default()))
        };
        Measured {
            nodes: self.nodes,
            seconds: (after.at - before.at).as_secs_f64(),
            cpu: after.cpu.since(before.cpu),
            resident,
            peak: self.aggregator().program.peak(),
            threads: after.threads.iter().map(since).collect(),
            ourselves: crate::process::resident(),
            seen: std::mem::take(&mut *seen.lock().unwrap()),
            batches: counted(0),
            payload: counted(1),
            samples: counted(2),
            written: counted(3),
            welcomed: counted(4),
            stored: told(0),
            lost: told(1),
            refused: told(2),
            late: late.into_iter().map(|micros| f64::from(micros) / 1e3).collect(),
        }
    }

    fn send_readers(&self, readers: &mut JoinSet<()>, seen: &Arc<Mutex<Seen>>) {
        let (world, target, handle) = (&self.fleet.world, self.target(), self.readers.handle());
        let common = || (Arc::clone(world), target.clone(), Arc::clone(seen));
        let (of_world, to, told) = common();
        readers.spawn_on(reader::autoscalers(of_world, to, told, self.lists), handle);
        let (of_world, to, told) = common();
        readers.spawn_on(reader::everything(of_world, to, told, self.full_every), handle);
        let (of_world, to, told) = common();
        // Who times how soon something is seen does not wait until a list of everything is judged.
        let handle = self.probes.handle();
        readers.spawn_on(probe::batches(of_world, to, told), handle);
        let (of_world, to, told) = common();
        readers.spawn_on(probe::newcomers(of_world, to, told, Arc::clone(&self.newcomer)), handle);
    }

    /// The aggregator's resident memory while `phase` lasts, KiB.
    fn looking(&self, phase: impl FnOnce(&Self)) -> Vec<u64> {
        let (is_over, program) = (AtomicBool::new(false), &self.aggregator().program);
        thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut found = vec![program.resident()];
                while !is_over.load(Relaxed) {
                    thread::sleep(LOOK);
                    found.push(program.resident());
                }
                found
            });
            phase(self);
            is_over.store(true, Relaxed);
            looks.join().unwrap()
        })
    }

    fn mark(&self) -> Mark {
        let aggregator = self.aggregator();
        let Counted { batches, payload, samples, written, welcomed, .. } = &self.fleet.counted;
        let metrics = aggregator.metrics();
        Mark {
            at: Instant::now(),
            cpu: Cpu::of(aggregator.program.pid()),
            threads: Cpu::of_threads(),
            counted: [batches, payload, samples, written, welcomed].map(|count| count.load(Relaxed)),
            told: ["batches", "lost_batches", "refused_samples"]
                .map(|name| metrics.get(&format!("kubevitals_aggregator_ingest_{name}_total"))),
        }
    }
}
