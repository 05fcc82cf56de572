//! JSON exactly as a Kubernetes server writes it: compact, keys in a fixed order, one newline at the end.
//!
//! Objects are written straight from the answers (`objects`), because a list of all pods is the largest body there
//! is. Small documents go through serde. Strings are escaped as Go's encoder escapes them. [`indent`] makes it
//! readable.

pub mod indent;
pub(super) mod objects;

use std::io;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// A small document.
pub fn document<T: Serialize>(value: &T) -> Result<Vec<u8>, serde_json::Error> {
    let mut out = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut out, GoStrings))?;
    out.push(b'\n');
    Ok(out)
}

/// A quoted and escaped string. What needs no escape, as the names of Kubernetes objects, is a plain copy.
fn string(out: &mut Vec<u8>, text: &str) {
    let plain =
        |byte: u8| (b' '..=0x7f).contains(&byte) && !matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&');
    // To the end in any case: so the processor looks at many bytes at one time.
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let mut serializer = Serializer::with_formatter(&mut *out, GoStrings);
    // Writing a string into a vector cannot fail.
    let _written = text.serialize(&mut serializer);
}

/// Compact JSON in which `<`, `>`, `&` and the two Unicode line separators are escaped too.
struct GoStrings;

impl Formatter for GoStrings {
    fn write_string_fragment<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(['<', '>', '&', '\u{2028}', '\u{2029}']) {
            let (plain, special) = rest.split_at(at);
            writer.write_all(plain.as_bytes())?;
            let mut characters = special.chars();
            if let Some(c) = characters.next() {
                write!(writer, "\\u{:04x}", u32::from(c))?;
            }
            rest = characters.as_str();
        }
        writer.write_all(rest.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_are_escaped_as_go_escapes_them() {
        let mut out = Vec::new();
        string(&mut out, "a<b>&\u{2028}\"\\\n\t\u{1}é\u{7f}");
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u003cb\\u003e\\u0026\\u2028\\\"\\\\\\n\\t\\u0001é\u{7f}\"");
    }

    proptest! {
        #[test]
        fn any_string_is_read_back_as_it_was(original in any::<String>()) {
            let mut out = Vec::new();
            string(&mut out, &original);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), original);
        }
    }
}
