//! One look at the Secret, and the step that follows from it.

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;

use super::{
    bundle::Bundle,
    contents::{self, Broken, Contents, Found, State},
    rotation::{self, Plan, Publication, Step},
    store::{CallError, Store, Stored},
};
use crate::{
    metrics::ca::Ca as Metrics,
    tls::{TlsError, signer::Signer},
};

/// How often a look begins anew because another replica was faster. Each time one of them has done something, so with a
/// few replicas one try is nearly always enough, and the next look comes soon.
const TRIES: usize = 5;

/// Why a look brought no authority.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// The API server.
    #[error("{0}")]
    Call(#[from] CallError),
    /// What an operator put there cannot be used.
    #[error("{0}; it is not ours to mend: put a certificate and its key there, or delete the secret")]
    Broken(String),
    /// A new authority could not be made.
    #[error("{0}")]
    Tls(#[from] TlsError),
}

/// The authority in the Secret, as this replica knows it.
#[derive(Debug)]
pub struct Shared {
    store: Store,
    plan: Plan,
    state: Option<State>,
    /// Set with the first state.
    signer: Option<Arc<ArcSwap<Signer>>>,
    metrics: Metrics,
}

impl Shared {
    /// Nothing is known yet.
    #[must_use]
    pub fn new(store: Store, plan: Plan, metrics: Metrics) -> Self {
        Self { store, plan, state: None, signer: None, metrics }
    }

    /// Who signs, once that is known; kept up to date from then on.
    #[must_use]
    pub fn signer(&self) -> Option<Arc<ArcSwap<Signer>>> {
        self.signer.clone()
    }

    /// What to publish; empty while nothing is known.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        self.state.as_ref().map(State::bundle).unwrap_or_default()
    }

    /// Looks at the Secret and does what is next; `publication` tells where a state's next authority was just seen.
    /// What was known before stays known when this fails.
    pub async fn look(
        &mut self,
        now: SystemTime,
        publication: impl Fn(&State) -> Publication,
    ) -> Result<(), LookError> {
        for _ in 0..TRIES {
            let stored = self.store.read().await?;
            let contents = stored.as_ref().map_or_else(Contents::default, |stored| stored.contents.clone());
            let found = contents::read(&contents);
            let Some((step, after)) = self.step(now, found, &publication)? else { return Ok(()) };
            let mut changed = contents;
            after.write(&mut changed);
            match self.write(stored.as_ref(), &changed).await {
                Ok(()) => {
                    self.stepped(step);
                    self.adopt(after);
                    return Ok(());
                }
                Err(CallError::Conflict | CallError::NotFound) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(CallError::Conflict.into())
    }

    /// What to write. Sound contents are adopted first: what follows may fail.
    fn step(
        &mut self,
        now: SystemTime,
        found: Found,
        publication: impl Fn(&State) -> Publication,
    ) -> Result<Option<(Step, State)>, LookError> {
        match found {
            Found::Empty => Ok(Some((Step::Create, rotation::create(now, &self.plan, &self.bundle())?))),
            Found::Broken(Broken { fault, is_ours: false, .. }) => Err(LookError::Broken(fault)),
            Found::Broken(broken) => {
                tracing::error!(fault = broken.fault, "the shared authority cannot sign; making another");
                let state = rotation::repair(now, &self.plan, &broken, &self.bundle())?;
                Ok(Some((Step::Repair, state)))
            }
            Found::Sound(state) => {
                let step = rotation::decide(now, &self.plan, &state, publication(&state));
                let after = step.map(|step| rotation::take(step, now, &self.plan, &state)).transpose()?;
                self.adopt(*state);
                Ok(step.zip(after))
            }
        }
    }

    async fn write(&self, stored: Option<&Stored>, contents: &Contents) -> Result<(), CallError> {
        match stored {
            Some(stored) => self.store.replace(stored, contents).await,
            None => self.store.create(contents).await,
        }
    }

    fn stepped(&self, step: Step) {
        self.metrics.stepped(step);
        let what = match step {
            Step::Create => "a shared authority was made",
            Step::Begin => "the next shared authority was made; it is published and does not sign yet",
            Step::Announce => "the next shared authority is published everywhere; it signs after the overlap",
            Step::Withdraw => {
                "the next shared authority is not published everywhere any more; the overlap begins anew"
            }
            Step::Switch => "the next shared authority signs from now on; the former one is still trusted",
            Step::End => "the former shared authority is not trusted any more",
            Step::Stamp => "a time of the rotation made no sense and was written anew",
            Step::Repair => "a shared authority that could not sign was replaced",
        };
        tracing::info!(step = step.as_str(), "{what}");
    }

    fn adopt(&mut self, state: State) {
        let known = self.state.as_ref();
        for oddity in &state.oddities {
            if known.is_none_or(|known| !known.oddities.contains(oddity)) {
                tracing::warn!(fault = oddity, "a part of the secret cannot be used and is not needed");
            }
        }
        let is_other = known.is_none_or(|known| known.signing.certificate() != state.signing.certificate());
        if is_other && !state.is_ours {
            tracing::info!("the secret's authority was put there by somebody else: used, and never rotated");
        }
        let expiry = state.signing.valid().end.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.metrics.expiry.set(i64::try_from(expiry.as_secs()).unwrap_or(i64::MAX));
        let signer = Arc::new(state.signer());
        match &self.signer {
            Some(shared) => shared.store(signer),
            None => self.signer = Some(Arc::new(ArcSwap::new(signer))),
        }
        self.state = Some(state);
    }
}
