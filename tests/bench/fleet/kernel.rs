//! What the kernels of the fleet have counted, as a function of time. Pure: whoever knows a counter's seed knows what it
//! shows at any tick, so that agents make samples of it and a judge compares what is served, with nothing remembered.

use kubevitals::sample::{BootTime, CpuTime, Detail, Details, Sample, WorkingSet};

/// A tick, microseconds.
pub(crate) const TICK: u64 = 1_000_000;

/// What every node's clock shows at tick 0.
const BOOT: u64 = 3_600_000_000;

/// Between the readings of two cgroups of one sweep, microseconds; a reading may be late by less than this.
const READING: u64 = 12;

/// Details are read every so many ticks.
pub(crate) const DETAILS_EVERY: u64 = 20;

/// A node's way through time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    pub(crate) node: u64,
    /// When its ticks are due within the second.
    pub(crate) phase: u64,
}

impl Clock {
    /// Nodes tick at all times of a second, as their agents were started at all times.
    pub(crate) fn of(node: u64) -> Self {
        Self { node, phase: mixed(node, 1) % TICK }
    }

    /// When the sweep of a tick begins: some fifty microseconds after it is due, now and then milliseconds.
    pub(crate) fn sweep(self, tick: u64) -> BootTime {
        let chance = mixed(self.node, tick << 8 | 2);
        let late = if chance.is_multiple_of(50) { chance % 3000 } else { chance % 120 };
        BootTime(BOOT + tick * TICK + self.phase + late)
    }

    /// When the cgroup of a series is read in that sweep.
    pub(crate) fn reading(self, tick: u64, series: u32) -> BootTime {
        let chance = mixed(self.node << 32 | u64::from(series), tick << 8 | 3);
        BootTime(self.sweep(tick).0 + u64::from(series) * READING + chance % READING)
    }

    /// When a cgroup that is first seen in that sweep was made and first read: at any time of the second before.
    pub(crate) fn birth(self, tick: u64) -> BootTime {
        BootTime(self.sweep(tick).0 - 10_000 - mixed(self.node, tick << 8 | 0x11) % (TICK - 20_000))
    }

    /// Microseconds since the fleet began: all clocks show the same at one moment.
    pub(crate) fn since_begin(time: BootTime) -> u64 {
        time.0 - BOOT
    }
}

/// One cgroup's counters.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counter {
    seed: u64,
    /// The first tick that finds it.
    birth: u64,
    /// Nanoseconds a tick.
    rate: u64,
    /// Version 2 counts CPU time in microseconds.
    unit: u64,
}

impl Counter {
    /// The counter of a cgroup that a node's tick `birth` is the first to find; 0 is what was there before the fleet.
    pub(crate) fn new(seed: u64, node: u64, birth: u64) -> Self {
        let unit = if node.is_multiple_of(2) { 1000 } else { 1 };
        let chance = mixed(seed, 4);
        // Most containers do little: some nothing, half up to 2 thousandths of a core, few a good part of one.
        let most = match chance % 10 {
            0 | 1 => 0,
            2..=6 => 2_000_000,
            7 | 8 => 50_000_000,
            _ => 800_000_000,
        };
        let rate = if most == 0 { 0 } else { most / 10 + chance / 16 % most };
        Self { seed, birth, rate: rate / unit * unit, unit }
    }

    /// CPU time after a tick. What a tick adds differs from the rate by up to as much again, and is never negative.
    pub(crate) fn cpu(&self, tick: u64) -> CpuTime {
        let base = if self.birth == 0 { mixed(self.seed, 5) % 1_000_000_000_000 * self.unit } else { 0 };
        let swing = mixed(self.seed, tick << 8 | 6).checked_rem(self.rate).unwrap_or(0);
        CpuTime(base + (tick - self.birth) * self.rate + swing / self.unit * self.unit)
    }

    /// A third of all change every few ticks, one in twenty grows and falls, the others keep still.
    pub(crate) fn working_set(&self, tick: u64) -> WorkingSet {
        let chance = mixed(self.seed, 7);
        let most = 500 + chance % 60_000;
        let units = match chance % 20 {
            0 => most + tick * 17 % 40_000,
            1..=6 => most + mixed(self.seed, tick / 3) % 300,
            _ => most,
        };
        WorkingSet::from_units(u32::try_from(units).unwrap())
    }

    /// The first tick that finds it.
    pub(crate) fn birth(&self) -> u64 {
        self.birth
    }

    pub(crate) fn sample(&self, clock: Clock, tick: u64, series: u32) -> Sample {
        let time = clock.reading(tick, series);
        Sample { time, cpu: self.cpu(tick), working_set: self.working_set(tick) }
    }

    /// What was read when a cgroup was first seen, ahead of the first sweep that finds it.
    pub(crate) fn first(&self, clock: Clock) -> Option<Sample> {
        let (time, working_set) = (clock.birth(self.birth), self.working_set(self.birth));
        (self.birth > 0).then_some(Sample { time, cpu: CpuTime(0), working_set })
    }

    /// What version 1 tells of memory beside the working set.
    pub(crate) fn details(&self, tick: u64) -> Details {
        let (used, inactive) = (self.working_set(tick).bytes(), mixed(self.seed, 8) % 4096 * 4096);
        let mut details = Details::default();
        details.set(Detail::MemoryUsage, Some(used + inactive));
        details.set(Detail::Anon, Some(used / 8192 * 4096));
        details.set(Detail::File, Some(inactive * 2));
        details.set(Detail::InactiveFile, Some(inactive));
        details
    }
}

/// Thoroughly mixed bits of two numbers (the finish of splitmix64).
pub(crate) fn mixed(one: u64, other: u64) -> u64 {
    let sum = one.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(other.wrapping_mul(0xd1b5_4a32_d192_ed03));
    let sum = (sum ^ sum >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let sum = (sum ^ sum >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    sum ^ sum >> 31
}
