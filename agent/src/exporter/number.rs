//! Numbers as Go writes them.
//!
//! Both forms of metrics take many spellings. Go's programs, the kubelet among them, write the shortest decimal that
//! reads back as the same number, with an exponent below 1e-4 and from 1e6 on (`strconv`, format `g`): a page that
//! stands in for the kubelet's looks the same.

use std::{fmt, io::Write};

/// Writes a finite number that is not below zero.
pub(super) fn write(out: &mut Vec<u8>, value: f64) {
    if value == 0.0 || (1e-4..1e6).contains(&value) {
        put(out, format_args!("{value}"));
        return;
    }
    let begin = out.len();
    put(out, format_args!("{value:e}"));
    // Go gives the exponent a sign and at least two digits.
    let Some(exponent) = out.iter().skip(begin).position(|&byte| byte == b'e').map(|at| begin + at + 1)
    else {
        return;
    };
    if out.get(exponent) != Some(&b'-') {
        out.insert(exponent, b'+');
    }
    if out.len() - exponent < 3 {
        out.insert(exponent + 1, b'0');
    }
}

/// The same with a fraction where there would be neither that nor an exponent, as Go writes `OpenMetrics`.
pub(super) fn write_with_fraction(out: &mut Vec<u8>, value: f64) {
    let begin = out.len();
    write(out, value);
    if !out.iter().skip(begin).any(|byte| matches!(byte, b'.' | b'e')) {
        out.extend_from_slice(b".0");
    }
}

/// As metrics have it: whole numbers up to 2^53 exactly.
#[expect(clippy::cast_precision_loss, reason = "metrics are floating-point numbers")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

/// Formats at the end of `out`.
pub(super) fn put(out: &mut Vec<u8>, text: fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory takes what is written");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: f64) -> String {
        let mut out = b"x ".to_vec();
        write(&mut out, value);
        String::from_utf8(out.split_off(2)).unwrap()
    }

    #[test]
    fn numbers_are_written_as_go_writes_them() {
        // The right column is what Go 1.19 printed.
        for (value, go) in [
            (0.0, "0"),
            (1.0, "1"),
            (3.0, "3"),
            (0.1, "0.1"),
            (0.000_015, "1.5e-05"),
            (0.0001, "0.0001"),
            (0.000_099_99, "9.999e-05"),
            (1.5e-7, "1.5e-07"),
            (4.710_169, "4.710169"),
            (357.354_91, "357.35491"),
            (123_456.0, "123456"),
            (999_999.999_999_999_9, "999999.9999999999"),
            (1e6, "1e+06"),
            (1_234_567.0, "1.234567e+06"),
            (12_533_760.0, "1.253376e+07"),
            (1_795_375_806.327_161, "1.795375806327161e+09"),
            (18_446_744_073.709_553, "1.8446744073709553e+10"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
        ] {
            assert_eq!(written(value), go);
        }
    }

    #[test]
    fn a_whole_number_gets_a_fraction_in_open_metrics() {
        for (value, go) in [(0.0, "0.0"), (1.0, "1.0"), (12.5, "12.5"), (1e6, "1e+06")] {
            let mut out = Vec::new();
            write_with_fraction(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), go);
        }
    }

    proptest! {
        #[test]
        fn every_number_reads_back_as_itself(bits in any::<u64>()) {
            let value = f64::from_bits(bits).abs();
            prop_assume!(value.is_finite());
            let text = written(value);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), value.to_bits());
            prop_assert!(text.len() <= 23, "{}", text);
        }
    }
}
