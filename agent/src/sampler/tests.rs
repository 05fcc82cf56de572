//! The sampler over plain directories that look like a v2 tree.

use std::{fs, path::Path, time::SystemTime};

use kubevitals::chain::{Decoder, Tick};
use tempfile::TempDir;

use super::*;
use crate::{
    cgroup::{
        Hierarchy, Tree, Version,
        clock::{boot_time, wall_time},
    },
    history::History,
};

const POD: &str = "kubepods/pod2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11";

struct Node {
    root: TempDir,
    sampler: Sampler,
    decoder: Decoder,
}

fn write(directory: &Path, cpu_usec: u64, pages: u64, populated: bool) {
    let put = |name: &str, text: String| fs::write(directory.join(name), text).unwrap();
    fs::create_dir_all(directory).unwrap();
    put("cpu.stat", format!("usage_usec {cpu_usec}\nuser_usec 0\nsystem_usec 0\n"));
    put("memory.current", format!("{}\n", pages * 4096));
    put("memory.stat", format!("anon {}\nfile 0\ninactive_file 4096\n", pages * 4096));
    put("cgroup.procs", if populated { "1\n".to_owned() } else { String::new() });
    put("cgroup.events", format!("populated {}\nfrozen 0\n", u8::from(populated)));
}

fn container(n: u8) -> String {
    format!("{POD}/{}", format!("{n:02x}").repeat(32))
}

impl Node {
    fn new(scope: Scope, prepare: impl FnOnce(&Path)) -> Self {
        let root = TempDir::new().unwrap();
        write(root.path(), 1000, 100, true);
        prepare(root.path());
        let mounts = Mounts::unified(Tree::open(root.path(), Version::V2).unwrap());
        assert_eq!(mounts.hierarchy(), Hierarchy::V2);
        let node = NodeReader::open(&mounts, Path::new("/proc"), NodeMemory::CgroupStat).unwrap();
        let settings = Settings {
            interval: Duration::from_secs(1),
            detail_every: 10,
            scope,
            node_memory: NodeMemory::CgroupStat,
            max_cgroups: 1000,
        };
        let sampler = Sampler::new(settings, mounts, Descriptors::raised(), node).unwrap();
        Self { root, sampler, decoder: Decoder::new() }
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.root.path().join(path)
    }

    fn tick(&mut self) -> Tick {
        self.sampler.discover();
        let now = boot_time();
        let report = self.sampler.tick(now, WallTime(now.0));
        self.decoder.batch(&report.batch).unwrap().clone()
    }

    fn containers(&self) -> usize {
        self.decoder.live().filter(|(a, ..)| matches!(a.subject, Subject::Container { .. })).count()
    }
}

#[test]
fn a_container_that_is_there_at_the_start_has_a_sample_in_the_first_tick() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(container(1)), 7, 3, true);
    });
    let tick = node.tick();
    let announced = tick.announced.iter().find(|a| matches!(a.subject, Subject::Container { .. })).unwrap();
    let (_, sample) = tick.samples.iter().find(|(series, _)| *series == announced.series).unwrap();
    assert_eq!((sample.cpu.0, sample.working_set.bytes()), (7000, 8192));
    assert!(announced.first.is_some_and(|first| first.time < sample.time));
}

#[test]
fn scrapers_see_what_the_batch_tells() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(POD), 7, 3, true);
        write(&root.join(container(1)), 7, 3, true);
    });
    let board = node.sampler.board();
    assert!(board.last().is_none());
    board.ask(boot_time());
    for ticks in 1..=3 {
        if ticks == 3 {
            fs::remove_dir_all(node.path(&container(1))).unwrap();
        }
        node.tick();
        let sweep = board.last().unwrap();
        assert_eq!((sweep.time, sweep.wall), node.decoder.time());
        let seen = sweep.rows.iter().map(|row| {
            let details = row.details.map(|details| details.value).unwrap_or_default();
            (row.about.subject.clone(), row.about.birth, row.usage.map(|usage| usage.value), details)
        });
        let told = node.decoder.live().map(|(announced, sample, details)| {
            (announced.subject.clone(), announced.birth, sample, details)
        });
        assert_eq!(seen.collect::<Vec<_>>(), told.collect::<Vec<_>>());
        assert_eq!(sweep.rows.len(), if ticks == 3 { 2 } else { 3 });
    }
}

#[test]
fn the_birth_of_a_cgroup_is_announced() {
    let before = wall_time();
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(POD), 7, 3, true);
        // Some ticks of the kernel before us.
        std::thread::sleep(Duration::from_millis(30));
    });
    write(&node.path(&container(1)), 7, 3, true);
    for _ in 0..2 {
        node.tick();
    }
    assert_eq!(node.containers(), 1);
    for (announced, ..) in node.decoder.live() {
        let expected = announced.subject != Subject::Node;
        assert_eq!(announced.birth.is_some(), expected, "{announced:?}");
        // File systems date by the kernel's last tick.
        assert!(announced.birth.is_none_or(|birth| birth.0 + 10_000 >= before.0 && birth <= wall_time()));
    }
}

#[test]
fn what_was_there_before_us_has_no_birth_that_our_own_look_may_have_made() {
    let mut node = Node::new(Scope::Kubepods, |root| write(&root.join(container(1)), 7, 3, false));
    // As inodes are that nobody looked at for long: as young as a look at them.
    std::thread::sleep(Duration::from_millis(30));
    let path = node.path(&container(1));
    write(&path, 7, 3, true);
    fs::File::open(&path).unwrap().set_modified(SystemTime::now()).unwrap();
    while node.containers() == 0 {
        node.tick();
    }
    let is_container = |announced: &Announcement| matches!(announced.subject, Subject::Container { .. });
    let (announced, ..) = node.decoder.live().find(|(announced, ..)| is_container(announced)).unwrap();
    assert_eq!(announced.birth, None);
}

#[test]
fn an_empty_leftover_is_never_reported_until_it_has_processes() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(container(1)), 7, 3, false);
    });
    for _ in 0..30 {
        node.tick();
    }
    assert_eq!(node.containers(), 0);
    write(&node.path(&container(1)), 9, 3, true);
    for _ in 0..5 {
        node.tick();
    }
    assert_eq!(node.containers(), 1);
}

#[test]
fn a_removed_container_says_farewell_and_nothing_else() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(container(1)), 7, 3, true);
    });
    node.tick();
    assert_eq!(node.containers(), 1);
    fs::remove_dir_all(node.path(&container(1))).unwrap();
    let tick = node.tick();
    assert_eq!((tick.ended.len(), node.containers()), (1, 0));
}

#[test]
fn a_counter_that_goes_back_is_left_out_and_after_three_ticks_begins_anew() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(container(1)), 1_000_000, 3, true);
    });
    node.tick();
    write(&node.path(&container(1)), 5, 3, true);
    for _ in 0..2 {
        let tick = node.tick();
        assert_eq!(tick.omissions.first().map(|o| o.reason), Some(OmissionReason::CounterWentBack));
    }
    let tick = node.tick();
    assert_eq!(tick.ended.first().map(|farewell| farewell.reason), Some(EndReason::Replaced));
    let tick = node.tick();
    assert_eq!(tick.announced.len(), 1);
    assert!(
        tick.samples
            .iter()
            .any(|(series, sample)| *series == tick.announced[0].series && sample.cpu.0 == 5000)
    );
}

#[test]
fn a_garbled_file_leaves_out_its_container_and_no_other() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(container(1)), 7, 3, true);
        write(&root.join(container(2)), 7, 3, true);
    });
    node.tick();
    fs::write(node.path(&container(1)).join("memory.current"), "12x\n").unwrap();
    let tick = node.tick();
    assert_eq!(tick.omissions.first().map(|o| (o.reason, o.count)), Some((OmissionReason::Malformed, 1)));
    assert_eq!(node.containers(), 2, "it is not gone");
    let live = node.decoder.live().count();
    assert_eq!(tick.samples.len(), live - 1);
}

#[test]
fn outside_kubernetes_the_topmost_cgroup_with_processes_counts() {
    let mut node = Node::new(Scope::All, |root| {
        write(&root.join("system.slice"), 1, 3, false);
        write(&root.join("system.slice/a.service"), 1, 3, true);
        write(&root.join("system.slice/a.service/child"), 1, 3, true);
    });
    let tick = node.tick();
    let paths: Vec<String> = tick
        .announced
        .iter()
        .filter_map(|a| match &a.subject {
            Subject::Cgroup { path } => Some(path.to_string()),
            _ => None,
        })
        .collect();
    assert_eq!(paths, ["/system.slice/a.service"]);
}

#[test]
fn pods_come_before_their_containers() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(POD), 7, 3, true);
        write(&root.join(container(1)), 7, 3, true);
    });
    let tick = node.tick();
    let kinds: Vec<bool> = tick.announced.iter().map(|a| matches!(a.subject, Subject::Pod { .. })).collect();
    assert_eq!(kinds, [false, true, false], "node, pod, container");
}

#[test]
fn a_pods_own_counters_are_read_in_turns_and_on_every_tick_while_somebody_scrapes() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(POD), 7, 3, true);
        write(&root.join(container(1)), 7, 3, true);
    });
    assert_eq!(node.tick().samples.len(), 3, "node, pod, container");
    // Detail intervals are as long as turns here.
    let turns = (0..20).filter(|_| node.tick().samples.len() == 3).count();
    assert_eq!(turns, 2);

    node.sampler.board().ask(boot_time());

    let turns = (0..20).filter(|_| node.tick().samples.len() == 3).count();
    assert_eq!(turns, 20);
}

/// Also on ticks with details, and while the history takes its checkpoints.
#[test]
fn a_steady_tick_allocates_nothing() {
    let mut node = Node::new(Scope::Kubepods, |root| {
        write(&root.join(POD), 7, 3, true);
        for n in 1..=9 {
            write(&root.join(container(n)), 7, 3, true);
        }
    });
    let history = History::new(Duration::ZERO);
    let mut time = boot_time();
    let mut tick = || {
        // Later than the publication before.
        time = BootTime(time.0 + 5_000_000).max(boot_time());
        node.sampler.discover();
        let report = node.sampler.tick(time, WallTime(time.0));
        let depth = history.push(report.sequence, report.time, report.batch, node.sampler.chain());
        assert!(depth.batches < 10, "checkpoints are taken");
    };
    // Buffers, columns and slabs grow to what they need: a slab is full after some hundred ticks of so few series.
    for _ in 0..500 {
        tick();
    }
    for number in 0..500 {
        let counted = allocation_counter::measure(&mut tick);
        assert_eq!(counted.count_total, 0, "in tick {number} after those: {} bytes", counted.bytes_total);
    }
}
