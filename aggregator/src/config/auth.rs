//! Flags that say who may call, and what they mean together.

use std::{path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};

use super::resolve::{Faults, duration, required};

/// How callers of the API are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuthFlag {
    /// As the cluster says.
    Delegated,
    /// By one fixed token.
    Token,
}

/// Who may call, as typed.
#[derive(Debug, Clone, Args)]
pub struct AuthFlags {
    /// Who may call the API: delegated asks the cluster, as kube-apiserver's extension servers do; token knows one
    /// fixed bearer token and is for development [default: delegated with --names=cluster, otherwise token]
    #[arg(long, env = "KUBEVITALS_AUTH")]
    pub auth: Option<AuthFlag>,
    /// File with the bearer token that clients of the API must show; required with --auth=token
    #[arg(long, env = "KUBEVITALS_API_TOKEN_FILE")]
    pub api_token_file: Option<PathBuf>,
    /// File with the bearer token that agents must show; whoever has it may speak for any node. Required with
    /// --auth=token; in a cluster --agent-service-account is better
    #[arg(long, env = "KUBEVITALS_AGENT_TOKEN_FILE")]
    pub agent_token_file: Option<PathBuf>,
    /// User name of the agents' service account, system:serviceaccount:NAMESPACE:NAME. The cluster is asked about
    /// each agent's token, and an agent speaks for the node of its pod alone
    #[arg(long, env = "KUBEVITALS_AGENT_SERVICE_ACCOUNT")]
    pub agent_service_account: Option<String>,
    /// Audience for which agents' tokens must be made out [default: kubevitals]
    #[arg(long, env = "KUBEVITALS_AGENT_AUDIENCE", default_value = "kubevitals", hide_default_value = true)]
    pub agent_audience: String,
    /// Audience for which tokens of API clients must be made out; may be given more than once or as a list with
    /// commas [default: kube-apiserver's own]
    #[arg(long, env = "KUBEVITALS_API_AUDIENCES", value_delimiter = ',')]
    pub api_audiences: Vec<String>,
    /// How long it is remembered whose a token is, or that it is nobody's, up to 5m [default: 10s]
    #[arg(
        long,
        env = "KUBEVITALS_AUTHENTICATION_TOKEN_WEBHOOK_CACHE_TTL",
        default_value = "10s",
        hide_default_value = true
    )]
    pub authentication_token_webhook_cache_ttl: String,
    /// How long it is remembered that something is allowed, up to 5m [default: 10s]
    #[arg(
        long,
        env = "KUBEVITALS_AUTHORIZATION_WEBHOOK_CACHE_AUTHORIZED_TTL",
        default_value = "10s",
        hide_default_value = true
    )]
    pub authorization_webhook_cache_authorized_ttl: String,
    /// How long it is remembered that something is not allowed, up to 5m [default: 10s]
    #[arg(
        long,
        env = "KUBEVITALS_AUTHORIZATION_WEBHOOK_CACHE_UNAUTHORIZED_TTL",
        default_value = "10s",
        hide_default_value = true
    )]
    pub authorization_webhook_cache_unauthorized_ttl: String,
    /// Start even if the cluster's authentication ConfigMap cannot be read; until it can, the front proxy and client
    /// certificates are refused
    #[arg(long, env = "KUBEVITALS_AUTHENTICATION_TOLERATE_LOOKUP_FAILURE")]
    pub authentication_tolerate_lookup_failure: bool,
}

/// What delegation goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DelegatedAuth {
    /// Start without knowing whom to trust.
    pub tolerate_lookup_failure: bool,
    /// Of API clients' tokens; empty for kube-apiserver's own.
    pub audiences: Vec<String>,
    /// How long it is remembered whose a token is.
    pub token_ttl: Duration,
    /// How long permissions are remembered.
    pub allowed_ttl: Duration,
    /// How long refusals are remembered.
    pub denied_ttl: Duration,
}

/// How callers of the API are recognised, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiAuth {
    /// By the token in this file.
    Token(PathBuf),
    /// As the cluster says.
    Delegated(DelegatedAuth),
}

/// The service account of agents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentAccount {
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub username: String,
    /// For which their tokens are made out.
    pub audience: String,
}

/// How agents are recognised, checked. The cluster is asked about agents only where it is asked about clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentAuth {
    /// By the token in this file.
    Token(PathBuf),
    /// As the cluster says.
    Account(AgentAccount),
}

impl AuthFlags {
    /// Whether the cluster is asked.
    pub(super) fn is_delegated(&self, names_of_cluster: bool) -> bool {
        self.auth.map_or(names_of_cluster, |auth| auth == AuthFlag::Delegated)
    }

    pub(super) fn resolve(&self, delegated: bool, faults: &mut Faults) -> Option<(ApiAuth, AgentAuth)> {
        let longest = Duration::from_secs(300);
        let mut ttl = |flag, text| faults.take(duration(flag, text, Duration::ZERO, longest));
        let token_ttl =
            ttl("--authentication-token-webhook-cache-ttl", &self.authentication_token_webhook_cache_ttl);
        let allowed_ttl = ttl(
            "--authorization-webhook-cache-authorized-ttl",
            &self.authorization_webhook_cache_authorized_ttl,
        );
        let denied_ttl = ttl(
            "--authorization-webhook-cache-unauthorized-ttl",
            &self.authorization_webhook_cache_unauthorized_ttl,
        );
        if !delegated {
            let api = faults.take(required("--api-token-file", self.api_token_file.as_ref()));
            let agents = faults.take(required("--agent-token-file", self.agent_token_file.as_ref()));
            faults.take(self.only_delegated());
            return Some((ApiAuth::Token(api?), AgentAuth::Token(agents?)));
        }
        if self.api_token_file.is_some() {
            faults.add("--api-token-file: goes with --auth=token only");
        }
        let agents = faults.take(self.agents());
        let api = ApiAuth::Delegated(DelegatedAuth {
            tolerate_lookup_failure: self.authentication_tolerate_lookup_failure,
            audiences: self.api_audiences.iter().filter(|audience| !audience.is_empty()).cloned().collect(),
            token_ttl: token_ttl?,
            allowed_ttl: allowed_ttl?,
            denied_ttl: denied_ttl?,
        });
        Some((api, agents?))
    }

    /// What would be ignored without a cluster to ask.
    fn only_delegated(&self) -> Result<(), String> {
        let given = [
            ("--agent-service-account", self.agent_service_account.is_some()),
            ("--api-audiences", !self.api_audiences.is_empty()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!("{flag}: goes with --auth=delegated only")),
            None => Ok(()),
        }
    }

    fn agents(&self) -> Result<AgentAuth, String> {
        match (&self.agent_service_account, &self.agent_token_file) {
            (Some(_), Some(_)) => {
                Err("--agent-token-file: does not go with --agent-service-account".to_owned())
            }
            (None, Some(file)) => Ok(AgentAuth::Token(file.clone())),
            (None, None) => {
                Err("--agent-service-account: required, such as system:serviceaccount:NAMESPACE:NAME"
                    .to_owned())
            }
            (Some(username), None) if self.agent_audience.is_empty() => {
                Err(format!("--agent-audience: must not be empty, or any token of {username} would do"))
            }
            (Some(username), None) => {
                if service_account(username).is_none() {
                    return Err(format!(
                        "--agent-service-account: {username:?} is not system:serviceaccount:NAMESPACE:NAME"
                    ));
                }
                let audience = self.agent_audience.clone();
                Ok(AgentAuth::Account(AgentAccount { username: username.clone(), audience }))
            }
        }
    }
}

/// Namespace and name in the user name of a service account.
#[must_use]
pub fn service_account(username: &str) -> Option<(&str, &str)> {
    let (namespace, name) = username.strip_prefix("system:serviceaccount:")?.split_once(':')?;
    (!namespace.is_empty() && !name.is_empty() && !name.contains(':')).then_some((namespace, name))
}
