//! Looks after the authority and its publication, again and again.
//!
//! In one round the objects are looked at first, the Secret second, and then the objects are written in the version that
//! was looked at. So a replica never writes what an older Secret said over what a newer one did: had there been a newer
//! one when it looked, it would have read it.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::future::join_all;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{
    bundle::{Bundle, BundleError},
    contents::State,
    publish::{self, Seen, Target},
    rotation::Publication,
    shared::{LookError, Shared},
    store::CallError,
};
use crate::{metrics::ca::Ca as Metrics, tls::Serving};

/// How often to look: an operator's request, a change by another writer and the other replicas' steps are noticed within
/// this time. With one Secret, one `ConfigMap` and two `APIService`s that is 0.4 small reads a second and replica.
const LOOK: Duration = Duration::from_secs(10);
const SHORTEST_LOOK: Duration = Duration::from_millis(250);

/// Pauses between tries at the start: from this one on each is twice as long, up to [`LOOK`].
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// Longest file with an authority, bytes.
const FILE: u64 = 256 << 10;

/// Where the bundle comes from.
#[derive(Debug)]
pub enum Source {
    /// The authority in the Secret.
    Secret(Box<Shared>),
    /// A file that belongs to a given serving certificate.
    File(PathBuf),
}

/// Why a file is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("{}: {source}", path.display())]
    Bundle {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BundleError,
    },
}

/// Reads a bundle from a file.
pub fn read_file(path: &Path) -> Result<Bundle, FileError> {
    let fault = |source| FileError::Read { path: path.to_owned(), source };
    let length = fs::metadata(path).map_err(fault)?.len();
    if length > FILE {
        return Err(fault(io::Error::other(format!("longer than {FILE} bytes"))));
    }
    let pem = fs::read(path).map_err(fault)?;
    Bundle::parse(&pem).map_err(|source| FileError::Bundle { path: path.to_owned(), source })
}

/// Keeps the authority, and all who should know it.
#[derive(Debug)]
pub struct Keeper {
    source: Source,
    targets: Vec<Target>,
    overlap: Duration,
    /// Where the bundle is written for whoever reads files.
    out: Option<PathBuf>,
    bundle: Bundle,
    /// The last fault, until all was well again.
    trouble: Option<String>,
    metrics: Metrics,
}

type Looks = Vec<Result<Option<Seen>, CallError>>;

impl Keeper {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(
        source: Source,
        targets: Vec<Target>,
        overlap: Duration,
        out: Option<PathBuf>,
        metrics: Metrics,
    ) -> Self {
        Self { source, targets, overlap, out, bundle: Bundle::default(), trouble: None, metrics }
    }

    /// The certificate by which an `APIService` that leads to us is told from others.
    #[must_use]
    pub fn serving(mut self, serving: &Arc<Serving>) -> Self {
        self.targets.iter_mut().for_each(|target| target.serve(serving));
        self
    }

    /// Tries until the authority is known for the first time. A certificate that nobody trusts would be of no use, so
    /// there is nothing else to do meanwhile.
    pub async fn begin(&mut self) {
        let mut pause = FIRST_PAUSE;
        // Nothing is known of the objects yet, so that only what cannot wait is done.
        while !self.read(None).await {
            // Up to half as long again, so that replicas do not all ask at once.
            sleep(pause.mul_f64(1.0 + rand::random::<f64>() / 2.0)).await;
            pause = (pause * 2).min(LOOK);
        }
    }

    /// Who signs, once that is known and there is an authority that can.
    #[must_use]
    pub fn shared(&self) -> Option<&Shared> {
        match &self.source {
            Source::Secret(shared) => Some(shared),
            Source::File(_) => None,
        }
    }

    /// Looks again and again until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let every = (self.overlap / 20).clamp(SHORTEST_LOOK, LOOK);
        loop {
            let round = async {
                self.round().await;
                // Up to a tenth longer, so that replicas drift apart.
                sleep(every.mul_f64(1.0 + rand::random::<f64>() / 10.0)).await;
            };
            if shutdown.run_until_cancelled(round).await.is_none() {
                return;
            }
        }
    }

    async fn round(&mut self) {
        let seen: Looks = join_all(self.targets.iter().map(Target::look)).await;
        let is_newest = self.read(Some(&seen)).await;
        if self.bundle.certificates().is_empty() {
            return;
        }
        let (bundle, keep) = (&self.bundle, self.overlap);
        let publish = |(target, seen): (_, _)| Target::publish(target, seen, bundle, is_newest, keep);
        join_all(self.targets.iter_mut().zip(seen).map(publish)).await;
    }

    /// Reads the source, and says whether that went well.
    async fn read(&mut self, seen: Option<&Looks>) -> bool {
        let looked = match &mut self.source {
            Source::Secret(shared) => {
                let publication = |state: &State| match (&state.next, seen) {
                    (Some(next), Some(seen)) => publish::publication(next.authority.certificate(), seen),
                    _ => Publication::Unknown,
                };
                shared
                    .look(SystemTime::now(), publication)
                    .await
                    .map(|()| shared.bundle())
                    .map_err(|error: LookError| format!("secret with the authority: {error}"))
            }
            Source::File(path) => read_file(path).map_err(|error| format!("--tls-ca-file: {error}")),
        };
        let outcome = looked.and_then(|bundle| self.learn(bundle));
        let is_well = outcome.is_ok();
        self.note(outcome.err());
        is_well
    }

    fn learn(&mut self, bundle: Bundle) -> Result<(), String> {
        if bundle == self.bundle {
            return Ok(());
        }
        if let Some(path) = &self.out {
            let written = write_whole(path, &bundle.pem());
            written.map_err(|error| format!("--ca-out: {}: {error}", path.display()))?;
        }
        self.metrics.certificates.set(i64::try_from(bundle.certificates().len()).unwrap_or(i64::MAX));
        self.bundle = bundle;
        Ok(())
    }

    fn note(&mut self, fault: Option<String>) {
        match &fault {
            Some(fault) => {
                self.metrics.errors.inc();
                if self.trouble.as_ref() != Some(fault) {
                    tracing::error!(fault, "the authority cannot be looked after; trying on");
                }
            }
            None if self.trouble.is_some() => tracing::info!("the authority is looked after again"),
            None => {}
        }
        self.trouble = fault;
    }
}

/// Writes by rename, so that a reader never sees half a file.
pub fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let mut draft = path.as_os_str().to_owned();
    draft.push(".draft");
    fs::write(&draft, text)?;
    fs::rename(&draft, path)
}
