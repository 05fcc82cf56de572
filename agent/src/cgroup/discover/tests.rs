//! Over plain temporary directories: discovery does not ask whether they are cgroups.

use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt, path::PathBuf};

use super::*;
use crate::cgroup::Version;

const UID: &str = "2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11";
const OTHER_UID: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "1111222233334444555566667777888899990000aaaabbbbccccddddeeeeffff";

struct Fake {
    dir: tempfile::TempDir,
    discovery: Discovery,
}

impl Fake {
    fn new(limits: Limits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mounts = Mounts::unified(Tree::open(dir.path(), Version::V2).unwrap());
        let discovery = Discovery::new(&mounts, limits).unwrap();
        Self { dir, discovery }
    }

    fn kubepods() -> Self {
        Self::new(Limits::default())
    }

    fn all() -> Self {
        Self::new(Limits { scope: Scope::All, ..Limits::default() })
    }

    fn on_disk(&self, path: &str) -> PathBuf {
        self.dir.path().join(path.trim_start_matches('/'))
    }

    fn make(&self, path: &str) {
        fs::create_dir_all(self.on_disk(path)).unwrap();
    }

    fn remove(&self, path: &str) {
        fs::remove_dir_all(self.on_disk(path)).unwrap();
    }

    fn rescan(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        self.discovery.rescan(&mut changes);
        told(&changes)
    }

    /// The kernel queues events before the call that causes them returns, so there is nothing to wait for.
    fn drain(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        self.discovery.drain(&mut changes);
        told(&changes)
    }
}

fn told(changes: &[Change]) -> Vec<String> {
    let tell = |change: &Change| match change {
        Change::Appeared(found) => format!("+{}", found.path),
        Change::Vanished { path } => format!("-{path}"),
    };
    changes.iter().map(tell).collect()
}

fn pod(uid: &str) -> String {
    format!("/kubepods/burstable/pod{uid}")
}

fn container(uid: &str) -> String {
    format!("{}/{ID}", pod(uid))
}

fn appeared(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("+{path}")).collect()
}

fn vanished(paths: &[String]) -> Vec<String> {
    paths.iter().map(|path| format!("-{path}")).collect()
}

#[test]
fn the_first_rescan_finds_pods_and_containers_and_a_second_nothing_new() {
    let mut fake = Fake::kubepods();
    fake.make(&container(UID));
    fake.make(&format!("{}/init.scope", container(UID)));
    fake.make("/system.slice/ssh.service");

    assert_eq!(fake.rescan(), appeared(&[pod(UID), container(UID)]));
    assert!(fake.rescan().is_empty());
    assert!(fake.drain().is_empty());
}

#[test]
fn what_a_subject_is_comes_from_its_path() {
    let mut fake = Fake::kubepods();
    fake.make(&container(UID));
    let mut changes = Vec::new();
    fake.discovery.rescan(&mut changes);
    let Some(Change::Appeared(Found { subject: Subject::Container { pod, id, qos }, .. })) = changes.last()
    else {
        panic!("no container: {changes:?}");
    };
    assert_eq!((pod.as_str(), id.to_string().as_str()), (UID, ID));
    assert_eq!(*qos, Some(kubevitals::sample::Qos::Burstable));
}

#[test]
fn a_new_tree_is_followed_down_from_the_first_event() {
    let mut fake = Fake::kubepods();
    assert!(fake.rescan().is_empty());

    fake.make(&container(UID));
    assert_eq!(fake.drain(), appeared(&[pod(UID), container(UID)]));

    fake.make(&container(OTHER_UID));
    assert_eq!(fake.drain(), appeared(&[pod(OTHER_UID), container(OTHER_UID)]));
    assert!(fake.drain().is_empty());
    assert!(fake.rescan().is_empty());
}

#[test]
fn a_removed_pod_vanishes_after_its_containers() {
    let mut fake = Fake::kubepods();
    fake.make(&container(UID));
    fake.rescan();

    fake.remove(&pod(UID));

    assert_eq!(fake.drain(), vanished(&[container(UID), pod(UID)]));
}

#[test]
fn what_came_back_between_two_questions_vanishes_first() {
    let mut fake = Fake::kubepods();
    fake.make(&container(UID));
    fake.rescan();

    // Moved away, not removed, so that the file system does not use its inode again.
    fs::rename(fake.on_disk(&container(UID)), fake.on_disk("/elsewhere")).unwrap();
    fake.make(&container(UID));
    let mut expected = vanished(&[container(UID)]);
    expected.extend(appeared(&[container(UID)]));

    assert_eq!(fake.drain(), expected);
    assert!(fake.rescan().is_empty());
}

#[test]
fn a_rescan_repairs_what_events_did_not_tell() {
    let mut fake = Fake::kubepods();
    fake.discovery.watches = Watches::without_inotify().unwrap();
    fake.make(&container(UID));
    assert_eq!(fake.rescan(), appeared(&[pod(UID), container(UID)]));
    assert!(fake.discovery.unwatched() >= 3);

    fs::rename(fake.on_disk(&pod(UID)), fake.on_disk("/elsewhere")).unwrap();
    fake.make(&pod(UID));
    fake.make(&container(OTHER_UID));

    assert!(fake.drain().is_empty());
    let mut told = fake.rescan();
    told.sort();
    let mut expected = appeared(&[pod(UID), pod(OTHER_UID), container(OTHER_UID)]);
    expected.extend(vanished(&[pod(UID), container(UID)]));
    expected.sort();
    assert_eq!(told, expected);
}

#[test]
fn a_queue_that_overflowed_leads_to_a_rescan() {
    let mut fake = Fake::kubepods();
    fake.rescan();
    let most: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    let [one, other] = [fake.on_disk("/one"), fake.on_disk("/other")];
    fs::create_dir(&one).unwrap();
    for _ in 0..most / 4 {
        fs::rename(&one, &other).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    fake.make(&container(UID));

    assert_eq!(fake.drain(), appeared(&[pod(UID), container(UID)]));
    assert_eq!(fake.discovery.scan, 2, "the first, and the one by itself");
}

#[test]
fn kubepods_below_other_directories_is_found_and_then_watched() {
    let mut fake = Fake::kubepods();
    let root = "/kubelet.slice/kubelet-kubepods.slice";
    fake.make(root);
    fake.rescan();
    let uid = UID.replace('-', "_");
    let pod = format!("{root}/kubelet-kubepods-pod{uid}.slice");
    fake.make(&pod);
    assert_eq!(fake.drain(), appeared(std::slice::from_ref(&pod)));

    // The root itself was replaced: its parent is watched since the root was found in it.
    fs::rename(fake.on_disk(root), fake.on_disk("/elsewhere")).unwrap();
    assert_eq!(fake.drain(), vanished(&[pod]));
}

#[test]
fn containers_of_mixed_drivers_are_followed_where_they_are() {
    let mut fake = Fake::kubepods();
    let service = "/system.slice/containerd.service";
    let name = |digit: char| {
        format!("{service}/kubepods-pod{OTHER_UID}.slice:cri-containerd:{}", digit.to_string().repeat(64))
    };
    fake.make(&name('1'));
    assert_eq!(fake.rescan(), appeared(&[name('1')]));

    fake.make(&name('2'));
    fake.make(&format!("{service}/other"));

    assert_eq!(fake.drain(), appeared(&[name('2')]));
}

#[test]
fn with_all_cgroups_everything_outside_of_containers_is_told_but_mounts() {
    let mut fake = Fake::all();
    fake.make(&format!("{}/inner", container(UID)));
    fake.make("/system.slice/ssh.service");
    fake.make("/system.slice/x.mount");
    let services = ["/system.slice".to_owned(), "/system.slice/ssh.service".to_owned()];
    let mut expected = appeared(&[pod(UID), container(UID)]);
    expected.extend(appeared(&services));

    assert_eq!(fake.rescan(), expected);

    fake.make("/system.slice/ssh.service/session");
    assert_eq!(fake.drain(), ["+/system.slice/ssh.service/session"]);
    fake.remove("/system.slice");
    let mut gone = fake.drain();
    gone.sort();
    assert_eq!(gone, ["-/system.slice", "-/system.slice/ssh.service", "-/system.slice/ssh.service/session"]);
}

#[test]
fn siblings_with_similar_names_are_not_forgotten_together() {
    let mut fake = Fake::all();
    for path in ["/a", "/a/x", "/a-b", "/a.b", "/a0", "/ab"] {
        fake.make(path);
    }
    fake.rescan();
    fake.remove("/a");
    assert_eq!(fake.drain(), ["-/a/x", "-/a"]);
}

#[test]
fn too_many_and_too_deep_are_counted() {
    let mut fake = Fake::new(Limits { max_depth: 2, max_cgroups: 4, scope: Scope::All });
    fake.make("/a/b/c/d");
    fake.rescan();
    assert_eq!(fake.discovery.over_limit(), 1, "c, and nobody looked further");

    fake.make("/e");
    assert_eq!(fake.drain(), ["+/e"]);
    fake.make("/f");
    assert!(fake.drain().is_empty());
    assert_eq!(fake.discovery.over_limit(), 2);
    fake.remove("/f");
    fake.rescan();
    assert_eq!(fake.discovery.over_limit(), 1);
}

#[test]
fn names_that_are_no_text_are_skipped_and_counted() {
    let mut fake = Fake::all();
    fs::create_dir(fake.dir.path().join(OsStr::from_bytes(b"\xff\xfe"))).unwrap();
    fake.make("/line\nend");
    fake.make("/a");
    assert_eq!(fake.rescan(), ["+/a"]);
    assert_eq!(fake.discovery.skipped(), 2);
}

#[test]
fn symbolic_links_are_not_followed() {
    let mut fake = Fake::all();
    fake.make("/a");
    std::os::unix::fs::symlink(fake.on_disk("/a"), fake.on_disk("/link")).unwrap();
    assert_eq!(fake.rescan(), ["+/a"]);
}
