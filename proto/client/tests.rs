//! The client before servers that stop, refuse, fall silent and come back.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant, SystemTime},
};

use tempfile::TempDir;
use tokio::{net::TcpListener, sync::mpsc, time::timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{
    Request, Response, Status,
    transport::{Identity, Server, ServerTlsConfig},
};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Client, Error, Event, Options};
use crate::wire::{
    self,
    query_server::{Query, QueryServer},
};

/// Longest that anything may take, on cores that may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

type Messages = ReceiverStream<Result<wire::WatchResponse, Status>>;

/// What a server does with one call.
enum Answer {
    Refuse(Status),
    /// Of `List`.
    Page(wire::ListResponse),
    /// Of `Watch`: these messages, and then the end, or silence while `stays`.
    Messages {
        messages: Vec<Result<wire::WatchResponse, Status>>,
        stays: bool,
    },
    /// This, after a while.
    Late(Duration, Box<Answer>),
    /// Nothing.
    Hang,
}

/// Answers by a script, and notes who asked what.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    /// Token, and `resume` or `page_token`, of each call.
    calls: Vec<(String, String)>,
    /// Streams that stay open.
    open: Vec<mpsc::Sender<Result<wire::WatchResponse, Status>>>,
}

impl Scripted {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let scripted = Self::default();
        scripted.0.lock().unwrap().answers.extend(answers);
        scripted
    }

    fn calls(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap().calls.clone()
    }

    async fn next<T>(&self, request: &Request<T>, place: &str) -> Answer {
        let token = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let token = token.and_then(|token| token.strip_prefix("Bearer ")).unwrap_or_default().to_owned();
        let answer = {
            let mut state = self.0.lock().unwrap();
            state.calls.push((token, place.to_owned()));
            state.answers.pop_front()
        };
        match answer {
            Some(Answer::Hang) | None => std::future::pending().await,
            Some(Answer::Late(after, answer)) => {
                tokio::time::sleep(after).await;
                *answer
            }
            Some(answer) => answer,
        }
    }
}

#[tonic::async_trait]
impl Query for Scripted {
    type WatchStream = Messages;

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        match self.next(&request, &request.get_ref().page_token).await {
            Answer::Page(page) => Ok(Response::new(page)),
            Answer::Refuse(status) => Err(status),
            _ => panic!("not an answer to List"),
        }
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Messages>, Status> {
        match self.next(&request, &request.get_ref().resume).await {
            Answer::Messages { messages, stays } => {
                let (sender, receiver) = mpsc::channel(messages.len() + 1);
                for message in messages {
                    sender.try_send(message).unwrap();
                }
                if stays {
                    self.0.lock().unwrap().open.push(sender);
                }
                Ok(Response::new(ReceiverStream::new(receiver)))
            }
            Answer::Refuse(status) => Err(status),
            _ => panic!("not an answer to Watch"),
        }
    }

    async fn explain(
        &self,
        _: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        Err(Status::unimplemented("Explain"))
    }

    async fn raw(&self, _: Request<wire::RawRequest>) -> Result<Response<wire::RawResponse>, Status> {
        Err(Status::unimplemented("Raw"))
    }
}

/// Where a server is, and what believes and knows it.
struct Served {
    address: SocketAddr,
    files: TempDir,
}

impl Served {
    async fn start(scripted: &Scripted) -> Self {
        let files = tempfile::tempdir().unwrap();
        let own = rcgen::generate_simple_self_signed(["aggregator.test".to_owned()]).unwrap();
        let (cert, key) = (own.cert.pem(), own.signing_key.serialize_pem());
        fs::write(files.path().join("ca"), &cert).unwrap();
        fs::write(files.path().join("token"), "first\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = ServerTlsConfig::new().identity(Identity::from_pem(cert, key));
        let service = QueryServer::new(scripted.clone());
        let server = Server::builder().tls_config(tls).unwrap().add_service(service);
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        Self { address, files }
    }

    fn options(&self) -> Options {
        let path = |name: &str| self.files.path().join(name);
        let options = Options::new(&format!("https://{}", self.address)).unwrap();
        options.server_name("aggregator.test").ca_file(path("ca")).token_file(path("token"))
    }
}

/// A client of a server that answers like this.
async fn before(answers: impl IntoIterator<Item = Answer>) -> (Client, Scripted, Served) {
    let scripted = Scripted::new(answers);
    let served = Served::start(&scripted).await;
    (Client::new(served.options()), scripted, served)
}

fn page(next: &str) -> Answer {
    Answer::Page(wire::ListResponse { next_page_token: next.to_owned(), ..wire::ListResponse::default() })
}

fn unavailable() -> Answer {
    Answer::Refuse(Status::unavailable("stops"))
}

#[expect(clippy::unnecessary_wraps, reason = "beside errors in one list")]
fn tick(position: &str, full: bool) -> Result<wire::WatchResponse, Status> {
    let usages = vec![wire::Usage::default()];
    let (time, position) = (Some(SystemTime::now().into()), position.to_owned());
    Ok(wire::WatchResponse { full, usages, time, position, ..wire::WatchResponse::default() })
}

async fn next(watch: &mut super::Watch) -> Result<Event, Error> {
    timeout(PATIENCE, watch.next()).await.expect("an event in time")
}

#[tokio::test]
async fn all_pages_are_read_in_turn_and_the_last_is_the_end() {
    let (client, scripted, _served) = before([page("2"), page("3"), page("")]).await;
    let mut pages = client.list(wire::ListRequest::default());
    let mut count = 0;
    while pages.next().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 3);
    let asked: Vec<_> = scripted.calls().into_iter().map(|(_, page)| page).collect();
    assert_eq!(asked, ["", "2", "3"]);
}

#[tokio::test]
async fn a_page_that_leads_to_itself_is_an_error_and_no_endless_loop() {
    let (client, _, _served) = before([page("2"), page("2")]).await;
    let mut pages = client.list(wire::ListRequest::default());
    assert!(pages.next().await.unwrap().is_some());
    assert!(matches!(pages.next().await, Err(Error::Failed { .. })));
}

#[tokio::test]
async fn an_aggregator_that_is_unavailable_is_asked_again() {
    let (client, scripted, _served) = before([unavailable(), unavailable(), page("")]).await;
    assert!(client.list(wire::ListRequest::default()).next().await.unwrap().is_some());
    assert_eq!(scripted.calls().len(), 3);
}

#[tokio::test]
async fn a_call_ends_at_its_deadline_whatever_the_server_does() {
    let (_, _, served) = before([Answer::Hang]).await;
    let client = Client::new(served.options().timeout(Duration::from_millis(300)));
    let begun = Instant::now();
    let error = client.list(wire::ListRequest::default()).next().await.unwrap_err();
    assert!(matches!(error, Error::TimedOut(_)), "{error:?}");
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_token_that_was_refused_is_read_again_once() {
    let refuse = || Answer::Refuse(Status::unauthenticated("expired"));
    let (client, scripted, served) =
        before([page(""), refuse(), page(""), refuse(), refuse(), page("")]).await;
    let list = || async { client.list(wire::ListRequest::default()).next().await };
    assert!(list().await.is_ok());
    fs::write(served.files.path().join("token"), "second").unwrap();
    // The connection still shows the first; refused, it shows the second.
    assert!(list().await.is_ok());
    let tokens: Vec<_> = scripted.calls().into_iter().map(|(token, _)| token).collect();
    assert_eq!(tokens, ["first", "first", "second"]);
    assert!(matches!(list().await, Err(Error::Unauthenticated(_))));
    assert_eq!(scripted.calls().len(), 5);
}

#[tokio::test]
async fn what_cannot_succeed_is_asked_once_and_the_field_is_named() {
    let details = ErrorDetails::with_bad_request_violation("selection.names", "too many");
    let invalid = Status::with_error_details(tonic::Code::InvalidArgument, "invalid request", details);
    let (client, scripted, _served) =
        before([Answer::Refuse(invalid), Answer::Refuse(Status::permission_denied("no"))]).await;
    let error = client.list(wire::ListRequest::default()).next().await.unwrap_err();
    assert_eq!(error.to_string(), "invalid request: selection.names: too many");
    let error = client.watch(wire::WatchRequest::default()).next().await.unwrap_err();
    assert!(matches!(error, Error::Forbidden(_)), "{error:?}");
    assert_eq!(scripted.calls().len(), 2);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let (_, _, served) = before([page(""), page("")]).await;
    // Bound and let go: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    for _ in 0..2 {
        let options = served.options().endpoint(&format!("https://{nobody}")).unwrap();
        assert!(Client::new(options).list(wire::ListRequest::default()).next().await.is_ok());
    }
}

#[tokio::test]
async fn a_watch_goes_on_where_its_last_whole_tick_ended() {
    let parts = wire::WatchResponse { more: true, ..tick("", false).unwrap() };
    let first = vec![tick("one", true), tick("two", false), Ok(parts), Err(Status::unavailable("stops"))];
    let again = vec![tick("three", false)];
    let (client, scripted, _served) = before([
        Answer::Messages { messages: first, stays: false },
        unavailable(),
        Answer::Messages { messages: again, stays: true },
    ])
    .await;
    let mut watch = client.watch(wire::WatchRequest::default());
    assert!(matches!(next(&mut watch).await, Ok(Event::Picture(_))));
    assert!(matches!(next(&mut watch).await, Ok(Event::Changed(_))));
    assert!(matches!(next(&mut watch).await, Ok(Event::Interrupted(Error::Unavailable(_)))));
    assert!(matches!(next(&mut watch).await, Ok(Event::Interrupted(Error::Unavailable(_)))));
    let Ok(Event::Changed(tick)) = next(&mut watch).await else { panic!("no change") };
    assert_eq!(tick.usages.len(), 1, "the part of a tick that broke off is forgotten");
    let resumed: Vec<_> = scripted.calls().into_iter().map(|(_, resume)| resume).collect();
    assert_eq!(resumed, ["", "two", "two"]);
}

#[tokio::test]
async fn a_watch_shows_its_new_token_when_the_old_one_is_refused_and_gives_up_when_both_are() {
    let refused = || Answer::Refuse(Status::unauthenticated("expired"));
    let (client, scripted, served) = before([
        Answer::Messages {
            messages: vec![tick("one", true), Err(Status::unauthenticated("expired"))],
            stays: false,
        },
        Answer::Messages {
            messages: vec![tick("two", false), Err(Status::unauthenticated("expired"))],
            stays: false,
        },
        refused(),
    ])
    .await;
    let mut watch = client.watch(wire::WatchRequest::default());
    assert!(matches!(next(&mut watch).await, Ok(Event::Picture(_))));
    fs::write(served.files.path().join("token"), "second").unwrap();
    assert!(matches!(next(&mut watch).await, Ok(Event::Changed(_))));
    assert!(matches!(next(&mut watch).await, Err(Error::Unauthenticated(_))));
    let tokens: Vec<_> = scripted.calls().into_iter().map(|(token, _)| token).collect();
    assert_eq!(tokens, ["first", "second", "second"]);
}

#[tokio::test]
async fn a_watch_that_falls_silent_is_begun_anew_also_for_a_caller_who_waits_in_pieces() {
    let opened = |position| Answer::Messages { messages: vec![tick(position, true)], stays: true };
    let (client, scripted, _served) = before([opened("one"), opened("two")]).await;
    let mut watch = client.watch(wire::WatchRequest::default());
    assert!(matches!(next(&mut watch).await, Ok(Event::Picture(_))));
    // From here on only the clock moves.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    let event = loop {
        if let Ok(event) = timeout(Duration::from_secs(2), watch.next()).await {
            break event.unwrap();
        }
    };
    assert!(matches!(event, Event::Interrupted(Error::Silent(_))), "{event:?}");
    assert!((14..=17).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    tokio::time::resume();
    assert!(matches!(next(&mut watch).await, Ok(Event::Picture(_))));
    assert_eq!(scripted.calls().len(), 2);
}

#[tokio::test]
async fn a_watch_that_begins_slowly_begins_also_for_who_has_other_things_to_do_meanwhile() {
    let messages = vec![tick("1", true)];
    let slow = Answer::Late(Duration::from_secs(1), Box::new(Answer::Messages { messages, stays: true }));
    let (client, scripted, _served) = before([slow]).await;
    let mut watch = client.watch(wire::WatchRequest::default());
    let begun = Instant::now();
    let event = loop {
        assert!(begun.elapsed() < PATIENCE, "no event in time");
        if let Ok(event) = timeout(Duration::from_millis(50), watch.next()).await {
            break event;
        }
    };
    assert!(matches!(event, Ok(Event::Picture(_))), "{event:?}");
    assert_eq!(scripted.calls().len(), 1);
}
