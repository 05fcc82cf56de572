//! Changes to messages that were right.

use kubevitals::wire::{self, announcement::Subject as WireSubject};
use kubevitals_fuzz::Choices;

/// One change to a batch.
pub fn spoil(batch: &mut wire::Batch, choices: &mut Choices<'_>) {
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

pub fn spoil_snapshot(part: &mut wire::Snapshot, choices: &mut Choices<'_>) {
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

pub fn flip(encoded: &mut [u8], choices: &mut Choices<'_>) {
    let at = choices.u32() as usize % encoded.len().max(1);
    if let Some(byte) = encoded.get_mut(at) {
        *byte ^= choices.byte();
    }
}
