//! Who calls, and whether they may.
//!
//! Every request is authenticated and authorized by itself, never per connection. In reading order: [`user`] (who
//! somebody is), [`front_proxy`], [`certificate`], [`token`] and [`token_review`] (how that is found out), [`trust`]
//! (whom the cluster tells us to trust), [`delegated`] (in which order they are asked); [`attributes`] (what is
//! wanted), [`access`] and [`access_review`] (whether it is allowed); [`review`] (how the cluster is
//! asked); [`delegation`] (all of it put together).

pub mod access;
pub mod access_review;
pub mod attributes;
pub mod certificate;
pub mod delegated;
pub mod delegation;
#[cfg(test)]
pub(crate) mod fake;
pub mod front_proxy;
#[cfg(test)]
mod handshakes;
pub mod review;
pub mod token_review;
pub mod trust;
pub mod user;

pub use kubevitals_agent::bearer as token;

use http::HeaderMap;

use self::{
    delegated::Delegated,
    front_proxy::IdentityHeaders,
    token::{StaticTokens, bearer},
    user::UserInfo,
};
use crate::{
    api::status::{About, ApiError},
    tls::clients::PeerCertificates,
};

/// How callers are recognised.
#[derive(Debug)]
pub enum Authenticator {
    /// By a bearer token from a fixed set.
    Tokens(StaticTokens),
    /// As the cluster says.
    Delegated(Delegated),
}

/// Who sent a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserInfo,
    /// By what it was recognised.
    pub by: Means,
}

/// What showed who somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// The front proxy said so. It may vouch for somebody who is anonymous to it.
    FrontProxy,
    /// A client certificate.
    Certificate,
    /// A bearer token.
    Token,
    /// Nothing: the sender is anonymous.
    Nothing,
}

impl Identity {
    /// Nobody said who it is.
    #[must_use]
    pub fn anonymous() -> Self {
        Self { user: UserInfo::anonymous(), by: Means::Nothing }
    }
}

/// Why it is not known who sent a request that shows credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecognised {
    /// They are nobody's.
    Refused,
    /// The cluster could not be asked whose they are.
    Unknown,
}

impl Authenticator {
    /// Finds out who sent a request. Credentials that are there but wrong are an error, never anonymous; to the API's
    /// clients those that could not be looked up are as wrong.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificates: Option<&PeerCertificates>,
    ) -> Result<Identity, ApiError> {
        self.recognise(headers, certificates).await.map_err(|_| ApiError::Unauthorized)
    }

    /// As [`authenticate`](Self::authenticate), telling wrong credentials from those that could not be looked up.
    pub async fn recognise(
        &self,
        headers: &HeaderMap,
        certificates: Option<&PeerCertificates>,
    ) -> Result<Identity, Unrecognised> {
        match self {
            Self::Tokens(known) => match bearer(headers) {
                None => Ok(Identity::anonymous()),
                Some(given) => {
                    let user = known.user(&given).ok_or(Unrecognised::Refused)?;
                    let user = UserInfo::new(user, &[]).authenticated();
                    Ok(Identity { user, by: Means::Token })
                }
            },
            Self::Delegated(delegated) => delegated.authenticate(headers, certificates).await,
        }
    }

    /// Removes everything that says who somebody is, once that is known.
    pub fn strip(&self, headers: &mut HeaderMap) {
        match self {
            Self::Tokens(_) => IdentityHeaders::default().strip(headers),
            Self::Delegated(delegated) => delegated.strip(headers),
        }
    }
}

/// Refuses requests to act as somebody else: to ignore the wish would answer with the wrong person's rights.
pub fn refuse_impersonation(user: &UserInfo, headers: &HeaderMap) -> Result<(), ApiError> {
    if !headers.keys().any(|name| name.as_str().starts_with("impersonate-")) {
        return Ok(());
    }
    let message = format!(
        "users is forbidden: User {:?} cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
        user.name
    );
    Err(ApiError::Forbidden { message, about: Some(About { resource: "users", ..About::default() }) })
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    async fn authenticate(authorization: Option<&'static str>) -> Result<Identity, ApiError> {
        let authenticator = Authenticator::Tokens(StaticTokens::new([("secret", "admin")]));
        let value = authorization.map(HeaderValue::from_static);
        let headers = value.into_iter().map(|value| (http::header::AUTHORIZATION, value)).collect();
        authenticator.authenticate(&headers, None).await
    }

    fn admin() -> Identity {
        Identity { user: UserInfo::new("admin", &[user::AUTHENTICATED]), by: Means::Token }
    }

    #[tokio::test]
    async fn c080_a_valid_token_is_its_user() {
        assert_eq!(authenticate(Some("Bearer secret")).await, Ok(admin()));
    }

    #[tokio::test]
    async fn c081_a_wrong_token_is_an_error_and_not_anonymous() {
        assert_eq!(authenticate(Some("Bearer wrong")).await, Err(ApiError::Unauthorized));
    }

    #[tokio::test]
    async fn c096_the_scheme_ignores_case_and_other_schemes_are_no_credential() {
        assert_eq!(authenticate(Some("bEARER secret")).await, Ok(admin()));
        assert_eq!(authenticate(Some("Bearer secret more")).await, Ok(admin()));
        for none in [None, Some("Bearer "), Some("Bearer"), Some("Basic c2VjcmV0"), Some("")] {
            assert_eq!(authenticate(none).await, Ok(Identity::anonymous()), "{none:?}");
        }
    }

    #[test]
    fn c099_impersonation_is_refused_for_everybody() {
        let admin = UserInfo::new("admin", &[user::MASTERS]);
        let mut headers = HeaderMap::new();
        assert_eq!(refuse_impersonation(&admin, &headers), Ok(()));
        headers.insert(HeaderName::from_static("impersonate-user"), HeaderValue::from_static("root"));
        assert!(matches!(refuse_impersonation(&admin, &headers), Err(ApiError::Forbidden { .. })));
    }
}
