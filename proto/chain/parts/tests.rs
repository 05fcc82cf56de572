//! Whatever the form of a batch, it says here what it says to the library.

use proptest::{collection::vec, option, prelude::*};
use prost::encoding::{encode_key, encode_varint};

use super::*;
use crate::{
    chain::{Announcement, Decoder, Encoder, Tick, detail_to_wire, numbers::signed},
    sample::{BootTime, CpuTime, Details, Sample, SeriesId, Subject, WallTime, WorkingSet},
};

/// The batch as its parts tell it.
fn by_parts(encoded: &[u8]) -> Result<wire::Batch, ChainError> {
    let (mut usual, mut batch) = (Vec::new(), wire::Batch::default());
    let parts = Parts::of(encoded, &mut usual)?;
    parts.lists(&mut batch)?;
    if parts.is_repeated {
        return Err(ChainError::Repeated("details.field"));
    }
    (batch.sequence, batch.time_us, batch.wall_us) = (parts.sequence, parts.time_us, parts.wall_us);
    batch.skipped = parts.skipped.clone().checked()?.map(low).collect();
    batch.time_gap_us = parts.time_gap_us.clone().checked()?.map(low).collect();
    batch.cpu_delta_ns = parts.cpu_delta_ns.clone().checked()?.collect();
    batch.working_set_delta_4k = parts.working_set_delta_4k.clone().checked()?.map(signed).collect();
    for part in parts.details() {
        batch.details.push(wire::DetailColumn {
            field: detail_to_wire(part.detail).into(),
            series_gap: part.series_gap.clone().checked()?.map(low).collect(),
            delta: part.delta.clone().checked()?.map(signed).collect(),
            absent_gap: part.absent_gap.clone().checked()?.map(low).collect(),
        });
    }
    Ok(batch)
}

/// The batch as the library tells it, but for columns of unknown details; none when one is there twice.
fn by_prost(encoded: &[u8]) -> Option<wire::Batch> {
    let mut batch = wire::Batch::decode(encoded).ok()?;
    batch.details.retain(|column| detail_from_wire(column.field).is_some());
    let mut fields: Vec<i32> = batch.details.iter().map(|column| column.field).collect();
    fields.sort_unstable();
    fields.dedup();
    (fields.len() == batch.details.len()).then_some(batch)
}

/// A number with its tag.
fn single(tag: u32, number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::Varint, &mut bytes);
    encode_varint(number, &mut bytes);
    bytes
}

/// Bytes with tag and length.
fn entry(tag: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(tag, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    [&bytes, content].concat()
}

fn packed(tag: u32, numbers: &[u64]) -> Vec<u8> {
    let mut content = Vec::new();
    for &number in numbers {
        encode_varint(number, &mut content);
    }
    entry(tag, &content)
}

fn any_number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, 0..300_u64, (any::<u64>(), 0..64_u32).prop_map(|(number, less)| number >> less)]
}

/// A field of a kind that may be another than its tag has.
fn any_field(tags: std::ops::Range<u32>) -> impl Strategy<Value = Vec<u8>> {
    (tags, 0..6_u32, vec(any::<u8>(), 8), any_number()).prop_map(|(tag, kind, bytes, number)| match kind {
        0 => single(tag, number),
        1 | 5 => {
            let mut field = Vec::new();
            encode_key(tag, WireType::try_from(u64::from(kind)).unwrap(), &mut field);
            field.extend(&bytes[..if kind == 1 { 8 } else { 4 }]);
            field
        }
        2 => entry(tag, &bytes),
        _ => {
            let (mut begin, mut end) = (Vec::new(), Vec::new());
            encode_key(tag, WireType::StartGroup, &mut begin);
            encode_key(tag, WireType::EndGroup, &mut end);
            [begin, single(1, number), end].concat()
        }
    })
}

fn any_packed(tags: std::ops::Range<u32>) -> impl Strategy<Value = Vec<u8>> {
    (tags, vec(any_number(), 0..6)).prop_map(|(tag, numbers)| packed(tag, &numbers))
}

fn any_single(tags: std::ops::Range<u32>) -> impl Strategy<Value = Vec<u8>> {
    (tags, any_number()).prop_map(|(tag, number)| single(tag, number))
}

fn any_details() -> impl Strategy<Value = Vec<u8>> {
    let name = prop_oneof![0..20_u64, any_number()].prop_map(|name| single(1, name));
    let fields = vec(prop_oneof![8 => any_packed(2..5), 1 => any_single(2..5), 1 => any_field(5..9)], 0..4);
    (name, fields, option::weighted(0.05, any_field(1..5))).prop_map(|(name, mut fields, wrong)| {
        fields.extend(wrong);
        entry(10, &[name, fields.concat()].concat())
    })
}

fn any_list() -> impl Strategy<Value = Vec<u8>> {
    (any::<u32>(), 0..6_i32, 0..3_u8).prop_map(|(number, reason, kind)| match kind {
        0 => entry(5, &wire::Farewell { series: number, reason }.encode_to_vec()),
        1 => entry(11, &wire::Omission { count: number, reason }.encode_to_vec()),
        _ => {
            entry(4, &wire::Announcement { series: number, ..wire::Announcement::default() }.encode_to_vec())
        }
    })
}

fn any_batch() -> impl Strategy<Value = Vec<u8>> {
    let usual =
        prop_oneof![any_single(1..4), any_packed(6..10), any_details(), any_list(), any_field(12..20)];
    let fields = vec(prop_oneof![20 => usual, 1 => any_single(6..10)], 0..10);
    (fields, option::weighted(0.1, any_field(1..20))).prop_map(|(mut fields, wrong)| {
        fields.extend(wrong);
        fields.concat()
    })
}

/// A batch that follows an empty chain, and one that follows it.
fn two_batches(values: &[Option<u64>]) -> [bytes::Bytes; 2] {
    let mut encoder = Encoder::default();
    [1, 2].map(|tick| {
        let time = tick * 1_000_000;
        encoder.begin(BootTime(time), WallTime(time));
        for (series, &value) in (1..).zip(values) {
            let series = SeriesId(series);
            if tick == 1 {
                let new = Announcement { series, subject: Subject::Node, inode: 1, first: None, birth: None };
                encoder.announce(&new);
            }
            if tick == 2 && series.0.is_multiple_of(5) {
                encoder.skip();
                continue;
            }
            let cpu = CpuTime(tick * (value.unwrap_or(7) >> 2));
            let working_set = WorkingSet::from_units(low(value.unwrap_or(9)) >> tick);
            let mut details = Details::default();
            for (nth, &detail) in (0..).zip(Detail::ALL) {
                details.set(detail, value.filter(|value| ((value >> nth) ^ tick) & 1 == 1));
            }
            let sample = Sample { time: BootTime(time + u64::from(series.0) * 70), cpu, working_set };
            encoder.sample(sample, Some(&details));
        }
        encoder.finish().1
    })
}

/// Numbers in pieces, packed and one by one as the bits of `how` have it.
fn pieces(tag: u32, numbers: Numbers<'_>, how: u64) -> Vec<Vec<u8>> {
    let numbers: Vec<u64> = numbers.collect();
    let pieces = numbers.chunks(3).zip(0..).map(|(piece, nth)| {
        if how >> (nth % 64) & 1 == 1 {
            return packed(tag, piece);
        }
        piece.iter().flat_map(|&number| single(tag, number)).collect()
    });
    pieces.collect()
}

/// The batch in another form: columns in pieces among each other, and what does not count before what does.
fn odd(encoded: &[u8], how: u64) -> Vec<u8> {
    let parts = Parts::found(encoded, size::BATCH).unwrap();
    let mut columns = vec![
        pieces(6, parts.skipped.clone(), how),
        pieces(7, parts.time_gap_us.clone(), how >> 3),
        pieces(8, parts.cpu_delta_ns.clone(), how >> 5),
        pieces(9, parts.working_set_delta_4k.clone(), how >> 7),
    ];
    let details = parts.details().map(|part| {
        let DetailPart { detail, series_gap, delta, absent_gap } = part.clone();
        let gaps = [pieces(2, series_gap, how), pieces(4, absent_gap, how >> 9)].concat();
        let all = [gaps, pieces(3, delta, how >> 11), vec![single(1, 99)]].concat().concat();
        entry(10, &[all, single(1, i64::from(i32::from(detail_to_wire(detail))).cast_unsigned())].concat())
    });
    columns.push(details.collect());
    walk(encoded, size::BATCH, |field| {
        if matches!(field.tag, 4 | 5 | 11) {
            columns.push(vec![field.whole.to_vec()]);
        }
        Ok(())
    })
    .unwrap();
    let longest = columns.iter().map(Vec::len).max().unwrap_or(0);
    let mixed =
        (0..longest).flat_map(|nth| columns.iter().filter_map(move |column| column.get(nth))).flatten();
    let head = [(1, parts.sequence), (2, parts.time_us), (3, parts.wall_us)];
    let wrong = head.iter().flat_map(|&(tag, number)| single(tag, number + 9));
    let right = head.iter().flat_map(|&(tag, number)| single(tag, number));
    wrong.chain(mixed.copied()).chain(right).collect()
}

/// The message with the last number of one of its packed fields of more bytes than a number may have.
fn too_long(message: &[u8], broken: u32) -> Vec<u8> {
    let mut all = Vec::new();
    walk(message, size::NONE, |field| {
        if field.tag == broken {
            let end = field.content.iter().rev().skip(1).position(|&byte| byte < 0x80);
            let kept = end.map_or(0, |end| field.content.len() - 1 - end);
            all.extend(entry(broken, &[&field.content[..kept], &[0x80; 10], &[0]].concat()));
        } else {
            all.extend(field.whole);
        }
        Ok(())
    })
    .unwrap();
    all
}

#[test]
fn a_number_that_is_too_long_is_refused_in_any_column() {
    let [one, two] = two_batches(&[Some(5), Some(1 << 40), Some(10), Some(3), None, Some(77)]);
    let mut spoilt: Vec<Vec<u8>> = (6..10).map(|tag| too_long(&two, tag)).collect();
    for tag in 2..5 {
        let mut batch = Vec::new();
        walk(&two, size::NONE, |field| {
            let is_details = field.tag == 10;
            batch.extend(if is_details {
                entry(10, &too_long(field.content, tag))
            } else {
                field.whole.to_vec()
            });
            Ok(())
        })
        .unwrap();
        spoilt.push(batch);
    }
    for batch in spoilt {
        assert_ne!(batch, two);
        let mut decoder = Decoder::new();
        decoder.batch(&one).unwrap();
        assert!(matches!(decoder.batch(&batch), Err(ChainError::Undecodable(_))), "{batch:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_form_is_read_or_refused_as_the_library_does(
        mut encoded in any_batch(),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
        length in option::weighted(0.2, any::<prop::sample::Index>()),
    ) {
        prop_assert_eq!(by_parts(&encoded).ok(), by_prost(&encoded));
        for (at, with) in flips {
            if !encoded.is_empty() {
                let at = at.index(encoded.len());
                encoded[at] = with;
            }
        }
        encoded.truncate(length.map_or(encoded.len(), |length| length.index(encoded.len() + 1)));
        prop_assert_eq!(by_parts(&encoded).ok(), by_prost(&encoded));
    }
}

proptest! {
    #[test]
    fn an_odd_batch_decodes_as_the_usual_one(values in vec(any::<Option<u64>>(), 0..30), how in any::<u64>()) {
        let batches = two_batches(&values);
        let (mut usual, mut other) = (Decoder::new(), Decoder::new());
        for batch in &batches {
            let expected: Tick = usual.batch(batch).unwrap();
            prop_assert_eq!(other.batch(&odd(batch, how)), Ok(expected));
        }
        prop_assert!(usual.live().eq(other.live()));
    }

    /// And one that is broken is called that, whatever else it says.
    #[test]
    fn a_spoilt_batch_is_decoded_as_its_usual_form(
        values in vec(any::<Option<u64>>(), 1..9),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let [one, two] = two_batches(&values);
        let mut spoilt = two.to_vec();
        let at = at.index(spoilt.len());
        spoilt[at] = with;
        let tick = |batch: &[u8]| {
            let mut decoder = Decoder::new();
            decoder.batch(&one).unwrap();
            decoder.batch(batch)
        };
        match wire::Batch::decode(spoilt.as_slice()) {
            Ok(batch) => prop_assert_eq!(tick(&spoilt), tick(&batch.encode_to_vec())),
            // Limits come first.
            Err(_) => prop_assert!(matches!(
                tick(&spoilt),
                Err(ChainError::Undecodable(_) | ChainError::OutOfRange("length of a field"))
            )),
        }
    }
}
