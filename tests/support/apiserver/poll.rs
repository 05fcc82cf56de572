//! What an API server asks of a server behind it by itself: whether it is there, what it serves, and its schemas.
//! Each with the identity, Accept header and time limit that the real one uses.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderMap, Method,
    header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderName, IF_NONE_MATCH},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio::{task::JoinSet, time::timeout};

use super::{ApiServer, Cluster, dial::Fault, reviews::User};

/// Versions that have an `APIService`.
pub(crate) const VERSIONS: [&str; 2] = ["v1", "v1beta1"];

/// Limit of a probe and of a discovery request.
const PROBE: Duration = Duration::from_secs(5);

/// Limit of a schema.
const SCHEMA: Duration = Duration::from_secs(60);

const V2: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const V2BETA1: &str = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// Which API server polls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Release {
    /// 1.26 to 1.29.
    Beta,
    /// 1.30 to 1.36.
    Both,
    /// From 1.37 on.
    Stable,
}

impl Release {
    fn accept(self) -> String {
        match self {
            Self::Beta => V2BETA1.to_owned(),
            Self::Both => format!("{V2},{V2BETA1}"),
            Self::Stable => V2.to_owned(),
        }
    }
}

/// One answer to a poll.
#[derive(Debug, Clone)]
pub(crate) struct Polled {
    /// The path asked for.
    pub(crate) path: String,
    /// As whom.
    pub(crate) user: String,
    /// 0 without an answer.
    pub(crate) status: u16,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
    etag: Option<String>,
}

/// What was answered last.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    discovery: Mutex<Option<(String, Value)>>,
    openapi_v2: Mutex<Option<String>>,
    openapi_v3: Mutex<Option<String>>,
}

/// A user of the control plane.
fn system(name: &str, groups: &[&str]) -> User {
    User::new(name, groups)
}

impl ApiServer {
    /// One round of everything that is polled, as this release does it.
    pub(crate) fn poll(&self, release: Release) -> Vec<Polled> {
        let cluster = Arc::clone(&self.cluster);
        self.wait(async move { cluster.poll(release).await })
    }

    /// Whether both `APIService`s are available now.
    pub(crate) fn check_availability(&self) -> bool {
        let cluster = Arc::clone(&self.cluster);
        self.wait(async move { cluster.check_availability().await });
        VERSIONS.iter().all(|version| self.cluster.proxy.is_available(version))
    }
}

impl Cluster {
    async fn poll(&self, release: Release) -> Vec<Polled> {
        let mut all = self.check_availability().await;
        let discovery = self.poll_discovery(release).await;
        let is_aggregated = discovery.content_type.contains("as=APIGroupDiscoveryList");
        if !(discovery.status == 304 || discovery.status == 200 && is_aggregated) {
            for version in VERSIONS {
                let user = system("system:kube-aggregator", &[]);
                let accept = [(ACCEPT, "application/json".to_owned())];
                all.push(self.ask(&user, &group_version(version), &accept, PROBE).await);
            }
        }
        all.push(discovery);
        let aggregator = system("system:aggregator", &[]);
        for (path, accept, etag) in [
            ("/openapi/v2", Some("application/json"), &self.polled.openapi_v2),
            ("/openapi/v3", None, &self.polled.openapi_v3),
        ] {
            let accept = accept.map(|accept| (ACCEPT, accept.to_owned()));
            let known = etag.lock().unwrap().clone().map(|etag| (IF_NONE_MATCH, etag));
            let headers: Vec<_> = accept.into_iter().chain(known).collect();
            let polled = self.ask(&aggregator, path, &headers, SCHEMA).await;
            if polled.status == 200 {
                etag.lock().unwrap().clone_from(&polled.etag);
            }
            all.push(polled);
        }
        all
    }

    /// Five probes at one time for each version; one success is enough.
    pub(super) async fn check_availability(&self) -> Vec<Polled> {
        let mut all = Vec::new();
        for version in VERSIONS {
            let mut probes = JoinSet::new();
            for _ in 0..5 {
                let cluster = self.me();
                let user = system("system:kube-aggregator", &["system:masters"]);
                probes.spawn(async move { cluster.ask(&user, &group_version(version), &[], PROBE).await });
            }
            let probes = probes.join_all().await;
            let passed = probes.iter().any(|polled| (200..300).contains(&polled.status));
            self.proxy.set_available(version, passed);
            all.extend(probes);
        }
        all
    }

    pub(super) async fn poll_discovery(&self, release: Release) -> Polled {
        let user = system("system:kube-aggregator", &["system:masters"]);
        let known = self.polled.discovery.lock().unwrap().as_ref().map(|(etag, _)| etag.clone());
        let mut headers = vec![(ACCEPT, release.accept())];
        headers.extend(known.map(|etag| (IF_NONE_MATCH, etag)));
        let polled = self.ask(&user, "/apis", &headers, PROBE).await;
        let document = serde_json::from_slice(&polled.body).ok();
        if let (200, Some(etag), Some(document)) = (polled.status, polled.etag.clone(), document) {
            *self.polled.discovery.lock().unwrap() = Some((etag, document));
        }
        polled
    }

    /// The group's entry in the aggregated document polled last.
    pub(super) fn polled_group(&self) -> Option<Value> {
        let polled = self.polled.discovery.lock().unwrap();
        let items = polled.as_ref()?.1["items"].as_array()?;
        items.iter().find(|group| group["metadata"]["name"] == "metrics.k8s.io").cloned()
    }

    async fn ask(
        &self,
        user: &User,
        path: &str,
        headers: &[(HeaderName, String)],
        limit: Duration,
    ) -> Polled {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(name, value.parse().expect("a header value"));
        }
        let asked = async {
            let response = self.proxy.call(user, Method::GET, path, map, Bytes::new()).await?;
            let (head, body) = response.into_parts();
            let text = |name: HeaderName| head.headers.get(name)?.to_str().ok().map(ToOwned::to_owned);
            let (content_type, etag) = (text(CONTENT_TYPE).unwrap_or_default(), text(ETAG));
            Ok::<_, Fault>((head.status.as_u16(), content_type, etag, body.collect().await?.to_bytes()))
        };
        let (status, content_type, etag, body) = match timeout(limit, asked).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(fault)) => (0, fault.to_string(), None, Bytes::new()),
            Err(_) => (0, "no answer in time".to_owned(), None, Bytes::new()),
        };
        Polled { path: path.to_owned(), user: user.name.clone(), status, content_type, body, etag }
    }
}

fn group_version(version: &str) -> String {
    format!("/apis/metrics.k8s.io/{version}")
}
