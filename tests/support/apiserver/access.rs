//! A request as authorization sees it, who may do what, and what was asked.

use http::Method;

use super::core_v1::Asked;

/// Who does what to which object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Access {
    pub(crate) user: String,
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub(crate) verb: &'static str,
    /// Empty for core resources.
    pub(crate) group: String,
    pub(crate) resource: String,
    /// Empty without one.
    pub(crate) namespace: String,
    /// Empty without one. That of the selector, where a list or watch selects one by name.
    pub(crate) name: String,
}

impl Access {
    pub(super) fn new(user: &str, verb: &'static str, asked: &Asked<'_>) -> Self {
        let selector = asked.selector().ok();
        let name = asked.name.or_else(|| selector.as_ref()?.name()).unwrap_or_default().to_owned();
        Self {
            user: user.to_owned(),
            verb,
            group: asked.group.to_owned(),
            resource: asked.resource.to_owned(),
            namespace: asked.namespace.unwrap_or_default().to_owned(),
            // A role cannot name what does not exist yet.
            name: if verb == "create" { String::new() } else { name },
        }
    }

    pub(super) fn is_reading(&self) -> bool {
        ["get", "list", "watch"].contains(&self.verb)
    }
}

impl Asked<'_> {
    /// What a method means here.
    pub(super) fn verb(&self, method: &Method) -> Option<&'static str> {
        match (method.as_str(), self.name) {
            ("GET", Some(_)) => Some("get"),
            ("GET", None) if self.is_watch() => Some("watch"),
            ("GET", None) => Some("list"),
            ("POST", None) => Some("create"),
            ("PUT", Some(_)) => Some("update"),
            ("PATCH", Some(_)) => Some("patch"),
            ("DELETE", Some(_)) => Some("delete"),
            _ => None,
        }
    }
}

/// One rule of a role, bound to one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) user: String,
    pub(crate) verbs: Vec<String>,
    pub(crate) group: String,
    pub(crate) resource: String,
    /// Everywhere when empty.
    pub(crate) namespace: String,
    /// Every object when empty.
    pub(crate) names: Vec<String>,
}

impl Grant {
    /// These verbs on every object of a resource.
    pub(crate) fn new(user: &str, verbs: &[&str], group: &str, resource: &str) -> Self {
        let verbs = verbs.iter().map(|&verb| verb.to_owned()).collect();
        let (user, group, resource) = (user.to_owned(), group.to_owned(), resource.to_owned());
        Self { user, verbs, group, resource, ..Self::default() }
    }

    pub(crate) fn namespace(mut self, namespace: &str) -> Self {
        namespace.clone_into(&mut self.namespace);
        self
    }

    /// On objects of these names alone.
    pub(crate) fn names(mut self, names: &[&str]) -> Self {
        self.names = names.iter().map(|&name| name.to_owned()).collect();
        self
    }

    pub(super) fn allows(&self, access: &Access) -> bool {
        self.user == access.user
            && self.verbs.iter().any(|verb| verb == access.verb)
            && self.group == access.group
            && self.resource == access.resource
            && (self.namespace.is_empty() || self.namespace == access.namespace)
            && (self.names.is_empty() || self.names.contains(&access.name))
    }
}
