use kubevitals::wire;
use proptest::prelude::*;

use super::*;
use crate::{
    directory::{Noted, Owner},
    query::faults::Faults,
};
use kubevitals::sample::WallTime;

fn pod(namespace: &str, name: &str, app: &str, node: &str) -> PodRecord {
    let owner = Owner { kind: "Job".into(), name: app.into(), uid: app.into() };
    PodRecord {
        uid: format!("{namespace}-{name}").into(),
        namespace: namespace.into(),
        name: name.into(),
        node: node.into(),
        labels: [("app", app)].into_iter().collect(),
        owner: Some(Arc::new(owner)),
        created: Noted::default(),
        ready: Noted::default(),
        containers: Box::default(),
        previous: None,
    }
}

fn selection(given: wire::Selection) -> Selection {
    let mut faults = Faults::default();
    let read = Selection::read(Some(given), &mut faults);
    faults.check().unwrap();
    read.unwrap()
}

/// Everything, and in how many steps.
fn walked(directory: &Directory, selection: &Selection) -> (Vec<String>, usize) {
    let (mut names, mut steps, mut after) = (Vec::new(), 0, None);
    loop {
        let step = step(directory, selection, after.as_ref());
        names.extend(step.found.iter().map(|found| {
            let Place { namespace, name } = found.place();
            format!("{namespace}/{name}")
        }));
        steps += 1;
        after = step.next;
        if after.is_none() {
            return (names, steps);
        }
    }
}

fn subset(of: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(proptest::sample::select(of).prop_map(str::to_owned), 0..4)
}

proptest! {
    #[test]
    fn a_walk_finds_what_a_look_at_every_pod_finds_in_order(
        pods in proptest::collection::vec(("[abc]", "[a-d]{1,4}", "[xyz]", "[mn]"), 0..600),
        namespaces in subset(&["a", "b", "nosuch"]),
        names in subset(&["a", "ab", "dcba", "nosuch"]),
        uids in subset(&["a-a", "b-ab", "c-d", "nosuch"]),
        selector in "(|app=x|app in \\(x,y\\)|app!=z|!app)",
        node in "(|m)",
        owner in proptest::option::of("[xyz]"),
    ) {
        let directory = Directory::default();
        for (namespace, name, app, node) in &pods {
            directory.put_pod(pod(namespace, name, app, node));
        }
        let selection = selection(wire::Selection {
            namespaces, names, uids, node, label_selector: selector,
            owner: owner.map(|name| wire::Owner { name, ..wire::Owner::default() }),
            ..wire::Selection::default()
        });
        let all = directory.pods(|pod| selection.has_pod(pod));
        let expected: Vec<String> = all.iter().map(|pod| format!("{}/{}", pod.namespace, pod.name)).collect();
        prop_assert_eq!(walked(&directory, &selection).0, expected);
    }
}

#[test]
fn a_step_is_small_and_a_walk_goes_on_where_it_ended() {
    let directory = Directory::default();
    for n in 0..1000 {
        directory.put_pod(pod("a", &format!("p{n:04}"), "x", "n1"));
        directory.put_pod(pod("b", &format!("p{n:04}"), "y", "n2"));
    }
    let (names, steps) = walked(&directory, &Selection::all(Level::Pods));
    assert_eq!((names.len(), names.is_sorted()), (2000, true));
    assert!(steps >= 2000 / 128, "{steps}");
    let two = selection(wire::Selection {
        namespaces: vec!["b".to_owned(), "a".to_owned()],
        label_selector: "app=y".to_owned(),
        ..wire::Selection::default()
    });
    let (names, _) = walked(&directory, &two);
    assert_eq!((names.len(), names.first().map(String::as_str)), (1000, Some("b/p0000")));
}

#[test]
fn nodes_are_walked_by_name() {
    let directory = Directory::default();
    for n in (0..300).rev() {
        let name = format!("n{n:03}");
        let labels = [("half", if n % 2 == 0 { "even" } else { "odd" })].into_iter().collect();
        directory.put_node(NodeRecord {
            name: name.as_str().into(),
            labels,
            created: WallTime(1),
            kubelet: None,
        });
    }
    let level = wire::Level::Nodes.into();
    let even =
        wire::Selection { level, label_selector: "half=even".to_owned(), ..wire::Selection::default() };
    let (names, steps) = walked(&directory, &selection(even));
    assert_eq!((names.len(), names.is_sorted()), (150, true));
    assert!(steps > 2, "{steps}");
    let three = vec!["n007".to_owned(), "n003".to_owned(), "nosuch".to_owned()];
    let three = wire::Selection { level, names: three, ..wire::Selection::default() };
    assert_eq!(walked(&directory, &selection(three)), (vec!["/n003".to_owned(), "/n007".to_owned()], 1));
}
