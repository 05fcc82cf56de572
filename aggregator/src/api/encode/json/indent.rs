//! Compact JSON made readable while it passes by, in pieces of any size.
//!
//! Two blanks per level, nothing between the brackets of what is empty, no newline at the end: as Go indents.

/// Remembers between two pieces where in the document it is.
#[derive(Debug, Default)]
pub struct Indenter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A bracket was opened and nothing came after it yet.
    opened: bool,
}

impl Indenter {
    /// Appends the next piece of a compact document.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.in_string {
                out.push(byte);
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
            } else if !byte.is_ascii_whitespace() {
                self.structure(byte, out);
            }
        }
    }

    /// A byte outside of strings.
    fn structure(&mut self, byte: u8, out: &mut Vec<u8>) {
        let closes = matches!(byte, b'}' | b']');
        if closes {
            self.depth = self.depth.saturating_sub(1);
        }
        // An opened bracket and its closing one stay together; anything else begins a line.
        if closes != self.opened {
            self.new_line(out);
        }
        self.opened = false;
        out.push(byte);
        match byte {
            b'{' | b'[' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.new_line(out),
            b':' => out.push(b' '),
            _ => self.in_string = byte == b'"',
        }
    }

    fn new_line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

/// A whole document at once.
#[must_use]
pub fn indent(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    Indenter::default().feed(compact, &mut out);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn c055_indented_text_is_as_go_indents_it() {
        let compact = b"{\"a\":{},\"b\":[1,{\"c\":\"x\\\",{:\"}],\"d\":[],\"e\":[[]]}\n";
        let expected = "{\n  \"a\": {},\n  \"b\": [\n    1,\n    {\n      \"c\": \"x\\\",{:\"\n    }\n  ],\n  \"d\": [],\n  \"e\": [\n    []\n  ]\n}";
        assert_eq!(String::from_utf8(indent(compact)).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_give_the_same_text(
            labels in proptest::collection::vec(("\\PC{0,6}|[\"\\\\{}:,]{0,6}", proptest::collection::vec("[a\"]{0,3}", 0..4)), 0..5),
            size in 1..20_usize,
        ) {
            let compact = serde_json::to_vec(&labels).unwrap();
            let mut indenter = Indenter::default();
            let mut out = Vec::new();
            for piece in compact.chunks(size) {
                indenter.feed(piece, &mut out);
            }
            prop_assert_eq!(&out, &indent(&compact));
            // serde_json's own indentation is the same style.
            prop_assert_eq!(out, serde_json::to_vec_pretty(&labels).unwrap());
        }
    }
}
