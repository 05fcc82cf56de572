//! Whom the cluster tells us to trust: the `ConfigMap` kube-system/extension-apiserver-authentication.
//!
//! It holds the authority of client certificates, and the authority, names and headers of the front proxy
//! (<https://kubernetes.io/docs/tasks/extend-kubernetes/configure-aggregation-layer/#kubernetes-apiserver-client-authentication>).
//! A [`Trust`] is made from it whole or not at all. Following its changes is [`follow`]'s business.

pub mod follow;

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{HeaderMap, HeaderName};
use lru::LruCache;
use rustls::DistinguishedName;

use super::{
    certificate::Subject,
    front_proxy::{IdentityHeaders, NotText},
    user::UserInfo,
};
use crate::tls::{clients::PeerCertificates, pool::Pool};

/// Chains whose verdict is kept. Kube-apiserver shows one certificate; more come from direct clients.
const KEPT_VERDICTS: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// How long a chain that was refused is refused unseen: it may become valid, if its time has not begun.
const REFUSED_FOR: Duration = Duration::from_secs(10);

/// What is wrong with the `ConfigMap`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// A key whose value is not what it should be.
    #[error("{key}: {fault}")]
    Key {
        /// The key.
        key: &'static str,
        /// What is wrong with it.
        fault: String,
    },
    /// Anybody with a client certificate could speak for anybody.
    #[error(
        "requestheader-allowed-names: empty, and an authority of client certificates is one of the front proxy's \
         too, so that every client could act as the front proxy"
    )]
    SharedAuthority,
    /// An update without something that was there.
    #[error("{0}: no longer there")]
    Lost(&'static str),
}

const CLIENT_CA: &str = "client-ca-file";
const PROXY_CA: &str = "requestheader-client-ca-file";
const ALLOWED_NAMES: &str = "requestheader-allowed-names";

/// Whom we trust at present. The default trusts nobody.
#[derive(Debug)]
pub struct Trust {
    clients: Option<Pool>,
    front_proxy: Option<FrontProxy>,
    headers: IdentityHeaders,
    /// Kept with what it was decided by, so that no verdict outlives a change of trust.
    verdicts: Mutex<LruCache<[u8; 32], Verdict>>,
}

#[derive(Debug)]
struct FrontProxy {
    pool: Pool,
    /// Common names; any when empty.
    allowed_names: Vec<String>,
    /// Whether that was said, and not just left out.
    names_are_said: bool,
}

/// What a chain of certificates is good for.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// It is the front proxy's.
    pub front_proxy: bool,
    /// The user it stands for itself.
    pub user: Option<Arc<UserInfo>>,
    /// Until when all its certificates are valid, in time since 1970; `None` when it is good for nothing.
    pub valid_until: Option<Duration>,
    decided: Duration,
    until: Duration,
}

impl Default for Trust {
    fn default() -> Self {
        Self {
            clients: None,
            front_proxy: None,
            headers: IdentityHeaders::default(),
            verdicts: Mutex::new(LruCache::new(KEPT_VERDICTS)),
        }
    }
}

impl Trust {
    /// From the `ConfigMap`'s data. A key that is missing switches off what it is for.
    pub fn from_config_map(data: &BTreeMap<String, String>) -> Result<Self, TrustError> {
        let clients = pool(data, CLIENT_CA)?;
        let allowed_names = strings(data, ALLOWED_NAMES)?;
        let headers = IdentityHeaders {
            user: header_names(data, "requestheader-username-headers")?,
            uid: header_names(data, "requestheader-uid-headers")?,
            group: header_names(data, "requestheader-group-headers")?,
            extra_prefix: prefixes(data, "requestheader-extra-headers-prefix")?,
        };
        let names_are_said = data.contains_key(ALLOWED_NAMES);
        let front_proxy =
            pool(data, PROXY_CA)?.map(|pool| FrontProxy { pool, allowed_names, names_are_said });
        if let (Some(clients), Some(proxy)) = (&clients, &front_proxy)
            && proxy.allowed_names.is_empty()
            && proxy.pool.overlaps(clients)
        {
            return Err(TrustError::SharedAuthority);
        }
        Ok(Self { clients, front_proxy, headers, ..Self::default() })
    }

    /// Refuses an update that has lost an authority or the names of the front proxy: half a `ConfigMap` is taken for a
    /// fault, not for the wish to trust nobody, or whatever name.
    pub fn check_successor_of(&self, before: &Self) -> Result<(), TrustError> {
        let says_names = |trust: &Self| trust.front_proxy.as_ref().is_some_and(|proxy| proxy.names_are_said);
        match () {
            () if before.clients.is_some() && self.clients.is_none() => Err(TrustError::Lost(CLIENT_CA)),
            () if before.front_proxy.is_some() && self.front_proxy.is_none() => {
                Err(TrustError::Lost(PROXY_CA))
            }
            () if says_names(before) && !says_names(self) => Err(TrustError::Lost(ALLOWED_NAMES)),
            () => Ok(()),
        }
    }

    /// What an operator must know about it.
    #[must_use]
    pub fn warnings(&self) -> Vec<&'static str> {
        let any_name = self.front_proxy.as_ref().is_some_and(|proxy| proxy.allowed_names.is_empty());
        let table = [
            (
                any_name,
                "requestheader-allowed-names is empty: every certificate of the front proxy's authority may speak \
                 for anybody",
            ),
            (
                self.front_proxy.is_none(),
                "requestheader-client-ca-file is missing: requests through kube-apiserver will be refused",
            ),
            (self.clients.is_none(), "client-ca-file is missing: client certificates will be refused"),
        ];
        table.into_iter().filter_map(|(holds, text)| holds.then_some(text)).collect()
    }

    /// The names of all authorities, for the handshake.
    #[must_use]
    pub fn authorities(&self) -> Vec<DistinguishedName> {
        let pools = [self.clients.as_ref(), self.front_proxy.as_ref().map(|proxy| &proxy.pool)];
        pools.into_iter().flatten().flat_map(Pool::subjects).cloned().collect()
    }

    /// What `chain` is good for at `now`, the time since 1970.
    #[must_use]
    pub fn verdict(&self, chain: &PeerCertificates, now: Duration) -> Verdict {
        let lock = || self.verdicts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(verdict) = lock().get(chain.fingerprint())
            && (verdict.decided..=verdict.until).contains(&now)
        {
            return verdict.clone();
        }
        let verdict = self.judge(chain, now);
        lock().put(*chain.fingerprint(), verdict.clone());
        verdict
    }

    fn judge(&self, chain: &PeerCertificates, now: Duration) -> Verdict {
        let refused = Verdict {
            front_proxy: false,
            user: None,
            valid_until: None,
            decided: now,
            until: now + REFUSED_FOR,
        };
        let Ok(subject) = Subject::of(chain) else { return refused };
        let proxy = self.front_proxy.as_ref().and_then(|proxy| proxy.trusts(chain, &subject, now));
        let client = self.clients.as_ref().and_then(|clients| clients.trusts(chain, now));
        // What is kept must be judged again when any of it ends.
        let Some(authority) = [proxy, client].into_iter().flatten().min() else { return refused };
        let user = subject.user().filter(|_| client.is_some()).map(UserInfo::authenticated).map(Arc::new);
        let (valid_until, until) = (Some(subject.valid_until), subject.valid_until.min(authority));
        Verdict { front_proxy: proxy.is_some(), user, valid_until, until, ..refused }
    }

    /// The user the front proxy's headers name.
    pub fn user_of_headers(&self, headers: &HeaderMap) -> Result<Option<UserInfo>, NotText> {
        Ok(self.headers.user(headers)?.map(UserInfo::authenticated))
    }

    /// Removes everything that says who somebody is.
    pub fn strip(&self, headers: &mut HeaderMap) {
        self.headers.strip(headers);
    }
}

impl FrontProxy {
    /// Until when its authority is valid, if the chain is the front proxy's.
    fn trusts(&self, chain: &PeerCertificates, subject: &Subject, now: Duration) -> Option<Duration> {
        let named = |allowed: &String| subject.common_name.as_ref() == Some(allowed);
        let allowed = self.allowed_names.is_empty() || self.allowed_names.iter().any(named);
        self.pool.trusts(chain, now).filter(|_| allowed)
    }
}

fn fault(key: &'static str, fault: impl Into<String>) -> TrustError {
    TrustError::Key { key, fault: fault.into() }
}

fn pool(data: &BTreeMap<String, String>, key: &'static str) -> Result<Option<Pool>, TrustError> {
    let Some(pem) = data.get(key) else { return Ok(None) };
    Pool::from_pem(pem).map(Some).map_err(|error| fault(key, error))
}

/// A JSON array of strings; none when the key is missing. A list that was never set is `null` in Go, or no text.
fn strings(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, TrustError> {
    let Some(text) = data.get(key).filter(|text| !text.is_empty()) else { return Ok(Vec::new()) };
    let list: Result<Option<Vec<String>>, _> = serde_json::from_str(text);
    Ok(list.map_err(|error| fault(key, format!("no list of strings: {error}")))?.unwrap_or_default())
}

fn header_names(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<HeaderName>, TrustError> {
    let parse = |name: String| {
        name.trim().parse().map_err(|_| fault(key, format!("{name:?} is no name of a header")))
    };
    strings(data, key)?.into_iter().map(parse).collect()
}

fn prefixes(data: &BTreeMap<String, String>, key: &'static str) -> Result<Vec<String>, TrustError> {
    // An empty prefix would turn every header into a fact about the user.
    Ok(header_names(data, key)?.into_iter().map(|name| name.as_str().to_owned()).collect())
}

#[cfg(test)]
mod tests;
