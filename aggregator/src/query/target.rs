//! The one thing that a request is about: a pod, a container or a node, by name. Pure.

use kubevitals::wire::{ContainerRef, PodRef, explain_request, raw_request};
use tonic::Status;

use super::{
    access::Object,
    faults::Faults,
    selection::{is_label, is_subdomain},
};

/// What is asked about; it need not exist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A pod.
    Pod {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A container of a pod.
    Container {
        /// The pod's namespace.
        namespace: String,
        /// The pod's name.
        pod: String,
        /// The container's name in it.
        name: String,
    },
    /// A node.
    Node(String),
}

impl From<explain_request::Subject> for Target {
    fn from(given: explain_request::Subject) -> Self {
        match given {
            explain_request::Subject::Pod(pod) => pod.into(),
            explain_request::Subject::Container(container) => container.into(),
            explain_request::Subject::Node(name) => Self::Node(name),
        }
    }
}

impl From<raw_request::Subject> for Target {
    fn from(given: raw_request::Subject) -> Self {
        match given {
            raw_request::Subject::Pod(pod) => pod.into(),
            raw_request::Subject::Container(container) => container.into(),
            raw_request::Subject::Node(name) => Self::Node(name),
        }
    }
}

impl From<PodRef> for Target {
    fn from(PodRef { namespace, name }: PodRef) -> Self {
        Self::Pod { namespace, name }
    }
}

impl From<ContainerRef> for Target {
    fn from(ContainerRef { namespace, pod, container: name }: ContainerRef) -> Self {
        Self::Container { namespace, pod, name }
    }
}

impl Target {
    /// What a request's oneof `subject` says. `INVALID_ARGUMENT` names each field that is wrong.
    pub fn checked(given: Option<impl Into<Self>>) -> Result<Self, Status> {
        let mut faults = Faults::default();
        let Some(target) = given.map(Into::into) else {
            faults.add("subject", "a pod, a container or a node is needed");
            return Err(faults.check().err().unwrap_or_else(|| Status::invalid_argument("subject")));
        };
        let mut check = |field: &str, is_good: bool| {
            if !is_good {
                faults.add(field, "nothing can have this name");
            }
        };
        match &target {
            Self::Pod { namespace, name } => {
                check("pod.namespace", is_label(namespace));
                check("pod.name", is_subdomain(name));
            }
            Self::Container { namespace, pod, name } => {
                check("container.namespace", is_label(namespace));
                check("container.pod", is_subdomain(pod));
                check("container.container", is_label(name));
            }
            Self::Node(name) => check("node", is_subdomain(name)),
        }
        faults.check().map(|()| target)
    }

    /// What one must be allowed to get.
    #[must_use]
    pub fn object(&self) -> Object<'_> {
        match self {
            Self::Pod { namespace, name } | Self::Container { namespace, pod: name, .. } => {
                Object::Pod { namespace, name }
            }
            Self::Node(name) => Object::Node(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::StatusExt as _;

    use super::*;

    fn fields(given: Option<Target>) -> Vec<String> {
        let refused = Target::checked(given).err();
        let details = refused.and_then(|status| status.get_details_bad_request());
        let violations = details.map(|details| details.field_violations).unwrap_or_default();
        violations.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn each_name_that_nothing_can_have_is_named_by_its_field() {
        let pod = |namespace: &str, name: &str| PodRef { namespace: namespace.into(), name: name.into() };
        assert_eq!(fields(None), ["subject"]);
        assert_eq!(fields(Some(pod("prod", "web-0.a").into())), [""; 0]);
        assert_eq!(fields(Some(pod("", "../secrets").into())), ["pod.namespace", "pod.name"]);
        let container = ContainerRef { namespace: "a".into(), pod: "b".into(), container: "C".into() };
        assert_eq!(fields(Some(container.into())), ["container.container"]);
        assert_eq!(fields(Some(Target::Node("n".repeat(254)))), ["node"]);
    }
}
