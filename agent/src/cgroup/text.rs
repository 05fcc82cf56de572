//! The text formats of kernel files: bytes in, numbers out.
//!
//! Nothing here allocates or checks UTF-8. A key that is not there is `None`; a text that the kernel cannot have
//! written is an error. What a key means and which unit it has is said in `v1.rs`, `v2.rs` and `node.rs`.

use std::fmt;

/// A kernel file's text that is not what the kernel writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {fault}")]
pub struct TextError {
    /// The key; `value` in a file without keys, `text` for the text as a whole.
    pub what: &'static str,
    /// What is wrong.
    pub fault: Fault,
}

/// What can be wrong with a kernel file's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// There is no text at all.
    Empty,
    /// The text does not end with a line end, which the kernel always writes.
    Truncated,
    /// A key that every kernel writes is not there.
    Missing,
    /// Something else where a number belongs.
    NotANumber,
    /// A number below zero; old kernels let some counters slip there.
    Negative,
    /// A number beyond what the counter can hold.
    TooLarge,
    /// An amount of memory that is not a whole number of pages.
    NotPages,
}

impl Fault {
    fn of(self, what: &'static str) -> TextError {
        TextError { what, fault: self }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "it is empty",
            Self::Truncated => "it ends in the middle of a line",
            Self::Missing => "it is missing",
            Self::NotANumber => "not a number",
            Self::Negative => "below zero",
            Self::TooLarge => "too large",
            Self::NotPages => "not a whole number of pages",
        })
    }
}

/// The value behind `found`, for a key that every kernel writes.
pub fn required(what: &'static str, found: Option<u64>) -> Result<u64, TextError> {
    found.ok_or(Fault::Missing.of(what))
}

/// A file with a single number, such as `memory.current`. `max`, the kernel's word for no limit, is `None`.
pub fn value(text: &[u8]) -> Result<Option<u64>, TextError> {
    match whole_lines(text)? {
        b"max" => Ok(None),
        digits => number("value", digits).map(Some),
    }
}

/// The values of `keys` in a flat keyed file (`memory.stat`, `cpu.stat`, `memory.events`): one `key value` per
/// line. Reading stops behind the last key that was asked for; of a key given twice the first counts.
pub fn keyed<const N: usize>(text: &[u8], keys: &[&'static str; N]) -> Result<[Option<u64>; N], TextError> {
    find(text, keys, |line, key| Some(number(key, after(line, key, b' ')?)))
}

/// Where a key's line began in the text read last.
///
/// A kernel writes the lines of a file in the same order every time, and the numbers before a line seldom change their
/// length. So the one key of `memory.stat` that every tick needs is looked for where it was: a comparison instead of a
/// walk over 20 to 40 lines, which was a fourth of our own instructions of a sweep. What stands there is checked, and
/// all lines are searched when it is something else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remembered(usize);

impl Remembered {
    /// The value of `key`, which every kernel writes, in a flat keyed file; always asked for the same key.
    pub fn required(&mut self, text: &[u8], key: &'static str) -> Result<u64, TextError> {
        let text = whole_lines(text)?;
        if let Some(digits) = self.value(text, key) {
            return number(key, digits);
        }
        let mut begin = 0;
        for line in lines(text) {
            if let Some(digits) = after(line, key, b' ') {
                self.0 = begin;
                return number(key, digits);
            }
            begin += line.len() + 1;
        }
        Err(Fault::Missing.of(key))
    }

    /// What follows the key, if its line begins where it did.
    fn value<'t>(self, text: &'t [u8], key: &str) -> Option<&'t [u8]> {
        let (before, rest) = text.split_at_checked(self.0)?;
        if before.last().is_some_and(|&byte| byte != b'\n') {
            return None;
        }
        lines(after(rest, key, b' ')?).next()
    }
}

/// The values of `keys` of `/proc/meminfo` in bytes: `key:   value kB` per line.
pub fn meminfo<const N: usize>(text: &[u8], keys: &[&'static str; N]) -> Result<[Option<u64>; N], TextError> {
    find(text, keys, |line, key| {
        let Some(digits) = after(line, key, b':')?.trim_ascii().strip_suffix(b" kB") else {
            return Some(Err(Fault::NotANumber.of(key)));
        };
        Some(number(key, digits).and_then(|kib| kib.checked_mul(1024).ok_or(Fault::TooLarge.of(key))))
    })
}

/// Total stall times of a pressure file, microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some task waited.
    pub some: Option<u64>,
    /// All tasks waited at once; absent for CPU before Linux 5.13.
    pub full: Option<u64>,
}

/// A pressure file: `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, then the same for `full`.
pub fn pressure(text: &[u8]) -> Result<Pressure, TextError> {
    let [some, full] = find(text, &["some", "full"], |line, kind| {
        let averages = after(line, kind, b' ')?;
        let total = averages.split(|&byte| byte == b' ').find_map(|pair| pair.strip_prefix(b"total="));
        Some(total.ok_or(Fault::Missing.of(kind)).and_then(|digits| number(kind, digits)))
    })?;
    Ok(Pressure { some, full })
}

/// What `/proc/stat` says about all CPUs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcStat {
    /// Time spent in user, nice, system, irq and softirq, clock ticks. Steal and idle are not use; guest time is
    /// part of user and nice already.
    pub busy_ticks: u64,
    /// CPUs that are online.
    pub cpus: u32,
}

/// `/proc/stat`: one `cpu` line with the totals, then one `cpuN` line for each CPU that is online.
pub fn proc_stat(text: &[u8]) -> Result<ProcStat, TextError> {
    let text = whole_lines(text)?;
    let mut lines = text.split(|&byte| byte == b'\n');
    let totals = lines.next().and_then(|line| line.strip_prefix(b"cpu ")).ok_or(Fault::Missing.of("cpu"))?;
    // The columns are user, nice, system, idle, iowait, irq, softirq, steal, guest, guest_nice.
    let mut columns = totals.split(|&byte| byte == b' ').filter(|column| !column.is_empty());
    let mut busy_ticks = 0_u64;
    for busy in [true, true, true, false, false, true, true] {
        let ticks = number("cpu", columns.next().ok_or(Fault::Missing.of("cpu"))?)?;
        if busy {
            busy_ticks = busy_ticks.checked_add(ticks).ok_or(Fault::TooLarge.of("cpu"))?;
        }
    }
    let cpus = lines.take_while(|line| line.starts_with(b"cpu")).count();
    let cpus = u32::try_from(cpus).map_err(|_| Fault::TooLarge.of("cpu"))?;
    Ok(ProcStat { busy_ticks, cpus })
}

/// What follows `key` and its separator, if the line begins with both. The separator is looked at first: nearly every
/// line has another byte there, and of the thousands of comparisons of a tick only those few are made that matter.
fn after<'l>(line: &'l [u8], key: &str, separator: u8) -> Option<&'l [u8]> {
    let (start, rest) = line.split_at_checked(key.len())?;
    let (&next, value) = rest.split_first()?;
    (next == separator && start == key.as_bytes()).then_some(value)
}

/// Asks `parse` about each line and each key not yet found, until none is left. `parse` says `None` when the line is
/// not that key's.
fn find<const N: usize>(
    text: &[u8],
    keys: &[&'static str; N],
    parse: impl Fn(&[u8], &'static str) -> Option<Result<u64, TextError>>,
) -> Result<[Option<u64>; N], TextError> {
    let mut found = [None; N];
    let mut wanted = N;
    for line in lines(whole_lines(text)?) {
        for (slot, &key) in found.iter_mut().zip(keys) {
            if slot.is_none()
                && let Some(value) = parse(line, key)
            {
                *slot = Some(value?);
                wanted -= 1;
                break;
            }
        }
        if wanted == 0 {
            break;
        }
    }
    Ok(found)
}

/// Line by line. Byte by byte: lines are so short that a search with vector instructions takes longer (0.50 us for the
/// 40 lines of a `memory.stat` instead of 0.41, and under emulation 4.8 instead of 1.3).
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n')
}

/// `text` without its last line end.
fn whole_lines(text: &[u8]) -> Result<&[u8], TextError> {
    if text.is_empty() {
        return Err(Fault::Empty.of("text"));
    }
    text.strip_suffix(b"\n").ok_or(Fault::Truncated.of("text"))
}

/// A whole decimal number and nothing else.
fn number(what: &'static str, digits: &[u8]) -> Result<u64, TextError> {
    if let Some(rest) = digits.strip_prefix(b"-") {
        let negative = !rest.is_empty() && rest.iter().all(u8::is_ascii_digit);
        return Err(if negative { Fault::Negative } else { Fault::NotANumber }.of(what));
    }
    if digits.is_empty() {
        return Err(Fault::NotANumber.of(what));
    }
    let mut total = 0_u64;
    for &byte in digits {
        if !byte.is_ascii_digit() {
            return Err(Fault::NotANumber.of(what));
        }
        total = total
            .checked_mul(10)
            .and_then(|tens| tens.checked_add(u64::from(byte - b'0')))
            .ok_or(Fault::TooLarge.of(what))?;
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_flat_keyed_file_gives_the_values_of_the_keys_asked_for() {
        let text = b"anon 4096\ntotal_inactive_file 7\ninactive_file 8192\nworkingset_x 1\n";

        let found = keyed(text, &["inactive_file", "anon", "slab"]);

        assert_eq!(found, Ok([Some(8192), Some(4096), None]));
    }

    #[test]
    fn a_key_matches_only_as_a_whole_word_at_the_start_of_a_line() {
        let text = b"total_inactive_file 1\ninactive_file_x 2\n inactive_file 3\n";
        assert_eq!(keyed(text, &["inactive_file"]), Ok([None]));
    }

    #[test]
    fn a_remembered_place_is_checked_before_it_is_believed() {
        let mut place = Remembered::default();
        let mut ask = |text: &[u8]| place.required(text, "inactive_file").map_err(|error| error.fault);
        assert_eq!(ask(b"anon 1\ninactive_file 2\n"), Ok(2));
        assert_eq!(ask(b"anon 7\ninactive_file 3\n"), Ok(3), "where it was");
        assert_eq!(ask(b"anon 10\ninactive_file 4\n"), Ok(4), "one digit later");
        assert_eq!(ask(b"anon 5\ninactive_file 6\n"), Ok(6), "and back");
        assert_eq!(ask(b"a 4567\ninactive_file_x 1\ninactive_file 8\n"), Ok(8), "another key there");
        assert_eq!(ask(b"b\ntotal_inactive_file 1\ninactive_file 9\n"), Ok(9));
        assert_eq!(ask(b"xxxx\n_totals_inactive_file 1\n"), Err(Fault::Missing), "within a line");
        assert_eq!(ask(b"anon 1\n"), Err(Fault::Missing), "a shorter text");
        assert_eq!(ask(b"inactive_file 2"), Err(Fault::Truncated));
    }

    #[test]
    fn nothing_is_read_behind_the_last_key_asked_for() {
        let text = b"usage_usec 5\nusage_usec 6\nnr_periods garbage\n";
        assert_eq!(keyed(text, &["usage_usec"]), Ok([Some(5)]));
        let error = keyed(text, &["usage_usec", "nr_periods"]).unwrap_err();
        assert_eq!(error.to_string(), "nr_periods: not a number");
    }

    #[test]
    fn a_single_value_is_a_number_or_no_limit() {
        assert_eq!(value(b"18446744073709551615\n"), Ok(Some(u64::MAX)));
        assert_eq!(value(b"max\n"), Ok(None));
    }

    #[test]
    fn text_that_no_kernel_writes_is_an_error_that_says_what_is_wrong() {
        let cases: [(&[u8], Fault); 9] = [
            (b"", Fault::Empty),
            (b"12", Fault::Truncated),
            (b"\n", Fault::NotANumber),
            (b"12 \n", Fault::NotANumber),
            (b"+12\n", Fault::NotANumber),
            (b"1\n2\n", Fault::NotANumber),
            (b"-\n", Fault::NotANumber),
            (b"-12\n", Fault::Negative),
            (b"18446744073709551616\n", Fault::TooLarge),
        ];
        for (text, fault) in cases {
            assert_eq!(value(text).map_err(|error| error.fault), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn pressure_gives_both_totals_and_leaves_out_a_missing_line() {
        let some = "some avg10=0.00 avg60=0.15 avg300=0.00 total=66526151\n";
        let full = "full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        let both = format!("{some}{full}");
        assert_eq!(pressure(both.as_bytes()), Ok(Pressure { some: Some(66_526_151), full: Some(7) }));
        assert_eq!(pressure(some.as_bytes()), Ok(Pressure { some: Some(66_526_151), full: None }));
        assert_eq!(pressure(b"some avg10=0.00\n").unwrap_err().to_string(), "some: it is missing");
    }

    #[test]
    fn meminfo_is_given_in_bytes() {
        let text =
            b"MemTotal:       16384 kB\nMemFree:  4 kB\nHugePages_Total:       0\nInactive(file):   8 kB\n";
        assert_eq!(
            meminfo(text, &["MemTotal", "Inactive(file)", "SwapTotal"]),
            Ok([Some(16_777_216), Some(8192), None])
        );
        assert!(meminfo(text, &["HugePages_Total"]).is_err());
        assert!(meminfo(b"MemFree: 18014398509481984 kB\n", &["MemFree"]).is_err());
    }

    #[test]
    fn proc_stat_sums_what_is_use_and_counts_the_cpus_online() {
        let text = b"cpu  100 20 3 9999 777 4 5 88 60 1\ncpu0 1 2 3\ncpu2 1 2 3\nintr 5 6\n";
        assert_eq!(proc_stat(text), Ok(ProcStat { busy_ticks: 132, cpus: 2 }));
        assert!(proc_stat(b"cpu  1 2 3\n").is_err());
        assert!(proc_stat(b"intr 1\n").is_err());
    }

    /// The plainest reading of a flat keyed file.
    fn reference(text: &str, key: &str) -> Option<u64> {
        text.lines().find_map(|line| line.split_once(' ').filter(|(k, _)| *k == key)?.1.parse().ok())
    }

    proptest! {
        #[test]
        fn a_keyed_file_is_read_like_the_reference_reads_it(
            lines in prop::collection::vec(("(total_)?(inactive_file|anon|file|swap|[a-z_]{1,9})", any::<u64>()), 1..40),
        ) {
            let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
            let text = lines.concat();
            let keys = ["anon", "inactive_file", "total_inactive_file", "swap"];
            let found = keyed(text.as_bytes(), &keys).unwrap();
            prop_assert_eq!(found, keys.map(|key| reference(&text, key)));
        }

        #[test]
        fn a_remembered_place_never_changes_what_is_found(
            texts in prop::collection::vec(prop::collection::vec(("(total_)?(inactive_file|file|[a-z_]{1,9})", any::<u64>()), 1..12), 1..6),
        ) {
            let mut place = Remembered::default();
            for lines in texts {
                // The kernel writes no key twice.
                let lines: std::collections::BTreeMap<String, u64> = lines.into_iter().collect();
                let lines: Vec<String> = lines.iter().map(|(key, value)| format!("{key} {value}\n")).collect();
                let text = lines.concat();
                let found = place.required(text.as_bytes(), "inactive_file");
                prop_assert_eq!(found.ok(), reference(&text, "inactive_file"));
            }
        }

        #[test]
        fn a_text_cut_anywhere_never_gives_a_wrong_number(numbers in any::<[u64; 3]>(), cut in any::<prop::sample::Index>()) {
            let [a, b, c] = numbers;
            let text = format!("anon {a}\nfile {b}\ninactive_file {c}\n");
            let part = text.get(..cut.index(text.len())).unwrap();
            if let Ok(found) = keyed(part.as_bytes(), &["anon", "file", "inactive_file"]) {
                for (found, whole) in found.into_iter().zip(numbers) {
                    prop_assert!(found.is_none_or(|value| value == whole));
                }
            }
        }

        #[test]
        fn no_bytes_make_a_reader_panic(text in prop::collection::vec(any::<u8>(), 0..200), plain in "[a-z0-9 =.\n:-]{0,200}") {
            for text in [text.as_slice(), plain.as_bytes()] {
                value(text).ok();
                Remembered(3).required(text, "a").ok();
                keyed(text, &["a", ""]).ok();
                pressure(text).ok();
                meminfo(text, &["a", ""]).ok();
                proc_stat(text).ok();
            }
        }
    }
}
