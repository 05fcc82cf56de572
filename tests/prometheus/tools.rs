//! The judges of a page: promtool for the older form, Prometheus' Python client for `OpenMetrics`.

use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::program::{dies_with_us, skipped};

/// Reads `OpenMetrics` from its input; prints how many samples there are, or fails with what is wrong.
const PARSER: &str = "\
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families
print(sum(len(family.samples) for family in text_string_to_metric_families(sys.stdin.read())))
";

/// Whether these tests are left out; says so.
pub(crate) fn left_out() -> bool {
    skipped("root") || skipped("prometheus")
}

/// What `tests/prometheus/prepare` made; it lies beside Cargo's scratch directory.
pub(crate) fn prepared(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("prometheus").join(name);
    assert!(path.exists(), "{} is missing: run tests/prometheus/prepare", path.display());
    path
}

/// What `promtool check metrics` says about a page in the older form: empty when it has no complaint.
pub(crate) fn lint(page: &str) -> String {
    let mut command = dies_with_us(prepared("promtool"));
    judged(command.args(["check", "metrics"]), page).unwrap_or_else(|complaint| complaint)
}

/// How many samples a page in `OpenMetrics` has, or what is wrong with it.
pub(crate) fn open_metrics(page: &str) -> Result<usize, String> {
    let mut command = dies_with_us("python3");
    command.args(["-c", PARSER]).env("PYTHONPATH", prepared("parser.whl"));
    judged(&mut command, page)?.trim().parse().map_err(|error| format!("{error}"))
}

/// All that a program says about its input, as an error when it ends with one.
fn judged(command: &mut Command, input: &str) -> Result<String, String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts through setpriv");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let input = input.to_owned();
    // From a thread of its own, as a program that writes before it has read everything would block both.
    let writing = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().expect("our child can be waited for");
    writing.join().expect("writing does not panic");
    let said =
        [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned()).concat();
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
}

#[test]
fn the_judges_find_what_is_wrong() {
    if skipped("prometheus") {
        return;
    }
    assert_eq!(lint("# HELP a_bytes Of what.\n# TYPE a_bytes gauge\na_bytes 1 1700000000000\n"), "");
    assert!(lint("# TYPE a_bytes gauge\na_bytes 1\n").contains("no help text"), "no help");
    assert!(lint("# HELP a Of what.\n# TYPE a counter\na 1\n").contains("_total"), "no suffix");
    assert!(!lint("a{b=\"c} 1\n").is_empty(), "no end of a label");
    let page = "# HELP a_bytes Of what.\n# TYPE a_bytes gauge\na_bytes 1 1700000000.000\n";
    assert_eq!(open_metrics(&format!("{page}# EOF\n")), Ok(1));
    assert!(open_metrics(page).is_err(), "no end");
    assert!(open_metrics("# TYPE a counter\na 1\n# EOF\n").is_err(), "a counter's sample without its suffix");
}
