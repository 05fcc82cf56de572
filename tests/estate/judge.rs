//! Every answer against what is known: pure, after the fact.

use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    answers::{Key, Served},
    ledger::Ledger,
    polling::{Client, Observation},
};

/// The readings of one sweep are within this time of each other, on cores that are wanted by others too.
const SWEEP: Duration = Duration::from_millis(150);

/// Details are kept of so many faults of each kind.
const SHOWN: usize = 3;

/// What is known of one object.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fate {
    /// Its containers; a node's own counters have no name.
    pub(crate) ledgers: BTreeMap<String, Arc<Ledger>>,
    /// When it has to be served, from and until.
    pub(crate) served: Vec<(Instant, Option<Instant>)>,
    /// When it may not be served, from and until.
    pub(crate) gone: Vec<(Instant, Option<Instant>)>,
    /// Its timestamps are of a wrong clock.
    pub(crate) is_skewed: bool,
}

impl Fate {
    fn is_due(&self, asked: Instant, answered: Instant) -> bool {
        is_within(&self.served, asked, answered)
    }

    fn is_gone(&self, asked: Instant, answered: Instant) -> bool {
        is_within(&self.gone, asked, answered)
    }
}

fn is_within(times: &[(Instant, Option<Instant>)], asked: Instant, answered: Instant) -> bool {
    times.iter().any(|&(from, until)| from <= asked && until.is_none_or(|until| answered <= until))
}

/// A time when a client may be refused, because of what the test does to the server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    pub(crate) client: Client,
    pub(crate) from: Instant,
    pub(crate) until: Option<Instant>,
}

/// All that answers are judged by.
#[derive(Debug, Clone, Default)]
pub(crate) struct Knowledge {
    pub(crate) fates: BTreeMap<Key, Fate>,
    pub(crate) outages: Vec<Outage>,
    /// When one replica may be behind the other, so that through the layer newer and older numbers take turns.
    pub(crate) lags: Vec<(Instant, Option<Instant>)>,
    /// Whatever has to be served has windows of at least this length.
    pub(crate) full_window: Duration,
    /// Objects whose names begin so are not judged.
    pub(crate) strangers: Option<&'static str>,
}

impl Knowledge {
    /// Whether an observation lies outside of its client's outages.
    fn counts(&self, seen: &Observation) -> bool {
        !self.outages.iter().any(|outage| {
            outage.client == seen.client
                && outage.from <= seen.answered
                && outage.until.is_none_or(|until| seen.asked <= until)
        })
    }
}

/// The count.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) requests: usize,
    /// Through the aggregation layer, of these.
    pub(crate) through_layer: usize,
    /// No answer, or another status than 200.
    pub(crate) failed: usize,
    /// The same while the test held the server down: through the layer, and directly.
    pub(crate) excused: [usize; 2],
    /// An object that had to be served and was not.
    pub(crate) gaps: usize,
    /// An object that was served when it was gone.
    pub(crate) ghosts: usize,
    /// Usage that the counters do not allow, or of other containers than there are.
    pub(crate) wrong: usize,
    /// A timestamp before one that the same client had been told.
    pub(crate) back: usize,
    /// The same through the layer, where replicas take turns and one may be behind; and by how many seconds at most.
    pub(crate) behind: usize,
    pub(crate) most_behind: u64,
    /// A window that does not reach back as far as it should.
    pub(crate) short: usize,
    /// Rates that were checked.
    pub(crate) checked: usize,
    /// Seconds; up to one too many, because timestamps are whole seconds.
    ages: Vec<f64>,
    faults: Vec<String>,
    begin: Option<Instant>,
}

impl Tally {
    fn fault(&mut self, seen: &Observation, what: &str) {
        let alike = |fault: &&String| fault.split(' ').next_back() == what.split(' ').next_back();
        if self.faults.iter().filter(alike).count() < SHOWN {
            let at = self.begin.map_or(Duration::ZERO, |begin| seen.asked.saturating_duration_since(begin));
            self.faults.push(format!("{at:.1?} {:?} {:?}: {what}", seen.client, seen.question));
        }
    }

    /// The age that this share of the numbers did not exceed.
    pub(crate) fn age(&self, share: f64) -> f64 {
        let mut ages = self.ages.clone();
        ages.sort_by(f64::total_cmp);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "an index of a list"
        )]
        let index = (ages.len().saturating_sub(1) as f64 * share) as usize;
        ages.get(index).copied().unwrap_or_default()
    }

    /// Fails the test unless all that was counted as wrong is zero.
    pub(crate) fn assert_clean(&self) {
        let faults = [self.failed, self.gaps, self.ghosts, self.wrong, self.back, self.short];
        assert!(self.requests > 0 && self.checked > 0, "nothing was judged");
        assert_eq!(faults, [0; 6], "failed, gaps, ghosts, wrong, back, short");
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { requests, through_layer, failed, excused, gaps, ghosts, wrong, back, short, .. } = self;
        write!(
            f,
            "{requests} requests ({through_layer} through the layer), {failed} failed, {gaps} gaps, {ghosts} ghosts, \
             {wrong} wrong of {} rates, {back} back in time, {short} short windows; at servers held down {} through \
             the layer and {} directly; {} times up to {} s older from the other replica; \
             age p50 {:.1} p99 {:.1} max {:.1} s",
            self.checked,
            excused[0],
            excused[1],
            self.behind,
            self.most_behind,
            self.age(0.5),
            self.age(0.99),
            self.age(1.0)
        )?;
        self.faults.iter().try_for_each(|fault| write!(f, "\n  {fault}"))
    }
}

/// Judges observations, in the order of their answers.
pub(crate) fn judge(observations: &[Observation], knowledge: &Knowledge) -> Tally {
    let begin = observations.first().map(|seen| seen.asked);
    let (mut tally, mut newest) = (Tally { begin, ..Tally::default() }, BTreeMap::new());
    for seen in observations {
        tally.requests += 1;
        tally.through_layer += usize::from(seen.client == Client::FrontProxy);
        let counts = knowledge.counts(seen);
        match &seen.answer {
            Ok(served) => {
                if counts {
                    judge_presence(&mut tally, seen, served, knowledge);
                }
                judge_times(&mut tally, seen, served, &mut newest, knowledge);
                judge_numbers(&mut tally, seen, served, knowledge);
            }
            Err(_) if !counts => {
                tally.excused[usize::from(seen.client != Client::FrontProxy)] += 1;
            }
            Err(_) if is_of_one_gone(seen, knowledge) => {}
            Err(reason) => {
                tally.failed += 1;
                tally.fault(seen, reason);
            }
        }
    }
    tally
}

/// Whether something was asked for that need not be there.
fn is_of_one_gone(seen: &Observation, knowledge: &Knowledge) -> bool {
    let is_404 = seen.answer.as_ref().is_err_and(|reason| reason.starts_with("404"));
    let asked = |key: &&Key| seen.question == crate::answers::Question::One((*key).clone());
    let fate = knowledge.fates.keys().find(asked).and_then(|key| knowledge.fates.get(key));
    is_404 && fate.is_some_and(|fate| !fate.is_due(seen.asked, seen.answered))
}

fn judge_presence(tally: &mut Tally, seen: &Observation, served: &[Served], knowledge: &Knowledge) {
    for (key, fate) in knowledge.fates.iter().filter(|(key, _)| seen.question.is_about(key)) {
        let found = served.iter().find(|one| one.key == *key);
        let is_due = fate.is_due(seen.asked, seen.answered);
        match found {
            None if is_due => {
                tally.gaps += 1;
                tally.fault(seen, &format!("{key} is missing"));
            }
            Some(_) if fate.is_gone(seen.asked, seen.answered) => {
                tally.ghosts += 1;
                tally.fault(seen, &format!("{key} is still there"));
            }
            Some(one) if is_due => {
                if one.window < knowledge.full_window {
                    tally.short += 1;
                    tally.fault(seen, &format!("{key} over {:?} only", one.window));
                }
                if fate.is_skewed {
                    continue;
                }
                let age = i128::from(seen.wall) - i128::from(one.timestamp) * 1_000_000;
                #[expect(clippy::cast_precision_loss, reason = "some seconds")]
                tally.ages.push(age as f64 / 1e6);
            }
            None | Some(_) => {}
        }
    }
}

/// Ticks after which a node counts as silent. While cores are busy with other tests, a batch may reach one replica later than
/// the other, and until then that one knows no newer tick and cannot know that there is one. `agreement` lets two replicas be as
/// far apart.
const SILENCE: u64 = 3;

/// When each client was told the newest timestamp of each object, and which.
type Newest = BTreeMap<(Client, Key), (Instant, u64)>;

fn judge_times(
    tally: &mut Tally,
    seen: &Observation,
    served: &[Served],
    newest: &mut Newest,
    knowledge: &Knowledge,
) {
    for one in served {
        let Some(fate) = knowledge.fates.get(&one.key) else { continue };
        let is_lagging = knowledge
            .lags
            .iter()
            .any(|&(from, until)| from <= seen.answered && until.is_none_or(|until| seen.asked <= until));
        if seen.client == Client::FrontProxy && (is_lagging || !fate.is_due(seen.asked, seen.answered)) {
            continue;
        }
        let place = newest.entry((seen.client, one.key.clone())).or_insert((seen.answered, one.timestamp));
        let (told, timestamp) = *place;
        // Of two questions that were open at one time, none is the later one.
        if seen.asked >= told && one.timestamp < timestamp {
            let behind = timestamp - one.timestamp;
            if seen.client == Client::FrontProxy && behind < SILENCE {
                tally.behind += 1;
                tally.most_behind = tally.most_behind.max(behind);
            } else {
                tally.back += 1;
                tally.fault(seen, &format!("{} from {timestamp} back to {}", one.key, one.timestamp));
            }
        }
        if one.timestamp > timestamp {
            *place = (seen.answered, one.timestamp);
        }
    }
}

fn judge_numbers(tally: &mut Tally, seen: &Observation, served: &[Served], knowledge: &Knowledge) {
    let is_stranger =
        |served: &&Served| knowledge.strangers.is_some_and(|start| served.key.name().starts_with(start));
    for one in served.iter().filter(|one| !is_stranger(one)) {
        let Some(fate) = knowledge.fates.get(&one.key) else {
            tally.wrong += 1;
            tally.fault(seen, &format!("nobody knows {}", one.key));
            continue;
        };
        if !one.usages.keys().eq(fate.ledgers.keys()) {
            tally.wrong += 1;
            tally.fault(seen, &format!("{} with {:?}", one.key, one.usages));
            continue;
        }
        if fate.is_skewed {
            continue;
        }
        let leeway = if one.usages.len() == 1 { Duration::ZERO } else { SWEEP };
        for (name, usage) in &one.usages {
            tally.checked += 1;
            if let Err(why) = fate.ledgers[name].allows(*usage, one.timestamp, one.window, leeway) {
                tally.wrong += 1;
                let (timestamp, window) = (one.timestamp, one.window);
                tally.fault(seen, &format!("{} {name:?} at {timestamp} over {window:?}: {why}", one.key));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{answers::Question, api::forms::Usage};

    const SECOND: Duration = Duration::from_secs(1);

    struct Case {
        start: Instant,
        knowledge: Knowledge,
        seen: Vec<Observation>,
    }

    fn node(name: &str) -> Key {
        Key::Node(name.to_owned())
    }

    fn served(name: &str, timestamp: u64, nanocores: u64) -> Served {
        let usage = Usage { nanocores, memory: 7 };
        let usages = BTreeMap::from([(String::new(), usage)]);
        Served { key: node(name), timestamp, window: SECOND * 5, usages }
    }

    impl Case {
        /// One node `a`, idle and expected from the start on.
        fn new() -> Self {
            let (start, ledger) = (Instant::now(), Ledger::written(7));
            ledger.enter(0, 1000);
            let ledgers = BTreeMap::from([(String::new(), Arc::new(ledger))]);
            let fate = Fate { ledgers, served: vec![(start, None)], ..Fate::default() };
            let fates = BTreeMap::from([(node("a"), fate)]);
            Self { start, knowledge: Knowledge { fates, ..Knowledge::default() }, seen: vec![] }
        }

        /// A list of nodes that was asked for this long after the start.
        fn list(mut self, client: Client, second: u32, answer: Result<Vec<Served>, &str>) -> Self {
            let asked = self.start + SECOND * second;
            self.seen.push(Observation {
                client,
                question: Question::Nodes,
                asked,
                answered: asked + SECOND / 10,
                wall: 2_000_000_000_000_000,
                answer: answer.map_err(ToOwned::to_owned),
            });
            self
        }

        /// Failed, gaps, ghosts, wrong, back.
        fn count(&self) -> [usize; 5] {
            let tally = judge(&self.seen, &self.knowledge);
            [tally.failed, tally.gaps, tally.ghosts, tally.wrong, tally.back]
        }
    }

    const NOW: u64 = 2_000_000_000;

    #[test]
    fn each_fault_is_counted_as_what_it_is() {
        let (one, layer) = (Client::Direct(0), Client::FrontProxy);
        let good = || Ok(vec![served("a", NOW, 0)]);
        assert_eq!(Case::new().list(one, 1, good()).list(layer, 2, good()).count(), [0; 5]);
        assert_eq!(Case::new().list(one, 1, Err("503: no")).count(), [1, 0, 0, 0, 0]);
        assert_eq!(Case::new().list(one, 1, Ok(vec![])).count(), [0, 1, 0, 0, 0]);
        assert_eq!(Case::new().list(one, 1, Ok(vec![served("a", NOW, 1)])).count(), [0, 0, 0, 1, 0]);
        let stranger = Ok(vec![served("a", NOW, 0), served("b", NOW, 0)]);
        assert_eq!(Case::new().list(one, 1, stranger).count(), [0, 0, 0, 1, 0]);
        let older = Ok(vec![served("a", NOW - 1, 0)]);
        assert_eq!(Case::new().list(one, 1, good()).list(one, 2, older.clone()).count(), [0, 0, 0, 0, 1]);
        assert_eq!(Case::new().list(one, 1, good()).list(layer, 2, older).count(), [0; 5], "other clients");
    }

    #[test]
    fn replicas_may_be_apart_by_less_than_silence_and_none_goes_back_itself() {
        let told = |client, behind| {
            let list = |second| Ok(vec![served("a", NOW - second, 0)]);
            Case::new().list(client, 1, list(0)).list(client, 2, list(behind)).count()
        };
        for behind in [1, SILENCE - 1] {
            assert_eq!(told(Client::FrontProxy, behind), [0; 5]);
            assert_eq!(told(Client::Direct(0), behind), [0, 0, 0, 0, 1]);
        }
        assert_eq!(told(Client::FrontProxy, SILENCE), [0, 0, 0, 0, 1]);
    }

    #[test]
    fn what_is_gone_may_be_missing_and_may_not_be_there() {
        let mut case = Case::new();
        let end = case.start + SECOND * 5;
        let fate = case.knowledge.fates.get_mut(&node("a")).unwrap();
        (fate.served[0].1, fate.gone) = (Some(end), vec![(end, None)]);
        let case = case.list(Client::Direct(0), 6, Ok(vec![])).list(
            Client::Direct(0),
            7,
            Ok(vec![served("a", NOW, 0)]),
        );
        assert_eq!(case.count(), [0, 0, 1, 0, 0]);
    }

    #[test]
    fn failures_of_an_outage_are_excused_for_that_client_alone() {
        let mut case = Case::new();
        let (from, until) = (case.start + SECOND, Some(case.start + SECOND * 3));
        case.knowledge.outages.push(Outage { client: Client::Direct(0), from, until });
        let case = case
            .list(Client::Direct(0), 2, Err("refused"))
            .list(Client::Direct(1), 2, Err("refused"))
            .list(Client::Direct(0), 4, Err("refused"));
        assert_eq!(case.count(), [2, 0, 0, 0, 0]);
    }
}
