//! `Watch` in front of the generated server, which would encode each message anew for each reader.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::{Stream, StreamExt as _};
use kubevitals::wire::{self, query_server::QueryServer};
use prost::Message as _;
use tonic::{
    Request, Response, Status,
    body::Body,
    codegen::{BoxFuture, Service, http},
    server::{Grpc, NamedService, ServerStreamingService},
};

use super::{
    feed::Subject,
    message::{Encoded, Outgoing},
    position::Position,
};
use crate::query::{Query, access::Verb, faults::Faults};

const PATH: &str = "/kubevitals.v1.Query/Watch";

/// Messages as they are sent.
pub type Sent = Pin<Box<dyn Stream<Item = Result<Outgoing, Status>> + Send>>;

/// Messages for whoever reads them in this process.
pub type Decoded = Pin<Box<dyn Stream<Item = Result<wire::WatchResponse, Status>> + Send>>;

impl Query {
    /// Begins a watch.
    pub(crate) async fn begin_watch(&self, mut request: Request<wire::WatchRequest>) -> Result<Sent, Status> {
        let caller = self.access.caller(&mut request).await?;
        let request = request.into_inner();
        let mut faults = Faults::default();
        let subject = Subject::read(&request, self.watches.view().store.kept(), &mut faults);
        faults.check()?;
        let subject = subject.ok_or_else(|| Status::internal("a request without faults says nothing"))?;
        caller.may(Verb::Watch, &subject.selection).await?;
        let reader = self.watches.open(subject, caller, Position::parse(&request.resume))?;
        Ok(Box::pin(reader.messages()))
    }
}

/// The same for the generated server.
pub(crate) fn decoded(sent: Sent) -> Decoded {
    Box::pin(sent.map(|message| {
        let Outgoing { own, items } = message?;
        let items =
            wire::WatchResponse::decode(items).map_err(|error| Status::internal(error.to_string()))?;
        Ok(wire::WatchResponse { usages: items.usages, absent: items.absent, ..own })
    }))
}

/// The query service: the generated one with a `Watch` that encodes once for all.
#[derive(Debug, Clone)]
pub struct QueryService {
    query: Arc<Query>,
    others: QueryServer<Query>,
    largest: usize,
}

impl QueryService {
    /// Serves `query`; `largest` bounds requests, bytes.
    #[must_use]
    pub fn new(query: Query, largest: usize) -> Self {
        let query = Arc::new(query);
        let others = QueryServer::from_arc(Arc::clone(&query)).max_decoding_message_size(largest);
        Self { query, others, largest }
    }
}

impl NamedService for QueryService {
    const NAME: &'static str = <QueryServer<Query> as NamedService>::NAME;
}

impl Service<http::Request<Body>> for QueryService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if request.uri().path() != PATH {
            return self.others.call(request);
        }
        let (watch, largest) = (Watch(Arc::clone(&self.query)), self.largest);
        Box::pin(async move {
            let mut grpc = Grpc::new(Encoded).max_decoding_message_size(largest);
            Ok(grpc.server_streaming(watch, request).await)
        })
    }
}

struct Watch(Arc<Query>);

impl ServerStreamingService<wire::WatchRequest> for Watch {
    type Response = Outgoing;
    type ResponseStream = Sent;
    type Future = BoxFuture<Response<Sent>, Status>;

    fn call(&mut self, request: Request<wire::WatchRequest>) -> Self::Future {
        let query = Arc::clone(&self.0);
        Box::pin(async move { query.begin_watch(request).await.map(Response::new) })
    }
}
