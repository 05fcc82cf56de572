//! The text of `/metrics/resource`, line by line as it arrives. Pure.
//!
//! One pass over the bytes and no allocation for a line, unless it lies across two pieces or a label has an escape.
//! Families that are not asked for are skipped without a look at their values; a line that is not understood is
//! reported and costs only itself. What the lines mean together is the business of [`super::gather`].
//! The format: <https://prometheus.io/docs/instrumenting/exposition_formats/>.

use std::borrow::Cow;

use memchr::{memchr, memchr2};

use super::number::{BadNumber, scaled};

/// Longest line. The longest names make one of about 600 bytes.
const MAX_LINE: usize = 16 * 1024;

/// What is taken from the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// `node_cpu_usage_seconds_total`, nanoseconds here.
    NodeCpu,
    /// `node_memory_working_set_bytes`.
    NodeMemory,
    /// `container_cpu_usage_seconds_total`, nanoseconds here.
    ContainerCpu,
    /// `container_memory_working_set_bytes`.
    ContainerMemory,
    /// `container_start_time_seconds`, nanoseconds since 1970 here.
    ContainerStart,
    /// `resource_scrape_error`: 1 when the kubelet could not read its own numbers. Older ones call it
    /// `scrape_error`.
    ScrapeError,
}

impl Family {
    fn named(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"node_cpu_usage_seconds_total" => Self::NodeCpu,
            b"node_memory_working_set_bytes" => Self::NodeMemory,
            b"container_cpu_usage_seconds_total" => Self::ContainerCpu,
            b"container_memory_working_set_bytes" => Self::ContainerMemory,
            b"container_start_time_seconds" => Self::ContainerStart,
            b"resource_scrape_error" | b"scrape_error" => Self::ScrapeError,
            _ => return None,
        })
    }

    /// Powers of ten between the page's unit and ours.
    fn scale(self) -> i32 {
        match self {
            Self::NodeCpu | Self::ContainerCpu | Self::ContainerStart => 9,
            Self::NodeMemory | Self::ContainerMemory | Self::ScrapeError => 0,
        }
    }
}

/// The labels of a sample that say whose it is; empty where there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names<'a> {
    /// `namespace`.
    pub namespace: Cow<'a, str>,
    /// `pod`.
    pub pod: Cow<'a, str>,
    /// `container`.
    pub container: Cow<'a, str>,
}

/// A line that says something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line<'a> {
    /// A sample of a family that is asked for.
    Sample {
        /// Which.
        family: Family,
        /// Whose.
        names: Names<'a>,
        /// Its value, in our unit.
        value: Result<u64, BadNumber>,
        /// When it was taken, milliseconds since 1970 by the node's clock.
        time: Option<i64>,
    },
    /// A line of such a family that is not understood.
    Bad,
}

/// The page did not end with the end of a line, so a part of it is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ends within a line")]
pub struct Unfinished;

/// Makes lines of pieces.
#[derive(Debug, Default)]
pub struct Lines {
    /// The beginning of a line whose end has not come yet.
    begun: Vec<u8>,
    /// That line is too long, and its rest is passed over.
    is_long: bool,
}

impl Lines {
    /// Takes the next piece and hands on the lines that it completes.
    pub fn feed(&mut self, piece: &[u8], take: &mut impl FnMut(Line<'_>)) {
        let mut rest = piece;
        while let Some(at) = memchr(b'\n', rest) {
            let (line, after) = rest.split_at(at);
            rest = after.get(1..).unwrap_or_default();
            if self.begun.is_empty() && !self.is_long {
                read(line, take);
                continue;
            }
            self.keep(line);
            if std::mem::take(&mut self.is_long) {
                take(Line::Bad);
            } else {
                read(&self.begun, take);
            }
            self.begun.clear();
        }
        self.keep(rest);
    }

    fn keep(&mut self, part: &[u8]) {
        self.is_long |= self.begun.len() + part.len() > MAX_LINE;
        if self.is_long {
            self.begun.clear();
        } else {
            self.begun.extend_from_slice(part);
        }
    }

    /// Whether all lines came to their end.
    pub fn finish(self) -> Result<(), Unfinished> {
        let is_done = self.begun.trim_ascii().is_empty() || self.begun.trim_ascii() == b"# EOF";
        if is_done && !self.is_long { Ok(()) } else { Err(Unfinished) }
    }
}

fn read(line: &[u8], take: &mut impl FnMut(Line<'_>)) {
    let line = line.trim_ascii();
    let name_end = line.iter().position(|byte| matches!(byte, b'{' | b' ' | b'\t')).unwrap_or(line.len());
    let (name, rest) = line.split_at(name_end);
    if let Some(family) = Family::named(name) {
        take(sample(family, rest).unwrap_or(Line::Bad));
    }
}

fn sample(family: Family, rest: &[u8]) -> Option<Line<'_>> {
    let rest = rest.trim_ascii_start();
    let (names, rest) = match rest.split_first() {
        Some((b'{', labels)) => labels_of(labels)?,
        _ => (Names::default(), rest),
    };
    let mut words = rest.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
    let value = match scaled(words.next()?, family.scale()) {
        Err(BadNumber::Malformed) => return None,
        value => value,
    };
    let time = words.next().map(|word| std::str::from_utf8(word).ok()?.parse().ok());
    // A time that is there has to be one.
    let time = match time {
        Some(time) => Some(time?),
        None => None,
    };
    words.next().is_none().then_some(Line::Sample { family, names, value, time })
}

/// The labels up to the closing brace, and what comes after it.
fn labels_of(mut rest: &[u8]) -> Option<(Names<'_>, &[u8])> {
    let mut names = Names::default();
    let mut seen = [false; 3];
    loop {
        rest = rest.trim_ascii_start();
        if let Some(after) = rest.strip_prefix(b"}") {
            return Some((names, after));
        }
        let key_end =
            rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':')))?;
        let (key, after) = rest.split_at(key_end);
        let quoted = after.trim_ascii_start().strip_prefix(b"=")?.trim_ascii_start().strip_prefix(b"\"")?;
        let (value, after) = text(quoted)?;
        let [namespace, pod, container] = &mut seen;
        let (held, seen) = match key {
            b"namespace" => (Some(&mut names.namespace), namespace),
            b"pod" => (Some(&mut names.pod), pod),
            b"container" => (Some(&mut names.container), container),
            b"" => return None,
            _ => (None, &mut false),
        };
        if std::mem::replace(seen, true) {
            return None;
        }
        if let Some(held) = held {
            *held = value;
        }
        let after = after.trim_ascii_start();
        rest = match after.split_first()? {
            (b',', next) => next,
            (b'}', _) => after,
            _ => return None,
        };
    }
}

/// A label's value up to its closing quote, and what comes after it.
fn text(quoted: &[u8]) -> Option<(Cow<'_, str>, &[u8])> {
    let plain = memchr2(b'"', b'\\', quoted)?;
    let (begin, rest) = quoted.split_at(plain);
    let begin = std::str::from_utf8(begin).ok()?;
    if let Some(after) = rest.strip_prefix(b"\"") {
        return Some((Cow::Borrowed(begin), after));
    }
    let (mut value, mut rest) = (begin.as_bytes().to_vec(), rest);
    loop {
        let (&byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((Cow::Owned(String::from_utf8(value).ok()?), rest)),
            b'\\' => {
                let (&escaped, after) = rest.split_first()?;
                rest = after;
                value.push(match escaped {
                    b'n' => b'\n',
                    b'"' | b'\\' => escaped,
                    _ => return None,
                });
            }
            byte => value.push(byte),
        }
    }
}

#[cfg(test)]
mod tests;
