//! Who somebody is, as Kubernetes describes it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1 as api;

/// The name of whoever showed no credentials.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of everybody who proved an identity.
pub const AUTHENTICATED: &str = "system:authenticated";
/// The group of everybody who did not.
pub const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group that may do everything.
pub const MASTERS: &str = "system:masters";

/// A user, with what a `SubjectAccessReview` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserInfo {
    /// The name.
    pub name: String,
    /// The id, when the source of the identity has one.
    pub uid: Option<String>,
    /// The groups, in the order in which they were given.
    pub groups: Vec<String>,
    /// Further facts about the user, such as scopes or the node of a pod.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl UserInfo {
    /// Somebody of whom only the name and the groups are known.
    #[must_use]
    pub fn new(name: impl Into<String>, groups: &[&str]) -> Self {
        let groups = groups.iter().map(|&group| group.to_owned()).collect();
        Self { name: name.into(), groups, ..Self::default() }
    }

    /// Nobody.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(ANONYMOUS, &[UNAUTHENTICATED])
    }

    /// From a `TokenReview`; `None` when it names nobody.
    #[must_use]
    pub fn from_review(user: api::UserInfo) -> Option<Self> {
        let name = user.username.filter(|name| !name.is_empty())?;
        Some(Self {
            name,
            uid: user.uid.filter(|uid| !uid.is_empty()),
            groups: user.groups.unwrap_or_default(),
            extra: user.extra.unwrap_or_default(),
        })
    }

    /// Adds the group of everybody who proved an identity. A front proxy may vouch for somebody who is anonymous
    /// to it, or say itself that it knows nothing: then nothing is added.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        let said = [AUTHENTICATED, UNAUTHENTICATED].iter().any(|group| self.is_in(group));
        if self.name != ANONYMOUS && !said {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether it is a member of `group`.
    #[must_use]
    pub fn is_in(&self, group: &str) -> bool {
        self.groups.iter().any(|held| held == group)
    }

    /// Whether everything is allowed to it.
    #[must_use]
    pub fn is_master(&self) -> bool {
        self.is_in(MASTERS)
    }

    /// The one value of `extra[key]`; `None` when there is none or more than one.
    #[must_use]
    pub fn only_extra(&self, key: &str) -> Option<&str> {
        match self.extra.get(key)?.as_slice() {
            [one] => Some(one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c095_who_is_anonymous_to_the_proxy_is_not_authenticated() {
        let groups = |name: &str, groups: &[&str]| UserInfo::new(name, groups).authenticated().groups;
        assert_eq!(groups("u", &["g"]), ["g", AUTHENTICATED]);
        assert_eq!(groups("u", &[AUTHENTICATED, "g"]), [AUTHENTICATED, "g"]);
        assert_eq!(groups("u", &[UNAUTHENTICATED]), [UNAUTHENTICATED]);
        assert_eq!(groups(ANONYMOUS, &[]), [] as [&str; 0]);
    }

    #[test]
    fn a_review_without_a_name_is_nobody() {
        let user = |name: Option<&str>| {
            let username = name.map(str::to_owned);
            UserInfo::from_review(api::UserInfo { username, ..api::UserInfo::default() })
        };
        assert_eq!(user(None), None);
        assert_eq!(user(Some("")), None);
        assert_eq!(user(Some("u")), Some(UserInfo::new("u", &[])));
    }

    #[test]
    fn a_fact_with_two_values_is_no_fact() {
        let mut user = UserInfo::new("u", &[]);
        assert_eq!(user.only_extra("k"), None);
        user.extra.insert("k".to_owned(), vec!["a".to_owned()]);
        assert_eq!(user.only_extra("k"), Some("a"));
        user.extra.insert("k".to_owned(), vec!["a".to_owned(), "a".to_owned()]);
        assert_eq!(user.only_extra("k"), None);
    }
}
