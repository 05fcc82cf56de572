//! The README names every flag and every metric, and none that does not exist.

use std::collections::BTreeSet;

use clap::{Command, CommandFactory};
use kubevitals_agent::exporter::FAMILIES;
use prometheus_client::{encoding::text::encode, registry::Registry};

const README: &str = include_str!("../README.md");

/// Words of the README that begin with `prefix` and go on with `allowed` characters.
fn words(prefix: &str, allowed: fn(char) -> bool) -> BTreeSet<String> {
    let starts = README.match_indices(prefix).map(|(at, _)| at);
    let word = |at: usize| -> String { README[at..].chars().take_while(|&c| allowed(c)).collect() };
    starts.map(word).filter(|word| word.len() > prefix.len()).collect()
}

fn flags(command: &Command, found: &mut BTreeSet<String>) {
    let long = command.get_arguments().filter_map(|argument| argument.get_long());
    found.extend(long.filter(|&flag| flag != "help").map(|flag| format!("--{flag}")));
    for command in command.get_subcommands() {
        flags(command, found);
    }
}

#[test]
fn every_flag_is_in_the_readme() {
    let mut known = BTreeSet::new();
    flags(&kubevitals_agent::config::Cli::command(), &mut known);
    flags(&kubevitals_aggregator::config::Cli::command(), &mut known);
    let missing: Vec<_> = known.iter().filter(|flag| !README.contains(&format!("`{flag}"))).collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
    // Flags of cargo, kubectl and tests/run, which the README uses too.
    let others = [
        "--release",
        "--kubeconfig",
        "--containers",
        "--no-root",
        "--no-guests",
        "--no-kubectl",
        "--no-manifests",
        "--no-python",
        "--example",
        "--no-prometheus",
        "--help",
        "--insecure",
        "--header",
    ];
    known.extend(others.map(str::to_owned));
    let named = words("--", |c| c == '-' || c.is_ascii_lowercase());
    let unknown: Vec<_> =
        named.iter().filter(|flag| flag.starts_with("--") && !flag.starts_with("---")).collect();
    let unknown: Vec<_> = unknown.into_iter().filter(|flag| !known.contains(*flag)).collect();
    assert!(unknown.is_empty(), "in README.md and nowhere else: {unknown:?}");
}

#[test]
fn every_metric_is_in_the_readme() {
    let (mut agent, mut aggregator) = (Registry::default(), Registry::default());
    let _ = kubevitals_agent::metrics::Metrics::register(&mut agent);
    let _ = kubevitals_agent::exporter::counted::Counted::register(&mut agent);
    let metrics = kubevitals_aggregator::metrics::Metrics::register(&mut aggregator);
    // Its label is a name that flags give, so without flags there is none to begin at zero.
    let _ = metrics.ca.target("any");
    let mut text = String::new();
    encode(&mut text, &agent).unwrap();
    encode(&mut text, &aggregator).unwrap();
    let known: BTreeSet<String> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| match kind {
            "counter" => format!("{name}_total"),
            "info" => format!("{name}_info"),
            _ => name.to_owned(),
        })
        .collect();
    assert!(known.len() > 20, "{known:?}");
    // Some have the names that Kubernetes' own servers use.
    let (known, borrowed): (BTreeSet<_>, BTreeSet<_>) =
        known.into_iter().partition(|name| name.starts_with("kubevitals_"));
    let missing: Vec<_> = borrowed.iter().filter(|name| !README.contains(&format!("`{name}"))).collect();
    assert!(missing.is_empty(), "not in README.md: {missing:?}");
    // Families of one level are named in full, the others in the table of the exporter.
    let vitals = FAMILIES.iter().filter_map(|family| match family.levels {
        [level] => Some(format!("{}{}{}", level.prefix(), family.name, family.kind.suffix())),
        _ => None,
    });
    let known: BTreeSet<String> = known.into_iter().chain(vitals).collect();
    let named: BTreeSet<String> = words("kubevitals_", |c| c == '_' || c.is_ascii_lowercase());
    assert_eq!(known, named, "left: what is registered; right: what README.md names");
}

/// A row of README.md for each family of `/metrics/vitals`.
#[test]
fn every_vital_is_in_the_readme_as_it_is_in_the_code() {
    let rows = FAMILIES.iter().map(|family| {
        let levels: Vec<&str> = family.levels.iter().map(|level| level.prefix()).collect();
        let levels: Vec<&str> = levels
            .iter()
            .map(|prefix| prefix.trim_start_matches("kubevitals_").trim_end_matches('_'))
            .collect();
        let (name, suffix, kind) = (family.name, family.kind.suffix(), family.kind.as_str());
        let resource = if name.starts_with("pressure_") { "{resource}" } else { "" };
        let levels = if let [one] = levels.as_slice() {
            (*one).to_owned()
        } else {
            format!("{{{}}}", levels.join(","))
        };
        format!(
            "| `kubevitals_{levels}_{name}{suffix}{resource}` | {kind} | {} | {} |\n",
            family.help, family.file
        )
    });
    let table = format!(
        "| family | type | meaning | from |\n| --- | --- | --- | --- |\n{}",
        rows.collect::<String>()
    );
    assert!(README.contains(&table), "README.md should have:\n\n{table}");
}
