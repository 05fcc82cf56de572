//! Who calls, as the cluster says: its front proxy, its client certificates, its tokens, or nobody.
//!
//! The first that recognises the caller decides. Credentials that nobody recognises are refused, even beside none
//! that were: only who shows nothing at all is anonymous.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use http::HeaderMap;

use super::{
    Identity, Means, Unrecognised, front_proxy::NotText, token::bearer, token_review::TokenReviews,
    trust::Trust, user::UserInfo,
};
use crate::{metrics::auth::AuthenticationMetrics, tls::clients::PeerCertificates};

/// Recognises callers.
pub struct Delegated {
    trust: Arc<ArcSwap<Trust>>,
    tokens: TokenReviews,
    metrics: AuthenticationMetrics,
    now: fn() -> Duration,
}

impl Delegated {
    /// By what `trust` holds at each request, and by `tokens`.
    #[must_use]
    pub fn new(trust: Arc<ArcSwap<Trust>>, tokens: TokenReviews, metrics: AuthenticationMetrics) -> Self {
        Self { trust, tokens, metrics, now: since_1970 }
    }

    pub(super) async fn authenticate(
        &self,
        headers: &HeaderMap,
        certificates: Option<&PeerCertificates>,
    ) -> Result<Identity, Unrecognised> {
        let outcome = self.recognise(headers, certificates).await;
        match &outcome {
            Ok(Some(_)) => self.metrics.succeeded(),
            Ok(None) => {}
            Err(Unrecognised::Refused) => self.metrics.failed(),
            Err(Unrecognised::Unknown) => self.metrics.erred(),
        }
        Ok(outcome?.unwrap_or_else(Identity::anonymous))
    }

    /// `None` for who shows nothing.
    async fn recognise(
        &self,
        headers: &HeaderMap,
        certificates: Option<&PeerCertificates>,
    ) -> Result<Option<Identity>, Unrecognised> {
        if let Some(shown) = certificates
            && let Some(identity) = self.by_certificate(headers, shown)
        {
            return Ok(Some(identity));
        }
        if let Some(token) = bearer(headers) {
            return match self.tokens.user(&token).await {
                Ok(Some(user)) => Ok(Some(identity(&user, Means::Token))),
                Ok(None) => Err(Unrecognised::Refused),
                Err(_) => Err(Unrecognised::Unknown),
            };
        }
        if certificates.is_some() { Err(Unrecognised::Refused) } else { Ok(None) }
    }

    /// By the headers of the front proxy, if this is its certificate, or else by the certificate itself.
    fn by_certificate(&self, headers: &HeaderMap, shown: &PeerCertificates) -> Option<Identity> {
        let (trust, now) = (self.trust.load(), (self.now)());
        let verdict = trust.verdict(shown, now);
        if let Some(until) = verdict.valid_until {
            self.metrics.certificate(until.saturating_sub(now));
        }
        if verdict.front_proxy {
            match trust.user_of_headers(headers) {
                Ok(Some(user)) => return Some(Identity { user, by: Means::FrontProxy }),
                Ok(None) => {}
                // It speaks for somebody else, so it must not be answered with its own rights.
                Err(NotText) => return None,
            }
        }
        verdict.user.map(|user| identity(&user, Means::Certificate))
    }

    pub(super) fn strip(&self, headers: &mut HeaderMap) {
        self.trust.load().strip(headers);
    }
}

impl fmt::Debug for Delegated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delegated").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

fn identity(user: &UserInfo, by: Means) -> Identity {
    Identity { user: user.clone(), by }
}

/// Certificates are good or not by the wall clock.
fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests;
