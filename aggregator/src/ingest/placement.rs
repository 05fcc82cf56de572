//! Pods of other nodes: what an agent announces of them is refused.
//!
//! To which node a pod is bound is the API's to say, and never changes while the pod lives. So an announcement whose
//! pod is known to be another node's is false whenever it comes, and its series is left out. A pod that is not known is
//! kept quietly: agents see pods before the watch tells of them, and after. Both verdicts are looked at again, because
//! what is known changes. Nothing of a foreign pod could be served anyway, as the view asks only the node a pod is bound
//! to; the refusal keeps it out of memory and makes it seen.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use kubevitals::{
    chain::{Announcement, Decoder, Tick},
    sample::{PodUid, SeriesId, Subject},
};
use tokio::sync::watch;

use crate::directory::{Directory, Whose};

/// All live series are looked at again after this long: the pod of another node may have become known meanwhile.
const LOOK_AGAIN: Duration = Duration::from_secs(30);

/// What one stream may not speak of.
#[derive(Debug)]
pub(super) struct Placement {
    changes: watch::Receiver<()>,
    looked: Instant,
    refused: BTreeSet<SeriesId>,
}

/// A refused announcement.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Foreign {
    pub(super) series: SeriesId,
    pub(super) uid: PodUid,
    /// Whose it is.
    pub(super) node: std::sync::Arc<str>,
}

/// What a look at everything changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdicts {
    pub(super) refused: Vec<Foreign>,
    /// Series that were refused and are not any more.
    pub(super) cleared: BTreeSet<SeriesId>,
}

impl Placement {
    pub(super) fn new(directory: &Directory, node: &str, now: Instant) -> Self {
        Self { changes: directory.follow(node), looked: now, refused: BTreeSet::new() }
    }

    /// Whether the samples of this series are left out.
    pub(super) fn is_refused(&self, series: SeriesId) -> bool {
        self.refused.contains(&series)
    }

    /// Judges what a tick announces.
    pub(super) fn judge(&mut self, directory: &Directory, node: &str, tick: &Tick) -> Vec<Foreign> {
        for farewell in &tick.ended {
            self.refused.remove(&farewell.series);
        }
        let foreign = tick.announced.iter().filter_map(|announced| foreign(directory, node, announced));
        let foreign: Vec<Foreign> = foreign.collect();
        self.refused.extend(foreign.iter().map(|foreign| foreign.series));
        foreign
    }

    /// Whether it is time to look at everything.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let changed = self.changes.has_changed().unwrap_or(false);
        // A pod of this node that changed can only clear what is refused.
        let due =
            changed && !self.refused.is_empty() || now.saturating_duration_since(self.looked) >= LOOK_AGAIN;
        if due {
            self.changes.mark_unchanged();
        }
        due
    }

    /// Judges every live series anew.
    pub(super) fn judge_all(
        &mut self,
        directory: &Directory,
        node: &str,
        chain: &Decoder,
        now: Instant,
    ) -> Verdicts {
        self.looked = now;
        let mut held = std::mem::take(&mut self.refused);
        let mut verdicts = Verdicts::default();
        for (announcement, ..) in chain.live() {
            let Some(foreign) = foreign(directory, node, &announcement) else { continue };
            self.refused.insert(foreign.series);
            if !held.remove(&foreign.series) {
                verdicts.refused.push(foreign);
            }
        }
        verdicts.cleared = held;
        verdicts
    }
}

/// Whether an announcement is of another node's pod.
fn foreign(directory: &Directory, node: &str, announcement: &Announcement) -> Option<Foreign> {
    let (Subject::Pod { uid, .. } | Subject::Container { pod: uid, .. }) = &announcement.subject else {
        return None;
    };
    match directory.whose(uid.as_str(), node) {
        Whose::Foreign(node) => Some(Foreign { series: announcement.series, uid: uid.clone(), node }),
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
    use crate::directory::{Origin, PodRecord};

    fn put(directory: &Directory, uid: &str, node: &str, mirror_of: Option<&str>) {
        let record = PodRecord::bare("a", uid, uid, node);
        directory.put_pod_of(record, Origin { created: None, mirror_of: mirror_of.map(Into::into) });
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
        let verdicts = placement.judge_all(&directory, "n1", &chain, now);
        assert_eq!(verdicts.refused.len(), 1);
        assert_eq!(verdicts.refused[0].node.as_ref(), "n2");
        assert!(placement.is_refused(SeriesId(1)));
        assert_eq!(placement.judge_all(&directory, "n1", &chain, now), Verdicts::default(), "said once");
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
        let verdicts = placement.judge_all(&directory, "n1", &chain, now);
        assert_eq!(verdicts, Verdicts { refused: Vec::new(), cleared: [SeriesId(1)].into() });
        assert!(!placement.is_refused(SeriesId(1)));
    }
}
