//! The gRPC service for direct consumers: the numbers of the API, without the way through kube-apiserver.
//!
//! What is asked and answered is in `query.proto`. Each method is a file of its own; [`server`] is the port.

pub mod server;

use kubevitals::wire::{self, query_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::view::View;

/// Answers queries.
#[derive(Debug, Clone)]
pub struct Query {
    /// Names, counters and rules.
    pub view: View,
}

#[tonic::async_trait]
impl query_server::Query for Query {
    type WatchStream = ReceiverStream<Result<wire::WatchResponse, Status>>;

    async fn list(&self, _: Request<wire::ListRequest>) -> Result<Response<wire::ListResponse>, Status> {
        Err(Status::unimplemented("List"))
    }

    async fn watch(&self, _: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("Watch"))
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
