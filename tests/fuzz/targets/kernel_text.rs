//! The kernel's text formats, each beside a second, naive reader. The first byte chooses the format.
#![no_main]

use std::fmt::Debug;

use kubevitals::sample::{ContainerId, PodUid, Qos};
use kubevitals_agent::cgroup::{
    Class, classify,
    text::{self, Fault, Pressure, ProcStat, TextError},
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

const MEMORY_V1: [&str; 4] = ["total_inactive_file", "total_rss", "total_cache", "total_swap"];
const MEMORY_V2: [&str; 3] = ["inactive_file", "anon", "file"];
const CPU_V1: [&str; 3] = ["nr_periods", "nr_throttled", "throttled_time"];
const CPU_V2: [&str; 4] = ["usage_usec", "nr_periods", "nr_throttled", "throttled_usec"];
/// Each begins with the one before.
const NESTED: [&str; 3] = ["oom", "oom_kill", "oom_kill_disable"];
const MEMINFO: [&str; 5] = ["MemTotal", "MemFree", "Inactive(file)", "SwapTotal", "SwapFree"];

fuzz_target!(|data: &[u8]| {
    let Some((&format, text)) = data.split_first() else {
        return;
    };
    match format % 12 {
        0 => check(text, text::value, naive_value, |part, whole| part == whole, |v| v.into_iter().collect()),
        1 => keyed(text, &MEMORY_V1),
        2 => keyed(text, &MEMORY_V2),
        3 => keyed(text, &CPU_V1),
        4 => keyed(text, &CPU_V2),
        5 => keyed(text, &NESTED),
        6 => check(
            text,
            text::pressure,
            naive_pressure,
            |part, whole| absent_or_same(&[part.some, part.full], &[whole.some, whole.full]),
            |found| [found.some, found.full].into_iter().flatten().collect(),
        ),
        7 => check(
            text,
            |text| text::meminfo(text, &MEMINFO),
            |text| naive_meminfo(text, &MEMINFO),
            |part, whole| absent_or_same(part, whole),
            |found| found.into_iter().flatten().map(|bytes| bytes / 1024).collect(),
        ),
        // The list of CPUs has no end mark, so a text cut between two lines has fewer; the totals stay.
        8 => check(
            text,
            text::proc_stat,
            naive_proc_stat,
            |part, whole| part.busy_ticks == whole.busy_ticks && part.cpus <= whole.cpus,
            |_| Vec::new(),
        ),
        9 => well_formed(&mut Choices::new(text)),
        10 => any_path(text),
        _ => built_path(&mut Choices::new(text)),
    }
});

fn keyed<const N: usize>(text: &[u8], keys: &[&'static str; N]) {
    check(
        text,
        |text| text::keyed(text, keys),
        |text| naive_keyed(text, keys),
        |part, whole| absent_or_same(part, whole),
        |found| found.into_iter().flatten().collect(),
    );
    let found = text::keyed(text, keys);
    let before = [b"zzz garbage\n".as_slice(), text].concat();
    if !text.is_empty() {
        assert_eq!(text::keyed(&before, keys), found, "a line with another key changes nothing");
    }
}

/// `parse` agrees with `naive`, finds only numbers that stand in the text, and of a text that was cut finds
/// nothing that `follows` from the whole one does not allow.
fn check<T: PartialEq + Debug + Copy>(
    text: &[u8],
    parse: impl Fn(&[u8]) -> Result<T, TextError>,
    naive: impl Fn(&[u8]) -> Option<T>,
    follows: impl Fn(&T, &T) -> bool,
    numbers: impl Fn(T) -> Vec<u64>,
) {
    let whole = parse(text);
    assert_eq!(whole.ok(), naive(text), "{:?}", text.escape_ascii().to_string());
    if let Ok(found) = whole {
        for number in numbers(found) {
            let digits = number.to_string();
            let stands = text.windows(digits.len()).any(|part| part == digits.as_bytes());
            assert!(stands, "{number} does not stand in the text");
        }
    }
    for cut in cuts(text) {
        let part = &text[..cut];
        match (parse(part), part.last()) {
            (Ok(part), Some(b'\n')) => {
                if let Ok(whole) = &whole {
                    assert!(follows(&part, whole), "cut at {cut}: {part:?} of {whole:?}");
                }
            }
            (Ok(part), _) => panic!("cut inside a line at {cut}, yet {part:?}"),
            (Err(error), None) => assert_eq!(error.fault, Fault::Empty),
            (Err(error), Some(b'\n')) => assert!(!matches!(error.fault, Fault::Truncated | Fault::Empty)),
            (Err(error), Some(_)) => assert_eq!(error.fault, Fault::Truncated),
        }
    }
}

/// All places to cut a short text; of a long one the line ends and some others.
fn cuts(text: &[u8]) -> Vec<usize> {
    if text.len() <= 64 {
        return (0..text.len()).collect();
    }
    let ends = text.iter().enumerate().filter(|&(_, &byte)| byte == b'\n').map(|(at, _)| at + 1);
    let spread = (0..16).map(|nth| nth * text.len() / 16);
    ends.filter(|&end| end < text.len()).take(16).chain(spread).collect()
}

fn absent_or_same(part: &[Option<u64>], whole: &[Option<u64>]) -> bool {
    part.iter().zip(whole).all(|(part, whole)| part.is_none() || part == whole)
}

fn number(digits: &str) -> Option<u64> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

fn lines(text: &[u8]) -> Option<Vec<String>> {
    let text = String::from_utf8_lossy(text);
    Some(text.strip_suffix('\n')?.split('\n').map(str::to_owned).collect())
}

fn naive_value(text: &[u8]) -> Option<Option<u64>> {
    match lines(text)?.as_slice() {
        [word] if word == "max" => Some(None),
        [digits] => number(digits).map(Some),
        _ => None,
    }
}

/// Looks through the whole text once for each key. A key whose first line is faulty spoils everything.
fn for_each_key<const N: usize>(
    text: &[u8],
    keys: &[&str; N],
    separator: char,
    read: impl Fn(&str) -> Option<u64>,
) -> Option<[Option<u64>; N]> {
    let lines = lines(text)?;
    let mut found = [None; N];
    for (slot, key) in found.iter_mut().zip(keys) {
        let first = lines.iter().filter_map(|line| line.split_once(separator)).find(|(word, _)| word == key);
        if let Some((_, rest)) = first {
            *slot = Some(read(rest)?);
        }
    }
    Some(found)
}

fn naive_keyed<const N: usize>(text: &[u8], keys: &[&str; N]) -> Option<[Option<u64>; N]> {
    for_each_key(text, keys, ' ', number)
}

fn naive_meminfo<const N: usize>(text: &[u8], keys: &[&str; N]) -> Option<[Option<u64>; N]> {
    for_each_key(text, keys, ':', |rest| {
        let trimmed = rest.trim_matches(|c: char| c.is_ascii_whitespace());
        number(trimmed.strip_suffix(" kB")?)?.checked_mul(1024)
    })
}

fn naive_pressure(text: &[u8]) -> Option<Pressure> {
    let total = |rest: &str| number(rest.split(' ').find_map(|pair| pair.strip_prefix("total="))?);
    let [some, full] = for_each_key(text, &["some", "full"], ' ', total)?;
    Some(Pressure { some, full })
}

fn naive_proc_stat(text: &[u8]) -> Option<ProcStat> {
    let lines = lines(text)?;
    let (first, rest) = lines.split_first()?;
    let columns: Vec<&str> = first.strip_prefix("cpu ")?.split(' ').filter(|word| !word.is_empty()).collect();
    let columns: Option<Vec<u64>> = columns.get(..7)?.iter().map(|word| number(word)).collect();
    let columns = columns?;
    let busy: u128 = [0, 1, 2, 5, 6].into_iter().map(|at: usize| u128::from(columns[at])).sum();
    Some(ProcStat {
        busy_ticks: u64::try_from(busy).ok()?,
        cpus: u32::try_from(rest.iter().take_while(|line| line.starts_with("cpu")).count()).ok()?,
    })
}

/// Texts as the kernel writes them give back the numbers that were put in.
fn well_formed(choices: &mut Choices<'_>) {
    let n: [u64; 10] = std::array::from_fn(|_| choices.number());
    let [a, b, c, d, ..] = n;
    assert_eq!(text::value(format!("{a}\n").as_bytes()), Ok(Some(a)));
    let stat = format!("anon {a}\nfile {b}\nkernel 0\ninactive_anon {d}\ninactive_file {c}\nactive_file 7\n");
    assert_eq!(text::keyed(stat.as_bytes(), &MEMORY_V2), Ok([Some(c), Some(a), Some(b)]));
    let pressure = format!(
        "some avg10=1.{:02} avg60=0.00 avg300=0.00 total={a}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total={b}\n",
        c % 100
    );
    assert_eq!(text::pressure(pressure.as_bytes()), Ok(Pressure { some: Some(a), full: Some(b) }));
    let [total, free] = [a >> 10, b >> 10];
    let meminfo = format!("MemTotal: {total:>14} kB\nMemFree: {free:>15} kB\nHugePages_Total:       0\n");
    assert_eq!(
        text::meminfo(meminfo.as_bytes(), &["MemFree", "MemTotal", "SwapFree"]),
        Ok([Some(free * 1024), Some(total * 1024), None])
    );
    let cpus = choices.below(9);
    let columns: Vec<String> = n.iter().map(|ticks| (ticks >> 4).to_string()).collect();
    let mut stat = format!("cpu  {}\n", columns.join(" "));
    for cpu in 0..cpus {
        stat.push_str(&format!("cpu{cpu} {}\n", columns.join(" ")));
    }
    stat.push_str("intr 1 2 3\nctxt 4\n");
    let busy = [0, 1, 2, 5, 6].into_iter().map(|at: usize| n[at] >> 4).sum();
    let expected = ProcStat { busy_ticks: busy, cpus: cpus as u32 };
    assert_eq!(text::proc_stat(stat.as_bytes()), Ok(expected));
}

/// What a path's class says stands in the path, fits the class of the path above, and does not depend on slashes.
fn any_path(path: &[u8]) {
    let Ok(path) = std::str::from_utf8(path) else {
        return;
    };
    let class = classify(path);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    assert_eq!(classify(&parts.join("/")), class);
    assert_eq!(classify(&format!("//{}//", parts.join("//"))), class);
    let above = parts.split_last().map(|(_, above)| classify(&above.join("/")));
    let below = classify(&format!("{path}/x"));
    match &class {
        Class::Root => assert!(matches!(above, Some(Class::Search))),
        Class::Qos(_) => assert_eq!(above, Some(Class::Root)),
        Class::Pod { uid, qos } => {
            let expected = match qos {
                Some(Qos::Guaranteed) => Class::Root,
                Some(qos) => Class::Qos(*qos),
                None => panic!("a pod's place tells its class"),
            };
            assert_eq!(above, Some(expected));
            assert!(parts.last().unwrap().replace('_', "-").contains(uid.as_str()));
        }
        Class::Container { pod, id, qos } => {
            let leaf = parts.last().unwrap();
            assert!(leaf.contains(id.as_str()) && id.as_str().len() == 64);
            assert_eq!(below, Class::Inside);
            let parent = Class::Pod { uid: pod.clone(), qos: *qos };
            // A runtime with another driver than the kubelet's has no directory for the pod.
            assert!(above == Some(parent) || (leaf.contains(".slice:") && above == Some(Class::Search)));
        }
        Class::Inside => assert_eq!(below, Class::Inside),
        Class::Search => {
            assert!(!matches!(below, Class::Pod { .. } | Class::Container { .. } | Class::Qos(_)))
        }
        Class::Other => assert_eq!(below, Class::Other),
    }
}

/// A path that a kubelet and a runtime make names the pod and the container it was made for.
fn built_path(choices: &mut Choices<'_>) {
    let hex = |choices: &mut Choices<'_>, digits: usize| -> String {
        (0..digits).map(|_| char::from_digit(u32::from(choices.byte() & 15), 16).unwrap()).collect()
    };
    let uid = if choices.flag() {
        hex(choices, 32)
    } else {
        [8, 4, 4, 4, 12].map(|digits| hex(choices, digits)).join("-")
    };
    let id = hex(choices, 64);
    let (level, qos) =
        [("", Qos::Guaranteed), ("burstable", Qos::Burstable), ("besteffort", Qos::BestEffort)]
            [choices.below(3)];
    let above = ["", "/kubelet", "/system.slice/docker-x.scope", "/kind/a b"][choices.below(4)];
    let runtime = ["crio", "cri-containerd", "docker", "kata", "libpod"][choices.below(5)];
    let class = |container: bool| {
        let (uid, qos) = (PodUid::new(&uid).unwrap(), Some(qos));
        if container {
            Class::Container { pod: uid, id: ContainerId::new(&id).unwrap(), qos }
        } else {
            Class::Pod { uid, qos }
        }
    };
    let cgroupfs = format!("{above}/kubepods{}{level}/pod{uid}", if level.is_empty() { "" } else { "/" });
    assert_eq!(classify(&cgroupfs), class(false));
    assert_eq!(classify(&format!("{cgroupfs}/{id}")), class(true));
    assert_eq!(classify(&format!("{cgroupfs}/{runtime}-{id}")), class(true));

    let root = ["kubepods", "kubelet-kubepods"][choices.below(2)];
    let dash = if level.is_empty() { "" } else { "-" };
    let level_slice = if level.is_empty() { String::new() } else { format!("/{root}-{level}.slice") };
    let slice = format!("{root}{dash}{level}-pod{}.slice", uid.replace('-', "_"));
    let systemd = format!("{above}/{root}.slice{level_slice}/{slice}");
    assert_eq!(classify(&systemd), class(false));
    assert_eq!(classify(&format!("{systemd}/{runtime}-{id}.scope")), class(true));
    if runtime != "crio" {
        assert_eq!(classify(&format!("{systemd}/{runtime}-{id}")), class(true));
    } else {
        assert_eq!(classify(&format!("{systemd}/crio-{id}")), Class::Inside, "CRI-O's leftover");
    }
    for inside in ["crio-conmon-", "libpod-conmon-"] {
        assert_eq!(classify(&format!("{systemd}/{inside}{id}.scope")), Class::Inside);
    }
    assert_eq!(classify(&format!("{systemd}/{runtime}-{id}.scope/{cgroupfs}/{id}")), Class::Inside);

    let mixed = format!("{above}/{slice}:{runtime}:{id}");
    if root == "kubepods" {
        assert_eq!(classify(&mixed), class(true));
    }
}
