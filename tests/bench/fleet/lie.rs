//! Lies of one agent, one number of its node a little wrong: with one of them the bench shows that its judge finds what
//! is wrong, through everything that is between.

use clap::ValueEnum;
use kubevitals::sample::{Sample, WorkingSet};

/// Whose agent lies, about which of its series: a container of its first pod, or the node's own.
const NODE: usize = 0;
const CONTAINER: u32 = 4;
const OWN: u32 = 1;

/// By then everything was served once.
const FROM: u64 = 30;

/// What one agent lies about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Lie {
    /// A container uses a thousandth of a millicore more than it does.
    Cpu,
    /// A container has 4 KiB more than it has.
    Memory,
    /// The node has 4 KiB more than it has.
    Node,
    /// A container is not reported any longer.
    Missing,
    /// Batches are said to be sent that are not.
    Stale,
}

/// The lie of a node's agent, if it has one.
pub(crate) fn of(lie: Option<Lie>, node: usize) -> Option<Lie> {
    lie.filter(|_| node == NODE)
}

impl Lie {
    /// What is reported in place of a sample, if anything.
    pub(crate) fn told(self, tick: u64, series: u32, mut sample: Sample) -> Option<Sample> {
        let more = |of: WorkingSet| WorkingSet::from_units(of.units() + 1);
        match (self, series) {
            _ if tick < FROM => {}
            (Self::Missing, CONTAINER) => return None,
            (Self::Cpu, CONTAINER) => sample.cpu.0 += (tick - FROM) * 1000,
            (Self::Memory, CONTAINER) | (Self::Node, OWN) => sample.working_set = more(sample.working_set),
            _ => {}
        }
        Some(sample)
    }

    /// Which tick is said to be sent.
    pub(crate) fn sent(self, tick: u64) -> u64 {
        if self == Self::Stale && tick >= FROM { tick + 2 } else { tick }
    }
}
