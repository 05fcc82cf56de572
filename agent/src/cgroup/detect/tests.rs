use super::*;

const TMPFS: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw";
const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw";

fn v1(directory: &str, controllers: &str) -> String {
    format!("32 31 0:29 / /sys/fs/cgroup/{directory} rw - cgroup cgroup rw,{controllers}")
}

/// What is decided about these lines, when the memory controller is in the version 2 tree at `memory_at`.
fn decided(lines: &[&str], memory_at: &str) -> Result<Decision, String> {
    let mounts = mountinfo::parse(lines.join("\n").as_bytes());
    decide(&mounts, Path::new("/sys/fs/cgroup"), Path::new("/proc/self/mountinfo"), |tree| {
        tree == Path::new(memory_at)
    })
    .map_err(|error| error.to_string())
}

fn at(directory: &str, version: Version) -> (PathBuf, Version) {
    (Path::new("/sys/fs/cgroup").join(directory), version)
}

#[test]
fn one_version_2_mount_serves_everything() {
    let line = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate";
    let all = (PathBuf::from("/sys/fs/cgroup"), Version::V2);
    let decision = decided(&[line], "/sys/fs/cgroup").unwrap();
    let throttling = Some(all.clone());
    assert_eq!(
        decision,
        Decision { hierarchy: Hierarchy::V2, cpu: all.clone(), throttling, memory: all, tasks: None }
    );
}

#[test]
fn version_1_controllers_may_be_separate_or_joint() {
    let separate = [TMPFS, &v1("cpu", "cpu"), &v1("cpuacct", "cpuacct"), &v1("memory", "memory")];
    let decision = decided(&separate, "").unwrap();
    assert_eq!(decision.hierarchy, Hierarchy::V1);
    assert_eq!(decision.cpu, at("cpuacct", Version::V1));
    assert_eq!(decision.throttling, Some(at("cpu", Version::V1)));
    assert_eq!(decision.memory, at("memory", Version::V1));
    assert_eq!(decision.tasks, None);
    let pids = v1("pids", "pids");
    let with_pids = [&separate[..], &[&pids]].concat();
    assert_eq!(decided(&with_pids, "").unwrap().tasks, Some(at("pids", Version::V1)));

    let joint = decided(&[TMPFS, &v1("cpu,cpuacct", "cpu,cpuacct"), &v1("memory", "memory")], "").unwrap();
    assert_eq!(joint.cpu, at("cpu,cpuacct", Version::V1));
    assert_eq!(joint.throttling, Some(joint.cpu));
}

#[test]
fn hybrid_is_read_as_version_1_even_if_memory_could_be_had_from_both() {
    let lines = [TMPFS, &v1("cpuacct", "cpuacct"), &v1("memory", "memory"), UNIFIED];
    let decision = decided(&lines, "/sys/fs/cgroup/unified").unwrap();
    assert_eq!(decision.hierarchy, Hierarchy::Hybrid);
    assert_eq!(decision.memory, at("memory", Version::V1));
    assert_eq!(decision.throttling, None);
}

#[test]
fn memory_that_only_the_version_2_tree_has_is_read_there() {
    let lines = [TMPFS, &v1("cpu,cpuacct", "cpu,cpuacct"), UNIFIED];
    let decision = decided(&lines, "/sys/fs/cgroup/unified").unwrap();
    assert_eq!(decision.cpu, at("cpu,cpuacct", Version::V1));
    assert_eq!(decision.memory, at("unified", Version::V2));
}

#[test]
fn the_first_of_two_mounts_of_a_controller_counts() {
    let lines = [&v1("memory", "memory") as &str, &v1("again", "memory"), &v1("cpuacct", "cpuacct")];
    assert_eq!(decided(&lines, "").unwrap().memory, at("memory", Version::V1));
}

#[test]
fn a_version_2_mount_over_version_1_hides_it() {
    let over = "99 31 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";
    let lines = [TMPFS, &v1("cpuacct", "cpuacct"), &v1("memory", "memory"), over];
    assert_eq!(decided(&lines, "/sys/fs/cgroup").unwrap().hierarchy, Hierarchy::V2);
}

#[test]
fn mounts_elsewhere_do_not_count() {
    let elsewhere = "30 23 0:26 / /var/lib/cgroup rw - cgroup2 cgroup2 rw";
    let near = "30 23 0:26 / /sys/fs/cgroup2 rw - cgroup2 cgroup2 rw";
    assert_eq!(
        decided(&[elsewhere, near], "/var/lib/cgroup").unwrap_err(),
        "no cgroup file system is mounted at or below /sys/fs/cgroup, says /proc/self/mountinfo"
    );
}

#[test]
fn what_is_missing_is_named_with_the_place_where_it_should_be() {
    assert_eq!(
        decided(&[TMPFS, &v1("memory", "memory")], "").unwrap_err(),
        "the cpuacct controller is not mounted at or below /sys/fs/cgroup"
    );
    assert_eq!(
        decided(&[TMPFS, &v1("cpuacct", "cpuacct")], "").unwrap_err(),
        "the memory controller is not mounted at or below /sys/fs/cgroup"
    );
    assert_eq!(
        decided(&[TMPFS, UNIFIED], "").unwrap_err(),
        "the memory controller is neither mounted at or below /sys/fs/cgroup nor listed in \
         /sys/fs/cgroup/unified/cgroup.controllers"
    );
}

#[test]
fn a_bound_cgroup_root_behind_a_symbolic_link_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let base = fs::canonicalize(dir.path()).unwrap();
    let host = base.join("host");
    fs::create_dir_all(&host).unwrap();
    fs::create_dir_all(base.join("proc/self")).unwrap();
    fs::write(host.join("cgroup.controllers"), "cpu io memory pids\n").unwrap();
    let line = format!("30 23 0:26 /../.. {} ro - cgroup2 cgroup2 rw\n", host.display());
    fs::write(base.join("proc/self/mountinfo"), line).unwrap();
    std::os::unix::fs::symlink(&host, base.join("link")).unwrap();

    let mounts = detect(&base.join("link"), &base.join("proc")).unwrap();

    assert_eq!(mounts.hierarchy, Hierarchy::V2);
    assert_eq!(mounts.memory.directory(), host);
}

#[test]
fn a_list_that_cannot_be_read_is_named() {
    let error = detect(Path::new("/"), Path::new("/nowhere")).unwrap_err();
    assert!(error.to_string().starts_with("/nowhere/self/mountinfo: "), "{error}");
}
