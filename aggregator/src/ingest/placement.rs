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
            let Some(foreign) = foreign(directory, node, announcement) else { continue };
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
