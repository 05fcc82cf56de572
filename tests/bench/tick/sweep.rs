//! A sweep over version 1 cgroups of this machine, by every way.

use crate::{
    Options,
    figure::Figures,
    ground::Ground,
    measure,
    ways::{self, Way},
};

/// The budget of the ratio holds from so many containers on.
pub(crate) const BUDGETED: usize = 100;

/// Sweeps whose allocations are counted: details of every series are due in as many ticks.
const COUNTED: usize = 20;

pub(crate) fn run(options: &Options, figures: &mut Figures) {
    for &containers in &options.sizes {
        let ground = Ground::v1(containers, !options.beside_others);
        let of = format!("v1, {containers} containers");
        let mut ways = [ways::floor(&ground), ways::agent(), ways::naive(&ground), ways::cgroups_rs(&ground)];
        let paced = measure::paced(&mut ways, options.rounds);
        let hot = measure::hot(&mut ways);
        figures.say(format!("{of}: cgroups, pods and the node among them"), ways[1].cgroups as f64, "");
        for (pace, found) in [("at 1 s", paced), ("hot", hot)] {
            let each = per_cgroup(&ways, &found);
            for (way, &each) in ways.iter().zip(&each) {
                figures.say(format!("{of}: {}, {pace}", way.name), each, "us a cgroup");
            }
            let ratio = each[1] / each[0];
            // A node with fewer containers has other costs than theirs.
            match pace {
                "at 1 s" if containers >= BUDGETED => {
                    figures.judge(format!("{of}: agent, {pace}"), ratio, "x bare reads", 1.4);
                }
                _ => figures.say(format!("{of}: agent, {pace}"), ratio, "x bare reads"),
            }
        }
        for way in &mut ways {
            if let Some(reads) = measure::reads(way) {
                let each = reads as f64 / way.cgroups as f64;
                figures.say(format!("{of}: {}", way.name), each, "read calls a cgroup");
            }
        }
        let (count, bytes) = measure::allocations(&mut ways[1], COUNTED);
        figures.say(format!("{of}: agent, most in a tick"), bytes as f64, "bytes allocated");
        figures.judge(format!("{of}: agent, most in a tick"), count as f64, "allocations", 0.0);
    }
}

/// Microseconds of a sweep, divided by what it read.
pub(crate) fn per_cgroup(ways: &[Way<'_>], sweeps: &[f64]) -> Vec<f64> {
    ways.iter().zip(sweeps).map(|(way, sweep)| sweep / way.cgroups as f64).collect()
}
