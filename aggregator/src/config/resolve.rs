//! What was typed to what it means: every fault is found before any is reported.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use super::{
    Certificate, NamesFlag, NamesSource, ServeConfig, ServeFlags, Serving, StandaloneConfig, StandaloneFlags,
    StoreFlags,
};
use crate::{picture::Rules, shutdown::Shutdown, store::Limits};

/// Collects faults, so that all are reported at once.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, fault: &str) {
        self.0.push(fault.to_owned());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn into_lines(self) -> Vec<String> {
        self.0
    }

    pub(super) fn take<T>(&mut self, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|fault| self.0.push(fault)).ok()
    }
}

impl StoreFlags {
    fn resolve(&self, faults: &mut Faults) -> Option<Serving> {
        let seconds = Duration::from_secs;
        let window = faults.take(duration("--window", &self.window, seconds(2), seconds(300)));
        let after_ready = faults.take(duration("--min-window", &self.min_window, seconds(1), seconds(300)));
        let hold = faults.take(duration("--hold", &self.hold, Duration::ZERO, seconds(30)));
        let stale = faults.take(duration("--stale-after", &self.stale_after, seconds(3), seconds(600)));
        let least = window.unwrap_or(seconds(2));
        let kept = faults.take(duration("--keep", &self.keep, least, seconds(600)));
        let containers = faults.take(count("--max-containers", &self.max_containers));
        let nodes = faults.take(count("--max-nodes", &self.max_nodes));
        Some(Serving {
            rules: Rules {
                window: window?,
                shortest: SHORTEST_WINDOW,
                after_ready: after_ready?,
                hold: hold?,
                stale: stale?,
            },
            limits: Limits { containers: containers?, nodes: nodes?, kept: kept? },
        })
    }
}

/// A rate over less time would mostly show how the kernel batches its counters. A quarter of the usual tick, so
/// that a container seen just before a tick waits at most for the next one.
const SHORTEST_WINDOW: Duration = Duration::from_millis(250);

impl ServeFlags {
    /// Checks everything; the error has a line per fault.
    pub fn resolve(&self) -> Result<ServeConfig, Vec<String>> {
        let mut faults = Faults::default();
        let listen = faults.take(address("--listen", &self.listen));
        let ingest_listen = faults.take(address("--ingest-listen", &self.ingest_listen));
        let query_listen = faults.take(or_off(&self.query_listen, |given| address(QUERY_LISTEN, given)));
        let admin_listen = faults.take(address("--admin-listen", &self.admin_listen));
        let delegated = self.auth.is_delegated(self.names == Some(NamesFlag::Cluster));
        let names = faults.take(self.names(delegated));
        let auth = self.auth.resolve(delegated, &mut faults);
        let certificate = self.certificate(&mut faults);
        let publish = self.trust.publish(&mut faults);
        let kubelets = self.kubelet.resolve(self.names == Some(NamesFlag::Cluster), &mut faults);
        let serving = self.store.resolve(&mut faults);
        let delay =
            duration("--shutdown-delay", &self.shutdown_delay, Duration::ZERO, Duration::from_secs(60));
        let shutdown = faults
            .take(delay)
            .map(|delay| Shutdown { delay, send_retry_after: self.shutdown_send_retry_after });
        let in_flight = faults.take(count("--max-requests-inflight", &self.max_requests_inflight));
        let config = (|| {
            let (auth, agents) = auth?;
            Some(ServeConfig {
                listen: listen?,
                ingest_listen: ingest_listen?,
                query_listen: query_listen?,
                admin_listen: admin_listen?,
                names: names?,
                auth,
                agents,
                kubeconfig: self.kubeconfig.clone(),
                certificate: certificate?,
                publish: publish?,
                kubelets,
                serving: serving?,
                shutdown: shutdown?,
                max_requests_inflight: in_flight?,
            })
        })();
        config.filter(|_| faults.0.is_empty()).ok_or(faults.0)
    }

    fn names(&self, delegated: bool) -> Result<NamesSource, String> {
        match (self.names, &self.kubeconfig) {
            (None, _) => Err("--names: required, cluster or paths".to_owned()),
            (Some(NamesFlag::Paths), Some(_)) if !delegated && !self.trust.is_of_cluster() => {
                Err("--kubeconfig: goes with --names=cluster or --auth=delegated only".to_owned())
            }
            (Some(NamesFlag::Paths), _) => Ok(NamesSource::Paths),
            (Some(NamesFlag::Cluster), _) => Ok(NamesSource::Cluster),
        }
    }

    fn certificate(&self, faults: &mut Faults) -> Option<Certificate> {
        if self.trust.tls_ca_file.is_some() && self.tls_cert_file.is_none() {
            faults.add("--tls-ca-file: goes with --tls-cert-file only");
        }
        let files = match (&self.tls_cert_file, &self.tls_key_file) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) if self.ca_out.is_some() => {
                Err("--ca-out: there is no own authority to write when --tls-cert-file is given".to_owned())
            }
            (Some(_), Some(_)) if self.trust.ca_secret.is_some() => {
                Err("--ca-secret: does not go with --tls-cert-file".to_owned())
            }
            (Some(cert), Some(key)) => Ok(Some((cert.clone(), key.clone()))),
            (Some(_), None) => Err("--tls-key-file: required with --tls-cert-file".to_owned()),
            (None, Some(_)) => Err("--tls-cert-file: required with --tls-key-file".to_owned()),
        };
        let files = faults.take(files);
        let shared = self.trust.secret(&self.server_name, self.ca_out.as_ref(), faults);
        match (files?, shared) {
            (Some((cert, key)), _) => {
                Some(Certificate::Files { cert, key, ca: self.trust.tls_ca_file.clone() })
            }
            (None, Some(shared)) => Some(Certificate::Shared(shared)),
            (None, None) => {
                Some(Certificate::Own { names: self.server_name.clone(), ca_out: self.ca_out.clone() })
            }
        }
    }
}

impl StandaloneFlags {
    /// Checks everything; the error has a line per fault.
    pub fn resolve(&self) -> Result<StandaloneConfig, Vec<String>> {
        let mut faults = Faults::default();
        let listen = faults.take(loopback("--listen", &self.listen));
        let query_listen = faults.take(or_off(&self.query_listen, |given| loopback(QUERY_LISTEN, given)));
        let kubeconfig_out = faults.take(self.kubeconfig());
        let node_name = faults.take(self.node());
        let interval = Duration::from_millis(200)..=Duration::from_secs(60);
        let interval =
            faults.take(duration("--interval", &self.interval, *interval.start(), *interval.end()));
        let serving = self.store.resolve(&mut faults);
        let config = (|| {
            Some(StandaloneConfig {
                listen: listen?,
                query_listen: query_listen?,
                kubeconfig_out: kubeconfig_out?,
                node_name: node_name?,
                interval: interval?,
                cgroup_root: self.cgroup_root.clone(),
                proc_root: self.proc_root.clone(),
                serving: serving?,
            })
        })();
        config.ok_or(faults.0)
    }

    fn kubeconfig(&self) -> Result<PathBuf, String> {
        if let Some(path) = &self.kubeconfig_out {
            return Ok(path.clone());
        }
        let directory = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let below = directory("XDG_RUNTIME_DIR")
            .map(|runtime| runtime.join("kubevitals"))
            .or_else(|| directory("HOME").map(|home| home.join(".kubevitals")));
        let below = below.ok_or("--kubeconfig-out: required, as neither XDG_RUNTIME_DIR nor HOME is set")?;
        Ok(below.join("kubeconfig"))
    }

    fn node(&self) -> Result<String, String> {
        let name = if let Some(name) = &self.node_name {
            name.clone()
        } else {
            let path = self.proc_root.join("sys/kernel/hostname");
            let text = std::fs::read_to_string(&path)
                .map_err(|error| format!("--node-name: required, as {}: {error}", path.display()))?;
            node_name_of(text.trim())
        };
        if name.is_empty() { Err("--node-name: must not be empty".to_owned()) } else { Ok(name) }
    }
}

/// A host name as Kubernetes would accept it for a node.
pub(super) fn node_name_of(host: &str) -> String {
    let mapped: String = host
        .to_ascii_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' })
        .collect();
    let labels = mapped.split('.').map(|label| label.trim_matches('-')).filter(|label| !label.is_empty());
    let name = labels.collect::<Vec<_>>().join(".");
    if name.is_empty() { "localhost".to_owned() } else { name }
}

fn address(flag: &str, text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{flag}: {text:?} is no address and port, such as 127.0.0.1:10250"))
}

const QUERY_LISTEN: &str = "--query-listen";

/// Nothing for `off`.
fn or_off<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
    if text == "off" { Ok(None) } else { read(text).map(Some) }
}

fn loopback(flag: &str, text: &str) -> Result<SocketAddr, String> {
    let address = address(flag, text)?;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_loopback() => Ok(address),
        IpAddr::V6(ip) if ip.is_loopback() => Ok(address),
        ip => Err(format!("{flag}: {ip} is no loopback address; standalone serves this machine alone")),
    }
}

pub(super) fn required(flag: &str, path: Option<&PathBuf>) -> Result<PathBuf, String> {
    path.cloned().ok_or_else(|| format!("{flag}: required"))
}

/// Parses a duration such as `1s` or `500ms` and checks its bounds.
pub(super) fn duration(flag: &str, text: &str, least: Duration, most: Duration) -> Result<Duration, String> {
    let value = humantime::parse_duration(text)
        .map_err(|error| format!("{flag}: {text:?} is no duration such as 1s or 500ms: {error}"))?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    let (least, most) = (humantime::format_duration(least), humantime::format_duration(most));
    Err(format!("{flag}: {text} is not within {least} to {most}"))
}

fn count(flag: &str, text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|&count| count > 0)
        .ok_or_else(|| format!("{flag}: {text:?} is no number above 0"))
}
