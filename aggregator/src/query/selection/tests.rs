use kubevitals::sample::WallTime;
use proptest::prelude::*;
use tonic_types::StatusExt as _;

use super::*;
use crate::directory::{Labels, Noted};

fn read(selection: wire::Selection) -> Result<Selection, Vec<String>> {
    let mut faults = Faults::default();
    let read = Selection::read(Some(selection), &mut faults);
    match faults.check() {
        Ok(()) => Ok(read.unwrap()),
        Err(status) => {
            assert_eq!(read, None);
            let told = status.get_details_bad_request().unwrap().field_violations;
            Err(told.into_iter().map(|fault| fault.field).collect())
        }
    }
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

fn pod(labels: &[(&str, &str)], owner: Option<(&str, &str)>) -> PodRecord {
    let owner = owner.map(|(kind, name)| {
        Arc::new(Owner { kind: kind.into(), name: name.into(), uid: "owner-uid".into() })
    });
    PodRecord {
        uid: "uid-1".into(),
        namespace: "shop".into(),
        name: "web-1".into(),
        node: "n1".into(),
        labels: labels.iter().copied().collect(),
        owner,
        created: Noted::default(),
        ready: Noted::default(),
        containers: Box::default(),
        previous: None,
    }
}

#[test]
fn nothing_said_is_all_pods() {
    assert_eq!(read(wire::Selection::default()), Ok(Selection::all(Level::Pods)));
    assert_eq!(Selection::read(None, &mut Faults::default()), Some(Selection::all(Level::Pods)));
}

#[test]
fn each_condition_counts() {
    let web = pod(&[("app", "web")], Some(("StatefulSet", "web")));
    let has = |selection: wire::Selection| read(selection).unwrap().has_pod(&web);
    let none = wire::Selection::default;
    assert!(has(wire::Selection { namespaces: texts(&["a", "shop"]), ..none() }));
    assert!(!has(wire::Selection { namespaces: texts(&["a"]), ..none() }));
    assert!(has(wire::Selection { names: texts(&["web-1", "web-0"]), ..none() }));
    assert!(!has(wire::Selection { names: texts(&["web-0"]), ..none() }));
    assert!(has(wire::Selection { uids: texts(&["uid-1"]), ..none() }));
    assert!(!has(wire::Selection { uids: texts(&["uid-2"]), ..none() }));
    assert!(has(wire::Selection { node: "n1".to_owned(), ..none() }));
    assert!(!has(wire::Selection { node: "n2".to_owned(), ..none() }));
    assert!(has(wire::Selection { label_selector: "app in (web)".to_owned(), ..none() }));
    assert!(!has(wire::Selection { label_selector: "!app".to_owned(), ..none() }));
    let owner = |kind: &str, name: &str, uid: &str| {
        let (kind, name, uid) = (kind.to_owned(), name.to_owned(), uid.to_owned());
        has(wire::Selection { owner: Some(wire::Owner { kind, name, uid }), ..none() })
    };
    assert!(owner("StatefulSet", "web", "owner-uid") && owner("", "", "owner-uid") && owner("", "web", ""));
    assert!(!owner("StatefulSet", "db", "") && !owner("DaemonSet", "web", "") && !owner("", "", "other"));
    assert!(!Selection::all(Level::Nodes).has_pod(&web));
}

#[test]
fn a_deployment_is_found_by_its_replica_sets() {
    let deployment = |name: &str| {
        let owner =
            Some(wire::Owner { kind: "Deployment".to_owned(), name: name.to_owned(), uid: String::new() });
        read(wire::Selection { owner, ..wire::Selection::default() }).unwrap()
    };
    let hash: &[_] = &[("pod-template-hash", "6d5f8")];
    let of = |owner: Option<(&str, &str)>, labels: &[(&str, &str)]| pod(labels, owner);
    let ours = of(Some(("ReplicaSet", "web-6d5f8")), hash);
    assert!(deployment("web").has_pod(&ours) && deployment("").has_pod(&ours));
    assert!(!deployment("we").has_pod(&ours) && !deployment("web-6d5f8").has_pod(&ours));
    // Without the hash nothing tells a Deployment's from another's.
    assert!(!deployment("web").has_pod(&of(Some(("ReplicaSet", "web-6d5f8")), &[])));
    assert!(!deployment("web").has_pod(&of(Some(("ReplicaSet", "web")), hash)));
    assert!(!deployment("").has_pod(&of(Some(("ReplicaSet", "-6d5f8")), hash)));
    assert!(!deployment("web").has_pod(&of(Some(("StatefulSet", "web-6d5f8")), hash)));
    assert!(!deployment("").has_pod(&of(None, hash)));
}

#[test]
fn what_is_said_in_another_order_is_the_same_selection() {
    let of = |namespaces: &[&str], selector: &str| {
        let (namespaces, label_selector) = (texts(namespaces), selector.to_owned());
        read(wire::Selection { namespaces, label_selector, ..wire::Selection::default() }).unwrap()
    };
    assert_eq!(of(&["b", "a", "b"], "tier in (x,y),app=web"), of(&["a", "b"], "app = web , tier in (y, x)"));
    assert_ne!(of(&["a"], ""), of(&["b"], ""));
}

#[test]
fn all_faults_are_told_at_once() {
    let faulty = wire::Selection {
        level: 9,
        namespaces: texts(&["", "UPPER", "fine"]),
        label_selector: "a=(".to_owned(),
        names: texts(&["../etc"]),
        node: "a/b".to_owned(),
        owner: Some(wire::Owner::default()),
        uids: texts(&["with blank"]),
        ..wire::Selection::default()
    };
    let expected = [
        "selection.level",
        "selection.label_selector",
        "selection.namespaces[0]",
        "selection.namespaces[1]",
        "selection.names[0]",
        "selection.uids[0]",
        "selection.node",
        "selection.owner",
    ];
    assert_eq!(read(faulty), Err(texts(&expected)));
}

#[test]
fn fields_that_do_not_go_with_the_level_are_faults() {
    let nodes = wire::Selection {
        level: wire::Level::Nodes.into(),
        namespaces: texts(&["a"]),
        node: "n".to_owned(),
        owner: Some(wire::Owner { kind: "Job".to_owned(), ..wire::Owner::default() }),
        uids: texts(&["u"]),
        containers: texts(&["c"]),
        ..wire::Selection::default()
    };
    let faults =
        ["namespaces", "node", "owner", "uids", "containers"].map(|field| format!("selection.{field}"));
    assert_eq!(read(nodes), Err(faults.to_vec()));
    let owner = wire::Owner { kind: "Deployment".to_owned(), uid: "u".to_owned(), ..wire::Owner::default() };
    let deployment = wire::Selection { owner: Some(owner), ..wire::Selection::default() };
    assert_eq!(read(deployment), Err(texts(&["selection.owner.uid"])));
}

#[test]
fn what_is_too_much_is_a_fault() {
    let many = |count: usize| (0..count).map(|n| format!("n{n}")).collect::<Vec<_>>();
    let too_much = wire::Selection {
        level: wire::Level::Containers.into(),
        namespaces: many(MOST_NAMESPACES + 1),
        names: many(MOST_NAMES + 1),
        uids: many(MOST_NAMES + 1),
        containers: many(MOST_NAMES + 1),
        label_selector: "a".repeat(LONGEST_SELECTOR + 1),
        ..wire::Selection::default()
    };
    let fields = ["label_selector", "namespaces", "names", "uids", "containers"];
    assert_eq!(read(too_much), Err(fields.map(|field| format!("selection.{field}")).to_vec()));
    let just = wire::Selection {
        level: wire::Level::Containers.into(),
        namespaces: many(MOST_NAMESPACES),
        names: many(MOST_NAMES),
        ..wire::Selection::default()
    };
    assert!(read(just).is_ok());
}

#[test]
fn only_what_a_list_of_the_api_can_say_is_a_field() {
    let of = |names: &[&str], node: &str| {
        let (names, node) = (texts(names), node.to_owned());
        let selection = read(wire::Selection { names, node, ..wire::Selection::default() }).unwrap();
        selection.fields().map(|(field, value)| format!("{}={value}", field.path())).collect::<Vec<_>>()
    };
    assert_eq!(of(&["a"], "n"), ["metadata.name=a", "spec.nodeName=n"]);
    assert_eq!(of(&["a", "b"], ""), [] as [&str; 0]);
}

#[test]
fn nodes_are_selected_by_name_and_label() {
    let node = |name: &str| NodeRecord {
        name: name.into(),
        labels: Labels::from_iter([("zone", name)]),
        created: WallTime(1),
        kubelet: None,
    };
    let level = wire::Level::Nodes.into();
    let by_label =
        wire::Selection { level, label_selector: "zone=a".to_owned(), ..wire::Selection::default() };
    let by_name = wire::Selection { level, names: texts(&["a"]), ..wire::Selection::default() };
    for selection in [by_label, by_name].map(|selection| read(selection).unwrap()) {
        assert!(selection.has_node(&node("a")) && !selection.has_node(&node("b")));
    }
    assert!(!Selection::all(Level::Pods).has_node(&node("a")));
}

proptest! {
    #[test]
    fn no_request_makes_it_panic_and_what_is_taken_is_checked(
        level in -1..5_i32,
        namespaces in proptest::collection::vec("\\PC{0,5}|[a-z]{1,4}", 0..4),
        label_selector in "\\PC{0,20}",
        names in proptest::collection::vec("\\PC{0,5}|[a-z.]{1,6}", 0..4),
        node in "\\PC{0,3}",
    ) {
        let given = wire::Selection { level, namespaces, label_selector, names, node, ..wire::Selection::default() };
        if let Ok(selection) = read(given) {
            prop_assert!(selection.namespaces().iter().all(|name| is_label(name)));
            prop_assert!(selection.names().iter().all(|name| is_subdomain(name)));
        }
    }
}
