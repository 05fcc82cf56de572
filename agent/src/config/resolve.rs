//! What was typed to what it means: every fault is found before any is reported.

use std::time::Duration;

use kubevitals::{
    limits::{INTERVAL_MS, MAX_NODE_NAME, MAX_SERIES},
    transport::{Credential, HostPort, Trust},
};

use super::{Config, Flags};
use crate::{cgroup::clock, stream::targets::Targets};

/// Collects faults, so that all are reported at once.
#[derive(Debug, Default)]
struct Faults(Vec<String>);

impl Faults {
    fn take<T>(&mut self, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }

    fn take_all<T>(&mut self, checked: Result<T, Vec<String>>) -> Option<T> {
        checked.map_err(|faults| self.0.extend(faults)).ok()
    }
}

impl Flags {
    /// Checks everything; the error has a line per fault.
    pub fn resolve(&self) -> Result<Config, Vec<String>> {
        let mut faults = Faults::default();
        let node_name = faults.take(node_name(&self.node_name));
        let targets = faults.take(self.targets());
        let milliseconds =
            Duration::from_millis(*INTERVAL_MS.start())..=Duration::from_millis(*INTERVAL_MS.end());
        let interval = faults.take(duration("--interval", &self.interval, milliseconds));
        let least = interval.unwrap_or(Duration::ZERO);
        let detail = least..=Duration::from_secs(3600);
        let detail_interval = faults.take(duration("--detail-interval", &self.detail_interval, detail));
        let kept = Duration::from_secs(1)..=Duration::from_secs(600);
        let history = faults.take(duration("--history", &self.history, kept));
        let max_cgroups = faults.take(count("--max-cgroups", &self.max_cgroups, 1..=MAX_SERIES));
        let listen = faults.take(self.listen.parse().map_err(|_| {
            format!("--listen: {:?} is no address and port, such as 127.0.0.1:9465", self.listen)
        }));
        let exporter = faults.take_all(self.exporter.resolve());
        let config = (|| {
            Some(Config {
                node_name: node_name?,
                targets: targets?,
                cgroup_root: self.kernel.cgroup_root.clone(),
                proc_root: self.kernel.proc_root.clone(),
                scope: self.kernel.scope.into(),
                node_memory: self.kernel.node_memory.into(),
                interval: interval?,
                detail_interval: detail_interval?,
                history: history?,
                max_cgroups: max_cgroups?,
                listen: Some(listen?),
                exporter: exporter?,
                names: self.names.into(),
                wall_clock: clock::wall_time,
            })
        })();
        config.ok_or(faults.0)
    }

    fn targets(&self) -> Result<Targets, String> {
        if self.aggregator.is_empty() {
            return Err("--aggregator: at least one https://HOST:PORT is required".to_owned());
        }
        let host = |url: &String| url.parse().map_err(|fault: String| format!("--aggregator: {fault}"));
        let hosts = self.aggregator.iter().map(host).collect::<Result<Vec<HostPort>, _>>()?;
        let trust = Trust {
            ca_file: self.ca_file.clone(),
            server_name: self.server_name.clone(),
            credential: self.token_file.clone().map_or(Credential::Nothing, Credential::TokenFile),
        };
        Ok(Targets::Hosts { hosts, trust })
    }
}

fn node_name(text: &str) -> Result<String, String> {
    match text.len() {
        0 => Err("--node-name: required; set it from spec.nodeName".to_owned()),
        1..=MAX_NODE_NAME => Ok(text.to_owned()),
        length => Err(format!("--node-name: {length} bytes, at most {MAX_NODE_NAME} are allowed")),
    }
}

/// Parses a duration such as `1s` or `500ms` and checks its bounds.
fn duration(flag: &str, text: &str, bounds: std::ops::RangeInclusive<Duration>) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|error| format!("{flag}: {text:?} is no duration such as 1s or 500ms: {error}"))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let (least, most) = bounds.into_inner();
    let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
    Err(format!("{flag}: {text} is not within {least} to {most}"))
}

fn count(flag: &str, text: &str, bounds: std::ops::RangeInclusive<usize>) -> Result<usize, String> {
    match text.parse() {
        Ok(value) if bounds.contains(&value) => Ok(value),
        _ => Err(format!("{flag}: {text:?} is no number within {} to {}", bounds.start(), bounds.end())),
    }
}
