//! Who calls, and whether they may.
//!
//! Every request is authenticated and authorized by itself, never per connection. Today there are static tokens,
//! whose holders may read everything; delegation to a cluster (front proxy, client certificates, `TokenReview`,
//! `SubjectAccessReview`) will be further variants of [`Authenticator`] and a further step in [`access`].

pub mod access;
pub mod token;

use http::HeaderMap;
use token::{StaticTokens, bearer};

use crate::api::status::{About, ApiError};

/// How callers are recognised.
#[derive(Debug)]
pub enum Authenticator {
    /// By a bearer token from a fixed set.
    Tokens(StaticTokens),
}

/// Who calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Somebody we know by name.
    User(String),
    /// Nobody said who it is.
    Anonymous,
}

impl Identity {
    /// The name that messages and logs use.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::User(name) => name,
            Self::Anonymous => "system:anonymous",
        }
    }
}

impl Authenticator {
    /// Finds out who sent a request. Credentials that are there but wrong are an error, never anonymous.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Identity, ApiError> {
        let Some(given) = bearer(headers) else {
            return Ok(Identity::Anonymous);
        };
        match self {
            Self::Tokens(known) => {
                let user = known.user(given).ok_or(ApiError::Unauthorized)?;
                Ok(Identity::User(user.to_owned()))
            }
        }
    }
}

/// Refuses requests to act as somebody else: to ignore the wish would answer with the wrong person's rights.
pub fn refuse_impersonation(identity: &Identity, headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(());
    }
    let message = format!(
        "users is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        identity.name()
    );
    Err(ApiError::Forbidden { message, about: Some(About { resource: "users", ..About::default() }) })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn authenticate(authorization: Option<&'static str>) -> Result<Identity, ApiError> {
        let authenticator = Authenticator::Tokens(StaticTokens::new([("secret", "admin")]));
        let value = authorization.map(HeaderValue::from_static);
        let headers = value.into_iter().map(|value| (http::header::AUTHORIZATION, value)).collect();
        authenticator.authenticate(&headers)
    }

    #[test]
    fn c080_a_valid_token_is_its_user() {
        assert_eq!(authenticate(Some("Bearer secret")), Ok(Identity::User("admin".to_owned())));
    }

    #[test]
    fn c081_a_wrong_token_is_an_error_and_not_anonymous() {
        assert_eq!(authenticate(Some("Bearer wrong")), Err(ApiError::Unauthorized));
    }

    #[test]
    fn c096_the_scheme_ignores_case_and_other_schemes_are_no_credential() {
        assert_eq!(authenticate(Some("bEARER secret")), Ok(Identity::User("admin".to_owned())));
        assert_eq!(authenticate(Some("Bearer secret more")), Ok(Identity::User("admin".to_owned())));
        for none in [None, Some("Bearer "), Some("Bearer"), Some("Basic c2VjcmV0"), Some("")] {
            assert_eq!(authenticate(none), Ok(Identity::Anonymous), "{none:?}");
        }
    }

    #[test]
    fn c099_impersonation_is_refused_for_everybody() {
        let admin = Identity::User("admin".to_owned());
        let mut headers = HeaderMap::new();
        assert_eq!(refuse_impersonation(&admin, &headers), Ok(()));
        headers.insert(HeaderName::from_static("impersonate-user"), HeaderValue::from_static("root"));
        assert!(matches!(refuse_impersonation(&admin, &headers), Err(ApiError::Forbidden { .. })));
    }
}
