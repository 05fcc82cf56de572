//! From a scraper's request to its answer: who asks, what for, and in which form.
//!
//! Whoever may not read learns nothing else, not even which paths there are. A page is made at the moment it is asked
//! for, from the last completed sweep; few are on their way at one time, so that neither a crowd nor slow readers take
//! memory.

use std::{
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::Body,
    extract::{Request, State},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{
        ACCEPT, ALLOW, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, VARY,
        WWW_AUTHENTICATE,
    },
    request::Parts,
};
use http_body::{Frame, SizeHint};
use http_body_util::Full;
use prometheus_client::registry::Registry;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    Exporter, Page,
    access::{Access, Denial},
    counted::Counted,
};
use crate::{
    exposition::{Form, exposition},
    gzip,
    https::Peer,
    tls::clients::PeerCertificates,
};

/// Pages on their way at one time; half a megabyte each on a full node.
const ON_THEIR_WAY: usize = 4;

/// How long a request waits for a place among them.
const WAIT: Duration = Duration::from_secs(5);

/// Smaller pages are not worth compressing, bytes.
const SMALL: usize = 1024;

/// What is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    /// What a kubelet has under this path.
    Resource,
    /// What it has not.
    Vitals,
    /// The agent's own.
    Own,
}

impl Path {
    /// Of a request; exactly these.
    #[must_use]
    pub fn of(path: &str) -> Option<Self> {
        match path {
            "/metrics/resource" => Some(Self::Resource),
            "/metrics/vitals" => Some(Self::Vitals),
            "/metrics" => Some(Self::Own),
            _ => None,
        }
    }

    /// As a metric label.
    fn as_str(self) -> &'static str {
        match self {
            Self::Resource => "resource",
            Self::Vitals => "vitals",
            Self::Own => "own",
        }
    }
}

/// What pages are made of.
#[derive(Debug, Clone)]
pub struct Pages {
    /// The numbers of the node, its pods and containers.
    pub exporter: Exporter,
    /// The agent's own.
    pub registry: Arc<Registry>,
}

impl Pages {
    /// A page in the form that the request prefers; `None` for a fault of ours.
    #[must_use]
    pub fn page(&self, path: Path, headers: &HeaderMap) -> Option<Page> {
        let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        match path {
            Path::Resource => Some(self.exporter.resource(Form::preferred(accept))),
            Path::Vitals => Some(self.exporter.vitals(Form::preferred(accept))),
            Path::Own => {
                let (content_type, text) = exposition(&self.registry, accept).ok()?;
                Some(Page { content_type, body: text.into() })
            }
        }
    }
}

/// Answers requests.
#[derive(Debug)]
pub struct Desk {
    pages: Pages,
    access: Arc<Access>,
    places: Arc<Semaphore>,
    counted: Counted,
}

impl Desk {
    /// For those whom `access` lets in.
    #[must_use]
    pub fn new(pages: Pages, access: Arc<Access>, counted: Counted) -> Arc<Self> {
        Arc::new(Self { pages, access, places: Arc::new(Semaphore::new(ON_THEIR_WAY)), counted })
    }
}

/// One request to its answer.
pub async fn answer(State(desk): State<Arc<Desk>>, request: Request) -> Response {
    // A body is not read.
    let (request, _) = request.into_parts();
    let path = Path::of(request.uri.path());
    let response = match desk.admit(&request).await {
        Ok(()) => desk.serve(path, &request).await,
        Err(denial) => denied(&denial),
    };
    desk.counted.answered(path.map_or("other", Path::as_str), response.status().as_u16());
    response
}

impl Desk {
    async fn admit(&self, request: &Parts) -> Result<(), Denial> {
        let (extensions, unknown) = (&request.extensions, IpAddr::from([0, 0, 0, 0]));
        let peer = extensions.get::<Peer>().map_or(unknown, |peer| peer.0.ip().to_canonical());
        let shown = extensions.get::<PeerCertificates>();
        let means = self.access.check(&request.headers, shown, peer).await?;
        self.counted.admitted(means);
        Ok(())
    }

    async fn serve(&self, path: Option<Path>, request: &Parts) -> Response {
        let Some(path) = path else {
            return plain(
                StatusCode::NOT_FOUND,
                "not found: /metrics/resource, /metrics/vitals and /metrics are here",
            );
        };
        if !matches!(request.method, Method::GET | Method::HEAD) {
            let allow = (ALLOW, HeaderValue::from_static("GET, HEAD"));
            return with(plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD"), allow);
        }
        let waited = timeout(WAIT, Arc::clone(&self.places).acquire_owned()).await;
        let Ok(Ok(place)) = waited else {
            return later("too many scrapes at one time");
        };
        match self.pages.page(path, &request.headers) {
            Some(page) => whole(page, request, place),
            None => plain(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be written"),
        }
    }
}

/// A page, compressed if that is wanted.
fn whole(page: Page, request: &Parts, place: OwnedSemaphorePermit) -> Response {
    let packed = page.body.len() >= SMALL && gzip::is_accepted(&request.headers);
    let body = if packed { gzip::Gzip::default().compress(&page.body, true).into() } else { page.body };
    let length = body.len();
    let is_head = request.method == Method::HEAD;
    let sent = if is_head { Bytes::new() } else { body };
    let mut response = Response::new(Body::new(Held { body: Full::new(sent), _place: place }));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    if packed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

/// Whoever is not let in loses the connection too: it would hold a place.
fn denied(denial: &Denial) -> Response {
    let response = match denial {
        Denial::Unauthenticated => {
            let challenge = (WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            with(plain(StatusCode::UNAUTHORIZED, "unauthorized"), challenge)
        }
        Denial::Forbidden(reason) if reason.is_empty() => plain(StatusCode::FORBIDDEN, "forbidden"),
        Denial::Forbidden(reason) => plain(StatusCode::FORBIDDEN, reason),
        Denial::Unknown => later("whether this is allowed cannot be found out now"),
    };
    with(response, (CONNECTION, HeaderValue::from_static("close")))
}

fn later(text: &str) -> Response {
    with(plain(StatusCode::SERVICE_UNAVAILABLE, text), (RETRY_AFTER, HeaderValue::from_static("1")))
}

fn plain(status: StatusCode, text: &str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], format!("{text}\n")).into_response()
}

fn with(mut response: Response, (name, value): (http::HeaderName, HeaderValue)) -> Response {
    response.headers_mut().insert(name, value);
    response
}

/// A body that keeps its place until it is sent or given up.
#[derive(Debug)]
struct Held {
    body: Full<Bytes>,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Held {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
