//! Instructions of a tick outside the kernel, which no other load of the machine changes: this program again, under
//! valgrind's callgrind.
//!
//! Valgrind hides the vDSO, in which rustix looks for the clocks by itself: only a build with
//! `RUSTFLAGS=--cfg=rustix_use_libc` runs there.

use std::process::Command;

use crate::{Options, figure::Figures, ground::Ground, ways};

/// The argument that asks for ticks; their number follows.
pub(crate) const WORD: &str = "ticks";

const CONTAINERS: usize = 100;

/// Two runs, whose difference is ticks and nothing else.
const FEW: u64 = 20;
const MANY: u64 = 120;

/// Does so many ticks.
pub(crate) fn sweeps(arguments: &[String]) {
    let ticks: u64 = arguments[0].parse().unwrap();
    let mut agent = ways::agent();
    for _ in 0..ticks {
        (agent.sweep)();
    }
}

pub(crate) fn run(options: &Options, figures: &mut Figures) {
    let ground = Ground::v1(CONTAINERS, !options.beside_others);
    let counted = instructions(FEW).zip(instructions(MANY));
    let Some((few, many)) = counted else {
        println!("instructions are not counted: no valgrind, or no build for it (--cfg=rustix_use_libc)");
        return;
    };
    let tick = (many - few) as f64 / (MANY - FEW) as f64;
    let of = format!("v1, {CONTAINERS} containers: agent, outside the kernel");
    figures.say(of.clone(), tick, "instructions a tick");
    figures.say(of, tick / ground.all().count() as f64, "instructions a cgroup");
}

/// Instructions of a run with so many ticks; `None` when valgrind is missing or its program died.
fn instructions(ticks: u64) -> Option<u64> {
    let run = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe().unwrap())
        .args([WORD, &ticks.to_string()])
        .output()
        .ok()
        .filter(|run| run.status.success())?;
    let text = String::from_utf8_lossy(&run.stderr);
    let collected = text.lines().find_map(|line| Some(line.split_once("Collected : ")?.1.trim().parse()));
    Some(collected.unwrap_or_else(|| panic!("valgrind: {text}")).unwrap())
}
