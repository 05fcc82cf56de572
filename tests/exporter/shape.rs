//! Our `/metrics/resource` beside a kubelet's, line by line: `kubelet-page.txt` has the families of a kubelet of 1.33
//! with a sample each, in its order, with its HELP and TYPE texts, labels and times (facts/cgroup-semantics.md 3.1,
//! `pkg/kubelet/metrics/collectors/resource_metrics.go`). Only values and names differ.

use crate::{
    cgroups::Workload,
    program::skipped,
    reader::samples,
    rig::NODE,
    stage::{Stage, TEXT, scrape, scrape_until},
};

const KUBELET: &str = include_str!("kubelet-page.txt");

/// What a kubelet has and we do not, each with the reason.
const LACKING: [&str; 1] = [
    // Nobody reads limits here.
    "container_swap_limit_bytes",
];

/// A page without values: HELP and TYPE lines as they are, and of samples the name, the labels' names and whether there
/// is a time. What repeats stands once.
fn shape(page: &str) -> Vec<String> {
    let mut shape: Vec<String> = page.lines().map(shape_of_line).collect();
    shape.dedup();
    shape
}

fn shape_of_line(line: &str) -> String {
    if line.starts_with('#') {
        return line.to_owned();
    }
    let (series, numbers) = match line.rsplit_once('}') {
        Some((series, numbers)) => (series, numbers.trim_start()),
        None => line.split_once(' ').unwrap_or((line, "")),
    };
    let series = series.split_once('{').map_or_else(
        || series.to_owned(),
        |(name, labels)| {
            let keys = labels.split("\",").filter_map(|label| label.split_once("=\""));
            let keys: Vec<&str> = keys.map(|(key, _)| key).collect();
            format!("{name}{{{}}}", keys.join(","))
        },
    );
    let numbers = match numbers.split(' ').collect::<Vec<_>>()[..] {
        [value] if value.parse::<f64>().is_ok() => "value",
        // Milliseconds: seconds and microseconds have another number of digits for 250 years.
        [value, time] if value.parse::<f64>().is_ok() && time.len() == 13 => "value milliseconds",
        _ => numbers,
    };
    format!("{series} {numbers}")
}

/// The family that a line belongs to.
fn family(line: &str) -> &str {
    let words = line.strip_prefix("# HELP ").or_else(|| line.strip_prefix("# TYPE ")).unwrap_or(line);
    words.split(['{', ' ']).next().unwrap_or_default()
}

#[test]
fn the_shape_of_a_page_shows_every_difference() {
    let page = shape(KUBELET);
    assert_eq!(page.len(), 36, "{page:#?}");
    assert!(
        page.contains(
            &"container_cpu_usage_seconds_total{container,namespace,pod} value milliseconds".into()
        )
    );
    assert!(page.contains(&"container_start_time_seconds{container,namespace,pod} value".into()));
    for (from, to) in [
        ("[STABLE] Current working", "Current working"),
        ("gauge\npod_memory", "counter\npod_memory"),
        ("namespace=\"shop\",pod=\"web\"} 184.59", "pod=\"web\",namespace=\"shop\"} 184.59"),
        (" 1700000000631", " 1700000000.631"),
        ("1.6999999978302591e+09", "1.6999999978302591e+09 1700000000000"),
        ("resource_scrape_error 0", "resource_scrape_error x"),
    ] {
        let changed = KUBELET.replacen(from, to, 1);
        assert_ne!(changed, KUBELET, "{from}");
        assert_ne!(shape(&changed), page, "{from}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_is_a_kubelets_line_by_line() {
    if skipped("root") {
        return;
    }
    tokio::task::block_in_place(compare);
}

fn compare() {
    let stage = Stage::new();
    let _web = stage.run(NODE, "web", [("main", Workload::pulse()), ("side", Workload::pulse())]);
    let _shop = stage.run(NODE, "another", [("main", Workload::pulse())]);
    let agent = stage.agent(NODE, &["--detail-interval=1s"]);
    scrape_until("all containers are named", (agent.admin_port, "/metrics/resource"), |page| {
        let told = page.matches("container_swap_usage_bytes{").count();
        if told == 3 { Ok(()) } else { Err(format!("{told} containers")) }
    });
    let page = scrape(agent.admin_port, "/metrics/resource", TEXT);
    assert!(page.head.contains("text/plain; version=0.0.4; charset=utf-8"), "{}", page.head);

    let is_ours = |line: &&String| !LACKING.contains(&family(line));
    let expected: Vec<String> = shape(KUBELET).iter().filter(is_ours).cloned().collect();
    let ours = shape(&page.body);
    let differs = ours.iter().zip(&expected).find(|(ours, kubelet)| ours != kubelet);
    assert_eq!(differs, None, "the first line that differs, ours and the kubelet's, in\n{}", page.body);
    assert_eq!(ours.len(), expected.len(), "{ours:#?}");
    lines_are_sorted(&page.body);
}

/// Within a family a kubelet sorts by the values of labels, in the order in which those are written.
fn lines_are_sorted(page: &str) {
    let samples = samples(page).unwrap();
    for pair in samples.windows(2) {
        let key = |index: usize| (&pair[index].name, pair[index].labels.values().collect::<Vec<_>>());
        assert!(key(0) < key(1), "{pair:?}");
    }
}
