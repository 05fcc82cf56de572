//! What the API is told: records of the directory joined with counters of the store, computed when asked.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use kubevitals::sample::{BootTime, WallTime};

use crate::{
    api::source::{
        ContainerAnswer, Lookup, NodeAnswer, NodeInfo, NodeRef, PodAnswer, PodRef, Source, Usage as Numbers,
    },
    directory::{ContainerRecord, Directory, NodeRecord, PodRecord},
    metrics::Served,
    picture::{Member, Omission, Picture, Rules, Situation, picture},
    store::{
        Shard, Store,
        node::{CounterRef, NodeState},
    },
    usage::Usage,
};

/// A way to look at everything; cheap to clone.
#[derive(Debug, Clone)]
pub struct View {
    /// The counters.
    pub store: Arc<Store>,
    /// The names.
    pub directory: Arc<Directory>,
    /// What is served and when.
    pub rules: Rules,
    /// Where ages and omissions are counted.
    pub served: Served,
}

impl View {
    fn pod_answer(&self, record: &PodRecord, shard: Option<&Shard>) -> Result<PodAnswer, Omission> {
        let state = shard.ok_or(Omission::NoAgent)?.read();
        let situation = situation(&state, record.ready)?;
        let member = |container: &'_ ContainerRecord| state.ring(&container.counter);
        let members = record
            .containers
            .iter()
            .map(|container| Member { name: &container.name, ring: member(container) });
        let previous = record.previous.as_ref().map(|(containers, until)| {
            let members =
                containers.iter().map(|container| Member { name: &container.name, ring: member(container) });
            (members, *until)
        });
        let Picture { end, window, containers } = picture(members, previous, &situation, &self.rules)?;
        Ok(PodAnswer {
            namespace: Arc::clone(&record.namespace),
            name: Arc::clone(&record.name),
            node: Arc::clone(&record.node),
            labels: record.labels.clone(),
            timestamp: state.wall(end),
            window,
            containers: containers
                .into_iter()
                .map(|(name, usage)| ContainerAnswer { name, usage: numbers(&usage) })
                .collect(),
        })
    }

    fn node_answer(&self, record: &NodeRecord) -> Result<NodeAnswer, Omission> {
        let shard = self.store.shard(&record.name).ok_or(Omission::NoAgent)?;
        let state = shard.read();
        let situation = situation(&state, None)?;
        let node = Member { name: &record.name, ring: state.ring(&CounterRef::Node) };
        let no_previous: Option<(std::iter::Empty<Member<'_>>, BootTime)> = None;
        let picture = picture(std::iter::once(node), no_previous, &situation, &self.rules)?;
        let usage =
            picture.containers.first().map(|(_, usage)| numbers(usage)).ok_or(Omission::NotMeasured)?;
        Ok(NodeAnswer {
            name: Arc::clone(&record.name),
            labels: record.labels.clone(),
            timestamp: state.wall(picture.end),
            window: picture.window,
            usage,
        })
    }

    /// Counts what was served, or why not, and lets it through.
    fn counted<T>(&self, answer: Result<T, Omission>, timestamp: impl Fn(&T) -> WallTime) -> Option<T> {
        match answer {
            Ok(answer) => {
                self.served.age(age(timestamp(&answer)));
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

fn situation(state: &NodeState, ready: Option<WallTime>) -> Result<Situation, Omission> {
    let now = Instant::now();
    let session = state.session().filter(|_| state.silent_for(now).is_some()).ok_or(Omission::NoAgent)?;
    Ok(Situation {
        now: state.now(now),
        ready: ready.map(|ready| state.boot(ready)),
        interval: session.interval,
    })
}

fn numbers(usage: &Usage) -> Numbers {
    Numbers { cpu_nanocores: usage.cpu_nanocores, memory_bytes: usage.working_set.bytes() }
}

/// How old a number is. Node and aggregator clocks differ a little, so it may come out as zero.
fn age(timestamp: WallTime) -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_micros(timestamp.0))
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
        let answer = record.as_ref().map(|record| self.node_answer(record));
        lookup(record.is_some(), answer.and_then(|answer| self.counted(answer, |node| node.timestamp)))
    }

    fn nodes(&self, wanted: &dyn Fn(&NodeRef<'_>) -> bool, visit: &mut dyn FnMut(&NodeAnswer)) {
        for record in self.directory.nodes() {
            if wanted(&NodeRef { name: &record.name, labels: &record.labels })
                && let Some(answer) = self.counted(self.node_answer(&record), |node| node.timestamp)
            {
                visit(&answer);
            }
        }
    }

    fn pod(&self, namespace: &str, name: &str) -> Lookup<PodAnswer> {
        let record = self.directory.pod(namespace, name);
        let answer =
            record.as_ref().map(|record| self.pod_answer(record, self.store.shard(&record.node).as_deref()));
        lookup(record.is_some(), answer.and_then(|answer| self.counted(answer, |pod| pod.timestamp)))
    }

    fn pods(
        &self,
        namespace: Option<&str>,
        wanted: &dyn Fn(&PodRef<'_>) -> bool,
        visit: &mut dyn FnMut(&PodAnswer),
    ) {
        let records = self.directory.pods(namespace, |record| {
            let PodRecord { namespace, name, node, labels, .. } = record;
            wanted(&PodRef { namespace, name, node, labels })
        });
        for record in records {
            let shard = self.store.shard(&record.node);
            let answer = self.pod_answer(&record, shard.as_deref());
            if let Some(answer) = self.counted(answer, |pod| pod.timestamp) {
                visit(&answer);
            }
        }
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
