//! The gRPC service for direct consumers: the numbers of the API, without the way through kube-apiserver.
//!
//! What is asked and answered is in `query.proto`. In reading order: [`access`] (who asks, and whether it may),
//! [`selection`] (what for), [`walk`] (how that is found), [`item`] and [`distribution`] (its numbers, or why there are
//! none), [`messages`] (those as messages), [`faults`] (what is wrong with a request). Each method is a file of its own;
//! [`server`] is the port.

pub mod access;
pub mod distribution;
pub mod explain;
pub mod faults;
pub mod item;
pub mod messages;
pub mod selection;
pub mod server;
pub mod target;
pub mod walk;

use kubevitals::wire::{self, query_server};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::access::Access;
use crate::{explain::Explainer, view::View};

/// Answers queries.
#[derive(Debug, Clone)]
pub struct Query {
    /// Names, counters and rules.
    pub view: View,
    /// Who may ask for what.
    pub access: Access,
    /// Why something is served or not.
    pub explainer: Explainer,
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
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        explain::explain(self, request).await
    }

    async fn raw(&self, _: Request<wire::RawRequest>) -> Result<Response<wire::RawResponse>, Status> {
        Err(Status::unimplemented("Raw"))
    }
}
