use kubevitals::wire::{self, WatchResponse};
use proptest::prelude::*;
use prost::Message as _;

use super::{
    super::{
        cursor::Cursor,
        model::Reader,
        picture::Picture,
        world::{NODES, World},
    },
    *,
};
use crate::query::{faults::Faults, item::Wanted};

fn subject(level: wire::Level) -> Watched {
    let selection = wire::Selection {
        level: level.into(),
        label_selector: if level == wire::Level::Nodes { String::new() } else { "app=web".to_owned() },
        ..wire::Selection::default()
    };
    let selection = Selection::read(Some(selection), &mut Faults::default()).unwrap();
    let wanted = Wanted { window: None, details: true, distribution: true };
    Watched { selection, wanted, every: Duration::from_secs(1) }
}

/// A feed of one level and one who reads it.
struct Watching {
    watched: Watched,
    looker: Looker,
    picture: Picture,
    cursor: Cursor,
    reader: Reader,
}

impl Watching {
    fn new(world: &World, level: wire::Level) -> Self {
        let looker = Looker::new(world.view.clone());
        let (picture, cursor, reader) = (Picture::default(), Cursor::default(), Reader::default());
        Self { watched: subject(level), looker, picture, cursor, reader }
    }

    /// One tick; what its reader was told.
    fn tick(&mut self) -> WatchResponse {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let looks = runtime.block_on(self.looker.look(&self.watched));
        let left = |item: &Old| self.looker.left(&self.watched.selection, item);
        if let Some(next) = self.picture.next(looks.found, left, tokio::time::Instant::now()) {
            self.picture = next;
        }
        let Some(part) = self.cursor.next(&self.picture) else { return WatchResponse::default() };
        let mut message = WatchResponse::decode(part.items).unwrap();
        (message.full, message.position) = (part.full, part.complete.unwrap().to_string());
        self.reader.take(&message);
        message
    }
}

/// What happens in the world.
#[derive(Debug, Clone)]
enum Event {
    /// A pod is made, or changes: its life, its node, whether it is selected, its containers and their life.
    Pod {
        nth: u8,
        life: u8,
        node: usize,
        is_web: bool,
        containers: u8,
        round: u8,
    },
    Remove(u8),
    /// A node ticks; those containers are busy whose ids end so; its batch came so many seconds ago.
    Tick {
        node: usize,
        busy: u8,
        ago: u64,
    },
    Look,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let pod = (0..5_u8, 0..2_u8, 0..2_usize, any::<bool>(), 0..3_u8, 0..2_u8);
    let event = prop_oneof![
        3 => pod.prop_map(|(nth, life, node, is_web, containers, round)| {
            Event::Pod { nth, life, node, is_web, containers, round }
        }),
        1 => (0..5_u8).prop_map(Event::Remove),
        6 => (0..2_usize, 0..3_u8, prop_oneof![4 => Just(0), 1 => Just(60_u64)])
            .prop_map(|(node, busy, ago)| Event::Tick { node, busy, ago }),
        4 => Just(Event::Look),
    ];
    proptest::collection::vec(event, 0..80)
}

fn happen(world: &mut World, event: &Event) {
    match *event {
        Event::Pod { nth, life, node, is_web, containers, round } => {
            let (name, uid) = (format!("p{nth}"), format!("u{nth}-{life}"));
            let ids: Vec<String> = (0..containers).map(|n| format!("{uid}-{n}-{round}")).collect();
            world.pod(&name, &uid, NODES[node], if is_web { "web" } else { "other" }, &ids);
        }
        Event::Remove(nth) => {
            let name = format!("p{nth}");
            let directory = &world.view.directory;
            if let Some(pod) = directory.pod("a", &name) {
                directory.remove_pod("a", &name, &pod.uid);
            }
        }
        Event::Tick { node, busy, ago } => {
            let is_busy = |id: &str| busy != 2 && id.ends_with(&busy.to_string());
            world.tick(NODES[node], is_busy, Duration::from_secs(ago));
        }
        Event::Look => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn whoever_watches_holds_at_each_tick_what_list_says(events in events()) {
        let mut world = World::new();
        let levels = [wire::Level::Nodes, wire::Level::Pods, wire::Level::Containers];
        let mut watching = levels.map(|level| Watching::new(&world, level));
        for event in events.iter().chain([&Event::Look]) {
            happen(&mut world, event);
            if matches!(event, Event::Look) {
                for one in &mut watching {
                    one.tick();
                    let Watched { selection, wanted, .. } = &one.watched;
                    prop_assert_eq!(&one.reader.held, &world.listed(selection, wanted));
                    // Whoever comes now is told the same.
                    let (mut late, mut cursor) = (Reader::default(), Cursor::default());
                    let part = cursor.next(&one.picture).unwrap();
                    let mut message = WatchResponse::decode(part.items).unwrap();
                    (message.full, message.position) = (part.full, "p".to_owned());
                    late.take(&message);
                    prop_assert_eq!(&late.held, &one.reader.held);
                }
            }
        }
    }
}

/// A pod of two containers that is watched, after some ticks.
fn settled(level: wire::Level) -> (World, Watching) {
    let mut world = World::new();
    world.pod("p", "u", "n0", "web", &["x".to_owned(), "y".to_owned()]);
    (0..20).for_each(|_| world.tick("n0", |_| true, Duration::ZERO));
    let mut watching = Watching::new(&world, level);
    assert!(watching.tick().full);
    (world, watching)
}

fn absences(message: &WatchResponse) -> Vec<(String, AbsenceReason)> {
    let of = |absent: &wire::Absent| {
        let subject = absent.subject.as_ref().unwrap();
        assert_eq!(subject.node, "n0", "who it was is told in full");
        (format!("{}/{}", subject.pod_uid, subject.container_id), absent.reason())
    };
    message.absent.iter().map(of).collect()
}

#[test]
fn numbers_that_stay_are_told_once_however_often_they_are_read() {
    let (mut world, mut watching) = settled(wire::Level::Pods);
    world.tick("n0", |_| true, Duration::ZERO);
    assert_eq!(watching.tick(), WatchResponse::default());
    world.tick("n0", |_| false, Duration::ZERO);
    assert_eq!(watching.tick().usages.len(), 1);
}

#[test]
fn what_leaves_is_named_with_its_reason() {
    let (mut world, mut watching) = settled(wire::Level::Pods);
    world.pod("p", "u", "n0", "other", &["x".to_owned(), "y".to_owned()]);
    assert_eq!(absences(&watching.tick()), [("u/".to_owned(), AbsenceReason::NotSelected)]);
    world.pod("p", "u", "n0", "web", &["x".to_owned(), "y".to_owned()]);
    assert_eq!(watching.tick().usages.len(), 1);
    world.pod("p", "v", "n0", "web", &["z".to_owned()]);
    let expected =
        [("u/".to_owned(), AbsenceReason::Replaced), ("v/".to_owned(), AbsenceReason::NotMeasured)];
    assert_eq!(absences(&watching.tick()), expected);
    world.view.directory.remove_pod("a", "p", &"v".into());
    assert_eq!(absences(&watching.tick()), [("v/".to_owned(), AbsenceReason::Gone)]);
}

#[test]
fn a_container_that_restarts_is_replaced_and_one_that_ends_is_gone() {
    let (mut world, mut watching) = settled(wire::Level::Containers);
    world.pod("p", "u", "n0", "web", &["x2".to_owned()]);
    let mut told = absences(&watching.tick());
    told.sort();
    let expected = [
        ("u/x".to_owned(), AbsenceReason::Replaced),
        ("u/x2".to_owned(), AbsenceReason::NotMeasured),
        ("u/y".to_owned(), AbsenceReason::Gone),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_node_that_falls_silent_is_told_stale_and_told_again_when_it_is_back() {
    let (mut world, mut watching) = settled(wire::Level::Pods);
    world.tick("n0", |_| true, Duration::from_secs(60));
    assert_eq!(absences(&watching.tick()), [("u/".to_owned(), AbsenceReason::Stale)]);
    assert_eq!(watching.tick(), WatchResponse::default());
    world.tick("n0", |_| true, Duration::ZERO);
    assert_eq!(watching.tick().usages.len(), 1);
}
