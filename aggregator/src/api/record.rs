//! What is written down about each request once it is over: metrics for all, and a line in the log for those who want
//! it. Never its `Authorization` nor what else is known about its sender.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum::{body::Body, response::Response};
use bytes::Bytes;
use http::{HeaderValue, Method, Uri};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use super::{
    call::Call,
    inflight::{Begun, Place},
    reply::AUDIT_ID,
    route::Route,
};
use crate::metrics::api::{Api, Asked};

/// For the code of an answer that its client did not wait for.
const CLIENT_LEFT: u16 = 499;

/// One request. It is over when this is dropped, so one whose client leaves is written down too.
#[derive(Debug)]
pub struct Record {
    metrics: Api,
    asked: Asked,
    started: Instant,
    method: Method,
    uri: Uri,
    user: Option<String>,
    /// Code and id of the response, once there is one.
    response: Option<(u16, Option<HeaderValue>)>,
    bytes: u64,
    complete: bool,
    _begun: Option<Begun>,
    place: Option<Place>,
}

impl Record {
    /// Begins with what was asked, and with what counts the request among those that a shutdown waits for.
    #[must_use]
    pub fn new(metrics: &Api, call: &Call, route: Option<&Route>, begun: Option<Begun>) -> Self {
        Self {
            metrics: metrics.clone(),
            asked: asked(call, route),
            started: Instant::now(),
            method: call.method.clone(),
            uri: call.uri.clone(),
            user: None,
            response: None,
            bytes: 0,
            complete: false,
            _begun: begun,
            place: None,
        }
    }

    /// Notes who asks.
    pub fn user(&mut self, name: &str) {
        self.user = Some(name.to_owned());
    }

    /// Keeps the request's place until the end.
    pub fn keep(&mut self, place: Place) {
        self.place = Some(place);
    }

    /// Goes with the response until its last byte.
    #[must_use]
    pub fn follow(mut self, response: Response) -> Response {
        let id = response.headers().get(AUDIT_ID).cloned();
        self.response = Some((response.status().as_u16(), id));
        response.map(|body| {
            self.complete = body.is_end_stream();
            Body::new(Followed { body, record: self })
        })
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let took = self.started.elapsed();
        let code = self.response.as_ref().map_or(CLIENT_LEFT, |(code, _)| *code);
        self.metrics.answered(self.asked, code, took, self.bytes);
        let audit_id = self.response.as_ref().and_then(|(_, id)| id.as_ref()?.to_str().ok());
        tracing::debug!(
            method = %self.method,
            path = self.uri.path(),
            code,
            user = self.user.as_deref().unwrap_or_default(),
            audit_id = audit_id.unwrap_or_default(),
            bytes = self.bytes,
            duration_us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            complete = self.complete,
            "request"
        );
    }
}

/// The body of a response, and the record that it completes.
struct Followed {
    body: Body,
    record: Record,
}

impl HttpBody for Followed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(frame) = &polled {
            if let Some(Ok(frame)) = frame {
                this.record.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
            this.record.complete = frame.is_none() || this.body.is_end_stream();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The labels of a request, each from a closed set.
fn asked(call: &Call, route: Option<&Route>) -> Asked {
    let (group, version, resource, named) = match route {
        Some(Route::Metrics(version, objects)) => {
            (super::route::GROUP, version.name(), objects.resource(), objects.name().is_some())
        }
        Some(Route::Core(objects)) => ("", "v1", objects.resource(), objects.name().is_some()),
        Some(Route::Namespaces) => ("", "v1", "namespaces", false),
        _ => ("", "", "", true),
    };
    let subresource = if resource.is_empty() { first_part(call.path()) } else { "" };
    Asked { verb: verb(&call.method, named, call.query.watch()), group, version, resource, subresource }
}

fn verb(method: &Method, named: bool, watch: bool) -> &'static str {
    match (method.as_str(), named) {
        ("GET" | "HEAD", true) => "GET",
        ("GET" | "HEAD", false) if watch => "WATCH",
        ("GET" | "HEAD", false) => "LIST",
        ("POST", _) => "POST",
        ("PUT", _) => "PUT",
        ("PATCH", _) => "PATCH",
        ("DELETE", _) => "DELETE",
        ("CONNECT", _) => "CONNECT",
        _ => "other",
    }
}

/// The part of a path by which requests are told apart, if it is one that we serve.
fn first_part(path: &str) -> &'static str {
    const KNOWN: [&str; 8] =
        ["/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi", "/readyz", "/version"];
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    KNOWN.into_iter().find(|known| known.strip_prefix('/') == Some(first)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use http::{Request, StatusCode};
    use kubevitals_agent::exposition::exposition;
    use prometheus_client::metrics::gauge::Gauge;
    use proptest::prelude::*;

    use super::*;
    use crate::{api::inflight::InFlight, metrics::Registered};

    fn labels(method: &str, uri: &str) -> Asked {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let call = Call::from(Request::builder().method(method).uri(uri).body(()).unwrap().into_parts().0);
        let route = Route::parse(call.path(), true).ok();
        asked(&call, route.as_ref())
    }

    #[test]
    fn c119_requests_are_told_apart_by_verb_and_resource() {
        let nodes = Asked {
            verb: "LIST",
            group: "metrics.k8s.io",
            version: "v1beta1",
            resource: "nodes",
            subresource: "",
        };
        let base = "/apis/metrics.k8s.io/v1beta1/nodes";
        assert_eq!(labels("GET", base), nodes);
        assert_eq!(labels("HEAD", &format!("{base}/n1?watch=1")), Asked { verb: "GET", ..nodes });
        assert_eq!(labels("GET", &format!("{base}?watch=1")), Asked { verb: "WATCH", ..nodes });
        assert_eq!(labels("BREW", base), Asked { verb: "other", ..nodes });
        let path = |subresource| Asked { verb: "GET", subresource, ..Asked::default() };
        assert_eq!(labels("GET", "/readyz/ping"), path("/readyz"));
        assert_eq!(labels("GET", "/apis/metrics.k8s.io/v1"), path("/apis"));
        assert_eq!(labels("GET", "/nosuch/metrics"), path(""));
    }

    proptest! {
        #[test]
        fn no_request_makes_a_label_of_its_own(
            method in "[A-Z]{1,8}",
            path in "(/apis|/metrics[.]k8s[.]io|/v1|/nodes|/pods|/namespaces|/api|/[a-z%2]{1,4}){0,7}",
        ) {
            let asked = labels(&method, &format!("https://x{path}/"));
            let verbs = ["GET", "LIST", "WATCH", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "other"];
            prop_assert!(verbs.contains(&asked.verb));
            prop_assert!(["", "metrics.k8s.io"].contains(&asked.group));
            prop_assert!(["", "v1", "v1beta1"].contains(&asked.version));
            prop_assert!(["", "nodes", "pods", "namespaces"].contains(&asked.resource));
            prop_assert!(asked.subresource.len() <= "/healthz".len());
        }
    }

    fn record(registered: &Registered) -> Record {
        let call = Call::from(Request::get("/apis").body(()).unwrap().into_parts().0);
        Record::new(&registered.metrics.api, &call, None, None)
    }

    fn counted(registered: &Registered, code: u16) -> bool {
        let (_, text) = exposition(&registered.registry, None).unwrap();
        let series = "apiserver_request_total{verb=\"GET\",group=\"\",version=\"\",resource=\"\",";
        text.contains(&format!("{series}subresource=\"/apis\",code=\"{code}\"}} 1\n"))
    }

    #[tokio::test]
    async fn c110_a_request_is_written_down_and_its_place_free_when_its_body_ends() {
        let (metrics, in_flight) = (Registered::default(), InFlight::new(1, Gauge::default()));
        let mut record = record(&metrics);
        record.keep(in_flight.place(false).unwrap());
        let response = Response::builder().status(StatusCode::CREATED).body(Body::from("12345")).unwrap();
        let response = record.follow(response);
        assert!(!counted(&metrics, 201));
        assert!(in_flight.place(false).is_none());
        assert_eq!(to_bytes(response.into_body(), 10).await.unwrap(), "12345");
        assert!(counted(&metrics, 201));
        assert!(in_flight.place(false).is_some());
    }

    #[test]
    fn a_client_that_leaves_is_counted_as_such() {
        let metrics = Registered::default();
        drop(record(&metrics));
        assert!(counted(&metrics, 499));
    }
}
