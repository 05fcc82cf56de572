//! Questions to the API and what their answers say, in JSON and in Kubernetes' protobuf.

use std::{collections::BTreeMap, fmt, time::Duration};

use prost::Message;
use serde_json::Value;

use crate::api::forms::{Usage, duration, seconds};

/// An object of the API.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Node(String),
    Pod(String, String),
}

impl Key {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Node(name) | Self::Pod(_, name) => name,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(name) => write!(f, "node {name}"),
            Self::Pod(namespace, name) => write!(f, "pod {namespace}/{name}"),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Question {
    Nodes,
    Pods,
    One(Key),
}

/// In which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Protobuf,
}

impl Form {
    /// The Accept header.
    pub(crate) fn accept(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// The version that is asked in this form, so that both are.
    fn version(self) -> &'static str {
        match self {
            Self::Json => "v1beta1",
            Self::Protobuf => "v1",
        }
    }
}

impl Question {
    pub(crate) fn path(&self, form: Form) -> String {
        let rest = match self {
            Self::Nodes => "nodes".to_owned(),
            Self::Pods => "pods".to_owned(),
            Self::One(Key::Node(name)) => format!("nodes/{name}"),
            Self::One(Key::Pod(namespace, name)) => format!("namespaces/{namespace}/pods/{name}"),
        };
        format!("/apis/metrics.k8s.io/{}/{rest}", form.version())
    }

    /// Whether an answer has to have this object.
    pub(crate) fn is_about(&self, key: &Key) -> bool {
        match self {
            Self::Nodes => matches!(key, Key::Node(_)),
            Self::Pods => matches!(key, Key::Pod(..)),
            Self::One(one) => one == key,
        }
    }

    /// What an answer with status 200 says.
    pub(crate) fn read(&self, form: Form, body: &[u8]) -> Result<Vec<Served>, String> {
        match form {
            Form::Json => {
                let document = serde_json::from_slice(body).map_err(|error| error.to_string())?;
                Ok(self.read_json(&document))
            }
            Form::Protobuf => self.read_protobuf(body).map_err(|error| error.to_string()),
        }
    }

    fn read_json(&self, document: &Value) -> Vec<Served> {
        match self {
            Self::One(_) => vec![Served::of_json(document)],
            Self::Nodes | Self::Pods => {
                document["items"].as_array().expect("a list").iter().map(Served::of_json).collect()
            }
        }
    }

    fn read_protobuf(&self, body: &[u8]) -> Result<Vec<Served>, prost::DecodeError> {
        let envelope = body.strip_prefix(b"k8s\0").expect("the prefix of Kubernetes");
        let raw = wire::Unknown::decode(envelope)?.raw;
        Ok(match self {
            Self::Nodes => of_all(wire::Nodes::decode(&*raw)?.items),
            Self::Pods => of_all(wire::Pods::decode(&*raw)?.items),
            Self::One(Key::Node(_)) => vec![wire::Node::decode(&*raw)?.into()],
            Self::One(Key::Pod(..)) => vec![wire::Pod::decode(&*raw)?.into()],
        })
    }
}

fn of_all(items: Vec<impl Into<Served>>) -> Vec<Served> {
    items.into_iter().map(Into::into).collect()
}

/// One object as served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Served {
    pub(crate) key: Key,
    /// Seconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) window: Duration,
    /// By container name; a node's own has none.
    pub(crate) usages: BTreeMap<String, Usage>,
}

impl Served {
    /// What is not in the promised form fails the test.
    fn of_json(item: &Value) -> Self {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let usage = |usage: &Value| Usage::parse(&text(&usage["cpu"]), &text(&usage["memory"]));
        let name = text(&item["metadata"]["name"]);
        let (key, usages) = match item["containers"].as_array() {
            None => (Key::Node(name), BTreeMap::from([(String::new(), usage(&item["usage"]))])),
            Some(containers) => {
                let usages = containers.iter().map(|one| (text(&one["name"]), usage(&one["usage"])));
                (Key::Pod(text(&item["metadata"]["namespace"]), name), usages.collect())
            }
        };
        let (timestamp, window) = (seconds(&text(&item["timestamp"])), duration(&text(&item["window"])));
        Self { key, timestamp, window, usages }
    }
}

impl From<wire::Node> for Served {
    fn from(node: wire::Node) -> Self {
        let meta = node.metadata.expect("metadata");
        let usages = BTreeMap::from([(String::new(), wire::usage(&node.usage))]);
        let (timestamp, window) = wire::times(node.timestamp, node.window);
        Self { key: Key::Node(meta.name), timestamp, window, usages }
    }
}

impl From<wire::Pod> for Served {
    fn from(pod: wire::Pod) -> Self {
        let meta = pod.metadata.expect("metadata");
        let usages = pod.containers.into_iter().map(|one| (one.name, wire::usage(&one.usage)));
        let (timestamp, window) = wire::times(pod.timestamp, pod.window);
        Self { key: Key::Pod(meta.namespace, meta.name), timestamp, window, usages: usages.collect() }
    }
}

/// The fields of `k8s.io.metrics.pkg.apis.metrics.v1` that are read here.
mod wire {
    use std::{collections::HashMap, time::Duration};

    use crate::api::forms::Usage;

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Unknown {
        #[prost(bytes = "vec", tag = "2")]
        pub(super) raw: Vec<u8>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Meta {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(string, tag = "3")]
        pub(super) namespace: String,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Time {
        #[prost(int64, tag = "1")]
        seconds: i64,
    }

    #[derive(Clone, Copy, PartialEq, prost::Message)]
    pub(super) struct Window {
        #[prost(int64, tag = "1")]
        nanos: i64,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Quantity {
        #[prost(string, tag = "1")]
        text: String,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Node {
        #[prost(message, optional, tag = "1")]
        pub(super) metadata: Option<Meta>,
        #[prost(message, optional, tag = "2")]
        pub(super) timestamp: Option<Time>,
        #[prost(message, optional, tag = "3")]
        pub(super) window: Option<Window>,
        #[prost(map = "string, message", tag = "4")]
        pub(super) usage: HashMap<String, Quantity>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Container {
        #[prost(string, tag = "1")]
        pub(super) name: String,
        #[prost(map = "string, message", tag = "2")]
        pub(super) usage: HashMap<String, Quantity>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Pod {
        #[prost(message, optional, tag = "1")]
        pub(super) metadata: Option<Meta>,
        #[prost(message, optional, tag = "2")]
        pub(super) timestamp: Option<Time>,
        #[prost(message, optional, tag = "3")]
        pub(super) window: Option<Window>,
        #[prost(message, repeated, tag = "4")]
        pub(super) containers: Vec<Container>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Nodes {
        #[prost(message, repeated, tag = "2")]
        pub(super) items: Vec<Node>,
    }

    #[derive(Clone, PartialEq, prost::Message)]
    pub(super) struct Pods {
        #[prost(message, repeated, tag = "2")]
        pub(super) items: Vec<Pod>,
    }

    pub(super) fn usage(quantities: &HashMap<String, Quantity>) -> Usage {
        let [cpu, memory] = ["cpu", "memory"].map(|name| quantities.get(name).expect("both are there"));
        Usage::parse(&cpu.text, &memory.text)
    }

    pub(super) fn times(timestamp: Option<Time>, window: Option<Window>) -> (u64, Duration) {
        let number = |value: i64| u64::try_from(value).expect("not negative");
        let (timestamp, window) = (timestamp.expect("a time"), window.expect("a window"));
        (number(timestamp.seconds), Duration::from_nanos(number(window.nanos)))
    }
}
