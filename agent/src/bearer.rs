//! Bearer tokens from a fixed set. Tokens are never logged and never part of an error.

use std::{borrow::Cow, fmt, hint::black_box};

use http::{HeaderMap, header::AUTHORIZATION};

/// Tokens and the user each stands for.
pub struct StaticTokens(Vec<(String, String)>);

impl StaticTokens {
    /// From pairs of token and user name. An empty token would let everybody in and is left out.
    pub fn new<T: Into<String>, U: Into<String>>(pairs: impl IntoIterator<Item = (T, U)>) -> Self {
        let pairs = pairs.into_iter().map(|(token, user)| (token.into(), user.into()));
        Self(pairs.filter(|(token, _): &(String, String)| !token.is_empty()).collect())
    }

    /// Lets nobody in.
    #[must_use]
    pub fn none() -> Self {
        Self(Vec::new())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The user of a token. Every token is compared in full, so that the time taken tells nothing about them.
    #[must_use]
    pub fn user(&self, given: &str) -> Option<&str> {
        let mut found = None;
        for (token, user) in &self.0 {
            if equal(token.as_bytes(), given.as_bytes()) {
                found = Some(user.as_str());
            }
        }
        found
    }
}

impl fmt::Debug for StaticTokens {
    /// The users alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(_, user)| user)).finish()
    }
}

/// Compares in a time that depends on the lengths alone.
fn equal(known: &[u8], given: &[u8]) -> bool {
    let difference = known.iter().zip(given).fold(0_u8, |difference, (a, b)| black_box(difference | (a ^ b)));
    known.len() == given.len() && black_box(difference) == 0
}

/// The token of an `Authorization: Bearer` header; any other header is no credential. One that is not text is a
/// credential all the same, and a wrong one.
#[must_use]
pub fn bearer(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    let mut words = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii().split(|byte| *byte == b' ');
    let scheme = words.next()?;
    let token = words.next()?;
    (scheme.eq_ignore_ascii_case(b"bearer") && !token.is_empty()).then(|| String::from_utf8_lossy(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_counts() {
        let tokens = StaticTokens::new([("secret", "admin"), ("other", "viewer"), ("", "nobody")]);
        assert_eq!(tokens.user("secret"), Some("admin"));
        assert_eq!(tokens.user("other"), Some("viewer"));
        for wrong in ["", "secre", "secrets", "Secret"] {
            assert_eq!(tokens.user(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn tokens_do_not_show_in_debug_text() {
        let text = format!("{:?}", StaticTokens::new([("secret", "admin")]));
        assert!(text.contains("admin") && !text.contains("secret"));
    }
}
