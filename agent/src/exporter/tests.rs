//! Whole pages over sweeps that are published as the sampler does it.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use kubevitals::{
    chain::Announcement,
    sample::{
        CgroupPath, ContainerId, CpuTime, Detail, Details, PodUid, Sample, SeriesId, Subject, WallTime,
        WorkingSet,
    },
    wire,
};
use prometheus_client::{encoding::text::encode, registry::Registry};
use proptest::{collection::vec, prelude::*};

use super::*;

const SECOND: u64 = 1_000_000;

/// When the first sweep begins, by both clocks.
const BEGAN: u64 = 100 * SECOND;
const WALL: u64 = 1_700_000_000 * SECOND;

/// A sampler's side and the exporter over it.
struct Rig {
    publication: Publication,
    identities: Identities,
    exporter: Exporter,
    registry: Registry,
    last: u32,
}

fn pod(n: u32) -> Subject {
    Subject::Pod { uid: uid(n), qos: None }
}

fn container(pod: u32, n: u32) -> Subject {
    Subject::Container { pod: uid(pod), id: ContainerId::new(&format!("{n:064x}")).unwrap(), qos: None }
}

fn uid(n: u32) -> PodUid {
    PodUid::new(&format!("{n:08x}-0000-4000-8000-000000000000")).unwrap()
}

fn cgroup(path: &str) -> Subject {
    Subject::Cgroup { path: CgroupPath::new(path).unwrap() }
}

impl Rig {
    fn new(naming: Naming) -> Self {
        let (publication, identities, mut registry) =
            (Publication::default(), Identities::default(), Registry::default());
        let metrics = metrics::Metrics::register(&mut registry).exporter;
        let every = (Duration::from_secs(1), Duration::from_secs(10));
        let exporter = Exporter::new(publication.board(), identities.clone(), naming, every, metrics);
        let mut rig = Self { publication, identities, exporter, registry, last: 0 };
        rig.publication.begin(BootTime(BEGAN), WallTime(WALL));
        rig
    }

    /// A new series, and its number.
    fn announce(&mut self, subject: Subject, birth: Option<u64>) -> u32 {
        self.last += 1;
        let series = SeriesId(self.last);
        let birth = birth.map(WallTime);
        self.publication.announce(&Announcement { series, subject, inode: 1, first: None, birth });
        self.identities.ticked(&[series], &[]);
        self.last
    }

    /// One that was read `after` the first sweep began, in microseconds.
    fn read(&mut self, series: u32, after: u64, cpu: u64, units: u32, details: &[(Detail, u64)]) {
        let sample = Sample {
            time: BootTime(BEGAN + after),
            cpu: CpuTime(cpu),
            working_set: WorkingSet::from_units(units),
        };
        let mut set = Details::default();
        for &(detail, value) in details {
            set.set(detail, Some(value));
        }
        self.publication.sample(SeriesId(series), sample, (!details.is_empty()).then_some(&set));
    }

    fn series(&mut self, subject: Subject, cpu: u64) -> u32 {
        let series = self.announce(subject, None);
        self.read(series, 1000 * u64::from(series), cpu, 1, &[]);
        series
    }

    fn name(&self, name: &str, series: &[(u32, &str)]) {
        let series = series
            .iter()
            .map(|&(series, container)| wire::SeriesIdentity { series, container: container.to_owned() });
        let told = wire::PodIdentity {
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: String::new(),
            series: series.collect(),
        };
        assert_eq!(self.identities.learn("a", &wire::Identity { pods: vec![told] }, Instant::now()), 0);
    }

    fn page(&self, which: Which, form: Form) -> String {
        let page = self.exporter.page(which, form, BootTime(BEGAN + SECOND));
        assert_eq!(page.content_type, form.content_type());
        String::from_utf8(page.body.to_vec()).unwrap()
    }

    fn resource(&self) -> String {
        self.page(Which::Resource, Form::Text)
    }

    fn left_out(&self, reason: LeftOut) -> u64 {
        let mut text = String::new();
        encode(&mut text, &self.registry).unwrap();
        let name = format!("kubevitals_agent_exporter_left_out_series{{reason=\"{}\"}} ", reason.as_str());
        text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
    }
}

/// A parsed line.
#[derive(Debug, PartialEq)]
struct Line {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
    time: Option<f64>,
}

fn parse(line: &str) -> Option<Line> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = BTreeMap::new();
    while let Some(pair) = rest.strip_prefix(['{', ',']) {
        let (label, text) = pair.split_once("=\"")?;
        let (mut value, mut characters) = (String::new(), text.char_indices());
        let end = loop {
            match characters.next()? {
                (at, '"') => break at,
                (_, '\\') => value.push(match characters.next()?.1 {
                    'n' => '\n',
                    other => other,
                }),
                (_, other) => value.push(other),
            }
        };
        labels.insert(label.to_owned(), value).is_none().then_some(())?;
        rest = text.get(end + 1..)?;
    }
    let rest = rest.strip_prefix('}').unwrap_or(rest).strip_prefix(' ')?;
    let (value, time) = rest.split_once(' ').map_or((rest, None), |(value, time)| (value, Some(time)));
    let time = time.map(str::parse).transpose().ok()?;
    Some(Line { name: name.to_owned(), labels, value: value.parse().ok()?, time })
}

/// Parses a page and checks what holds for every page.
fn checked(page: &str, form: Form) -> Vec<Line> {
    let (mut lines, mut families, mut series) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    let (mut family, mut kind) = (String::new(), String::new());
    let body = match form {
        Form::Text => page,
        Form::OpenMetrics => page.strip_suffix("# EOF\n").expect("an end"),
    };
    for text in body.lines() {
        if let Some(rest) = text.strip_prefix("# HELP ") {
            family = rest.split_once(' ').unwrap().0.to_owned();
            assert!(families.insert(family.clone()), "{family} comes twice");
        } else if let Some(rest) = text.strip_prefix("# TYPE ") {
            kind = rest.strip_prefix(&format!("{family} ")).unwrap().to_owned();
        } else if let Some(rest) = text.strip_prefix("# UNIT ") {
            assert_eq!(form, Form::OpenMetrics);
            assert!(family.ends_with(rest.strip_prefix(&format!("{family} ")).unwrap()), "{rest}");
        } else {
            let line = parse(text).unwrap_or_else(|| panic!("{text}"));
            let suffix = line.name.strip_prefix(&family).unwrap_or_else(|| panic!("{text} in {family}"));
            let allowed: &[&str] = match (form, kind.as_str()) {
                (Form::OpenMetrics, "counter") => &["_total", "_created"],
                _ => &[""],
            };
            assert!(allowed.contains(&suffix), "{text} in {family}");
            assert!(line.value.is_finite() && line.value.is_sign_positive(), "{text}");
            assert!(series.insert((line.name.clone(), line.labels.clone())), "{text} comes twice");
            assert!(line.labels.values().all(|value| !value.is_empty()), "{text}");
            lines.push(line);
        }
    }
    lines
}

/// Pods and containers with CPU time on the page.
fn shown(page: &str) -> Vec<String> {
    let lines = checked(page, Form::Text).into_iter();
    let lines = lines.filter(|line| line.name.ends_with("_cpu_usage_seconds_total"));
    let place = |line: &Line| ["namespace", "pod", "container"].map(|label| line.labels.get(label).cloned());
    lines.map(|line| place(&line).into_iter().flatten().collect::<Vec<_>>().join("/")).collect()
}

/// A node with one pod: a sandbox, and two containers of which one is throttled.
fn shop() -> Rig {
    let mut rig = Rig::new(Naming::Aggregator);
    let node = rig.announce(Subject::Node, None);
    rig.read(node, 100, 357_354_910_000, 394_584, &[(Detail::Swap, 0)]);
    let pod = rig.announce(pod(7), Some(WALL - 60 * SECOND));
    rig.read(pod, 200, 4_810_169_000, 3160, &[(Detail::Swap, 8192), (Detail::MemoryUsage, 20_000_768)]);
    let sandbox = rig.announce(container(7, 1), Some(WALL - 60 * SECOND));
    rig.read(sandbox, 300, 15_000, 100, &[]);
    let b = rig.announce(container(7, 2), Some(WALL - 59 * SECOND));
    rig.read(b, 1_400, 15_000, 60, &[]);
    let a = rig.announce(container(7, 3), Some(WALL - 59 * SECOND + 123_456));
    let details = [
        (Detail::Swap, 8192),
        (Detail::CpuThrottled, 1_500_000_000),
        (Detail::CpuPressureSome, 2_000_000),
        (Detail::IoPressureSome, 0),
    ];
    rig.read(a, 2_500, 4_710_169_000, 3000, &details);
    rig.name("web-0", &[(pod, ""), (b, "proxy"), (a, "main")]);
    rig.publication.finish();
    rig
}

#[test]
fn the_resource_page_looks_as_the_kubelets() {
    assert_eq!(
        shop().resource(),
        r#"# HELP container_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the container in core-seconds
# TYPE container_cpu_usage_seconds_total counter
container_cpu_usage_seconds_total{container="main",namespace="shop",pod="web-0"} 4.710169 1700000000002
container_cpu_usage_seconds_total{container="proxy",namespace="shop",pod="web-0"} 1.5e-05 1700000000001
# HELP container_memory_working_set_bytes [STABLE] Current working set of the container in bytes
# TYPE container_memory_working_set_bytes gauge
container_memory_working_set_bytes{container="main",namespace="shop",pod="web-0"} 1.2288e+07 1700000000002
container_memory_working_set_bytes{container="proxy",namespace="shop",pod="web-0"} 245760 1700000000001
# HELP container_start_time_seconds [STABLE] Start time of the container since unix epoch in seconds
# TYPE container_start_time_seconds gauge
container_start_time_seconds{container="main",namespace="shop",pod="web-0"} 1.699999941123456e+09
container_start_time_seconds{container="proxy",namespace="shop",pod="web-0"} 1.699999941e+09
# HELP container_swap_usage_bytes [ALPHA] Current amount of the container swap usage in bytes. Reported only on non-windows systems
# TYPE container_swap_usage_bytes gauge
container_swap_usage_bytes{container="main",namespace="shop",pod="web-0"} 8192 1700000000002
# HELP node_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the node in core-seconds
# TYPE node_cpu_usage_seconds_total counter
node_cpu_usage_seconds_total 357.35491 1700000000000
# HELP node_memory_working_set_bytes [STABLE] Current working set of the node in bytes
# TYPE node_memory_working_set_bytes gauge
node_memory_working_set_bytes 1.616216064e+09 1700000000000
# HELP node_swap_usage_bytes [ALPHA] Current swap usage of the node in bytes. Reported only on non-windows systems
# TYPE node_swap_usage_bytes gauge
node_swap_usage_bytes 0 1700000000000
# HELP pod_cpu_usage_seconds_total [STABLE] Cumulative cpu time consumed by the pod in core-seconds
# TYPE pod_cpu_usage_seconds_total counter
pod_cpu_usage_seconds_total{namespace="shop",pod="web-0"} 4.810169 1700000000000
# HELP pod_memory_working_set_bytes [STABLE] Current working set of the pod in bytes
# TYPE pod_memory_working_set_bytes gauge
pod_memory_working_set_bytes{namespace="shop",pod="web-0"} 1.294336e+07 1700000000000
# HELP pod_swap_usage_bytes [ALPHA] Current amount of the pod swap usage in bytes. Reported only on non-windows systems
# TYPE pod_swap_usage_bytes gauge
pod_swap_usage_bytes{namespace="shop",pod="web-0"} 8192 1700000000000
# HELP resource_scrape_error [STABLE] 1 if there was an error while getting container metrics, 0 otherwise
# TYPE resource_scrape_error gauge
resource_scrape_error 0
"#
    );
}

#[test]
fn vitals_have_what_the_kernel_gave_and_no_more() {
    let rig = shop();
    let page = rig.page(Which::Vitals, Form::OpenMetrics);
    checked(&page, Form::OpenMetrics);
    assert_eq!(
        page,
        r#"# HELP kubevitals_container_memory_swap_bytes Memory swapped out
# TYPE kubevitals_container_memory_swap_bytes gauge
# UNIT kubevitals_container_memory_swap_bytes bytes
kubevitals_container_memory_swap_bytes{container="main",namespace="shop",pod="web-0"} 8192.0 1700000000.002
# HELP kubevitals_container_cpu_throttled_seconds Time for which the CPU limit held tasks back, summed over CPUs
# TYPE kubevitals_container_cpu_throttled_seconds counter
# UNIT kubevitals_container_cpu_throttled_seconds seconds
kubevitals_container_cpu_throttled_seconds_total{container="main",namespace="shop",pod="web-0"} 1.5 1700000000.002
kubevitals_container_cpu_throttled_seconds_created{container="main",namespace="shop",pod="web-0"} 1.699999941123456e+09 1700000000.002
# HELP kubevitals_container_pressure_waiting_seconds Time for which some task waited for the resource
# TYPE kubevitals_container_pressure_waiting_seconds counter
# UNIT kubevitals_container_pressure_waiting_seconds seconds
kubevitals_container_pressure_waiting_seconds_total{container="main",namespace="shop",pod="web-0",resource="cpu"} 2.0 1700000000.002
kubevitals_container_pressure_waiting_seconds_created{container="main",namespace="shop",pod="web-0",resource="cpu"} 1.699999941123456e+09 1700000000.002
kubevitals_container_pressure_waiting_seconds_total{container="main",namespace="shop",pod="web-0",resource="io"} 0.0 1700000000.002
kubevitals_container_pressure_waiting_seconds_created{container="main",namespace="shop",pod="web-0",resource="io"} 1.699999941123456e+09 1700000000.002
# HELP kubevitals_container_birth_timestamp_seconds When the cgroup was made, seconds since 1970
# TYPE kubevitals_container_birth_timestamp_seconds gauge
# UNIT kubevitals_container_birth_timestamp_seconds seconds
kubevitals_container_birth_timestamp_seconds{container="main",namespace="shop",pod="web-0"} 1.699999941123456e+09
kubevitals_container_birth_timestamp_seconds{container="proxy",namespace="shop",pod="web-0"} 1.699999941e+09
# HELP kubevitals_pod_memory_usage_bytes Memory in use, all page cache included
# TYPE kubevitals_pod_memory_usage_bytes gauge
# UNIT kubevitals_pod_memory_usage_bytes bytes
kubevitals_pod_memory_usage_bytes{namespace="shop",pod="web-0"} 2.0000768e+07 1700000000.000
# HELP kubevitals_pod_memory_swap_bytes Memory swapped out
# TYPE kubevitals_pod_memory_swap_bytes gauge
# UNIT kubevitals_pod_memory_swap_bytes bytes
kubevitals_pod_memory_swap_bytes{namespace="shop",pod="web-0"} 8192.0 1700000000.000
# HELP kubevitals_pod_birth_timestamp_seconds When the cgroup was made, seconds since 1970
# TYPE kubevitals_pod_birth_timestamp_seconds gauge
# UNIT kubevitals_pod_birth_timestamp_seconds seconds
kubevitals_pod_birth_timestamp_seconds{namespace="shop",pod="web-0"} 1.69999994e+09
# HELP kubevitals_pod_overhead_working_set_bytes Working set of the pod less that of its containers: the sandbox and what the runtime adds
# TYPE kubevitals_pod_overhead_working_set_bytes gauge
# UNIT kubevitals_pod_overhead_working_set_bytes bytes
kubevitals_pod_overhead_working_set_bytes{namespace="shop",pod="web-0"} 409600.0 1700000000.000
# HELP kubevitals_pod_overhead_cpu_seconds CPU time of the pod less that of its running containers: the sandbox, the runtime and ended containers
# TYPE kubevitals_pod_overhead_cpu_seconds gauge
# UNIT kubevitals_pod_overhead_cpu_seconds seconds
kubevitals_pod_overhead_cpu_seconds{namespace="shop",pod="web-0"} 0.099985 1700000000.000
# HELP kubevitals_node_memory_swap_bytes Memory swapped out
# TYPE kubevitals_node_memory_swap_bytes gauge
# UNIT kubevitals_node_memory_swap_bytes bytes
kubevitals_node_memory_swap_bytes 0.0 1700000000.000
# HELP kubevitals_exporter_scrape_error 1 if nothing was sampled of late, 0 otherwise
# TYPE kubevitals_exporter_scrape_error gauge
kubevitals_exporter_scrape_error 0.0
# HELP kubevitals_exporter_sweep_timestamp_seconds When the sweep shown here began, seconds since 1970
# TYPE kubevitals_exporter_sweep_timestamp_seconds gauge
# UNIT kubevitals_exporter_sweep_timestamp_seconds seconds
kubevitals_exporter_sweep_timestamp_seconds 1.7e+09
# EOF
"#
    );
}

#[test]
fn without_a_recent_sweep_a_page_says_so_and_nothing_else() {
    let rig = shop();
    let stuck = BootTime(BEGAN + 10 * SECOND + 1);
    let alone = Rig::new(Naming::Uid);
    for (rig, now) in [(&rig, stuck), (&alone, BootTime(BEGAN))] {
        for form in [Form::Text, Form::OpenMetrics] {
            for (which, expected) in [
                (Which::Resource, &["resource_scrape_error"][..]),
                (Which::Vitals, &["kubevitals_exporter_scrape_error"][..]),
            ] {
                let page = rig.exporter.page(which, form, now);
                let lines = checked(str::from_utf8(&page.body).unwrap(), form);
                let found: Vec<(&str, f64)> =
                    lines.iter().map(|line| (line.name.as_str(), line.value)).collect();
                let expected: Vec<(&str, f64)> = expected.iter().map(|&name| (name, 1.0)).collect();
                assert_eq!(found, expected);
            }
        }
    }
}

#[test]
fn what_has_no_name_is_left_out_and_counted() {
    let rig = shop();
    assert_eq!(shown(&rig.resource()), ["shop/web-0/main", "shop/web-0/proxy", "", "shop/web-0"]);
    assert_eq!(LeftOut::ALL.map(|reason| rig.left_out(reason)), [1, 0, 0, 0]);
}

#[test]
fn without_an_aggregator_the_path_names_pods_containers_and_other_cgroups() {
    let mut rig = Rig::new(Naming::Uid);
    rig.series(pod(1), 9);
    rig.series(container(1, 2), 9);
    rig.series(container(1, 3), 9);
    let hash = PodUid::new("0123456789abcdef0123456789abcdef").unwrap();
    rig.series(Subject::Pod { uid: hash, qos: None }, 9);
    rig.series(cgroup("/system.slice/ssh \"a\\b.service"), 9);
    rig.publication.finish();
    assert_eq!(
        shown(&rig.resource()),
        [
            format!("kubepods/00000001-0000-4000-8000-000000000000/{:064x}", 2),
            format!("kubepods/00000001-0000-4000-8000-000000000000/{:064x}", 3),
            "cgroups//system.slice/ssh \"a\\b.service/ssh \"a\\b.service".to_owned(),
            "kubepods/00000001-0000-4000-8000-000000000000".to_owned(),
            "kubepods/0123456789abcdef0123456789abcdef".to_owned(),
        ]
    );
    let overhead = rig.page(Which::Vitals, Form::Text).contains("overhead");
    assert!(!overhead, "sandboxes cannot be told from containers");
}

#[test]
fn of_two_pods_with_one_name_the_newer_is_shown_and_no_container_of_the_other() {
    let mut rig = Rig::new(Naming::Aggregator);
    // Found in the order of the tree, not of their births.
    let new = rig.announce(pod(1), Some(WALL - SECOND));
    let old = rig.announce(pod(2), Some(WALL - 90 * SECOND));
    rig.read(new, 1, 100, 1, &[]);
    rig.read(old, 2, 900, 9, &[]);
    let (of_new, of_old, only_old) =
        (rig.series(container(1, 1), 10), rig.series(container(2, 2), 80), rig.series(container(2, 3), 80));
    rig.name("db-0", &[(new, ""), (old, ""), (of_new, "main"), (of_old, "main"), (only_old, "sidecar")]);
    rig.publication.finish();
    let page = rig.resource();
    assert_eq!(shown(&page), ["shop/db-0/main", "shop/db-0"]);
    assert!(page.contains("pod_cpu_usage_seconds_total{namespace=\"shop\",pod=\"db-0\"} 1e-07 "), "{page}");
    assert_eq!(rig.left_out(LeftOut::Superseded), 3);
}

#[test]
fn of_two_containers_with_one_name_the_newer_is_shown() {
    let mut rig = Rig::new(Naming::Aggregator);
    let (old, new) = (rig.series(container(1, 1), 500), rig.series(container(1, 2), 7000));
    rig.name("web", &[(old, "main"), (new, "main")]);
    rig.publication.finish();
    let page = rig.resource();
    assert_eq!(shown(&page), ["shop/web/main"]);
    assert!(page.contains(" 7e-06 "), "{page}");
    assert_eq!(rig.left_out(LeftOut::Superseded), 1);
}

#[test]
fn a_container_in_which_nothing_ran_yet_is_left_out_as_a_whole() {
    let mut rig = Rig::new(Naming::Aggregator);
    let new = rig.announce(container(1, 1), Some(WALL));
    rig.read(new, 1, 0, 5, &[(Detail::Swap, 0)]);
    let empty = rig.series(container(1, 2), 1);
    rig.read(empty, 2, 1, 0, &[]);
    rig.name("web", &[(new, "new"), (empty, "empty")]);
    rig.publication.finish();
    let page = rig.resource();
    assert!(!page.contains("new"), "{page}");
    assert!(page.contains(
        "container_memory_working_set_bytes{container=\"empty\",namespace=\"shop\",pod=\"web\"} 0 "
    ));
    assert_eq!(rig.left_out(LeftOut::NotStarted), 1);
}

#[test]
fn a_reading_that_was_left_out_is_shown_for_half_a_minute() {
    let mut rig = Rig::new(Naming::Uid);
    rig.series(container(1, 1), 5);
    rig.announce(container(1, 2), None);
    for (after, is_shown) in [(1, true), (30, true), (31, false)] {
        rig.publication
            .begin(BootTime(BEGAN + 1000 + after * SECOND), WallTime(WALL + 1000 + after * SECOND));
        rig.publication.finish();
        let page = rig.exporter.page(Which::Resource, Form::Text, BootTime(BEGAN + after * SECOND));
        let page = String::from_utf8(page.body.to_vec()).unwrap();
        assert_eq!(page.contains(" 5e-09 1700000000001\n"), is_shown, "{page}");
        assert_eq!(rig.left_out(LeftOut::Stale), if is_shown { 1 } else { 2 });
    }
}

#[test]
fn the_capacity_of_a_page_is_that_of_the_one_before() {
    let rig = shop();
    let length = rig.resource().len();
    let [resource, vitals] = &rig.exporter.0.lengths;
    assert_eq!((resource.load(Ordering::Relaxed), vitals.load(Ordering::Relaxed)), (length, 0));
}

/// A series of any kind, its reading, and the name it is told, if any.
#[derive(Debug, Clone)]
struct Any {
    subject: Subject,
    birth: Option<u64>,
    reading: Option<(u64, u64, u32)>,
    details: Vec<(Detail, u64)>,
    name: Option<(u8, u8)>,
}

fn any_series() -> impl Strategy<Value = Any> {
    let subject = prop_oneof![
        (0..4_u32).prop_map(pod),
        (0..4_u32, 0..6_u32).prop_map(|(pod, n)| container(pod, n)),
        "(/[a-z\"\\\\ {},=é]{1,9}){1,3}".prop_map(|path| cgroup(&path)),
    ];
    let reading = proptest::option::weighted(0.9, (0..SECOND, any::<u64>(), any::<u32>()));
    let detail = (0..Detail::ALL.len(), any::<u64>()).prop_map(|(at, value)| (Detail::ALL[at], value));
    let name = proptest::option::weighted(0.8, (0..3_u8, 0..3_u8));
    (subject, proptest::option::of(0..WALL), reading, vec(detail, 0..6), name)
        .prop_map(|(subject, birth, reading, details, name)| Any { subject, birth, reading, details, name })
}

proptest! {
    #[test]
    fn no_page_has_a_series_twice_an_odd_number_or_a_family_in_two_parts(
        all in vec(any_series(), 0..30),
        by_path: bool,
    ) {
        let mut rig = Rig::new(if by_path { Naming::Uid } else { Naming::Aggregator });
        for any in all {
            let is_pod = matches!(any.subject, Subject::Pod { .. });
            let series = rig.announce(any.subject, any.birth);
            if let Some((after, cpu, units)) = any.reading {
                rig.read(series, after, cpu, units, &any.details);
            }
            if let Some((pod, container)) = any.name {
                let container = if is_pod { String::new() } else { format!("c{container}") };
                rig.name(&format!("p{pod}"), &[(series, &container)]);
            }
        }
        rig.publication.finish();
        for which in [Which::Resource, Which::Vitals] {
            for form in [Form::Text, Form::OpenMetrics] {
                checked(&rig.page(which, form), form);
            }
        }
    }

    #[test]
    fn any_label_survives_a_page(container in "\\PC*|[\\\\\"\n]*", namespace in any::<String>(), pod in any::<String>()) {
        let labels = text::Labels {
            container: text::Container::Name(&container),
            namespace: &namespace,
            pod: &pod,
            resource: "",
        };
        let mut text = Text::new(Form::Text, 0);
        let head = text::Head { prefix: "", name: "a", kind: Kind::Gauge, unit: None, help: "b" };
        text.family(head).sample(&labels, 1.5, None);
        let page = String::from_utf8(text.finish()).unwrap();
        // A line ends with a line feed and with nothing else.
        let lines: Vec<&str> = page.split_terminator('\n').collect();
        prop_assert_eq!(lines.len(), 3);
        let line = parse(lines[2]).unwrap();
        for (name, value) in [("container", &container), ("namespace", &namespace), ("pod", &pod)] {
            prop_assert_eq!(line.labels.get(name).map_or("", String::as_str), value);
        }
    }
}
