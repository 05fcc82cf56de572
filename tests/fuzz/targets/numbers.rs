//! Quantities, times and durations as text: what is printed means the number that was put in, and what is read means
//! the same when it is printed. The first byte chooses between a text and numbers.
#![no_main]

use std::time::Duration;

use kubevitals::sample::WallTime;
use kubevitals_aggregator::api::{
    quantity,
    time::{parse_duration, write_duration, write_rfc3339},
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else {
        return;
    };
    match (form % 2, std::str::from_utf8(rest)) {
        (0, Ok(text)) => duration(text),
        (1, _) => numbers(&mut Choices::new(rest)),
        _ => {}
    }
});

fn duration(text: &str) {
    if let Ok(Some(length)) = parse_duration(text) {
        let printed = printed_duration(length);
        assert_eq!(parse_duration(&printed), Ok(Some(length)), "{text:?} is {printed:?}");
        assert!(
            text.starts_with('-')
                || parse_duration(&format!("-{}", text.trim_start_matches('+'))) == Ok(None)
        );
    }
}

fn printed_duration(length: Duration) -> String {
    let mut out = Vec::new();
    write_duration(&mut out, length);
    String::from_utf8(out).unwrap()
}

fn numbers(choices: &mut Choices<'_>) {
    let number = choices.number();
    let mut out = Vec::new();
    quantity::write_cpu(&mut out, number);
    assert_eq!(meaning(&out), u128::from(number));
    canonical(&out, 1000);
    out.clear();
    quantity::write_memory(&mut out, number);
    assert_eq!(meaning(&out), u128::from(number) * 1_000_000_000);
    canonical(&out, if number < 1024 { 1000 } else { 1024 });
    let at = number % 253_402_300_800;
    out.clear();
    write_rfc3339(&mut out, WallTime(at * 1_000_000 + number % 1_000_000));
    assert_eq!(seconds(&out), at, "{}", String::from_utf8_lossy(&out));
    out.clear();
    write_rfc3339(&mut out, WallTime(number));
    assert!(out.len() == 20 && out.ends_with(b"Z"));
    let length = Duration::from_nanos(number.min(i64::MAX as u64));
    let printed = printed_duration(length);
    assert_eq!(parse_duration(&printed), Ok(Some(length).filter(|length| !length.is_zero())));
}

const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
const BINARY: [&str; 6] = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// Digits and suffix.
fn parts(text: &[u8]) -> (u128, &str) {
    let text = std::str::from_utf8(text).unwrap();
    let (digits, suffix) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    assert!(digits == "0" || !digits.starts_with('0'), "{text}");
    (digits.parse().unwrap(), suffix)
}

/// A quantity in billionths.
fn meaning(text: &[u8]) -> u128 {
    let (digits, suffix) = parts(text);
    let decimal = DECIMAL.iter().position(|&known| known == suffix);
    let binary = BINARY.iter().position(|&known| known == suffix);
    let unit = match (decimal, binary) {
        (Some(power), _) => 1000_u128.pow(power as u32),
        (None, Some(power)) => 1_000_000_000 * 1024_u128.pow(power as u32 + 1),
        (None, None) => panic!("{}", String::from_utf8_lossy(text)),
    };
    digits * unit
}

/// The largest suffix, of those `step` apart, with which the digits are whole.
fn canonical(text: &[u8], step: u128) {
    let (digits, suffix) = parts(text);
    let largest = matches!(suffix, "E" | "Ei");
    assert!(digits == 0 || largest || digits % step != 0, "{}", String::from_utf8_lossy(text));
    assert!(digits != 0 || suffix.is_empty(), "zero has no suffix");
    assert!(suffix.is_empty() || BINARY.contains(&suffix) == (step == 1024));
}

/// Seconds since 1970 of a time as printed, by counting days from year to year.
fn seconds(text: &[u8]) -> u64 {
    let text = std::str::from_utf8(text).unwrap();
    let numbers: Vec<u64> = text.split(['-', 'T', ':', 'Z']).filter_map(|part| part.parse().ok()).collect();
    let [year, month, day, hour, minute, second] = numbers[..] else { panic!("no time: {text}") };
    let leap = |year: u64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let lengths = [31, 28 + u64::from(leap(year)), 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let years: u64 = (1970..year).map(|year| 365 + u64::from(leap(year))).sum();
    let months: u64 = lengths[..month as usize - 1].iter().sum();
    assert!(
        day >= 1 && day <= lengths[month as usize - 1] && hour < 24 && minute < 60 && second < 60,
        "{text}"
    );
    (years + months + day - 1) * 86_400 + hour * 3600 + minute * 60 + second
}
