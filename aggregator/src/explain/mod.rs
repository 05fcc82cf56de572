//! Why a pod or node is served, or is not: from what the directory and the store hold at this moment to a chain of
//! facts with ages. Pure but for the record of refusals.
//!
//! It knows what this process knows. What the API server, the Service and other replicas say is `check`'s part.
//! Sizes are bounded whatever the cluster holds: lists of names are cut, and say how many there are.

mod node;
mod overview;
mod pod;
pub mod refusals;
pub(crate) mod words;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::refusals::{Refusal, Refusals};
use crate::{api::health::Health, view::View};

pub use self::{
    node::{KubeletExplanation, LeftOut, NodeExplanation},
    overview::{Named, Omitted, Overview, PodCounts},
    pod::{ContainerExplanation, PodExplanation},
};

/// What is served for a pod or node at this moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Outcome {
    /// Whether there are numbers.
    pub served: bool,
    /// Whether they are the last whole picture, of containers that have changed since.
    pub held: bool,
    /// Why there are none: a label of `kubevitals_aggregator_omitted_total`, or `unknown` for what the directory does not have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Age of the numbers by this process's clock; negative when the node's clock is ahead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<f64>,
    /// The window they are over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_seconds: Option<f64>,
}

impl Outcome {
    fn unknown() -> Self {
        Self { reason: Some("unknown".to_owned()), ..Self::default() }
    }
}

/// Looks at one aggregator's state; cheap to clone.
#[derive(Debug, Clone)]
pub struct Explainer {
    /// Names, counters and rules.
    pub view: View,
    /// Who was turned away.
    pub refusals: Arc<Refusals>,
    /// What the probes say.
    pub health: Health,
}

#[cfg(test)]
mod tests;
