//! The place in a list at which its next page begins, as a text that callers hand back. Pure.
//!
//! It names the last item that was told, so it is good at every replica and for as long as there is an order, and it
//! says nothing that the caller did not hear already.

use std::{fmt::Write as _, sync::Arc};

use super::{selection::Level, walk::Place};

/// Longest token of ours: two names and a container's, with their separators.
const LONGEST: usize = 600;

/// After the item of these names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) level: Level,
    /// The node, or the pod.
    pub(super) place: Place,
    /// Of that pod, the container; none where the pod is complete.
    pub(super) container: Option<String>,
}

impl Token {
    /// As it is told.
    pub(super) fn encode(&self) -> String {
        let Place { namespace, name } = &self.place;
        let container = self.container.as_deref().unwrap_or_default();
        let text = format!("{}/{namespace}/{name}/{container}", level_name(self.level));
        text.bytes().fold(String::with_capacity(2 * text.len()), |mut digits, byte| {
            let _infallible = write!(digits, "{byte:02x}");
            digits
        })
    }

    /// What [`encode`](Self::encode) made; `None` for anything else.
    pub(super) fn decode(text: &str) -> Option<Self> {
        if text.len() > 2 * LONGEST || !text.len().is_multiple_of(2) {
            return None;
        }
        let digits = text.as_bytes().chunks_exact(2);
        let bytes: Option<Vec<u8>> = digits.map(hexadecimal).collect();
        let text = String::from_utf8(bytes?).ok()?;
        let mut parts = text.split('/');
        let (level, namespace, name, container) =
            (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let level = [Level::Nodes, Level::Pods, Level::Containers]
            .into_iter()
            .find(|one| level_name(*one) == level)?;
        let place = Place { namespace: Arc::from(namespace), name: Arc::from(name) };
        let container = Some(container.to_owned()).filter(|container| !container.is_empty());
        parts.next().is_none().then_some(Self { level, place, container })
    }
}

fn hexadecimal(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?, 16).ok()
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Nodes => "n",
        Level::Pods => "p",
        Level::Containers => "c",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_comes_back_as_it_went(
            namespace in "[a-z0-9-]{0,63}", name in "[a-z0-9.-]{1,253}", container in proptest::option::of("[a-z0-9-]{1,63}"),
        ) {
            for level in [Level::Nodes, Level::Pods, Level::Containers] {
                let place = Place { namespace: namespace.as_str().into(), name: name.as_str().into() };
                let token = Token { level, place, container: container.clone() };
                prop_assert_eq!(Token::decode(&token.encode()), Some(token));
            }
        }

        #[test]
        fn any_other_text_is_no_token(text in "\\PC{0,80}") {
            if let Some(token) = Token::decode(&text) {
                prop_assert_eq!(token.encode(), text.to_lowercase());
            }
        }
    }
}
