use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::sample::{BootTime, CgroupPath, CpuTime, Details, Sample, Subject, WallTime, WorkingSet};

fn sample(time: u64, cpu: u64, units: u32) -> Sample {
    Sample { time: BootTime(time), cpu: CpuTime(cpu), working_set: WorkingSet::from_units(units) }
}

fn announcement(series: u32, first: Option<Sample>) -> Announcement {
    let path = CgroupPath::new(&format!("/c{series}")).unwrap();
    Announcement { series: SeriesId(series), subject: Subject::Cgroup { path }, inode: 7, first, birth: None }
}

fn details(values: &[(Detail, u64)]) -> Details {
    let mut details = Details::default();
    for &(detail, value) in values {
        details.set(detail, Some(value));
    }
    details
}

/// Two ticks: one series announced with a first reading, one without; the second tick skips one.
fn two_batches() -> [bytes::Bytes; 2] {
    let mut encoder = Encoder::default();
    encoder.begin(BootTime(1000), WallTime(5000));
    encoder.announce(&announcement(1, Some(sample(400, 90, 3))));
    encoder.announce(&announcement(4, None));
    encoder.sample(sample(1003, 100, 2), Some(&details(&[(Detail::Swap, 0), (Detail::OomKills, 2)])));
    encoder.sample(sample(1010, 7_000, 50), None);
    let (_, one) = encoder.finish();
    encoder.begin(BootTime(2000), WallTime(6000));
    encoder.skip();
    encoder.sample(sample(2009, 7_001, 40), Some(&details(&[(Detail::Swap, 9)])));
    encoder.omitted(OmissionReason::ReadFailed, 1);
    let (_, two) = encoder.finish();
    [one, two]
}

#[test]
fn what_is_encoded_is_decoded() {
    let mut decoder = Decoder::new();
    let [one, two] = two_batches();
    let tick = decoder.batch(&one).unwrap().clone();
    assert_eq!((tick.sequence, tick.time, tick.wall), (1, BootTime(1000), WallTime(5000)));
    assert_eq!(tick.announced, [announcement(1, Some(sample(400, 90, 3))), announcement(4, None)]);
    assert_eq!(tick.samples, [(SeriesId(1), sample(1003, 100, 2)), (SeriesId(4), sample(1010, 7_000, 50))]);
    assert_eq!(
        tick.details,
        [(SeriesId(1), Detail::Swap, Some(0)), (SeriesId(1), Detail::OomKills, Some(2))]
    );
    let tick = decoder.batch(&two).unwrap();
    assert_eq!(tick.samples, [(SeriesId(4), sample(2009, 7_001, 40))]);
    assert_eq!(tick.omissions, [Omission { reason: OmissionReason::ReadFailed, count: 1 }]);
}

#[test]
fn a_detail_that_goes_away_is_absent_and_not_zero() {
    let mut encoder = Encoder::default();
    let mut decoder = Decoder::new();
    for (tick, swap) in [(1, Some(5)), (2, None), (3, Some(0))] {
        encoder.begin(BootTime(tick * 1000), WallTime(tick));
        if tick == 1 {
            encoder.announce(&announcement(1, None));
        }
        let mut details = Details::default();
        details.set(Detail::Swap, swap);
        encoder.sample(sample(tick * 1000, 0, 0), Some(&details));
        let (_, batch) = encoder.finish();
        assert_eq!(decoder.batch(&batch).unwrap().details, [(SeriesId(1), Detail::Swap, swap)]);
    }
}

#[test]
fn a_steady_tick_costs_few_bytes_per_series() {
    let mut encoder = Encoder::default();
    let busy = |tick: u64, n: u32| {
        sample(
            tick * 1_000_000 + u64::from(n) * 20,
            tick * u64::from(n) * 1_000_000,
            n + u32::try_from(tick % 3).unwrap(),
        )
    };
    for tick in 1..=3 {
        encoder.begin(BootTime(tick * 1_000_000), WallTime(tick * 1_000_000));
        for n in 1..=100 {
            if tick == 1 {
                encoder.announce(&announcement(n, None));
            }
            encoder.sample(busy(tick, n), None);
        }
        let (_, batch) = encoder.finish();
        if tick > 1 {
            assert!(batch.len() <= 800, "{} bytes", batch.len());
        }
    }
}

#[test]
fn a_snapshot_continues_the_chain() {
    let [one, two] = two_batches();
    let mut original = Decoder::new();
    original.batch(&one).unwrap();
    let mut restored = Decoder::new();
    for part in original.to_snapshot() {
        assert!(!restored.snapshot(&part).unwrap());
    }
    assert_eq!(original.batch(&two).unwrap(), restored.batch(&two).unwrap());
}

#[test]
fn a_checkpoint_of_the_encoder_is_what_a_reader_of_its_batches_knows() {
    let (mut encoder, mut reader, mut checkpoint) =
        (Encoder::default(), Decoder::new(), Checkpoint::default());
    for tick in 1..=6_u64 {
        encoder.begin(BootTime(tick * 1000), WallTime(tick * 1000));
        if tick == 4 {
            encoder.end(Farewell { series: SeriesId(1), reason: EndReason::Removed });
        }
        if tick <= 2 {
            let series = u32::try_from(tick).unwrap();
            encoder.announce(&announcement(series, Some(sample(tick, 5, 9)).filter(|_| tick == 2)));
        }
        // One series is skipped now and then, and one reading is dated before the one that precedes it.
        if tick == 5 {
            encoder.skip();
        }
        let swap = details(&[(Detail::Swap, tick), (Detail::Anon, 7)]);
        encoder.sample(sample(tick * 1000 + 9, tick * 10, 3), Some(&swap).filter(|_| tick != 3));
        encoder.sample(sample(tick * 1000 + 4, tick * 10, 3), None);
        reader.batch(&encoder.finish().1).unwrap();

        checkpoint.clone_from(encoder.state());

        let told = |decoder: &Decoder| decoder.to_snapshot().collect::<Vec<_>>();
        assert_eq!(told(&checkpoint.decoder().unwrap()), told(&reader), "after {tick}");
    }
    assert_eq!((checkpoint.sequence(), checkpoint.time()), (6, BootTime(6000)));
}

#[test]
fn a_large_snapshot_comes_in_parts() {
    let mut encoder = Encoder::default();
    encoder.begin(BootTime(1), WallTime(1));
    for n in 1..=5000 {
        encoder.announce(&announcement(n, None));
    }
    let mut original = Decoder::new();
    original.batch(&encoder.finish().1).unwrap();
    let mut restored = Decoder::new();
    let more: Vec<bool> = original.to_snapshot().map(|part| restored.snapshot(&part).unwrap()).collect();
    assert!(more.len() > 100 && more.iter().rev().skip(1).all(|more| *more) && !more[more.len() - 1]);
    assert_eq!(restored.live().count(), 5000);
}

#[test]
fn each_violation_is_named() {
    let [one, two] = two_batches();
    let broken = |change: fn(&mut wire::Batch)| {
        let mut decoder = Decoder::new();
        decoder.batch(&one).unwrap();
        let mut batch = wire::Batch::decode(two.as_ref()).unwrap();
        change(&mut batch);
        decoder.batch(&batch.encode_to_vec()).unwrap_err().to_string()
    };
    assert_eq!(broken(|b| b.sequence = 4), "sequence is 4, expected 2");
    assert_eq!(broken(|b| b.time_us = 1000), "time_us is 1000 us, not after 1000 us");
    assert_eq!(broken(|b| b.wall_us = 1), "wall_us is 1 us, not after 5000 us");
    assert_eq!(broken(|b| b.skipped.clear()), "time_gap_us has 1 entries, expected 2");
    assert_eq!(
        broken(|b| {
            b.skipped = vec![9];
            b.working_set_delta_4k = vec![0];
        }),
        "skipped names unknown series SeriesId(9)"
    );
    assert_eq!(broken(|b| b.cpu_delta_ns = vec![u64::MAX]), "cpu_delta_ns is out of range");
    assert_eq!(broken(|b| b.working_set_delta_4k = vec![-51]), "working_set_delta_4k is out of range");
    assert_eq!(broken(|b| b.working_set_delta_4k = vec![1 << 32]), "working_set_4k is out of range");
    assert_eq!(broken(|b| b.announced = vec![wire::Announcement::default()]), "announced.series is missing");
    assert_eq!(
        broken(|b| b.announced = vec![(&announcement(4, None)).into()]),
        "announced has series SeriesId(4) out of order"
    );
    assert_eq!(
        broken(|b| b.ended = vec![wire::Farewell { series: 3, reason: 1 }]),
        "ended names unknown series SeriesId(3)"
    );
    assert_eq!(
        broken(|b| b.details[0].series_gap = vec![3]),
        "details.series_gap names unknown series SeriesId(3)"
    );
    assert_eq!(broken(|b| b.details[0].delta.clear()), "details.delta has 0 entries, expected 1");
}

#[test]
fn a_series_that_begins_and_ends_in_one_tick_was_never_there() {
    let mut encoder = Encoder::default();
    let mut decoder = Decoder::new();
    encoder.begin(BootTime(1000), WallTime(1000));
    for series in [1, 2] {
        encoder.announce(&announcement(series, None));
    }
    encoder.sample(sample(1001, 5, 5), None);
    encoder.end(Farewell { series: SeriesId(2), reason: EndReason::Removed });
    let tick = decoder.batch(&encoder.finish().1).unwrap();
    assert_eq!((tick.announced.len(), tick.ended.len(), tick.samples.len()), (1, 0, 1));
}

/// Found while fuzzing: 16 MiB of empty entries took over a gigabyte before they were refused.
#[test]
fn many_empty_entries_are_refused_before_they_are_decoded() {
    let [one, two] = two_batches();
    let mut decoder = Decoder::new();
    decoder.batch(&one).unwrap();
    let bloated = [two.as_ref(), &[0x22, 0x00].repeat(200_000)].concat();
    assert_eq!(decoder.batch(&bloated).unwrap_err(), ChainError::TooManySeries);
    assert_eq!(
        Decoder::new().encoded_snapshot(&[0x22, 0x00].repeat(5000)).unwrap_err(),
        ChainError::TooManySeries
    );
    let long = [&[0x42, 0xff, 0xff, 0xff, 0x07][..], &vec![1; 16 << 20]].concat();
    assert_eq!(decoder.batch(&long).unwrap_err(), ChainError::OutOfRange("length of a field"));
}

#[test]
fn the_same_detail_twice_in_a_batch_is_refused() {
    let [one, two] = two_batches();
    let mut decoder = Decoder::new();
    decoder.batch(&one).unwrap();
    let mut batch = wire::Batch::decode(two.as_ref()).unwrap();
    batch.details.push(batch.details[0].clone());
    assert_eq!(decoder.batch(&batch.encode_to_vec()).unwrap_err(), ChainError::Repeated("details.field"));
}

#[test]
fn parts_of_different_snapshots_do_not_mix() {
    let part = |sequence, more| wire::Snapshot { sequence, more, ..wire::Snapshot::default() };
    let mut decoder = Decoder::new();
    assert!(decoder.snapshot(&part(3, true)).unwrap());
    assert_eq!(decoder.snapshot(&part(4, false)).unwrap_err(), ChainError::Sequence { got: 4, expected: 3 });
}

#[test]
fn unknown_detail_fields_and_reasons_of_a_newer_peer_are_ignored() {
    let [one, two] = two_batches();
    let mut decoder = Decoder::new();
    decoder.batch(&one).unwrap();
    let mut batch = wire::Batch::decode(two.as_ref()).unwrap();
    batch.details[0].field = 99;
    batch.omissions[0].reason = 99;
    let tick = decoder.batch(&batch.encode_to_vec()).unwrap();
    assert!(tick.details.is_empty() && tick.omissions.is_empty());
    assert_eq!(tick.samples.len(), 1);
}

/// One tick of a made-up agent: which series begin and end, and what each reads.
#[derive(Clone, Debug)]
struct Step {
    begin: u8,
    end: Option<u8>,
    readings: Vec<(bool, u64, u32, Option<u64>)>,
}

fn step() -> impl Strategy<Value = Step> {
    let reading = (any::<bool>(), 0..=u64::MAX >> 8, any::<u32>(), any::<Option<u64>>());
    (0_u8..4, any::<Option<u8>>(), proptest::collection::vec(reading, 24))
        .prop_map(|(begin, end, readings)| Step { begin, end, readings })
}

proptest! {
    #[test]
    fn any_chain_decodes_to_what_was_put_in(steps in proptest::collection::vec(step(), 1..12)) {
        let mut encoder = Encoder::default();
        let mut decoder = Decoder::new();
        let mut live: Vec<(u32, u64)> = Vec::new();
        let mut next = 1;
        for (n, step) in (1_u64..).zip(&steps) {
            let time = n * 1_000_000;
            encoder.begin(BootTime(time), WallTime(time));
            if let Some(end) = step.end && !live.is_empty() {
                let (series, _) = live.remove(usize::from(end) % live.len());
                encoder.end(Farewell { series: SeriesId(series), reason: EndReason::Removed });
            }
            for _ in 0..step.begin {
                encoder.announce(&announcement(next, None));
                live.push((next, 0));
                next += 1;
            }
            let mut expected = Vec::new();
            for (at, ((series, cpu), (read, add, units, swap))) in (0..).zip(live.iter_mut().zip(&step.readings)) {
                if !read {
                    encoder.skip();
                    continue;
                }
                *cpu += add >> 8;
                let sample = sample(time + at, *cpu, *units);
                let mut details = Details::default();
                details.set(Detail::Swap, *swap);
                encoder.sample(sample, Some(&details));
                expected.push((SeriesId(*series), sample));
            }
            let tick = decoder.batch(&encoder.finish().1).unwrap();
            prop_assert_eq!(&tick.samples, &expected);
            prop_assert_eq!(tick.announced.len(), usize::from(step.begin));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut decoder = Decoder::new();
        let [one, _] = two_batches();
        decoder.batch(&one).unwrap();
        let _ = decoder.batch(&bytes);
    }

    #[test]
    fn a_flipped_byte_is_refused_or_still_consistent(at in any::<prop::sample::Index>(), with in any::<u8>()) {
        let [one, two] = two_batches();
        let mut decoder = Decoder::new();
        decoder.batch(&one).unwrap();
        let mut bytes = two.to_vec();
        let at = at.index(bytes.len());
        bytes[at] = with;
        if let Ok(tick) = decoder.batch(&bytes) {
            prop_assert!(tick.samples.iter().all(|(_, sample)| sample.time >= tick.time));
        }
    }
}
