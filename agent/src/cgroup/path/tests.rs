//! The corpus: every form of path that is known from real nodes.

use proptest::prelude::*;

use super::*;

const UID: &str = "2b0f7a3e-5f0e-4b5c-9a52-0c1f6f3f7d11";
const UID_: &str = "2b0f7a3e_5f0e_4b5c_9a52_0c1f6f3f7d11";
const STATIC: &str = "0123456789abcdef0123456789abcdef";
const ID: &str = "1111222233334444555566667777888899990000aaaabbbbccccddddeeeeffff";
const OTHER_ID: &str = "ffffeeeeddddccccbbbbaaaa0000999988887777666655554444333322221111";

fn pod(uid: &str, qos: Qos) -> Class {
    Class::Pod { uid: PodUid::new(uid).unwrap(), qos: Some(qos) }
}

fn container(uid: &str, qos: Qos) -> Class {
    let pod = PodUid::new(uid).unwrap();
    Class::Container { pod, id: ContainerId::new(ID).unwrap(), qos: Some(qos) }
}

/// `{u}`, `{_}`, `{s}`, `{i}` and `{o}` in `path` stand for the names above.
fn check(cases: &[(&str, &Class)]) {
    for (path, class) in cases {
        let path = path.replace("{u}", UID).replace("{_}", UID_).replace("{s}", STATIC);
        let path = path.replace("{i}", ID).replace("{o}", OTHER_ID);
        assert_eq!(&&classify(&path), class, "{path}");
        assert_eq!(&&classify(&format!("{path}/")), class, "{path}/");
        assert_eq!(&&classify(path.trim_start_matches('/')), class, "{path} without its first slash");
    }
}

#[test]
fn the_cgroupfs_driver_nests_plain_names() {
    check(&[
        ("/kubepods", &Class::Root),
        ("/kubepods/burstable", &Class::Qos(Qos::Burstable)),
        ("/kubepods/besteffort", &Class::Qos(Qos::BestEffort)),
        ("/kubepods/pod{u}", &pod(UID, Qos::Guaranteed)),
        ("/kubepods/burstable/pod{u}", &pod(UID, Qos::Burstable)),
        ("/kubepods/besteffort/pod{s}", &pod(STATIC, Qos::BestEffort)),
        ("/kubepods/pod{u}/{i}", &container(UID, Qos::Guaranteed)),
        ("/kubepods/burstable/pod{s}/{i}", &container(STATIC, Qos::Burstable)),
        ("/kubepods/besteffort/pod{u}/crio-{i}", &container(UID, Qos::BestEffort)),
    ]);
}

#[test]
fn the_systemd_driver_repeats_the_parents_in_each_name() {
    let in_pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{_}.slice";
    check(&[
        ("/kubepods.slice", &Class::Root),
        ("/kubepods.slice/kubepods-besteffort.slice", &Class::Qos(Qos::BestEffort)),
        ("/kubepods.slice/kubepods-pod{_}.slice", &pod(UID, Qos::Guaranteed)),
        ("/kubepods.slice/kubepods-pod{s}.slice", &pod(STATIC, Qos::Guaranteed)),
        (in_pod, &pod(UID, Qos::Burstable)),
        ("/kubepods.slice/kubepods-pod{_}.slice/cri-containerd-{i}.scope", &container(UID, Qos::Guaranteed)),
    ]);
    for name in ["cri-containerd-{i}.scope", "crio-{i}.scope", "docker-{i}.scope", "libpod-{i}.scope"] {
        check(&[(&format!("{in_pod}/{name}"), &container(UID, Qos::Burstable))]);
    }
}

#[test]
fn every_runtime_is_known_with_either_driver() {
    for name in ["{i}", "crio-{i}", "libpod-{i}", "kata_{i}", "docker-{i}"] {
        check(&[(&format!("/kubepods/burstable/pod{{u}}/{name}"), &container(UID, Qos::Burstable))]);
    }
}

#[test]
fn what_stands_before_kubepods_does_not_matter() {
    let kind = "/kubelet.slice/kubelet-kubepods.slice";
    let below = format!(
        "{kind}/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod{{_}}.slice/cri-containerd-{{i}}.scope"
    );
    check(&[
        ("/kubelet.slice", &Class::Search),
        (kind, &Class::Root),
        (&format!("{kind}/kubelet-kubepods-besteffort.slice"), &Class::Qos(Qos::BestEffort)),
        (&format!("{kind}/kubelet-kubepods-pod{{_}}.slice"), &pod(UID, Qos::Guaranteed)),
        (&below, &container(UID, Qos::Burstable)),
        ("/kubelet/kubepods/burstable/pod{u}/{i}", &container(UID, Qos::Burstable)),
        ("/docker/{o}/kubepods/pod{u}/{i}", &container(UID, Qos::Guaranteed)),
        ("/docker/{o}", &Class::Search),
        ("/system.slice/docker-{o}.scope/kubelet.slice/kubelet-kubepods.slice", &Class::Root),
        (&format!("/system.slice/docker-{{o}}.scope{below}"), &container(UID, Qos::Burstable)),
        (
            "/user.slice/user-1000.slice/user@1000.service/kubepods/besteffort/pod{u}",
            &pod(UID, Qos::BestEffort),
        ),
    ]);
}

#[test]
fn mixed_drivers_leave_the_whole_name_in_one_directory() {
    let name = "kubepods-burstable-pod{_}.slice:cri-containerd:{i}";
    check(&[
        (&format!("/{name}"), &container(UID, Qos::Burstable)),
        (&format!("/system.slice/containerd.service/{name}"), &container(UID, Qos::Burstable)),
        ("/kubepods-besteffort-pod{s}.slice:crio:{i}", &container(STATIC, Qos::BestEffort)),
        ("/kubepods-pod{_}.slice:cri-containerd:{i}", &container(UID, Qos::Guaranteed)),
        ("/kubelet-kubepods-pod{_}.slice:cri-containerd:{i}", &container(UID, Qos::Guaranteed)),
        (&format!("/{name}/init.scope"), &Class::Inside),
        ("/user-pod{_}.slice:cri-containerd:{i}", &Class::Search),
        ("/kubepods-pod{_}.slice:cri-containerd:short", &Class::Search),
        ("/kubepods-pod{_}.slice:cri-containerd", &Class::Search),
    ]);
}

#[test]
fn what_is_below_a_container_belongs_to_it() {
    let scope = "/kubepods.slice/kubepods-pod{_}.slice/crio-{i}.scope";
    let plain = "/kubepods/pod{u}/{i}";
    for inside in [
        "container",
        "container/exec",
        "init.scope",
        "system.slice/dbus.service",
        "docker/{o}",
        "kubepods/burstable/pod{s}/{o}",
        "kubelet.slice/kubelet-kubepods.slice",
    ] {
        check(&[
            (&format!("{scope}/{inside}"), &Class::Inside),
            (&format!("{plain}/{inside}"), &Class::Inside),
        ]);
    }
}

#[test]
fn monitors_leftovers_and_strangers_in_a_pod_are_no_containers() {
    let slice = "/kubepods.slice/kubepods-pod{_}.slice";
    let plain = "/kubepods/burstable/pod{u}";
    for name in ["crio-conmon-{i}.scope", "libpod-conmon-{i}.scope", "crio-{i}", "var-lib-x.mount"] {
        check(&[(&format!("{slice}/{name}"), &Class::Inside)]);
    }
    for name in ["crio-conmon-{i}", "libpod-conmon-{i}", "supervisor", "{u}", "x{i}", "var-lib-x.mount"] {
        check(&[(&format!("{plain}/{name}"), &Class::Inside)]);
    }
    check(&[
        ("/kubepods/besteffort/notapod", &Class::Inside),
        ("/kubepods/podUPPER", &Class::Inside),
        ("/kubepods/pod", &Class::Inside),
        ("/kubepods/burstable/besteffort", &Class::Inside),
        ("/kubepods/x.mount", &Class::Inside),
    ]);
}

#[test]
fn everything_else_is_searched_except_mount_units() {
    check(&[
        ("/", &Class::Search),
        ("", &Class::Search),
        ("/system.slice/ssh.service", &Class::Search),
        ("/mykubepods", &Class::Search),
        ("/kubepods-burstable.slice", &Class::Search),
        ("/system.slice/dev-hugepages.mount", &Class::Other),
    ]);
}

/// The path the kubelet and a runtime would make.
fn build(prefix: &[String], uid: &str, id: &str, qos: Qos, systemd: bool, runtime: &str) -> String {
    let level = match qos {
        Qos::Guaranteed => None,
        Qos::Burstable => Some("burstable"),
        Qos::BestEffort => Some("besteffort"),
    };
    let mut names: Vec<String> = prefix.to_vec();
    if systemd {
        let uid = uid.replace('-', "_");
        names.push("kubepods.slice".to_owned());
        match level {
            Some(level) => {
                names.push(format!("kubepods-{level}.slice"));
                names.push(format!("kubepods-{level}-pod{uid}.slice"));
            }
            None => names.push(format!("kubepods-pod{uid}.slice")),
        }
        names.push(format!("{runtime}-{id}.scope"));
    } else {
        names.push("kubepods".to_owned());
        names.extend(level.map(str::to_owned));
        names.push(format!("pod{uid}"));
        names.push(id.to_owned());
    }
    format!("/{}", names.join("/"))
}

proptest! {
    #[test]
    fn what_kubelet_and_runtime_build_is_read_back(
        prefix in prop::collection::vec("[a-z][a-z0-9@.]{0,10}(\\.slice|\\.scope|\\.service)?", 0..4),
        uid in "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}|[0-9a-f]{32}",
        id in "[0-9a-f]{64}",
        qos in prop::sample::select(vec![Qos::Guaranteed, Qos::Burstable, Qos::BestEffort]),
        systemd: bool,
        runtime in prop::sample::select(vec!["cri-containerd", "crio", "docker"]),
    ) {
        prop_assume!(prefix.iter().all(|name| !is_root(name) && !is_mount(name)));
        let path = build(&prefix, &uid, &id, qos, systemd, runtime);
        let class = Class::Container {
            pod: PodUid::new(&uid).unwrap(),
            id: ContainerId::new(&id).unwrap(),
            qos: Some(qos),
        };
        prop_assert_eq!(classify(&path), class);
        prop_assert_eq!(classify(&format!("{path}/anything")), Class::Inside);
    }

    #[test]
    fn no_path_makes_it_panic(
        path in "(/?(kubepods(\\.slice)?|burstable|pod[0-9a-f_-]{0,9}(\\.slice)?|[a-z:_-]{0,9}(\\.scope)?|\\PC{0,9})){0,9}",
    ) {
        drop(classify(&path));
    }
}
