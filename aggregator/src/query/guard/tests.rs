use std::pin::Pin;

use axum::routing::any;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Frame;
use tower::ServiceExt as _;

use super::*;

fn request(path: &str, timeout: Option<&str>) -> Request {
    let mut request = Request::builder().version(Version::HTTP_2).uri(path);
    if let Some(timeout) = timeout {
        request = request.header("grpc-timeout", timeout);
    }
    request.body(Body::empty()).unwrap()
}

const LIST: &str = "/kubevitals.v1.Query/List";
const WATCH: &str = "/kubevitals.v1.Query/Watch";

/// A service that answers in this way.
fn service(
    answer: fn() -> Pin<Box<dyn Future<Output = Response> + Send>>,
    shutdown: &CancellationToken,
) -> (Router, Metrics) {
    let metrics = Metrics::default();
    let guard = Guard::new(metrics.clone(), shutdown.clone());
    (guard.around(Router::new().fallback(any(answer))), metrics)
}

/// The code of an answer, from its head or its trailers.
async fn code(response: Response) -> Code {
    let head = Status::from_header_map(response.headers());
    let collected = response.into_body().collect().await.unwrap();
    let status = head.or_else(|| Status::from_header_map(collected.trailers()?));
    status.unwrap().code()
}

async fn asked(router: &Router, path: &str, timeout: Option<&str>) -> Code {
    code(router.clone().oneshot(request(path, timeout)).await.unwrap()).await
}

fn ok() -> Response {
    let mut trailers = HeaderMap::new();
    Status::ok("").add_header(&mut trailers).unwrap();
    let body = http_body_util::StreamBody::new(tokio_stream::iter([Ok::<_, axum::Error>(Frame::trailers(
        trailers,
    ))]));
    Response::new(Body::new(body))
}

fn endless() -> Response {
    Response::new(Body::from_stream(futures_util::stream::pending::<Result<Bytes, axum::Error>>()))
}

#[tokio::test(start_paused = true)]
async fn a_request_over_its_time_is_told_so() {
    let never = || Box::pin(std::future::pending()) as _;
    let (router, _) = service(never, &CancellationToken::new());
    let begun = tokio::time::Instant::now();
    assert_eq!(asked(&router, LIST, Some("200m")).await, Code::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    let begun = tokio::time::Instant::now();
    assert_eq!(
        asked(&router, LIST, Some("99999999H")).await,
        Code::DeadlineExceeded,
        "no longer than we allow"
    );
    assert!(begun.elapsed() < LONGEST * 2);
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_callers_deadline_or_with_the_server() {
    let shutdown = CancellationToken::new();
    let (router, _) = service(|| Box::pin(async { endless() }), &shutdown);
    assert_eq!(asked(&router, WATCH, Some("5S")).await, Code::DeadlineExceeded);
    let response = router.clone().oneshot(request(WATCH, None)).await.unwrap();
    assert!(response.extensions().get::<Lasting>().is_some());
    shutdown.cancel();
    assert_eq!(code(response).await, Code::Unavailable);
}

#[tokio::test]
async fn a_panic_is_this_requests_alone() {
    let (router, _) = service(|| Box::pin(async { panic!("a fault") }), &CancellationToken::new());
    assert_eq!(asked(&router, LIST, None).await, Code::Internal);
    let stream = || {
        let faulty =
            futures_util::stream::poll_fn(|_| -> std::task::Poll<Option<Result<Bytes, axum::Error>>> {
                panic!("a fault")
            });
        Box::pin(async { Response::new(Body::from_stream(faulty)) }) as _
    };
    let (router, _) = service(stream, &CancellationToken::new());
    assert_eq!(asked(&router, WATCH, None).await, Code::Internal);
}

#[tokio::test]
async fn places_are_limited_by_kind_and_come_back_with_the_last_byte() {
    let (router, metrics) = service(|| Box::pin(async { endless() }), &CancellationToken::new());
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(router.clone().oneshot(request(LIST, None)).await.unwrap());
    }
    assert_eq!(metrics.in_flight("list").get(), 64);
    assert_eq!(asked(&router, LIST, None).await, Code::ResourceExhausted);
    let open = router.clone().oneshot(request("/grpc.health.v1.Health/Check", None)).await.unwrap();
    assert!(open.headers().get("grpc-status").is_none(), "others have places of their own");
    held.pop();
    let again = router.clone().oneshot(request(LIST, None)).await.unwrap();
    assert!(again.headers().get("grpc-status").is_none());
    drop((held, again));
    assert_eq!(metrics.in_flight("list").get(), 0);
}

#[tokio::test]
async fn only_answers_to_somebody_who_is_known_keep_a_connection() {
    let (router, _) = service(|| Box::pin(async { ok() }), &CancellationToken::new());
    let closes = async |admitted: Option<Admitted>| {
        let mut request = request(LIST, None);
        if let Some(admitted) = admitted {
            request.extensions_mut().insert(admitted);
        }
        router.clone().oneshot(request).await.unwrap().extensions().get::<Stranger>().is_some()
    };
    let known = Admitted::default();
    known.set();
    assert!(closes(None).await && closes(Some(Admitted::default())).await && !closes(Some(known)).await);
}

#[tokio::test]
async fn only_http2_is_spoken() {
    let (router, _) = service(|| Box::pin(async { ok() }), &CancellationToken::new());
    let mut old = request(LIST, None);
    *old.version_mut() = Version::HTTP_11;
    let answer = router.oneshot(old).await.unwrap();
    assert_eq!(answer.status(), StatusCode::HTTP_VERSION_NOT_SUPPORTED);
}

#[test]
fn timeouts_are_read_as_the_specification_has_them() {
    let read = |text: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-timeout", text.parse().unwrap());
        let now = Instant::now();
        deadline(&headers).map(|end| (end - now).as_secs())
    };
    for (text, seconds) in
        [("1H", 3600), ("2M", 120), ("3S", 3), ("4000m", 4), ("5000000u", 5), ("99999999n", 0)]
    {
        assert_eq!(read(text), Some(seconds), "{text}");
    }
    for text in ["", "S", "1", "1s", "-1S", "+1S", "999999999S", "1.5S", "1 S"] {
        assert_eq!(read(text), None, "{text:?}");
    }
    assert_eq!(deadline(&HeaderMap::new()), None);
}

#[tokio::test(start_paused = true)]
async fn whoever_says_not_who_it_is_takes_no_place_of_those_who_are_known() {
    let (router, _) = service(|| Box::pin(async { endless() }), &CancellationToken::new());
    let mut held = Vec::new();
    for _ in 0..PLACES {
        held.push(router.clone().oneshot(request(LIST, None)).await.unwrap());
    }
    let admitted = Admitted::default();
    let asked_on = |admitted: &Admitted| {
        let mut request = request(LIST, None);
        request.extensions_mut().insert(admitted.clone());
        router.clone().oneshot(request)
    };
    let refused = asked_on(&admitted).await.unwrap();
    assert_eq!(code(refused).await, Code::ResourceExhausted);
    admitted.set();
    let answered = asked_on(&admitted).await.unwrap();
    assert!(answered.headers().get("grpc-status").is_none());
}

#[tokio::test]
async fn a_place_is_that_of_one_who_is_known_once_it_is_known_who_asks() {
    let guard = Guard::new(Metrics::default(), CancellationToken::new());
    let recognising = |request: Request| async move {
        request.extensions().get::<Admitted>().unwrap().set();
        endless()
    };
    let router = guard.clone().around(Router::new().fallback(any(recognising)));
    let mut request = request(WATCH, None);
    request.extensions_mut().insert(Admitted::default());
    let _held = router.oneshot(request).await.unwrap();
    let free = |places: &Places| places.streams.available_permits();
    assert_eq!((free(&guard.known), free(&guard.strangers)), (WATCHES - 1, WATCHES));
}
