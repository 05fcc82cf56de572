//! Streams as agents of 0.1 sent them, byte by byte.
//!
//! `stream-0.1.hex` has a message a line, as it was on the wire; `stream-0.1.txt` is what was meant. Both were made by
//! [`record`] below, run with the library of 0.1 (`KUBEVITALS_RECORD=DIR cargo test --test versions recorded`).

use std::{fmt::Write as _, path::Path};

use kubevitals::{
    chain::{Announcement, Decoder, Encoder, EndReason, Farewell, OmissionReason},
    sample::{
        BootTime, CgroupPath, ContainerId, CpuTime, Detail, Details, PodUid, Qos, Sample, SeriesId, Subject,
        WallTime, WorkingSet,
    },
    wire::{self, agent_message},
};
use prost::Message as _;

const STREAM: &str = include_str!("stream-0.1.hex");
const MEANING: &str = include_str!("stream-0.1.txt");

/// One stream with everything that 0.1 can say: each kind of subject, reason and detail, and a snapshot in between.
fn record() -> Vec<wire::AgentMessage> {
    let of = |kind| wire::AgentMessage { kind: Some(kind) };
    let hello = wire::Hello {
        node_name: "node-a".to_owned(),
        boot_id: "0f2b6f5e-8a07-4c56-9c1e-111111111111".to_owned(),
        instance: 0x0123_4567_89ab_cdef,
        agent_version: "0.1.0 (recorded)".to_owned(),
        interval_ms: 1000,
        hierarchy: wire::Hierarchy::V2.into(),
        capacity: Some(wire::Capacity { cpus: 4, memory_bytes: 8 << 30 }),
        newest_sequence: 2,
        ..wire::Hello::default()
    };
    let mut chain = Encoder::default();
    let mut behind = Decoder::new();
    let batches: Vec<bytes::Bytes> = (1..=5).map(|tick| batch(&mut chain, tick)).collect();
    let mut messages = vec![of(agent_message::Kind::Hello(hello))];
    for batch in &batches[..2] {
        behind.batch(batch).unwrap();
    }
    let parts =
        behind.to_snapshot().map(|part| of(agent_message::Kind::Snapshot(part.encode_to_vec().into())));
    messages.extend(parts);
    messages.extend(batches[2..].iter().map(|batch| of(agent_message::Kind::Batch(batch.clone()))));
    messages
}

fn batch(chain: &mut Encoder, tick: u64) -> bytes::Bytes {
    let time = 1_000_000 * tick;
    let at = |offset: u64| Sample {
        time: BootTime(time + offset),
        cpu: CpuTime(time * 10 + offset),
        working_set: WorkingSet::from_bytes(4096 * (100 + tick * 3 % 7)).unwrap(),
    };
    chain.begin(BootTime(time), WallTime(1_790_000_000_000_000 + time));
    let pod = || PodUid::new("2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11").unwrap();
    let container = |digit: char| ContainerId::new(&digit.to_string().repeat(64)).unwrap();
    if tick == 1 {
        let subjects = [
            Subject::Node,
            Subject::Pod { uid: pod(), qos: Some(Qos::Burstable) },
            Subject::Container { pod: pod(), id: container('a'), qos: Some(Qos::Guaranteed) },
            Subject::Container { pod: pod(), id: container('b'), qos: Some(Qos::BestEffort) },
            Subject::Cgroup { path: CgroupPath::new("/system.slice/ssh.service").unwrap() },
        ];
        for (series, subject) in (1..).zip(subjects) {
            chain.announce(&Announcement {
                series: SeriesId(series),
                subject,
                inode: 7,
                first: None,
                birth: None,
            });
        }
    }
    match tick {
        4 => {
            chain.end(Farewell { series: SeriesId(3), reason: EndReason::Removed });
            chain.end(Farewell { series: SeriesId(4), reason: EndReason::Replaced });
            let subject = Subject::Container { pod: pod(), id: container('c'), qos: None };
            let first = Sample { time: BootTime(time - 5000), ..at(0) };
            chain.announce(&Announcement {
                series: SeriesId(6),
                subject,
                inode: 9,
                first: Some(first),
                birth: None,
            });
        }
        5 => chain.end(Farewell { series: SeriesId(5), reason: EndReason::Dropped }),
        _ => {}
    }
    let live = match tick {
        1..=3 => 5,
        4 => 4,
        _ => 3,
    };
    let mut details = Details::default();
    for (number, detail) in Detail::ALL.iter().enumerate() {
        details.set(*detail, Some(u64::try_from(number).unwrap() * 4096 + tick));
    }
    for position in 0..live {
        match (tick, position) {
            (3, 2) => chain.skip(),
            _ => chain.sample(at(100 * (position + 1)), Some(&details).filter(|_| tick % 2 == 1)),
        }
    }
    for (count, reason) in (1..).zip(OmissionReason::ALL) {
        chain.omitted(reason, if tick == 3 { count } else { 0 });
    }
    chain.finish().1
}

/// What the messages say, as text.
fn meaning(messages: &[wire::AgentMessage]) -> String {
    let (mut text, mut chain) = (String::new(), Decoder::new());
    for message in messages {
        match message.kind.as_ref().unwrap() {
            agent_message::Kind::Hello(hello) => {
                let wire::Hello { node_name, boot_id, instance, interval_ms, newest_sequence, .. } = hello;
                let (hierarchy, capacity) = (hello.hierarchy(), hello.capacity);
                writeln!(text, "{node_name} {boot_id} {instance} {interval_ms} {newest_sequence} {hierarchy:?} {capacity:?}")
                    .unwrap();
            }
            agent_message::Kind::Snapshot(part) => {
                assert!(!chain.encoded_snapshot(part).unwrap());
                for (announcement, last, details) in chain.live() {
                    writeln!(text, "{announcement:?} {last:?} {:?}", details.iter().collect::<Vec<_>>())
                        .unwrap();
                }
            }
            agent_message::Kind::Batch(batch) => writeln!(text, "{:?}", chain.batch(batch).unwrap()).unwrap(),
        }
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn a_stream_of_0_1_is_read_as_it_was_meant() {
    if let Ok(directory) = std::env::var("KUBEVITALS_RECORD") {
        let messages = record();
        let lines: String = messages.iter().map(|message| hex(&message.encode_to_vec()) + "\n").collect();
        std::fs::write(Path::new(&directory).join("stream.hex"), lines).unwrap();
        std::fs::write(Path::new(&directory).join("stream.txt"), meaning(&messages)).unwrap();
        return;
    }
    let messages = STREAM.lines().map(|line| wire::AgentMessage::decode(unhex(line).as_slice()).unwrap());
    assert_eq!(meaning(&messages.collect::<Vec<_>>()), MEANING);
}

#[test]
fn what_0_1_can_say_is_still_said_in_the_same_bytes() {
    // So an aggregator of 0.1 reads an agent of today as it reads one of its own.
    let lines: Vec<String> = record().iter().map(|message| hex(&message.encode_to_vec())).collect();
    assert_eq!(lines, STREAM.lines().collect::<Vec<_>>());
}
