//! How long a caller wants to wait at most: the header `grpc-timeout`. Pure.
//!
//! The gRPC server holds unary calls to it, but not the bodies of streams.
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>

use std::time::Duration;

use http::HeaderMap;

/// Most digits, by the specification.
const DIGITS: usize = 8;

/// The caller's time limit; none without one, and none for what is no time.
#[must_use]
pub fn timeout(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let is_number = (1..=DIGITS).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    let number: u64 = digits.parse().ok().filter(|_| is_number)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(text: &str) -> Option<Duration> {
        timeout(&HeaderMap::from_iter([(http::HeaderName::from_static("grpc-timeout"), text.parse().ok()?)]))
    }

    #[test]
    fn each_unit_is_understood_and_anything_else_is_no_limit() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!((read("2H"), read("3M"), read("4S")), (seconds(7200), seconds(180), seconds(4)));
        assert_eq!((read("5000m"), read("6000000u"), read("0n")), (seconds(5), seconds(6), seconds(0)));
        for text in ["", "S", "5", "-5S", "+5S", "5s", "123456789S", "5.5S", "5\u{b5}"] {
            assert_eq!(read(text), None, "{text}");
        }
        assert_eq!(timeout(&HeaderMap::new()), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,12}|[0-9]{0,12}[HMSmun]") {
            let _ = read(&text);
        }
    }
}
