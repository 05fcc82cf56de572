//! One node: the kernel that counts, the agent that encodes, and what the aggregator holds of it.

use std::{
    ops::AddAssign,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kubevitals::{
    chain::{Announcement, Buffers, Decoder, Encoder},
    sample::{ContainerId, PodUid, SeriesId, Subject, WallTime},
};
use kubevitals_aggregator::store::{
    Shard, Store,
    node::{CounterRef, Session},
};
use rustix::time::{ClockId, clock_gettime};

use crate::kernel::{Clock, Counter, DETAILS_EVERY, mixed};

const PODS: u64 = 30;

/// A sandbox and two containers.
const CONTAINERS_OF_POD: u64 = 3;

/// What batches cost: time, and by how much what is kept has grown.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) decode: Duration,
    pub(crate) apply: Duration,
    pub(crate) allocations: u64,
    /// Bytes.
    pub(crate) chain: i64,
    pub(crate) store: i64,
    pub(crate) blocks: i64,
}

impl AddAssign for Costs {
    fn add_assign(&mut self, other: Self) {
        self.decode += other.decode;
        self.apply += other.apply;
        self.allocations += other.allocations;
        self.chain += other.chain;
        self.store += other.store;
        self.blocks += other.blocks;
    }
}

pub(crate) struct Node {
    clock: Clock,
    counters: Vec<Counter>,
    encoder: Encoder,
    /// The next tick to make.
    next: u64,
    chain: Decoder,
    pub(crate) shard: Arc<Shard>,
    /// As the directory has them: with texts of their own.
    pub(crate) containers: Vec<CounterRef>,
}

impl Node {
    pub(crate) fn new(nth: u64, store: &Store) -> Self {
        let shard = store.shard_or_new(&format!("node-{nth}")).unwrap();
        let session = Session {
            boot_id: "boot".to_owned(),
            instance: 1,
            version: "bench".into(),
            interval: Duration::from_secs(1),
            cpus: 64,
            memory_bytes: 256 << 30,
            newest_sequence: 0,
        };
        shard.write().begin(session, Instant::now()).unwrap();
        let clock = Clock::of(nth);
        let counters: Vec<Counter> =
            (0..subjects(nth).len() as u64).map(|n| Counter::new(mixed(nth, n << 8), nth, 0)).collect();
        let containers = subjects(nth).into_iter().filter_map(|subject| match subject {
            Subject::Container { id, .. } => Some(CounterRef::Container(id)),
            _ => None,
        });
        Self {
            clock,
            counters,
            encoder: Encoder::default(),
            next: 0,
            chain: Decoder::new(),
            shard,
            containers: containers.collect(),
        }
    }

    pub(crate) fn series(&self) -> usize {
        self.counters.len()
    }

    /// Makes the next batch as an agent does.
    pub(crate) fn batch(&mut self) -> Bytes {
        let (tick, clock) = (self.next, self.clock);
        let begin = clock.sweep(tick);
        self.encoder.begin(begin, WallTime(begin.0));
        if tick == 0 {
            for (series, subject) in (1..).zip(subjects(clock.node)) {
                let announcement = Announcement {
                    series: SeriesId(series),
                    subject,
                    inode: u64::from(series),
                    first: None,
                    birth: Some(WallTime(begin.0)),
                };
                self.encoder.announce(&announcement);
            }
        }
        for (series, counter) in (1..).zip(&self.counters) {
            let has_turn = (tick + u64::from(series)).is_multiple_of(DETAILS_EVERY);
            let details = has_turn.then(|| counter.details(tick));
            self.encoder.sample(counter.sample(clock, tick, series), details.as_ref());
        }
        self.next += 1;
        self.encoder.finish().1
    }

    /// Decodes and stores a batch, as a stream does.
    pub(crate) fn take(&mut self, batch: &[u8], buffers: &mut Buffers) -> Costs {
        let (mut decode, mut apply) = (Duration::ZERO, Duration::ZERO);
        let chain = allocation_counter::measure(|| {
            let begin = thread_time();
            self.chain.batch_into(batch, buffers).unwrap();
            decode = thread_time().saturating_sub(begin);
        });
        let store = allocation_counter::measure(|| {
            let begin = thread_time();
            let mut state = self.shard.write();
            state.apply(buffers.tick(), Instant::now());
            state.catch_up(&self.chain);
            drop(state);
            apply = thread_time().saturating_sub(begin);
        });
        Costs {
            decode,
            apply,
            allocations: chain.count_total + store.count_total,
            // What both share counts as the chain's.
            chain: chain.bytes_current,
            store: store.bytes_current,
            blocks: chain.count_current + store.count_current,
        }
    }
}

/// The node itself, and each pod with its sandbox and containers; each text is made anew.
fn subjects(node: u64) -> Vec<Subject> {
    let mut all = vec![Subject::Node];
    for pod in 0..PODS {
        let pod = node << 16 | pod << 8;
        let uid = || {
            let hex = format!("{:016x}{:016x}", mixed(pod, 1), mixed(pod, 2));
            let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
            PodUid::new(&parts.join("-")).unwrap()
        };
        all.push(Subject::Pod { uid: uid(), qos: None });
        all.extend((0..CONTAINERS_OF_POD).map(|nth| {
            let hex = [3, 4, 5, 6].map(|part| format!("{:016x}", mixed(pod | nth, part))).concat();
            Subject::Container { pod: uid(), id: ContainerId::new(&hex).unwrap(), qos: None }
        }));
    }
    all
}

/// What this thread has used: on a busy machine others' work counts less than on a wall clock.
pub(crate) fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}
