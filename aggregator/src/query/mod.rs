//! The gRPC service for direct consumers: the numbers of the API, without the way through kube-apiserver.
//!
//! What is asked and answered is in `query.proto`. In reading order: [`access`] (who asks, and whether it may),
//! [`selection`] (what for), [`walk`] (how that is found), [`item`] and [`distribution`] (its numbers, or why there are
//! none), [`messages`] (those as messages), [`target`] (one thing by name), [`faults`] (what is wrong with a
//! request). Each method is a file of its own;
//! [`server`] is the port, and `guard` and `ending` are what surrounds each request.

pub mod access;
pub mod distribution;
mod ending;
pub mod explain;
pub mod faults;
mod guard;
pub mod item;
mod list;
pub mod messages;
mod raw;
pub mod selection;
pub mod server;
pub mod target;
mod token;
pub mod walk;
pub mod watch;

use kubevitals::wire::{self, query_server};
use tonic::{Request, Response, Status};

use self::{
    access::Access,
    watch::{
        hub::Watches,
        service::{Decoded, decoded},
    },
};
use crate::{explain::Explainer, metrics, view::View};

/// Answers queries.
#[derive(Debug, Clone)]
pub struct Query {
    /// Names, counters and rules.
    pub view: View,
    /// Who may ask for what.
    pub access: Access,
    /// Why something is served or not.
    pub explainer: Explainer,
    /// What is counted.
    pub metrics: metrics::query::Query,
    /// What is watched.
    pub watches: Watches,
}

#[tonic::async_trait]
impl query_server::Query for Query {
    type WatchStream = Decoded;

    async fn list(
        &self,
        request: Request<wire::ListRequest>,
    ) -> Result<Response<wire::ListResponse>, Status> {
        list::list(self, request).await
    }

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Result<Response<Decoded>, Status> {
        self.begin_watch(request).await.map(decoded).map(Response::new)
    }

    async fn explain(
        &self,
        request: Request<wire::ExplainRequest>,
    ) -> Result<Response<wire::ExplainResponse>, Status> {
        explain::explain(self, request).await
    }

    async fn raw(&self, request: Request<wire::RawRequest>) -> Result<Response<wire::RawResponse>, Status> {
        raw::raw(self, request).await
    }
}
