//! One stream after its welcome: snapshot and batches into the store, acknowledgements and names back.

use std::{
    cell::RefCell,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kubevitals::{
    chain::{Buffers, Decoder, Tick},
    sample::WallTime,
    wire::{self, agent_message, aggregator_message},
};
use tonic::Streaming;

use super::{
    Answers, FOREIGN_POD, Ingest, QUEUE, answer,
    end::End,
    hello::Hello,
    herald::Herald,
    placement::{Foreign, Placement},
    rush::Behind,
    silence::Silence,
};
use crate::store::{Shard, node::Session};

/// A stream without a batch for this long, or this many of its ticks, is of no use to anyone.
const SILENCE: Duration = Duration::from_secs(30);
const SILENT_TICKS: u32 = 5;

/// A batch is acknowledged after so many, or so much time, whichever is first: acknowledgements cost as much
/// as batches do. Agents keep a minute whether it was acknowledged or not, and wait for 20 s at least.
pub(super) const ACK_BATCHES: u64 = 40;
const ACK_TIME: Duration = Duration::from_secs(10);

thread_local! {
    /// Where this thread decodes batches, of whichever stream.
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// One stream after its welcome.
pub(super) struct Stream<'a> {
    ingest: &'a Ingest,
    shard: Arc<Shard>,
    generation: u64,
    session: Session,
    /// What it may not speak of, where that is known.
    placement: Option<Placement>,
    /// When the node object was made, and the set of nodes in which that was looked for.
    origin: (Option<u64>, Option<WallTime>),
    /// Tells it names, if it wants them and they are known.
    herald: Option<Herald>,
    /// The chain, once it has a beginning.
    chain: Option<Decoder>,
    /// A snapshot of which parts are still to come.
    pending: Option<Decoder>,
    /// The position at which the chain was resumed or held before; what a snapshot skips was lost.
    held: Option<u64>,
    /// A snapshot came, and so far only ticks that are stored already.
    joining: bool,
    /// No tick was stored yet.
    first: bool,
    /// Held while what the agent had when it came is not all here.
    behind: Option<Behind>,
    acknowledged: u64,
    acknowledged_at: Instant,
    /// The bytes of the last batch. While they are held, the buffers that they are part of are not used again but made
    /// anew when they are full, as large as a batch; else each stream would keep what a replay of a minute has filled.
    last: Bytes,
}

impl<'a> Stream<'a> {
    pub(super) fn new(
        ingest: &'a Ingest,
        shard: Arc<Shard>,
        generation: u64,
        hello: &Hello,
        chain: Option<Decoder>,
        behind: Option<Behind>,
    ) -> Self {
        let Ingest { names, directory, .. } = ingest;
        let knows = names.are_authoritative();
        let held = chain.as_ref().map(Decoder::sequence);
        Self {
            ingest,
            generation,
            session: hello.session.clone(),
            placement: knows.then(|| Placement::new(directory, &shard.node, Instant::now())),
            origin: (None, None),
            herald: (knows && hello.wants_identity).then(|| Herald::new(directory, &shard.node)),
            shard,
            chain,
            pending: None,
            held,
            joining: false,
            first: true,
            behind,
            acknowledged: held.unwrap_or(0),
            acknowledged_at: Instant::now(),
            last: Bytes::new(),
        }
    }

    /// The node that the agent speaks for.
    pub(super) fn node(&self) -> &str {
        &self.shard.node
    }

    /// Leaves the chain for the agent's return, unless it broke the contract. A chain that has not joined the store would
    /// never join it.
    pub(super) fn end(self, end: &End) {
        let node = self.shard.node.as_ref();
        let is_broken = if let End::Violation(what) = end {
            tracing::warn!(node, what, "agent broke the contract");
            true
        } else {
            tracing::info!(node, reason = end.reason(), "agent disconnected");
            false
        };
        let chain = self.chain.filter(|_| !self.joining && !is_broken);
        self.shard.write().end(self.generation, chain);
    }

    pub(super) async fn run(
        &mut self,
        incoming: &mut Streaming<wire::AgentMessage>,
        answers: &Answers,
    ) -> End {
        let mut silence = Silence::new(SILENCE.max(self.session.interval * SILENT_TICKS));
        loop {
            let next = tokio::select! {
                biased;
                next = self.ingest.next(incoming) => next,
                () = silence.too_long() => return End::Silent,
            };
            let kind = match next {
                Ok(kind) => kind,
                Err(end) => return end,
            };
            silence.broken();
            let taken = match kind {
                agent_message::Kind::Hello(_) => Err(End::Violation("a second hello".to_owned())),
                agent_message::Kind::Snapshot(part) => self.snapshot(&part),
                agent_message::Kind::Batch(encoded) => {
                    self.last = encoded;
                    self.batch(&self.last.clone(), answers)
                }
            };
            if let Err(end) = taken {
                return end;
            }
            if !self.acknowledge(answers) {
                return End::Agent;
            }
        }
    }

    fn snapshot(&mut self, part: &[u8]) -> Result<(), End> {
        let mut chain = self.pending.take().unwrap_or_default();
        if chain.encoded_snapshot(part)? {
            self.pending = Some(chain);
            return Ok(());
        }
        if let Some(held) = self.held.take() {
            self.ingest.metrics.lost.inc_by(chain.sequence().saturating_sub(held));
        }
        self.joining = true;
        self.acknowledged = chain.sequence();
        self.chain = Some(chain);
        self.first = true;
        Ok(())
    }

    fn batch(&mut self, encoded: &[u8], answers: &Answers) -> Result<(), End> {
        BUFFERS.with_borrow_mut(|buffers| self.batch_into(encoded, answers, buffers))
    }

    fn batch_into(&mut self, encoded: &[u8], answers: &Answers, buffers: &mut Buffers) -> Result<(), End> {
        let Some(chain) = self.chain.as_mut().filter(|_| self.pending.is_none()) else {
            return Err(End::Violation("a batch before the snapshot was complete".to_owned()));
        };
        let tick = chain.batch_into(encoded, buffers)?;
        let has_sent_all = tick.sequence >= self.session.newest_sequence;
        self.behind = self.behind.take().filter(|behind| !has_sent_all && !behind.is_over(Instant::now()));
        self.ingest.metrics.unknown(chain.take_unknown());
        let refused = self.judge(tick);
        if !self.store(tick, &refused)? {
            return Ok(());
        }
        self.complain(&refused);
        let Ingest { names, directory, metrics, .. } = self.ingest;
        if let Some(chain) = &self.chain {
            names.ticked(directory, &self.shard.node, tick, chain, self.first);
        }
        self.first = false;
        metrics.batches.inc();
        metrics.bytes.inc_by(u64::try_from(encoded.len()).unwrap_or(u64::MAX));
        for omission in &tick.omissions {
            metrics.omitted(omission.reason.as_str(), omission.count);
        }
        self.tell(tick, answers);
        Ok(())
    }

    /// Takes out of a tick what this agent may not announce.
    fn judge(&mut self, tick: &mut Tick) -> Vec<Foreign> {
        let Some(placement) = &mut self.placement else {
            return Vec::new();
        };
        let refused = placement.judge(&self.ingest.directory, &self.shard.node, tick);
        if !refused.is_empty() {
            tick.announced.retain(|announcement| !placement.is_refused(announcement.series));
        }
        refused
    }

    /// Stores one tick but for what it may not announce; false when an earlier stream stored it already.
    fn store(&mut self, tick: &Tick, refused: &[Foreign]) -> Result<bool, End> {
        if self.joining && tick.time <= self.shard.read().last_tick() {
            return if self.shard.read().is_in_charge(self.generation) {
                Ok(false)
            } else {
                Err(End::Replaced)
            };
        }
        let (now, metrics) = (Instant::now(), &self.ingest.metrics);
        let origin = self.origin();
        // Found before the store is locked; applied before the samples are stored, so that the first one of a series
        // that is let in again is among them.
        let judged = self.judged(now);
        let Some(chain) = &self.chain else { return Ok(false) };
        let mut state = self.shard.write();
        if !state.is_in_charge(self.generation) {
            return Err(End::Replaced);
        }
        if std::mem::take(&mut self.joining) {
            let is_wanted = |series| self.placement.as_ref().is_none_or(|held| !held.is_left_out(series));
            metrics.applied(state.restart(chain, is_wanted));
        }
        for foreign in refused {
            state.evict(foreign.series);
        }
        if let (Some(_), Some(placement)) = (&judged, &self.placement) {
            let mut let_in = Vec::new();
            for &series in chain.series() {
                if placement.is_left_out(series) {
                    state.evict(series);
                } else if state.is_evicted(series) {
                    let_in.push(series);
                }
            }
            if !let_in.is_empty() {
                // Both ascend.
                let is_let_in = |series| let_in.binary_search(&series).is_ok();
                metrics.applied(state.admit(chain.live().filter(|(one, ..)| is_let_in(one.series))));
            }
        }
        if let Some(created) = origin {
            state.note_origin(created);
        }
        metrics.applied(state.apply(tick, now));
        state.catch_up(chain);
        drop(state);
        self.complain(&judged.unwrap_or_default());
        Ok(true)
    }

    /// When the node object was made, if there is one.
    fn origin(&mut self) -> Option<WallTime> {
        // Asked first: a change that comes in between is seen the next time.
        let node_set = self.ingest.directory.node_set();
        if self.origin.0 != Some(node_set) {
            let node = self.ingest.directory.node(&self.shard.node);
            self.origin = (Some(node_set), node.map(|node| node.created));
        }
        self.origin.1
    }

    /// Looks at everything that is live, when it is time to. Returns what is refused from now on.
    fn judged(&mut self, now: Instant) -> Option<Vec<Foreign>> {
        let (placement, chain) = (self.placement.as_mut()?, self.chain.as_ref()?);
        let is_due = placement.is_due(now) || self.first;
        is_due.then(|| placement.judge_all(&self.ingest.directory, &self.shard.node, chain, now))
    }

    fn complain(&self, refused: &[Foreign]) {
        let Some(Foreign { uid, node, .. }) = refused.first() else { return };
        let own = self.shard.node.as_ref();
        self.ingest.metrics.refused_announcements(FOREIGN_POD, refused.len());
        if self.ingest.complaints.is_news(own, FOREIGN_POD, Instant::now()) {
            let series = refused.len();
            tracing::warn!(node = own, %uid, bound_to = %node, series, "agent announced pods of another node; left out");
        }
    }

    /// Tells names, if there are new ones and the agent reads.
    fn tell(&mut self, tick: &Tick, answers: &Answers) {
        let (Some(herald), Some(chain)) = (&mut self.herald, &self.chain) else { return };
        let news = herald.news(&self.ingest.directory, &self.shard.node, tick, chain, Instant::now());
        let Some(news) = news else { return };
        // The rest of the queue is for acknowledgements.
        if answers.capacity() <= QUEUE / 2 {
            return herald.not_told();
        }
        self.ingest.metrics.named.inc_by(news.series());
        if answer(answers, aggregator_message::Kind::Identity(news.identity.clone())) {
            herald.told(&news);
        }
    }

    /// Acknowledges when it is time to; false when the agent is gone.
    fn acknowledge(&mut self, answers: &Answers) -> bool {
        let sequence = self.chain.as_ref().map_or(0, Decoder::sequence);
        let waiting = sequence.saturating_sub(self.acknowledged);
        if waiting == 0 || waiting < ACK_BATCHES && self.acknowledged_at.elapsed() < ACK_TIME {
            return true;
        }
        self.acknowledged = sequence;
        self.acknowledged_at = Instant::now();
        answer(answers, aggregator_message::Kind::Ack(wire::Ack { sequence }))
    }
}
