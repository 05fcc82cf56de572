use kubevitals::sample::ContainerId;
use proptest::prelude::*;

use super::*;
use crate::{
    directory::{Labels, Noted},
    kubelet::page::Lines,
};

/// When everything begins, in seconds.
const T0: u64 = 1_000_000;

const NODE: &str = "n1";

/// A polled node, and the names around it.
struct World {
    directory: Directory,
    memory: Memory,
    published: Published,
    refused: Refused,
}

/// A pod with its containers, each with the digit its id is made of.
fn pod(name: &str, node: &str, containers: &[(&str, u8)]) -> PodRecord {
    let record = |&(name, digit): &(&str, u8)| {
        let id = ContainerId::new(&format!("{digit:x}").repeat(64)).unwrap();
        ContainerRecord::new(name.into(), CounterRef::Container(id))
    };
    PodRecord {
        uid: format!("uid-of-{name}").into(),
        namespace: "ns".into(),
        name: name.into(),
        node: node.into(),
        labels: Labels::default(),
        owner: None,
        created: Noted::default(),
        ready: Noted::default(),
        containers: containers.iter().map(record).collect(),
        previous: None,
    }
}

/// A container on a page: seconds of CPU, when that was read and when it started, in seconds after [`T0`].
fn line(pod: &str, container: &str, cpu: u64, at: u64, start: Option<u64>) -> String {
    let labels = format!("{{container=\"{container}\",namespace=\"ns\",pod=\"{pod}\"}}");
    let millis = (T0 + at) * 1000;
    let start = start.map(|start| format!("container_start_time_seconds{labels} {}\n", T0 + start));
    format!(
        "container_cpu_usage_seconds_total{labels} {cpu} {millis}\n\
         container_memory_working_set_bytes{labels} 4096 {millis}\n{}",
        start.unwrap_or_default()
    )
}

impl World {
    fn new(pods: &[PodRecord]) -> Self {
        let directory = Directory::default();
        for pod in pods {
            directory.put_pod(pod.clone());
        }
        let (memory, published) = (Memory::default(), Published::default());
        Self { directory, memory, published, refused: Refused::default() }
    }

    /// A page comes, so many seconds after [`T0`].
    fn page(&mut self, at: u64, lines: &[String]) {
        let (mut reader, mut page) = (Lines::default(), Page::default());
        reader.feed(lines.concat().as_bytes(), &mut |line| page.take(line));
        let agent = AgentSamples::of(None);
        let around = Around { node: NODE, directory: &self.directory, agent: &agent };
        let arrival = Arrival { wall: WallTime((T0 + at) * 1_000_000), instant: Instant::now() };
        let rules = PageRules { least_age: Duration::from_secs(5), resolution: Duration::from_secs(15) };
        (self.published, self.refused) = self.memory.take(&page, arrival, &around, &self.published, &rules);
    }

    /// When a pod's picture is of, in seconds after [`T0`], the length of its window, and the thousandths of a core
    /// of its containers.
    fn served(&self, pod: &str) -> Option<(u64, u64, Vec<u64>)> {
        let found = self.published.pods.get(&format!("uid-of-{pod}").into())?;
        let Picture { timestamp, window, usages } = &found.picture;
        let cpu = usages.iter().map(|usage| usage.cpu_nanocores / 1_000_000).collect();
        Some((timestamp.0 / 1_000_000 - T0, window.as_secs(), cpu))
    }
}

#[test]
fn a_pod_is_served_when_all_its_containers_have_a_rate() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1), ("b", 2)])]);
    world.page(100, &[line("p", "a", 10, 90, Some(0)), line("p", "b", 10, 95, Some(0))]);
    assert_eq!(world.served("p"), None);
    assert!(world.published.incomplete.contains(&"uid-of-p".into()));
    world.page(115, &[line("p", "a", 20, 110, Some(0)), line("p", "b", 10, 111, Some(0))]);
    // P2: the earlier of the newest readings, and a window that reaches back to the earliest begin.
    assert_eq!(world.served("p"), Some((110, 20, vec![500, 0])));
    assert!(world.published.incomplete.is_empty());
}

/// Kubelets sort the lines of a family by container, so those of a pod lie apart.
#[test]
fn a_page_sorted_by_container_shows_whole_pods() {
    let containers: &[(&str, u8)] = &[("a", 1), ("b", 2)];
    let mut world = World::new(&[pod("p", NODE, containers), pod("q", NODE, &[("a", 3), ("b", 4)])]);
    for at in [100, 115] {
        let of = |(container, pod)| line(pod, container, at, at, Some(0));
        world.page(at, &[("a", "p"), ("a", "q"), ("b", "p"), ("b", "q")].map(of));
    }
    assert_eq!(world.served("p"), Some((115, 15, vec![1000, 1000])));
    assert_eq!(world.served("q"), world.served("p"));
    assert!(world.published.incomplete.is_empty(), "{:?}", world.published.incomplete);
}

/// Numbers from a future that did not come have no age, so they would never grow old.
#[test]
fn a_pod_that_is_gone_when_the_clock_is_set_back_is_forgotten() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)]), pod("q", NODE, &[("a", 2)])]);
    for at in [1000, 1015] {
        world.page(at, &[line("p", "a", at, at, Some(0)), line("q", "a", at, at, Some(0))]);
    }
    world.page(100, &[line("q", "a", 1020, 100, Some(0))]);
    assert_eq!(world.served("p"), None);
    world.page(115, &[line("q", "a", 1035, 115, Some(0))]);
    assert_eq!(world.served("q"), Some((115, 15, vec![1000])));
}

/// P14 and more: the last whole picture stays while one is missing.
#[test]
fn while_a_container_is_missing_the_last_whole_picture_stays() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1), ("b", 2)])]);
    let both = |at: u64| [line("p", "a", at, at, Some(0)), line("p", "b", 0, at, Some(0))];
    world.page(100, &both(100));
    world.page(115, &both(115));
    let before = world.served("p");
    assert_eq!(before, Some((115, 15, vec![1000, 0])));
    world.page(130, &both(130)[..1]);
    assert_eq!(world.served("p"), before);
    world.page(145, &[]);
    assert_eq!(world.served("p"), before, "also when the pod is missing altogether");
    world.page(160, &both(160));
    assert_eq!(
        world.served("p"),
        Some((160, 45, vec![1000, 0])),
        "the window is the true distance: b was last read at 115"
    );
}

#[test]
fn a_restarted_container_takes_nothing_over() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    // The page shows the restart before the status does.
    world.page(130, &[line("p", "a", 200, 129, Some(127))]);
    assert_eq!(world.served("p"), Some((115, 15, vec![1000])), "two seconds old: too young for a rate");
    world.directory.put_pod(pod("p", NODE, &[("a", 2)]));
    world.page(145, &[line("p", "a", 232, 145, Some(127))]);
    assert_eq!(world.served("p"), Some((145, 16, vec![2000])));
}

#[test]
fn a_page_that_lags_behind_the_status_speaks_of_the_former_container() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    world.directory.put_pod(pod("p", NODE, &[("a", 2)]));
    world.page(130, &[line("p", "a", 117, 117, Some(0))]);
    assert_eq!(world.served("p"), Some((115, 15, vec![1000])), "not the new one's numbers");
    world.page(145, &[line("p", "a", 40, 140, Some(120))]);
    assert_eq!(world.served("p"), Some((140, 20, vec![2000])), "its birth is its first point");
}

#[test]
fn without_start_times_a_reading_from_after_the_change_is_the_new_containers() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, None)]);
    }
    world.directory.put_pod(pod("p", NODE, &[("a", 2)]));
    world.page(130, &[line("p", "a", 117, 117, None)]);
    // A counter that is higher all the same makes no rate over two containers.
    world.page(145, &[line("p", "a", 500, 140, None)]);
    assert_eq!(world.served("p"), Some((115, 15, vec![1000])));
    world.page(160, &[line("p", "a", 530, 155, None)]);
    assert_eq!(world.served("p"), Some((155, 15, vec![2000])));
}

#[test]
fn two_restarts_that_the_page_shows_as_one_do_not_hide_the_pod_for_good() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    world.directory.put_pod(pod("p", NODE, &[("a", 2)]));
    world.page(130, &[line("p", "a", 6, 128, Some(125))]);
    world.directory.put_pod(pod("p", NODE, &[("a", 3)]));
    world.page(145, &[line("p", "a", 30, 140, Some(125))]);
    world.page(160, &[line("p", "a", 45, 155, Some(125))]);
    world.page(175, &[line("p", "a", 60, 170, Some(125))]);
    assert_eq!(world.served("p"), Some((170, 15, vec![1000])));
}

#[test]
fn pods_of_other_nodes_are_refused_and_counted() {
    let mut world = World::new(&[pod("p", "n2", &[("a", 1)]), pod("q", NODE, &[("a", 2)])]);
    for at in [100, 115] {
        world.page(
            at,
            &[line("p", "a", at, at, Some(0)), line("q", "a", at, at, Some(0)), line("r", "a", at, at, None)],
        );
    }
    assert_eq!(world.served("p"), None);
    assert_eq!(world.served("q"), Some((115, 15, vec![1000])));
    assert_eq!(world.refused.count(Refusal::ForeignPod), 1);
}

#[test]
fn a_pod_made_anew_under_its_name_takes_nothing_over() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    let successor = PodRecord { uid: "uid-of-p2".into(), ..pod("p", NODE, &[("a", 2)]) };
    world.directory.put_pod(successor);
    world.page(130, &[line("p", "a", 1, 130, Some(128))]);
    assert_eq!(world.served("p2"), None);
    world.page(145, &[line("p", "a", 16, 145, Some(128))]);
    assert_eq!(world.served("p2"), Some((145, 15, vec![1000])));
}

#[test]
fn readings_from_the_future_are_refused_and_those_from_before_change_nothing() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [100, 115] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    world.page(130, &[line("p", "a", 200, 200, Some(0))]);
    assert_eq!(world.refused.count(Refusal::Future), 1);
    world.page(131, &[line("p", "a", 90, 90, Some(0))]);
    assert_eq!(world.refused.count(Refusal::WentBack), 1);
    assert_eq!(world.served("p"), Some((115, 15, vec![1000])));
}

#[test]
fn a_node_whose_clock_is_set_back_is_served_again_after_two_pages() {
    let mut world = World::new(&[pod("p", NODE, &[("a", 1)])]);
    for at in [3700, 3715] {
        world.page(at, &[line("p", "a", at, at, Some(0))]);
    }
    world.page(130, &[line("p", "a", 4000, 130, Some(0))]);
    world.page(145, &[line("p", "a", 4015, 145, Some(0))]);
    assert_eq!(world.served("p"), Some((145, 15, vec![1000])));
}

#[test]
fn the_nodes_own_numbers_need_no_pods() {
    let mut world = World::new(&[]);
    let node = |cpu: u64, at: u64| {
        let millis = (T0 + at) * 1000;
        [format!("node_cpu_usage_seconds_total {cpu} {millis}\nnode_memory_working_set_bytes 0 {millis}\n")]
    };
    world.page(100, &node(0, 100));
    assert_eq!((world.published.node.as_ref(), world.published.has_node), (None, true));
    world.page(115, &node(30, 115));
    assert_eq!(world.published.node.as_ref().unwrap().usages[0].cpu_nanocores, 2_000_000_000);
}

proptest! {
    #[test]
    fn a_pods_timestamps_never_go_back_whatever_comes_and_goes(
        pages in proptest::collection::vec((any::<[bool; 3]>(), [0_u64..20, 0_u64..20, 0_u64..20], any::<[bool; 3]>()), 1..40),
    ) {
        let mut world = World::new(&[]);
        let mut ids = [1_u8, 2, 3];
        let mut starts = [0_u64; 3];
        let mut last = None;
        for (now, (present, lags, restarts)) in (1..).map(|n| 100 + n * 15).zip(pages) {
            let names = ["a", "b", "c"];
            let mut lines = Vec::new();
            let mut running = Vec::new();
            for n in 0..3 {
                if restarts[n] && lags[n] == 0 {
                    ids[n] = ids[n] % 12 + 3;
                    starts[n] = now - 12;
                }
                if present[n] || n == 0 {
                    running.push((names[n], ids[n]));
                    let at = (now - lags[n]).max(starts[n] + 1);
                    lines.push(line("p", names[n], at - starts[n], at, Some(starts[n])));
                }
            }
            world.directory.put_pod(pod("p", NODE, &running));
            world.page(now, &lines);
            let served = world.served("p");
            prop_assert!(served.is_some() || last.is_none(), "it disappeared");
            if let Some((at, _, cpu)) = served {
                prop_assert!(last <= Some(at), "{at} after {last:?}");
                prop_assert!(cpu.iter().all(|&cpu| cpu == 1000), "{cpu:?}");
                last = Some(at);
            }
        }
    }
}
