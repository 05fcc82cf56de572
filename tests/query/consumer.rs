//! A consumer of the query service: the client library, with a token of the stand-in cluster.

use kubevitals::{
    client::{Client, Options},
    wire::{self, ContainerRef, PodRef, Verdict, explain_request::Subject},
};
use tokio::time::Instant;

use crate::{
    apiserver::{SERVICE, reviews::User},
    program::Aggregator,
    rig::{DEADLINE, Rig},
};

/// The holder of a token that may read all metrics.
pub(crate) const READER: &str = "token-of-reader";

/// Where an aggregator answers queries.
pub(crate) fn endpoint(aggregator: &Aggregator) -> String {
    format!("https://127.0.0.1:{}", aggregator.program.port("query"))
}

/// How to reach the rig's aggregator, without credentials.
pub(crate) fn options(rig: &Rig) -> Options {
    let options = Options::new(&endpoint(&rig.aggregator)).unwrap();
    options.ca_file(rig.files.path().join("first/ca.pem")).server_name(SERVICE)
}

/// Somebody who may read all metrics.
pub(crate) fn reader(rig: &Rig) -> Client {
    rig.api.cluster.reviews.issue(READER, User::new("reader", &["readers"]));
    Client::new(options(rig).token(READER))
}

/// A question about a pod.
pub(crate) fn pod(namespace: &str, name: &str) -> wire::ExplainRequest {
    let pod = PodRef { namespace: namespace.to_owned(), name: name.to_owned() };
    wire::ExplainRequest { subject: Some(Subject::Pod(pod)) }
}

/// A question about a container.
pub(crate) fn container(namespace: &str, pod: &str, name: &str) -> wire::ExplainRequest {
    let (namespace, pod, container) = (namespace.to_owned(), pod.to_owned(), name.to_owned());
    wire::ExplainRequest { subject: Some(Subject::Container(ContainerRef { namespace, pod, container })) }
}

/// A question about a node.
pub(crate) fn node(name: &str) -> wire::ExplainRequest {
    wire::ExplainRequest { subject: Some(Subject::Node(name.to_owned())) }
}

/// Asks until what is asked about is served.
pub(crate) async fn until_served(client: &Client, ask: wire::ExplainRequest) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = client.explain(ask.clone()).await.unwrap();
        if told.verdict() == Verdict::Served {
            return;
        }
        assert!(Instant::now() < deadline, "not served: {told:#?}");
    }
}
