//! Whether the sender of a request may do what it wants.
//!
//! Never asked of anybody: the three probes, and whoever is in `system:masters`.

use super::{access_review::AccessReviews, attributes::Attributes, user::UserInfo};
use crate::{
    api::{
        route::GROUP,
        status::{About, ApiError},
    },
    metrics::auth::AuthorizationMetrics,
};

/// What anybody may ask: exactly these, and nothing below them.
const OPEN: [&str; 3] = ["/healthz", "/livez", "/readyz"];

/// Decides.
#[derive(Debug)]
pub enum Authorizer {
    /// Everybody with a name may read everything, and there is nothing but reading.
    Named,
    /// The cluster decides.
    Delegated {
        /// By these.
        reviews: AccessReviews,
        /// Counts the decisions.
        metrics: AuthorizationMetrics,
    },
}

impl Authorizer {
    /// Whether `user` may. An answer that cannot be had is an error of ours and no permission.
    pub async fn check(&self, user: &UserInfo, wanted: &Attributes) -> Result<(), ApiError> {
        if wanted.path().is_some_and(|path| OPEN.contains(&path)) || user.is_master() {
            return Ok(());
        }
        match self {
            Self::Named if *user == UserInfo::anonymous() => Err(forbidden(user, wanted, None)),
            Self::Named => Ok(()),
            Self::Delegated { reviews, metrics } => {
                let decision = reviews.decide(user, wanted).await;
                metrics.decided(decision.as_ref().ok().map(|decision| decision.allowed));
                match decision {
                    Ok(decision) if decision.allowed => Ok(()),
                    Ok(decision) => Err(forbidden(user, wanted, decision.reason.as_deref())),
                    Err(_) => Err(ApiError::Internal("whether this is allowed could not be found out")),
                }
            }
        }
    }
}

fn forbidden(user: &UserInfo, wanted: &Attributes, reason: Option<&str>) -> ApiError {
    let user = &user.name;
    let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    match wanted {
        Attributes::Path(wanted) => {
            let (verb, path) = (text(&wanted.verb), text(&wanted.path));
            let message = format!("forbidden: User {user:?} cannot {verb} path {path:?}{reason}");
            ApiError::Forbidden { message, about: None }
        }
        Attributes::Resource(wanted) => {
            let (verb, group, name) = (text(&wanted.verb), text(&wanted.group), text(&wanted.name));
            let scope = match &wanted.namespace {
                Some(namespace) => format!("in the namespace {namespace:?}"),
                None => "at the cluster scope".to_owned(),
            };
            let below = wanted.subresource.as_ref().map(|below| format!("/{below}")).unwrap_or_default();
            let resource = text(&wanted.resource);
            let separator = if group.is_empty() { "" } else { "." };
            let object = wanted.name.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
            let message = format!(
                "{resource}{separator}{group}{object} is forbidden: User {user:?} cannot {verb} resource \
                 \"{resource}{below}\" in API group {group:?} {scope}{reason}"
            );
            ApiError::Forbidden { message, about: Some(about(&group, &resource, name)) }
        }
    }
}

/// What the details say: nothing about groups and resources that do not exist here.
fn about(group: &str, resource: &str, name: String) -> About {
    let known = ["nodes", "pods", "namespaces"].into_iter().find(|known| *known == resource);
    About { group: if group == GROUP { GROUP } else { "" }, resource: known.unwrap_or_default(), name }
}

#[cfg(test)]
mod tests;
