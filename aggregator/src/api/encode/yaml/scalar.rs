//! One string as YAML: plain, quoted, or as a block of lines, as Go's YAML library chooses and folds them.
//!
//! Different from there in one point: text with the line separators U+2028 and U+2029 is escaped, because there it
//! does not read back as it was.

use super::resolve::reads_as_string;

/// Longer keys, in bytes, are marked with `?`.
pub(super) const LONGEST_SIMPLE_KEY: usize = 128;

/// A line is broken at the first blank after this column.
const WIDTH: usize = 80;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    Plain,
    Single,
    Double,
    /// The lines as they are, below the key.
    Literal,
}

/// Appends a value. What is broken into lines continues two blanks after `indent`.
pub(super) fn write(out: &mut Vec<u8>, text: &str, indent: usize) {
    match style(text) {
        Style::Literal => literal(out, text, indent + 2),
        style => flow(out, text, style, Some(indent + 2)),
    }
}

/// Appends a key without line breaks, on one line.
pub(super) fn write_key(out: &mut Vec<u8>, text: &str) {
    flow(out, text, style(text), None);
}

/// Whether a character can stand there as it is.
fn is_printable(c: char) -> bool {
    matches!(c, '\n' | ' '..='~' | '\u{a0}'..='\u{2027}' | '\u{202a}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn style(text: &str) -> Style {
    let trailing_blank = text.ends_with(' ');
    if !text.chars().all(is_printable) || text.contains(" \n") {
        return Style::Double;
    }
    if text.contains('\n') {
        return if trailing_blank { Style::Double } else { Style::Literal };
    }
    if !reads_as_string(text) {
        return Style::Double;
    }
    if text.starts_with(' ') || trailing_blank || has_indicator(text) { Style::Single } else { Style::Plain }
}

/// Whether unquoted text would have a meaning in YAML's own syntax.
fn has_indicator(text: &str) -> bool {
    let mut characters = text.chars();
    let first = characters.next();
    let alone = characters.next().is_none_or(|c| c == ' ');
    match first {
        Some(
            '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"' | '%' | '@' | '`',
        ) => {
            return true;
        }
        Some('?' | ':' | '-') if alone => return true,
        _ => {}
    }
    text.starts_with("---")
        || text.starts_with("...")
        || text.ends_with(':')
        || text.contains(": ")
        || text.contains(" #")
}

/// A scalar within lines. It is folded where `continuation` says how far the next line is indented.
fn flow(out: &mut Vec<u8>, text: &str, style: Style, continuation: Option<usize>) {
    let quote = match style {
        Style::Single => Some(b'\''),
        Style::Double => Some(b'"'),
        Style::Plain | Style::Literal => None,
    };
    out.extend(quote);
    let mut column = column(out);
    let mut previous = None;
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek().copied();
        let before = out.len();
        let foldable = c == ' ' && column > WIDTH && folds(style, previous, next);
        if let Some(indent) = continuation.filter(|_| foldable) {
            fold(out, indent, next);
            column = indent;
        } else {
            character(out, c, style);
            column += characters_in(out.get(before..).unwrap_or_default().iter());
        }
        previous = Some(c);
    }
    out.extend(quote);
}

/// Whether a line may be broken at a blank between these characters.
fn folds(style: Style, previous: Option<char>, next: Option<char>) -> bool {
    previous.is_some_and(|c| c != ' ') && next.is_some_and(|c| c != ' ' || style == Style::Double)
}

/// A line break instead of a blank. A second blank would be lost without the mark.
fn fold(out: &mut Vec<u8>, indent: usize, next: Option<char>) {
    out.push(b'\n');
    out.resize(out.len() + indent, b' ');
    if next == Some(' ') {
        out.push(b'\\');
    }
}

/// How many characters the last line has.
fn column(out: &[u8]) -> usize {
    characters_in(out.iter().rev().take_while(|&&byte| byte != b'\n'))
}

/// Every character has one byte that does not continue another.
fn characters_in<'a>(bytes: impl Iterator<Item = &'a u8>) -> usize {
    bytes.filter(|&&byte| byte & 0xc0 != 0x80).count()
}

/// One character.
fn character(out: &mut Vec<u8>, c: char, style: Style) {
    if style == Style::Double && (!is_printable(c) || matches!(c, '\n' | '"' | '\\')) {
        return escape(out, c);
    }
    if style == Style::Single && c == '\'' {
        out.push(b'\'');
    }
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

fn escape(out: &mut Vec<u8>, c: char) {
    let short = match c {
        '\0' => '0',
        '\u{7}' => 'a',
        '\u{8}' => 'b',
        '\t' => 't',
        '\n' => 'n',
        '\u{b}' => 'v',
        '\u{c}' => 'f',
        '\r' => 'r',
        '\u{1b}' => 'e',
        '"' | '\\' => c,
        '\u{85}' => 'N',
        '\u{2028}' => 'L',
        '\u{2029}' => 'P',
        _ => {
            let code = u32::from(c);
            let escaped = match code {
                0..=0xff => format!("\\x{code:02X}"),
                0x100..=0xffff => format!("\\u{code:04X}"),
                _ => format!("\\U{code:08X}"),
            };
            return out.extend_from_slice(escaped.as_bytes());
        }
    };
    out.extend_from_slice(&[b'\\', u8::try_from(short).unwrap_or(b'?')]);
}

/// The lines as they are, after a mark for what cannot be seen: blanks at the beginning, newlines at the end.
fn literal(out: &mut Vec<u8>, text: &str, indent: usize) {
    out.push(b'|');
    if text.starts_with([' ', '\n']) {
        out.push(b'2');
    }
    if text == "\n" || text.ends_with("\n\n") {
        out.push(b'+');
    } else if !text.ends_with('\n') {
        out.push(b'-');
    }
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push(b'\n');
        if !line.is_empty() {
            out.resize(out.len() + indent, b' ');
            out.extend_from_slice(line.as_bytes());
        }
    }
    out.push(b'\n');
}
