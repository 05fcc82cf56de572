//! What is known of a connection beside its bytes.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::tls::clients::PeerCertificates;

/// Whether it is known who speaks on a connection; found in the extensions of each of its requests. Whoever answers
/// pings would otherwise keep its place among the open connections for ever.
#[derive(Clone, Debug, Default)]
pub struct Admitted {
    is_known: Arc<AtomicBool>,
    peer: Option<IpAddr>,
    certificates: Option<PeerCertificates>,
}

impl Admitted {
    /// Of a connection of `peer`, which showed `certificates`.
    #[must_use]
    pub fn of(peer: SocketAddr, certificates: Option<PeerCertificates>) -> Self {
        Self { is_known: Arc::default(), peer: Some(peer.ip().to_canonical()), certificates }
    }

    /// Whether it is known.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.is_known.load(Ordering::Relaxed)
    }

    /// It is known from now on.
    pub fn set(&self) {
        self.is_known.store(true, Ordering::Relaxed);
    }

    /// The certificates that the peer showed, if it was asked for any.
    #[must_use]
    pub fn certificates(&self) -> Option<&PeerCertificates> {
        self.certificates.as_ref()
    }

    /// Where the connection comes from, for the log; `None` within the process.
    #[must_use]
    pub fn peer(&self) -> Option<IpAddr> {
        self.peer
    }
}
