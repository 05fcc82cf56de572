use proptest::prelude::*;

use super::*;
use crate::kubelet::page::Lines;

const NOW: WallTime = WallTime(9_000_000);

fn page(text: &str) -> Page {
    let (mut lines, mut page) = (Lines::default(), Page::default());
    lines.feed(text.as_bytes(), &mut |line| page.take(line));
    page
}

fn series(family: &str, container: &str, rest: &str) -> String {
    format!("{family}{{container=\"{container}\",namespace=\"ns1\",pod=\"pod1\"}} {rest}\n")
}

/// Container, seconds of CPU, bytes, start in seconds and time in milliseconds.
type Read = (String, u64, u64, Option<u64>, u64);

fn read(page: &Page) -> Vec<Read> {
    page.containers(NOW)
        .map(|(whose, Reading { point, start })| {
            let start = start.map(|start| start.0 / 1_000_000);
            (
                whose.container.to_owned(),
                point.cpu.0 / 1_000_000_000,
                point.memory_bytes,
                start,
                point.time.0 / 1000,
            )
        })
        .collect()
}

const CPU: &str = "container_cpu_usage_seconds_total";
const MEMORY: &str = "container_memory_working_set_bytes";
const START: &str = "container_start_time_seconds";

/// D1 and D2: with and without times.
#[test]
fn what_families_say_of_one_container_is_put_together() {
    let text = [
        series(CPU, "a", "7 1000"),
        series(CPU, "b", "8"),
        series(MEMORY, "b", "4096"),
        series(START, "a", "3"),
        series(MEMORY, "a", "8192 1000"),
    ];
    assert_eq!(
        read(&page(&text.concat())),
        [("a".to_owned(), 7, 8192, Some(3), 1000), ("b".to_owned(), 8, 4096, None, 9000)]
    );
}

/// D4 to D8: zero is a measurement; only what is missing makes a container absent.
#[test]
fn a_container_is_absent_without_cpu_or_memory_and_present_with_zeros() {
    let zeros = [series(CPU, "idle", "0 1"), series(MEMORY, "idle", "0 1")].concat();
    assert_eq!(read(&page(&zeros)), [("idle".to_owned(), 0, 0, None, 1)]);
    assert_eq!(read(&page(&series(CPU, "a", "1"))), []);
    assert_eq!(read(&page(&series(MEMORY, "a", "1"))), []);
    assert_eq!(read(&page(&series(START, "a", "1"))), []);
    let node = page("node_cpu_usage_seconds_total 0\nnode_memory_working_set_bytes 0\n");
    assert_eq!(node.node(NOW).map(|reading| reading.point.cpu.0), Some(0));
    assert_eq!(page("node_cpu_usage_seconds_total 5\n").node(NOW), None);
}

/// D13 was the end of a whole page once.
#[test]
fn a_bad_value_or_time_costs_its_own_series_alone() {
    let text = [
        series(CPU, "a", "1 5"),
        series(MEMORY, "a", "1 5"),
        series(START, "a", "-6.21355968e+10 -62135596800000"),
        series(CPU, "b", "NaN 5"),
        series(MEMORY, "b", "1 5"),
        series(CPU, "c", "1 -5"),
        series(MEMORY, "c", "1 -5"),
        "container_cpu_usage_seconds_total{nonsense} 1\n".to_owned(),
    ];
    let page = page(&text.concat());
    assert_eq!(read(&page), [("a".to_owned(), 1, 1, None, 5)]);
    assert_eq!(page.refused().count(Refusal::BadValue), 4);
    assert_eq!(page.refused().count(Refusal::BadLine), 1);
}

#[test]
fn a_series_given_twice_counts_if_both_agree() {
    let twice = |second: &str| {
        page(&[series(CPU, "a", "1 5"), series(MEMORY, "a", "1 5"), series(CPU, "a", second)].concat())
    };
    assert_eq!(read(&twice("1 5")).len(), 1);
    for other in ["2 5", "1 6", "1", "NaN 5"] {
        let page = twice(other);
        assert_eq!(read(&page), [], "{other}");
        assert_eq!(page.refused().count(Refusal::Duplicate), 1, "{other}");
    }
}

#[test]
fn names_that_would_read_as_others_are_refused() {
    let text = "container_cpu_usage_seconds_total{container=\"c\",namespace=\"a/b\",pod=\"p\"} 1\n\
        container_cpu_usage_seconds_total{container=\"c\",namespace=\"\",pod=\"p\"} 1\n";
    let page = page(text);
    assert!(page.is_empty());
    assert_eq!(page.refused().count(Refusal::BadLine), 2);
}

#[test]
fn a_kubelet_that_could_not_read_says_so() {
    assert!(!page("resource_scrape_error 0\n").has_scrape_error());
    assert!(page("scrape_error 1\n").has_scrape_error());
    assert!(page("resource_scrape_error NaN\n").has_scrape_error());
}

proptest! {
    #[test]
    fn lines_may_come_in_any_order(
        containers in proptest::collection::btree_set("[a-c]{1,2}", 1..8), shuffle in any::<u64>(),
    ) {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
        let mut lines: Vec<String> = containers
            .iter()
            .enumerate()
            .flat_map(|(n, name)| [series(CPU, name, &format!("{n} 5")), series(MEMORY, name, &format!("{n} 5"))])
            .collect();
        let hasher = BuildHasherDefault::<DefaultHasher>::new();
        lines.sort_by_key(|line| hasher.hash_one((line, shuffle)));
        let mut read = read(&page(&lines.concat()));
        read.sort();
        let number = |n: usize| u64::try_from(n).unwrap();
        let expected: Vec<Read> =
            containers.iter().enumerate().map(|(n, name)| (name.clone(), number(n), number(n), None, 5)).collect();
        prop_assert_eq!(read, expected);
    }
}
