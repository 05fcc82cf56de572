//! A [`Look`] as text for a terminal of 100 columns. Numbers stand right, units stand in the headers, the busiest
//! comes first.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, fmt::Write as _};

use super::{Look, TreeLook, UsageLook};

/// Longest name in the first column: a pod's UID and some room.
const NAME: usize = 39;

/// Longest name where the details need the room.
const SHORT_NAME: usize = 21;

/// Digits of a container id that people know it by.
const SHORT_ID: usize = 12;

/// Most left-out cgroups that are listed one by one.
const MOST_SKIPPED: usize = 20;

/// Writes `look` for people.
#[must_use]
pub fn table(look: &Look) -> String {
    let mut text = String::new();
    write_all(&mut text, look).expect("writing into a String cannot fail");
    text
}

fn write_all(text: &mut String, look: &Look) -> Written {
    head(text, look)?;
    node(text, look)?;
    subjects(text, look)?;
    left_out(text, look)
}

type Written = Result<(), std::fmt::Error>;

fn head(text: &mut String, look: &Look) -> Written {
    let tree = |tree: &TreeLook| format!("{} ({})", tree.directory, tree.version);
    let note = if look.hierarchy == "hybrid" { ", read as v1" } else { "" };
    writeln!(text, "cgroups     {}{note}", look.hierarchy)?;
    writeln!(text, "CPU time    {}", tree(&look.cpu_tree))?;
    writeln!(text, "memory      {}", tree(&look.memory_tree))?;
    let throttling = look.throttling_tree.as_ref().map_or("not mounted".into(), tree);
    writeln!(text, "throttling  {throttling}")
}

fn node(text: &mut String, look: &Look) -> Written {
    let node = &look.node;
    writeln!(
        text,
        "node        {} CPUs, {} MiB of memory; CPU time from {}, memory from {}\n",
        node.cpus,
        mebibytes(node.memory_total_bytes),
        node.cpu_source,
        node.memory_source
    )
}

/// One line: what it is called, in which table, and its numbers.
struct Row<'a> {
    name: Cow<'a, str>,
    short_name: Cow<'a, str>,
    qos: &'a str,
    usage: Option<&'a UsageLook>,
}

fn subjects(text: &mut String, look: &Look) -> Written {
    let mut rows = vec![row("node", "", "", Some(&look.node.usage))];
    let pods = pod_rows(look);
    let cgroups = cgroup_rows(look);
    rows.extend(pods);
    rows.extend(cgroups);
    usages(text, &rows)?;
    totals(text, look)?;
    details(text, &rows)
}

fn row<'a>(name: &'a str, indent: &str, qos: &'a str, usage: Option<&'a UsageLook>) -> Row<'a> {
    let name = |longest: usize| Cow::Owned(format!("{indent}{}", shortened(name, longest - indent.len())));
    Row { name: name(NAME), short_name: name(SHORT_NAME), qos, usage }
}

fn pod_rows(look: &Look) -> Vec<Row<'_>> {
    let mut pods: Vec<_> = look.pods.iter().collect();
    pods.sort_by_key(|pod| Reverse(cpu(pod.usage.as_ref())));
    let mut rows = Vec::new();
    for pod in pods {
        rows.push(row(&pod.uid, "", pod.qos.unwrap_or("-"), pod.usage.as_ref()));
        let mut containers: Vec<_> = pod.containers.iter().collect();
        containers.sort_by_key(|container| Reverse(cpu(Some(&container.usage))));
        for container in containers {
            let id = container.id.get(..SHORT_ID).unwrap_or(&container.id);
            rows.push(row(id, "  ", "", Some(&container.usage)));
        }
        if pod.containers.is_empty() {
            rows.push(row("no containers", "  ", "", None));
        }
    }
    rows
}

fn cgroup_rows(look: &Look) -> Vec<Row<'_>> {
    let mut cgroups: Vec<_> = look.cgroups.iter().collect();
    cgroups.sort_by_key(|cgroup| Reverse(cpu(Some(&cgroup.usage))));
    cgroups.into_iter().map(|cgroup| row(&cgroup.path, "", "", Some(&cgroup.usage))).collect()
}

fn cpu(usage: Option<&UsageLook>) -> u64 {
    usage.map_or(0, |usage| usage.cpu_delta_ns)
}

fn usages(text: &mut String, rows: &[Row<'_>]) -> Written {
    line(text, ["NAME", "QOS", "CPU (m)", "CPU (ns)", "OVER (ms)", "WORKING SET (MiB)"])?;
    for Row { name, qos, usage, .. } in rows {
        let Some(usage) = usage else {
            line(text, [name, qos, "-", "-", "-", "-"])?;
            continue;
        };
        let millicores = format!("{:.3}", usage.cpu_millicores);
        let (delta, working_set) = (usage.cpu_delta_ns.to_string(), mebibytes(usage.working_set_bytes));
        let window = format!("{}.{:03}", usage.window_us / 1000, usage.window_us % 1000);
        line(text, [name, qos, &millicores, &delta, &window, &working_set])?;
    }
    Ok(())
}

fn line(text: &mut String, [name, qos, cpu, delta, window, working_set]: [&str; 6]) -> Written {
    writeln!(text, "{name:<NAME$} {qos:<10} {cpu:>9} {delta:>11} {window:>9} {working_set:>17}")
}

fn totals(text: &mut String, look: &Look) -> Written {
    if look.pods.is_empty() {
        return Ok(());
    }
    let measured: Vec<&UsageLook> = look.pods.iter().filter_map(|pod| pod.usage.as_ref()).collect();
    let containers: usize = look.pods.iter().map(|pod| pod.containers.len()).sum();
    let name = format!("{}, {}", counted(look.pods.len(), "pod"), counted(containers, "container"));
    let millicores: f64 = measured.iter().map(|usage| usage.cpu_millicores).sum();
    let delta: u64 = measured.iter().fold(0, |sum, usage| sum.saturating_add(usage.cpu_delta_ns));
    let working_set = measured.iter().fold(0_u64, |sum, usage| sum.saturating_add(usage.working_set_bytes));
    let cells = [format!("{millicores:.3}"), delta.to_string(), mebibytes(working_set)];
    let [millicores, delta, working_set] = &cells;
    line(text, [&name, "total", millicores, delta, "", working_set])
}

/// Columns of the second table: header, detail, and whether it is bytes.
const DETAILS: [(&str, &str, bool); 8] = [
    ("USAGE", "memory_usage_bytes", true),
    ("ANON", "anon_bytes", true),
    ("FILE", "file_bytes", true),
    ("INACTIVE", "inactive_file_bytes", true),
    ("SWAP", "swap_bytes", true),
    ("PEAK", "memory_peak_bytes", true),
    ("OOM KILLS", "oom_kills", false),
    ("THROTTLED", "cpu_throttled_periods", false),
];

fn details(text: &mut String, rows: &[Row<'_>]) -> Written {
    writeln!(text, "\nMemory in MiB, throttled periods; - is what the kernel does not tell.")?;
    let headers = DETAILS.map(|(header, ..)| header.to_owned());
    detail_line(text, "NAME", &headers)?;
    for row in rows {
        let Some(usage) = row.usage else { continue };
        let cells = DETAILS.map(|(_, name, is_bytes)| cell(&usage.details, name, is_bytes));
        detail_line(text, &row.short_name, &cells)?;
    }
    Ok(())
}

fn cell(details: &BTreeMap<&'static str, u64>, name: &str, is_bytes: bool) -> String {
    match details.get(name) {
        Some(&bytes) if is_bytes => mebibytes(bytes),
        Some(count) => count.to_string(),
        None => "-".to_owned(),
    }
}

fn detail_line(text: &mut String, name: &str, cells: &[String]) -> Written {
    write!(text, "{name:<SHORT_NAME$}")?;
    for cell in cells {
        write!(text, "{cell:>9} ")?;
    }
    text.truncate(text.trim_end().len());
    writeln!(text)
}

fn left_out(text: &mut String, look: &Look) -> Written {
    if !look.kubepods_found {
        let advice = if look.all_cgroups { "" } else { "; --scope all shows the other cgroups" };
        writeln!(text, "\nNo pods: there is no kubepods cgroup, or nothing is in it{advice}.")?;
    }
    if !look.skipped.is_empty() {
        writeln!(text, "\nNot measured:")?;
    }
    for skipped in look.skipped.iter().take(MOST_SKIPPED) {
        writeln!(text, "  {}\n    {}", skipped.path, skipped.detail)?;
    }
    let more = look.skipped.len().saturating_sub(MOST_SKIPPED);
    if more > 0 {
        writeln!(text, "  and {more} more; --format json lists them all")?;
    }
    for (count, what) in [
        (look.cgroups_without_processes, "not listed, having no processes of their own"),
        (
            usize::try_from(look.over_limit).unwrap_or(usize::MAX),
            "left out by the limits on depth and number",
        ),
        (
            usize::try_from(look.unreadable_directories).unwrap_or(usize::MAX),
            "not looked into, being unreadable",
        ),
    ] {
        if count > 0 {
            writeln!(text, "\n{} {what}", counted(count, "cgroup"))?;
        }
    }
    Ok(())
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// One decimal; integer arithmetic, rounded down.
fn mebibytes(bytes: u64) -> String {
    let tenths = u128::from(bytes) * 10 / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// At most `longest` characters: the end of a path says more than its beginning.
fn shortened(name: &str, longest: usize) -> Cow<'_, str> {
    let length = name.chars().count();
    if length <= longest {
        return Cow::Borrowed(name);
    }
    if !name.starts_with('/') {
        return Cow::Owned(name.chars().take(longest).collect());
    }
    let end = name.chars().skip(length.saturating_sub(longest.saturating_sub(1)));
    Cow::Owned(std::iter::once('…').chain(end).collect())
}
