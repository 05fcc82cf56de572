//! What a YAML 1.1 reader takes unquoted text for. Text that is meant as a string and reads as something else needs
//! quotes.
//!
//! The rules are those of Go's YAML library, which every client of Kubernetes in Go has.

use time::{Date, Month};

/// Whether unquoted `text` reads as the string it is.
pub(super) fn reads_as_string(text: &str) -> bool {
    let Some(first) = text.bytes().next() else {
        return false;
    };
    match first {
        b'~' | b'y' | b'Y' | b'n' | b'N' | b't' | b'T' | b'f' | b'F' | b'o' | b'O' => !is_word(text),
        b'.' => !matches!(text, ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF") && !is_fraction(text),
        b'+' | b'-' | b'0'..=b'9' => !(is_number(text) || is_timestamp(text) || is_base_60(text)),
        _ => true,
    }
}

/// Words for true, false and null.
fn is_word(text: &str) -> bool {
    const WORDS: [&str; 10] = ["y", "yes", "on", "true", "n", "no", "off", "false", "null", "~"];
    let spelled = |word: &str| {
        let mut capital = word.to_owned();
        capital.get_mut(..1).map(str::make_ascii_uppercase);
        text == word || text == capital || text == word.to_ascii_uppercase()
    };
    text.len() <= 5 && WORDS.iter().any(|word| spelled(word))
}

fn is_number(text: &str) -> bool {
    if let Some(infinite) = text.strip_prefix(['+', '-'])
        && matches!(infinite, ".inf" | ".Inf" | ".INF")
    {
        return true;
    }
    let plain = text.replace('_', "");
    is_integer(&plain) || is_float(&plain)
}

/// Decimal, or with a prefix for another base. With a sign it has to fit 64 bits; without one it may be longer.
fn is_integer(plain: &str) -> bool {
    let (signed, digits) = match plain.strip_prefix(['+', '-']) {
        Some(digits) => (true, digits),
        None => (false, plain),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', rest @ ..] => (16, rest),
        [b'0', b'b', rest @ ..] => (2, rest),
        [b'0', b'o', rest @ ..] | [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        all => (10, all),
    };
    if digits.is_empty() || !digits.iter().all(|&digit| char::from(digit).is_digit(base)) {
        return false;
    }
    let text = str::from_utf8(digits).unwrap_or_default();
    let limit = if plain.starts_with('-') { 1 << 63 } else { i64::MAX.cast_unsigned() };
    !signed || u64::from_str_radix(text, base).is_ok_and(|value| value <= limit)
}

/// Digits with a point, an exponent, or neither, within the range of 64-bit floating point.
fn is_float(plain: &str) -> bool {
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(plain);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, "0"));
    let mantissa_fits = digits(whole) && digits(fraction) && !(whole.is_empty() && fraction.is_empty());
    let exponent_fits = exponent.is_none_or(|exponent| {
        let power = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
        !power.is_empty() && digits(power)
    });
    mantissa_fits && exponent_fits && plain.parse::<f64>().is_ok_and(f64::is_finite)
}

/// `.5` and the like, where underscores stand only between digits.
fn is_fraction(text: &str) -> bool {
    let digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let bytes = text.as_bytes();
    let between = |at: usize| digit(bytes.get(at.wrapping_sub(1))) && digit(bytes.get(at + 1));
    text.match_indices('_').all(|(at, _)| between(at)) && is_float(&text.replace('_', ""))
}

/// `1:30`: a number in base 60, which old readers know.
fn is_base_60(text: &str) -> bool {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let whole = unsigned.split_once('.').map_or(unsigned, |(whole, fraction)| {
        let odd = fraction.bytes().any(|byte| byte != b'_' && !byte.is_ascii_digit());
        if odd { "" } else { whole }
    });
    let mut places = whole.split(':');
    let first = places.next().unwrap_or_default();
    let leads = first.starts_with(|c: char| c.is_ascii_digit())
        && first.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit());
    let sixtieth = |place: &str| match place.as_bytes() {
        [digit] | [b'0'..=b'5', digit] => digit.is_ascii_digit(),
        _ => false,
    };
    leads && whole.contains(':') && places.all(sixtieth)
}

/// `2026-11-22`, `2026-11-22T09:47:25Z` or `2026-11-22 09:47:25.5`; month, day and times may have one digit.
fn is_timestamp(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at..)),
        None => (text, None),
    };
    is_date(date)
        && match time.map(|time| time.split_at_checked(1).unwrap_or_default()) {
            None => true,
            Some((" ", clock)) => is_clock(clock),
            Some((_, zoned)) => clock_of_zoned(zoned).is_some_and(is_clock),
        }
}

fn is_date(text: &str) -> bool {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let date = || {
        let year = year.filter(|year| year.len() == 4).and_then(number)?;
        let month = Month::try_from(u8::try_from(short(month?)?).ok()?).ok()?;
        Date::from_calendar_date(i32::try_from(year).ok()?, month, u8::try_from(short(day?)?).ok()?).ok()
    };
    parts.next().is_none() && date().is_some()
}

/// The part before `Z` or an offset.
fn clock_of_zoned(zoned: &str) -> Option<&str> {
    if let Some(clock) = zoned.strip_suffix('Z') {
        return Some(clock);
    }
    let (clock, offset) = zoned.split_at_checked(zoned.rfind(['+', '-'])?)?;
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let two = |text: &str, limit| text.len() == 2 && number(text).is_some_and(|number| number < limit);
    (two(hours, 25) && two(minutes, 61)).then_some(clock)
}

fn is_clock(text: &str) -> bool {
    let (whole, fraction) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let mut places = whole.split(':');
    let mut below = |limit| places.next().and_then(short).is_some_and(|number| number < limit);
    let fits = below(24) && below(60) && below(60);
    fits && places.next().is_none() && number(fraction).is_some()
}

/// One or two digits.
fn short(text: &str) -> Option<u32> {
    (text.len() <= 2).then(|| number(text)).flatten()
}

/// Digits and nothing else. Only fractions can be too long for the value, which nobody needs then.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u32::MAX))
}
