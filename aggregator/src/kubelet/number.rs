//! Decimal text to whole numbers, exact. Pure.
//!
//! The kubelet prints floats, in the shortest form that means the same float. Read through a float again, a second
//! number would be lost beside the first; read as decimal digits, nothing is lost beyond the float itself, and order
//! is kept.

/// Why a text is no number that a counter or gauge can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadNumber {
    /// It is no number at all.
    #[error("is no decimal number")]
    Malformed,
    /// `NaN` or an infinity.
    #[error("is not finite")]
    NotFinite,
    /// Below zero.
    #[error("is negative")]
    Negative,
    /// More than 64 bits hold.
    #[error("is too large")]
    TooLarge,
}

/// Digits that are read; further ones are below a billionth of what 64 bits hold.
const DIGITS: u32 = 37;

/// `text` times ten to the power of `scale`, rounded to the nearest whole number: with 9, seconds become
/// nanoseconds.
pub fn scaled(text: &[u8], scale: i32) -> Result<u64, BadNumber> {
    let (negative, unsigned) = sign(text);
    if [&b"nan"[..], b"inf", b"infinity"].iter().any(|name| unsigned.eq_ignore_ascii_case(name)) {
        return Err(BadNumber::NotFinite);
    }
    let (mantissa, exponent) = parts(unsigned).ok_or(BadNumber::Malformed)?;
    if mantissa == 0 {
        return Ok(0);
    }
    if negative {
        return Err(BadNumber::Negative);
    }
    let value = shifted(mantissa, exponent.saturating_add(scale)).ok_or(BadNumber::TooLarge)?;
    u64::try_from(value).map_err(|_| BadNumber::TooLarge)
}

fn sign(text: &[u8]) -> (bool, &[u8]) {
    match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    }
}

/// Digits, and the power of ten they are to be multiplied by.
fn parts(text: &[u8]) -> Option<(u128, i32)> {
    let end = text.iter().position(|byte| matches!(byte, b'e' | b'E'));
    let (number, exponent) = match end {
        Some(at) => (text.get(..at)?, power(text.get(at + 1..)?)?),
        None => (text, 0),
    };
    let (mut mantissa, mut used, mut shift) = (0_u128, 0, 0_i32);
    let (mut is_fraction, mut is_empty) = (false, true);
    for &byte in number {
        match byte {
            b'.' if !is_fraction => {
                is_fraction = true;
                continue;
            }
            b'0'..=b'9' => is_empty = false,
            _ => return None,
        }
        if used < DIGITS {
            mantissa = mantissa * 10 + u128::from(byte - b'0');
            used += u32::from(mantissa != 0);
            shift = shift.saturating_sub(i32::from(is_fraction));
        } else {
            shift = shift.saturating_add(i32::from(!is_fraction));
        }
    }
    (!is_empty).then_some((mantissa, exponent.saturating_add(shift)))
}

fn power(text: &[u8]) -> Option<i32> {
    let (negative, digits) = sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let add = |power: i32, &digit: &u8| power.saturating_mul(10).saturating_add(i32::from(digit - b'0'));
    let power = digits.iter().fold(0, add);
    Some(if negative { -power } else { power })
}

/// `None` when it is too large.
fn shifted(mantissa: u128, power: i32) -> Option<u128> {
    if let Ok(power) = u32::try_from(power) {
        return mantissa.checked_mul(10_u128.checked_pow(power)?);
    }
    let Some(divisor) = 10_u128.checked_pow(power.unsigned_abs()) else { return Some(0) };
    Some((mantissa + divisor / 2) / divisor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_as_the_kubelet_prints_them_become_nanoseconds() {
        for (text, nanos) in [
            ("0", 0),
            ("0.0", 0),
            ("-0", 0),
            ("4.710169", 4_710_169_000),
            ("357.35491", 357_354_910_000),
            ("1.2345e+02", 123_450_000_000),
            ("1.6e-09", 2),
            ("1.4e-09", 1),
            ("1e-400", 0),
            ("1.2345678901234567e+06", 1_234_567_890_123_457),
            (".5", 500_000_000),
            ("5.", 5_000_000_000),
            ("18446744073.709551615", u64::MAX),
            ("000000000000000000000000000000000000000000000000000001", 1_000_000_000),
        ] {
            assert_eq!(scaled(text.as_bytes(), 9), Ok(nanos), "{text}");
        }
        assert_eq!(scaled(b"1.2533760e+07", 0), Ok(12_533_760));
    }

    #[test]
    fn what_no_counter_can_have_is_refused_with_its_reason() {
        for (text, reason) in [
            ("", BadNumber::Malformed),
            (".", BadNumber::Malformed),
            ("1e", BadNumber::Malformed),
            ("1e+", BadNumber::Malformed),
            ("1.2.3", BadNumber::Malformed),
            ("1_000", BadNumber::Malformed),
            ("0x10", BadNumber::Malformed),
            ("+-1", BadNumber::Malformed),
            ("NaN", BadNumber::NotFinite),
            ("+Inf", BadNumber::NotFinite),
            ("-inf", BadNumber::NotFinite),
            ("-1", BadNumber::Negative),
            ("-6.21355968e+10", BadNumber::Negative),
            ("1e100", BadNumber::TooLarge),
            ("1e99999999999999999999", BadNumber::TooLarge),
            ("18446744073.709551616", BadNumber::TooLarge),
        ] {
            assert_eq!(scaled(text.as_bytes(), 9), Err(reason), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whole_nanoseconds_are_read_back_from_the_float_the_kubelet_prints(nanos in 0_u64..1 << 52) {
            // Below 2^52 ns (52 days of CPU time) a float of seconds still tells nanoseconds apart.
            #[allow(clippy::cast_precision_loss, reason = "that is what the kubelet does")]
            let seconds = nanos as f64 / 1e9;
            prop_assert_eq!(scaled(format!("{seconds}").as_bytes(), 9), Ok(nanos));
            prop_assert_eq!(scaled(format!("{seconds:e}").as_bytes(), 9), Ok(nanos));
        }

        #[test]
        fn a_larger_number_never_reads_as_a_smaller_one(a in 0.0_f64..1e10, b in 0.0_f64..1e10) {
            let [low, high] = if a <= b { [a, b] } else { [b, a] };
            let (low, high) = (format!("{low}"), format!("{high:e}"));
            prop_assert!(scaled(low.as_bytes(), 9).unwrap() <= scaled(high.as_bytes(), 9).unwrap());
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[-+0-9.eEnNaAiIfF_ ]{0,60}", scale in -40_i32..40) {
            let _ = scaled(text.as_bytes(), scale);
        }
    }
}
