//! Replicas that tell the same, and windows that stay exact over restarts.

use std::time::Duration;

use crate::{
    answers::{Question, Served},
    grounds::{Estate, key},
    ledger::wall,
    polling::{Client, Observation},
    program::skipped,
};

/// Two answers are of the same moment when they were asked for so close together.
const TOGETHER: Duration = Duration::from_millis(25);

#[test]
fn both_aggregators_tell_the_same_within_a_tick() {
    if skipped("root") {
        return;
    }
    let estate = Estate::start(&[]);
    for _ in 0..5 {
        estate.wait_for_fresh(&estate.expected());
    }
    let (pairs, same) = estate.polling.look(0, compare);
    eprintln!("{pairs} pairs of objects compared, {same} of the same sample");
    assert!(same > 100, "{pairs} pairs, {same} of the same sample");
    estate.judge("nothing was done").assert_clean();
}

/// Compares lists of the same moment; how many objects, and how many of them from the same sample.
fn compare(seen: &[Observation]) -> (usize, usize) {
    let lists = |of: usize| {
        seen.iter().filter(move |seen| {
            seen.client == Client::Direct(of) && matches!(seen.question, Question::Pods | Question::Nodes)
        })
    };
    let (mut pairs, mut same) = (0, 0);
    for one in lists(0) {
        let is_together = |other: &&Observation| {
            other.question == one.question
                && other.asked.max(one.asked) - other.asked.min(one.asked) < TOGETHER
        };
        let Some(other) = lists(1).find(is_together) else { continue };
        for served in one.answer.iter().flatten() {
            let twin = other.answer.iter().flatten().find(|twin| twin.key == served.key);
            pairs += 1;
            same += usize::from(twin.is_some_and(|twin| agree(served, twin)));
        }
    }
    (pairs, same)
}

/// Whether both are of the same sample.
fn agree(one: &Served, other: &Served) -> bool {
    assert!(one.timestamp.abs_diff(other.timestamp) <= 2, "{one:?} and {other:?}");
    let is_same = one.timestamp == other.timestamp && one.window == other.window;
    assert!(!is_same || one.usages == other.usages, "{one:?} and {other:?}");
    is_same
}

/// Whether some of the burn lies in its window.
fn is_burnt(pod: &Served) -> bool {
    pod.usages.get("main").is_some_and(|usage| usage.nanocores > 0)
}

#[test]
fn a_burn_stays_exact_while_both_aggregators_are_killed() {
    if skipped("root") {
        return;
    }
    let mut estate = Estate::start(&[]);
    let (pod, counter) = estate.run_still(2, "still-3");
    let keys = [key(&pod)];
    estate.wait_for_full(&keys);
    estate.expect(&keys[0]);
    let from = estate.polling.count();
    for replica in 0..2 {
        counter.burn(Duration::from_millis(700));
        estate.kill_replica(replica);
        estate.restart_replica(replica);
        // It was never told of by the process that ran then.
        estate.wait_for_clients("the burn", &[Client::Direct(replica)], &keys, is_burnt);
    }
    let second = wall() / 1_000_000 + 6;
    let clients = [Client::FrontProxy, Client::Direct(0), Client::Direct(1)];
    estate.wait_for_clients("it is over", &clients, &keys, |one| one.timestamp >= second);
    let burnt = estate.polling.look(from, |seen| {
        let served = seen.iter().flat_map(|seen| seen.answer.iter().flatten());
        served.filter(|one| one.key == keys[0] && is_burnt(one)).count()
    });
    eprintln!("{burnt} answers with a burn in their window");
    assert!(burnt > 50);
    estate.judge("two burns over two kills").assert_clean();
}
