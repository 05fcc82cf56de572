//! Whether a user may, by `SubjectAccessReview`.
//!
//! Both answers are kept for a short time; a failure never is, and it is no permission.

use std::{fmt, num::NonZeroUsize, sync::Arc, time::Duration};

use k8s_openapi::api::authorization::v1::{SubjectAccessReview, SubjectAccessReviewSpec};
use kube::Client;
use kubevitals_agent::flight::{Outcome, SingleFlightCache};
use ring::digest::{SHA256, digest};

use super::{
    attributes::Attributes,
    review::{ReviewError, Reviewer},
    user::UserInfo,
};
use crate::metrics::auth as metrics;

/// With the limit the server is told, so that it does not work on what nobody waits for.
const URI: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews?timeout=10s";

/// Answers kept at one time.
const KEPT: NonZeroUsize = NonZeroUsize::new(8192).unwrap();

/// Requests that make more of a review than this, bytes, are not remembered, and asked about only while their
/// sender waits: nobody asks them twice, and what goes on without its sender must be small.
const MEMORABLE: usize = 16 << 10;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Whether the request may go on.
    pub allowed: bool,
    /// Why, if that was said.
    pub reason: Option<String>,
}

type Found = Result<Arc<Decision>, ReviewError>;

/// Decides by asking.
pub struct AccessReviews {
    reviewer: Arc<Reviewer>,
    allowed_ttl: Duration,
    denied_ttl: Duration,
    cache: SingleFlightCache<[u8; 32], Found>,
}

impl AccessReviews {
    /// Asks with `client` and keeps permissions and refusals for so long.
    #[must_use]
    pub fn new(client: Client, allowed_ttl: Duration, denied_ttl: Duration, metrics: &metrics::Auth) -> Self {
        let reviewer = Arc::new(Reviewer::new(client, URI, metrics.access_reviews.clone()));
        let cache = SingleFlightCache::new(KEPT, metrics.access_cache.hits(), metrics.access_cache.misses());
        Self { reviewer, allowed_ttl, denied_ttl, cache }
    }

    /// Whether `user` may do what is wanted.
    pub async fn decide(&self, user: &UserInfo, wanted: &Attributes) -> Found {
        let review = review(user, wanted);
        if chosen_bytes(wanted) > MEMORABLE {
            return self.reviewer.ask(review).await.map(|answer| Arc::new(decision(answer)));
        }
        let question = serde_json::to_vec(&review.spec).map_err(|_| ReviewError::Garbled)?;
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, &question).as_ref());
        let (reviewer, ttl) = (Arc::clone(&self.reviewer), (self.allowed_ttl, self.denied_ttl));
        let look_up = || look_up(reviewer, review, ttl);
        self.cache.get(key, look_up).await.unwrap_or(Err(ReviewError::Busy))
    }
}

impl fmt::Debug for AccessReviews {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessReviews")
            .field("allowed_ttl", &self.allowed_ttl)
            .field("denied_ttl", &self.denied_ttl)
            .finish_non_exhaustive()
    }
}

async fn look_up(
    reviewer: Arc<Reviewer>,
    review: SubjectAccessReview,
    (allowed_ttl, denied_ttl): (Duration, Duration),
) -> Outcome<Found> {
    match reviewer.ask(review).await {
        Err(error) => (Err(error), None),
        Ok(answer) => {
            let decision = decision(answer);
            let ttl = if decision.allowed { allowed_ttl } else { denied_ttl };
            (Ok(Arc::new(decision)), Some(ttl))
        }
    }
}

/// A denial beats a permission, and no answer is no permission.
fn decision(answer: SubjectAccessReview) -> Decision {
    let status = answer.status.unwrap_or_default();
    Decision {
        allowed: status.allowed && status.denied != Some(true),
        reason: status.reason.filter(|reason| !reason.is_empty()),
    }
}

fn review(user: &UserInfo, wanted: &Attributes) -> SubjectAccessReview {
    let (resource, path) = match wanted {
        Attributes::Resource(wanted) => (Some(wanted.as_ref().clone()), None),
        Attributes::Path(wanted) => (None, Some(wanted.clone())),
    };
    let spec = SubjectAccessReviewSpec {
        user: Some(user.name.clone()),
        uid: user.uid.clone(),
        groups: Some(user.groups.clone()),
        extra: Some(user.extra.clone()).filter(|extra| !extra.is_empty()),
        resource_attributes: resource,
        non_resource_attributes: path,
    };
    SubjectAccessReview { spec, ..SubjectAccessReview::default() }
}

/// What the sender of the request has chosen of the review, bytes. A requirement on a label is three bytes of a query
/// and forty of a review.
fn chosen_bytes(wanted: &Attributes) -> usize {
    let text = match wanted {
        Attributes::Path(wanted) => serde_json::to_vec(wanted),
        Attributes::Resource(wanted) => serde_json::to_vec(wanted),
    };
    text.map_or(usize::MAX, |text| text.len())
}

#[cfg(test)]
mod tests;
