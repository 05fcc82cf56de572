//! Messages read as people think of them.

use std::time::{Duration, SystemTime};

use crate::wire;

impl wire::Subject {
    /// `NODE`, `NAMESPACE/POD` or `NAMESPACE/POD/CONTAINER`.
    #[must_use]
    pub fn name(&self) -> String {
        match (self.pod.as_str(), self.container.as_str()) {
            ("", _) => self.node.clone(),
            (pod, "") => format!("{}/{pod}", self.namespace),
            (pod, container) => format!("{}/{pod}/{container}", self.namespace),
        }
    }
}

impl wire::Usage {
    /// Its subject's [`name`](wire::Subject::name).
    #[must_use]
    pub fn name(&self) -> String {
        self.subject.as_ref().map(wire::Subject::name).unwrap_or_default()
    }

    /// CPU time over the window, in CPUs.
    #[must_use]
    pub fn cpu_cores(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "nine digits before the point are left")]
        let nanocores = self.cpu_nanocores as f64;
        nanocores / 1e9
    }

    /// When it was last read, by its node's clock; absent when that is told wrongly.
    #[must_use]
    pub fn read_at(&self) -> Option<SystemTime> {
        SystemTime::try_from(self.time?).ok()
    }

    /// The true distance between the two readings of the rate; absent when that is told wrongly.
    #[must_use]
    pub fn true_window(&self) -> Option<Duration> {
        Duration::try_from(self.window?).ok()
    }

    /// When its cgroup was made; absent when nobody knows.
    #[must_use]
    pub fn born_at(&self) -> Option<SystemTime> {
        SystemTime::try_from(self.birth?).ok()
    }
}
