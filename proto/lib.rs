//! The contract between Kubevitals agents, aggregators and direct consumers: messages, the domain types they
//! carry, and the only conversion between the two.
//!
//! - [`wire`]: what is generated from `proto/`; nothing else should build or read these messages by hand
//!   except [`chain`] and the two ends of the stream.
//! - [`sample`]: domain types, with units.
//! - [`chain`]: samples to batches ([`chain::Encoder`]) and batches to samples ([`chain::Decoder`]).
//! - [`limits`]: numbers both ends agree on.
//! - `client` (feature `client`): a client of the query service; `transport` and `frames` (feature `transport`): its
//!   connections, and the agents'. [`backoff`]: when to try again.

mod announce;
pub mod backoff;
pub mod chain;
#[cfg(feature = "client")]
pub mod client;
mod codec;
#[cfg(feature = "transport")]
pub mod frames;
pub mod limits;
pub mod sample;
#[cfg(feature = "transport")]
pub mod transport;

/// The generated messages and services of `kubevitals.v1`.
pub mod wire {
    #![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic, clippy::restriction)]
    tonic::include_proto!("kubevitals.v1");
}

/// The compiled `.proto` files, for gRPC reflection.
pub const DESCRIPTOR: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor.bin"));

/// The commit of this build, or "unknown".
pub const COMMIT: &str = env!("KUBEVITALS_COMMIT");

/// Version and commit of this build, as every program prints it.
pub const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("KUBEVITALS_COMMIT"), ")");
