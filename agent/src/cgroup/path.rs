//! What a cgroup's path says: which pod or container it is, or that it is neither.
//!
//! The kubelet names the pod's level, the container runtime the level below it; both have two drivers. Pure: no
//! file is opened here, and whether the runtime knows the container is somebody else's question.
//!
//! ```text
//! cgroupfs  /kubepods[/burstable|/besteffort]/pod<uid>/<id>
//! systemd   /kubepods.slice[/kubepods-burstable.slice]/kubepods-burstable-pod<uid_>.slice/<runtime>-<id>.scope
//! mixed     [/system.slice/containerd.service]/kubepods-burstable-pod<uid_>.slice:cri-containerd:<id>
//! ```
//!
//! Any components may come before (`--cgroup-root`, kind, k3s in a container). The outermost `kubepods` is this
//! node's; a `kubepods` inside a container belongs to a cluster inside that container.
//! How the kubelet forms names: <https://pkg.go.dev/k8s.io/kubernetes/pkg/kubelet/cm>.

use kubevitals::sample::{ContainerId, PodUid, Qos};

/// What a directory of the cgroup tree is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Class {
    /// The kubelet's `kubepods`: Guaranteed pods are below it, and a directory for each other class.
    Root,
    /// The directory of one quality-of-service class, with pods below it.
    Qos(Qos),
    /// A pod, with containers one level below it.
    Pod {
        /// Whose, with dashes.
        uid: PodUid,
        /// Where it stands; `None` when the path does not tell.
        qos: Option<Qos>,
    },
    /// A container or a pod's sandbox; the path does not tell which.
    Container {
        /// Of this pod.
        pod: PodUid,
        /// Its id at the runtime.
        id: ContainerId,
        /// Where its pod stands; `None` when the path does not tell.
        qos: Option<Qos>,
    },
    /// Part of a `kubepods` tree without being one of the above: deeper than a container, a runtime's monitor, a
    /// leftover, a mount unit. Its use is counted by the directory above it.
    Inside,
    /// Outside of any `kubepods`, which could lie below.
    Search,
    /// Outside of any `kubepods`, and nothing of interest can be below: mount units.
    Other,
}

/// Digits of a container id; every runtime of Kubernetes makes them of 32 random bytes.
const ID_DIGITS: usize = 64;

/// Says what `path`, relative to the root of its hierarchy, is. Slashes at the ends do not matter.
#[must_use]
pub fn classify(path: &str) -> Class {
    let mut components = path.split('/').filter(|component| !component.is_empty());
    while let Some(component) = components.next() {
        if is_mount(component) {
            return Class::Other;
        }
        if is_root(component) {
            return below_root(components);
        }
        if let Some(container) = mixed_drivers(component) {
            return if components.next().is_none() { container } else { Class::Inside };
        }
    }
    Class::Search
}

/// Classifies the rest of a path behind `kubepods`.
fn below_root<'a>(mut components: impl Iterator<Item = &'a str>) -> Class {
    let Some(mut component) = components.next() else {
        return Class::Root;
    };
    let mut qos = Qos::Guaranteed;
    if let Some(level) = qos_of(component) {
        qos = level;
        let Some(next) = components.next() else {
            return Class::Qos(qos);
        };
        component = next;
    }
    let Some(uid) = pod_uid(component) else {
        return Class::Inside;
    };
    let qos = Some(qos);
    match (components.next(), components.next()) {
        (None, _) => Class::Pod { uid, qos },
        (Some(name), None) => match container_id(name, is_slice(component)) {
            Some(id) => Class::Container { pod: uid, id, qos },
            None => Class::Inside,
        },
        (Some(_), Some(_)) => Class::Inside,
    }
}

/// systemd makes a cgroup for each mount unit; nobody counts them.
fn is_mount(component: &str) -> bool {
    component.strip_suffix(".mount").is_some()
}

fn is_slice(component: &str) -> bool {
    component.strip_suffix(".slice").is_some()
}

fn is_root(component: &str) -> bool {
    match component.strip_suffix(".slice") {
        Some(name) => name == "kubepods" || name.ends_with("-kubepods"),
        None => component == "kubepods",
    }
}

/// The last part of a slice's name (`kubepods-burstable.slice` is `burstable`), or a cgroupfs name as it is.
fn own_name(component: &str) -> &str {
    match component.strip_suffix(".slice") {
        Some(slice) => slice.rsplit('-').next().unwrap_or(slice),
        None => component,
    }
}

fn qos_of(component: &str) -> Option<Qos> {
    match own_name(component) {
        "burstable" => Some(Qos::Burstable),
        "besteffort" => Some(Qos::BestEffort),
        _ => None,
    }
}

/// systemd cannot have dashes inside a name, so the kubelet turns them into underscores.
fn pod_uid(component: &str) -> Option<PodUid> {
    let uid = own_name(component).strip_prefix("pod")?;
    if uid.contains('_') { PodUid::new(&uid.replace('_', "-")).ok() } else { PodUid::new(uid).ok() }
}

/// The id in the name of a directory one level below a pod, if that is a container: `<id>`, `<runtime>-<id>`,
/// `kata_<id>`, each with or without `.scope`. Below a slice only scopes are containers: what else is there, CRI-O
/// left behind for cAdvisor to see, and it is empty.
fn container_id(name: &str, below_slice: bool) -> Option<ContainerId> {
    let (name, is_scope) = match name.strip_suffix(".scope") {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (runtime, id) = match name.rfind(['-', '_']) {
        Some(at) => (name.get(..at)?, name.get(at + 1..)?),
        None => ("", name),
    };
    let leftover = below_slice && !is_scope && runtime == "crio";
    // conmon is the program that watches over a container, in a cgroup beside it.
    let monitor = runtime.ends_with("conmon");
    if leftover || monitor { None } else { full_id(id) }
}

fn full_id(id: &str) -> Option<ContainerId> {
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_id { ContainerId::new(id).ok() } else { None }
}

/// A container whose kubelet uses systemd while its runtime does not: the runtime takes the kubelet's
/// `slice:runtime:id` for a directory name (kubernetes/kubernetes#106514).
fn mixed_drivers(component: &str) -> Option<Class> {
    let mut parts = component.split(':');
    let (slice, _runtime, id) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || !is_slice(slice) {
        return None;
    }
    let pod = pod_uid(slice)?;
    let mut parents = slice.rsplit('-').skip(1);
    let qos = match (parents.next()?, parents.next()) {
        ("burstable", Some("kubepods")) => Qos::Burstable,
        ("besteffort", Some("kubepods")) => Qos::BestEffort,
        ("kubepods", _) => Qos::Guaranteed,
        _ => return None,
    };
    Some(Class::Container { pod, id: full_id(id)?, qos: Some(qos) })
}

#[cfg(test)]
mod tests;
