//! The judge of the bench `fleet` finds what it is there for: each test serves what an aggregator might serve wrongly.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_precision_loss,
    reason = "a test fails by panicking"
)]

#[path = "support/api.rs"]
mod api;
#[path = "support/apiserver/mod.rs"]
mod apiserver;
#[path = "bench/fleet/chain.rs"]
#[expect(dead_code, reason = "nothing is sent here")]
mod chain;
#[path = "bench/fleet/judge.rs"]
mod judge;
#[path = "bench/fleet/kernel.rs"]
mod kernel;
#[path = "bench/fleet/lie.rs"]
#[expect(dead_code, reason = "nothing is sent here")]
mod lie;
#[path = "support/program.rs"]
mod program;
#[path = "bench/fleet/seen.rs"]
#[expect(dead_code, reason = "nothing is timed here")]
mod seen;
#[path = "bench/fleet/world.rs"]
#[expect(dead_code, reason = "the fleet has not all its parts here")]
mod world;

use std::sync::{Arc, Mutex};

use kernel::TICK;
use kubevitals::sample::Sample;
use seen::{Reader, Seen, Tally};
use serde_json::{Value, json};
use world::{CONTAINERS, Life, World};

const NODES: usize = 40;

/// All samples are of a tick as late as this, so that every window is whole; the pod of a `StatefulSet`, and another.
const TICKS: u64 = 40;
const STATEFUL: usize = 3;
const PLAIN: usize = 33;

/// A world, what its one reader saw, and who serves it.
struct Scene {
    world: Arc<World>,
    seen: Arc<Mutex<Seen>>,
    reader: Reader,
}

impl Scene {
    fn new() -> Self {
        let (world, seen) = (Arc::new(World::new(NODES)), Arc::default());
        Self { reader: Reader::new(&world, &seen), world, seen }
    }

    fn life(&self, slot: usize) -> Life {
        self.world.lives(slot).1[0].clone()
    }

    /// As a right aggregator serves a pod when this tick is its last, with a window of so many ticks.
    fn item(&self, life: &Life, tick: u64, ticks: u64) -> Value {
        let clock = self.world.lives(life.slot).0;
        let samples = [2, 3].map(|nth| {
            let counter = world::counter(clock, life, nth);
            [tick - ticks, tick].map(|tick| counter.sample(clock, tick, life.series + nth))
        });
        let container = |(name, [first, last]): (&str, &[Sample; 2])| json!({"name": name, "usage": usage(*first, *last)});
        let containers: Vec<Value> = CONTAINERS.into_iter().zip(&samples).map(container).collect();
        let [first, last] = samples[0];
        let name = world::pod(life, NODES).name;
        json!({"metadata": {"name": name}, "timestamp": self.text(last), "window": window(first, last),
            "containers": containers})
    }

    /// The same of a node.
    fn node(&self, index: usize, tick: u64) -> Value {
        let clock = self.world.nodes[index].lock().unwrap().clock;
        let sample = |tick| world::own_counter(clock).sample(clock, tick, chain::OWN.0);
        let (first, last) = (sample(tick - 15), sample(tick));
        json!({"metadata": {"name": world::node_name(index)}, "timestamp": self.text(last),
            "window": window(first, last), "usage": usage(first, last)})
    }

    fn text(&self, sample: Sample) -> String {
        world::rfc3339(self.world.wall(sample.time) / 1_000_000)
    }

    /// Wall time so long after a tick is read, microseconds.
    fn after(&self, tick: u64, micros: u64) -> u64 {
        self.world.now() + tick * TICK + micros
    }

    /// Judges a list of one pod's place.
    fn judge(&mut self, asked: u64, slot: usize, items: &[Value]) -> Tally {
        let body = json!({"items": items}).to_string();
        self.reader.pods(asked, body.as_bytes(), slot..slot + 1, false)
    }

    /// The first fault of a wrong number.
    fn wrong(&self) -> String {
        let seen = self.seen.lock().unwrap();
        seen.wrong.words.iter().chain(&seen.stale.words).next().cloned().unwrap_or_default()
    }

    fn missing(&self) -> u64 {
        self.seen.lock().unwrap().missing.count
    }

    /// From now on this pod is another, born with a tick and made before it; the first one was deleted a tick earlier.
    fn replace(&self, slot: usize, birth: u64) -> Life {
        let mut node = self.world.node_of(slot).lock().unwrap();
        let (clock, place) = (node.clock, node.lives.iter().position(|life| life.slot == slot).unwrap());
        let made = self.world.wall(clock.birth(birth));
        let old = &mut node.lives[place];
        (old.end, old.deleted) = (birth, made - TICK);
        let new = Life { generation: 1, birth, series: 1000, made, end: u64::MAX, deleted: u64::MAX, ..*old };
        node.lives.push(new.clone());
        new
    }
}

fn usage(first: Sample, last: Sample) -> Value {
    let (used, micros) = (last.cpu.0 - first.cpu.0, last.time.0 - first.time.0);
    let nanocores = u128::from(used) * 1_000_000 / u128::from(micros);
    json!({"cpu": format!("{nanocores}n"), "memory": (last.working_set.bytes()).to_string()})
}

fn window(first: Sample, last: Sample) -> String {
    let micros = last.time.0 - first.time.0;
    format!("{}.{:06}s", micros / 1_000_000, micros % 1_000_000)
}

/// Changes a quantity of an item by one of its last digit.
fn change(item: &mut Value, container: usize, what: &str) {
    let quantity = &mut item["containers"][container]["usage"][what];
    let (number, suffix) = split(quantity.as_str().unwrap());
    *quantity = json!(format!("{}{suffix}", number + 1));
}

fn split(quantity: &str) -> (u64, &str) {
    let end = quantity.find(char::is_alphabetic).unwrap_or(quantity.len());
    (quantity[..end].parse().unwrap(), &quantity[end..])
}

#[test]
fn what_the_counters_show_is_right_and_whole() {
    let mut scene = Scene::new();
    let item = scene.item(&scene.life(PLAIN), TICKS, 15);
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[item]), Tally { right: 1, whole: 1 }, "{}", scene.wrong());
}

#[test]
fn a_rate_that_is_a_nanocore_off_is_found() {
    let mut scene = Scene::new();
    let mut item = scene.item(&scene.life(PLAIN), TICKS, 15);
    change(&mut item, 1, "cpu");
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[item]).right, 0);
    assert!(scene.wrong().contains("which no ticks make"), "{}", scene.wrong());
}

#[test]
fn memory_that_is_a_byte_off_is_found() {
    let mut scene = Scene::new();
    let mut item = scene.item(&scene.life(PLAIN), TICKS, 15);
    change(&mut item, 0, "memory");
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[item]).right, 0);
    assert!(scene.wrong().contains("which no ticks make"), "{}", scene.wrong());
}

#[test]
fn a_window_of_another_length_is_not_whole() {
    let mut scene = Scene::new();
    let item = scene.item(&scene.life(PLAIN), TICKS, 12);
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[item]), Tally { right: 1, whole: 0 }, "{}", scene.wrong());
    assert_eq!(scene.seen.lock().unwrap().short.count, 1);
}

#[test]
fn numbers_of_a_predecessor_are_found_under_its_own_name_and_under_one_that_is_used_again() {
    for (slot, tick) in [(PLAIN, TICKS - 1), (STATEFUL, TICKS - 1)] {
        let mut scene = Scene::new();
        let old = scene.item(&scene.life(slot), tick, 15);
        let deleted = scene.replace(slot, TICKS).made - TICK;

        assert_eq!(
            scene.judge(deleted + TICK / 2, slot, std::slice::from_ref(&old)).right,
            1,
            "{}",
            scene.wrong()
        );
        assert_eq!(scene.judge(deleted + 3 * TICK, slot, &[old]).right, 0);
        assert!(scene.wrong().contains("deleted 3000 ms before"), "{}", scene.wrong());
    }
}

#[test]
fn a_successor_with_the_same_name_is_right() {
    let mut scene = Scene::new();
    let new = scene.replace(STATEFUL, TICKS);
    assert_eq!(world::pod(&new, NODES).name, world::pod(&scene.world.lives(STATEFUL).1[1], NODES).name);
    let item = scene.item(&new, TICKS + 3, 3);
    let asked = scene.after(TICKS + 3, TICK);
    // Its window reaches back to its birth when it is whole.
    assert_eq!(scene.judge(asked, STATEFUL, &[item]), Tally { right: 1, whole: 0 }, "{}", scene.wrong());
}

#[test]
fn a_tick_that_was_sent_a_second_ago_and_is_not_served_is_found() {
    let mut scene = Scene::new();
    let item = scene.item(&scene.life(PLAIN), TICKS, 15);
    let sent = scene.after(TICKS + 1, 0);
    scene.world.node_of(PLAIN).lock().unwrap().hand(TICKS + 1, sent);

    assert_eq!(
        scene.judge(sent + TICK / 2, PLAIN, std::slice::from_ref(&item)).right,
        1,
        "{}",
        scene.wrong()
    );
    assert_eq!(scene.judge(sent + 2 * TICK, PLAIN, &[item]).right, 0);
    assert!(scene.wrong().contains("stale"), "{}", scene.wrong());
}

#[test]
fn what_goes_back_is_found() {
    let mut scene = Scene::new();
    let [newer, older] = [TICKS, TICKS - 1].map(|tick| scene.item(&scene.life(PLAIN), tick, 15));
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[newer]).right, 1);
    assert_eq!(scene.judge(asked, PLAIN, &[older]).right, 0);
    assert!(scene.wrong().contains("went back"), "{}", scene.wrong());
}

#[test]
fn a_pod_that_is_not_in_a_list_is_found_once_it_has_to_be_there() {
    let mut scene = Scene::new();
    let new = scene.replace(PLAIN, TICKS);
    let first = judge::first_tick(scene.world.lives(PLAIN).0, &new);
    let sent = scene.after(first, 0);
    scene.world.node_of(PLAIN).lock().unwrap().hand(first, sent);

    scene.judge(sent + TICK / 2, PLAIN, &[]);
    assert_eq!(scene.missing(), 0, "it may not have come through yet");
    scene.judge(sent + 2 * TICK, PLAIN, &[]);
    assert_eq!(scene.missing(), 1);
}

#[test]
fn half_a_pod_is_wrong() {
    let mut scene = Scene::new();
    let mut item = scene.item(&scene.life(PLAIN), TICKS, 15);
    item["containers"].as_array_mut().unwrap().pop();
    let asked = scene.after(TICKS, TICK);
    assert_eq!(scene.judge(asked, PLAIN, &[item]).right, 0);
    assert!(scene.wrong().contains("not all its containers"), "{}", scene.wrong());
}

#[test]
fn numbers_of_nodes_are_judged_too() {
    let mut scene = Scene::new();
    let mut items: Vec<Value> = (0..NODES).map(|node| scene.node(node, TICKS)).collect();
    let asked = scene.after(TICKS, TICK);
    let mut judged = |items: &[Value]| {
        let tally = scene.reader.nodes(asked, json!({"items": items}).to_string().as_bytes());
        (tally, scene.seen.lock().unwrap().missing.count)
    };
    let all = Tally { right: NODES, whole: NODES };
    assert_eq!(judged(&items), (all, 0));

    let (cpu, _) = split(items[7]["usage"]["cpu"].as_str().unwrap());
    items[7]["usage"]["cpu"] = json!(format!("{}n", cpu + 1));
    items.pop();
    let one_wrong = Tally { right: NODES - 2, whole: NODES - 2 };
    assert_eq!(judged(&items), (one_wrong, 1), "one is wrong, and one is missing");
}
