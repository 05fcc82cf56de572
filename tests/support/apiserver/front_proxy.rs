//! The aggregation layer's way to the server behind it: who asks becomes headers, the front proxy's certificate
//! vouches for them, and all requests to one address share one HTTP/2 connection. With several addresses (endpoint
//! routing) each request goes to the next one; one that fails is not tried at another.
//!
//! Whether the caller may do what it asks is left to the server behind, which has to ask anyway; a real API server
//! would check first.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{AUTHORIZATION, CONNECTION, LOCATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE},
};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{
    SERVICE,
    dial::{Connection, Fault, Target},
    objects::Collection,
    pki::Identity,
    poll::VERSIONS,
    reply::{Body, Reply},
    reviews::User,
};

/// What Go leaves as it is in a path.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b',')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');

/// What Go leaves as it is in a query.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What may stand in the name of a header, without `%`, which escapes the rest.
const HEADER_NAME: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'!')
    .remove(b'#')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'*')
    .remove(b'+')
    .remove(b'-')
    .remove(b'.')
    .remove(b'^')
    .remove(b'_')
    .remove(b'`')
    .remove(b'|')
    .remove(b'~');

/// Headers of one connection only.
const HOP_BY_HOP: [HeaderName; 5] = [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// The open connection to one address, if there is one, and by what its other end was trusted.
type Pooled = Arc<tokio::sync::Mutex<Option<(String, Connection)>>>;

/// Where requests go, in turn.
#[derive(Debug)]
enum Way {
    /// To servers that tests registered, each with what to trust there.
    Registered(Vec<Target>),
    /// To the endpoints of a Service, trusted by the bundle in the `APIService` of the request's version.
    Service(Vec<SocketAddr>),
}

/// The way to the registered server.
#[derive(Debug)]
pub(crate) struct FrontProxy {
    identity: Mutex<Identity>,
    way: Mutex<Way>,
    /// Whose `spec.caBundle` is believed on the way to a Service.
    services: Arc<Collection>,
    /// Which of them is next.
    turn: AtomicUsize,
    /// Versions whose `APIService` is available.
    available: Mutex<BTreeSet<String>>,
    /// One for each address, so that one that does not answer holds up no other.
    connections: Mutex<BTreeMap<SocketAddr, Pooled>>,
    dials: AtomicUsize,
}

impl FrontProxy {
    pub(super) fn new(identity: Identity, services: Arc<Collection>) -> Self {
        Self {
            identity: Mutex::new(identity),
            way: Mutex::new(Way::Registered(Vec::new())),
            services,
            turn: AtomicUsize::new(0),
            available: Mutex::default(),
            connections: Mutex::default(),
            dials: AtomicUsize::new(0),
        }
    }

    /// Connections to addresses that are no longer among them are given up. A real one keeps them, and asks on
    /// them again should the address return, until its pings fail: up to 45 s that no server behind it can mend.
    pub(super) fn register(&self, targets: Vec<Target>) {
        let is_target = |address: &SocketAddr| targets.iter().any(|target| target.address == *address);
        self.connections.lock().unwrap().retain(|address, _| is_target(address));
        *self.way.lock().unwrap() = Way::Registered(targets);
    }

    pub(super) fn follow_services(&self, endpoints: &[SocketAddr]) {
        *self.way.lock().unwrap() = Way::Service(endpoints.to_vec());
    }

    /// Where a request goes, and whom it trusts there.
    fn target(&self, path: &str) -> Result<Target, Fault> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let address = match &*self.way.lock().unwrap() {
            Way::Registered(targets) => {
                return next(targets, turn).cloned().ok_or_else(|| "nothing is registered".into());
            }
            Way::Service(endpoints) => *next(endpoints, turn).ok_or("the service has no endpoints")?,
        };
        Ok(Target { address, name: SERVICE.to_owned(), ca_pem: self.bundle(path)? })
    }

    /// What the `APIService` of a request's version says to trust.
    fn bundle(&self, path: &str) -> Result<String, Fault> {
        let version = VERSIONS.iter().find(|version| path.split('/').any(|part| part == **version));
        let name = format!("{}.metrics.k8s.io", version.unwrap_or(&VERSIONS[0]));
        let service = self.services.get("", &name).ok_or_else(|| format!("no APIService {name}"))?;
        let bundle = STANDARD.decode(service["spec"]["caBundle"].as_str().unwrap_or_default())?;
        if bundle.is_empty() {
            return Err(format!("APIService {name} has no caBundle").into());
        }
        Ok(String::from_utf8(bundle)?)
    }

    /// From now on, new connections show this certificate; the present ones are closed.
    pub(crate) async fn present(&self, identity: Identity) {
        *self.identity.lock().unwrap() = identity;
        let pooled: Vec<Pooled> = self.connections.lock().unwrap().values().cloned().collect();
        for connection in pooled {
            *connection.lock().await = None;
        }
    }

    /// How many connections were opened or tried.
    pub(crate) fn dials(&self) -> usize {
        self.dials.load(Ordering::Relaxed)
    }

    pub(super) fn set_available(&self, version: &str, is_available: bool) {
        let mut available = self.available.lock().unwrap();
        if is_available {
            available.insert(version.to_owned());
        } else {
            available.remove(version);
        }
    }

    pub(crate) fn is_available(&self, version: &str) -> bool {
        self.available.lock().unwrap().contains(version)
    }

    /// Passes a user's request on, when the `APIService` of its version is available.
    pub(super) async fn pass(&self, user: &User, version: &str, request: Request<Bytes>) -> Reply {
        if !self.is_available(version) {
            return Reply::plain(StatusCode::SERVICE_UNAVAILABLE, "service unavailable\n");
        }
        let (parts, body) = request.into_parts();
        let mut headers = parts.headers;
        headers.remove(AUTHORIZATION);
        headers.retain_names(|name| !HOP_BY_HOP.contains(name) && !name.as_str().starts_with("x-remote-"));
        for (name, value) in [
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-host", "kubernetes.default.svc"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-uri", parts.uri.path()),
        ] {
            headers.insert(name, HeaderValue::from_str(value).expect("a URI's path is a header value"));
        }
        match self.call(user, parts.method, &reencoded(&parts.uri), headers, body).await {
            Ok(response) => passed_back(response),
            Err(fault) => {
                let text = format!("error trying to reach service: {}\n", with_causes(&*fault));
                Reply::plain(StatusCode::SERVICE_UNAVAILABLE, text)
            }
        }
    }

    /// Asks as somebody.
    pub(crate) async fn call(
        &self,
        user: &User,
        method: Method,
        path_and_query: &str,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<Response<Incoming>, Fault> {
        identify(&mut headers, user);
        let target = self.target(path_and_query)?;
        // The connection may end at the moment it is taken; then there is a second try on a new one.
        let mut is_second = false;
        loop {
            let uri = format!("https://{}:{}{path_and_query}", target.name, target.address.port());
            let mut request =
                Request::builder().method(method.clone()).uri(uri).body(Full::new(body.clone()))?;
            *request.headers_mut() = headers.clone();
            match self.connection(&target).await?.send(request).await {
                Ok(response) => return Ok(response),
                Err(error) if is_second => return Err(error.into()),
                Err(_) => *self.pooled(&target).lock().await = None,
            }
            is_second = true;
        }
    }

    fn pooled(&self, target: &Target) -> Pooled {
        Arc::clone(self.connections.lock().unwrap().entry(target.address).or_default())
    }

    async fn connection(&self, target: &Target) -> Result<Connection, Fault> {
        let pooled = self.pooled(target);
        let mut pooled = pooled.lock().await;
        // Another bundle means another transport: connections are trusted by what was believed when they began.
        let usable = |(trusted, connection): &&(String, Connection)| {
            *trusted == target.ca_pem && !connection.is_closed()
        };
        if let Some((_, open)) = pooled.as_ref().filter(usable) {
            return Ok(open.share().expect("it is HTTP/2"));
        }
        self.dials.fetch_add(1, Ordering::Relaxed);
        let identity = self.identity.lock().unwrap().clone();
        let opened = target.http2(Some(&identity)).await?;
        let shared = opened.share().expect("it is HTTP/2");
        *pooled = Some((target.ca_pem.clone(), opened));
        Ok(shared)
    }
}

fn next<T>(of: &[T], turn: usize) -> Option<&T> {
    of.get(turn.checked_rem(of.len())?)
}

/// Says who asks.
pub(crate) fn identify(headers: &mut HeaderMap, user: &User) {
    let mut add = |name: &str, value: &str| {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("an escaped name");
        headers.append(name, HeaderValue::from_str(value).expect("a header value"));
    };
    add("x-remote-user", &user.name);
    if !user.uid.is_empty() {
        add("x-remote-uid", &user.uid);
    }
    for group in &user.groups {
        add("x-remote-group", group);
    }
    for (key, values) in &user.extra {
        let key = utf8_percent_encode(&key.to_lowercase(), HEADER_NAME).to_string();
        for value in values {
            add(&format!("x-remote-extra-{key}"), value);
        }
    }
}

/// The path decoded and encoded anew, the query sorted and without what cannot be read.
fn reencoded(uri: &Uri) -> String {
    let path = percent_decode_str(uri.path()).collect::<Vec<u8>>();
    let path = percent_encoding::percent_encode(&path, PATH).to_string();
    let mut pairs: Vec<(String, String)> =
        uri.query().unwrap_or_default().split('&').filter_map(pair).collect();
    pairs.sort_by(|(a, _), (b, _)| a.cmp(b));
    let encode = |text: &str| utf8_percent_encode(text, QUERY).to_string().replace("%20", "+");
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{}={}", encode(key), encode(value))).collect();
    if pairs.is_empty() { path } else { format!("{path}?{}", pairs.join("&")) }
}

/// A key and value; none when empty, with a semicolon, or with a broken escape.
pub(super) fn pair(text: &str) -> Option<(String, String)> {
    let (key, value) = text.split_once('=').unwrap_or((text, ""));
    let decode = |text: &str| {
        let text = text.replace('+', " ");
        let mut escapes = text.split('%').skip(1);
        let is_whole = escapes.all(|rest| {
            rest.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
        });
        is_whole.then(|| percent_decode_str(&text).decode_utf8_lossy().into_owned())
    };
    if text.is_empty() || text.contains(';') {
        return None;
    }
    Some((decode(key)?, decode(value)?))
}

/// A redirect would lead clients and their credentials elsewhere, so it is an error of the server behind.
fn passed_back(mut response: Response<Incoming>) -> Reply {
    if response.status().is_redirection() && response.headers().contains_key(LOCATION) {
        return Reply::plain(StatusCode::BAD_GATEWAY, "the backend attempted to redirect this request\n");
    }
    response.headers_mut().retain_names(|name| !HOP_BY_HOP.contains(name));
    Reply(response.map(|body| -> Body { body.map_err(Into::into).boxed() }))
}

trait RetainNames {
    fn retain_names(&mut self, keep: impl Fn(&HeaderName) -> bool);
}

impl RetainNames for HeaderMap {
    fn retain_names(&mut self, keep: impl Fn(&HeaderName) -> bool) {
        let unwanted: Vec<HeaderName> = self.keys().filter(|name| !keep(name)).cloned().collect();
        for name in unwanted {
            self.remove(name);
        }
    }
}

fn with_causes(fault: &(dyn std::error::Error + 'static)) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
