//! Kubernetes quantities as text, in the canonical form: the largest suffix that leaves a whole number.
//!
//! Only printing, only the two kinds the API serves, and no rounding: every value is exact.

use itoa::Buffer;

/// Suffixes of the decimal form from nano upwards, each a thousand times the one before.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];

/// Suffixes of whole units that a number below 1024 can have.
const WHOLE: [&str; 2] = ["", "k"];

/// Suffixes of the binary form, each 1024 times the one before.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// A quantity in its canonical form: a whole number and a suffix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quantity {
    mantissa: u64,
    suffix: &'static str,
}

impl Quantity {
    /// CPU given in nanocores: `249502n`, `20u`, `500m`, `2`, `0`.
    #[must_use]
    pub fn cpu(nanocores: u64) -> Self {
        decimal(nanocores, &DECIMAL)
    }

    /// Memory given in bytes: `12240Ki`, `5Mi`, and plain digits when 1024 does not divide it.
    ///
    /// Below 1024 bytes the decimal form is canonical, which shows only at 1000 (`1k`).
    #[must_use]
    pub fn memory(bytes: u64) -> Self {
        if bytes < 1024 { decimal(bytes, &WHOLE) } else { scale::<1024>(bytes, &BINARY) }
    }

    /// How many bytes the text has: at most 21.
    #[must_use]
    pub fn text_len(&self) -> usize {
        let digits = self.mantissa.checked_ilog10().map_or(1, |power| power as usize + 1);
        digits + self.suffix.len()
    }

    /// Appends the text.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(Buffer::new().format(self.mantissa).as_bytes());
        out.extend_from_slice(self.suffix.as_bytes());
    }
}

/// Appends CPU given in nanocores.
pub fn write_cpu(out: &mut Vec<u8>, nanocores: u64) {
    Quantity::cpu(nanocores).write(out);
}

/// Appends memory given in bytes.
pub fn write_memory(out: &mut Vec<u8>, bytes: u64) {
    Quantity::memory(bytes).write(out);
}

/// Zero has no suffix; every other value takes the largest that fits.
fn decimal(value: u64, suffixes: &[&'static str]) -> Quantity {
    if value == 0 { Quantity { mantissa: 0, suffix: "" } } else { scale::<1000>(value, suffixes) }
}

/// Divides by `STEP` as long as nothing is left over. The step is a constant so that the division is cheap.
fn scale<const STEP: u64>(value: u64, suffixes: &[&'static str]) -> Quantity {
    let mut scaled = Quantity { mantissa: value, suffix: suffixes.first().copied().unwrap_or_default() };
    for &suffix in suffixes.iter().skip(1) {
        if !scaled.mantissa.is_multiple_of(STEP) {
            break;
        }
        scaled = Quantity { mantissa: scaled.mantissa / STEP, suffix };
    }
    scaled
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cpu(nanocores: u64) -> String {
        let mut out = Vec::new();
        write_cpu(&mut out, nanocores);
        String::from_utf8(out).unwrap()
    }

    fn memory(bytes: u64) -> String {
        let mut out = Vec::new();
        write_memory(&mut out, bytes);
        String::from_utf8(out).unwrap()
    }

    /// Value in units of ten to the minus nine, and the suffix.
    fn parse(text: &str) -> (u128, &str) {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, suffix) = text.split_at(digits);
        let number: u128 = number.parse().unwrap();
        let unit = match (
            DECIMAL.iter().position(|&known| known == suffix),
            BINARY.iter().position(|&known| known == suffix),
        ) {
            (Some(at), _) => 1000_u128.pow(u32::try_from(at).unwrap()),
            (None, Some(at)) => 1_000_000_000 * 1024_u128.pow(u32::try_from(at).unwrap()),
            (None, None) => unreachable!("{text}"),
        };
        (number * unit, suffix)
    }

    #[test]
    fn cpu_takes_the_largest_suffix_that_stays_whole() {
        let table = [
            (0, "0"),
            (1, "1n"),
            (249_502, "249502n"),
            (20_000, "20u"),
            (10_000_000, "10m"),
            (499_998_800, "499998800n"),
            (500_000_000, "500m"),
            (1_000_000_000, "1"),
            (2_500_000_000, "2500m"),
            (1_000_000_000_000, "1k"),
            (u64::MAX, "18446744073709551615n"),
        ];
        for (nanocores, text) in table {
            assert_eq!(cpu(nanocores), text);
        }
    }

    #[test]
    fn memory_takes_binary_suffixes_and_stays_exact() {
        let table = [
            (0, "0"),
            (1, "1"),
            (999, "999"),
            (1000, "1k"),
            (1023, "1023"),
            (1024, "1Ki"),
            (2000, "2000"),
            (12_533_760, "12240Ki"),
            (5 << 20, "5Mi"),
            (2_097_180 << 10, "2097180Ki"),
            (1_616_273_408, "1578392Ki"),
            (1 << 60, "1Ei"),
            (u64::MAX, "18446744073709551615"),
        ];
        for (bytes, text) in table {
            assert_eq!(memory(bytes), text);
        }
    }

    proptest! {
        #[test]
        fn cpu_text_means_the_same_number_and_is_canonical(mantissa in 0..1_000_000_u64, power in 0..5_u32) {
            let nanocores = mantissa * 1000_u64.pow(power);
            let text = cpu(nanocores);
            let (value, suffix) = parse(&text);
            prop_assert_eq!(value, u128::from(nanocores));
            prop_assert_eq!(text.len(), Quantity::cpu(nanocores).text_len());
            // With the next larger suffix the number would not be whole.
            prop_assert!(nanocores == 0 || suffix == "E" || !text.trim_end_matches(suffix).ends_with("000"));
        }

        #[test]
        fn memory_text_means_the_same_number(bytes in prop_oneof![any::<u64>(), (0..1_u64 << 32).prop_map(|pages| pages * 4096)]) {
            let text = memory(bytes);
            let (value, suffix) = parse(&text);
            prop_assert_eq!(value, u128::from(bytes) * 1_000_000_000);
            prop_assert_eq!(text.len(), Quantity::memory(bytes).text_len());
            // With the next larger suffix the number would not be whole.
            let mantissa: u64 = text.trim_end_matches(suffix).parse().unwrap();
            prop_assert!(bytes < 1024 || suffix == "Ei" || !mantissa.is_multiple_of(1024));
        }
    }
}
