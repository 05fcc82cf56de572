//! What agents and clients reach: the server is [`kubevitals_agent::https`], here is its door for gRPC.

mod incoming;

pub use incoming::{Admitted, Incoming, TlsConnection};
pub use kubevitals_agent::https::{Limits, Peer, Server};

#[cfg(test)]
mod tests;
