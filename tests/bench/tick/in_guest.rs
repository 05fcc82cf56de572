//! A sweep over version 2 cgroups in a guest, where this program stands in for the agent's. Its processor is
//! emulated, so only ratios say something, and those less than on a machine: emulation makes our own instructions
//! dearer than the kernel's waiting.

use std::{fs, time::Duration};

use crate::{
    figure::Figures,
    ground::Ground,
    guest::{Bed, Guest, Params},
    measure,
    sweep::{BUDGETED, per_cgroup},
    ways,
};

/// The word with which the host asks the guest, and the guest this program.
pub(crate) const WORD: &str = "bench";

/// What an emulated machine of one gibibyte does within its life.
const SIZES: [usize; 2] = [10, 100];
const ROUNDS: usize = 7;

const WITHIN: Duration = Duration::from_secs(240);

/// Boots the guest, and takes over what it finds.
pub(crate) fn run(figures: &mut Figures) {
    let files = tempfile::tempdir().unwrap();
    let ca = files.path().join("ca.pem");
    fs::write(&ca, "nobody is streamed to").unwrap();
    let agent = std::env::current_exe().unwrap();
    let params = Params { agent: &agent, ingest_port: 0, server_name: "none", ca: &ca, token: "none" };
    let mut guest = Guest::boot(Bed::V2, &params);
    let section = guest.ask(WORD, WITHIN);
    assert_eq!(section.status, 0, "{section:?}");
    for line in &section.lines {
        let mut columns = line.split('\t');
        let (Some(what), Some(Ok(ratio))) = (columns.next(), columns.next().map(str::parse)) else {
            continue;
        };
        match columns.next() {
            Some("judged") => figures.judge(what, ratio, "x bare reads", 1.4),
            _ => figures.say(what, ratio, "x bare reads"),
        }
    }
}

/// In the guest: a line for each figure, its columns apart by tabs.
pub(crate) fn inside() {
    for containers in SIZES {
        let ground = Ground::v2(containers);
        let mut ways = [ways::floor(&ground), ways::agent(), ways::naive(&ground), ways::cgroups_rs(&ground)];
        let paced = measure::paced(&mut ways, ROUNDS);
        let hot = measure::hot(&mut ways);
        for (pace, found) in [("at 1 s", paced), ("hot", hot)] {
            let each = per_cgroup(&ways, &found);
            for (way, each_of_way) in ways.iter().zip(&each).skip(1) {
                let is_judged = way.name == "agent" && pace == "at 1 s" && containers >= BUDGETED;
                let judged = if is_judged { "judged" } else { "" };
                let ratio = each_of_way / each[0];
                println!("v2 in a guest, {containers} containers: {}, {pace}\t{ratio}\t{judged}", way.name);
            }
        }
    }
}
