//! Bearer tokens, by `TokenReview`.
//!
//! What a token stands for is kept for a short time, and so is that it stands for nobody; a failure never is. Tokens
//! are kept only as keyed digests.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use kube::Client;
use kubevitals_agent::flight::{Outcome, SingleFlightCache};
use ring::{
    hmac::{self, HMAC_SHA256},
    rand::SystemRandom,
};

use super::{
    review::{ReviewError, Reviewer},
    user::UserInfo,
};
use crate::metrics::auth as metrics;

const URI: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// Tokens remembered at one time; a kilobyte or so each.
const KEPT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Longest token, bytes. Tokens of service accounts take one or two thousand.
const LONGEST: usize = 32 << 10;

type Found = Result<Option<Arc<UserInfo>>, ReviewError>;

/// Finds the users of tokens.
#[derive(Clone)]
pub struct TokenReviews(Arc<Inner>);

struct Inner {
    reviewer: Arc<Reviewer>,
    /// A token must be meant for one of them; when there are none, for kube-apiserver.
    audiences: Vec<String>,
    ttl: Duration,
    key: hmac::Key,
    cache: SingleFlightCache<[u8; 32], Found>,
    metrics: metrics::TokenCache,
}

impl TokenReviews {
    /// Asks with `client` and keeps answers for `ttl`. `None` when the system has no random numbers.
    #[must_use]
    pub fn new(
        client: Client,
        audiences: Vec<String>,
        ttl: Duration,
        metrics: &metrics::Auth,
    ) -> Option<Self> {
        let key = hmac::Key::generate(HMAC_SHA256, &SystemRandom::new()).ok()?;
        let cache = &metrics.token_cache;
        let reviewer = Reviewer::new(client, URI, metrics.token_reviews.clone());
        Some(Self(Arc::new(Inner {
            reviewer: Arc::new(reviewer),
            audiences,
            ttl,
            key,
            cache: SingleFlightCache::new(KEPT, cache.hits(), cache.misses()),
            metrics: cache.clone(),
        })))
    }

    /// The user a token stands for; `None` when it stands for nobody.
    pub async fn user(&self, token: &str) -> Found {
        if token.len() > LONGEST {
            return Ok(None);
        }
        let look_up = || Arc::clone(&self.0).look_up(token.to_owned());
        self.0.cache.get(self.0.digest(token), look_up).await.unwrap_or(Err(ReviewError::Busy))
    }

    /// Asks anew when this token is shown next.
    pub fn forget(&self, token: &str) {
        self.0.cache.forget(&self.0.digest(token));
    }
}

impl fmt::Debug for TokenReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReviews").field("audiences", &self.0.audiences).finish_non_exhaustive()
    }
}

impl Inner {
    /// Lengths are part of it, so that no two questions read the same.
    fn digest(&self, token: &str) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in std::iter::once(token).chain(self.audiences.iter().map(String::as_str)) {
            context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    async fn look_up(self: Arc<Self>, token: String) -> Outcome<Found> {
        let audiences = Some(self.audiences.clone()).filter(|audiences| !audiences.is_empty());
        let spec = TokenReviewSpec { token: Some(token), audiences };
        let review = TokenReview { spec, ..TokenReview::default() };
        let found = self.reviewer.ask(review).await.map(|answer| self.user_in(answer));
        self.metrics.fetched(found.is_ok());
        let kept_for = found.is_ok().then_some(self.ttl);
        (found.map(|user| user.map(Arc::new)), kept_for)
    }

    /// A token that is meant for others is as good as none.
    fn user_in(&self, answer: TokenReview) -> Option<UserInfo> {
        let status = answer.status.filter(|status| status.authenticated == Some(true))?;
        let meant_for = status.audiences.unwrap_or_default();
        let meant_for_us = meant_for.iter().any(|audience| self.audiences.contains(audience));
        if !self.audiences.is_empty() && !meant_for_us {
            return None;
        }
        UserInfo::from_review(status.user?).map(UserInfo::authenticated)
    }
}

#[cfg(test)]
mod tests;
