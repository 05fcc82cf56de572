//! One kubelet asked once, over a connection that is kept.

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use kubevitals::sample::WallTime;
use rustls_pki_types::ServerName;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

use super::{
    body::Body,
    credentials::Current,
    endpoint::Endpoint,
    fault::{PollError, Stage},
    gather::Page,
    pictures::Arrival,
};

/// What of a head or line is read at a time. A kubelet's head has a few hundred bytes.
const READ_BUFFER: usize = 32 * 1024;

/// Two clocks that differ by less are taken for the same: the `Date` of an answer has whole seconds.
const SAME_CLOCK: Duration = Duration::from_secs(2);

/// A kept connection.
#[derive(Debug)]
pub struct Connection {
    sender: http1::SendRequest<Empty<Bytes>>,
    endpoint: Endpoint,
    generation: u64,
    /// Moves bytes until the connection ends.
    _mover: AbortOnDropHandle<()>,
}

/// By when, and how long that is.
#[derive(Debug, Clone, Copy)]
struct Deadline {
    at: Instant,
    limit: Duration,
}

impl Deadline {
    fn after(limit: Duration) -> Self {
        Self { at: Instant::now() + limit, limit }
    }

    async fn wait<T>(self, stage: Stage, task: impl Future<Output = T>) -> Result<T, PollError> {
        timeout_at(self.at, task).await.map_err(|_| PollError::Timeout { stage, limit: self.limit })
    }
}

/// Asks for a page. `kept` is the connection of the time before; it is there again afterwards if it can be used once
/// more.
pub async fn poll(
    kept: &mut Option<Connection>,
    endpoint: &Endpoint,
    credentials: &Arc<Current>,
    limit: Duration,
) -> Result<(Page, Arrival), PollError> {
    let deadline = Deadline::after(limit);
    let is_usable = |held: &Connection| {
        held.endpoint == *endpoint && held.generation == credentials.generation && held.sender.is_ready()
    };
    let (mut connection, answer) = match kept.take().filter(is_usable) {
        Some(mut held) => match ask(&mut held, credentials, deadline).await {
            Ok(answer) => (held, answer),
            // A kubelet may close a connection at the moment it is used again.
            Err(PollError::Broken(_)) => fresh(endpoint, credentials, deadline).await?,
            Err(error) => return Err(error),
        },
        None => fresh(endpoint, credentials, deadline).await?,
    };
    let arrival = arrival(answer.headers());
    let page = read(answer, deadline).await?;
    // The last bytes were read; whether the other side goes on is known in a moment.
    if connection.sender.ready().await.is_ok() {
        *kept = Some(connection);
    }
    Ok((page, arrival))
}

async fn fresh(
    endpoint: &Endpoint,
    credentials: &Arc<Current>,
    deadline: Deadline,
) -> Result<(Connection, Response<Incoming>), PollError> {
    // Half of the time for the way there leaves the other half for the answer.
    let mut connection = connect(endpoint, credentials, Deadline::after(deadline.limit / 2)).await?;
    let answer = ask(&mut connection, credentials, deadline).await?;
    Ok((connection, answer))
}

async fn connect(
    endpoint: &Endpoint,
    credentials: &Arc<Current>,
    deadline: Deadline,
) -> Result<Connection, PollError> {
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let tcp = deadline.wait(Stage::Connection, tcp).await?;
    let tcp = tcp.map_err(|error| PollError::connect(endpoint, &error))?;
    // A request is one small write.
    let _ = tcp.set_nodelay(true);
    let name = ServerName::try_from(endpoint.host.clone())
        .map_err(|error| PollError::connect(endpoint, &io::Error::other(error)))?;
    let tls = TlsConnector::from(Arc::clone(&credentials.tls)).connect(name, tcp);
    let tls = deadline.wait(Stage::Handshake, tls).await?;
    let tls = tls.map_err(|error| PollError::tls(endpoint, &error))?;
    let (sender, connection) = http1::Builder::new()
        .max_buf_size(READ_BUFFER)
        .handshake(TokioIo::new(tls))
        .await
        .map_err(|error| broken(&error))?;
    let mover = tokio::spawn(async move {
        // Whoever waits for the answer is told.
        let _ = connection.await;
    });
    let (endpoint, generation) = (endpoint.clone(), credentials.generation);
    Ok(Connection { sender, endpoint, generation, _mover: AbortOnDropHandle::new(mover) })
}

async fn ask(
    connection: &mut Connection,
    credentials: &Current,
    deadline: Deadline,
) -> Result<Response<Incoming>, PollError> {
    let endpoint = &connection.endpoint;
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = endpoint.path.clone().into();
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(endpoint.authority())
        .map_err(|error| PollError::connect(endpoint, &io::Error::other(error)))?;
    headers.insert(header::HOST, host);
    headers.insert(header::USER_AGENT, HeaderValue::from_static("kubevitals-aggregator"));
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/plain;version=0.0.4"));
    headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
    if let Some(bearer) = &credentials.bearer {
        headers.insert(header::AUTHORIZATION, bearer.clone());
    }
    let answer = deadline.wait(Stage::Answer, connection.sender.send_request(request)).await?;
    answer.map_err(|error| broken(&error))
}

async fn read(answer: Response<Incoming>, deadline: Deadline) -> Result<Page, PollError> {
    let status = answer.status().as_u16();
    if status != 200 {
        return Err(PollError::Status { status });
    }
    let mut body = Body::new(form(answer.headers())?);
    let mut pieces = answer.into_body();
    while let Some(piece) = deadline.wait(Stage::Page, pieces.frame()).await? {
        if let Ok(piece) = piece.map_err(|error| broken(&error))?.into_data() {
            body.feed(&piece)?;
        }
    }
    body.finish()
}

/// Whether the body is packed; an error if it is of a form that was not asked for.
fn form(headers: &HeaderMap) -> Result<bool, PollError> {
    let text =
        |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    if let Some(kind) = text(header::CONTENT_TYPE).filter(|kind| !kind.trim_start().starts_with("text/plain"))
    {
        return Err(PollError::Content(kind.chars().take(80).collect()));
    }
    match text(header::CONTENT_ENCODING).as_deref().map(str::trim) {
        None | Some("" | "identity") => Ok(false),
        Some("gzip") => Ok(true),
        Some(other) => Err(PollError::Content(other.chars().take(80).collect())),
    }
}

fn broken(error: &hyper::Error) -> PollError {
    use std::error::Error as _;
    // Hyper's own text does not name the cause.
    PollError::Broken(error.source().map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}")))
}

fn arrival(headers: &HeaderMap) -> Arrival {
    let date = headers.get(header::DATE).and_then(|value| value.to_str().ok());
    let date = date.and_then(|text| httpdate::parse_http_date(text).ok());
    Arrival { wall: node_time(SystemTime::now(), date), instant: std::time::Instant::now() }
}

/// What a node's clock says, by our own and by the `Date` of its answer: timestamps are the node's, so their age is
/// too.
fn node_time(ours: SystemTime, date: Option<SystemTime>) -> WallTime {
    let is_other = |date: &SystemTime| {
        let apart = ours.duration_since(*date).or_else(|_| date.duration_since(ours));
        apart.is_ok_and(|apart| apart > SAME_CLOCK)
    };
    let time = date.filter(is_other).unwrap_or(ours);
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    WallTime(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_go_by_the_nodes_own_clock_where_that_differs() {
        let at = |seconds: u64| UNIX_EPOCH + Duration::from_secs(seconds);
        let seconds = |ours, date: Option<u64>| node_time(at(ours), date.map(at)).0 / 1_000_000;
        assert_eq!(seconds(1000, None), 1000);
        assert_eq!(seconds(1000, Some(999)), 1000, "the date has whole seconds");
        assert_eq!(seconds(1000, Some(1600)), 1600);
        assert_eq!(seconds(1000, Some(400)), 400);
    }

    #[test]
    fn only_plain_text_is_read_packed_or_not() {
        let form = |pairs: &[(&'static str, &'static str)]| {
            form(
                &pairs.iter().map(|&(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect(),
            )
        };
        assert_eq!(form(&[]), Ok(false));
        assert_eq!(
            form(&[("content-type", "text/plain; version=0.0.4"), ("content-encoding", "gzip")]),
            Ok(true)
        );
        assert!(form(&[("content-type", "text/html")]).is_err());
        assert!(form(&[("content-type", "application/openmetrics-text; version=1.0.0")]).is_err());
        assert!(form(&[("content-encoding", "br")]).is_err());
    }
}
