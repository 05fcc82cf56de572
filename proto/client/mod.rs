//! A client of the query service: the numbers of the API without the way through kube-apiserver, as answers and as a
//! stream.
//!
//! It finds an aggregator, shows who calls, tries again where that helps, and says clearly where it does not. It keeps
//! no numbers; [`Mirror`] does, for who wants that. Messages are those of the contract ([`crate::wire`]), with a few
//! accessors ([`crate::wire::Usage::cpu_cores`] and its neighbours). It leaves out system-wide trust stores (an
//! aggregator's authority is the cluster's own; name its file) and blocking calls.
//!
//! ```no_run
//! use kubevitals::{client::{Client, Event, Options}, wire};
//!
//! # async fn example() -> Result<(), kubevitals::client::Error> {
//! let options = Options::new("https://kubevitals-query.kubevitals.svc:10252")?
//!     .ca_file("/etc/kubevitals-ca/ca.crt")
//!     .token_file("/var/run/secrets/kubernetes.io/serviceaccount/token");
//! let client = Client::new(options);
//!
//! // The pods of an application, page by page.
//! let selection = wire::Selection {
//!     level: wire::Level::Pods.into(),
//!     namespaces: vec!["prod".to_owned()],
//!     label_selector: "app=web".to_owned(),
//!     ..wire::Selection::default()
//! };
//! let request = wire::ListRequest { selection: Some(selection.clone()), ..wire::ListRequest::default() };
//! let mut pages = client.list(request);
//! while let Some(page) = pages.next().await? {
//!     for usage in &page.usages {
//!         println!("{} uses {:.3} CPUs", usage.name(), usage.cpu_cores());
//!     }
//! }
//!
//! // And as they change.
//! let request = wire::WatchRequest { selection: Some(selection), ..wire::WatchRequest::default() };
//! let mut watch = client.watch(request);
//! loop {
//!     match watch.next().await? {
//!         Event::Picture(tick) | Event::Changed(tick) => println!("{} have new numbers", tick.usages.len()),
//!         Event::Heartbeat { .. } => {}
//!         Event::Interrupted(why) => println!("trying again: {why}"),
//!     }
//! }
//! # }
//! ```

mod accessors;
mod call;
mod error;
mod link;
mod mirror;
mod options;
mod pages;
mod tick;
mod watch;

use std::sync::Arc;

pub use self::{
    error::Error,
    mirror::{Item, Key, Mirror},
    options::Options,
    pages::Pages,
    tick::{Event, Tick},
    watch::Watch,
};
use crate::wire;

/// Asks aggregators; cheap to clone. Nothing is connected before the first call.
///
/// One-off calls of all clones share a connection. A watch has one of its own, so that a reader who lets it wait does
/// not hold up the others' answers.
#[derive(Debug, Clone)]
pub struct Client(Arc<link::Links>);

impl Client {
    /// A client with these options.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(link::Links::new(options)))
    }

    /// What is used now, page by page from the request's `page_token` on. Nothing is asked before the first page is.
    #[must_use]
    pub fn list(&self, request: wire::ListRequest) -> Pages {
        Pages::new(self.clone(), request)
    }

    /// The same as a stream that survives reconnects. Nothing is asked before the first event is.
    #[must_use]
    pub fn watch(&self, request: wire::WatchRequest) -> Watch {
        Watch::new(self.clone(), request)
    }

    /// Why a pod, container or node has numbers or not.
    pub async fn explain(&self, request: wire::ExplainRequest) -> Result<wire::ExplainResponse, Error> {
        self.call(request).await
    }

    /// Cumulative counters over the time that is kept.
    pub async fn raw(&self, request: wire::RawRequest) -> Result<wire::RawResponse, Error> {
        self.call(request).await
    }
}

#[cfg(test)]
mod tests;
