//! Connections: which aggregator is asked, and the one that calls share.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::time::timeout;
use tonic::{
    Request,
    metadata::{Ascii, MetadataValue},
    transport::Channel,
};

use super::{Error, Options};
use crate::{
    limits::MAX_MESSAGE_BYTES,
    transport::{CONNECT_TIMEOUT, Ping, in_time},
    wire::query_client::QueryClient,
};

/// A connection, and what shows on it who calls.
#[derive(Debug, Clone)]
pub(super) struct Link {
    channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
    number: usize,
}

impl Link {
    pub(super) fn client(&self) -> QueryClient<Channel> {
        QueryClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// With what shows who calls.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// Makes connections, one address after the other.
#[derive(Debug)]
pub(super) struct Links {
    pub(super) options: Options,
    /// Connections tried so far, from a random number on: who begins in step does not ask one aggregator.
    tried: AtomicUsize,
    shared: Mutex<Option<Link>>,
}

impl Links {
    pub(super) fn new(options: Options) -> Self {
        let tried = AtomicUsize::new(usize::from(rand::random::<u16>()));
        Self { options, tried, shared: Mutex::default() }
    }

    /// A new connection to the next address. Names are resolved each time, because replicas come and go.
    pub(super) async fn connect(&self) -> Result<Link, Error> {
        let found = self.resolve().await?;
        let number = self.tried.fetch_add(1, Ordering::Relaxed);
        let at = number.checked_rem(found.len()).unwrap_or_default();
        let (address, host) =
            found.get(at).ok_or_else(|| Error::Options("no endpoint is given".to_owned()))?;
        let trust = &self.options.trust;
        let fault = |source| Error::Connect { endpoint: address.to_string(), source };
        let authorization = trust.authorization().map_err(fault)?;
        let channel = in_time(trust.connect(*address, host, Ping::Often)).await.map_err(fault)?;
        Ok(Link { channel, authorization, number })
    }

    /// All addresses with their hosts, in a stable order. One name that does not resolve is no matter while others do.
    async fn resolve(&self) -> Result<Vec<(SocketAddr, &str)>, Error> {
        let mut found = Vec::new();
        let mut failed = None;
        for at in &self.options.endpoints {
            let host = at.host.as_str();
            let looked_up = timeout(CONNECT_TIMEOUT, tokio::net::lookup_host((host, at.port))).await;
            let why = match looked_up {
                Ok(Ok(addresses)) => {
                    found.extend(addresses.map(|address| (address, host)));
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "no answer in time".to_owned(),
            };
            failed = Some(Error::Resolve { host: host.to_owned(), why });
        }
        found.sort_unstable();
        found.dedup();
        match failed {
            Some(failed) if found.is_empty() => Err(failed),
            _ => Ok(found),
        }
    }

    /// The connection that calls share; made when there is none.
    pub(super) async fn shared(&self) -> Result<Link, Error> {
        if let Some(link) = self.kept().clone() {
            return Ok(link);
        }
        let link = self.connect().await?;
        *self.kept() = Some(link.clone());
        Ok(link)
    }

    /// The next call makes another connection, unless somebody has made one already.
    pub(super) fn forget(&self, link: &Link) {
        let mut kept = self.kept();
        if kept.as_ref().is_some_and(|kept| kept.number == link.number) {
            *kept = None;
        }
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Link>> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
