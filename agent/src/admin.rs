//! /livez, /readyz and /metrics for probes and scrapers. Plain HTTP: nothing here is secret, and the address is
//! loopback unless the operator chooses another. On loopback it has the exporter's pages too, which name pods: whoever
//! wants those from elsewhere comes to the exporter's own listener, which asks who it is.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use kubevitals::sample::BootTime;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    cgroup::clock::boot_time,
    exporter::answer::{Pages, Path},
    metrics::Metrics,
    pace::stuck_after,
};

/// How long requests may take to end at shutdown; every answer is made at once.
const DRAIN: Duration = Duration::from_secs(1);

/// What the handlers need.
#[derive(Debug, Clone)]
pub struct Admin {
    /// What can be scraped.
    pub pages: Pages,
    /// Where the last tick is noted.
    pub metrics: Metrics,
    /// The tick.
    pub interval: Duration,
    /// Cancelled when the agent shuts down.
    pub stopping: CancellationToken,
}

/// Serves until `shutdown`.
pub async fn serve(listener: TcpListener, admin: Admin, shutdown: CancellationToken) -> std::io::Result<()> {
    let is_loopback = listener.local_addr().is_ok_and(|address| address.ip().is_loopback());
    let mut router = Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics));
    if is_loopback {
        router = router.route("/metrics/resource", get(metrics)).route("/metrics/vitals", get(metrics));
    }
    let router = router.with_state(admin);
    let served = axum::serve(listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
    tokio::select! {
        ended = served.into_future() => ended,
        // A client that never finishes its request would hold up the end for ever.
        () = async { shutdown.cancelled().await; tokio::time::sleep(DRAIN).await } => Ok(()),
    }
}

impl Admin {
    /// Whether the sampler ticks.
    fn is_alive(&self, now: BootTime) -> Result<(), String> {
        let Some(last) = self.metrics.last_tick() else {
            return Ok(());
        };
        let age = now.since(BootTime(last));
        if age <= stuck_after(self.interval) {
            return Ok(());
        }
        Err(format!("last tick {:.1} s ago", age.as_secs_f64()))
    }
}

async fn livez(State(admin): State<Admin>) -> (StatusCode, String) {
    answer(admin.is_alive(boot_time()))
}

/// Ready means: this node is being sampled. Whether an aggregator listens is not this node's fault, and must not
/// hold up a rollout of the agents; see `kubevitals_agent_streams_open`.
async fn readyz(State(admin): State<Admin>) -> (StatusCode, String) {
    if admin.stopping.is_cancelled() {
        return answer(Err("shutting down".to_owned()));
    }
    if admin.metrics.last_tick().is_none() {
        return answer(Err("no tick yet".to_owned()));
    }
    answer(admin.is_alive(boot_time()))
}

fn answer(checked: Result<(), String>) -> (StatusCode, String) {
    match checked {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(why) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{why}\n")),
    }
}

async fn metrics(State(admin): State<Admin>, uri: Uri, headers: HeaderMap) -> impl IntoResponse {
    match Path::of(uri.path()).and_then(|path| admin.pages.page(path, &headers)) {
        Some(page) => (StatusCode::OK, [(CONTENT_TYPE, page.content_type)], page.body),
        None => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(CONTENT_TYPE, "text/plain")],
            Bytes::from_static(b"no page\n"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::http::header::ACCEPT;
    use prometheus_client::registry::Registry;

    use super::*;
    use crate::{
        exporter::{Board, Exporter, Naming},
        identity::Identities,
    };

    fn new() -> Admin {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let every = (Duration::from_secs(1), Duration::from_secs(10));
        let exporter = Exporter::new(
            Board::default(),
            Identities::default(),
            Naming::Uid,
            every,
            metrics.exporter.clone(),
        );
        Admin {
            pages: Pages { exporter, registry: Arc::new(registry) },
            metrics,
            interval: Duration::from_secs(1),
            stopping: CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn scrapers_get_the_form_of_metrics_that_they_ask_for() {
        let scraped = async |accept: &str| {
            let headers = HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())]);
            let uri = Uri::from_static("/metrics");
            let response = metrics(State(new()), uri, headers).await.into_response();
            let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            (kind, String::from_utf8(body.to_vec()).unwrap())
        };
        let (kind, text) = scraped("text/plain").await;
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        assert!(text.contains("# TYPE kubevitals_agent_ticks_total counter\n"), "{text}");
        assert!(!text.contains("# EOF"));
        let (kind, text) = scraped("application/openmetrics-text;version=1.0.0").await;
        assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn a_sampler_that_stopped_ticking_is_not_alive() {
        let admin = new();
        assert!(admin.is_alive(BootTime(5)).is_ok(), "before the first tick");
        let report = crate::sampler::Report {
            sequence: 1,
            time: BootTime(1_000_000),
            sweep: Duration::ZERO,
            batch: bytes::Bytes::new(),
            announced: Vec::new(),
            ended: Vec::new(),
            series: 1,
            candidates: 0,
            omitted: Default::default(),
            wall_ahead: Duration::ZERO,
        };
        admin.metrics.ticked(&report, 0, crate::history::Depth { batches: 1, bytes: 0 });
        assert!(admin.is_alive(BootTime(11_000_000)).is_ok());
        assert_eq!(admin.is_alive(BootTime(11_500_000)).unwrap_err(), "last tick 10.5 s ago");
    }
}
