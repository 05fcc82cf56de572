//! Label and field selectors: the two small languages of `?labelSelector=` and `?fieldSelector=`.
//!
//! Both follow the grammar and the error texts of Kubernetes' own parsers, because clients show those texts.

pub mod field;
pub mod label;

pub use field::{Field, FieldSelector};
pub use label::LabelSelector;

/// Why a selector was not understood; the text goes to the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub String);
