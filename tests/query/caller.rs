//! Callers of the query service: a channel as somebody, and what it asks.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use kubevitals::wire::{
    ListRequest, ListResponse, RawRequest, RawResponse, Selection, Usage, query_client::QueryClient,
};
use tokio::time::{Instant, sleep, timeout};
use tonic::{
    Request, Status,
    metadata::{KeyAndValueRef, MetadataMap},
    transport::{Channel, Endpoint},
};

use crate::{
    apiserver::{
        SERVICE,
        dial::{Fault, Target},
        pki::Identity,
    },
    rig::{DEADLINE, Rig, Who},
};

/// Somebody with a connection.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    client: QueryClient<Channel>,
    shows: MetadataMap,
}

/// Where the port for queries is.
pub(crate) fn target(rig: &Rig) -> Target {
    let address = SocketAddr::from(([127, 0, 0, 1], rig.aggregator.program.port("query")));
    Target { address, name: SERVICE.to_owned(), ca_pem: rig.aggregator.api.authority() }
}

/// A connection to it.
pub(crate) async fn channel(rig: &Rig, identity: Option<Identity>) -> Channel {
    channel_to(target(rig), identity).await
}

/// A connection to a port for queries.
pub(crate) async fn channel_to(target: Target, identity: Option<Identity>) -> Channel {
    let connector = tower::service_fn(move |_: http::Uri| {
        let (target, identity) = (target.clone(), identity.clone());
        async move {
            let tls = target.tls(identity.as_ref(), b"h2");
            Ok::<_, Fault>(TokioIo::new(target.connect(tls).await?))
        }
    });
    let endpoint = Endpoint::from_static("http://localhost");
    endpoint.connect_with_connector(connector).await.unwrap()
}

impl Caller {
    pub(crate) async fn new(rig: &Rig, who: &Who) -> Self {
        let client = QueryClient::new(channel(rig, who.identity.clone()).await);
        Self { client, shows: MetadataMap::from_headers(who.headers.clone()) }
    }

    /// Its message with what the caller shows.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        for pair in self.shows.iter() {
            if let KeyAndValueRef::Ascii(key, value) = pair {
                request.metadata_mut().append(key, value.clone());
            }
        }
        request
    }

    pub(crate) async fn list(&self, request: ListRequest) -> Result<ListResponse, Status> {
        Ok(self.client.clone().list(self.request(request)).await?.into_inner())
    }

    pub(crate) async fn select(&self, selection: Selection) -> Result<ListResponse, Status> {
        self.list(ListRequest { selection: Some(selection), ..ListRequest::default() }).await
    }

    pub(crate) async fn raw(&self, request: RawRequest) -> Result<RawResponse, Status> {
        Ok(self.client.clone().raw(self.request(request)).await?.into_inner())
    }

    pub(crate) fn client(&self) -> QueryClient<Channel> {
        self.client.clone()
    }

    /// Asks until the answer is as wanted.
    pub(crate) async fn until(
        &self,
        request: &ListRequest,
        wanted: impl Fn(&ListResponse) -> bool,
    ) -> ListResponse {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let answer = self.list(request.clone()).await.unwrap();
            if wanted(&answer) {
                return answer;
            }
            assert!(Instant::now() < deadline, "in {DEADLINE:?}: at last {answer:?}");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// All pages, and how many they were.
    pub(crate) async fn pages(&self, mut request: ListRequest) -> (Vec<Usage>, usize) {
        let (mut usages, mut pages) = (Vec::new(), 0);
        loop {
            let page = self.list(request.clone()).await.unwrap();
            usages.extend(page.usages);
            pages += 1;
            if page.next_page_token.is_empty() {
                return (usages, pages);
            }
            request.page_token = page.next_page_token;
        }
    }
}

/// `namespace/pod`, or with a container of it.
pub(crate) fn name(usage: &Usage) -> String {
    let subject = usage.subject.as_ref().unwrap();
    let name = format!("{}/{}", subject.namespace, subject.pod);
    if subject.container.is_empty() { name } else { format!("{name}/{}", subject.container) }
}

pub(crate) fn names(usages: &[Usage]) -> Vec<String> {
    usages.iter().map(name).collect()
}

/// Sends these bytes as the body of a list, by no library that would add or read anything itself; the status of the
/// answer.
pub(crate) async fn post(rig: &Rig, who: &Who, body: &[u8]) -> Option<String> {
    let mut connection = target(rig).http2(who.identity.as_ref()).await.unwrap();
    let body = Full::new(Bytes::copy_from_slice(body));
    let mut request = http::Request::post("https://localhost/kubevitals.v1.Query/List").body(body).unwrap();
    *request.headers_mut() = who.headers.clone();
    request.headers_mut().insert("content-type", "application/grpc".parse().unwrap());
    request.headers_mut().insert("te", "trailers".parse().unwrap());
    let answer = timeout(DEADLINE, connection.send(request)).await.unwrap().unwrap();
    let head = answer.headers().get("grpc-status").cloned();
    let body = answer.into_body().collect().await.unwrap();
    let status = head.or_else(|| body.trailers()?.get("grpc-status").cloned());
    status.map(|status| status.to_str().unwrap().to_owned())
}
