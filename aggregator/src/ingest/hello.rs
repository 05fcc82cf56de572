//! The first message, checked. Pure.

use std::time::Duration;

use kubevitals::{
    limits::{INTERVAL_MS, MAX_NODE_NAME},
    wire,
};

use crate::store::node::Session;

/// Longest boot id: a UUID's text with room to spare.
const MAX_BOOT_ID: usize = 64;

/// More of a version is not worth keeping.
const MAX_VERSION: usize = 80;

/// A checked hello.
#[derive(Debug)]
pub(super) struct Hello {
    /// The node it speaks for.
    pub(super) node: String,
    /// Whether it wants to be told names.
    pub(super) wants_identity: bool,
    /// What the store needs to know.
    pub(super) session: Session,
}

impl TryFrom<wire::Hello> for Hello {
    type Error = String;

    fn try_from(hello: wire::Hello) -> Result<Self, String> {
        if !is_subdomain(&hello.node_name) {
            return Err("hello.node_name is no DNS subdomain of at most 253 characters".to_owned());
        }
        let printable = |byte: u8| byte.is_ascii_graphic();
        if !(1..=MAX_BOOT_ID).contains(&hello.boot_id.len()) || !hello.boot_id.bytes().all(printable) {
            return Err("hello.boot_id is empty, too long or not printable".to_owned());
        }
        if !INTERVAL_MS.contains(&u64::from(hello.interval_ms)) {
            return Err(format!(
                "hello.interval_ms is {}, not within {} to {}",
                hello.interval_ms,
                INTERVAL_MS.start(),
                INTERVAL_MS.end()
            ));
        }
        let capacity = hello.capacity.unwrap_or_default();
        let version: String =
            hello.agent_version.chars().filter(|c| !c.is_control()).take(MAX_VERSION).collect();
        Ok(Self {
            node: hello.node_name,
            wants_identity: hello.wants_identity,
            session: Session {
                boot_id: hello.boot_id,
                instance: hello.instance,
                interval: Duration::from_millis(hello.interval_ms.into()),
                cpus: capacity.cpus,
                memory_bytes: capacity.memory_bytes,
                newest_sequence: hello.newest_sequence,
                version: version.into(),
            },
        })
    }
}

/// Whether Kubernetes would accept `name` as a node's.
fn is_subdomain(name: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let is_label = |label: &str| {
        !label.is_empty() && label.bytes().all(inner) && !label.starts_with('-') && !label.ends_with('-')
    };
    name.len() <= MAX_NODE_NAME && name.split('.').all(is_label)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> wire::Hello {
        wire::Hello {
            node_name: "n1.example".to_owned(),
            boot_id: "b".to_owned(),
            interval_ms: 1000,
            ..wire::Hello::default()
        }
    }

    #[test]
    fn each_field_is_checked_and_named() {
        assert!(Hello::try_from(hello()).is_ok());
        let fault = |change: fn(&mut wire::Hello)| {
            let mut hello = hello();
            change(&mut hello);
            Hello::try_from(hello).unwrap_err().split(' ').next().unwrap().to_owned()
        };
        for name in ["", "A", "a..b", "-a", "a/b"] {
            let hello = wire::Hello { node_name: name.to_owned(), ..hello() };
            assert!(Hello::try_from(hello).is_err(), "{name:?}");
        }
        assert_eq!(fault(|hello| hello.node_name = "a".repeat(254)), "hello.node_name");
        assert_eq!(fault(|hello| hello.boot_id.clear()), "hello.boot_id");
        assert_eq!(fault(|hello| hello.boot_id = "a\n".to_owned()), "hello.boot_id");
        assert_eq!(fault(|hello| hello.interval_ms = 199), "hello.interval_ms");
        assert_eq!(fault(|hello| hello.interval_ms = 60_001), "hello.interval_ms");
    }
}
