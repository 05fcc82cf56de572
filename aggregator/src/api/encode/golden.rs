//! Reads and writes the forms that golden files have.

/// One section of a text file. A body without a newline at its end gets a mark.
pub(crate) fn section(name: &str, body: Vec<u8>) -> String {
    let body = String::from_utf8(body).unwrap();
    let end = if body.ends_with('\n') { "" } else { "\n(no newline)\n" };
    format!("--- {name}\n{body}{end}")
}

/// The bytes of a `.hex` file: two hexadecimal digits each, and text in quotes; a `#` begins a comment.
pub(crate) fn bytes(golden: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in golden.lines() {
        let mut rest = line.split('#').next().unwrap().trim();
        while !rest.is_empty() {
            if let Some(quoted) = rest.strip_prefix('"') {
                let (text, after) = quoted.split_once('"').unwrap();
                bytes.extend_from_slice(text.as_bytes());
                rest = after.trim_start();
            } else {
                let (hex, after) = rest.split_once(' ').unwrap_or((rest, ""));
                bytes.push(u8::from_str_radix(hex, 16).unwrap());
                rest = after.trim_start();
            }
        }
    }
    bytes
}
