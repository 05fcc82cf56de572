//! What agents and clients reach: the server is [`kubevitals_agent::https`], here is its door for gRPC.

mod incoming;

pub use incoming::{Accepted, Arrivals, Incoming, TlsConnection, accepted};
pub use kubevitals_agent::https::{Admitted, Lasting, Limits, Peer, Server, Stranger};

#[cfg(test)]
mod tests;
