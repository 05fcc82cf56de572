use std::{collections::BTreeMap, time::Duration};

use kubevitals::{
    sample::WallTime,
    wire::{self, AbsenceReason},
};
use proptest::prelude::*;
use prost::Message as _;
use tokio::time::Instant;

use super::{
    super::{
        model::{Held, Id, Reader, id, timeless},
        picture::Look,
        told::Saying,
    },
    *,
};
use crate::{
    directory::{Labels, Noted, PodRecord},
    query::{
        self,
        item::{Message, Numbers},
    },
};

/// So long is each subject that a few make up a message.
const PAD: usize = PART / 4;

fn key(nth: u8) -> Key {
    let none = || Arc::from("");
    Key {
        namespace: none(),
        name: none(),
        uid: Some(format!("{nth:03}").into()),
        container: none(),
        id: None,
    }
}

/// What is so of each item: numbers, or none.
type World = BTreeMap<u8, Option<u64>>;

fn item(nth: u8, state: Option<u64>) -> query::item::Item {
    let pod = PodRecord {
        uid: format!("{nth:03}").into(),
        namespace: "a".into(),
        name: "p".repeat(PAD).into(),
        node: "n".into(),
        labels: Labels::default(),
        owner: None,
        created: Noted::default(),
        ready: Noted::default(),
        containers: Box::default(),
        previous: None,
    };
    let numbers = state.map(|cpu_nanocores| Numbers {
        time: WallTime(0),
        window: Duration::ZERO,
        cpu_nanocores,
        working_set_bytes: 0,
        distribution: None,
        details: None,
        birth: None,
        held: false,
        source: wire::Source::Agent,
    });
    let subject = query::item::Subject::Pod(Arc::new(pod));
    query::item::Item { subject, numbers: numbers.ok_or(AbsenceReason::Stale) }
}

fn usage(nth: u8, cpu: u64) -> wire::Usage {
    match item(nth, Some(cpu)).message() {
        Message::Usage(usage) => *usage,
        Message::Absent(absent) => panic!("{absent:?}"),
    }
}

fn held(world: &World) -> BTreeMap<Id, Held> {
    let held = |(&nth, &state): (&u8, &Option<u64>)| match item(nth, state).message() {
        Message::Usage(usage) => (id(usage.subject.as_ref()), timeless(&usage)),
        Message::Absent(absent) => (id(absent.subject.as_ref()), Held::Absent(absent.reason())),
    };
    world.iter().map(held).collect()
}

/// A feed without a task: the world and its pictures.
struct Feed {
    world: World,
    picture: Picture,
    /// The world at each tick, from the first.
    past: Vec<World>,
    now: Instant,
}

impl Feed {
    fn new() -> Self {
        let (world, now) = (World::new(), Instant::now());
        let mut feed = Self { world, picture: Picture::default(), past: vec![World::new()], now };
        feed.look(|_| false);
        feed
    }

    /// Makes the next picture; what did not change is not looked at where `is_same` says so.
    fn look(&mut self, is_same: impl Fn(u8) -> bool) {
        let before = self.past.last().unwrap();
        let looks = self.world.iter().map(|(&nth, &state)| {
            let is_same = is_same(nth) && before.get(&nth) == Some(&state);
            (key(nth), if is_same { Look::Same } else { Look::Found(Box::new(Saying::of(item(nth, state)))) })
        });
        let left = |_: &Item| AbsenceReason::Gone;
        let next = self.picture.next(looks.collect::<Vec<_>>(), left, self.now);
        assert_eq!(next.is_some(), self.picture.tick() == 0 || *before != self.world);
        if let Some(next) = next {
            self.picture = next;
            self.past.push(self.world.clone());
            assert_eq!(self.picture.selected(), self.world.len());
        }
        self.now += Duration::from_secs(1);
    }
}

/// A reader with its place.
#[derive(Default)]
struct Client {
    cursor: Cursor,
    reader: Reader,
    /// The picture when its tick began.
    begun: Option<u64>,
}

impl Client {
    /// Reads one message, if there is one.
    fn read(&mut self, feed: &Feed) -> bool {
        let Some(part) = self.cursor.next(&feed.picture) else { return false };
        let mut message = wire::WatchResponse::decode(part.items.clone()).unwrap();
        assert!(part.items.len() <= PART || message.usages.len() + message.absent.len() == 1);
        (message.full, message.more, message.conflated) =
            (part.full, part.complete.is_none(), part.conflated);
        message.position = part.complete.map(|tick| tick.to_string()).unwrap_or_default();
        let begun = *self.begun.get_or_insert(feed.picture.tick());
        self.reader.take(&message);
        if let Some(tick) = part.complete {
            assert!(tick <= begun, "it promises no more than it began with");
            self.check(feed, tick);
            self.begun = None;
        }
        true
    }

    /// Each item is as it was at some moment of the tick, which for a tick in one part is one moment.
    fn check(&self, feed: &Feed, tick: u64) {
        let moments =
            (tick..=feed.picture.tick()).map(|tick| held(&feed.past[usize::try_from(tick).unwrap()]));
        let moments: Vec<_> = moments.collect();
        if let [one] = moments.as_slice() {
            assert_eq!(self.reader.held, *one);
        }
        let ids = moments.iter().flat_map(BTreeMap::keys).chain(self.reader.held.keys());
        for id in ids {
            let held = self.reader.held.get(id);
            assert!(moments.iter().any(|moment| moment.get(id) == held), "{id:?} was never so");
        }
    }

    /// Connects anew and goes on where it was.
    fn reconnect(&mut self) {
        self.cursor = match self.reader.position.parse() {
            Ok(tick) => Cursor::resumed(tick),
            Err(_) => Cursor::default(),
        };
        self.reader = Reader { filling: false, more: false, ..self.reader.clone() };
        self.begun = None;
    }
}

/// What happens.
#[derive(Debug, Clone)]
enum Event {
    Set(u8, Option<u64>),
    Remove(u8),
    Look(u8),
    /// So many seconds pass, in which much may be forgotten.
    Pass(u64),
    Read(usize),
    Reconnect(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let (item, reader) = (0..16_u8, 0..3_usize);
    let event = prop_oneof![
        4 => (item.clone(), proptest::option::weighted(0.8, 0..3_u64)).prop_map(|(nth, state)| Event::Set(nth, state)),
        2 => item.clone().prop_map(Event::Remove),
        3 => any::<u8>().prop_map(Event::Look),
        1 => (0..200_u64).prop_map(Event::Pass),
        6 => reader.clone().prop_map(Event::Read),
        1 => reader.prop_map(Event::Reconnect),
    ];
    proptest::collection::vec(event, 0..160)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn whoever_reads_when_he_can_holds_what_is_so(events in events()) {
        let mut feed = Feed::new();
        let mut clients: Vec<Client> = (0..3).map(|_| Client::default()).collect();
        for event in events {
            match event {
                Event::Set(nth, state) => drop(feed.world.insert(nth, state)),
                Event::Remove(nth) => drop(feed.world.remove(&nth)),
                Event::Look(same) => feed.look(|nth| (nth ^ same) % 3 == 0),
                Event::Pass(seconds) => feed.now += Duration::from_secs(seconds),
                Event::Read(nth) => drop(clients[nth].read(&feed)),
                Event::Reconnect(nth) => clients[nth].reconnect(),
            }
        }
        feed.look(|_| false);
        for mut client in clients {
            let mut messages = 0;
            while client.read(&feed) {
                messages += 1;
                prop_assert!(messages < 100, "it comes to an end");
            }
            prop_assert_eq!(&client.reader.held, &held(&feed.world));
        }
    }
}

/// A feed of these items.
fn feed(items: impl IntoIterator<Item = u8>) -> Feed {
    let mut feed = Feed::new();
    feed.world.extend(items.into_iter().map(|nth| (nth, Some(0))));
    feed.look(|_| false);
    feed
}

#[test]
fn the_first_picture_is_told_even_if_it_is_empty() {
    let (feed, mut cursor) = (Feed::new(), Cursor::default());
    let part = cursor.next(&feed.picture).unwrap();
    assert!(part.full && part.items.is_empty() && part.complete == Some(1));
    assert_eq!(cursor.next(&feed.picture), None);
}

#[test]
fn a_slow_reader_is_told_the_newest_once_and_how_many_ticks_it_missed() {
    let (mut feed, mut client) = (feed([1, 2]), Client::default());
    while client.read(&feed) {}
    for cpu in 1..=10 {
        feed.world.insert(1, Some(cpu));
        feed.look(|_| false);
    }
    let part = client.cursor.clone().next(&feed.picture).unwrap();
    let message = wire::WatchResponse::decode(part.items).unwrap();
    assert_eq!(message.usages, [usage(1, 10)]);
    assert_eq!((part.full, part.conflated), (false, 9));
    // Whoever was away was not slow.
    client.reconnect();
    assert_eq!(client.cursor.next(&feed.picture).unwrap().conflated, 0);
}

#[test]
fn readers_at_one_place_share_one_encoding() {
    let mut feed = feed(0..9);
    let mut cursors = [Cursor::default(), Cursor::default()];
    for _ in 0..3 {
        let parts = cursors.each_mut().map(|cursor| cursor.next(&feed.picture).unwrap().items);
        assert_eq!(parts[0].as_ptr(), parts[1].as_ptr());
    }
    feed.world.insert(3, None);
    feed.look(|_| true);
    let parts = cursors.each_mut().map(|cursor| cursor.next(&feed.picture).unwrap().items);
    assert_eq!(parts[0].as_ptr(), parts[1].as_ptr());
}

#[test]
fn what_left_is_forgotten_after_a_while_and_whoever_was_away_for_longer_is_told_everything() {
    let mut feed = feed([1, 2, 3]);
    let position = feed.picture.tick();
    feed.world.remove(&2);
    feed.look(|_| false);
    assert!(feed.picture.reaches_back_to(position));
    feed.now += Duration::from_secs(300);
    feed.world.insert(1, None);
    feed.look(|_| false);
    assert!(!feed.picture.reaches_back_to(position));
    assert_eq!(feed.picture.from(None).len(), 2);
    assert!(Cursor::resumed(position).next(&feed.picture).unwrap().full);
    assert!(Cursor::resumed(u64::MAX).next(&feed.picture).unwrap().full);
}
