//! What a series was announced as, in as few bytes as that needs: it is kept for every series of every node.
//!
//! Nearly all pods and containers have names that are numbers in another form. Those are kept as numbers, without a second
//! place in memory. The first reading is not kept: a newer one takes its place.

use crate::{
    announce::Announcement,
    sample::{ContainerId, PodUid, Qos, SeriesId, Subject, UidNumber, WallTime},
};

/// An announcement without its series and its first reading.
#[derive(Debug)]
pub(super) struct Kept {
    subject: KeptSubject,
    inode: u64,
    /// 0 when it is not known, as on the wire.
    birth: u64,
}

#[derive(Debug)]
enum KeptSubject {
    Pod {
        uid: UidNumber,
        qos: Option<Qos>,
    },
    Container {
        pod: UidNumber,
        id: [u8; 32],
        qos: Option<Qos>,
    },
    /// Any other: the node, cgroups, and names of another form.
    Other(Box<Subject>),
}

const _: () = assert!(size_of::<Kept>() == 72, "one is kept for every series");

impl From<&Announcement> for Kept {
    fn from(announcement: &Announcement) -> Self {
        let number = match &announcement.subject {
            Subject::Pod { uid, qos } => uid.number().map(|uid| KeptSubject::Pod { uid, qos: *qos }),
            Subject::Container { pod, id, qos } => {
                pod.number().zip(id.number()).map(|(pod, &id)| KeptSubject::Container { pod, id, qos: *qos })
            }
            Subject::Node | Subject::Cgroup { .. } | Subject::Unknown => None,
        };
        Self {
            subject: number.unwrap_or_else(|| KeptSubject::Other(Box::new(announcement.subject.clone()))),
            inode: announcement.inode,
            birth: announcement.birth.map_or(0, |birth| birth.0),
        }
    }
}

/// The pod of the series before: those of a pod mostly follow each other, and a text is made once for them.
#[derive(Debug, Default)]
pub(super) struct LastPod(Option<(UidNumber, PodUid)>);

impl LastPod {
    fn uid(&mut self, number: UidNumber) -> PodUid {
        match &self.0 {
            Some((last, uid)) if *last == number => uid.clone(),
            _ => self.0.insert((number, PodUid::from(number))).1.clone(),
        }
    }
}

impl Kept {
    /// What was announced, but for the first reading.
    pub(super) fn announcement(&self, series: SeriesId, last: &mut LastPod) -> Announcement {
        let subject = match &self.subject {
            &KeptSubject::Pod { uid, qos } => Subject::Pod { uid: last.uid(uid), qos },
            &KeptSubject::Container { pod, id, qos } => {
                Subject::Container { pod: last.uid(pod), id: ContainerId::from_number(id), qos }
            }
            KeptSubject::Other(subject) => Subject::clone(subject),
        };
        let birth = Some(WallTime(self.birth)).filter(|birth| birth.0 > 0);
        Announcement { series, subject, inode: self.inode, first: None, birth }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sample::CgroupPath;

    fn qos() -> impl Strategy<Value = Option<Qos>> {
        proptest::option::of(prop_oneof![Just(Qos::Guaranteed), Just(Qos::Burstable), Just(Qos::BestEffort)])
    }

    fn subject() -> impl Strategy<Value = Subject> {
        let uid = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{32}|[0-9a-f]{9}(-[0-9a-f]{4}){3}-[0-9a-f]{11}|[0-9a-f]{1,40}";
        let uid = || uid.prop_map(|text| PodUid::new(&text).unwrap());
        let id = "[0-9a-f]{64}|[0-9a-zA-Z_.-]{1,80}".prop_map(|text| ContainerId::new(&text).unwrap());
        prop_oneof![
            Just(Subject::Node),
            Just(Subject::Unknown),
            Just(Subject::Cgroup { path: CgroupPath::new("/system.slice").unwrap() }),
            (uid(), qos()).prop_map(|(uid, qos)| Subject::Pod { uid, qos }),
            (uid(), id, qos()).prop_map(|(pod, id, qos)| Subject::Container { pod, id, qos }),
        ]
    }

    proptest! {
        #[test]
        fn what_was_announced_is_kept(subject in subject(), inode in any::<u64>(), birth in 0_u64..3) {
            let birth = Some(WallTime(birth)).filter(|birth| birth.0 > 0);
            let announcement = Announcement { series: SeriesId(7), subject, inode, first: None, birth };
            let mut last = LastPod::default();
            for _ in 0..2 {
                prop_assert_eq!(&Kept::from(&announcement).announcement(SeriesId(7), &mut last), &announcement);
            }
        }
    }
}
