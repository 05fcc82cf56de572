//! Waiting for what clients are told.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Estate, REPLICAS};
use crate::{
    answers::{Key, Served},
    ledger::wall,
    polling::{Client, Observation},
    program::wait_until,
};

/// Longest that anything may take to be as it should.
const PATIENCE: Duration = Duration::from_secs(40);

/// Answers of the last moment.
const RECENT: Duration = Duration::from_millis(300);

impl Estate {
    /// Waits until all clients were told all of these with samples from now on.
    pub(crate) fn wait_for_fresh(&self, keys: &[Key]) {
        let second = wall() / 1_000_000 + 1;
        self.wait_for("fresh numbers", keys, |served| served.timestamp >= second);
    }

    /// Waits until all clients were told all of these over whole windows.
    pub(crate) fn wait_for_full(&self, keys: &[Key]) {
        let full = self.knowledge.full_window;
        self.wait_for("whole windows", keys, |served| served.window >= full);
    }

    /// Waits until no client is told of any of these, in answers to questions of the last moment.
    pub(crate) fn wait_for_absence(&self, keys: &[Key]) {
        for key in keys {
            wait_until(&format!("{key} is gone"), PATIENCE, || {
                let (there, answers) = self.polling.look(self.begin, |seen| {
                    let recent = seen.iter().rev().take_while(|seen| seen.asked.elapsed() < RECENT);
                    let about = recent.filter(|seen| seen.question.is_about(key) && seen.answer.is_ok());
                    let is_there =
                        |seen: &Observation| seen.answer.iter().flatten().any(|one| one.key == *key);
                    (about.clone().any(is_there), about.count())
                });
                (!there && answers > 3).then_some(()).ok_or_else(|| "it is served".to_owned())
            });
        }
    }

    /// Waits until all clients were told all of these as wanted, in answers to questions from now on.
    fn wait_for(&self, what: &str, keys: &[Key], wanted: impl Fn(&Served) -> bool) {
        let mut clients = vec![Client::FrontProxy];
        clients.extend((0..REPLICAS).map(Client::Direct));
        self.wait_for_clients(what, &clients, keys, wanted);
    }

    /// The same for some clients.
    pub(crate) fn wait_for_clients(
        &self,
        what: &str,
        clients: &[Client],
        keys: &[Key],
        wanted: impl Fn(&Served) -> bool,
    ) {
        let (from, now) = (self.polling.count(), Instant::now());
        wait_until(what, PATIENCE, || {
            let told: BTreeSet<(Client, Key)> = self.polling.look(from, |seen| {
                let new = seen.iter().filter(|seen| seen.asked >= now);
                let served = new.flat_map(|seen| {
                    let served = seen.answer.iter().flatten().filter(|served| wanted(served));
                    served.map(|served| (seen.client, served.key.clone()))
                });
                served.collect()
            });
            let all = clients.iter().flat_map(|client| keys.iter().map(|key| (*client, key.clone())));
            let missing: Vec<_> = all.filter(|one| !told.contains(one)).take(5).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("not told {missing:?}")) }
        });
    }
}
