//! Schemas: those of the registered server. The core resources have none here.

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header::ACCEPT};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use super::{
    Cluster,
    reply::{Reply, whole},
    reviews::User,
};

impl Cluster {
    /// `/openapi/v3`: the paths of the group's versions, as the registered server has them.
    pub(super) async fn openapi_v3(&self) -> Reply {
        let answer = self.as_aggregator("/openapi/v3", HeaderMap::new()).await;
        let root: Value = answer.and_then(|(_, body)| serde_json::from_slice(&body).ok()).unwrap_or_default();
        let paths = root["paths"].as_object().into_iter().flatten();
        let paths: serde_json::Map<_, _> = paths
            .filter(|(path, _)| path.starts_with("apis/metrics.k8s.io/"))
            .map(|(path, place)| (path.clone(), place.clone()))
            .collect();
        Reply::ok(&json!({"paths": paths}))
    }

    /// `/openapi/v2`, in the form that the client asks for.
    pub(super) async fn openapi_v2(&self, headers: &HeaderMap) -> Reply {
        let accept = headers.get(ACCEPT).map(|accept| (ACCEPT, accept.clone()));
        match self.as_aggregator("/openapi/v2", accept.into_iter().collect()).await {
            Some((head, body)) => Reply(http::Response::from_parts(head, whole(body))),
            None => Reply::plain(StatusCode::SERVICE_UNAVAILABLE, "no schema\n"),
        }
    }

    async fn as_aggregator(&self, path: &str, headers: HeaderMap) -> Option<(http::response::Parts, Bytes)> {
        let user = User::new("system:aggregator", &[]);
        let response = self.proxy.call(&user, Method::GET, path, headers, Bytes::new()).await.ok()?;
        let (head, body) = response.into_parts();
        Some((head, body.collect().await.ok()?.to_bytes()))
    }
}
