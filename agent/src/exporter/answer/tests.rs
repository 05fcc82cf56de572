use std::io::Read as _;

use flate2::read::GzDecoder;
use http_body_util::BodyExt as _;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tower::ServiceExt as _;

use super::*;
use crate::{
    exporter::{Board, Naming, settings::Credentials},
    identity::Identities,
    metrics::Metrics,
};

struct World {
    app: axum::Router,
    desk: Arc<Desk>,
    _tokens: tempfile::NamedTempFile,
}

impl World {
    /// Lets in by the token `good`, and asks nobody about others.
    fn new() -> Self {
        let tokens = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(tokens.path(), "good").unwrap();
        let wanted = Credentials { token_file: Some(tokens.path().to_owned()), ..Credentials::default() };
        let access = Arc::new(Access::read(&wanted, None, &Counter::default()).unwrap());
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
        let pages = Pages { exporter, registry: Arc::new(registry) };
        let desk = Desk::new(pages, access, Counted::default());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&desk));
        Self { app, desk, _tokens: tokens }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let request = http::Request::builder().method(method).uri(path);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        self.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Response {
        self.ask("GET", path, &[&[GOOD], headers].concat()).await
    }
}

const GOOD: (&str, &str) = ("authorization", "Bearer good");

fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

async fn body(response: Response) -> Bytes {
    response.into_body().collect().await.unwrap().to_bytes()
}

#[tokio::test]
async fn whoever_shows_nothing_good_learns_nothing_and_loses_the_connection() {
    let world = World::new();
    for path in ["/metrics/resource", "/metrics", "/nowhere"] {
        for method in ["GET", "HEAD", "POST"] {
            for shown in [None, Some(("authorization", "Bearer wrong"))] {
                let response = world.ask(method, path, shown.as_slice()).await;
                assert_eq!(response.status(), 401, "{method} {path}");
                assert_eq!(header(&response, "www-authenticate"), Some("Bearer"));
                assert_eq!(header(&response, "connection"), Some("close"));
                let text = if method == "HEAD" { "" } else { "unauthorized\n" };
                assert_eq!(body(response).await, text);
            }
        }
    }
}

#[tokio::test]
async fn paths_and_methods_are_these_and_no_others() {
    let world = World::new();
    for (path, begin) in [
        ("/metrics/resource", "# HELP "),
        ("/metrics/vitals", "# HELP kubevitals_"),
        ("/metrics?x=y", "# HELP kubevitals_agent_"),
    ] {
        let response = world.get(path, &[]).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(header(&response, "content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        assert_eq!(header(&response, "vary"), Some("Accept, Accept-Encoding"));
        let length: usize = header(&response, "content-length").unwrap().parse().unwrap();
        let text = body(response).await;
        assert_eq!(text.len(), length);
        assert!(text.starts_with(begin.as_bytes()), "{path}: {text:?}");
    }
    for path in ["/", "/metrics/", "/metrics/resource/", "/stats/summary", "/livez", "/metrics/cadvisor"] {
        assert_eq!(world.get(path, &[]).await.status(), 404, "{path}");
    }
    let response = world.ask("POST", "/metrics/resource", &[GOOD]).await;
    assert_eq!((response.status().as_u16(), header(&response, "allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn a_head_has_the_length_of_the_page_and_not_the_page() {
    let world = World::new();
    let whole = world.get("/metrics/resource", &[]).await;
    let head = world.ask("HEAD", "/metrics/resource", &[GOOD]).await;
    assert_eq!(header(&head, "content-length"), header(&whole, "content-length"));
    assert!(body(head).await.is_empty());
}

#[tokio::test]
async fn a_large_page_is_compressed_for_those_who_take_it() {
    let world = World::new();
    let plain = body(world.get("/metrics", &[]).await).await;
    for accepted in ["gzip", "deflate, gzip;q=0.5"] {
        let response = world.get("/metrics", &[("accept-encoding", accepted)]).await;
        assert_eq!(header(&response, "content-encoding"), Some("gzip"));
        let length: usize = header(&response, "content-length").unwrap().parse().unwrap();
        let packed = body(response).await;
        assert_eq!(packed.len(), length);
        let mut text = String::new();
        GzDecoder::new(packed.as_ref()).read_to_string(&mut text).unwrap();
        assert_eq!(text.lines().count(), plain.split(|byte| *byte == b'\n').count() - 1);
    }
    for accepted in ["", "identity", "gzip;q=0", "br"] {
        let response = world.get("/metrics", &[("accept-encoding", accepted)]).await;
        assert_eq!(header(&response, "content-encoding"), None, "{accepted}");
    }
}

#[tokio::test]
async fn the_form_is_the_one_that_is_preferred() {
    let world = World::new();
    let open = "application/openmetrics-text;version=1.0.0,text/plain;q=0.5";
    for path in ["/metrics/resource", "/metrics/vitals", "/metrics"] {
        let response = world.get(path, &[("accept", open)]).await;
        assert!(header(&response, "content-type").unwrap().starts_with("application/openmetrics-text"));
        assert!(body(response).await.ends_with(b"# EOF\n"));
    }
}

#[tokio::test(start_paused = true)]
async fn pages_that_nobody_takes_hold_up_no_more_than_their_number() {
    let world = World::new();
    let mut held = Vec::new();
    for _ in 0..ON_THEIR_WAY {
        held.push(world.get("/metrics", &[]).await);
    }
    let begun = Instant::now();
    let response = world.get("/metrics", &[]).await;
    assert_eq!((response.status().as_u16(), header(&response, "retry-after")), (503, Some("1")));
    assert!((WAIT..WAIT * 2).contains(&begun.elapsed()));
    assert_eq!(body(response).await, "too many scrapes at one time\n");
    held.pop();
    assert_eq!(world.get("/metrics", &[]).await.status(), 200);
    drop(held);
    assert_eq!(world.desk.places.available_permits(), ON_THEIR_WAY);
}
