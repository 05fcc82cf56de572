//! Tells an agent who its series are: each once, when it is known, and again only if it changes.
//!
//! Nothing waits in a queue: what was not told yet is found by looking at the live series, so an agent that does not
//! read costs nothing. A look is made when something was announced or a pod of the node changed, not at every tick; and
//! not at every change, when a minute of ticks is replayed while the pods of a whole cluster are read.

use std::{
    collections::{BTreeMap, HashMap},
    hash::BuildHasher as _,
    time::{Duration, Instant},
};

use foldhash::fast::{FixedState, RandomState};
use kubevitals::{
    chain::{Decoder, Tick},
    limits::IDENTITY_PART,
    sample::{SeriesId, Subject},
    wire,
};
use tokio::sync::watch;

use super::placement::{LastPod, uid};
use crate::directory::{Directory, PodRecord, Uid, Whose};

/// Between two looks, unless not all could be told at the first: half of the usual tick, so that each one may bring news.
const REST: Duration = Duration::from_millis(500);

/// What one agent was told.
#[derive(Debug)]
pub(super) struct Herald {
    changes: watch::Receiver<()>,
    /// A digest of the names told, by series.
    told: HashMap<SeriesId, u32, RandomState>,
    /// Something may have to be told.
    is_due: bool,
    looked: Option<Instant>,
}

/// A message and what it will have told.
#[derive(Debug)]
pub(super) struct News {
    pub(super) identity: wire::Identity,
    digests: Vec<(SeriesId, u32)>,
    is_all: bool,
}

impl News {
    /// How many series are named in it.
    pub(super) fn series(&self) -> u64 {
        u64::try_from(self.digests.len()).unwrap_or(u64::MAX)
    }
}

impl Herald {
    /// Nothing was told yet.
    pub(super) fn new(directory: &Directory, node: &str) -> Self {
        Self { changes: directory.follow(node), told: HashMap::default(), is_due: true, looked: None }
    }

    /// What there is to tell after a tick; at most one message.
    pub(super) fn news(
        &mut self,
        directory: &Directory,
        node: &str,
        tick: &Tick,
        chain: &Decoder,
        now: Instant,
    ) -> Option<News> {
        for farewell in &tick.ended {
            self.told.remove(&farewell.series);
        }
        if self.changes.has_changed().unwrap_or(false) {
            self.changes.mark_unchanged();
            self.is_due = true;
        }
        self.is_due |= !tick.announced.is_empty();
        let rests = self.looked.is_some_and(|looked| now.saturating_duration_since(looked) < REST);
        if !self.is_due || rests {
            return None;
        }
        let news = self.look(directory, node, chain);
        self.is_due = !news.is_all;
        self.looked = Some(now).filter(|_| news.is_all);
        Some(news).filter(|news| !news.digests.is_empty())
    }

    /// The message was handed on.
    pub(super) fn told(&mut self, news: &News) {
        self.told.extend(news.digests.iter().copied());
    }

    /// The message could not be handed on; it is made anew after the next tick.
    pub(super) fn not_told(&mut self) {
        (self.is_due, self.looked) = (true, None);
    }

    fn look(&self, directory: &Directory, node: &str, chain: &Decoder) -> News {
        let mut pods: BTreeMap<Uid, wire::PodIdentity> = BTreeMap::new();
        let (mut digests, mut is_all) = (Vec::new(), true);
        let mut last = LastPod::default();
        for announcement in chain.announcements() {
            let Some(uid) = uid(&announcement.subject) else { continue };
            let Whose::Own(record) = last.whose(directory, node, uid) else { continue };
            let Some(container) = container(record, &announcement.subject) else { continue };
            let digest = digest(record, container);
            if self.told.get(&announcement.series) == Some(&digest) {
                continue;
            }
            if pods.len() >= IDENTITY_PART && !pods.contains_key(&record.uid) {
                is_all = false;
                continue;
            }
            let pod = pods.entry(record.uid.clone()).or_insert_with(|| pod_identity(record, uid.as_str()));
            let container = container.to_owned();
            pod.series.push(wire::SeriesIdentity { series: announcement.series.0, container });
            digests.push((announcement.series, digest));
        }
        News { identity: wire::Identity { pods: pods.into_values().collect() }, digests, is_all }
    }
}

/// The name of the pod's container that a subject is, empty when it is the pod itself; `None` when it is not known.
fn container<'a>(record: &'a PodRecord, subject: &Subject) -> Option<&'a str> {
    match subject {
        Subject::Container { id, .. } => record.known_container(id).map(|container| container.name.as_ref()),
        Subject::Pod { .. } => Some(""),
        Subject::Node | Subject::Cgroup { .. } | Subject::Unknown => None,
    }
}

fn pod_identity(record: &PodRecord, announced: &str) -> wire::PodIdentity {
    let uid = if record.uid == *announced { String::new() } else { record.uid.to_string() };
    wire::PodIdentity {
        namespace: record.namespace.to_string(),
        name: record.name.to_string(),
        uid,
        series: Vec::new(),
    }
}

/// Of all that is told. A collision leaves one series with its former names, of four billion.
fn digest(record: &PodRecord, container: &str) -> u32 {
    let digest = FixedState::default().hash_one((&record.namespace, &record.name, &record.uid, container));
    u32::try_from(digest & u64::from(u32::MAX)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use kubevitals::{
        chain::{Announcement, Encoder},
        sample::{BootTime, PodUid, WallTime},
    };

    use super::*;

    fn put(directory: &Directory, name: &str) {
        let record = PodRecord::bare("a", name, "aa", "n1");
        directory.put_pod(record);
    }

    #[test]
    fn changes_in_quick_succession_are_told_with_the_last_of_them() {
        let (mut encoder, mut chain) = (Encoder::default(), Decoder::new());
        encoder.begin(BootTime(1000), WallTime(1000));
        let subject = Subject::Pod { uid: PodUid::new("aa").unwrap(), qos: None };
        encoder.announce(&Announcement { series: SeriesId(1), subject, inode: 1, first: None, birth: None });
        let tick = chain.batch(&encoder.finish().1).unwrap().clone();
        let (directory, begin) = (Directory::default(), Instant::now());
        put(&directory, "first");
        let mut herald = Herald::new(&directory, "n1");
        let mut told = |at: Duration| {
            let news = herald.news(&directory, "n1", &tick, &chain, begin + at)?;
            herald.told(&news);
            news.identity.pods.first().map(|pod| pod.name.clone())
        };
        assert_eq!(told(Duration::ZERO).as_deref(), Some("first"));
        for name in ["second", "third"] {
            put(&directory, name);
            assert_eq!(told(REST / 2), None);
        }
        assert_eq!(told(REST).as_deref(), Some("third"));
        assert_eq!(told(REST * 3), None, "nothing is new");
    }
}
