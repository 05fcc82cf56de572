//! What series were announced as, in as few bytes as that needs: it is kept for every series of every node.
//!
//! Rows of bytes, one after the other, which are read from front to back only. Each says how it differs from the one
//! before: the containers of a pod follow each other, and their cgroups were made at nearly the same time. Nearly all pods
//! and containers have names that are numbers in another form. Those are kept as numbers; all other subjects lie apart. The
//! first reading is not kept: a newer one takes its place.

use std::slice::Iter;

use bytes::BufMut as _;
use prost::encoding::{decode_varint, encode_varint};

use crate::{
    announce::Announcement,
    sample::{ContainerId, PodUid, Qos, SeriesId, Subject, UidNumber, WallTime},
};

/// Bytes of a row, on average, where a pod has two or three containers.
const USUAL: usize = 36;

/// Most bytes: what is there, the pod, the container, and two numbers of 64 bits.
const LONGEST: usize = 1 + 16 + 32 + 2 * 10;

/// What is there, in the lowest two bits of a row's first byte. What lies apart is anything else.
const KIND: u8 = 3;
const APART: u8 = 0;
const POD: u8 = 1;
const CONTAINER: u8 = 2;
const NODE: u8 = 3;

/// The pod is that of the row before; else its UID follows, which may have dashes.
const SAME_POD: u8 = 1 << 2;
const HAS_DASHES: u8 = 1 << 3;

/// The class, in the two bits from here on.
const QOS_SHIFT: u32 = 4;

/// The announcements of the live series of a chain, without their series and first readings.
#[derive(Debug, Default)]
pub(super) struct Kept {
    rows: Vec<u8>,
    /// Cgroups and names of another form, in the order of their rows.
    others: Vec<Subject>,
    last: Last,
}

/// What a row is relative to: the one before it.
#[derive(Debug, Clone, Copy, Default)]
struct Last {
    pod: Option<UidNumber>,
    inode: u64,
    /// 0 when it is not known, as on the wire.
    birth: u64,
}

impl Kept {
    /// Makes room for so many more.
    pub(super) fn reserve(&mut self, more: usize) {
        self.rows.reserve_exact(more * USUAL);
    }

    /// Adds one.
    pub(super) fn push(&mut self, announcement: &Announcement) {
        let (mut row, before) = ([0; LONGEST], self.last);
        let mut room = row.as_mut_slice();
        if let Some(Numbers { pod, id, qos }) = Numbers::of(&announcement.subject) {
            let kind = if id.is_some() { CONTAINER } else { POD };
            let is_same = before.pod == Some(pod);
            let of_pod = if is_same { SAME_POD } else { u8::from(pod.has_dashes()) * HAS_DASHES };
            room.put_u8(kind | of_pod | number_of(qos) << QOS_SHIFT);
            if !is_same {
                room.put_slice(pod.bytes());
            }
            room.put_slice(id.map_or(&[], <[u8; 32]>::as_slice));
            self.last.pod = Some(pod);
        } else if announcement.subject == Subject::Node {
            room.put_u8(NODE);
        } else {
            room.put_u8(APART);
            self.others.push(announcement.subject.clone());
        }
        self.last.inode = announcement.inode;
        self.last.birth = announcement.birth.map_or(0, |birth| birth.0);
        encode_varint(difference(before.inode, self.last.inode), &mut room);
        encode_varint(difference(before.birth, self.last.birth), &mut room);
        let length = LONGEST - room.len();
        self.append(row.get(..length).unwrap_or_default());
    }

    fn append(&mut self, row: &[u8]) {
        if row.len() > self.rows.capacity() - self.rows.len() {
            // What comes one by one moves the others now and then, not every time.
            self.rows.reserve_exact(row.len() + self.rows.len() / 32);
        }
        self.rows.extend_from_slice(row);
    }

    /// All of them, which are of these series.
    pub(super) fn announcements<'a>(&'a self, series: &'a [SeriesId]) -> impl Iterator<Item = Announcement> {
        let mut reader =
            Reader { rows: &self.rows, others: self.others.iter(), last: Last::default(), uid: None };
        series.iter().map_while(move |&series| reader.next(series))
    }

    /// Forgets some, which are of these series.
    pub(super) fn retain(&mut self, series: &[SeriesId], mut is_kept: impl FnMut() -> bool) {
        let mut kept = Self { rows: Vec::with_capacity(self.rows.len()), ..Self::default() };
        self.announcements(series).filter(|_| is_kept()).for_each(|announcement| kept.push(&announcement));
        *self = kept;
    }
}

/// Reads rows.
struct Reader<'a> {
    rows: &'a [u8],
    others: Iter<'a, Subject>,
    last: Last,
    /// The text of the last pod: it is made once for all its rows.
    uid: Option<PodUid>,
}

impl Reader<'_> {
    fn next(&mut self, series: SeriesId) -> Option<Announcement> {
        let (&head, rows) = self.rows.split_first()?;
        self.rows = rows;
        let qos = qos_of(head >> QOS_SHIFT);
        let subject = match head & KIND {
            NODE => Subject::Node,
            POD => Subject::Pod { uid: self.pod(head)?, qos },
            CONTAINER => {
                Subject::Container { pod: self.pod(head)?, id: ContainerId::from_number(self.take()?), qos }
            }
            _ => self.others.next()?.clone(),
        };
        self.last.inode = differing(self.last.inode, decode_varint(&mut self.rows).ok()?);
        self.last.birth = differing(self.last.birth, decode_varint(&mut self.rows).ok()?);
        let birth = Some(WallTime(self.last.birth)).filter(|birth| birth.0 > 0);
        Some(Announcement { series, subject, inode: self.last.inode, first: None, birth })
    }

    fn pod(&mut self, head: u8) -> Option<PodUid> {
        if head & SAME_POD == 0 {
            self.uid = Some(UidNumber::new(self.take()?, head & HAS_DASHES != 0).into());
        }
        self.uid.clone()
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (&bytes, rows) = self.rows.split_first_chunk()?;
        self.rows = rows;
        Some(bytes)
    }
}

/// What the names of a subject tell as numbers.
struct Numbers<'a> {
    pod: UidNumber,
    /// The container, if it is one.
    id: Option<&'a [u8; 32]>,
    qos: Option<Qos>,
}

impl<'a> Numbers<'a> {
    /// `None` when there are none, or a name has another form.
    fn of(subject: &'a Subject) -> Option<Self> {
        match subject {
            Subject::Pod { uid, qos } => Some(Self { pod: uid.number()?, id: None, qos: *qos }),
            Subject::Container { pod, id, qos } => {
                Some(Self { pod: pod.number()?, id: Some(id.number()?), qos: *qos })
            }
            Subject::Node | Subject::Cgroup { .. } | Subject::Unknown => None,
        }
    }
}

fn number_of(qos: Option<Qos>) -> u8 {
    match qos {
        None => 0,
        Some(Qos::Guaranteed) => 1,
        Some(Qos::Burstable) => 2,
        Some(Qos::BestEffort) => 3,
    }
}

fn qos_of(number: u8) -> Option<Qos> {
    [None, Some(Qos::Guaranteed), Some(Qos::Burstable), Some(Qos::BestEffort)]
        .get(usize::from(number))
        .copied()
        .flatten()
}

/// How far `after` lies from `before`, either way; near ones are small numbers.
fn difference(before: u64, after: u64) -> u64 {
    let ahead = after.wrapping_sub(before).cast_signed();
    (ahead << 1 ^ ahead >> 63).cast_unsigned()
}

/// What lies so far from `before`.
fn differing(before: u64, difference: u64) -> u64 {
    before.wrapping_add(difference >> 1 ^ (difference & 1).wrapping_neg())
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
        /// Whichever of them are forgotten, the others are what they were, and others can follow.
        #[test]
        fn what_was_announced_is_kept(
            announced in proptest::collection::vec((subject(), any::<u64>(), 0_u64..3, 0_usize..3), 0..30),
            forgotten in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let (mut kept, mut model): (Kept, Vec<Announcement>) = Default::default();
            for (nth, (subject, inode, birth, like)) in (1..).zip(announced) {
                // A pod's containers follow each other.
                let subject = match (model.last().map(|last| last.subject.clone()), subject) {
                    (Some(Subject::Pod { uid: pod, .. } | Subject::Container { pod, .. }), Subject::Container { id, qos, .. })
                        if like > 0 => Subject::Container { pod, id, qos },
                    (_, subject) => subject,
                };
                let birth = Some(WallTime(birth)).filter(|birth| birth.0 > 0);
                let announcement = Announcement { series: SeriesId(nth), subject, inode, first: None, birth };
                kept.push(&announcement);
                model.push(announcement);
            }
            let series = |model: &[Announcement]| model.iter().map(|one| one.series).collect::<Vec<_>>();
            let rows = |kept: &Kept, series: &[SeriesId]| kept.announcements(series).collect::<Vec<_>>();
            prop_assert_eq!(&rows(&kept, &series(&model)), &model);

            let mut each = forgotten.iter();
            kept.retain(&series(&model), || !each.next().unwrap());
            let mut each = forgotten.iter();
            model.retain(|_| !each.next().unwrap());
            prop_assert_eq!(&rows(&kept, &series(&model)), &model);

            let again = model.clone();
            for announcement in &again {
                kept.push(announcement);
            }
            model.extend(again);
            prop_assert_eq!(&rows(&kept, &series(&model)), &model);
        }
    }

    #[test]
    fn a_row_takes_as_many_bytes_as_it_is_given_room_for() {
        let mut kept = Kept::default();
        let mut push = |nth: u64, pod: u64, is_container: bool| {
            let uid = PodUid::new(&format!("5d2c5a1e-6f0a-4c5e-9a55-{pod:012x}")).unwrap();
            let (id, qos) = (ContainerId::new(&format!("{nth:064x}")).unwrap(), Some(Qos::Burstable));
            let subject = if is_container {
                Subject::Container { pod: uid, id, qos }
            } else {
                Subject::Pod { uid, qos }
            };
            // Pods of a node are hours apart, their containers seconds.
            let birth = 1_760_000_000_000_000 + 7_200_000_000 * pod + 1_500_000 * nth;
            let (series, birth) = (SeriesId(1), Some(WallTime(birth)));
            kept.push(&Announcement {
                series,
                subject,
                inode: 40_000 + 900 * pod + 3 * nth,
                first: None,
                birth,
            });
        };
        for pod in 0..30 {
            (0..4).for_each(|nth| push(4 * pod + nth, pod, nth > 0));
        }
        let each = kept.rows.len() / 120;
        assert!((USUAL - 2..=USUAL).contains(&each), "{each} bytes");
    }
}
