//! A reader of `/metrics/resource` that takes and refuses what metrics-server does: facts/metrics-server.md 1.6 and 2.7,
//! cases D1 to D13. Its code has nothing in common with that of our own fallback poller.
//!
//! A line that is not understood, or a time before 1970, costs the whole page. A container without CPU time or without
//! memory, or with a zero for either, costs its pod; a node likewise costs itself. A container of which nothing is said
//! costs nothing.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of a container or a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Point {
    /// Nanoseconds since 1970; 0 where the page does not tell it.
    pub(crate) start: u64,
    /// Milliseconds since 1970.
    pub(crate) time: u64,
    /// CPU time, nanoseconds.
    pub(crate) cpu: u64,
    /// Working set, bytes.
    pub(crate) memory: u64,
}

/// Points of containers by name, of pods by namespace and name.
pub(crate) type Pods = BTreeMap<(String, String), BTreeMap<String, Point>>;

/// What is taken from a page, and what is not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) node: Option<Point>,
    pub(crate) pods: Pods,
    /// Pods that one of their containers cost.
    pub(crate) refused_pods: BTreeSet<(String, String)>,
    pub(crate) is_node_refused: bool,
}

/// One sample of a page.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) value: f64,
    /// Milliseconds since 1970.
    pub(crate) time: Option<u64>,
}

impl Sample {
    fn label(&self, name: &str) -> String {
        self.labels.get(name).cloned().unwrap_or_default()
    }
}

/// Reads a page that was asked for at `now`, milliseconds since 1970: samples without a time were taken then.
pub(crate) fn read(page: &str, now: u64) -> Result<Taken, String> {
    let mut node = Point::default();
    let mut pods = Pods::new();
    for sample in samples(page)? {
        let time = sample.time.unwrap_or(now);
        let point = match sample.name.split('_').next() {
            Some("node") => &mut node,
            Some("container") => {
                let pod = pods.entry((sample.label("namespace"), sample.label("pod"))).or_default();
                pod.entry(sample.label("container")).or_default()
            }
            _ => continue,
        };
        match sample.name.split_once('_').unwrap_or_default().1 {
            "cpu_usage_seconds_total" => (point.cpu, point.time) = (nanos(sample.value), time),
            "memory_working_set_bytes" => (point.memory, point.time) = (bytes(sample.value), time),
            "start_time_seconds" => point.start = nanos(sample.value),
            _ => {}
        }
    }
    Ok(taken(node, pods))
}

fn taken(node: Point, pods: Pods) -> Taken {
    let is_whole = |point: &Point| point.cpu != 0 && point.memory != 0;
    let mut taken = Taken {
        node: Some(node).filter(is_whole),
        is_node_refused: !is_whole(&node) && node != Point::default(),
        ..Taken::default()
    };
    for (pod, mut containers) in pods {
        containers.retain(|_, point| (point.start, point.cpu, point.memory) != (0, 0, 0));
        if !containers.values().all(is_whole) {
            taken.refused_pods.insert(pod);
        } else if !containers.is_empty() {
            taken.pods.insert(pod, containers);
        }
    }
    taken
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the reader in the field does")]
fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9).round() as u64
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "as the reader in the field does")]
fn bytes(value: f64) -> u64 {
    value as u64
}

/// All samples of a page in the older form, or what is wrong with it.
pub(crate) fn samples(page: &str) -> Result<Vec<Sample>, String> {
    if !page.is_empty() && !page.ends_with('\n') {
        return Err("ends within a line".to_owned());
    }
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines.map(|line| sample(line).ok_or_else(|| format!("not understood: {line}"))).collect()
}

fn sample(line: &str) -> Option<Sample> {
    let end = line.find(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c))?;
    let (name, rest) = line.split_at(end);
    let (labels, rest) = match rest.strip_prefix('{') {
        Some(rest) => labels(rest)?,
        None => (BTreeMap::new(), rest),
    };
    let mut words = rest.strip_prefix(' ')?.split(' ');
    let value = words.next()?.parse().ok()?;
    let time = match words.next() {
        Some(word) => Some(word.parse().ok()?),
        None => None,
    };
    let is_name = name.starts_with(|c: char| !c.is_ascii_digit()) && words.next().is_none();
    is_name.then(|| Sample { name: name.to_owned(), labels, value, time })
}

/// The labels up to the closing brace, and the rest of the line.
fn labels(mut rest: &str) -> Option<(BTreeMap<String, String>, &str)> {
    let mut labels = BTreeMap::new();
    loop {
        if let Some(rest) = rest.strip_prefix('}') {
            return Some((labels, rest));
        }
        let (name, after) = rest.split_once("=\"")?;
        let (value, after) = value(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = after.strip_prefix(',').or_else(|| after.starts_with('}').then_some(after))?;
    }
}

/// A label's value up to its closing quote, and the rest of the line.
fn value(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = text.char_indices();
    loop {
        match characters.next()? {
            (at, '"') => return Some((value, &text[at + 1..])),
            (_, '\\') => value.push(match characters.next()?.1 {
                'n' => '\n',
                escaped @ ('"' | '\\') => escaped,
                _ => return None,
            }),
            (_, plain) => value.push(plain),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_600_000_000_000;
    const TIME: u64 = 1_633_253_809_720;

    const NODE_CPU: &str = "node_cpu_usage_seconds_total 357.35491 1633253809720\n";
    const NODE_MEMORY: &str = "node_memory_working_set_bytes 1.616273408e+09 1633253809720\n";
    const CPU: &str = "container_cpu_usage_seconds_total{container=\"coredns\",namespace=\"kube-system\",\
                       pod=\"coredns-1\"} 4.710169 1633253812125\n";
    const MEMORY: &str = "container_memory_working_set_bytes{container=\"coredns\",namespace=\"kube-system\",\
                          pod=\"coredns-1\"} 1.253376e+07 1633253812125\n";
    const START: &str = "container_start_time_seconds{container=\"coredns\",namespace=\"kube-system\",\
                         pod=\"coredns-1\"} 1.63325361e+09\n";
    const POD: &str = "# HELP pod_cpu_usage_seconds_total Of the pod.\n\
                       # TYPE pod_cpu_usage_seconds_total counter\n\
                       pod_cpu_usage_seconds_total{namespace=\"kube-system\",pod=\"coredns-1\"} 0 1633253812125\n\
                       resource_scrape_error 0\n";

    fn node(time: u64) -> Point {
        Point { start: 0, time, cpu: 357_354_910_000, memory: 1_616_273_408 }
    }

    fn coredns(time: u64) -> Point {
        Point { start: 1_633_253_610_000_000_000, time, cpu: 4_710_169_000, memory: 12_533_760 }
    }

    fn pods(point: Point) -> Pods {
        let pod = ("kube-system".to_owned(), "coredns-1".to_owned());
        Pods::from([(pod, BTreeMap::from([("coredns".to_owned(), point)]))])
    }

    fn read_lines(lines: &[&str]) -> Taken {
        read(&lines.concat(), NOW).unwrap()
    }

    #[test]
    fn d1_a_whole_page_is_taken_and_pods_own_lines_are_not_needed() {
        let taken = read_lines(&[NODE_CPU, NODE_MEMORY, CPU, MEMORY, START, POD]);
        let expected =
            Taken { node: Some(node(TIME)), pods: pods(coredns(1_633_253_812_125)), ..Taken::default() };
        assert_eq!(taken, expected);
    }

    #[test]
    fn d2_without_times_all_is_of_the_request() {
        let page = [NODE_CPU, NODE_MEMORY, CPU, MEMORY, START].concat();
        let page = page.replace(" 1633253809720", "").replace(" 1633253812125", "");
        let taken = read(&page, NOW).unwrap();
        assert_eq!((taken.node, taken.pods), (Some(node(NOW)), pods(coredns(NOW))));
    }

    #[test]
    fn d3_and_d8_pods_and_node_do_not_need_each_other() {
        let taken = read_lines(&[CPU, MEMORY, START]);
        assert_eq!((taken.node, taken.pods.len(), taken.is_node_refused), (None, 1, false));
        let taken = read_lines(&[NODE_CPU, NODE_MEMORY]);
        assert_eq!((taken.node, taken.pods.len()), (Some(node(TIME)), 0));
    }

    #[test]
    fn d4_to_d7_a_container_that_lacks_something_or_has_a_zero_costs_its_pod() {
        let zero = |line: &str| line.replace(" 4.710169 ", " 0 ").replace(" 1.253376e+07 ", " 0 ");
        let other = "container_cpu_usage_seconds_total{container=\"b\",namespace=\"kube-system\",\
                     pod=\"coredns-1\"} 1 1633253812125\n\
                     container_memory_working_set_bytes{container=\"b\",namespace=\"kube-system\",\
                     pod=\"coredns-1\"} 1 1633253812125\n";
        for lines in [
            [MEMORY.to_owned(), START.to_owned()],
            [zero(CPU), MEMORY.to_owned()],
            [CPU.to_owned(), START.to_owned()],
            [CPU.to_owned(), zero(MEMORY)],
            [START.to_owned(), String::new()],
        ] {
            let taken = read_lines(&[&lines[0], &lines[1], other]);
            assert!(taken.pods.is_empty() && taken.refused_pods.len() == 1, "{lines:?}: {taken:?}");
        }
        assert_eq!(read_lines(&[CPU, MEMORY, other]).pods.len(), 1, "a start time is not needed");
        let idle = [zero(CPU), zero(MEMORY)].concat();
        let taken = read_lines(&[&idle, other]);
        assert_eq!((taken.pods.len(), taken.refused_pods.len()), (1, 0), "of it nothing is said");
    }

    #[test]
    fn d9_to_d12_a_node_that_lacks_something_or_has_a_zero_is_nothing() {
        let zero = |line: &str| line.replace(" 357.35491 ", " 0 ").replace(" 1.616273408e+09 ", " 0 ");
        for lines in [
            [NODE_MEMORY.to_owned(), String::new()],
            [zero(NODE_CPU), NODE_MEMORY.to_owned()],
            [NODE_CPU.to_owned(), String::new()],
            [NODE_CPU.to_owned(), zero(NODE_MEMORY)],
        ] {
            let taken = read_lines(&[&lines[0], &lines[1]]);
            assert!(taken.node.is_none() && taken.is_node_refused && taken.pods.is_empty(), "{lines:?}");
        }
    }

    #[test]
    fn d13_a_time_before_1970_or_an_odd_line_costs_the_page() {
        let early = START.replace(" 1.63325361e+09", " -6.7953645788713455e+09 -62135596800000");
        for line in [
            early.as_str(),
            "container_cpu_usage_seconds_total{container=\"a} 1\n",
            "a{b=\"c\"}1\n",
            "a 1 2 3\n",
            "a\n",
            "1a 1\n",
            "a{b=\"c\",b=\"d\"} 1\n",
            "a{b=\"\\x\"} 1\n",
            "a 1",
        ] {
            assert!(read(&[NODE_CPU, NODE_MEMORY, line].concat(), NOW).is_err(), "{line}");
        }
        let escaped = samples("a{b=\"\\\\ \\n \\\"\",} 1\n").unwrap();
        assert_eq!(escaped[0].labels["b"], "\\ \n \"");
    }
}
