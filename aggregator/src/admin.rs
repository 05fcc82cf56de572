//! /livez, /readyz, /healthz, /metrics and /explain without TLS, for probes, scrapers and `check`. /explain names pods, which
//! whoever reaches the address need not know: it answers callers on loopback alone, where the kubelet's port-forward ends.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Json, Router,
    extract::{self, ConnectInfo, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
    routing::get,
};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{
    api::{
        health::{Health, Report},
        query::Query,
        reply,
        route::Route,
    },
    explain::Explainer,
};

/// How long requests may take to end at shutdown; every answer is made at once.
const DRAIN: Duration = Duration::from_secs(1);

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What /metrics prints.
    pub registry: Arc<Registry>,
    /// What the probes say.
    pub health: Health,
    /// What /explain tells.
    pub explainer: Explainer,
}

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/explain", get(explain))
        .fallback(probes)
        .with_state(admin)
        .into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = served.into_future() => ended,
        // A client that never finishes its request would hold up the end for ever.
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

/// The probes as on the API's port, single checks included: whoever reaches this address may know the reasons.
async fn probes(State(Admin { health, .. }): State<Admin>, uri: Uri) -> Response {
    let report = match Route::parse(uri.path(), false) {
        Ok(Route::Probe(probe)) => Some(health.probe(probe, &Query::new(uri.query()))),
        Ok(Route::Check(probe, name)) => health.check(probe, &name),
        _ => None,
    };
    report.map_or_else(|| StatusCode::NOT_FOUND.into_response(), Report::into_response)
}

/// What is asked of /explain.
#[derive(Debug, Default, Deserialize)]
struct Asked {
    pod: Option<String>,
    node: Option<String>,
}

/// Why `?pod=NAMESPACE/NAME` or `?node=NAME` is served or not, or how everything is; JSON.
async fn explain(
    State(Admin { explainer, .. }): State<Admin>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    extract::Query(asked): extract::Query<Asked>,
) -> Response {
    if !is_near(peer.ip()) {
        let told =
            "/explain answers callers on loopback alone: kubevitals-aggregator check, kubectl port-forward\n";
        return (StatusCode::FORBIDDEN, told).into_response();
    }
    match asked {
        Asked { pod: Some(pod), node: None } => match pod.split_once('/') {
            Some((namespace, name)) => Json(explainer.pod(namespace, name)).into_response(),
            None => (StatusCode::BAD_REQUEST, "pod: not NAMESPACE/NAME\n").into_response(),
        },
        Asked { pod: None, node: Some(node) } => Json(explainer.node(&node)).into_response(),
        Asked { pod: None, node: None } => {
            // One at a time, and not on a thread that others wait for: it looks at every pod.
            static ONE: Semaphore = Semaphore::const_new(1);
            let _permit = ONE.acquire().await;
            match tokio::task::spawn_blocking(move || explainer.overview()).await {
                Ok(overview) => Json(overview).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
        Asked { pod: Some(_), node: Some(_) } => {
            (StatusCode::BAD_REQUEST, "pod and node: one of them\n").into_response()
        }
    }
}

/// Whether it is loopback, also as an IPv6 socket tells of an IPv4 peer.
fn is_near(peer: IpAddr) -> bool {
    peer.to_canonical().is_loopback()
}

async fn metrics(State(admin): State<Admin>, headers: HeaderMap) -> Response {
    reply::metrics(&admin.registry, &headers)
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use std::time::Duration;

    use super::*;
    use crate::{
        api::health::Probe,
        metrics::Served,
        picture::Rules,
        store::{Limits, Store},
        view::View,
    };

    fn explainer(health: Health) -> Explainer {
        let limits = Limits { containers: 1, nodes: 1, kept: Duration::from_secs(60) };
        let rules = Rules {
            window: Duration::from_secs(15),
            shortest: Duration::from_millis(250),
            after_ready: Duration::from_secs(5),
            hold: Duration::from_secs(15),
            stale: Duration::from_secs(30),
        };
        let view = View {
            store: Arc::new(Store::new(limits)),
            directory: Arc::default(),
            rules,
            served: Served::default(),
            kubelets: None,
        };
        Explainer { view, refusals: Arc::default(), health }
    }

    #[tokio::test]
    async fn a_question_to_explain_is_about_a_pod_or_a_node_or_everything() {
        let health = Health::default();
        let explainer = explainer(health.clone());
        let admin = Admin { registry: Arc::default(), health, explainer };
        for (pod, node, code, text) in [
            (None, None, 200, "\"nodes\":0"),
            (None, Some("n"), 200, "\"reason\":\"unknown\""),
            (Some("a/b"), None, 200, "\"known\":false"),
            (Some("b"), None, 400, "NAMESPACE/NAME"),
            (Some("a/b"), Some("n"), 400, "one of them"),
        ] {
            let owned = |text: Option<&str>| text.map(ToOwned::to_owned);
            let asked = Asked { pod: owned(pod), node: owned(node) };
            let near = ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 1)));
            let response = explain(State(admin.clone()), near, extract::Query(asked)).await;
            assert_eq!(response.status(), code, "{pod:?} {node:?}");
            let body = to_bytes(response.into_body(), 10_000).await.unwrap();
            assert!(String::from_utf8_lossy(&body).contains(text), "{body:?}");
        }
    }

    #[tokio::test]
    async fn explain_tells_callers_from_elsewhere_nothing() {
        let health = Health::default();
        let admin = Admin { registry: Arc::default(), explainer: explainer(health.clone()), health };
        for (peer, code) in [
            ("127.0.0.1:1", 200),
            ("[::1]:1", 200),
            ("[::ffff:127.0.0.1]:1", 200),
            ("10.1.2.3:1", 403),
            ("[::ffff:10.1.2.3]:1", 403),
            ("[fd00::1]:1", 403),
        ] {
            let peer = ConnectInfo(peer.parse().unwrap());
            let response = explain(State(admin.clone()), peer, extract::Query(Asked::default())).await;
            assert_eq!(response.status(), code, "{peer:?}");
        }
    }

    #[tokio::test]
    async fn probes_and_single_checks_answer_and_nothing_else_does() {
        let health = Health::default();
        health.register("metrics-ready", &[Probe::Ready], || Err("too early".to_owned()));
        let explainer = explainer(health.clone());
        let admin = Admin { registry: Arc::default(), health, explainer };
        for (path, code, text) in [
            ("/livez", 200, "ok"),
            ("/readyz?exclude=metrics-ready", 200, "ok"),
            ("/readyz", 500, "[+]ping ok\n[-]metrics-ready failed: reason withheld\nreadyz check failed\n"),
            ("/readyz/metrics-ready", 500, "internal server error: too early\n"),
            ("/readyz/nosuch", 404, ""),
            ("/apis", 404, ""),
        ] {
            let response = probes(State(admin.clone()), Uri::from_static(path)).await;
            assert_eq!(response.status(), code, "{path}");
            assert_eq!(to_bytes(response.into_body(), 1000).await.unwrap(), text, "{path}");
        }
    }
}
