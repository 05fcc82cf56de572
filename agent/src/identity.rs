//! Who the node's series are in Kubernetes, as the aggregators tell.
//!
//! The agent has no access to the API; names flow back to it on its streams. Every aggregator tells the same facts, so
//! what was told last counts, and what is known stays while no aggregator is there. Only live series are kept, so the
//! memory is bounded by their number. What to do with the names is not decided here.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Instant,
};

use kubevitals::{
    limits::{MAX_LABEL_NAME, MAX_POD_NAME, MAX_POD_UID},
    sample::SeriesId,
    wire,
};

/// A pod in Kubernetes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodNames {
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its UID in the API, where that is not the one in its cgroup's path: it is a static pod.
    pub uid: Option<Arc<str>>,
}

/// What one series is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The pod.
    pub pod: Arc<PodNames>,
    /// The container; `None` for the pod's own series.
    pub container: Option<Arc<str>>,
}

/// The names of all live series; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Identities(Arc<RwLock<State>>);

#[derive(Debug, Default)]
struct State {
    /// Every live series, named or not.
    live: HashMap<SeriesId, Option<Named>>,
    named: usize,
    /// When an aggregator that tells names was heard last.
    heard: HashMap<Arc<str>, Instant>,
}

impl Identities {
    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// The names of a live series, if they are known.
    #[must_use]
    pub fn get(&self, series: SeriesId) -> Option<Named> {
        self.read().live.get(&series)?.clone()
    }

    /// How many live series are named.
    #[must_use]
    pub fn named(&self) -> usize {
        self.read().named
    }

    /// When any of the aggregators that tell names was heard last; a new pod that has no name for longer than that
    /// is unknown to them, or all of them are away. `None` before the first.
    #[must_use]
    pub fn heard(&self) -> Option<Instant> {
        self.read().heard.values().max().copied()
    }

    /// Takes over what a tick began and ended.
    pub fn ticked(&self, announced: &[SeriesId], ended: &[SeriesId]) {
        if announced.is_empty() && ended.is_empty() {
            return;
        }
        let mut state = self.write();
        for series in ended {
            if state.live.remove(series).flatten().is_some() {
                state.named -= 1;
            }
        }
        state.live.extend(announced.iter().map(|&series| (series, None)));
    }

    /// Takes over what an aggregator says; `source` tells one from the other. Returns how many pods' names could not
    /// be names: those are left out.
    #[must_use]
    pub fn learn(&self, source: &str, identity: &wire::Identity, now: Instant) -> u64 {
        let mut faults = 0;
        let mut state = self.write();
        state.heard.insert(Arc::from(source), now);
        for told in &identity.pods {
            let Some(pod) = pod_names(told) else {
                faults += 1;
                continue;
            };
            for series in &told.series {
                state.name(series, &pod);
            }
        }
        faults
    }

    /// An aggregator that told names was heard again.
    pub fn heard_again(&self, source: &str, now: Instant) {
        if let Some(heard) = self.write().heard.get_mut(source) {
            *heard = now;
        }
    }

    /// An aggregator is no more; its names stay.
    pub fn left(&self, source: &str) {
        let mut state = self.write();
        // The last one's time still tells how old the names are.
        if state.heard.len() > 1 {
            state.heard.remove(source);
        }
    }
}

impl State {
    fn name(&mut self, told: &wire::SeriesIdentity, pod: &Arc<PodNames>) {
        let Some(held) = self.live.get_mut(&SeriesId(told.series)) else {
            // It ended while this was on its way.
            return;
        };
        let container = match told.container.as_str() {
            "" => None,
            name if is_name(name, MAX_LABEL_NAME) => Some(Arc::from(name)),
            _ => return,
        };
        if held.replace(Named { pod: Arc::clone(pod), container }).is_none() {
            self.named += 1;
        }
    }
}

fn pod_names(told: &wire::PodIdentity) -> Option<Arc<PodNames>> {
    let uid = Some(told.uid.as_str()).filter(|uid| !uid.is_empty());
    let fits = is_name(&told.namespace, MAX_LABEL_NAME)
        && is_name(&told.name, MAX_POD_NAME)
        && uid.is_none_or(|uid| is_name(uid, MAX_POD_UID));
    fits.then(|| {
        let (namespace, name) = (Arc::from(told.namespace.as_str()), Arc::from(told.name.as_str()));
        Arc::new(PodNames { namespace, name, uid: uid.map(Arc::from) })
    })
}

/// Whether Kubernetes could have given such a name: letters, digits, dashes and dots.
fn is_name(text: &str, longest: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    (1..=longest).contains(&text.len()) && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn told(name: &str, uid: &str, series: &[(u32, &str)]) -> wire::PodIdentity {
        let series = series
            .iter()
            .map(|&(series, container)| wire::SeriesIdentity { series, container: container.to_owned() });
        wire::PodIdentity {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
            series: series.collect(),
        }
    }

    fn identity(pods: Vec<wire::PodIdentity>) -> wire::Identity {
        wire::Identity { pods }
    }

    /// Pod and container of a series.
    fn names(identities: &Identities, series: u32) -> Option<(String, Option<String>)> {
        let named = identities.get(SeriesId(series))?;
        Some((named.pod.name.to_string(), named.container.map(|name| name.to_string())))
    }

    #[test]
    fn a_series_has_its_names_until_it_ends() {
        let (identities, now) = (Identities::default(), Instant::now());
        identities.ticked(&[SeriesId(2), SeriesId(3)], &[]);
        let web = told("web", "", &[(2, ""), (3, "main"), (9, "unknown")]);
        assert_eq!(identities.learn("a", &identity(vec![web]), now), 0);
        assert_eq!(names(&identities, 2), Some(("web".to_owned(), None)));
        assert_eq!(names(&identities, 3), Some(("web".to_owned(), Some("main".to_owned()))));
        assert_eq!((names(&identities, 9), identities.named()), (None, 2));
        identities.ticked(&[], &[SeriesId(3)]);
        assert_eq!((names(&identities, 3), identities.named()), (None, 1));
        assert_eq!(identities.learn("a", &identity(vec![told("web", "", &[(3, "main")])]), now), 0);
        assert_eq!(names(&identities, 3), None, "it came too late");
    }

    #[test]
    fn several_aggregators_tell_the_same_and_the_newest_word_counts() {
        let (identities, now) = (Identities::default(), Instant::now());
        identities.ticked(&[SeriesId(2)], &[]);
        assert_eq!(identities.heard(), None);
        for (source, uid) in [("a", "u1"), ("b", "u1"), ("b", "u2")] {
            let told = identity(vec![told("static", uid, &[(2, "")])]);
            assert_eq!(identities.learn(source, &told, now), 0);
        }
        let uid = identities.get(SeriesId(2)).unwrap().pod.uid.clone();
        assert_eq!((uid.as_deref(), identities.named()), (Some("u2"), 1));
        let later = now + Duration::from_secs(5);
        identities.heard_again("a", later);
        identities.heard_again("c", later + Duration::from_secs(5));
        assert_eq!(identities.heard(), Some(later), "c never told a name");
        identities.left("a");
        assert_eq!(identities.heard(), Some(now));
        identities.left("b");
        assert_eq!(identities.heard(), Some(now), "how old the names are stays known");
        assert!(names(&identities, 2).is_some());
    }

    #[test]
    fn what_cannot_be_a_name_is_left_out() {
        let identities = Identities::default();
        identities.ticked(&[SeriesId(2)], &[]);
        let long = "a".repeat(MAX_POD_NAME + 1);
        for name in ["", "a\nb", "a\"", long.as_str()] {
            let odd = told(name, "", &[(2, "main")]);
            assert_eq!(identities.learn("a", &identity(vec![odd]), Instant::now()), 1, "{name:?}");
        }
        let odd = identity(vec![told("web", "", &[(2, "a b")])]);
        assert_eq!(identities.learn("a", &odd, Instant::now()), 0, "the pod has a name");
        assert_eq!(identities.named(), 0);
    }
}
