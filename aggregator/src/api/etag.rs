//! The ETag of a document: its SHA-512 in upper-case hexadecimal, as Kubernetes servers have them.

use std::fmt::Write as _;

use http::HeaderValue;
use ring::digest;

/// The hash of a document, 128 digits.
#[must_use]
pub fn sha512(document: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA512, document);
    hash.as_ref().iter().fold(String::with_capacity(128), |mut text, byte| {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
        text
    })
}

/// The hash as a header.
#[must_use]
pub fn quoted(hash: &str) -> HeaderValue {
    HeaderValue::try_from(format!("\"{hash}\"")).expect("hexadecimal digits are allowed in a header")
}

/// Whether `If-None-Match` names this ETag: alone, in a list, weak, or by `*`.
#[must_use]
pub fn matches(if_none_match: &HeaderValue, etag: &HeaderValue) -> bool {
    let known = etag.as_bytes();
    if_none_match.as_bytes().split(|&byte| byte == b',').any(|given| {
        let given = given.trim_ascii();
        given == b"*" || given.strip_prefix(b"W/").unwrap_or(given) == known
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_the_standard() {
        // FIPS 180-2, appendix C.1.
        assert_eq!(
            sha512(b"abc"),
            concat!(
                "DDAF35A193617ABACC417349AE20413112E6FA4E89A97EA20A9EEEE64B55D39A",
                "2192992A274FC1A836BA3C23A3FEEBBD454D4423643CE80E2A9AC94FA54CA49F"
            )
        );
    }

    #[test]
    fn any_form_of_if_none_match_is_understood() {
        let etag = quoted("AB");
        for header in ["\"AB\"", "\"X\", \"AB\"", "W/\"AB\"", "*", "\"X\",W/\"AB\" "] {
            assert!(matches(&HeaderValue::from_static(header), &etag), "{header}");
        }
        for header in ["", "AB", "\"ab\"", "\"A\"", "\"AB\"x"] {
            assert!(!matches(&HeaderValue::from_static(header), &etag), "{header}");
        }
    }
}
