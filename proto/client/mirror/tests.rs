//! What is held after each kind of event.

use proptest::prelude::*;

use super::*;

fn subject(pod: &str, uid: &str) -> wire::Subject {
    wire::Subject {
        node: "n1".to_owned(),
        namespace: "ns".to_owned(),
        pod: pod.to_owned(),
        pod_uid: uid.to_owned(),
        ..wire::Subject::default()
    }
}

fn usage(pod: &str, uid: &str, cpu_nanocores: u64) -> wire::Usage {
    wire::Usage { subject: Some(subject(pod, uid)), cpu_nanocores, ..wire::Usage::default() }
}

fn absent(pod: &str, uid: &str, reason: AbsenceReason) -> wire::Absent {
    wire::Absent { subject: Some(subject(pod, uid)), reason: reason.into() }
}

fn tick(usages: Vec<wire::Usage>, absent: Vec<wire::Absent>) -> Tick {
    Tick { usages, absent, time: SystemTime::UNIX_EPOCH, conflated: 0 }
}

fn held(mirror: &Mirror) -> Vec<(String, u64)> {
    let told =
        mirror.usages().map(|usage| (usage.subject.as_ref().unwrap().pod.clone(), usage.cpu_nanocores));
    told.collect()
}

#[test]
fn a_picture_replaces_everything_and_a_change_only_what_it_names() {
    let (mut mirror, now) = (Mirror::default(), Instant::now());
    assert!(!mirror.is_whole(), "nothing was told yet");
    let both = tick(vec![usage("b", "1", 2), usage("a", "1", 1)], vec![]);
    mirror.apply(Event::Picture(both), now);
    mirror.apply(Event::Changed(tick(vec![usage("b", "1", 5)], vec![])), now);
    assert_eq!(held(&mirror), [("a".to_owned(), 1), ("b".to_owned(), 5)]);
    mirror.apply(Event::Picture(tick(vec![usage("c", "1", 3)], vec![])), now);
    assert_eq!(held(&mirror), [("c".to_owned(), 3)]);
    assert!(mirror.is_whole());
}

#[test]
fn what_lacks_numbers_stays_and_what_is_gone_does_not() {
    let (mut mirror, now) = (Mirror::default(), Instant::now());
    mirror.apply(Event::Picture(tick(vec![usage("a", "1", 1), usage("b", "1", 1)], vec![])), now);
    let reasons = vec![absent("a", "1", AbsenceReason::Stale), absent("b", "1", AbsenceReason::Gone)];
    mirror.apply(Event::Changed(tick(vec![], reasons)), now);
    assert_eq!(held(&mirror), []);
    assert_eq!(mirror.absent().map(|(_, reason)| reason).collect::<Vec<_>>(), [AbsenceReason::Stale]);
    assert!(!mirror.is_whole());
    mirror.apply(Event::Changed(tick(vec![usage("a", "1", 7)], vec![])), now);
    assert!(mirror.is_whole());
}

#[test]
fn a_successor_of_the_same_name_survives_the_word_of_its_predecessors_end() {
    let (mut mirror, now) = (Mirror::default(), Instant::now());
    mirror.apply(Event::Picture(tick(vec![usage("a", "1", 1)], vec![])), now);
    let replaced = absent("a", "1", AbsenceReason::Replaced);
    mirror.apply(Event::Changed(tick(vec![usage("a", "2", 9)], vec![replaced.clone()])), now);
    assert_eq!(held(&mirror), [("a".to_owned(), 9)]);
    // Told once more, later: it is not about the one that is held now.
    mirror.apply(Event::Changed(tick(vec![], vec![replaced])), now);
    assert_eq!(held(&mirror), [("a".to_owned(), 9)]);
}

#[test]
fn age_counts_from_the_last_word_and_not_from_an_interruption() {
    let (mut mirror, begin) = (Mirror::default(), Instant::now());
    assert_eq!(mirror.silent_for(begin), None);
    let after = |seconds| begin + Duration::from_secs(seconds);
    mirror.apply(Event::Picture(tick(vec![], vec![])), begin);
    mirror.apply(Event::Heartbeat { time: SystemTime::UNIX_EPOCH + Duration::from_secs(1) }, after(1));
    let error = super::super::Error::Unavailable("stops".to_owned());
    mirror.apply(Event::Interrupted(error), after(2));
    assert_eq!(mirror.silent_for(after(4)), Some(Duration::from_secs(3)));
    assert_eq!(mirror.time(), Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1)));
}

proptest! {
    /// Told as changes or as one picture, the same is held.
    #[test]
    fn changes_add_up_to_the_picture(news in prop::collection::vec((0_u8..6, 0_u64..9, any::<bool>()), 0..40)) {
        let now = Instant::now();
        let (mut by_changes, mut expected) = (Mirror::default(), BTreeMap::new());
        by_changes.apply(Event::Picture(tick(vec![], vec![])), now);
        for (pod, cpu, is_gone) in news {
            let pod = pod.to_string();
            let told = if is_gone {
                expected.remove(&pod);
                tick(vec![], vec![absent(&pod, "1", AbsenceReason::Gone)])
            } else {
                expected.insert(pod.clone(), cpu);
                tick(vec![usage(&pod, "1", cpu)], vec![])
            };
            by_changes.apply(Event::Changed(told), now);
        }
        prop_assert_eq!(held(&by_changes), expected.into_iter().collect::<Vec<_>>());
    }
}
