//! The Secret in the cluster: read, created, and replaced in the version that was read.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{Api, Client, api::PostParams};
use tokio::time::timeout;
use tracing::{Dispatch, instrument::WithSubscriber as _};

use super::contents::Contents;

/// One call. An API server that needs longer is as good as away.
pub(super) const CALL: Duration = Duration::from_secs(10);

/// Why a call of the API server brought nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// Somebody else was faster.
    #[error("changed by another writer")]
    Conflict,
    /// There is no such object.
    #[error("not found")]
    NotFound,
    /// Refused, or not reached.
    #[error("{0}")]
    Failed(String),
    /// No answer in time.
    #[error("no answer within {} s", CALL.as_secs())]
    TimedOut,
}

/// One call, with its time limit. The client's own log lines are left out: they would come with every try.
pub(super) async fn call<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, CallError> {
    match timeout(CALL, call).with_subscriber(Dispatch::none()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(kube::Error::Api(status))) => Err(match status.code {
            404 => CallError::NotFound,
            409 => CallError::Conflict,
            _ => CallError::Failed(format!("{} {}: {}", status.code, status.reason, status.message)),
        }),
        Ok(Err(error)) => Err(CallError::Failed(error.to_string())),
        Err(_) => Err(CallError::TimedOut),
    }
}

/// The Secret as it was read; replacing it fails when it was changed since.
pub struct Stored {
    object: Secret,
    /// What is in it.
    pub contents: Contents,
}

impl std::fmt::Debug for Stored {
    /// Without contents, of which some are keys.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stored")
            .field("version", &self.object.metadata.resource_version)
            .finish_non_exhaustive()
    }
}

/// Where the Secret is.
#[derive(Debug, Clone)]
pub struct Store {
    api: Api<Secret>,
    name: String,
}

impl Store {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, namespace: &str, name: &str) -> Self {
        Self { api: Api::namespaced(client, namespace), name: name.to_owned() }
    }

    /// Reads it (`get`); `None` when there is none.
    pub async fn read(&self) -> Result<Option<Stored>, CallError> {
        let found = call(self.api.get_opt(&self.name)).await?;
        Ok(found.map(|object| {
            let data = object.data.clone().unwrap_or_default();
            let data = data.into_iter().map(|(key, ByteString(value))| (key, value)).collect();
            let annotations = object.metadata.annotations.clone().unwrap_or_default();
            Stored { object, contents: Contents { data, annotations } }
        }))
    }

    /// Creates it (`create`).
    pub async fn create(&self, contents: &Contents) -> Result<(), CallError> {
        let mut object = Secret {
            metadata: ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() },
            type_: Some("Opaque".to_owned()),
            ..Secret::default()
        };
        fill(&mut object, contents);
        call(self.api.create(&PostParams::default(), &object)).await.map(drop)
    }

    /// Replaces what was read (`update`).
    pub async fn replace(&self, stored: &Stored, contents: &Contents) -> Result<(), CallError> {
        let mut object = stored.object.clone();
        fill(&mut object, contents);
        call(self.api.replace(&self.name, &PostParams::default(), &object)).await.map(drop)
    }
}

fn fill(object: &mut Secret, contents: &Contents) {
    let data: BTreeMap<String, ByteString> =
        contents.data.iter().map(|(key, value)| (key.clone(), ByteString(value.clone()))).collect();
    object.data = Some(data);
    object.metadata.annotations = Some(contents.annotations.clone()).filter(|all| !all.is_empty());
}
