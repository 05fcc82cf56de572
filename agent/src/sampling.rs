//! The thread that samples: a steady beat, woken in between by discovery's events. It never waits for anything
//! but its own clock and those events.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use kubevitals::sample::{BootTime, WallTime};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::{
    cgroup::clock::boot_time, history::History, identity::Identities, metrics::Metrics, pace::Pace,
    sampler::Sampler,
};

/// The whole tree is compared with what is known this often, for what events missed.
const RESCAN: Duration = Duration::from_secs(30);

/// How soon to look again for a cgroup that is not yet there in every hierarchy.
const RETRY: Duration = Duration::from_millis(20);

/// Where each tick goes.
#[derive(Debug)]
pub struct Kept {
    /// The last minute, for the streams.
    pub history: History,
    /// The live series, which wait for their names.
    pub identities: Identities,
}

/// A running sampling thread; dropping it stops the thread and waits for its end.
#[derive(Debug)]
pub struct Sampling {
    stop: Arc<OwnedFd>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Sampling {
    /// Starts the thread. `wall_clock` dates each tick. `ended` is called when it ends for whatever reason, a panic included.
    pub fn start(
        sampler: Sampler,
        pace: Pace,
        wall_clock: fn() -> WallTime,
        kept: Kept,
        metrics: Metrics,
        ended: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC)?);
        let stopped = Arc::clone(&stop);
        let beat = Beat {
            sampler,
            pace,
            wall_clock,
            kept,
            metrics,
            stop: stopped,
            next_rescan: later(boot_time(), RESCAN),
        };
        let thread = thread::Builder::new().name("sampling".to_owned()).spawn(move || {
            let _guard = OnEnd(Some(ended));
            beat.run();
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Sampling {
    fn drop(&mut self) {
        // An eventfd with counter 0 takes a write of 1 without waiting; without it, the join below would hang.
        if rustix::io::write(&self.stop, &1_u64.to_ne_bytes()).is_err() {
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the sampling thread panicked");
        }
    }
}

/// Calls its function when dropped.
struct OnEnd<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for OnEnd<F> {
    fn drop(&mut self) {
        if let Some(ended) = self.0.take() {
            ended();
        }
    }
}

struct Beat {
    sampler: Sampler,
    pace: Pace,
    wall_clock: fn() -> WallTime,
    kept: Kept,
    metrics: Metrics,
    stop: Arc<OwnedFd>,
    next_rescan: BootTime,
}

/// What a wait ended with.
#[derive(Debug, PartialEq, Eq)]
enum Woken {
    Stop,
    Events,
    Timeout,
}

impl Beat {
    fn run(mut self) {
        loop {
            let now = boot_time();
            if now >= self.pace.due() {
                self.tick(now);
                continue;
            }
            let mut wait = self.pace.due().since(now);
            if self.sampler.is_waiting() {
                wait = wait.min(RETRY);
            }
            match wait_for(self.sampler.discovery().descriptor(), self.stop.as_fd(), wait) {
                Woken::Stop => return,
                Woken::Events => self.sampler.discover(),
                Woken::Timeout => self.sampler.first_readings(),
            }
        }
    }

    fn tick(&mut self, now: BootTime) {
        let report = self.sampler.tick(now, (self.wall_clock)());
        self.kept.identities.ticked(&report.announced, &report.ended);
        let (batch, chain) = (report.batch.clone(), self.sampler.chain());
        let depth = self.kept.history.push(report.sequence, report.time, batch, chain);
        let end = boot_time();
        let missed = self.pace.advance(end);
        if missed > 0 {
            tracing::warn!(missed, took_s = end.since(now).as_secs_f64(), "ticks missed");
        }
        self.metrics.ticked(&report, missed, depth);
        self.metrics.named(self.kept.identities.named());
        let descriptors = self.sampler.descriptors();
        self.metrics.descriptors(descriptors.kept(), descriptors.on_demand());
        if end >= self.next_rescan {
            self.next_rescan = later(end, RESCAN);
            self.sampler.rescan();
        }
    }
}

fn later(time: BootTime, by: Duration) -> BootTime {
    BootTime(time.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

fn wait_for(events: BorrowedFd<'_>, stop: BorrowedFd<'_>, at_most: Duration) -> Woken {
    let mut descriptors =
        [PollFd::from_borrowed_fd(stop, PollFlags::IN), PollFd::from_borrowed_fd(events, PollFlags::IN)];
    let timeout = Timespec {
        tv_sec: at_most.as_secs().try_into().unwrap_or(i64::MAX),
        tv_nsec: at_most.subsec_nanos().into(),
    };
    // A signal ends the wait early; the caller looks at the clock and waits again.
    let _ = poll(&mut descriptors, Some(&timeout));
    let [stop, events] = descriptors;
    if !stop.revents().is_empty() {
        Woken::Stop
    } else if !events.revents().is_empty() {
        Woken::Events
    } else {
        Woken::Timeout
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_what_happened_first() {
        let (stop, events) =
            (eventfd(0, EventfdFlags::CLOEXEC).unwrap(), eventfd(0, EventfdFlags::CLOEXEC).unwrap());
        let short = Duration::from_micros(10);
        assert_eq!(wait_for(events.as_fd(), stop.as_fd(), short), Woken::Timeout);
        rustix::io::write(&events, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(wait_for(events.as_fd(), stop.as_fd(), Duration::from_secs(60)), Woken::Events);
        rustix::io::write(&stop, &1_u64.to_ne_bytes()).unwrap();
        assert_eq!(wait_for(events.as_fd(), stop.as_fd(), Duration::from_secs(60)), Woken::Stop);
    }
}
