//! What the made-up agent does next.

use std::time::Duration;

use kubevitals::{
    chain::{Announcement, Decoder},
    sample::Sample,
    wire::{self, announcement::Subject as WireSubject},
};
use kubevitals_aggregator::store::node::Session;
use kubevitals_fuzz::Choices;
use prost::Message as _;

use crate::{
    behind::Behind,
    contract::{State, copies, follows},
    faults::{flip, spoil, spoil_snapshot},
};

/// The agent's side as far as a stream has it, and everything behind the stream.
pub struct Agent {
    /// None after a violation, until the next snapshot.
    chain: Option<Decoder>,
    session: Session,
    behind: Behind,
}

impl Agent {
    pub fn new(choices: &mut Choices<'_>) -> Self {
        let session = Session {
            boot_id: "boot-0".to_owned(),
            instance: 1,
            interval: [200, 1000, 60_000].map(Duration::from_millis)[choices.below(3)],
            cpus: 4,
            memory_bytes: 1 << 33,
            newest_sequence: 0,
            version: "0.1.0".into(),
        };
        let mut behind = Behind::new(choices);
        let chain = Decoder::new();
        behind.begin(&session, true, Duration::ZERO);
        behind.snapshot();
        Self { chain: Some(chain), session, behind }
    }

    pub fn step(&mut self, choices: &mut Choices<'_>) {
        match choices.below(16) {
            0 => self.batch(choices.piece()),
            1 => self.resume(choices),
            2 => self.raw_snapshot(choices),
            3 => self.new_process(choices),
            faults @ 4..=7 => {
                let mut batch = self.valid_batch(choices);
                for _ in 0..faults - 3 {
                    spoil(&mut batch, choices);
                }
                let mut encoded = batch.encode_to_vec();
                if faults == 7 {
                    flip(&mut encoded, choices);
                }
                self.batch(&encoded);
            }
            _ => {
                let batch = self.valid_batch(choices);
                self.batch(&batch.encode_to_vec());
            }
        }
    }

    /// One batch as it comes over the wire. After a violation the decoder is of no further use.
    fn batch(&mut self, encoded: &[u8]) {
        let Some(mut chain) = self.chain.take() else {
            return;
        };
        let before = State::of(&chain);
        let Ok(tick) = chain.batch(encoded) else {
            return self.behind.end();
        };
        let after = State::of(&chain);
        follows(&before, &tick, &after);
        copies(&chain, &after);
        self.behind.apply(&tick, &chain);
        self.chain = Some(chain);
    }

    /// The same process comes back and sends its state instead of resuming; perhaps a faulty one.
    fn resume(&mut self, choices: &mut Choices<'_>) {
        let Some(chain) = self.chain.take() else {
            return;
        };
        let mut again = Decoder::new();
        for mut part in chain.to_snapshot() {
            if choices.below(4) == 3 {
                spoil_snapshot(&mut part, choices);
            }
            let mut encoded = part.encode_to_vec();
            if choices.below(8) == 7 {
                flip(&mut encoded, choices);
            }
            match again.encoded_snapshot(&encoded) {
                Ok(true) | Err(_) => return,
                Ok(false) => {}
            }
        }
        self.started(again, false);
    }

    /// Parts of a snapshot as raw bytes.
    fn raw_snapshot(&mut self, choices: &mut Choices<'_>) {
        self.chain = None;
        let mut chain = Decoder::new();
        for _ in 0..3 {
            match chain.encoded_snapshot(choices.piece()) {
                Err(_) => return,
                Ok(true) => {}
                Ok(false) => return self.started(chain, false),
            }
        }
    }

    fn new_process(&mut self, choices: &mut Choices<'_>) {
        let new_boot = choices.flag();
        self.session.instance += 1;
        if new_boot {
            self.session.boot_id = format!("boot-{}", self.session.instance);
        }
        let mut chain = Decoder::new();
        let empty = wire::Snapshot::default();
        assert_eq!(chain.snapshot(&empty), Ok(false));
        self.started(chain, new_boot);
    }

    fn started(&mut self, chain: Decoder, new_boot: bool) {
        let state = State::of(&chain);
        state.is_consistent();
        copies(&chain, &state);
        self.session.newest_sequence = state.sequence.saturating_add(u64::from(state.highest % 3));
        let silence = self.session.interval * (state.sequence % 4) as u32 / 2;
        self.behind.begin(&self.session, new_boot, silence);
        self.behind.snapshot();
        self.chain = Some(chain);
    }

    /// A batch that the chain so far allows.
    fn valid_batch(&self, choices: &mut Choices<'_>) -> wire::Batch {
        let empty = Decoder::new();
        let chain = self.chain.as_ref().unwrap_or(&empty);
        let state = State::of(chain);
        let step =
            [1, 1_000_000, 1_000_000, 1_000_000, 31_000_000, 100_000_000, 1 << 33, 1 << 45][choices.below(8)];
        let latest = state.live.values().filter_map(|live| live.last).map(|last| last.time.0).max();
        let time = state.time.0.max(latest.unwrap_or(0)).saturating_add(step);
        let mut batch = wire::Batch {
            sequence: state.sequence.saturating_add(1),
            time_us: time,
            wall_us: state.wall.saturating_add(step),
            ..wire::Batch::default()
        };
        let mut live: Vec<(u32, Option<Sample>)> = Vec::new();
        for (&series, held) in &state.live {
            if choices.below(8) == 7 {
                let reason = i32::from(choices.byte() & 3);
                batch.ended.push(wire::Farewell { series, reason });
            } else {
                live.push((series, held.last));
            }
        }
        let mut series = state.live.keys().max().copied().unwrap_or(0).max(state.highest);
        for _ in 0..choices.below(4) {
            series = series.saturating_add(1 + u32::from(choices.byte() & 1));
            let first = choices.flag().then(|| wire::FirstReading {
                time_us: time.saturating_sub(choices.number()),
                cpu_ns: u64::from(choices.byte()),
                working_set_4k: u64::from(choices.byte()),
            });
            let announcement = wire::Announcement {
                series,
                subject: Some(subject(choices)),
                inode: u64::from(choices.byte() & 3),
                first,
            };
            let last = Announcement::try_from(&announcement).ok().and_then(|announcement| announcement.first);
            live.push((series, last));
            batch.announced.push(announcement);
        }
        for (series, last) in live {
            if choices.below(8) == 7 {
                batch.skipped.push(series);
                continue;
            }
            batch.time_gap_us.push(u32::from(choices.byte()) + 1);
            batch.cpu_delta_ns.push(if choices.below(8) == 7 {
                choices.number()
            } else {
                u64::from(choices.byte())
            });
            let before = last.map_or(0, |last| i64::from(last.working_set.units()));
            let now =
                if choices.below(8) == 7 { i64::from(choices.u32()) } else { i64::from(choices.byte()) };
            batch.working_set_delta_4k.push(now - before);
            if choices.below(4) == 3 {
                let field = i32::from(choices.byte() % 18);
                let mut column = wire::DetailColumn { field, ..wire::DetailColumn::default() };
                if choices.below(4) == 3 {
                    column.absent_gap.push(series);
                } else {
                    column.series_gap.push(series);
                    column.delta.push(choices.number().cast_signed());
                }
                batch.details.push(column);
            }
        }
        if choices.below(8) == 7 {
            let reason = i32::from(choices.byte() % 7);
            batch.omissions.push(wire::Omission { reason, count: choices.u32() });
        }
        batch
    }

    pub fn end(self) {
        self.behind.forget();
    }
}

/// One of few subjects, so that the same one comes again.
fn subject(choices: &mut Choices<'_>) -> WireSubject {
    const UIDS: [&str; 2] = ["2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11", "0123456789abcdef0123456789abcdef"];
    const PATHS: [&str; 6] =
        ["/a", "/system.slice/ssh.service", "/user.slice/user-1.slice/A\\x2db.scope", "/é/x y", "/-", "/A/a"];
    let (which, qos) = (usize::from(choices.byte() % 14), i32::from(choices.byte() % 5));
    let uid = UIDS[which % UIDS.len()].to_owned();
    match which {
        0 => WireSubject::Node(wire::NodeSubject {}),
        1 => WireSubject::Pod(wire::PodSubject { uid, qos }),
        2..=7 => {
            let container_id = char::from(b'a' + which as u8).to_string().repeat(64);
            WireSubject::Container(wire::ContainerSubject { pod_uid: uid, container_id, qos })
        }
        _ => WireSubject::Cgroup(wire::CgroupSubject { path: PATHS[which - 8].to_owned() }),
    }
}
