//! What may be a label's key and value.
//!
//! The rules are those of
//! <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#syntax-and-character-set>.

/// Longest name part of a key, and longest value, bytes.
const MAX_NAME: usize = 63;

/// Longest prefix of a key, bytes: a DNS subdomain.
const MAX_PREFIX: usize = 253;

const NAME_CHARACTERS: &str = "must consist of alphanumeric characters, '-', '_' or '.', \
     and must start and end with an alphanumeric character";

/// A key is `name` or `prefix/name`.
pub(super) fn check_key(key: &str) -> Result<(), String> {
    let faults = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => name_faults(name),
        ["", name] => joined("prefix part must be non-empty".to_owned(), name_faults(name)),
        [prefix, name] => match prefix_fault(prefix) {
            Some(fault) => joined(fault, name_faults(name)),
            None => name_faults(name),
        },
        _ => {
            vec![format!("a qualified name {NAME_CHARACTERS} with an optional DNS subdomain prefix and '/'")]
        }
    };
    if faults.is_empty() {
        return Ok(());
    }
    Err(format!("<nil>: Invalid value: {key:?}: {}", faults.join("; ")))
}

/// A value is empty or a name. `position` is its place among the values of `key`, for the error text.
pub(super) fn check_value(key: &str, position: usize, value: &str) -> Result<(), String> {
    let fault = if value.len() > MAX_NAME {
        format!("must be no more than {MAX_NAME} bytes")
    } else if !value.is_empty() && !is_name(value) {
        format!("a valid label must be an empty string or {}", NAME_CHARACTERS.trim_start_matches("must "))
    } else {
        return Ok(());
    };
    Err(format!("values[{position}][{key}]: Invalid value: {value:?}: {fault}"))
}

fn joined(first: String, others: Vec<String>) -> Vec<String> {
    std::iter::once(first).chain(others).collect()
}

fn name_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name.is_empty() {
        faults.push("name part must be non-empty".to_owned());
    } else if name.len() > MAX_NAME {
        faults.push(format!("name part must be no more than {MAX_NAME} bytes"));
    }
    if !is_name(name) {
        faults.push(format!("name part {NAME_CHARACTERS}"));
    }
    faults
}

fn prefix_fault(prefix: &str) -> Option<String> {
    let is_label = |label: &str| {
        let ends = label.starts_with(is_lower_or_digit) && label.ends_with(is_lower_or_digit);
        ends && label.chars().all(|c| is_lower_or_digit(c) || c == '-')
    };
    if prefix.len() > MAX_PREFIX {
        Some(format!("prefix part must be no more than {MAX_PREFIX} bytes"))
    } else if !prefix.split('.').all(is_label) {
        Some(
            "prefix part a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, \
             '-' or '.', and must start and end with an alphanumeric character"
                .to_owned(),
        )
    } else {
        None
    }
}

fn is_lower_or_digit(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit()
}

fn is_name(text: &str) -> bool {
    let ends = text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.ends_with(|c: char| c.is_ascii_alphanumeric());
    ends && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}
