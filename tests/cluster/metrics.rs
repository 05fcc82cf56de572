//! metrics.k8s.io as any client reads it: through kube-apiserver, under the kubeconfig's name.

use std::{collections::BTreeMap, time::Duration};

use kube::Client;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    forms::{self, Pod, Usage},
    stage::Stage,
    wait::wait_for,
};

/// Both versions of the API.
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Longest an answer may take before it counts as none.
const ANSWER: Duration = Duration::from_secs(10);

/// One node as served.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Node {
    /// Seconds since 1970.
    pub(crate) timestamp: u64,
    pub(crate) usage: Usage,
}

/// An answer of kube-apiserver to a GET, as JSON.
pub(crate) async fn get(client: &Client, path: &str) -> Result<Value, String> {
    let request = http::Request::get(path).body(Vec::new()).expect("a request");
    match timeout(ANSWER, client.request(request)).await {
        Ok(answer) => answer.map_err(|error| format!("GET {path}: {error}")),
        Err(_) => Err(format!("GET {path}: no answer in {ANSWER:?}")),
    }
}

/// What a version's list of pods or nodes holds.
pub(crate) async fn list(client: &Client, version: &str, resource: &str) -> Result<Vec<Value>, String> {
    let mut list = get(client, &format!("/apis/metrics.k8s.io/{version}/{resource}")).await?;
    match list["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(format!("{version}/{resource}: an answer without items")),
    }
}

/// Pods of a namespace by name.
pub(crate) async fn pods(
    client: &Client,
    version: &str,
    namespace: &str,
) -> Result<BTreeMap<String, Pod>, String> {
    let items = list(client, version, &format!("namespaces/{namespace}/pods")).await?;
    Ok(items.iter().map(|item| (name(item), forms::pod(item))).collect())
}

/// All nodes by name.
pub(crate) async fn nodes(client: &Client, version: &str) -> Result<BTreeMap<String, Node>, String> {
    let items = list(client, version, "nodes").await?;
    Ok(items.iter().map(|item| (name(item), node(item))).collect())
}

fn name(item: &Value) -> String {
    forms::text(&item["metadata"]["name"]).to_owned()
}

fn node(item: &Value) -> Node {
    Node { timestamp: forms::seconds(forms::text(&item["timestamp"])), usage: forms::usage(&item["usage"]) }
}

impl Stage {
    /// A pod of the test as soon as it is served and is what is wanted.
    pub(crate) async fn served(&self, pod: &str, within: Duration, wanted: impl Fn(&Pod) -> bool) -> Pod {
        let path = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{}/pods/{pod}", self.namespace);
        wait_for(&format!("{pod} is served as wanted"), within, async || {
            let served = forms::pod(&get(&self.client, &path).await?);
            if wanted(&served) { Ok(served) } else { Err(format!("{served:?}")) }
        })
        .await
    }
}
