//! Single steps, and a cluster in which replicas that disagree about the time do them.

use proptest::prelude::*;

use super::*;
use crate::ca::contents::{self, Contents, Found};

const PLAN: Plan = Plan { life: Duration::from_hours(6), overlap: Duration::from_mins(10) };
const EVERYWHERE: Publication = Publication::Everywhere;
const SECOND: Duration = Duration::from_secs(1);

fn begun() -> (SystemTime, State) {
    let now = SystemTime::UNIX_EPOCH + Duration::from_hours(24 * 365 * 56);
    (now, create(now, &PLAN, &Bundle::default()).unwrap())
}

fn steps(mut now: SystemTime, state: &State, until: SystemTime) -> Vec<(Step, Duration)> {
    let (begun, mut state, mut done) = (now, state.clone(), Vec::new());
    while now < until {
        if let Some(step) = decide(now, &PLAN, &state, EVERYWHERE) {
            state = take(step, now, &PLAN, &state).unwrap();
            done.push((step, now.duration_since(begun).unwrap()));
        }
        now += SECOND;
    }
    done
}

#[test]
fn an_authority_is_followed_at_two_thirds_of_its_life() {
    let (now, state) = begun();
    let due = PLAN.life * 2 / 3;
    let done = steps(now, &state, now + due + PLAN.overlap * 8);
    let expected = [
        (Step::Begin, due),
        (Step::Announce, due + SECOND),
        (Step::Switch, due + SECOND + PLAN.overlap),
        (Step::End, due + SECOND + PLAN.overlap * 7),
    ];
    assert_eq!(done, expected);
}

#[test]
fn an_operator_gets_a_new_authority_for_the_asking_and_only_one() {
    let (now, mut state) = begun();
    state.is_requested = true;
    let done: Vec<Step> =
        steps(now, &state, now + PLAN.overlap * 9).into_iter().map(|(step, _)| step).collect();
    assert_eq!(done, [Step::Begin, Step::Announce, Step::Switch, Step::End]);
}

#[test]
fn what_is_not_published_everywhere_never_signs() {
    let (now, mut state) = begun();
    state = take(Step::Begin, now, &PLAN, &state).unwrap();
    let late = now + PLAN.overlap * 5;
    assert_eq!(decide(late, &PLAN, &state, Publication::Lacking), None);
    assert_eq!(decide(late, &PLAN, &state, EVERYWHERE), Some(Step::Announce));
    state = take(Step::Announce, now, &PLAN, &state).unwrap();
    assert_eq!(decide(late, &PLAN, &state, Publication::Unknown), None);
    assert_eq!(decide(late, &PLAN, &state, EVERYWHERE), Some(Step::Switch));
    // It was published, and somebody took it away: the wait begins anew.
    assert_eq!(decide(late, &PLAN, &state, Publication::Lacking), Some(Step::Withdraw));
    state = take(Step::Withdraw, late, &PLAN, &state).unwrap();
    assert_eq!(decide(late, &PLAN, &state, EVERYWHERE), Some(Step::Announce));
}

#[test]
fn an_authority_of_somebody_else_is_left_alone_even_when_it_has_expired() {
    let (now, mut state) = begun();
    state.is_ours = false;
    state.is_requested = true;
    assert_eq!(decide(now + PLAN.life * 2, &PLAN, &state, EVERYWHERE), None);
}

#[test]
fn an_expired_authority_gives_way_to_the_next_one_or_to_a_new_one() {
    let (now, state) = begun();
    let late = state.signing.valid().end;
    assert_eq!(decide(late, &PLAN, &state, EVERYWHERE), Some(Step::Repair));
    let next = take(Step::Begin, late - SECOND, &PLAN, &state).unwrap();
    let promoted = take(Step::Repair, late, &PLAN, &next).unwrap();
    assert_eq!(promoted.signing.certificate(), next.next.unwrap().authority.certificate());
    assert!(promoted.previous.contains(state.signing.certificate()));
    // Whoever still has a trusted certificate keeps it until clients know the other one.
    assert_eq!(promoted.from, Some(late + PLAN.overlap));
    assert_eq!(decide(late + PLAN.overlap * 6, &PLAN, &promoted, EVERYWHERE), None);
    assert_eq!(decide(late + PLAN.overlap * 7, &PLAN, &promoted, EVERYWHERE), Some(Step::End));
    assert_eq!(create(now, &PLAN, &Bundle::default()).unwrap().from, Some(now));
}

#[test]
fn times_that_make_no_sense_are_written_anew() {
    let (now, state) = begun();
    let switched = [Step::Begin, Step::Announce, Step::Switch]
        .into_iter()
        .fold(state, |state, step| take(step, now, &PLAN, &state).unwrap());
    for from in [None, Some(now + PLAN.overlap * 3)] {
        let odd = State { from, ..switched.clone() };
        assert_eq!(decide(now, &PLAN, &odd, EVERYWHERE), Some(Step::Stamp));
        assert_eq!(take(Step::Stamp, now, &PLAN, &odd).unwrap().from, Some(now));
    }
}

/// What happens to a cluster in one half minute.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// A replica looks at what it read some time ago, or now.
    Look { replica: usize, is_behind: bool },
    /// A replica starts anew and knows nothing.
    Restart(usize),
    /// An operator asks for a new authority.
    Request,
    /// Somebody takes the newest certificate out of what is published.
    Revert,
    /// Nobody does anything.
    Rest,
}

fn event() -> impl Strategy<Value = Event> {
    let look = (0..3usize, prop::bool::weighted(0.2));
    prop_oneof![
        20 => look.prop_map(|(replica, is_behind)| Event::Look { replica, is_behind }),
        1 => (0..3usize).prop_map(Event::Restart),
        1 => Just(Event::Request),
        1 => Just(Event::Revert),
        2 => Just(Event::Rest),
    ]
}

/// One replica: its clock's error in seconds, and the authority of the certificate it serves.
#[derive(Debug, Clone)]
struct Replica {
    skew: i64,
    serves: Option<rustls_pki_types::CertificateDer<'static>>,
}

/// The Secret at one time, and what it says: read once, because reading checks every key.
#[derive(Debug, Clone)]
struct Secret {
    version: u64,
    contents: Contents,
    state: State,
}

impl Secret {
    fn of(version: u64, contents: Contents) -> Self {
        match contents::read(&contents) {
            Found::Sound(state) => Self { version, contents, state: *state },
            other => panic!("{other:?}"),
        }
    }

    fn changed(&self, change: impl FnOnce(&mut Contents)) -> Self {
        let mut contents = self.contents.clone();
        change(&mut contents);
        Self::of(self.version + 1, contents)
    }
}

/// What everybody reads, what is published with the time it changed, and the replicas.
struct World {
    now: SystemTime,
    secret: Secret,
    /// As it was one event ago.
    older: Secret,
    published: Bundle,
    /// What was published at each time, newest last: agents see it up to 150 s late.
    history: Vec<(SystemTime, Bundle)>,
    replicas: Vec<Replica>,
    done: Vec<Step>,
}

impl World {
    fn clock(&self, replica: usize) -> SystemTime {
        let skew = self.replicas[replica].skew;
        let by = Duration::from_secs(skew.unsigned_abs());
        if skew < 0 { self.now - by } else { self.now + by }
    }

    fn look(&mut self, replica: usize, is_behind: bool) {
        let secret = if is_behind { &self.older } else { &self.secret };
        let (now, version, mut state) = (self.clock(replica), secret.version, secret.state.clone());
        let lacks = |next: &Next| !self.published.contains(next.authority.certificate());
        let seen = if state.next.as_ref().is_some_and(lacks) { Publication::Lacking } else { EVERYWHERE };
        if let Some(step) = decide(now, &PLAN, &state, seen) {
            let after = take(step, now, &PLAN, &state).unwrap();
            if version == self.secret.version {
                self.secret = self.secret.changed(|contents| after.write(contents));
                state = after;
                self.done.push(step);
            }
        }
        // What others added stays for longer than a replica is behind.
        for certificate in state.bundle().certificates() {
            self.published.add(certificate);
        }
        if !is_behind && state.next.is_none() && state.previous.certificates().is_empty() {
            self.published = state.bundle();
        }
        let signer = state.signer();
        let serves = &mut self.replicas[replica].serves;
        let keeps = serves.as_ref().is_some_and(|by| signer.trusted.contains(by) && now < signer.from);
        if !keeps {
            *serves = Some(signer.authority.certificate().clone());
        }
    }

    fn happen(&mut self, event: Event) {
        let before = self.secret.clone();
        match event {
            Event::Look { replica, is_behind } => self.look(replica, is_behind),
            Event::Restart(replica) => {
                self.replicas[replica].serves = None;
                self.look(replica, false);
            }
            Event::Request => {
                self.secret = self.secret.changed(|contents| {
                    contents.annotations.insert(contents::ROTATE.to_owned(), "now".to_owned());
                });
            }
            Event::Revert => {
                let state = &self.secret.state;
                self.published =
                    [state.signing.certificate()].into_iter().chain(state.previous.certificates()).collect();
            }
            Event::Rest => {}
        }
        self.older = before;
        // Somebody may read what is published at this moment, before it is mended.
        self.history.push((self.now, self.published.clone()));
        // Each replica looks every ten seconds, so none is behind for longer than one event.
        for replica in 0..self.replicas.len() {
            self.look(replica, false);
        }
        self.history.push((self.now, self.published.clone()));
        self.check();
        self.now += Duration::from_secs(30);
    }

    /// Every certificate in use is trusted by whoever goes by what was published up to two and a half minutes ago.
    fn check(&self) {
        let recent = self.history.iter().rev();
        let recent = recent.take_while(|(at, _)| *at + Duration::from_secs(150) >= self.now);
        for (at, published) in recent {
            for replica in &self.replicas {
                let by = replica.serves.as_ref().unwrap();
                assert!(
                    published.contains(by),
                    "{replica:?} is not trusted by who read at {at:?}: {:?}",
                    self.done
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn replicas_with_wrong_clocks_rotate_and_nobody_is_ever_cut_off(
        // Two clocks and the slowest reader together stay within the overlap of ten minutes: more it cannot bear.
        skews in proptest::collection::vec(-210i64..210, 3),
        events in proptest::collection::vec(event(), 1500),
    ) {
        let (now, state) = begun();
        let mut contents = Contents::default();
        state.write(&mut contents);
        let secret = Secret::of(1, contents);
        let replicas = skews.into_iter().map(|skew| Replica { skew, serves: None }).collect();
        let mut world = World {
            now,
            older: secret.clone(),
            secret,
            published: state.bundle(),
            history: Vec::new(),
            replicas,
            done: Vec::new(),
        };
        for event in events {
            world.happen(event);
        }
        // Twelve hours and a half hold two lives' two thirds.
        let count = |wanted| world.done.iter().filter(|step| **step == wanted).count();
        prop_assert!(count(Step::Switch) >= 2, "{:?}", world.done);
        prop_assert_eq!(count(Step::Repair), 0);
    }
}
