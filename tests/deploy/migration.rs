//! The migration guide speaks of flags, objects and files that exist.

use std::{collections::BTreeSet, fs};

use crate::{
    arguments::{is_due, is_known},
    render::repository,
};

fn guide() -> String {
    fs::read_to_string(repository("deploy/MIGRATION.md")).unwrap()
}

/// Cells of the rows of the table below a heading.
fn rows(guide: &str, heading: &str) -> Vec<Vec<String>> {
    let (_, after) = guide.split_once(heading).unwrap_or_else(|| panic!("no {heading}"));
    let table =
        after.lines().skip_while(|line| !line.starts_with('|')).take_while(|line| line.starts_with('|'));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    table.skip(2).map(cells).collect()
}

/// Words in backticks that look like flags, without their values.
fn named_flags(text: &str) -> impl Iterator<Item = String> + '_ {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted.filter(|word| word.starts_with("--")).map(|word| word.split(['=', ' ']).next().unwrap().to_owned())
}

#[test]
fn every_flag_that_replaces_one_of_metrics_server_exists() {
    let guide = guide();
    let rows = rows(&guide, "## Flags");
    assert!(rows.len() >= 20, "{}", rows.len());
    for row in &rows {
        let [theirs, ours, _] = &row[..] else { panic!("three cells: {row:?}") };
        assert!(named_flags(theirs).next().is_some(), "{row:?}");
        for flag in named_flags(ours) {
            assert!(is_known(&flag) || !is_due(&flag), "{flag} in {row:?}");
        }
        if ours == "the same" {
            for flag in named_flags(theirs) {
                assert!(is_known(&flag) || !is_due(&flag), "{flag} in {row:?}");
            }
        }
    }
}

#[test]
fn files_that_the_documents_name_exist() {
    for document in ["deploy/MIGRATION.md", "deploy/README.md"] {
        let text = fs::read_to_string(repository(document)).unwrap();
        let words = text.split(|c: char| c.is_whitespace() || "`()<>[]\",;?".contains(c));
        let paths: BTreeSet<&str> = words
            .map(|word| word.trim_end_matches(['.', ':', '/']))
            .filter(|word| word.starts_with("deploy/"))
            .collect();
        // A form of kubectl and helm, such as deploy/kubevitals-aggregator, names an object.
        for path in paths.into_iter().filter(|path| !path.starts_with("deploy/kubevitals-")) {
            assert!(repository(path).exists(), "{document}: {path}");
        }
    }
}
