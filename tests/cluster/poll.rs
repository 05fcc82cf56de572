//! Asking again and again while something happens, and counting what a user would have noticed.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    task::{JoinHandle, spawn_local},
    time::{Instant, MissedTickBehavior, interval},
};

use crate::{
    counters::{Reading, allowed},
    forms::Pod,
    metrics::{self, VERSIONS},
    stage::Stage,
    wait::now_s,
};

/// Ten requests a second.
const BETWEEN: Duration = Duration::from_millis(100);

/// A pod that has to be served in every answer, and its node.
#[derive(Debug, Clone)]
pub(crate) struct Steady {
    pub(crate) pod: String,
    pub(crate) node: String,
}

/// What was asked and answered until now.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// Requests answered or given up.
    pub(crate) requests: u32,
    /// When, since the polling began, and why.
    pub(crate) failed: Vec<(Duration, String)>,
    /// Answers in which the steady pod or its node was missing.
    pub(crate) gaps: Vec<(Duration, String)>,
    /// Different pictures of the steady pod, and when each was first seen.
    pub(crate) pictures: Vec<(Duration, Pod)>,
    /// Pictures that its own counters do not allow, and how many could be judged.
    pub(crate) wrong: Vec<(Duration, String)>,
    pub(crate) judged: usize,
    /// Answers whose picture of the pod was older than one before, and by how many seconds at most. Two replicas may
    /// be one tick apart.
    pub(crate) steps_back: u32,
    pub(crate) largest_step_back: u64,
    /// Of the numbers of the steady pod, in seconds. Timestamps are whole seconds, cut off.
    pub(crate) oldest: f64,
    pub(crate) slowest: Duration,
    /// The latest picture of the steady pod.
    pub(crate) latest: u64,
}

/// Requests under way.
#[derive(Debug)]
pub(crate) struct Poll {
    began: Instant,
    seen: Arc<Mutex<Seen>>,
    asking: JoinHandle<()>,
}

impl Poll {
    /// Asks for the pods of the test and for nodes in turn, in both versions, ten times a second; an answer that is
    /// late delays no other question.
    pub(crate) fn start(stage: &Arc<Stage>, steady: Steady) -> Self {
        let began = Instant::now();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (stage, into) = (Arc::clone(stage), Arc::clone(&seen));
        let asking = spawn_local(async move {
            let mut ticks = interval(BETWEEN);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            for turn in 0_usize.. {
                ticks.tick().await;
                let (stage, steady, into) = (Arc::clone(&stage), steady.clone(), Arc::clone(&into));
                spawn_local(async move {
                    let asked = Instant::now();
                    let answer = ask(&stage, &steady, turn).await;
                    let mut seen = into.lock().expect("no poll panics while it counts");
                    seen.take(&steady, began, asked, answer);
                });
            }
        });
        Self { began, seen, asking }
    }

    /// What was seen until now.
    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().expect("no poll panics while it counts").clone()
    }

    /// How long it has been going on.
    pub(crate) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

impl Drop for Poll {
    fn drop(&mut self) {
        self.asking.abort();
    }
}

/// What one answer says of the steady pod or of its node.
enum Answer {
    Pod(Option<Pod>),
    /// Whether the node is there.
    Node(bool),
}

async fn ask(stage: &Stage, steady: &Steady, turn: usize) -> Result<Answer, String> {
    let version = VERSIONS[turn % 2];
    if turn % 4 < 3 {
        let mut pods = metrics::pods(&stage.client, version, &stage.namespace).await?;
        Ok(Answer::Pod(pods.remove(&steady.pod)))
    } else {
        let nodes = metrics::nodes(&stage.client, version).await?;
        Ok(Answer::Node(nodes.contains_key(&steady.node)))
    }
}

impl Seen {
    fn take(&mut self, steady: &Steady, began: Instant, asked: Instant, answer: Result<Answer, String>) {
        let at = asked - began;
        self.requests += 1;
        self.slowest = self.slowest.max(asked.elapsed());
        match answer {
            Err(why) => self.failed.push((at, why)),
            Ok(Answer::Node(true)) => {}
            Ok(Answer::Node(false)) => self.gaps.push((at, format!("node {}", steady.node))),
            Ok(Answer::Pod(None)) => self.gaps.push((at, format!("pod {}", steady.pod))),
            Ok(Answer::Pod(Some(pod))) => self.take_picture(at, pod),
        }
    }

    fn take_picture(&mut self, at: Duration, pod: Pod) {
        if pod.timestamp < self.latest {
            self.steps_back += 1;
            self.largest_step_back = self.largest_step_back.max(self.latest - pod.timestamp);
        }
        self.latest = self.latest.max(pod.timestamp);
        self.oldest = self.oldest.max(now_s() - pod.timestamp as f64);
        // The same picture is served for a second, by each replica.
        if !self.pictures.iter().rev().take(8).any(|(_, before)| *before == pod) {
            self.pictures.push((at, pod));
        }
    }

    /// Compares every picture with the steady pod's own counters.
    pub(crate) fn judge(mut self, readings: &[Reading]) -> Self {
        for (at, pod) in std::mem::take(&mut self.pictures) {
            let Some((low, high)) = allowed(readings, &pod) else { continue };
            let used = pod.usage().nanocores as f64 / 1e9;
            self.judged += 1;
            if !(low..=high).contains(&used) {
                self.wrong.push((at, format!("{used} cores, not within {low} and {high}; {pod:?}")));
            }
        }
        self
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, judged, oldest, slowest, steps_back, largest_step_back, .. } = self;
        let (failed, gaps, wrong) = (self.failed.len(), self.gaps.len(), self.wrong.len());
        write!(f, "{requests} requests, {failed} failed, {gaps} gaps, {wrong} wrong of {judged} pictures; ")?;
        write!(f, "oldest number {oldest:.1} s, slowest answer {slowest:.1?}, ")?;
        write!(f, "{steps_back} answers older than one before, by {largest_step_back} s at most")?;
        for (kind, all) in [("failed", &self.failed), ("gap", &self.gaps), ("wrong", &self.wrong)] {
            for (at, what) in all.iter().take(5) {
                write!(f, "\n        {kind} after {at:.1?}: {what}")?;
            }
        }
        Ok(())
    }
}
