//! Times and durations as the API spells them: RFC 3339 in whole seconds, and Go's duration text.

use std::time::Duration;

use kubevitals::sample::WallTime;
use time::OffsetDateTime;

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The last second that four digits of year can say: the end of 9999.
const LAST_SECOND: i64 = 253_402_300_799;

/// Whole seconds since 1970, the fraction cut off, as every representation has it. At most the end of 9999.
#[must_use]
pub fn unix_seconds(at: WallTime) -> i64 {
    i64::try_from(at.0 / 1_000_000).unwrap_or(LAST_SECOND).min(LAST_SECOND)
}

/// Appends `2026-11-22T09:47:25Z`: UTC, whole seconds.
pub fn write_rfc3339(out: &mut Vec<u8>, at: WallTime) {
    let moment = OffsetDateTime::from_unix_timestamp(unix_seconds(at)).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let year = moment.year().unsigned_abs();
    let (hour, minute, second) = moment.to_hms();
    let century = u8::try_from(year / 100 % 100).unwrap_or(0);
    let of_century = u8::try_from(year % 100).unwrap_or(0);
    let (month, day) = (u8::from(moment.month()), moment.day());
    let mut text = *b"0000-00-00T00:00:00Z";
    let places =
        [(0, century), (2, of_century), (5, month), (8, day), (11, hour), (14, minute), (17, second)];
    for (at, number) in places {
        if let Some(place) = text.get_mut(at..at + 2) {
            place.copy_from_slice(&digits(number));
        }
    }
    out.extend_from_slice(&text);
}

/// Two digits of a number below 100.
fn digits(number: u8) -> [u8; 2] {
    [b'0' + number / 10 % 10, b'0' + number % 10]
}

/// Appends a duration as Go prints it: `0s`, `1ns`, `1.5ms`, `15s`, `10.006s`, `1m0s`, `2562047h47m16.854775807s`.
///
/// The longest that Go can hold is about 292 years; anything above is printed as that.
pub fn write_duration(out: &mut Vec<u8>, length: Duration) {
    let nanos = go_nanos(length);
    let seconds = nanos / NANOS_PER_SECOND;
    if seconds == 0 {
        match nanos {
            0 => out.extend_from_slice(b"0s"),
            1..1_000 => write_fraction(out, nanos, 1, "ns"),
            1_000..1_000_000 => write_fraction(out, nanos, 1_000, "µs"),
            _ => write_fraction(out, nanos, 1_000_000, "ms"),
        }
        return;
    }
    let mut digits = itoa::Buffer::new();
    if seconds >= 3600 {
        out.extend_from_slice(digits.format(seconds / 3600).as_bytes());
        out.push(b'h');
    }
    if seconds >= 60 {
        out.extend_from_slice(digits.format(seconds / 60 % 60).as_bytes());
        out.push(b'm');
    }
    write_fraction(out, nanos % (60 * NANOS_PER_SECOND), NANOS_PER_SECOND, "s");
}

/// Nanoseconds within Go's range, as protobuf has them.
#[must_use]
pub fn go_nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).map_or(i64::MAX as u64, |nanos| nanos.min(i64::MAX as u64))
}

/// `value / unit` with as many decimals as it needs; `unit` is a power of ten.
fn write_fraction(out: &mut Vec<u8>, value: u64, unit: u64, suffix: &str) {
    out.extend_from_slice(itoa::Buffer::new().format(value / unit).as_bytes());
    let mut rest = value % unit;
    if rest > 0 {
        out.push(b'.');
        let mut place = unit;
        while rest > 0 {
            place /= 10;
            // A single digit, because `rest` is below ten places.
            out.push(b'0'.saturating_add(u8::try_from(rest / place).unwrap_or(9)));
            rest %= place;
        }
    }
    out.extend_from_slice(suffix.as_bytes());
}

/// Why a text is not a Go duration; the text of the error is Go's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// No number, or too large.
    #[error("time: invalid duration {0:?}")]
    Invalid(String),
    /// A number without its unit.
    #[error("time: missing unit in duration {0:?}")]
    MissingUnit(String),
    /// A unit that does not exist.
    #[error("time: unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit {
        /// The unit.
        unit: String,
        /// The whole text.
        text: String,
    },
}

/// Reads a Go duration such as `32s`, `1h`, `1.5h30m`, `0`, `-1s`. `None` stands for zero or below, which every
/// caller treats alike.
pub fn parse_duration(text: &str) -> Result<Option<Duration>, DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(None);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = parse_term(text, rest)?;
        total = total.saturating_add(nanos);
        if total > i64::MAX as u128 {
            return Err(invalid());
        }
        rest = after;
    }
    let nanos = u64::try_from(total).map_err(|_| invalid())?;
    Ok((!negative && nanos > 0).then(|| Duration::from_nanos(nanos)))
}

/// One number with its unit, in nanoseconds, and what follows.
fn parse_term<'a>(text: &str, term: &'a str) -> Result<(u128, &'a str), DurationError> {
    let invalid = || DurationError::Invalid(text.to_owned());
    let number_ends = term.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(term.len());
    let (number, rest) = term.split_at(number_ends);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return Err(invalid());
    }
    let unit_ends = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(unit_ends);
    let scale: u128 = match unit {
        "" => return Err(DurationError::MissingUnit(text.to_owned())),
        "ns" => 1,
        // Both spellings of the micro sign.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => {
            return Err(DurationError::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        }
    };
    let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
    let mut nanos = u128::from(whole) * scale;
    // Digits below a nanosecond add nothing, so a long fraction stays cheap.
    let mut place = scale;
    for digit in fraction.bytes().take(20) {
        place /= 10;
        nanos += u128::from(digit - b'0') * place;
    }
    Ok((nanos, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn rfc3339(micros: u64) -> String {
        let mut out = Vec::new();
        write_rfc3339(&mut out, WallTime(micros));
        String::from_utf8(out).unwrap()
    }

    fn duration(nanos: u64) -> String {
        let mut out = Vec::new();
        write_duration(&mut out, Duration::from_nanos(nanos));
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn times_are_whole_seconds_in_utc() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_340_845_999_999), "2026-11-22T09:47:25Z");
        assert_eq!(rfc3339(951_782_400_000_000), "2000-02-29T00:00:00Z");
        assert_eq!(rfc3339(u64::MAX), "9999-12-31T23:59:59Z");
    }

    #[test]
    fn durations_print_as_go_prints_them() {
        let table = [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (15_000_000_000, "15s"),
            (9_980_000_000, "9.98s"),
            (10_006_000_000, "10.006s"),
            (60_000_000_000, "1m0s"),
            (245_000_000_000, "4m5s"),
            (245_001_000_000, "4m5.001s"),
            (18_367_001_000_000, "5h6m7.001s"),
            (480_000_000_001, "8m0.000000001s"),
            (i64::MAX as u64, "2562047h47m16.854775807s"),
            (u64::MAX, "2562047h47m16.854775807s"),
        ];
        for (nanos, text) in table {
            assert_eq!(duration(nanos), text);
        }
    }

    #[test]
    fn durations_parse_as_go_parses_them() {
        let seconds = |text| parse_duration(text).unwrap().map(|length| length.as_secs_f64());
        assert_eq!(seconds("32s"), Some(32.0));
        assert_eq!(seconds("1h"), Some(3600.0));
        assert_eq!(seconds("1.5h30m.5s"), Some(7200.5));
        assert_eq!(seconds("+2.s"), Some(2.0));
        for zero in ["0", "-0", "0s", "-1s"] {
            assert_eq!(seconds(zero), None, "{zero}");
        }
    }

    #[test]
    fn a_bad_duration_says_what_is_wrong() {
        let error = |text| parse_duration(text).unwrap_err().to_string();
        assert_eq!(error("abc"), "time: invalid duration \"abc\"");
        assert_eq!(error("5"), "time: missing unit in duration \"5\"");
        assert_eq!(error("5x"), "time: unknown unit \"x\" in duration \"5x\"");
        for odd in ["", "-", ".s", "1..s", "s", "9999999999999h", "99999999999999999999s"] {
            assert!(matches!(parse_duration(odd), Err(DurationError::Invalid(_))), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn printed_durations_parse_to_the_same(nanos in prop_oneof![1..i64::MAX as u64, 1..100_000_000_000_u64]) {
            prop_assert_eq!(parse_duration(&duration(nanos)), Ok(Some(Duration::from_nanos(nanos))));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,24}|[-+0-9.nuµmsh]{0,24}") {
            prop_assert!(parse_duration(&text).is_ok_and(|_| true) || parse_duration(&text).is_err());
        }

        #[test]
        fn printed_times_name_their_second(seconds in 0..253_402_300_799_u64) {
            let text = rfc3339(seconds * 1_000_000);
            let part = |range| -> u32 { str::parse(text.get::<std::ops::Range<usize>>(range).unwrap()).unwrap() };
            let date = time::Date::from_calendar_date(
                i32::try_from(part(0..4)).unwrap(),
                time::Month::try_from(u8::try_from(part(5..7)).unwrap()).unwrap(),
                u8::try_from(part(8..10)).unwrap(),
            ).unwrap();
            let days = i64::from(date.to_julian_day() - 2_440_588);
            let total = days * 86_400 + i64::from(part(11..13) * 3600 + part(14..16) * 60 + part(17..19));
            prop_assert_eq!(total, i64::try_from(seconds).unwrap());
        }
    }
}
