//! Pods and their events against a model: whatever comes, in whatever order, the directory holds what a simple reading
//! of the events says, by name and by UID.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use kube::runtime::watcher::Event;
use prometheus_client::metrics::gauge::Gauge;
use proptest::prelude::*;
use serde_json::json;

use super::{pod::Pod, pods::Pods};
use crate::{
    directory::{Directory, Whose},
    store::{Limits, Store},
};

/// One pod object: its name, which life of that name, its node, and whether it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bound {
    name: u8,
    life: u8,
    node: u8,
    runs: bool,
}

impl Bound {
    fn uid(self) -> String {
        // The life decides the node: a pod is bound once. And in which of their forms UIDs are.
        match self.life % 3 {
            0 => format!("00000000-0000-4000-8000-0000000000{}{}", self.name, self.life),
            1 => format!("000000000000000000000000000000{}{}", self.name, self.life),
            _ => format!("a{}-{}", self.name, self.life),
        }
    }

    fn object(self) -> Pod {
        let phase = if self.runs { "Running" } else { "Succeeded" };
        serde_json::from_value(json!({
            "metadata": {"namespace": "shop", "name": format!("pod-{}", self.name), "uid": self.uid()},
            "spec": {"nodeName": format!("n{}", self.node), "containers": [{"name": "web"}]},
            "status": {"phase": phase},
        }))
        .unwrap()
    }
}

/// What the API server says; a list may break off and begin anew.
#[derive(Debug, Clone)]
enum Said {
    Apply(Bound),
    Delete(Bound),
    List { pods: Vec<Bound>, breaks_off: bool },
}

fn life() -> impl Strategy<Value = Bound> {
    (0_u8..5, 0_u8..4, any::<bool>()).prop_map(|(name, life, runs)| Bound {
        name,
        life,
        node: (name + life) % 3,
        runs,
    })
}

fn said() -> impl Strategy<Value = Said> {
    prop_oneof![
        4 => life().prop_map(Said::Apply),
        3 => life().prop_map(Said::Delete),
        1 => (proptest::collection::vec(life(), 0..6), any::<bool>())
            .prop_map(|(pods, breaks_off)| Said::List { pods, breaks_off }),
    ]
}

type Model = BTreeMap<u8, Bound>;

fn apply(model: &mut Model, life: Bound) {
    if life.runs {
        model.insert(life.name, life);
    } else {
        delete(model, life);
    }
}

fn delete(model: &mut Model, life: Bound) {
    if model.get(&life.name).is_some_and(|held| held.life == life.life) {
        model.remove(&life.name);
    }
}

fn happens(pods: &mut Pods, model: &mut Model, said: Said) {
    match said {
        Said::Apply(life) => {
            pods.take(Event::Apply(life.object()));
            apply(model, life);
        }
        Said::Delete(life) => {
            pods.take(Event::Delete(life.object()));
            delete(model, life);
        }
        Said::List { pods: listed, breaks_off } => {
            pods.take(Event::Init);
            for life in &listed {
                pods.take(Event::InitApply(life.object()));
                apply(model, *life);
            }
            if !breaks_off {
                pods.take(Event::InitDone);
                model.retain(|_, held| listed.iter().any(|life| life.uid() == held.uid()));
            }
        }
    }
}

proptest! {
    #[test]
    fn the_directory_holds_what_the_events_say(
        events in proptest::collection::vec(said(), 0..60),
        twice in any::<bool>(),
    ) {
        let directory: Arc<Directory> = Arc::default();
        let limits = Limits { containers: 1, nodes: 1, kept: Duration::from_secs(60) };
        let known = Gauge::default();
        let store = Arc::new(Store::new(limits));
        let mut pods = Pods::new(Arc::clone(&directory), store, known.clone());
        let mut model = Model::new();
        for said in events {
            // Duplicates change nothing.
            if twice {
                happens(&mut pods, &mut model, said.clone());
            }
            happens(&mut pods, &mut model, said);
            let held: Vec<String> = directory.pods(|_| true).iter().map(|pod| pod.uid.to_string()).collect();
            prop_assert_eq!(&held, &model.values().map(|life| life.uid()).collect::<Vec<_>>());
            prop_assert_eq!(usize::try_from(known.get()).unwrap(), model.len());
            for (name, life) in (0..5_u8).flat_map(|name| (0..4_u8).map(move |life| (name, life))) {
                let life = Bound { name, life, node: (name + life) % 3, runs: true };
                let is_held = model.get(&name).is_some_and(|held| held.life == life.life);
                let whose = |node: u8| directory.whose(&life.uid().into(), &format!("n{node}"));
                prop_assert_eq!(matches!(whose(life.node), Whose::Own(_)), is_held);
                prop_assert_eq!(matches!(whose(life.node + 1), Whose::Foreign(_)), is_held);
            }
        }
    }
}
