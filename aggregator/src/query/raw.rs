//! `Raw`: the cumulative counters of a pod's containers, or of a node, over the time that is kept.

use std::{sync::Arc, time::Instant};

use kubevitals::{
    sample::{BootTime, Sample},
    wire,
};
use prost::Message as _;
use tonic::{Request, Response, Status};

use super::{Query, item::Subject, messages, target::Target};
use crate::{
    directory::{ContainerRecord, NodeRecord, PodRecord},
    store::node::{CounterRef, NodeState},
    view::View,
};

/// Largest answer, bytes: clients take 4 MiB unless they are told otherwise.
const LARGEST: usize = 3 << 20;

/// Answers `request`.
pub(super) async fn raw(
    query: &Query,
    mut request: Request<wire::RawRequest>,
) -> Result<Response<wire::RawResponse>, Status> {
    let caller = query.access.caller(&mut request).await?;
    let wire::RawRequest { subject, after_time_us } = request.into_inner();
    let asked = Target::checked(subject)?;
    let after = BootTime(after_time_us);
    caller.may_get(asked.object()).await?;
    let series = match &asked {
        Target::Pod { namespace, name } => of_pod(&query.view, namespace, name, None, after)?,
        Target::Container { namespace, pod, name } => of_pod(&query.view, namespace, pod, Some(name), after)?,
        Target::Node(name) => of_node(&query.view, name, after)?,
    };
    let response = wire::RawResponse { series };
    if response.encoded_len() > LARGEST {
        let message =
            "the counters are more than a message holds; ask by container, or with a later after_time_us";
        return Err(Status::resource_exhausted(message));
    }
    Ok(Response::new(response))
}

/// The containers that run, then those that ran before and are still kept.
fn of_pod(
    view: &View,
    namespace: &str,
    name: &str,
    container: Option<&str>,
    after: BootTime,
) -> Result<Vec<wire::RawSeries>, Status> {
    let pod = view.directory.pod(namespace, name);
    let pod = pod.ok_or_else(|| Status::not_found(format!("pods {name:?} not found")))?;
    let wanted = |record: &&ContainerRecord| container.is_none_or(|name| name == record.name.as_ref());
    let before = pod.previous.as_deref().into_iter().flat_map(|(containers, _)| containers);
    let before = before.filter(|former| pod.containers.iter().all(|one| one.counter != former.counter));
    let records: Vec<&ContainerRecord> = pod.containers.iter().chain(before).filter(wanted).collect();
    if let (Some(container), true) = (container, records.is_empty()) {
        return Err(Status::not_found(format!("container {container:?} of pods {name:?} not found")));
    }
    let read = read(view, &pod.node, records.iter().map(|record| &record.counter), after, |_| true);
    let subject =
        |record: &ContainerRecord| Subject::Container(Arc::<PodRecord>::clone(&pod), record.clone());
    Ok(records
        .iter()
        .zip(read)
        .filter_map(|(record, counter)| Some(counter?.message(&subject(record))))
        .collect())
}

fn of_node(view: &View, name: &str, after: BootTime) -> Result<Vec<wire::RawSeries>, Status> {
    let node = view.directory.node(name);
    let node = node.ok_or_else(|| Status::not_found(format!("nodes {name:?} not found")))?;
    let is_same = |state: &NodeState| state.is_of_node(node.created);
    let read = read(view, name, std::iter::once(&CounterRef::Node), after, is_same);
    let subject = Subject::Node(Arc::<NodeRecord>::clone(&node));
    Ok(read.into_iter().flatten().map(|counter| counter.message(&subject)).collect())
}

/// A counter as it was read under its node's lock; text is made of it outside.
struct Counter {
    boot_id: String,
    samples: Vec<(Sample, kubevitals::sample::WallTime)>,
    birth: Option<kubevitals::sample::WallTime>,
    ended: bool,
    details: Option<Box<kubevitals::sample::Details>>,
}

/// What is kept of each of these counters; nothing when the node's agent is not heard or not `is_same`.
fn read<'a>(
    view: &View,
    node: &str,
    counters: impl Iterator<Item = &'a CounterRef>,
    after: BootTime,
    is_same: impl Fn(&NodeState) -> bool,
) -> Vec<Option<Counter>> {
    let Some(shard) = view.store.shard(node) else { return Vec::new() };
    let state = shard.read();
    let heard = state.session().filter(|_| state.silent_for(Instant::now()).is_some() && is_same(&state));
    let Some(session) = heard else { return Vec::new() };
    let one = |counter: &CounterRef| {
        let ring = state.ring(counter)?;
        let samples = ring.iter().filter(|sample| sample.time > after);
        Some(Counter {
            boot_id: session.boot_id.clone(),
            samples: samples.map(|sample| (sample, state.wall(sample.time))).collect(),
            birth: state.birth(counter),
            ended: !state.is_live(counter),
            details: state.details(counter).map(Box::new),
        })
    };
    counters.map(one).collect()
}

impl Counter {
    fn message(self, subject: &Subject) -> wire::RawSeries {
        let sample = |(sample, wall): (Sample, _)| wire::RawSample {
            time_us: sample.time.0,
            time: Some(messages::timestamp(wall)),
            cpu_ns: sample.cpu.0,
            working_set_bytes: sample.working_set.bytes(),
        };
        wire::RawSeries {
            subject: Some(messages::subject(subject)),
            boot_id: self.boot_id,
            birth: self.birth.map(messages::timestamp),
            ended: self.ended,
            samples: self.samples.into_iter().map(sample).collect(),
            details: self.details.as_deref().map(messages::details),
        }
    }
}
