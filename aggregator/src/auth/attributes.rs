//! What a request wants to do, in the terms in which Kubernetes grants rights. Pure.
//!
//! It is told from method, path and query alone, for paths that exist and for others: what is forbidden is forbidden
//! before it is known to exist. The rules are those of Kubernetes' own servers
//! (<https://kubernetes.io/docs/reference/access-authn-authz/authorization/#determine-the-request-verb>), because
//! roles are written for them.

use http::Method;
use k8s_openapi::{
    api::authorization::v1::{
        FieldSelectorAttributes, LabelSelectorAttributes, NonResourceAttributes, ResourceAttributes,
    },
    apimachinery::pkg::apis::meta::v1::{FieldSelectorRequirement, LabelSelectorRequirement},
};
use percent_encoding::percent_decode_str;

use crate::api::{
    query::Query,
    select::{Field, FieldSelector, LabelSelector},
};

/// Requirements and values of a selector that are told. Two bytes of a query become two hundred here and in a review,
/// for everybody who waits for one. Who has a longer selector is asked about without it, which asks for more: whoever
/// may see everything may see a part.
const TOLD: usize = 500;

/// What a request wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Attributes {
    /// To do something with API objects.
    Resource(Box<ResourceAttributes>),
    /// To do something with a path that is not about API objects.
    Path(NonResourceAttributes),
}

impl Attributes {
    /// Of a request.
    #[must_use]
    pub fn new(method: &Method, path: &str, query: &Query) -> Self {
        match resource(method, path) {
            Some(mut wanted) => {
                qualify(&mut wanted, query);
                Self::Resource(Box::new(wanted))
            }
            None => Self::Path(NonResourceAttributes {
                path: Some(percent_decode_str(path).decode_utf8_lossy().into_owned()),
                verb: Some(method.as_str().to_ascii_lowercase()),
            }),
        }
    }

    /// Of reading what [`ResourceAttributes`] name, as a request to the API for the same would be described; `labels`
    /// and `fields` say which of many objects are read.
    #[must_use]
    pub fn reading(
        wanted: ResourceAttributes,
        labels: Option<&LabelSelector>,
        fields: Option<&FieldSelector>,
    ) -> Self {
        Self::Resource(Box::new(ResourceAttributes {
            name: wanted.name.or_else(|| fields.and_then(only_name).map(str::to_owned)),
            field_selector: fields.and_then(field_selector),
            label_selector: labels.and_then(label_selector),
            ..wanted
        }))
    }

    /// The path of a request that is not about API objects.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::Resource(_) => None,
            Self::Path(wanted) => wanted.path.as_deref(),
        }
    }
}

/// `/api/VERSION/...` and `/apis/GROUP/VERSION/...`, where `...` is not empty.
fn resource(method: &Method, path: &str) -> Option<ResourceAttributes> {
    let path = path.trim_matches('/');
    let decode = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let segments: Vec<String> = path.split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let (group, version, rest) = match segments.as_slice() {
        ["api", version, rest @ ..] => ("", *version, rest),
        ["apis", group, version, rest @ ..] => (*group, *version, rest),
        _ => return None,
    };
    let (special, rest) = match rest {
        [] => return None,
        [verb @ ("watch" | "proxy"), rest @ ..] if !rest.is_empty() => (Some(*verb), rest),
        rest => (None, rest),
    };
    let (namespace, rest) = match rest {
        // The namespace itself.
        ["namespaces", name] | ["namespaces", name, "status" | "finalize", ..] => (*name, rest),
        ["namespaces", name, rest @ ..] => (*name, rest),
        rest => ("", rest),
    };
    let part = |position: usize| rest.get(position).copied().unwrap_or_default();
    let verb = special.unwrap_or_else(|| verb(method, !part(1).is_empty()));
    Some(ResourceAttributes {
        verb: Some(verb.to_owned()),
        group: some(group),
        version: some(version),
        resource: some(part(0)),
        subresource: some(part(2)).filter(|_| special != Some("proxy")),
        namespace: some(namespace),
        name: some(part(1)),
        field_selector: None,
        label_selector: None,
    })
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

/// The verb of a request on objects. A method that Kubernetes does not know has none.
fn verb(method: &Method, named: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", true) => "get",
        ("GET" | "HEAD", false) => "list",
        ("POST", _) => "create",
        ("PUT", _) => "update",
        ("PATCH", _) => "patch",
        ("DELETE", true) => "delete",
        ("DELETE", false) => "deletecollection",
        _ => "",
    }
}

/// Adds what the query says about a request for many objects: that they are to be watched, and which are wanted.
/// Selectors that cannot be read are not told; such a request is refused after it was allowed.
fn qualify(wanted: &mut ResourceAttributes, query: &Query) {
    if wanted.verb.as_deref() == Some("list") && query.watch() {
        wanted.verb = Some("watch".to_owned());
    }
    if !matches!(wanted.verb.as_deref(), Some("list" | "watch" | "deletecollection")) || wanted.name.is_some()
    {
        return;
    }
    let text = |key| query.get(key).unwrap_or_default();
    if let Ok(selector) = FieldSelector::parse(text("fieldSelector"), Field::OF_PODS) {
        wanted.name = only_name(&selector).map(str::to_owned);
        wanted.field_selector = field_selector(&selector);
    }
    if let Ok(selector) = LabelSelector::parse(text("labelSelector")) {
        wanted.label_selector = label_selector(&selector);
    }
}

/// The one name a selector asks for, if it could stand in a path.
fn only_name(selector: &FieldSelector) -> Option<&str> {
    let (_, _, name) = selector.terms().find(|&(field, equal, _)| field == Field::Name && equal)?;
    let segment = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '%']);
    segment.then_some(name)
}

fn field_selector(selector: &FieldSelector) -> Option<FieldSelectorAttributes> {
    if selector.terms().count() > TOLD {
        return None;
    }
    let requirements = selector.terms().map(|(field, equal, value)| FieldSelectorRequirement {
        key: field.path().to_owned(),
        operator: if equal { "In" } else { "NotIn" }.to_owned(),
        values: Some(vec![value.to_owned()]),
    });
    let requirements = Some(requirements.collect::<Vec<_>>()).filter(|all| !all.is_empty())?;
    Some(FieldSelectorAttributes { raw_selector: None, requirements: Some(requirements) })
}

fn label_selector(selector: &LabelSelector) -> Option<LabelSelectorAttributes> {
    if selector.requirements().map(|(_, _, values)| 1 + values.len()).sum::<usize>() > TOLD {
        return None;
    }
    let requirements = selector.requirements().map(|(key, operator, values)| LabelSelectorRequirement {
        key: key.to_owned(),
        operator: operator.to_owned(),
        values: Some(values.to_vec()).filter(|values| !values.is_empty()),
    });
    let requirements = Some(requirements.collect::<Vec<_>>()).filter(|all| !all.is_empty())?;
    Some(LabelSelectorAttributes { raw_selector: None, requirements: Some(requirements) })
}

#[cfg(test)]
mod tests;
