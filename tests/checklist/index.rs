//! The list of what a server of this group has to answer, with the tests that show it: `items.md` beside this file.
//!
//! The list and the sources have to agree: every item has a test, every listed test exists, and every test that is
//! named after an item is listed. With `KUBEVITALS_WRITE=1` the last column is written anew from the sources.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// How many items there are.
const ITEMS: usize = 128;

/// Where tests of items may lie.
const SOURCES: [&str; 3] = ["agent/src", "aggregator/src", "tests"];

/// Names of tests by item.
type Tests = BTreeMap<usize, BTreeSet<String>>;

/// The rows of the list: number, and the tests named in the last column.
fn listed() -> Tests {
    let rows = include_str!("items.md").lines().filter_map(|line| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let number = cells.first()?.parse().ok()?;
        let names = cells.last()?.split_whitespace().map(|name| name.trim_matches('`').to_owned());
        Some((number, names.collect()))
    });
    rows.collect()
}

/// The tests in the sources, by the item in their name.
fn found() -> Tests {
    let mut tests = Tests::new();
    for folder in SOURCES {
        visit(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &mut tests);
    }
    tests
}

fn visit(folder: &Path, tests: &mut Tests) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            visit(&path, tests);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            for line in fs::read_to_string(&path).unwrap().lines() {
                if let Some((number, name)) = test_of(line) {
                    tests.entry(number).or_default().insert(name.to_owned());
                }
            }
        }
    }
}

/// The item and the name, when the line begins a function that is named after an item.
fn test_of(line: &str) -> Option<(usize, &str)> {
    let (_, rest) =
        line.split_once("fn c").filter(|(before, _)| ["", "async "].contains(&before.trim_start()))?;
    let (number, _) = rest.split_once('_').filter(|(number, _)| number.len() == 3)?;
    let end = rest.find('(')?;
    let begin = line.len() - rest.len() - 1;
    Some((number.parse().ok()?, &line[begin..=begin + end]))
}

/// The list with the tests that were found in its last column.
fn rewritten(found: &Tests) -> String {
    let row = |line: &str| {
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let [number, request, answer, ..] = cells.as_slice() else { return line.to_owned() };
        let Ok(item) = number.parse::<usize>() else { return line.to_owned() };
        let names = found.get(&item).into_iter().flatten().map(|name| format!("`{name}` "));
        format!("| {number} | {request} | {answer} | {}|", names.collect::<String>())
    };
    include_str!("items.md").lines().map(|line| row(line) + "\n").collect()
}

/// What one has and the other has not.
fn less(all: &Tests, without: &Tests) -> Vec<String> {
    let names = |tests: &Tests| -> BTreeSet<String> { tests.values().flatten().cloned().collect() };
    names(all).difference(&names(without)).cloned().collect()
}

#[test]
fn the_list_has_every_item_once() {
    let rows = include_str!("items.md").lines().filter(|line| line.starts_with('|')).count();
    assert_eq!(rows, ITEMS + 2, "a head, a rule, and a row for each");
    assert!(listed().keys().copied().eq(1..=ITEMS), "{:?}", listed().keys());
}

#[test]
fn every_item_has_a_test_and_every_test_is_listed() {
    let (listed, found) = (listed(), found());
    if std::env::var("KUBEVITALS_WRITE").is_ok_and(|write| write == "1") {
        let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/checklist/items.md");
        return fs::write(list, rewritten(&found)).unwrap();
    }
    let untested: Vec<usize> = (1..=ITEMS).filter(|item| !found.contains_key(item)).collect();
    let gone = less(&listed, &found);
    let unlisted = less(&found, &listed);
    assert!(
        untested.is_empty() && gone.is_empty() && unlisted.is_empty(),
        "items without a test: {untested:?}\nlisted tests that do not exist: {gone:#?}\ntests that are not listed: \
         {unlisted:#?}"
    );
}

#[test]
fn tests_are_found_by_their_names() {
    assert_eq!(test_of("async fn c012_five_probes() {"), Some((12, "c012_five_probes")));
    assert_eq!(test_of("    fn c077_nobody() {"), Some((77, "c077_nobody")));
    for other in ["// fn c012_x()", "fn c12_x()", "fn called_x()", "let c012_x = 1;"] {
        assert_eq!(test_of(other), None, "{other}");
    }
}
