//! The aggregators that have let us in, so that they can be asked something besides: whether somebody who shows a token
//! may read our metrics.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kubevitals::{
    frames::SmallFrames,
    wire::{self, ingest_client::IngestClient},
};
use tokio::time::timeout;
use tonic::{Code, Request, Status, transport::Channel};

use super::Endpoint;

/// One aggregator answers within this time, or the next one is asked. A scraper waits ten seconds, as a rule.
const ONE: Duration = Duration::from_secs(3);
const ALL: Duration = Duration::from_secs(9);

/// Why there is no review.
#[derive(Debug, thiserror::Error)]
pub enum NoReview {
    /// No stream is open.
    #[error("no aggregator is connected")]
    NoAggregator,
    /// None answered in time.
    #[error("no aggregator answered in time")]
    TimedOut,
    /// The last one that was asked would not.
    #[error("{endpoint}: {code:?}: {message}")]
    Refused {
        /// Which one.
        endpoint: String,
        /// What it said.
        code: Code,
        /// For people.
        message: String,
    },
}

/// Open links to aggregators; clones share them.
#[derive(Debug, Clone, Default)]
pub struct Links(Arc<Mutex<Open>>);

/// Links by number, the oldest first: two may lead to one address, while one stream takes the place of another.
#[derive(Debug, Default)]
struct Open {
    next: u64,
    links: BTreeMap<u64, Link>,
}

#[derive(Debug, Clone)]
struct Link {
    endpoint: Endpoint,
    client: IngestClient<SmallFrames<Channel>>,
}

/// A link that is open while this lives.
#[derive(Debug)]
pub(super) struct Linked {
    links: Links,
    number: u64,
}

impl Drop for Linked {
    fn drop(&mut self) {
        self.links.lock().links.remove(&self.number);
    }
}

impl Links {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An aggregator let us in over this channel.
    pub(super) fn enter(&self, endpoint: &Endpoint, client: IngestClient<SmallFrames<Channel>>) -> Linked {
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.links.insert(number, Link { endpoint: endpoint.clone(), client });
        Linked { links: self.clone(), number }
    }

    /// Asks one aggregator after the other until one answers: is `token` one of the cluster's, and may its user read the
    /// metrics of `node`?
    pub async fn review(&self, node: &str, token: String) -> Result<wire::ReviewResponse, NoReview> {
        let links: Vec<Link> = self.lock().links.values().cloned().collect();
        let request = wire::ReviewRequest { node_name: node.to_owned(), token };
        let one_by_one = async {
            let mut last = NoReview::NoAggregator;
            for mut link in links {
                match timeout(ONE, link.review(request.clone())).await {
                    Ok(Ok(response)) => return Ok(response),
                    Ok(Err(status)) => {
                        let (code, message) = (status.code(), status.message().to_owned());
                        let endpoint = link.endpoint.to_string();
                        last = NoReview::Refused { endpoint, code, message };
                    }
                    Err(_) => last = NoReview::TimedOut,
                }
            }
            Err(last)
        };
        timeout(ALL, one_by_one).await.unwrap_or(Err(NoReview::TimedOut))
    }
}

impl Link {
    async fn review(&mut self, request: wire::ReviewRequest) -> Result<wire::ReviewResponse, Status> {
        let mut request = Request::new(request);
        let authorization = self.endpoint.authorization();
        let authorization = authorization.map_err(|error| Status::unauthenticated(error.to_string()))?;
        if let Some(value) = authorization {
            request.metadata_mut().insert("authorization", value);
        }
        request.set_timeout(ONE);
        Ok(self.client.review(request).await?.into_inner())
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_link_that_ends_leaves_another_to_the_same_address_alone() {
        let (links, endpoint) = (Links::default(), Endpoint::Pipe(mpsc::channel(1).0));
        let enter = || {
            let channel = Channel::from_static("http://in-process").connect_lazy();
            links.enter(&endpoint, IngestClient::new(SmallFrames(channel)))
        };
        let (first, second) = (enter(), enter());
        drop(first);
        assert_eq!(links.lock().links.len(), 1);
        drop(second);
        assert!(links.lock().links.is_empty());
    }
}
