//! What the API is told: records of the directory joined with counters of the store, computed when asked.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::sample::{BootTime, WallTime};

use crate::{
    api::source::{
        Lookup, NodeAnswer, NodeInfo, NodeSelection, PodAnswer, PodPlace, PodSelection, Source,
        Usage as Numbers,
    },
    directory::{self, ContainerRecord, Directory, NodeRecord, PodRecord},
    kubelet::{Kubelets, choice::choose},
    metrics::Served,
    picture::{Member, Omission, Picture, Rules, Situation, picture},
    store::{
        Store,
        node::{CounterRef, NodeState, Session},
    },
    usage::{PerContainer, Usage},
};

/// Pods whose counters are read ahead together: enough to have the processor wait for as many places in memory as it can
/// at one time.
const AHEAD: usize = 16;

/// A way to look at everything; cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    /// The counters.
    pub store: Arc<Store>,
    /// The names.
    pub directory: Arc<Directory>,
    /// The kubelets of nodes without an agent, if they are polled.
    pub kubelets: Option<Arc<Kubelets>>,
    /// What is served and when.
    pub rules: Rules,
    /// Where ages and omissions are counted.
    pub served: Served,
}

impl View {
    pub(crate) fn pod_answer(&self, record: &Arc<PodRecord>, now: Moment) -> Result<PodAnswer, Omission> {
        let shard = self.store.shard(&record.node);
        let state = shard.as_ref().map(|shard| shard.read());
        self.pod_answer_of(record, state.as_deref(), now)
    }

    /// The same, by what is known of its node.
    fn pod_answer_of(
        &self,
        record: &Arc<PodRecord>,
        state: Option<&NodeState>,
        now: Moment,
    ) -> Result<PodAnswer, Omission> {
        let agents = self.agents_pod(record, state, now);
        match &self.kubelets {
            None => agents,
            Some(kubelets) => choose(agents, kubelets.pod_answer(record, now.instant), |pod| pod.timestamp),
        }
    }

    pub(crate) fn node_answer(&self, record: &Arc<NodeRecord>, now: Moment) -> Result<NodeAnswer, Omission> {
        let agents = self.agents_node(record, now);
        match &self.kubelets {
            None => agents,
            Some(kubelets) => {
                choose(agents, kubelets.node_answer(record, now.instant), |node| node.timestamp)
            }
        }
    }

    fn agents_pod(
        &self,
        record: &Arc<PodRecord>,
        state: Option<&NodeState>,
        now: Moment,
    ) -> Result<PodAnswer, Omission> {
        let state = state.ok_or(Omission::NoAgent)?;
        let picture = picture_of(record, state, now, &self.rules, record.ready.time())?;
        Ok(PodAnswer {
            pod: Arc::clone(record),
            held: picture.held,
            timestamp: state.wall(picture.end),
            window: picture.window,
            usages: picture.usages.iter().map(numbers).collect(),
        })
    }

    fn agents_node(&self, record: &Arc<NodeRecord>, now: Moment) -> Result<NodeAnswer, Omission> {
        self.node_picture(record, now, &self.rules, |state, picture, usage| NodeAnswer {
            node: Arc::clone(record),
            timestamp: state.wall(picture.end),
            window: picture.window,
            usage: numbers(usage),
        })
    }

    /// What the agent of its node makes of a pod, by these rules; its window begins after `ready`. `make` is called
    /// under the node's lock.
    pub(crate) fn pod_picture<T>(
        &self,
        record: &PodRecord,
        now: Moment,
        rules: &Rules,
        ready: Option<WallTime>,
        make: impl FnOnce(&NodeState, &Picture) -> T,
    ) -> Result<T, Omission> {
        let shard = self.store.shard(&record.node).ok_or(Omission::NoAgent)?;
        let state = shard.read();
        let picture = picture_of(record, &state, now, rules, ready)?;
        Ok(make(&state, &picture))
    }

    /// What the agent of a node makes of it, by these rules. `make` is called under the node's lock.
    pub(crate) fn node_picture<T>(
        &self,
        record: &NodeRecord,
        now: Moment,
        rules: &Rules,
        make: impl FnOnce(&NodeState, &Picture, &Usage) -> T,
    ) -> Result<T, Omission> {
        let shard = self.store.shard(&record.name).ok_or(Omission::NoAgent)?;
        let state = shard.read();
        if !state.is_of_node(record.created) {
            return Err(Omission::NoAgent);
        }
        let situation = situation(&state, None, now)?;
        let node = state.ring(&CounterRef::Node);
        let no_previous: Option<(std::iter::Empty<Member<'_>>, BootTime)> = None;
        let picture = picture(std::iter::once(node), no_previous, &situation, rules)?;
        let usage = picture.usages.first().ok_or(Omission::NotMeasured)?;
        Ok(make(&state, &picture, usage))
    }

    /// Visits the answers for some pods, which are read ahead together; whom `visit` broke off at.
    fn together(
        &self,
        records: &[Arc<PodRecord>],
        now: Moment,
        visit: &mut dyn FnMut(&PodAnswer) -> ControlFlow<()>,
    ) -> ControlFlow<PodPlace> {
        directory::read_ahead(records);
        let coming = records.iter().map(|record| {
            let counters = record.containers.iter().map(|container| (&container.counter, &container.place));
            (record.node.as_ref(), counters)
        });
        let mut one = |record: &Arc<PodRecord>, answer: Result<PodAnswer, Omission>| match self.counted(
            answer,
            now,
            |pod| pod.timestamp,
        ) {
            Some(answer) if visit(&answer).is_break() => ControlFlow::Break(PodPlace::of(record)),
            _ => ControlFlow::Continue(()),
        };
        let looked = self.store.look_together(coming, self.rules.window, |states| {
            let mut all = records.iter().zip(states);
            all.try_for_each(|(record, state)| one(record, self.pod_answer_of(record, *state, now)))
        });
        looked.unwrap_or_else(|| {
            records.iter().try_for_each(|record| one(record, self.pod_answer(record, now)))
        })
    }

    /// Counts what was served, or why not, and lets it through.
    fn counted<T>(
        &self,
        answer: Result<T, Omission>,
        now: Moment,
        timestamp: impl Fn(&T) -> WallTime,
    ) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.served.age(now.since(timestamp(&answer)));
                Some(answer)
            }
            Err(reason) => {
                self.served.omitted(reason);
                None
            }
        }
    }

    fn info(&self, record: &NodeRecord) -> Option<NodeInfo> {
        let shard = self.store.shard(&record.name)?;
        let state = shard.read();
        let session = state.session()?;
        Some(NodeInfo {
            name: Arc::clone(&record.name),
            labels: record.labels.clone(),
            cpus: session.cpus,
            memory_bytes: session.memory_bytes,
            created: record.created,
        })
    }
}

/// When a question is asked, by both clocks; read once for all that one call answers.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock.
    pub instant: Instant,
    /// The wall clock: since 1970.
    pub wall: Duration,
}

impl Moment {
    /// This one.
    #[must_use]
    pub fn now() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { instant: Instant::now(), wall }
    }

    /// How old a number is. Node and aggregator clocks differ a little, so it may come out as zero.
    pub(crate) fn since(self, timestamp: WallTime) -> Duration {
        self.wall.saturating_sub(Duration::from_micros(timestamp.0))
    }
}

/// What the agent of its node makes of a pod.
fn picture_of(
    record: &PodRecord,
    state: &NodeState,
    now: Moment,
    rules: &Rules,
    ready: Option<WallTime>,
) -> Result<Picture, Omission> {
    let situation = situation(state, ready, now)?;
    let ring = |container: &ContainerRecord| state.ring_again(&container.counter, &container.place);
    // Found once, and all before any is read, so that one's way to memory does not wait for the other's.
    let members: PerContainer<Member<'_>> = record.containers.iter().map(ring).collect();
    let previous =
        record.previous.as_deref().map(|(containers, until)| (containers.iter().map(ring), *until));
    picture(members.iter().copied(), previous, &situation, rules)
}

fn situation(state: &NodeState, ready: Option<WallTime>, now: Moment) -> Result<Situation, Omission> {
    let is_heard = |_: &&Session| state.silent_for(now.instant).is_some();
    let session = state.session().filter(is_heard).ok_or(Omission::NoAgent)?;
    Ok(Situation {
        now: state.now(now.instant),
        ready: ready.map(|ready| state.boot(ready)),
        interval: session.interval,
    })
}

fn numbers(usage: &Usage) -> Numbers {
    Numbers { cpu_nanocores: usage.cpu_nanocores, memory_bytes: usage.working_set.bytes() }
}

fn lookup<T>(known: bool, answer: Option<T>) -> Lookup<T> {
    match answer {
        Some(answer) => Lookup::Found(answer),
        None if known => Lookup::NoSample,
        None => Lookup::Unknown,
    }
}

impl Source for View {
    fn node(&self, name: &str) -> Lookup<NodeAnswer> {
        let record = self.directory.node(name);
        let now = Moment::now();
        let answer = record.as_ref().map(|record| self.node_answer(record, now));
        lookup(record.is_some(), answer.and_then(|answer| self.counted(answer, now, |node| node.timestamp)))
    }

    fn nodes(
        &self,
        wanted: &NodeSelection<'_>,
        after: Option<&str>,
        visit: &mut dyn FnMut(&NodeAnswer) -> ControlFlow<()>,
    ) -> Option<Arc<str>> {
        let mut after: Option<Arc<str>> = after.map(Arc::from);
        let now = Moment::now();
        loop {
            let records = self.directory.nodes_after(after.as_deref());
            let last = Arc::clone(&records.last()?.name);
            for record in records.into_iter().filter(|record| wanted.matches(record)) {
                if let Some(answer) = self.counted(self.node_answer(&record, now), now, |node| node.timestamp)
                    && visit(&answer).is_break()
                {
                    return Some(Arc::clone(&record.name));
                }
            }
            after = Some(last);
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer> {
        let record = self.directory.pod(namespace, name);
        let now = Moment::now();
        let answer = record.as_ref().map(|record| self.pod_answer(record, now));
        lookup(record.is_some(), answer.and_then(|answer| self.counted(answer, now, |pod| pod.timestamp)))
    }

    fn pods(
        &self,
        wanted: &PodSelection<'_>,
        after: Option<&PodPlace>,
        visit: &mut dyn FnMut(&PodAnswer) -> ControlFlow<()>,
    ) -> Option<PodPlace> {
        let page = self.directory.page(wanted, after);
        let now = Moment::now();
        let mut parts = page.records.chunks(AHEAD);
        match parts.try_for_each(|records| self.together(records, now, visit)) {
            ControlFlow::Break(place) => Some(place),
            ControlFlow::Continue(()) => page.next,
        }
    }

    fn pods_at_most(&self, namespace: Option<&str>) -> usize {
        self.directory.count(namespace)
    }

    fn namespaces(&self) -> Vec<Arc<str>> {
        self.directory.namespaces()
    }

    fn node_infos(&self) -> Vec<NodeInfo> {
        self.directory.nodes().iter().filter_map(|record| self.info(record)).collect()
    }

    fn node_info(&self, name: &str) -> Option<NodeInfo> {
        self.info(&*self.directory.node(name)?)
    }
}

#[cfg(test)]
mod tests;
