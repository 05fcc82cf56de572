//! What is kept of a long list before its first byte is sent.
//!
//! A Kubernetes protobuf body says its length before anything else, and the lengths of its numbers are not known
//! before they are computed; computed again, they would be others. So the numbers are computed once and kept packed,
//! some 35 bytes a pod instead of the 200 to 400 of the encoded one, next to a reference to the pod's record.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    panic::resume_unwind,
    sync::Arc,
    time::{Duration, Instant},
};

use kubevitals::sample::WallTime;
use prost::encoding::{decode_varint, encode_varint};
use tokio::{
    sync::OwnedSemaphorePermit,
    task::{JoinError, spawn_blocking},
};

use super::{budget::Budget, produce::Producer};
use crate::api::{
    encode::{
        envelope,
        list::{Item, ListWriter},
    },
    source::{NodeAnswer, PodAnswer, PodRecord, Usage, read_ahead},
};
use crate::usage::PerContainer;

/// Pods of one part of a plan; a part is let go of when it is written. Encoded it is a fraction of a piece.
const PART: usize = 32;

/// How long a list is worked on at one time: nobody may wait for it any more.
const AT_A_TIME: Duration = Duration::from_millis(5);

/// The rest of a list, computed and not encoded yet.
#[derive(Debug)]
pub(super) struct Planned {
    writer: ListWriter,
    parts: VecDeque<Part>,
    length: usize,
    /// The end of the list and of the envelope.
    tail: Option<Vec<u8>>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Some answers.
#[derive(Debug)]
enum Part {
    Nodes(Vec<NodeAnswer>),
    Pods(PackedPods),
}

/// Pods with their numbers packed: held, time, window, count, then CPU and memory of each container, as varints.
#[derive(Debug, Default)]
struct PackedPods {
    pods: Vec<Arc<PodRecord>>,
    numbers: Vec<u8>,
}

/// A rest that is being computed.
#[derive(Debug)]
struct Planning {
    producer: Producer,
    parts: VecDeque<Part>,
    length: usize,
}

impl Planning {
    /// Computes some of what `producer` has not visited yet, until another list wants the turn.
    fn go_on(&mut self, budget: &Budget, mut turn: Option<OwnedSemaphorePermit>) {
        let Self { producer, parts, length } = self;
        let begun = Instant::now();
        loop {
            producer.visit(|writer, item| {
                let item_length = match item {
                    Item::Node(answer) => writer.node_len(answer),
                    Item::Pod(answer) => writer.pod_len(answer),
                };
                *length += item_length.unwrap_or_default();
                add(parts, &item);
                ControlFlow::Continue(())
            });
            // Whoever waits has it then.
            drop(turn.take());
            turn = budget.turn_now();
            if producer.is_done() || turn.is_none() || begun.elapsed() >= AT_A_TIME {
                return;
            }
        }
    }

    /// The same, on a thread for such work. On a worker it would have to make way for others after each page, and each time
    /// an idle worker takes over what was begun, with nothing of it in its processor's caches. A panic there is one here.
    async fn went_on(mut self, budget: &Budget) -> Self {
        let (turn, budget) = (budget.turn().await, budget.clone());
        let work = spawn_blocking(move || {
            self.go_on(&budget, turn);
            self
        });
        match work.await.map_err(JoinError::try_into_panic) {
            Ok(planning) => planning,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime ends, and with it who waits for this.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

impl Planned {
    /// Computes all that `producer` has not visited yet.
    pub(super) async fn of(producer: Producer, budget: &Budget) -> Self {
        let was_done = producer.is_done();
        let room = if was_done { None } else { budget.room_for(producer.at_most()).await };
        let mut planning = Planning { producer, parts: VecDeque::new(), length: 0 };
        while !planning.producer.is_done() {
            planning = planning.went_on(budget).await;
        }
        let Planning { producer, parts, mut length } = planning;
        let (mut writer, mut tail) = (producer.into_writer(), Vec::new());
        if !was_done {
            writer.end(&mut tail);
        }
        length += tail.len();
        tail.extend_from_slice(&envelope::TAIL);
        Self { writer, parts, length, tail: Some(tail), _room: room }
    }

    /// Of what is to come of the message, bytes.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Appends some answers or the envelope's end; whether there may be more.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, length: usize) -> bool {
        while out.len() < length
            && let Some(part) = self.parts.pop_front()
        {
            part.write(&mut self.writer, out);
        }
        if self.parts.is_empty()
            && let Some(tail) = self.tail.take()
        {
            out.extend_from_slice(&tail);
        }
        self.tail.is_some()
    }
}

fn add(parts: &mut VecDeque<Part>, item: &Item<'_>) {
    match (parts.back_mut(), item) {
        (Some(Part::Nodes(nodes)), Item::Node(answer)) if nodes.len() < PART => nodes.push((*answer).clone()),
        (Some(Part::Pods(pods)), Item::Pod(answer)) if pods.pods.len() < PART => pods.push(answer),
        (before, item) => {
            if let Some(full) = before {
                full.shrink();
            }
            parts.push_back(match item {
                Item::Node(answer) => Part::Nodes(vec![(*answer).clone()]),
                Item::Pod(answer) => {
                    let mut pods = PackedPods::default();
                    pods.push(answer);
                    Part::Pods(pods)
                }
            });
        }
    }
}

impl Part {
    fn shrink(&mut self) {
        match self {
            Self::Nodes(nodes) => nodes.shrink_to_fit(),
            Self::Pods(pods) => {
                pods.pods.shrink_to_fit();
                pods.numbers.shrink_to_fit();
            }
        }
    }

    fn write(self, writer: &mut ListWriter, out: &mut Vec<u8>) {
        match self {
            Self::Nodes(nodes) => nodes.iter().for_each(|answer| writer.node(out, answer)),
            Self::Pods(pods) => pods.for_each(|answer| writer.pod(out, answer)),
        }
    }
}

impl PackedPods {
    fn push(&mut self, answer: &PodAnswer) {
        self.pods.push(Arc::clone(&answer.pod));
        let window = u64::try_from(answer.window.as_nanos()).unwrap_or(u64::MAX);
        let head = [u64::from(answer.held), answer.timestamp.0, window, answer.usages.len() as u64];
        let usages = answer.usages.iter().flat_map(|usage| [usage.cpu_nanocores, usage.memory_bytes]);
        for number in head.into_iter().chain(usages) {
            encode_varint(number, &mut self.numbers);
        }
    }

    fn for_each(self, mut visit: impl FnMut(&PodAnswer)) {
        read_ahead(&self.pods);
        let mut numbers = self.numbers.as_slice();
        // What was packed here is unpacked here, so the numbers never run out.
        let mut next = || decode_varint(&mut numbers).unwrap_or_default();
        let mut usages = PerContainer::new();
        for pod in self.pods {
            let (held, timestamp, window, count) = (next() != 0, WallTime(next()), next(), next());
            usages.extend((0..count).map(|_| Usage { cpu_nanocores: next(), memory_bytes: next() }));
            let answer = PodAnswer { pod, held, timestamp, window: Duration::from_nanos(window), usages };
            visit(&answer);
            usages = answer.usages;
            usages.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::api::fixture::pod_answer;

    proptest! {
        #[test]
        fn what_is_packed_comes_out_as_it_was(
            pods in proptest::collection::vec((any::<bool>(), any::<u64>(), any::<u64>(), proptest::collection::vec(any::<(u64, u64)>(), 0..4)), 0..40),
        ) {
            let answers: Vec<PodAnswer> = pods.into_iter().map(|(held, timestamp, window, usages)| PodAnswer {
                held,
                timestamp: WallTime(timestamp),
                window: Duration::from_nanos(window),
                usages: usages.into_iter().map(|(cpu_nanocores, memory_bytes)| Usage { cpu_nanocores, memory_bytes }).collect(),
                ..pod_answer(["a", "b", "c"], &[], &[])
            }).collect();
            let mut packed = PackedPods::default();
            for answer in &answers {
                packed.push(answer);
            }
            let mut unpacked = Vec::new();
            packed.for_each(|answer| unpacked.push(answer.clone()));
            prop_assert_eq!(unpacked, answers);
        }
    }
}
