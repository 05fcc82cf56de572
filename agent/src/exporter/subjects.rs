//! Whose numbers a page has, and under which names. Pure.
//!
//! A name is told by an aggregator, or it is what the cgroup's path says; it is never guessed. What has no name, no
//! recent reading, or the name of something newer is left out as a whole and counted.

use std::time::Duration;

use kubevitals::sample::{BootTime, Details, Sample, Subject};

use super::{
    sweep::{Dated, Row, Sweep},
    text::{Container, Labels},
};
use crate::identity::Named;

/// How old a reading may be to be shown.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) usage: Duration,
    pub(super) details: Duration,
}

/// Where labels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// Aggregators tell namespace, pod and container.
    Aggregator,
    /// The cgroup's path: pod UID and container id.
    Uid,
}

/// Under [`Naming::Uid`], the namespace of all pods: theirs is not known, and readers such as metrics-server take no
/// empty one. An aggregator with `--names=paths` serves them in a namespace of this name.
const PODS: &str = "kubepods";

/// Under [`Naming::Uid`], the namespace of cgroups outside Kubernetes.
const CGROUPS: &str = "cgroups";

/// Why a series is not on a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeftOut {
    /// No aggregator told its names. Sandboxes never have any: one for each pod is normal.
    Unnamed,
    /// Something newer has the same names.
    Superseded,
    /// It has not been read for too long, or not yet.
    Stale,
    /// Its CPU counter is zero: nothing has run in it yet.
    NotStarted,
}

impl LeftOut {
    /// All, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Unnamed, Self::Superseded, Self::Stale, Self::NotStarted];

    /// A metric label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unnamed => "unnamed",
            Self::Superseded => "superseded",
            Self::Stale => "stale",
            Self::NotStarted => "not_started",
        }
    }
}

/// How many series were left out, in the order of [`LeftOut::ALL`].
pub type Omissions = [usize; LeftOut::ALL.len()];

/// One line of each family.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'s> {
    pub(super) labels: Labels<'s>,
    pub(super) row: &'s Row,
    pub(super) usage: &'s Dated<Sample>,
    /// What is read less often, if that was not too long ago.
    pub(super) details: Option<&'s Dated<Details>>,
    /// UID of its pod, as the path spells it; empty for the node and for cgroups outside Kubernetes.
    pub(super) uid: &'s str,
}

/// Everything a page is about. Pods and containers are sorted by their labels, and no two have the same.
#[derive(Debug)]
pub(super) struct Subjects<'s> {
    pub(super) node: Option<Entry<'s>>,
    pub(super) pods: Vec<Entry<'s>>,
    pub(super) containers: Vec<Entry<'s>>,
    pub(super) omitted: Omissions,
}

/// A series with names, which may still be left out.
#[derive(Debug, Clone, Copy)]
struct Candidate<'s> {
    labels: Labels<'s>,
    uid: &'s str,
    row: &'s Row,
}

impl Candidate<'_> {
    /// Ascending with age at last: of several with the same names, that with the highest is the newest.
    fn rank(&self) -> impl Ord + use<> {
        (self.row.about.birth, self.row.about.series)
    }
}

/// Everything with names.
#[derive(Debug, Default)]
struct Candidates<'s> {
    node: Vec<Candidate<'s>>,
    pods: Vec<Candidate<'s>>,
    containers: Vec<Candidate<'s>>,
}

impl<'s> Subjects<'s> {
    /// Chooses from `sweep`; `names` has what is known of each of its rows.
    pub(super) fn choose(
        sweep: &'s Sweep,
        names: &'s [Option<Named>],
        naming: Naming,
        limits: Limits,
    ) -> Self {
        let mut omitted = Omissions::default();
        let Candidates { node, mut pods, mut containers } = candidates(sweep, names, naming, &mut omitted);
        newest(&mut pods, &mut omitted);
        let found = containers.len();
        containers.retain(|container| is_of_newest_pod(container, &pods));
        count(&mut omitted, LeftOut::Superseded, found - containers.len());
        newest(&mut containers, &mut omitted);
        let mut entries = |candidates: Vec<Candidate<'s>>| -> Vec<Entry<'s>> {
            let current = |candidate| entry(candidate, sweep.time, limits, &mut omitted);
            candidates.into_iter().filter_map(current).collect()
        };
        let (node, pods, containers) = (entries(node).pop(), entries(pods), entries(containers));
        Self { node, pods, containers, omitted }
    }
}

fn candidates<'s>(
    sweep: &'s Sweep,
    names: &'s [Option<Named>],
    naming: Naming,
    omitted: &mut Omissions,
) -> Candidates<'s> {
    let mut found = Candidates::default();
    found.containers.reserve(sweep.rows.len());
    for (at, row) in sweep.rows.iter().enumerate() {
        let subject = &row.about.subject;
        let told = names.get(at).and_then(Option::as_ref);
        let Some(labels) = labels(subject, told, naming) else {
            count(omitted, LeftOut::Unnamed, 1);
            continue;
        };
        let (list, uid) = match subject {
            Subject::Node => (&mut found.node, ""),
            Subject::Pod { uid, .. } => (&mut found.pods, uid.as_str()),
            Subject::Container { pod, .. } => (&mut found.containers, pod.as_str()),
            Subject::Cgroup { .. } | Subject::Unknown => (&mut found.containers, ""),
        };
        list.push(Candidate { labels, uid, row });
    }
    found
}

fn count(omitted: &mut Omissions, reason: LeftOut, more: usize) {
    if let Some(count) = omitted.get_mut(reason as usize) {
        *count += more;
    }
}

fn labels<'s>(subject: &'s Subject, named: Option<&'s Named>, naming: Naming) -> Option<Labels<'s>> {
    let labels = |namespace, pod, container| Labels { container, namespace, pod, resource: "" };
    match (subject, naming) {
        (Subject::Node, _) => Some(Labels::default()),
        (Subject::Unknown, _) => None,
        (Subject::Pod { uid, .. }, Naming::Uid) => Some(labels(PODS, uid.as_str(), Container::default())),
        (Subject::Container { pod, id, .. }, Naming::Uid) => {
            Some(labels(PODS, pod.as_str(), Container::Id(id)))
        }
        (Subject::Cgroup { path }, Naming::Uid) => {
            let leaf = path.as_str().rsplit('/').next().unwrap_or_default();
            Some(labels(CGROUPS, path.as_str(), Container::Name(leaf)))
        }
        (Subject::Pod { .. }, Naming::Aggregator) => {
            named.map(|named| labels(&named.pod.namespace, &named.pod.name, Container::default()))
        }
        (Subject::Container { .. } | Subject::Cgroup { .. }, Naming::Aggregator) => {
            let named = named?;
            let container = Container::Name(named.container.as_deref()?);
            Some(labels(&named.pod.namespace, &named.pod.name, container))
        }
    }
}

/// Sorts by labels, and of those with the same ones keeps the newest.
fn newest(candidates: &mut Vec<Candidate<'_>>, omitted: &mut Omissions) {
    candidates.sort_unstable_by(|a, b| a.labels.cmp(&b.labels).then_with(|| b.rank().cmp(&a.rank())));
    candidates.dedup_by(|later, kept| {
        let is_same = later.labels == kept.labels;
        if is_same {
            count(omitted, LeftOut::Superseded, 1);
        }
        is_same
    });
}

/// Whether no newer pod has the name of this container's: containers of two pods must not be shown as those of one.
fn is_of_newest_pod(container: &Candidate<'_>, newest: &[Candidate<'_>]) -> bool {
    let pod = Labels { container: Container::default(), ..container.labels };
    let found = newest.binary_search_by(|candidate| candidate.labels.cmp(&pod)).ok();
    found.and_then(|at| newest.get(at)).is_none_or(|newest| newest.uid == container.uid)
}

fn entry<'s>(
    candidate: Candidate<'s>,
    now: BootTime,
    limits: Limits,
    omitted: &mut Omissions,
) -> Option<Entry<'s>> {
    let Candidate { labels, uid, row } = candidate;
    let Some(usage) = row.usage.as_ref().and_then(|usage| usage.within(now, limits.usage)) else {
        count(omitted, LeftOut::Stale, 1);
        return None;
    };
    if usage.value.cpu.0 == 0 {
        count(omitted, LeftOut::NotStarted, 1);
        return None;
    }
    let details = row.details.as_ref().and_then(|details| details.within(now, limits.details));
    Some(Entry { labels, row, usage, details, uid })
}
