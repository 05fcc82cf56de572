//! A cgroup path to the names under which it is served, and back. Pure.
//!
//! Names must be what Kubernetes allows, and the same at every start. The whole path goes into labels, from
//! which it can be read back.
#![allow(clippy::case_sensitive_file_extension_comparisons, reason = "systemd's suffixes are lower case")]

use kubevitals::sample::CgroupPath;

/// Longest name of a namespace or container: a DNS label.
const MAX_LABEL: usize = 63;

/// Longest pod name that is comfortable on a screen and in a DNS subdomain.
const MAX_POD: usize = 200;

/// Longest value of a Kubernetes label.
const MAX_VALUE: usize = 63;

/// Key of the labels that carry the path: `kubevitals.io/cgroup`, and with `-1`, `-2`, ... for further parts.
pub(super) const CGROUP_LABEL: &str = "kubevitals.io/cgroup";

/// Where a cgroup outside Kubernetes is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Its top-level slice or directory.
    pub(super) namespace: String,
    /// Its systemd unit, else itself.
    pub(super) pod: String,
    /// Itself.
    pub(super) container: String,
    /// Path of the unit: cgroups with the same one are containers of one pod.
    pub(super) unit: String,
}

/// The names of a cgroup.
pub(super) fn place(path: &CgroupPath) -> Place {
    let components: Vec<&str> = path.as_str().split('/').skip(1).collect();
    let unit = components.iter().rposition(|component| is_unit(component)).unwrap_or(components.len() - 1);
    let (above, below) = components.split_at(unit + 1);
    let first = components.first().copied().unwrap_or_default();
    let leaf = components.last().copied().unwrap_or_default();
    let unit_name = above.last().copied().unwrap_or_default();
    let unit_path: String = above.iter().flat_map(|component| ["/", component]).collect();
    // Slices between the top and the unit are spelled in systemd's unit names, which are unique without them.
    let plain = above.iter().take(unit).skip(1).all(|component| component.ends_with(".slice"));
    let direct = below.len() <= 1;
    Place {
        namespace: label(first, false),
        pod: subdomain(unit_name, &unit_path, !plain),
        container: label_of(leaf, path.as_str(), !direct),
        unit: unit_path,
    }
}

/// Whether systemd made this directory for a unit that holds processes.
fn is_unit(component: &str) -> bool {
    [".service", ".scope", ".mount", ".socket", ".swap"].iter().any(|suffix| component.ends_with(suffix))
}

fn label(text: &str, marked: bool) -> String {
    label_of(text, text, marked)
}

/// `text` as a DNS label. Dots become dashes; if more than that was lost, or on demand, a mark of `whole` keeps
/// different cgroups apart.
fn label_of(text: &str, whole: &str, marked: bool) -> String {
    let dashed = text.replace('.', "-");
    let clean = clean(&dashed, |c| c == '-');
    let lossy = clean != dashed || clean.len() > MAX_LABEL;
    finish(&clean, whole, marked || lossy, MAX_LABEL)
}

/// `text` as a DNS subdomain, as pods are named.
fn subdomain(text: &str, whole: &str, marked: bool) -> String {
    let clean = clean(text, |c| matches!(c, '-' | '.'));
    // A dot must stand between letters or digits.
    let clean = clean.split('.').map(|part| part.trim_matches('-')).filter(|part| !part.is_empty());
    let clean = clean.collect::<Vec<_>>().join(".");
    let lossy = clean != text || clean.len() > MAX_POD;
    finish(&clean, whole, marked || lossy, MAX_POD)
}

/// Lower case, other characters as dashes, none of them at the ends.
fn clean(text: &str, punctuation: impl Fn(char) -> bool) -> String {
    let mapped: String = text
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c if c.is_ascii_lowercase() || c.is_ascii_digit() || punctuation(c) => c,
            _ => '-',
        })
        .collect();
    mapped.trim_matches(|c| matches!(c, '-' | '.')).to_owned()
}

fn finish(clean: &str, whole: &str, marked: bool, longest: usize) -> String {
    if !marked && !clean.is_empty() {
        return clean.to_owned();
    }
    let mark = format!("{:08x}", fnv1a(whole));
    // Only ASCII is left, so any position is a boundary.
    let room = clean.get(..longest - mark.len() - 1).unwrap_or(clean);
    let room = room.trim_end_matches(['-', '.']);
    if room.is_empty() { format!("x{mark}") } else { format!("{room}-{mark}") }
}

/// FNV-1a, 32 bit: the same in every version, unlike the standard library's hasher.
fn fnv1a(text: &str) -> u32 {
    text.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The path as labels. A label's value begins and ends with a letter or digit, so everything but letters, digits
/// and inner dots, dashes and underscores is written as `Z` and two hexadecimal digits.
pub(super) fn path_labels(path: &str) -> Vec<(String, String)> {
    let mut values = vec![String::new()];
    for (at, byte) in path.bytes().enumerate() {
        let inner = at > 0 && at + 1 < path.len();
        let plain =
            byte.is_ascii_alphanumeric() && byte != b'Z' || inner && matches!(byte, b'.' | b'-' | b'_');
        let escaped = if plain { char::from(byte).to_string() } else { format!("Z{byte:02X}") };
        match values.last_mut() {
            Some(value) if value.len() + escaped.len() <= MAX_VALUE => value.push_str(&escaped),
            _ => values.push(escaped),
        }
    }
    protect_ends(&mut values);
    let key = |part: usize| match part {
        0 => CGROUP_LABEL.to_owned(),
        part => format!("{CGROUP_LABEL}-{part}"),
    };
    values.into_iter().enumerate().map(|(part, value)| (key(part), value)).collect()
}

/// Where a part was cut at a dot, dash or underscore, that character moves to the next part, escaped.
fn protect_ends(values: &mut Vec<String>) {
    let mut part = 0;
    while let Some(value) = values.get_mut(part) {
        if let Some(first) = value.bytes().next().filter(|byte| matches!(byte, b'.' | b'-' | b'_')) {
            value.replace_range(..1, &format!("Z{first:02X}"));
        }
        let mut rest = String::new();
        while value.len() > MAX_VALUE || value.ends_with(['.', '-', '_']) {
            let cut = if value.as_bytes().iter().rev().nth(2) == Some(&b'Z') {
                value.len() - 3
            } else {
                value.len() - 1
            };
            rest.insert_str(0, &value.split_off(cut));
        }
        part += 1;
        if !rest.is_empty() {
            match values.get_mut(part) {
                Some(next) => next.insert_str(0, &rest),
                None => values.push(rest),
            }
        }
    }
}

/// The path that [`path_labels`] wrote; `None` for text that it cannot have written.
#[cfg(test)]
fn path_from_labels(labels: &[(String, String)]) -> Option<String> {
    let mut bytes = Vec::new();
    for (_, value) in labels {
        let mut rest = value.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'Z' {
                let digits = [rest.next()?, rest.next()?];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
            } else {
                bytes.push(byte);
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(path: &str) -> [String; 3] {
        let place = place(&CgroupPath::new(path).unwrap());
        [place.namespace, place.pod, place.container]
    }

    #[test]
    fn systemd_units_are_pods() {
        assert_eq!(names("/system.slice/ssh.service"), ["system-slice", "ssh.service", "ssh-service"]);
        assert_eq!(
            names("/user.slice/user-1000.slice/session-3.scope"),
            ["user-slice", "session-3.scope", "session-3-scope"]
        );
        assert_eq!(
            names("/system.slice/docker.service/worker"),
            ["system-slice", "docker.service", "worker"]
        );
        assert_eq!(names("/init.scope"), ["init-scope", "init.scope", "init-scope"]);
    }

    #[test]
    fn other_cgroups_are_their_own_pod() {
        assert_eq!(names("/burner"), ["burner", "burner", "burner"]);
        assert_eq!(names("/jobs/a/b"), ["jobs", "b-48efcbf3", "b"]);
    }

    #[test]
    fn names_that_would_clash_are_marked() {
        let [_, one, _] = names("/user.slice/user@1.service/app.slice/x.scope");
        let [_, other, _] = names("/user.slice/user@2.service/app.slice/x.scope");
        assert_ne!(one, other);
        assert!(one.starts_with("x.scope-"));
        assert_ne!(names("/a/B_c")[1], names("/a/b-c")[1]);
    }

    fn path() -> impl Strategy<Value = String> {
        proptest::collection::vec("[a-zA-Z0-9@:._\\\\ é-]{1,40}", 1..9)
            .prop_map(|parts| parts.into_iter().flat_map(|part| ["/".to_owned(), part]).collect::<String>())
            .prop_filter("a path", |path| CgroupPath::new(path).is_ok())
    }

    fn is_label(text: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !text.is_empty()
            && text.len() <= 63
            && text.chars().all(inner)
            && !text.starts_with('-')
            && !text.ends_with('-')
    }

    proptest! {
        #[test]
        fn every_name_is_one_that_kubernetes_allows(path in path()) {
            let [namespace, pod, container] = names(&path);
            prop_assert!(is_label(&namespace), "{namespace}");
            prop_assert!(is_label(&container), "{container}");
            prop_assert!(pod.len() <= 253 && pod.split('.').all(is_label_of_any_length), "{pod}");
        }

        #[test]
        fn the_path_can_be_read_back_from_its_labels(path in path()) {
            let labels = path_labels(&path);
            for (_, value) in &labels {
                let end = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
                prop_assert!(value.len() <= 63 && end(value.chars().next()) && end(value.chars().last()), "{value}");
                prop_assert!(value.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c)), "{value}");
            }
            prop_assert_eq!(path_from_labels(&labels), Some(path));
        }
    }

    fn is_label_of_any_length(text: &str) -> bool {
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !text.is_empty() && text.chars().all(inner) && !text.starts_with('-') && !text.ends_with('-')
    }
}
