use std::{fs, path::Path};

use super::{collect::look_with, *};

const UID: &str = "2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11";
const ID: &str = "1111222233334444555566667777888899990000aaaabbbbccccddddeeeeffff";
const EMPTY_ID: &str = "ffffeeeeddddccccbbbbaaaa0000999988887777666655554444333322221111";

/// A version 2 node in a temporary directory.
struct Fake {
    dir: tempfile::TempDir,
}

impl Fake {
    fn new() -> Self {
        let fake = Self { dir: tempfile::tempdir().unwrap() };
        let root = fs::canonicalize(fake.dir.path()).unwrap().join("cgroup");
        fake.write("cgroup/cgroup.controllers", "cpu memory\n");
        fake.write("cgroup/memory.stat", "anon 8192\nfile 40960\ninactive_file 4096\n");
        fake.write("cgroup/cpu.stat", "usage_usec 5000\n");
        fake.write("proc/stat", "cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 1\n");
        fake.write("proc/meminfo", "MemTotal: 8388608 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n");
        let line = format!("30 23 0:26 / {} rw - cgroup2 cgroup2 rw\n", root.display());
        fake.write("proc/self/mountinfo", &line);
        fake
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.dir.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn cgroup(&self, path: &str, cpu_us: u64, populated: bool) {
        let file = |name: &str| format!("cgroup{path}/{name}");
        self.write(&file("memory.stat"), "anon 4096\nfile 8192\ninactive_file 4096\n");
        self.write(&file("memory.current"), "10485760\n");
        self.write(&file("cpu.stat"), &format!("usage_usec {cpu_us}\n"));
        self.write(&file("cgroup.events"), &format!("populated {}\n", u8::from(populated)));
        self.write(&file("cgroup.procs"), if populated { "1\n" } else { "" });
    }

    fn look(&self, scope: Scope, between: impl FnOnce(&Path)) -> Look {
        let options = LookOptions {
            cgroup_root: self.dir.path().join("cgroup"),
            proc_root: self.dir.path().join("proc"),
            scope,
            ..LookOptions::default()
        };
        look_with(&options, |_| between(&options.cgroup_root)).unwrap()
    }
}

fn with_one_pod() -> Fake {
    let fake = Fake::new();
    let pod = format!("/kubepods/burstable/pod{UID}");
    fake.cgroup(&pod, 3000, true);
    fake.cgroup(&format!("{pod}/{ID}"), 2000, true);
    fake.cgroup(&format!("{pod}/{EMPTY_ID}"), 0, false);
    fake
}

#[test]
fn a_container_shows_the_exact_counter_difference_and_its_window() {
    let fake = with_one_pod();
    let container = format!("kubepods/burstable/pod{UID}/{ID}");

    let look = fake.look(Scope::Kubepods, |root| {
        fs::write(root.join(&container).join("cpu.stat"), "usage_usec 2500\n").unwrap();
    });

    let [pod] = look.pods.as_slice() else { panic!("one pod: {look:?}") };
    assert_eq!((pod.uid.as_str(), pod.qos), (UID, Some("Burstable")));
    let [container] = pod.containers.as_slice() else { panic!("one container: {pod:?}") };
    assert_eq!(container.usage.cpu_delta_ns, 500_000);
    assert_eq!(container.usage.cpu_total_ns, 2_500_000);
    assert!(container.usage.window_us > 0);
    assert_eq!(container.usage.working_set_bytes, 10_481_664);
    assert_eq!(container.usage.details.get("memory_usage_bytes"), Some(&10_485_760));
    assert_eq!(container.usage.details.get("swap_bytes"), None);
}

#[test]
fn what_is_not_measured_is_listed_with_the_reason() {
    let fake = with_one_pod();
    let pod = format!("/kubepods/pod{}", "0".repeat(32));
    fs::create_dir_all(fake.dir.path().join("cgroup").join(pod.trim_start_matches('/'))).unwrap();

    let look = fake.look(Scope::Kubepods, |root| {
        fs::remove_dir_all(root.join(format!("kubepods/burstable/pod{UID}/{ID}"))).unwrap();
    });

    let told: Vec<_> = look.skipped.iter().map(|skipped| (skipped.reason, skipped.path.len())).collect();
    assert_eq!(
        told.iter().map(|(reason, _)| *reason).collect::<Vec<_>>(),
        ["gone", "no_processes", "missing"]
    );
    assert_eq!(look.pods.len(), 2, "a pod without containers is still listed");
}

#[test]
fn without_pods_the_table_offers_the_other_cgroups() {
    let fake = Fake::new();
    fake.cgroup("/system.slice/ssh.service", 7, true);
    let text = table(&fake.look(Scope::Kubepods, |_| {}));
    assert!(
        text.contains("No pods: there is no kubepods cgroup, or nothing is in it; --scope all shows"),
        "{text}"
    );
}

#[test]
fn all_cgroups_with_processes_are_listed_and_the_rest_counted() {
    let fake = with_one_pod();
    fake.cgroup("/system.slice", 9, false);
    fake.cgroup("/system.slice/ssh.service", 7, true);
    let look = fake.look(Scope::All, |_| {});
    assert_eq!(
        look.cgroups.iter().map(|cgroup| cgroup.path.as_str()).collect::<Vec<_>>(),
        ["/system.slice/ssh.service"]
    );
    assert_eq!(look.cgroups_without_processes, 1);
}

#[test]
fn the_table_fits_100_columns_and_stands_in_line() {
    let fake = with_one_pod();
    fake.cgroup(
        &format!("/{}", "a-rather-long-name-of-a-slice.slice/".repeat(3).trim_end_matches('/')),
        7,
        true,
    );

    let text = table(&fake.look(Scope::All, |_| {}));

    assert!(
        text.lines().filter(|line| !line.starts_with("  /")).all(|line| line.chars().count() <= 100),
        "{text}"
    );
    let header = text.lines().find(|line| line.starts_with("NAME")).unwrap();
    let pod = text.lines().find(|line| line.starts_with(UID)).unwrap();
    assert_eq!(header.len(), pod.len(), "{text}");
    assert!(text.contains("1 pod, 1 container"), "{text}");
    assert!(text.contains("  111122223333 "), "{text}");
}

#[test]
fn json_names_carry_units_and_absent_values_are_not_there() {
    let fake = with_one_pod();
    let json = serde_json::to_value(fake.look(Scope::Kubepods, |_| {})).unwrap();
    assert_eq!(json.pointer("/hierarchy").unwrap(), "v2");
    assert_eq!(json.pointer("/node/memory_total_bytes").unwrap(), 8_589_934_592_u64);
    assert_eq!(json.pointer("/node/usage/working_set_bytes").unwrap(), 45_056);
    assert_eq!(json.pointer("/pods/0/containers/0/id").unwrap(), ID);
    assert_eq!(json.pointer("/pods/0/containers/0/usage/details/inactive_file_bytes").unwrap(), 4096);
    assert!(json.pointer("/pods/0/containers/0/usage/details/swap_bytes").is_none());
}

#[test]
fn a_node_without_cgroups_is_an_error_that_says_where_it_looked() {
    let fake = Fake::new();
    fake.write("proc/self/mountinfo", "");
    let options = LookOptions {
        cgroup_root: fake.dir.path().join("cgroup"),
        proc_root: fake.dir.path().join("proc"),
        ..LookOptions::default()
    };
    let error = look_with(&options, |_| {}).unwrap_err();
    assert!(error.to_string().starts_with("no cgroup file system is mounted"), "{error}");
}
