//! A made-up agent's messages into a chain's decoder, and what it lets through into the store, names and view.
//! The fuzzer's bytes choose what the agent does: valid batches, batches with faults, raw bytes, snapshots, new
//! processes and boots.
#![no_main]

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    limits::MAX_SERIES,
    sample::{BootTime, Details, Sample, Subject},
    wire::{self, announcement::Subject as WireSubject},
};
use kubevitals_aggregator::{
    api::source::Source as _,
    directory::Directory,
    metrics::Served,
    names::{Names, paths::PathNames},
    picture::Rules,
    store::{
        Limits, Shard, Store,
        node::{Applied, CounterRef, KEEP_ENDED, Session},
    },
    view::View,
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;
use prost::Message as _;

const MOST_STEPS: usize = 24;
const NODE: &str = "n1";

fuzz_target!(|data: &[u8]| {
    let mut choices = Choices::new(data);
    let mut agent = Agent::new(&mut choices);
    for _ in 0..MOST_STEPS {
        if choices.is_empty() {
            break;
        }
        agent.step(&mut choices);
    }
    agent.end();
});

/// The agent's side as far as a stream has it, and everything behind the stream.
struct Agent {
    /// None after a violation, until the next snapshot.
    chain: Option<Decoder>,
    session: Session,
    end: Behind,
}

impl Agent {
    fn new(choices: &mut Choices<'_>) -> Self {
        let session = Session {
            boot_id: "boot-0".to_owned(),
            instance: 1,
            interval: [200, 1000, 60_000].map(Duration::from_millis)[choices.below(3)],
            cpus: 4,
            memory_bytes: 1 << 33,
        };
        let mut end = Behind::new(choices);
        let chain = Decoder::new();
        end.begin(&session, true);
        end.restart(&chain);
        Self { chain: Some(chain), session, end }
    }

    fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.batch(choices.piece()),
            1 => self.resume(choices),
            2 => self.raw_snapshot(choices),
            3 => self.new_process(choices),
            faults @ 4..=7 => {
                let mut batch = self.valid_batch(choices);
                for _ in 0..faults - 3 {
                    spoil(&mut batch, choices);
                }
                let mut encoded = batch.encode_to_vec();
                if faults == 7 {
                    flip(&mut encoded, choices);
                }
                self.batch(&encoded);
            }
            _ => {
                let batch = self.valid_batch(choices);
                self.batch(&batch.encode_to_vec());
            }
        }
    }

    /// One batch as it comes over the wire. After a violation the decoder is of no further use.
    fn batch(&mut self, encoded: &[u8]) {
        let Some(mut chain) = self.chain.take() else {
            return;
        };
        let before = State::of(&chain);
        let Ok(tick) = chain.batch(encoded).cloned() else {
            return;
        };
        let after = State::of(&chain);
        follows(&before, &tick, &after);
        copies(&chain, &after);
        self.end.apply(&tick, &chain);
        self.chain = Some(chain);
    }

    /// The same process comes back and sends its state instead of resuming; perhaps a faulty one.
    fn resume(&mut self, choices: &mut Choices<'_>) {
        let Some(chain) = self.chain.take() else {
            return;
        };
        let mut again = Decoder::new();
        for mut part in chain.to_snapshot() {
            if choices.below(4) == 3 {
                spoil_snapshot(&mut part, choices);
            }
            let mut encoded = part.encode_to_vec();
            if choices.below(8) == 7 {
                flip(&mut encoded, choices);
            }
            let Ok(part) = wire::Snapshot::decode(encoded.as_slice()) else {
                return;
            };
            match again.snapshot(&part) {
                Ok(true) | Err(_) => return,
                Ok(false) => {}
            }
        }
        self.started(again, false);
    }

    /// Parts of a snapshot as raw bytes.
    fn raw_snapshot(&mut self, choices: &mut Choices<'_>) {
        self.chain = None;
        let mut chain = Decoder::new();
        for _ in 0..3 {
            let Ok(part) = wire::Snapshot::decode(choices.piece()) else {
                return;
            };
            match chain.snapshot(&part) {
                Err(_) => return,
                Ok(true) => {}
                Ok(false) => return self.started(chain, false),
            }
        }
    }

    fn new_process(&mut self, choices: &mut Choices<'_>) {
        let new_boot = choices.flag();
        self.session.instance += 1;
        if new_boot {
            self.session.boot_id = format!("boot-{}", self.session.instance);
        }
        let mut chain = Decoder::new();
        let empty = wire::Snapshot::default();
        assert_eq!(chain.snapshot(&empty), Ok(false));
        self.started(chain, new_boot);
    }

    fn started(&mut self, chain: Decoder, new_boot: bool) {
        let state = State::of(&chain);
        state.is_consistent();
        copies(&chain, &state);
        self.end.begin(&self.session, new_boot);
        self.end.restart(&chain);
        self.chain = Some(chain);
    }

    /// A batch that the chain so far allows.
    fn valid_batch(&self, choices: &mut Choices<'_>) -> wire::Batch {
        let empty = Decoder::new();
        let chain = self.chain.as_ref().unwrap_or(&empty);
        let state = State::of(chain);
        let step = [1, 1_000_000, 1_000_000, 1_000_000, 31_000_000, 100_000_000, 1 << 33, 1 << 45][choices.below(8)];
        let latest = state.live.values().filter_map(|live| live.last).map(|last| last.time.0).max();
        let time = state.time.0.max(latest.unwrap_or(0)).saturating_add(step);
        let mut batch = wire::Batch {
            sequence: state.sequence.saturating_add(1),
            time_us: time,
            wall_us: state.wall.saturating_add(step),
            ..wire::Batch::default()
        };
        let mut live: Vec<(u32, Option<Sample>)> = Vec::new();
        for (&series, held) in &state.live {
            if choices.below(8) == 7 {
                let reason = i32::from(choices.byte() & 3);
                batch.ended.push(wire::Farewell { series, reason });
            } else {
                live.push((series, held.last));
            }
        }
        let mut series = state.live.keys().max().copied().unwrap_or(0).max(state.highest);
        for _ in 0..choices.below(4) {
            series = series.saturating_add(1 + u32::from(choices.byte() & 1));
            let first = choices.flag().then(|| wire::FirstReading {
                time_us: time.saturating_sub(choices.number()),
                cpu_ns: u64::from(choices.byte()),
                working_set_4k: u64::from(choices.byte()),
            });
            let announcement = wire::Announcement {
                series,
                subject: Some(subject(choices)),
                inode: u64::from(choices.byte() & 3),
                first,
            };
            let last = Announcement::try_from(&announcement).ok().and_then(|announcement| announcement.first);
            live.push((series, last));
            batch.announced.push(announcement);
        }
        for (series, last) in live {
            if choices.below(8) == 7 {
                batch.skipped.push(series);
                continue;
            }
            batch.time_gap_us.push(u32::from(choices.byte()) + 1);
            batch.cpu_delta_ns.push(if choices.below(8) == 7 { choices.number() } else { u64::from(choices.byte()) });
            let before = last.map_or(0, |last| i64::from(last.working_set.units()));
            let now = if choices.below(8) == 7 { i64::from(choices.u32()) } else { i64::from(choices.byte()) };
            batch.working_set_delta_4k.push(now - before);
            if choices.below(4) == 3 {
                let field = i32::from(choices.byte() % 18);
                let mut column = wire::DetailColumn { field, ..wire::DetailColumn::default() };
                if choices.below(4) == 3 {
                    column.absent_gap.push(series);
                } else {
                    column.series_gap.push(series);
                    column.delta.push(choices.number().cast_signed());
                }
                batch.details.push(column);
            }
        }
        if choices.below(8) == 7 {
            let reason = i32::from(choices.byte() % 7);
            batch.omissions.push(wire::Omission { reason, count: choices.u32() });
        }
        batch
    }

    fn end(self) {
        let Behind { store, directory, names, shard, .. } = self.end;
        drop(shard);
        for node in store.forget(|_| true) {
            names.forgotten(&directory, &node);
        }
        assert_eq!(store.containers(), 0, "every place was given back");
        assert!(directory.nodes().is_empty() && directory.pods(None, |_| true).is_empty());
    }
}

/// One of few subjects, so that the same one comes again.
fn subject(choices: &mut Choices<'_>) -> WireSubject {
    const UIDS: [&str; 2] = ["2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11", "0123456789abcdef0123456789abcdef"];
    const PATHS: [&str; 6] =
        ["/a", "/system.slice/ssh.service", "/user.slice/user-1.slice/A\\x2db.scope", "/é/x y", "/-", "/A/a"];
    let (which, qos) = (usize::from(choices.byte() % 14), i32::from(choices.byte() % 5));
    let uid = UIDS[which % UIDS.len()].to_owned();
    match which {
        0 => WireSubject::Node(wire::NodeSubject {}),
        1 => WireSubject::Pod(wire::PodSubject { uid, qos }),
        2..=7 => {
            let container_id = char::from(b'a' + which as u8).to_string().repeat(64);
            WireSubject::Container(wire::ContainerSubject { pod_uid: uid, container_id, qos })
        }
        _ => WireSubject::Cgroup(wire::CgroupSubject { path: PATHS[which - 8].to_owned() }),
    }
}

/// One change to a batch.
fn spoil(batch: &mut wire::Batch, choices: &mut Choices<'_>) {
    fn entry<'a, T>(column: &'a mut [T], choices: &mut Choices<'_>) -> Option<&'a mut T> {
        let length = column.len().max(1);
        column.get_mut(choices.below(length))
    }
    let kind = choices.below(20);
    let number = choices.number();
    let small = number as u32;
    match kind {
        0 => batch.sequence = number,
        1 => batch.time_us = number,
        2 => batch.wall_us = number,
        3 => batch.time_gap_us.push(small),
        4 => batch.cpu_delta_ns.push(number),
        5 => batch.working_set_delta_4k.push(number.cast_signed()),
        6 => entry(&mut batch.time_gap_us, choices).map(|gap| *gap = small).unwrap_or_default(),
        7 => entry(&mut batch.cpu_delta_ns, choices).map(|delta| *delta = number).unwrap_or_default(),
        8 => {
            if let Some(delta) = entry(&mut batch.working_set_delta_4k, choices) {
                *delta = number.cast_signed();
            }
        }
        9 => batch.skipped.push(small),
        10 => batch.ended.push(wire::Farewell { series: small, reason: 1 }),
        11 => {
            if let Some(announcement) = entry(&mut batch.announced, choices) {
                announcement.series = small;
            }
        }
        12 => {
            if let Some(announcement) = entry(&mut batch.announced, choices) {
                let first = announcement.first.get_or_insert_default();
                match choices.below(3) {
                    0 => first.time_us = number,
                    1 => first.cpu_ns = number,
                    _ => first.working_set_4k = number,
                }
            }
        }
        13 => {
            let text = String::from_utf8_lossy(choices.piece()).into_owned();
            if let Some(announcement) = entry(&mut batch.announced, choices) {
                announcement.subject = Some(match choices.below(4) {
                    0 => WireSubject::Cgroup(wire::CgroupSubject { path: text }),
                    1 => WireSubject::Cgroup(wire::CgroupSubject { path: format!("/{text}") }),
                    2 => WireSubject::Pod(wire::PodSubject { uid: text, qos: 0 }),
                    _ => WireSubject::Container(wire::ContainerSubject {
                        pod_uid: "a".to_owned(),
                        container_id: text,
                        qos: 0,
                    }),
                });
            }
        }
        14 => {
            batch.announced.pop();
        }
        15 => {
            let again = batch.announced.clone();
            batch.announced.extend(again);
        }
        16 => batch.details.push(wire::DetailColumn {
            field: (small % 18).cast_signed(),
            series_gap: vec![1; choices.below(9)],
            delta: vec![number.cast_signed(); choices.below(9)],
            absent_gap: vec![small; choices.below(3)],
        }),
        17 => {
            if let Some(column) = entry(&mut batch.details, choices) {
                column.series_gap.push(small);
                column.delta.push(number.cast_signed());
            }
        }
        18 => batch.skipped.reverse(),
        _ => batch.time_gap_us.truncate(choices.below(4)),
    }
}

fn spoil_snapshot(part: &mut wire::Snapshot, choices: &mut Choices<'_>) {
    let number = choices.number();
    match choices.below(8) {
        0 => part.sequence = number,
        1 => part.time_us = number,
        2 => part.wall_us = number,
        3 => part.more = !part.more,
        4 => part.series.reverse(),
        5 => part.series.truncate(choices.below(4)),
        _ => {
            let at = choices.below(part.series.len().max(1));
            if let Some(state) = part.series.get_mut(at) {
                let last = state.last.get_or_insert_default();
                match choices.below(4) {
                    0 => last.time_us = number,
                    1 => last.cpu_ns = number,
                    2 => last.working_set_4k = number,
                    _ => state.last = None,
                }
            }
        }
    }
}

fn flip(encoded: &mut [u8], choices: &mut Choices<'_>) {
    let at = choices.u32() as usize % encoded.len().max(1);
    if let Some(byte) = encoded.get_mut(at) {
        *byte ^= choices.byte();
    }
}

/// What can be seen of a decoder.
#[derive(PartialEq, Debug)]
struct State {
    sequence: u64,
    time: BootTime,
    wall: u64,
    live: BTreeMap<u32, Live>,
    /// Highest number among the live, in the order they were given.
    highest: u32,
}

#[derive(PartialEq, Debug, Clone)]
struct Live {
    announcement: Announcement,
    last: Option<Sample>,
    details: Details,
}

impl State {
    fn of(chain: &Decoder) -> Self {
        let (time, wall) = chain.time();
        let listed: Vec<u32> = chain.live().map(|(announcement, ..)| announcement.series.0).collect();
        assert!(listed.is_sorted_by(|a, b| a < b), "live series ascend");
        let live = chain.live().map(|(announcement, last, details)| {
            let live = Live { announcement: announcement.clone(), last, details: *details };
            (announcement.series.0, live)
        });
        Self {
            sequence: chain.sequence(),
            time,
            wall: wall.0,
            live: live.collect(),
            highest: listed.last().copied().unwrap_or(0),
        }
    }

    fn is_consistent(&self) {
        assert!(self.live.len() <= MAX_SERIES && !self.live.contains_key(&0));
    }
}

/// What the contract says about a batch that was accepted.
fn follows(before: &State, tick: &Tick, after: &State) {
    after.is_consistent();
    assert_eq!((tick.sequence, tick.time, tick.wall.0), (after.sequence, after.time, after.wall));
    assert_eq!(before.sequence.checked_add(1), Some(tick.sequence));
    assert!(tick.time > before.time && tick.wall.0 > before.wall, "both clocks go on");
    let mut expected = before.live.clone();
    for farewell in &tick.ended {
        assert!(expected.remove(&farewell.series.0).is_some(), "only the live end, and once");
    }
    for announcement in &tick.announced {
        let live = Live {
            announcement: announcement.clone(),
            last: announcement.first,
            details: Details::default(),
        };
        assert!(announcement.first.is_none_or(|first| first.time <= tick.time), "read before this tick");
        assert!(announcement.series.0 > before.highest);
        assert!(expected.insert(announcement.series.0, live).is_none(), "a number is used once");
    }
    assert!(tick.samples.is_sorted_by(|(a, first), (b, second)| a < b && first.time <= second.time));
    for (series, sample) in &tick.samples {
        let held = expected.get_mut(&series.0).expect("only the live have samples");
        assert!(sample.time >= tick.time);
        if let Some(last) = held.last.replace(*sample) {
            assert!(sample.time > last.time, "times strictly increase");
            assert!(sample.cpu >= last.cpu, "CPU never decreases");
        }
    }
    for &(series, detail, value) in &tick.details {
        expected.get_mut(&series.0).expect("only the live have details").details.set(detail, value);
    }
    assert_eq!(expected, after.live, "the live are those before, less the ended, with the announced");
}

/// A snapshot of a decoder makes another one in the same state.
fn copies(chain: &Decoder, state: &State) {
    let mut copy = Decoder::new();
    let mut more = true;
    for part in chain.to_snapshot() {
        assert!(more, "a part after the last");
        let part = wire::Snapshot::decode(part.encode_to_vec().as_slice()).expect("encoded a moment ago");
        more = copy.snapshot(&part).expect("a decoder's own state is accepted");
    }
    assert!(!more);
    assert_eq!(&State::of(&copy), state);
}

/// Store, names and view, with what they were told.
struct Behind {
    store: Arc<Store>,
    shard: Arc<Shard>,
    directory: Arc<Directory>,
    names: Names,
    view: View,
    room: usize,
    first: bool,
    now: Instant,
    /// Every counter named in this boot.
    known: HashMap<CounterRef, Told>,
}

#[derive(Default)]
struct Told {
    /// The series announced last; of two live ones with the same subject it counts.
    series: u32,
    offered: HashSet<(u64, u64, u32)>,
    newest: Option<BootTime>,
    live: bool,
    ended: Option<BootTime>,
}

impl Behind {
    fn new(choices: &mut Choices<'_>) -> Self {
        // Usually there is room for all subjects.
        let room = if choices.below(4) == 3 { 1 + choices.below(4) } else { 1000 };
        let limits = Limits { containers: room, nodes: 1, kept: Duration::from_secs(8) };
        let store = Arc::new(Store::new(limits));
        let shard = store.shard_or_new(NODE).expect("the first node");
        assert!(store.shard_or_new("n2").is_none(), "one too many");
        let directory = Arc::new(Directory::default());
        let rules = Rules {
            window: Duration::from_secs(4),
            shortest: Duration::from_millis(250),
            after_ready: Duration::from_secs(2),
            hold: Duration::from_secs(10),
            stale: Duration::from_secs(30),
        };
        let view = View {
            store: Arc::clone(&store),
            directory: Arc::clone(&directory),
            rules,
            served: Served::default(),
        };
        let names = Names::Paths(PathNames::new(choices.flag()));
        Self { store, shard, directory, names, view, room, first: true, now: Instant::now(), known: HashMap::new() }
    }

    fn begin(&mut self, session: &Session, new_boot: bool) {
        if new_boot {
            self.known.clear();
        }
        let (generation, chain) = self.shard.write().begin(session.clone());
        assert!(chain.is_none(), "no stream left one");
        assert!(self.shard.read().is_in_charge(generation));
        self.first = true;
    }

    fn restart(&mut self, chain: &Decoder) {
        let mut offered: HashSet<CounterRef> = HashSet::new();
        for told in self.known.values_mut() {
            told.series = 0;
        }
        for (announcement, last, _) in chain.live() {
            if let Some(counter) = self.offer(announcement, announcement.first) {
                self.offer(announcement, last);
                offered.insert(counter);
            }
        }
        let applied = self.shard.write().restart(chain, self.now);
        self.check(None, chain, &offered, applied);
    }

    fn apply(&mut self, tick: &Tick, chain: &Decoder) {
        let mut announced: HashSet<CounterRef> = HashSet::new();
        for announcement in &tick.announced {
            announced.extend(self.offer(announcement, announcement.first));
        }
        let live: HashMap<_, _> = chain.live().map(|(announcement, ..)| (announcement.series, announcement)).collect();
        for (series, sample) in &tick.samples {
            self.offer(live[series], Some(*sample));
        }
        self.now += Duration::from_secs(1);
        let applied = self.shard.write().apply(tick, self.now);
        self.names.ticked(&self.directory, NODE, tick, chain, self.first);
        self.first = false;
        self.check(Some(tick), chain, &announced, applied);
        self.look();
    }

    fn offer(&mut self, announcement: &Announcement, sample: Option<Sample>) -> Option<CounterRef> {
        let counter = counter(&announcement.subject)?;
        let told = self.known.entry(counter.clone()).or_default();
        told.series = told.series.max(announcement.series.0);
        told.offered.extend(sample.map(plain));
        Some(counter)
    }

    /// What is kept was told, in order; what is live is kept; what ended is kept for as long as was promised.
    fn check(&mut self, tick: Option<&Tick>, chain: &Decoder, announced: &HashSet<CounterRef>, applied: Applied) {
        let state = self.shard.read();
        let mut kept = 0;
        for (counter, told) in &mut self.known {
            let ring = state.ring(counter);
            kept += usize::from(ring.is_some());
            let held: Vec<Sample> = ring.map(|ring| (0..ring.len()).filter_map(|nth| ring.get(nth)).collect()).unwrap_or_default();
            assert!(held.is_sorted_by(|a, b| a.time < b.time && a.cpu <= b.cpu), "a ring ascends");
            assert!(held.iter().all(|&sample| told.offered.contains(&plain(sample))), "a sample nobody sent");
            let newest = held.last().map(|sample| sample.time);
            if let (Some(before), Some(newest)) = (told.newest, newest) {
                assert!(newest >= before || announced.contains(counter), "a ring goes back in time");
            }
            told.newest = newest;
            let was_live = std::mem::replace(&mut told.live, state.is_live(counter));
            assert!(!told.live || ring.is_some());
            let Some(tick) = tick else { continue };
            if told.live {
                told.ended = None;
            } else if was_live {
                told.ended = Some(tick.time);
            }
            match (told.ended, ring) {
                (Some(ended), Some(_)) => assert!(tick.time.since(ended) <= KEEP_ENDED, "kept too long"),
                (Some(ended), None) => {
                    let full = announced.contains(counter) && applied.refused_containers > 0;
                    assert!(tick.time.since(ended) > KEEP_ENDED || full, "forgotten too early");
                    told.ended = None;
                }
                (None, _) => {}
            }
        }
        assert_eq!(self.store.containers(), kept, "each ring has one place");
        assert!(kept <= self.room);
        let live: HashSet<CounterRef> = chain
            .live()
            .filter_map(|(announcement, ..)| Some((announcement.series.0, counter(&announcement.subject)?)))
            .filter(|(series, counter)| self.known[counter].series == *series)
            .map(|(_, counter)| counter)
            .collect();
        if self.room >= self.known.len() {
            assert_eq!(applied.refused_containers, 0, "there is room");
            for counter in &live {
                assert!(state.is_live(counter), "{counter:?} is announced and has not ended");
            }
        }
        if tick.is_some() {
            for counter in self.known.keys() {
                assert!(!state.is_live(counter) || live.contains(counter), "{counter:?} has ended");
            }
        }
        for edge in [0, 1, u64::MAX] {
            let _ = (state.wall(BootTime(edge)), state.boot(state.wall(BootTime(edge))));
        }
        let _ = state.now(self.now + Duration::from_secs(3600));
    }

    /// Everything that would be served.
    fn look(&self) {
        self.view.nodes(&|_| true, &mut |node| assert!(!node.window.is_zero()));
        self.view.pods(None, &|_| true, &mut |pod| {
            assert!(!pod.containers.is_empty() && !pod.window.is_zero());
        });
        for pod in self.directory.pods(None, |_| true) {
            assert!(!pod.containers.is_empty(), "a pod without containers");
            for value in pod.labels.iter().map(|(_, value)| value) {
                assert!(value.len() <= 63, "{value}");
            }
        }
    }
}

fn counter(subject: &Subject) -> Option<CounterRef> {
    match subject {
        Subject::Node => Some(CounterRef::Node),
        Subject::Pod { .. } => None,
        Subject::Container { id, .. } => Some(CounterRef::Container(id.clone())),
        Subject::Cgroup { path } => Some(CounterRef::Cgroup(path.clone())),
    }
}

fn plain(sample: Sample) -> (u64, u64, u32) {
    (sample.time.0, sample.cpu.0, sample.working_set.units())
}
