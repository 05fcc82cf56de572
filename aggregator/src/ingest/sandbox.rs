//! Which live series are sandboxes. Pure.
//!
//! A pod's sandbox has a cgroup as its containers have, and the path does not tell which it is. Nothing that is served is
//! made of its counters, and with two containers to a pod it is a third of all samples.

use std::collections::{BTreeMap, BTreeSet};

use kubevitals::{
    chain::Announcement,
    sample::{SeriesId, Subject, WallTime},
};

use crate::directory::{PodRecord, Uid};

/// The live containers of a node whose pods are known.
#[derive(Debug, Default)]
pub(super) struct Lodgers {
    /// When the last of a pod's containers was made that the API knows, by the pod's UID.
    latest: BTreeMap<Uid, WallTime>,
    /// Those that it does not know.
    nameless: Vec<(SeriesId, Uid, WallTime)>,
}

impl Lodgers {
    /// Adds a live series of the pod.
    pub(super) fn add(&mut self, announcement: &Announcement, pod: &PodRecord) {
        let (Subject::Container { id, .. }, Some(birth)) = (&announcement.subject, announcement.birth) else {
            return;
        };
        if pod.known_container(id).is_some() {
            let latest = self.latest.entry(pod.uid.clone()).or_insert(birth);
            *latest = birth.max(*latest);
        } else {
            self.nameless.push((announcement.series, pod.uid.clone(), birth));
        }
    }

    /// The sandboxes: a sandbox is made before the containers of its pod. What the API does not know and was made after
    /// one of those is a container that has just begun.
    pub(super) fn sandboxes(self) -> BTreeSet<SeriesId> {
        let Self { latest, nameless } = self;
        let is_sandbox = |(_, pod, birth): &(SeriesId, Uid, WallTime)| {
            latest.get(pod).is_some_and(|latest| birth < latest)
        };
        nameless.into_iter().filter(is_sandbox).map(|(series, ..)| series).collect()
    }
}

#[cfg(test)]
mod tests {
    use kubevitals::sample::{ContainerId, PodUid};

    use super::*;
    use crate::{directory::ContainerRecord, store::node::CounterRef};

    /// The sandboxes among these: number of series and time of birth, those over 100 with names in the API.
    fn sandboxes(series: &[(u32, Option<u64>)]) -> Vec<u32> {
        let id = |series: u32| ContainerId::new(&format!("c{series}")).unwrap();
        let known = series.iter().filter(|(series, _)| *series > 100);
        let containers =
            known.map(|&(series, _)| ContainerRecord::new("web".into(), CounterRef::Container(id(series))));
        let pod = PodRecord { containers: containers.collect(), ..PodRecord::bare("a", "web", "aa", "n1") };
        let mut lodgers = Lodgers::default();
        for &(series, birth) in series {
            let subject = Subject::Container { pod: PodUid::new("aa").unwrap(), id: id(series), qos: None };
            let birth = birth.map(WallTime);
            lodgers
                .add(&Announcement { series: SeriesId(series), subject, inode: 1, first: None, birth }, &pod);
        }
        lodgers.sandboxes().into_iter().map(|series| series.0).collect()
    }

    #[test]
    fn what_the_api_does_not_know_and_is_older_than_a_container_is_the_sandbox() {
        assert_eq!(sandboxes(&[(1, Some(10)), (101, Some(20)), (102, Some(30))]), [1]);
        assert_eq!(sandboxes(&[(101, Some(20)), (1, Some(10))]), [1], "in whatever order they are announced");
    }

    #[test]
    fn a_container_that_the_api_does_not_know_yet_is_none() {
        assert_eq!(sandboxes(&[(1, Some(10)), (101, Some(20)), (2, Some(30))]), [1], "it restarted");
        assert!(sandboxes(&[(1, Some(10)), (2, Some(20))]).is_empty(), "nothing of the pod is known");
        assert!(sandboxes(&[(1, None), (101, Some(20))]).is_empty(), "nobody knows when it was made");
        assert!(sandboxes(&[(1, Some(10)), (101, None)]).is_empty());
    }
}
