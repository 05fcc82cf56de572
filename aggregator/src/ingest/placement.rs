//! What of an agent's series is left out: pods of other nodes, which are refused, and sandboxes (see `sandbox`).
//!
//! To which node a pod is bound is the API's to say, and never changes while the pod lives. So an announcement whose
//! pod is known to be another node's is false whenever it comes, and its series is left out. A pod that is not known is
//! kept quietly: agents see pods before the watch tells of them, and after. Both verdicts are looked at again, because
//! what is known changes. Nothing of a foreign pod could be served anyway, as the view asks only the node a pod is bound
//! to; the refusal keeps it out of memory and makes it seen.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    sample::{PodUid, SeriesId, Subject},
};
use tokio::sync::watch;

use super::sandbox::Lodgers;
use crate::directory::{Directory, Whose};

/// All live series are looked at again after this long, if something about them may have become known: a new pod's sandbox, or
/// that a pod is another node's.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Between two looks that only sandboxes are the reason for: while the pods of a cluster are read, each page changes pods of
/// nearly every node.
const REST: Duration = Duration::from_secs(5);

/// What one stream may not speak of.
#[derive(Debug)]
pub(super) struct Placement {
    changes: watch::Receiver<()>,
    looked: Instant,
    /// Every live series is known to be of a pod of this node, and stays it until one of those changes. What is another node's is so
    /// because of that node's pods, whose changes are not told here.
    is_settled: bool,
    refused: BTreeSet<SeriesId>,
    /// Of which nothing is needed.
    sandboxes: BTreeSet<SeriesId>,
}

/// A refused announcement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) series: SeriesId,
    pub(super) uid: PodUid,
    /// Whose it is.
    pub(super) node: Arc<str>,
}

impl Foreign {
    fn of(announcement: &Announcement, node: Arc<str>) -> Option<Self> {
        Some(Self { series: announcement.series, uid: uid(&announcement.subject)?.clone(), node })
    }
}

impl Placement {
    pub(super) fn new(directory: &Directory, node: &str, now: Instant) -> Self {
        Self {
            changes: directory.follow(node),
            looked: now,
            is_settled: false,
            refused: BTreeSet::new(),
            sandboxes: BTreeSet::new(),
        }
    }

    /// Whether this series may not be announced here.
    pub(super) fn is_refused(&self, series: SeriesId) -> bool {
        self.refused.contains(&series)
    }

    /// Whether the samples of this series are left out.
    pub(super) fn is_left_out(&self, series: SeriesId) -> bool {
        self.is_refused(series) || self.sandboxes.contains(&series)
    }

    /// Judges what a tick announces.
    pub(super) fn judge(&mut self, directory: &Directory, node: &str, tick: &Tick) -> Vec<Foreign> {
        for farewell in &tick.ended {
            self.refused.remove(&farewell.series);
            self.sandboxes.remove(&farewell.series);
        }
        let foreign = tick.announced.iter().filter_map(|announced| foreign(directory, node, announced));
        let foreign: Vec<Foreign> = foreign.collect();
        self.refused.extend(foreign.iter().map(|foreign| foreign.series));
        self.is_settled &= tick.announced.is_empty();
        foreign
    }

    /// Whether it is time to look at everything.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let changed = self.changes.has_changed().unwrap_or(false);
        let rested = now.saturating_duration_since(self.looked);
        // Only what is left out is urgent, since a change may clear it. Sandboxes nearly always are, and never are cleared.
        let is_cleared = !self.refused.is_empty() || !self.sandboxes.is_empty() && rested >= REST;
        let due = changed && is_cleared || rested >= LOOK_AGAIN && (changed || !self.is_settled);
        if due {
            self.changes.mark_unchanged();
        }
        due
    }

    /// Judges every live series anew. Returns those that are refused from now on.
    pub(super) fn judge_all(
        &mut self,
        directory: &Directory,
        node: &str,
        chain: &Decoder,
        now: Instant,
    ) -> Vec<Foreign> {
        (self.looked, self.is_settled) = (now, true);
        let held = std::mem::take(&mut self.refused);
        let (mut news, mut lodgers) = (Vec::new(), Lodgers::default());
        let mut pods = LastPod::default();
        for announcement in chain.announcements() {
            let Some(uid) = uid(&announcement.subject) else { continue };
            match pods.whose(directory, node, uid) {
                Whose::Foreign(node) => {
                    self.is_settled = false;
                    self.refused.insert(announcement.series);
                    if !held.contains(&announcement.series) {
                        news.extend(Foreign::of(&announcement, Arc::clone(node)));
                    }
                }
                Whose::Own(pod) => lodgers.add(&announcement, pod),
                Whose::Unknown => self.is_settled = false,
            }
        }
        self.sandboxes = lodgers.sandboxes();
        news
    }
}

/// Whose the pod of the series before is: those of a pod mostly follow each other.
#[derive(Debug, Default)]
pub(super) struct LastPod(Option<(PodUid, Whose)>);

impl LastPod {
    /// Whose pod it is that a node announces as `uid`.
    pub(super) fn whose(&mut self, directory: &Directory, node: &str, uid: &PodUid) -> &Whose {
        let last = self.0.take().filter(|(last, _)| last == uid);
        &self.0.insert(last.unwrap_or_else(|| (uid.clone(), directory.whose(&uid.as_str().into(), node)))).1
    }
}

/// Of which pod it is, if of any.
pub(super) fn uid(subject: &Subject) -> Option<&PodUid> {
    match subject {
        Subject::Pod { uid, .. } | Subject::Container { pod: uid, .. } => Some(uid),
        Subject::Node | Subject::Cgroup { .. } | Subject::Unknown => None,
    }
}

/// Whether an announcement is of another node's pod.
fn foreign(directory: &Directory, node: &str, announcement: &Announcement) -> Option<Foreign> {
    match directory.whose(&uid(&announcement.subject)?.as_str().into(), node) {
        Whose::Foreign(node) => Foreign::of(announcement, node),
        Whose::Own(_) | Whose::Unknown => None,
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::{
        chain::Encoder,
        sample::{BootTime, ContainerId, CpuTime, Sample, WallTime, WorkingSet},
    };

    use super::*;
    use crate::{
        directory::{ContainerRecord, PodRecord},
        store::node::CounterRef,
    };

    fn put(directory: &Directory, uid: &str, node: &str, mirror_of: Option<&str>) {
        let record = PodRecord::bare("a", uid, uid, node);
        directory.put_pod_of(record, mirror_of.map(Into::into));
    }

    /// A chain with a container of the pod `aa` as series 1, and the tick that announced it.
    fn announced() -> (Decoder, Tick) {
        let (mut encoder, mut chain) = (Encoder::default(), Decoder::new());
        encoder.begin(BootTime(1000), WallTime(1000));
        let (pod, id) = (PodUid::new("aa").unwrap(), ContainerId::new("c1").unwrap());
        let subject = Subject::Container { pod, id, qos: None };
        encoder.announce(&Announcement { series: SeriesId(1), subject, inode: 1, first: None, birth: None });
        let working_set = WorkingSet::from_units(1);
        encoder.sample(Sample { time: BootTime(1001), cpu: CpuTime(1), working_set }, None);
        let tick = chain.batch(&encoder.finish().1).unwrap().clone();
        (chain, tick)
    }

    #[test]
    fn a_pod_that_becomes_known_as_another_nodes_is_refused_then() {
        let (directory, now) = (Directory::default(), Instant::now());
        let (chain, tick) = announced();
        let mut placement = Placement::new(&directory, "n1", now);
        assert_eq!(placement.judge(&directory, "n1", &tick), [], "it may be new");
        put(&directory, "aa", "n2", None);
        assert!(!placement.is_due(now) && placement.is_due(now + LOOK_AGAIN));
        let refused = placement.judge_all(&directory, "n1", &chain, now);
        assert_eq!(refused.len(), 1);
        assert_eq!(refused[0].node.as_ref(), "n2");
        assert!(placement.is_refused(SeriesId(1)));
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), [], "said once");
    }

    #[test]
    fn what_is_known_whole_is_looked_at_again_when_something_is_announced_or_changes() {
        let (directory, now) = (Directory::default(), Instant::now());
        let (chain, tick) = announced();
        let later = now + LOOK_AGAIN;
        let mut placement = Placement::new(&directory, "n1", now);
        placement.judge_all(&directory, "n1", &chain, now);
        assert!(placement.is_due(later), "the pod is not known");
        put(&directory, "aa", "n1", None);
        placement.judge_all(&directory, "n1", &chain, now);
        assert!(placement.is_due(later), "a pod of the node changed");
        assert!(!placement.is_due(later), "and nothing since");
        placement.judge(&directory, "n1", &Tick { announced: Vec::new(), ..tick.clone() });
        assert!(!placement.is_due(later));
        placement.judge(&directory, "n1", &tick);
        assert!(placement.is_due(later), "what was announced may be of a pod that is not known");
    }

    #[test]
    fn what_is_another_nodes_is_looked_at_again_though_nothing_changes_here() {
        let (directory, now) = (Directory::default(), Instant::now());
        let (chain, _) = announced();
        put(&directory, "aa", "n2", None);
        put(&directory, "m1", "n1", Some("aa"));
        let mut placement = Placement::new(&directory, "n1", now);
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now).len(), 1);
        directory.remove_pod("a", "aa", &"aa".into());
        assert!(placement.is_due(now + LOOK_AGAIN));
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), []);
        assert!(!placement.is_refused(SeriesId(1)), "it is the static pod of this node now");
        assert!(!placement.is_due(now + LOOK_AGAIN));
    }

    #[test]
    fn a_static_pod_whose_mirror_comes_late_is_cleared_as_soon_as_it_does() {
        let (directory, now) = (Directory::default(), Instant::now());
        let (chain, tick) = announced();
        put(&directory, "m2", "n2", Some("aa"));
        let mut placement = Placement::new(&directory, "n1", now);
        assert_eq!(placement.judge(&directory, "n1", &tick).len(), 1);
        put(&directory, "m1", "n1", Some("aa"));
        assert!(placement.is_due(now), "a pod of this node changed");
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), []);
        assert!(!placement.is_refused(SeriesId(1)));
    }

    #[test]
    fn a_sandbox_is_left_out_once_its_pods_containers_are_known_and_is_no_fault() {
        let (directory, now) = (Directory::default(), Instant::now());
        let (mut encoder, mut chain) = (Encoder::default(), Decoder::new());
        encoder.begin(BootTime(1000), WallTime(1000));
        for (series, id) in [(1, "sandbox"), (2, "c1")] {
            let (pod, id) = (PodUid::new("aa").unwrap(), ContainerId::new(id).unwrap());
            let subject = Subject::Container { pod, id, qos: None };
            let birth = Some(WallTime(series.into()));
            encoder.announce(&Announcement {
                series: SeriesId(series),
                subject,
                inode: 1,
                first: None,
                birth,
            });
        }
        chain.batch(&encoder.finish().1).unwrap();
        let mut placement = Placement::new(&directory, "n1", now);
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), []);
        assert!(!placement.is_left_out(SeriesId(1)), "nothing is known of the pod");
        let known = |id: &str| {
            let counter = CounterRef::Container(ContainerId::new(id).unwrap());
            let containers = vec![ContainerRecord::new("web".into(), counter)];
            directory.put_pod(PodRecord {
                containers: containers.into(),
                ..PodRecord::bare("a", "web", "aa", "n1")
            });
        };
        known("c1");
        assert!(!placement.is_due(now) && placement.is_due(now + LOOK_AGAIN));
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), [], "nobody did wrong");
        assert!(placement.is_left_out(SeriesId(1)) && !placement.is_refused(SeriesId(1)));
        assert!(!placement.is_left_out(SeriesId(2)));
        known("sandbox");
        assert!(!placement.is_due(now) && placement.is_due(now + REST), "a pod of this node changed");
        placement.judge_all(&directory, "n1", &chain, now);
        assert!(!placement.is_left_out(SeriesId(1)));
    }
}
