//! Flags of the listener for scrapers, and what they mean together.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, ValueEnum};

use crate::exporter::settings::{Credentials, Protection, Settings};

/// `--exporter-auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExporterAuth {
    /// Tokens of the cluster, reviewed by an aggregator.
    Aggregator,
    /// Nothing has to be shown.
    None,
}

/// The listener for scrapers, as typed.
#[derive(Debug, Clone, Args)]
pub struct ExporterFlags {
    /// Address for scrapers, HOST:PORT: /metrics/resource as a kubelet has it, /metrics/vitals and /metrics, over TLS and
    /// for those who may; off for none. In a cluster 0.0.0.0:9467. At least one of the flags below says who may
    /// [default: off]
    #[arg(long, env = "KUBEVITALS_EXPORTER_LISTEN", default_value = "off", hide_default_value = true)]
    pub exporter_listen: String,
    /// Who may scrape besides those of the files below: aggregator lets in whoever shows a token of the cluster that may
    /// get nodes/metrics, as kubelets do; the aggregator asks the cluster, and must run with --auth=delegated there. none
    /// lets everybody in, without TLS, and is for a loopback address alone
    #[arg(long, env = "KUBEVITALS_EXPORTER_AUTH")]
    pub exporter_auth: Option<ExporterAuth>,
    /// File with bearer tokens that let in, one a line; read again when it changes
    #[arg(long, env = "KUBEVITALS_EXPORTER_TOKEN_FILE")]
    pub exporter_token_file: Option<PathBuf>,
    /// PEM file with authorities; every client certificate of theirs lets in. Read again when it changes
    #[arg(long, env = "KUBEVITALS_EXPORTER_CLIENT_CA_FILE")]
    pub exporter_client_ca_file: Option<PathBuf>,
    /// PEM file with the serving certificate; read again when it changes [default: one of our own, made at the start]
    #[arg(long, env = "KUBEVITALS_EXPORTER_TLS_CERT_FILE")]
    pub exporter_tls_cert_file: Option<PathBuf>,
    /// PEM file with its key
    #[arg(long, env = "KUBEVITALS_EXPORTER_TLS_KEY_FILE")]
    pub exporter_tls_key_file: Option<PathBuf>,
}

/// Word for no listener.
const OFF: &str = "off";

impl ExporterFlags {
    /// What they mean, or every fault.
    pub(super) fn resolve(&self) -> Result<Option<Settings>, Vec<String>> {
        if self.exporter_listen == OFF {
            return match self.given() {
                flags if flags.is_empty() => Ok(None),
                flags => Err(flags
                    .iter()
                    .map(|flag| format!("{flag}: goes with --exporter-listen only"))
                    .collect()),
            };
        }
        let listen: Result<SocketAddr, _> = self.exporter_listen.parse();
        let listen = listen.map_err(|_| {
            let given = &self.exporter_listen;
            format!("--exporter-listen: {given:?} is no address and port, such as 0.0.0.0:9467, and not off")
        });
        let is_loopback = listen.as_ref().map_or(true, |address| address.ip().is_loopback());
        match (listen, self.protection(is_loopback)) {
            (Ok(listen), Ok(protection)) => Ok(Some(Settings { listen, protection })),
            (listen, protection) => {
                Err(listen.err().into_iter().chain(protection.err().into_iter().flatten()).collect())
            }
        }
    }

    fn protection(&self, is_loopback: bool) -> Result<Protection, Vec<String>> {
        if self.exporter_auth == Some(ExporterAuth::None) {
            return self.open(is_loopback).map(|()| Protection::Nothing);
        }
        let mut faults = Vec::new();
        let certificate = match (&self.exporter_tls_cert_file, &self.exporter_tls_key_file) {
            (Some(certificate), Some(key)) => Some((certificate.clone(), key.clone())),
            (None, None) => None,
            (Some(_), None) => {
                faults.push("--exporter-tls-key-file: required with --exporter-tls-cert-file".to_owned());
                None
            }
            (None, Some(_)) => {
                faults.push("--exporter-tls-cert-file: required with --exporter-tls-key-file".to_owned());
                None
            }
        };
        let credentials = Credentials {
            certificate,
            token_file: self.exporter_token_file.clone(),
            client_ca_file: self.exporter_client_ca_file.clone(),
            cluster: self.exporter_auth == Some(ExporterAuth::Aggregator),
        };
        if credentials.is_empty() {
            let open = if is_loopback { ", or --exporter-auth=none, as the address is loopback" } else { "" };
            faults.push(format!(
                "--exporter-listen: nobody may scrape; give --exporter-auth=aggregator, --exporter-token-file or \
                 --exporter-client-ca-file{open}"
            ));
        }
        if faults.is_empty() { Ok(Protection::Credentials(credentials)) } else { Err(faults) }
    }

    /// Whether there may be no protection, and whether the flags mean none.
    fn open(&self, is_loopback: bool) -> Result<(), Vec<String>> {
        let mut faults = Vec::new();
        if !is_loopback {
            let given = &self.exporter_listen;
            faults
                .push(format!("--exporter-auth: none is for a loopback address alone, and {given} is none"));
        }
        let others = self.given().into_iter().filter(|flag| *flag != "--exporter-auth");
        faults.extend(others.map(|flag| format!("{flag}: does not go with --exporter-auth=none")));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// The flags that were given, but for the address.
    fn given(&self) -> Vec<&'static str> {
        let given = [
            ("--exporter-auth", self.exporter_auth.is_some()),
            ("--exporter-token-file", self.exporter_token_file.is_some()),
            ("--exporter-client-ca-file", self.exporter_client_ca_file.is_some()),
            ("--exporter-tls-cert-file", self.exporter_tls_cert_file.is_some()),
            ("--exporter-tls-key-file", self.exporter_tls_key_file.is_some()),
        ];
        given.into_iter().filter_map(|(flag, given)| given.then_some(flag)).collect()
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(flatten)]
        flags: ExporterFlags,
    }

    fn resolve(arguments: &[&str]) -> Result<Option<Settings>, Vec<String>> {
        Typed::try_parse_from(["agent"].iter().chain(arguments)).unwrap().flags.resolve()
    }

    const CLUSTER: &str = "--exporter-listen=0.0.0.0:9467";

    #[test]
    fn nothing_listens_unless_asked_for() {
        assert_eq!(resolve(&[]), Ok(None));
        assert_eq!(resolve(&["--exporter-listen=off"]), Ok(None));
        let faults = resolve(&["--exporter-auth=aggregator", "--exporter-token-file=t"]).unwrap_err();
        assert_eq!(
            faults,
            [
                "--exporter-auth: goes with --exporter-listen only",
                "--exporter-token-file: goes with --exporter-listen only"
            ]
        );
    }

    #[test]
    fn each_credential_is_enough() {
        for flag in ["--exporter-auth=aggregator", "--exporter-token-file=t", "--exporter-client-ca-file=c"] {
            let settings = resolve(&[CLUSTER, flag]).unwrap().unwrap();
            let Protection::Credentials(credentials) = settings.protection else { panic!("{flag}") };
            assert!(!credentials.is_empty() && credentials.certificate.is_none());
        }
    }

    #[test]
    fn without_protection_nothing_listens_but_on_loopback_when_told_so() {
        let faults = resolve(&[CLUSTER]).unwrap_err();
        assert_eq!(
            faults,
            [
                "--exporter-listen: nobody may scrape; give --exporter-auth=aggregator, --exporter-token-file or \
              --exporter-client-ca-file"
            ]
        );
        assert!(resolve(&["--exporter-listen=127.0.0.1:0"]).unwrap_err()[0].contains("--exporter-auth=none"));
        let faults = resolve(&[CLUSTER, "--exporter-auth=none"]).unwrap_err();
        assert_eq!(
            faults,
            ["--exporter-auth: none is for a loopback address alone, and 0.0.0.0:9467 is none"]
        );
        for address in ["127.0.0.1:0", "[::1]:9467"] {
            let listen = format!("--exporter-listen={address}");
            let settings = resolve(&[&listen, "--exporter-auth=none"]).unwrap().unwrap();
            assert_eq!(settings.protection, Protection::Nothing);
        }
        let mapped = resolve(&["--exporter-listen=[::ffff:127.0.0.1]:1", "--exporter-auth=none"]);
        assert!(mapped.is_err(), "closed where in doubt");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let faults = resolve(&["--exporter-listen=here", "--exporter-tls-cert-file=c"]).unwrap_err();
        let flags: Vec<&str> = faults.iter().filter_map(|fault| fault.split(':').next()).collect();
        assert_eq!(flags, ["--exporter-listen", "--exporter-tls-key-file", "--exporter-listen"]);
        let faults =
            resolve(&["--exporter-listen=127.0.0.1:1", "--exporter-auth=none", "--exporter-token-file=t"]);
        assert_eq!(faults.unwrap_err(), ["--exporter-token-file: does not go with --exporter-auth=none"]);
    }
}
