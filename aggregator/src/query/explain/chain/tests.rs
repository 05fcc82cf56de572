//! What each state of a pod or node is told as, and to whom.

use super::*;
use crate::explain::{ContainerExplanation, KubeletExplanation, LeftOut, refusals::Refusal};

/// A node whose agent streams, with everything that other tenants must not know.
fn node() -> NodeExplanation {
    NodeExplanation {
        name: "n1".to_owned(),
        known: true,
        streaming: true,
        silent_seconds: Some(0.4),
        interval_seconds: Some(1.0),
        agent_version: Some("9.8.7".to_owned()),
        clock_ahead_seconds: Some(77.0),
        containers: 4321,
        refused_containers: 876,
        left_out: vec![LeftOut { reason: "backed_off".to_owned(), count: 555 }],
        refusals: vec![Refusal {
            peer: Some([10, 9, 8, 7].into()),
            node: Some("n1".to_owned()),
            message: "the token is for n7".to_owned(),
            count: 3,
            ..Refusal::default()
        }],
        outcome: served(),
        ..NodeExplanation::default()
    }
}

fn quiet() -> NodeExplanation {
    NodeExplanation {
        clock_ahead_seconds: None,
        refused_containers: 0,
        left_out: vec![],
        refusals: vec![],
        ..node()
    }
}

fn served() -> Outcome {
    Outcome { served: true, age_seconds: Some(0.5), window_seconds: Some(15.0), ..Outcome::default() }
}

fn absent(reason: &str) -> Outcome {
    Outcome { reason: Some(reason.to_owned()), ..Outcome::default() }
}

fn container(name: &str, reason: Option<&str>) -> ContainerExplanation {
    ContainerExplanation {
        name: name.to_owned(),
        id: "c".repeat(64),
        samples: 16,
        newest_age_seconds: Some(0.4),
        span_seconds: Some(15.0),
        reason: reason.map(ToOwned::to_owned),
    }
}

fn pod(node: NodeExplanation, outcome: Outcome, reasons: &[Option<&str>]) -> PodExplanation {
    let names = ["main", "side", "third"].into_iter().zip(reasons);
    let containers: Vec<_> = names.map(|(name, reason)| container(name, *reason)).collect();
    PodExplanation {
        namespace: "prod".to_owned(),
        name: "web-0".to_owned(),
        known: true,
        uid: Some("u".to_owned()),
        ready_seconds: Some(60.0),
        outcome,
        container_count: containers.len(),
        containers,
        node: Some(node),
        ..PodExplanation::default()
    }
}

fn states(told: &wire::ExplainResponse) -> Vec<(LinkKind, LinkState)> {
    told.chain.iter().map(|link| (link.kind(), link.state())).collect()
}

#[test]
fn a_served_pod_has_a_chain_without_a_break_and_the_pictures_age() {
    let told = of_pod(&pod(quiet(), served(), &[None]), None, Scope::Node);
    assert_eq!((told.verdict(), told.reason()), (Verdict::Served, AbsenceReason::Unspecified));
    assert!(states(&told).iter().all(|(_, state)| *state == LinkState::Ok), "{told:#?}");
    let kinds: Vec<_> = states(&told).into_iter().map(|(kind, _)| kind).collect();
    let expected = [LinkKind::Node, LinkKind::Agent, LinkKind::Pod, LinkKind::Counters, LinkKind::Picture];
    assert_eq!(kinds, expected);
    let age = told.chain.last().unwrap().age.unwrap();
    assert_eq!((age.seconds, age.nanos), (0, 500_000_000));
    assert_eq!(told.message, "served: 0.5s old, over 15s");
}

#[test]
fn who_may_not_get_the_node_is_told_of_it_only_what_concerns_the_pod() {
    let kubelet = KubeletExplanation {
        url: Some("https://10.9.8.7:10250".to_owned()),
        failure: Some("401 from 10.9.8.7".to_owned()),
        pods: 4321,
        ..KubeletExplanation::default()
    };
    let silent = NodeExplanation { silent_seconds: Some(99.0), ..node() };
    let gone = NodeExplanation { streaming: false, silent_seconds: None, ..node() };
    let polled = NodeExplanation { kubelet: Some(kubelet), ..gone.clone() };
    for (node, outcome) in [
        (node(), served()),
        (silent, absent("stale")),
        (gone, absent("no_agent")),
        (polled, absent("no_kubelet")),
    ] {
        let told = of_pod(&pod(node.clone(), outcome.clone(), &[None]), None, Scope::Pod);
        let text = format!("{told:?}");
        for secret in ["9.8.7", "10.9.8", "77", "1m 17s", "4321", "876", "555", "backed_off", "n7"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
        assert_eq!(states(&told).first(), Some(&(LinkKind::Node, LinkState::Unknown)));
        // The same person is told all of it when asking about a node that may be got.
        let text = format!("{:?}", of_pod(&pod(node, outcome, &[None]), None, Scope::Node));
        assert!(text.contains("876") && text.contains("1m 17s"), "{text}");
    }
}

#[test]
fn a_silent_agent_is_the_cause_and_what_follows_from_it_is_not_judged() {
    let silent = NodeExplanation { silent_seconds: Some(45.0), outcome: absent("stale"), ..quiet() };
    for scope in [Scope::Node, Scope::Pod] {
        let told = of_pod(&pod(silent.clone(), absent("stale"), &[Some("not_measured")]), None, scope);
        assert_eq!((told.verdict(), told.reason()), (Verdict::Absent, AbsenceReason::Stale));
        assert!(states(&told).contains(&(LinkKind::Agent, LinkState::Broken)), "{told:#?}");
        assert!(states(&told).contains(&(LinkKind::Counters, LinkState::Unknown)), "{told:#?}");
        assert!(told.message.contains("45s"), "{}", told.message);
    }
    // As long as its numbers are served, silence does no harm.
    let told = of_pod(&pod(silent, served(), &[None]), None, Scope::Pod);
    assert!(states(&told).contains(&(LinkKind::Agent, LinkState::Degraded)));
    assert_eq!(told.verdict(), Verdict::Served);
}

#[test]
fn a_container_that_lacks_is_named_as_the_cause() {
    for (reason, told_as) in [
        ("not_measured", AbsenceReason::NotMeasured),
        ("first_sample", AbsenceReason::FirstSample),
        ("window_too_short", AbsenceReason::WindowTooShort),
    ] {
        let told = of_pod(&pod(quiet(), absent(reason), &[None, Some(reason)]), Some("main"), Scope::Pod);
        assert_eq!((told.verdict(), told.reason()), (Verdict::Absent, told_as));
        assert!(told.message.starts_with("container side ("), "{}", told.message);
        let broken = told.chain.iter().find(|link| link.state() == LinkState::Broken).unwrap();
        assert_eq!(broken.container, "side");
    }
    let told = of_pod(&pod(quiet(), absent("not_measured"), &[Some("over_limit")]), None, Scope::Pod);
    assert_eq!(told.reason(), AbsenceReason::OverLimit);
}

#[test]
fn a_held_picture_says_which_container_is_waited_for() {
    let held = Outcome { held: true, ..served() };
    let told = PodExplanation {
        former: vec!["old".to_owned()],
        ..pod(quiet(), held, &[None, Some("first_sample")])
    };
    let all = of_pod(&told, None, Scope::Pod);
    assert_eq!((all.verdict(), all.reason()), (Verdict::Held, AbsenceReason::FirstSample));
    assert!(all.message.contains("side"), "{}", all.message);
    assert_eq!(of_pod(&told, Some("old"), Scope::Pod).verdict(), Verdict::Held);
    assert_eq!(of_pod(&told, Some("none"), Scope::Pod).verdict(), Verdict::Absent);
}

#[test]
fn what_nobody_knows_has_a_chain_that_begins_with_it() {
    let unknown = PodExplanation {
        namespace: "prod".to_owned(),
        name: "web-0".to_owned(),
        outcome: absent("unknown"),
        ..PodExplanation::default()
    };
    let told = of_pod(&unknown, None, Scope::Pod);
    assert_eq!((told.verdict(), told.reason()), (Verdict::Absent, AbsenceReason::Unknown));
    assert_eq!(states(&told), [(LinkKind::Pod, LinkState::Broken), (LinkKind::Picture, LinkState::Broken)]);
    let empty = PodExplanation { known: true, outcome: absent("no_containers"), ..unknown };
    let told = of_pod(&empty, None, Scope::Pod);
    assert_eq!(told.reason(), AbsenceReason::NoContainers);
    let nobody =
        NodeExplanation { name: "n9".to_owned(), outcome: absent("unknown"), ..NodeExplanation::default() };
    let told = of_node(&nobody);
    assert_eq!((told.verdict(), told.reason()), (Verdict::Absent, AbsenceReason::Unknown));
    assert!(told.message.contains("n9"), "{}", told.message);
}

#[test]
fn every_reason_of_ours_has_a_word_of_the_contract() {
    for omission in Omission::ALL {
        assert_ne!(named(omission.as_str()), AbsenceReason::Unspecified);
    }
    for reason in ["unknown", "over_limit", "ended"] {
        assert_ne!(named(reason), AbsenceReason::Unspecified);
    }
}

#[test]
fn a_polled_kubelet_is_asked_in_place_of_the_agent() {
    let kubelet =
        KubeletExplanation { succeeded_seconds: Some(4.0), pods: 7, ..KubeletExplanation::default() };
    let polled =
        NodeExplanation { streaming: false, silent_seconds: None, kubelet: Some(kubelet.clone()), ..quiet() };
    let told = of_pod(&pod(polled.clone(), served(), &[Some("not_measured")]), None, Scope::Node);
    assert_eq!(told.verdict(), Verdict::Served);
    assert!(states(&told).contains(&(LinkKind::Kubelet, LinkState::Ok)));
    assert!(states(&told).contains(&(LinkKind::Counters, LinkState::Unknown)));
    let failing = KubeletExplanation { failure: Some("timed out".to_owned()), ..kubelet };
    let polled = NodeExplanation { kubelet: Some(failing), outcome: absent("no_kubelet"), ..polled };
    let told = of_node(&polled);
    assert_eq!((told.verdict(), told.reason()), (Verdict::Absent, AbsenceReason::NoKubelet));
    assert!(told.message.contains("timed out"), "{}", told.message);
}
