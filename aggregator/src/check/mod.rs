//! The `check` command: walks the chain from kube-apiserver to the kernel, and says where it breaks and what to do.
//!
//! `gather` asks, each question with a limit of time; `steps` judges, and is pure; `render` shows. It changes nothing
//! and logs nothing. What the aggregator itself knows comes from its admin listener (`explain`).

mod asked;
mod brief;
mod facts;
pub mod finding;
mod gather;
mod questions;
pub mod render;
mod steps;
mod way;

use std::io::{IsTerminal as _, Write as _};

pub use self::facts::Target;
use self::{finding::Report, gather::gather, render::Style};
use crate::{
    cluster::{self, ClusterError},
    config::check::{CheckConfig, Output},
};

/// Looks, prints, and returns the exit code: 0 all well, 1 broken, 2 could not be told.
pub async fn run(config: CheckConfig) -> Result<u8, ClusterError> {
    let output = config.output;
    let report = look(config).await?;
    let text = match output {
        Output::Text => {
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            render::render(
                &report,
                Style { colour, worst_first: report.target == Target::Cluster.to_string() },
            )
        }
        Output::Json => {
            serde_json::to_string_pretty(&report).map_or_else(|error| error.to_string(), |json| json + "\n")
        }
    };
    // Whoever closed it does not want to read it.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(report.verdict.exit_code())
}

/// Asks everything and judges it.
pub async fn look(config: CheckConfig) -> Result<Report, ClusterError> {
    let reached = cluster::client_of_person(config.kubeconfig.as_deref()).await?;
    let target = config.target.to_string();
    let facts = Box::pin(gather(config, reached)).await;
    Ok(Report::new(target, steps::judge(&facts)))
}
