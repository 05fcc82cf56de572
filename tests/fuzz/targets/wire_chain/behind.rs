//! Store, names and view behind the decoder, and what must hold there.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    sample::{BootTime, Sample, Subject},
};
use kubevitals_aggregator::{
    api::{
        select::{FieldSelector, LabelSelector},
        source::{NodeSelection, PodSelection, Source as _},
    },
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

const NODE: &str = "n1";

/// Store, names and view, with what they were told.
pub struct Behind {
    store: Arc<Store>,
    shard: Arc<Shard>,
    directory: Arc<Directory>,
    names: Names,
    view: View,
    room: usize,
    first: bool,
    /// A snapshot came, and since then no tick newer than the last one stored.
    joining: bool,
    /// The stream that is open, or was last.
    generation: u64,
    /// Boot, process and interval of who opened it.
    speaker: Option<(String, u64, Duration)>,
    newest_sequence: u64,
    streaming: bool,
    last_tick: BootTime,
    /// When the last tick came, once the node may be seen.
    received: Option<Instant>,
    now: Instant,
    /// Every counter named in this boot.
    known: HashMap<CounterRef, Told>,
}

#[derive(Default)]
struct Told {
    /// The series announced last; of two live ones with the same subject it counts.
    series: u32,
    inode: u64,
    offered: HashSet<(u64, u64, u32)>,
    newest: Option<BootTime>,
    live: bool,
    ended: Option<BootTime>,
}

impl Behind {
    pub fn new(choices: &mut Choices<'_>) -> Self {
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
        Self {
            store,
            shard,
            directory,
            names,
            view,
            room,
            first: true,
            joining: false,
            generation: 0,
            speaker: None,
            newest_sequence: 0,
            streaming: false,
            last_tick: BootTime(0),
            received: None,
            now: Instant::now(),
            known: HashMap::new(),
        }
    }

    /// A stream begins, some time after the last tick.
    pub fn begin(&mut self, session: &Session, new_boot: bool, silence: Duration) {
        let speaker = (session.boot_id.clone(), session.instance, session.interval);
        self.now += silence;
        let silent = self.received.map(|received| self.now - received);
        assert_eq!(self.shard.read().silent_for(self.now), silent);
        let is_lively = silent.is_some_and(|silent| silent * 2 < session.interval * 3);
        let is_duplicate = self.streaming && is_lively && self.speaker.as_ref() == Some(&speaker);
        let mut begun = self.shard.write().begin(session.clone(), self.now);
        assert_eq!(begun.is_none(), is_duplicate, "the same process streams already, or not");
        if is_duplicate {
            assert!(self.shard.read().is_in_charge(self.generation), "nothing has changed");
            self.end();
            begun = self.shard.write().begin(session.clone(), self.now);
        }
        let (generation, chain) = begun.expect("no other stream");
        assert!(chain.is_none(), "no stream left one");
        // Whoever spoke before has nothing to say any more.
        self.shard.write().end(self.generation, Some(Decoder::new()));
        let state = self.shard.read();
        assert!(generation > self.generation && state.is_in_charge(generation) && state.is_streaming());
        drop(state);
        self.generation = generation;
        self.speaker = Some(speaker);
        self.newest_sequence = session.newest_sequence;
        self.streaming = true;
        if new_boot {
            self.known.clear();
            self.last_tick = BootTime(0);
            self.received = None;
        }
        assert_eq!(self.shard.read().last_tick(), self.last_tick);
    }

    /// The stream ends and leaves no chain.
    pub fn end(&mut self) {
        self.shard.write().end(self.generation, None);
        self.streaming = false;
        assert!(!self.shard.read().is_streaming());
    }

    /// A snapshot is complete; the next tick that is news joins it to the store.
    pub fn snapshot(&mut self) {
        self.joining = true;
        self.first = true;
    }

    fn restart(&mut self, chain: &Decoder) -> Vec<(CounterRef, Sample)> {
        let mut offered: HashSet<CounterRef> = HashSet::new();
        let going_on = self.going_on(chain);
        for told in self.known.values_mut() {
            told.series = 0;
        }
        for (announcement, last, _) in chain.live() {
            offered.extend(self.offer(&announcement, last));
        }
        let applied = self.shard.write().restart(chain);
        self.check(None, chain, &offered, applied);
        going_on
    }

    /// What the chain announces anew and the store has already: the newest sample of each.
    fn going_on(&self, chain: &Decoder) -> Vec<(CounterRef, Sample)> {
        let state = self.shard.read();
        let named: Vec<_> = chain
            .live()
            .filter_map(|(announcement, last, _)| Some((counter(&announcement.subject)?, announcement, last)))
            .collect();
        let mut out = Vec::new();
        for (counter, announcement, last) in &named {
            let once = named.iter().filter(|(other, ..)| other == counter).count() == 1;
            let newest = state.ring(counter).and_then(|ring| ring.newest());
            if let (Some(newest), Some(told)) = (newest, self.known.get(counter))
                && (once && state.is_live(counter) && told.inode == announcement.inode)
                && last.is_none_or(|last| last.time <= newest.time || last.cpu >= newest.cpu)
            {
                out.push((counter.clone(), newest));
            }
        }
        out
    }

    /// As the service does it: a replay of what is stored changes nothing.
    pub fn apply(&mut self, tick: &Tick, chain: &Decoder) {
        self.now += Duration::from_secs(1);
        let mut going_on = Vec::new();
        if self.joining {
            if tick.time <= self.last_tick {
                return;
            }
            self.joining = false;
            going_on = self.restart(chain);
        }
        assert!(tick.time > self.last_tick, "a tick that is stored already");
        let mut announced: HashSet<CounterRef> = HashSet::new();
        for announcement in &tick.announced {
            announced.extend(self.offer(announcement, announcement.first));
        }
        let live: HashMap<_, _> =
            chain.live().map(|(announcement, ..)| (announcement.series, announcement)).collect();
        for (series, sample) in &tick.samples {
            self.offer(&live[series], Some(*sample));
        }
        let applied = self.shard.write().apply(tick, self.now);
        self.last_tick = tick.time;
        if self.received.is_some() || tick.sequence >= self.newest_sequence {
            self.received = Some(self.now);
        }
        self.names.ticked(&self.directory, NODE, tick, chain, self.first);
        self.first = false;
        self.check(Some(tick), chain, &announced, applied);
        for (counter, before) in going_on {
            let state = self.shard.read();
            let ring = state.ring(&counter).expect("it is announced");
            // A ring spans no more than its times can tell apart.
            let is_old =
                ring.newest().is_some_and(|newest| newest.time.0 - before.time.0 > u64::from(u32::MAX));
            let is_held = (0..ring.len()).filter_map(|nth| ring.get(nth)).any(|held| held == before);
            assert!(is_held || is_old, "{counter:?} goes on, and lost what it had");
        }
        self.look();
    }

    /// At the end everything can be forgotten.
    pub fn forget(self) {
        drop(self.shard);
        for node in self.store.forget(|_| true) {
            self.names.forgotten(&self.directory, &node);
        }
        assert_eq!(self.store.containers(), 0, "every place was given back");
        assert!(self.directory.nodes().is_empty() && self.directory.pods(|_| true).is_empty());
    }

    fn offer(&mut self, announcement: &Announcement, sample: Option<Sample>) -> Option<CounterRef> {
        let counter = counter(&announcement.subject)?;
        let told = self.known.entry(counter.clone()).or_default();
        if announcement.series.0 >= told.series {
            (told.series, told.inode) = (announcement.series.0, announcement.inode);
        }
        told.offered.extend(sample.map(plain));
        Some(counter)
    }

    /// What is kept was told, in order; what is live is kept; what ended is kept for as long as was promised.
    fn check(
        &mut self,
        tick: Option<&Tick>,
        chain: &Decoder,
        announced: &HashSet<CounterRef>,
        applied: Applied,
    ) {
        let state = self.shard.read();
        let mut kept = 0;
        for (counter, told) in &mut self.known {
            let ring = state.ring(counter);
            // The node itself takes no place.
            kept += usize::from(ring.is_some() && *counter != CounterRef::Node);
            let held: Vec<Sample> = ring
                .map(|ring| (0..ring.len()).filter_map(|nth| ring.get(nth)).collect())
                .unwrap_or_default();
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
            if kept < self.room {
                for counter in &live {
                    assert!(state.is_live(counter), "{counter:?} was refused, and now there is room");
                }
            }
            assert_eq!(
                (state.last_tick(), state.silent_for(self.now)),
                (self.last_tick, self.received.map(|received| self.now - received))
            );
        }
        for edge in [0, 1, u64::MAX] {
            let _ = (state.wall(BootTime(edge)), state.boot(state.wall(BootTime(edge))));
        }
        let _ = state.now(self.now + Duration::from_secs(3600));
    }

    /// Everything that would be served.
    fn look(&self) {
        let (labels, fields) = (&LabelSelector::default(), &FieldSelector::default());
        self.view.nodes(&NodeSelection { labels, fields }, None, &mut |node| {
            assert!(!node.window.is_zero());
            ControlFlow::Continue(())
        });
        let (wanted, mut after) = (PodSelection { namespace: None, labels, fields }, None);
        while let Some(place) = self.view.pods(&wanted, after.as_ref(), &mut |pod| {
            assert!(!pod.usages.is_empty() && !pod.window.is_zero());
            assert_eq!(pod.containers().len(), pod.usages.len(), "a number for each container");
            ControlFlow::Continue(())
        }) {
            after = Some(place);
        }
        for pod in self.directory.pods(|_| true) {
            assert!(!pod.containers.is_empty(), "a pod without containers");
            if let Some((containers, until)) = pod.previous.as_deref() {
                assert!(!containers.is_empty() && *until < self.last_tick, "a former set is former");
            }
            for value in pod.labels.iter().map(|(_, value)| value) {
                assert!(value.len() <= 63, "{value}");
            }
        }
    }
}

fn counter(subject: &Subject) -> Option<CounterRef> {
    match subject {
        Subject::Node => Some(CounterRef::Node),
        Subject::Pod { .. } | Subject::Unknown => None,
        Subject::Container { id, .. } => Some(CounterRef::Container(id.clone())),
        Subject::Cgroup { path } => Some(CounterRef::Cgroup(path.clone())),
    }
}

fn plain(sample: Sample) -> (u64, u64, u32) {
    (sample.time.0, sample.cpu.0, sample.working_set.units())
}
