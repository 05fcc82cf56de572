//! Keeps the serving certificate fresh: files are read again when they change, our own certificate is renewed.
//!
//! Files are compared by content every few seconds. The kubelet swaps a mounted Secret by renaming a symbolic link,
//! which watches on the files themselves do not see (<https://github.com/kubernetes/kubernetes/issues/111947>). What
//! cannot be used is reported and the last good certificate served on. The authority itself is not renewed here.

use std::{
    fmt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use arc_swap::ArcSwap;
use rustls::sign::CertifiedKey;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

use super::counted::Certificate as Metrics;
use super::{
    Authority, Serving, TlsError,
    authority::SERVING_LIFE,
    files::Files,
    signer::{Issuing, Signer},
};

/// How often to look. New files serve within this time; reading two small files costs next to nothing.
const LOOK: Duration = Duration::from_secs(5);
const SHORTEST_LOOK: Duration = Duration::from_millis(100);

/// Where the serving certificate comes from, and will come from again.
pub enum Source {
    /// PEM files.
    Files(Files),
    /// An authority whose key we have.
    Signed(Issuing),
}

impl fmt::Debug for Source {
    /// Without contents, of which one is a key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => f.debug_list().entries(files.paths()).finish(),
            Self::Signed(issuing) => issuing.fmt(f),
        }
    }
}

impl Source {
    /// Two PEM files.
    #[must_use]
    pub fn files(certificate: PathBuf, key: PathBuf) -> Self {
        Self::Files(Files::new(certificate, key))
    }

    /// An authority of this process alone.
    #[must_use]
    pub fn own(authority: Authority, names: Vec<String>) -> Self {
        let signer = Arc::new(ArcSwap::from_pointee(Signer::only(authority)));
        Self::Signed(Issuing::new(signer, names, SERVING_LIFE))
    }

    /// How often to look.
    fn pause(&self) -> Duration {
        match self {
            Self::Files(_) => LOOK,
            // Certificates may be made to live for seconds, to see them replaced.
            Self::Signed(issuing) => (issuing.life() / 30).clamp(SHORTEST_LOOK, LOOK),
        }
    }

    /// A certificate that has not been served yet; `None` when there is nothing new. A fault of the same files is
    /// told once.
    pub fn look(&mut self, now: SystemTime) -> Option<Result<CertifiedKey, TlsError>> {
        match self {
            Self::Files(files) => files.look(now),
            Self::Signed(issuing) => issuing.look(now),
        }
    }
}

/// The certificate being served, and what to do so that it stays good.
#[derive(Debug)]
pub struct Upkeep {
    source: Source,
    serving: Arc<Serving>,
    metrics: Metrics,
    /// The last fault, if nothing good came after it.
    fault: Option<String>,
}

impl Upkeep {
    /// Takes the first certificate from `source`.
    pub fn begin(mut source: Source) -> Result<(Arc<Serving>, Source), TlsError> {
        // Nothing was tried before, so there is something new.
        let first =
            source.look(SystemTime::now()).unwrap_or(Err(TlsError::Certificate("none".to_owned())))?;
        Ok((Serving::new(first), source))
    }

    /// Will look after what [`begin`](Self::begin) began.
    #[must_use]
    pub fn new(serving: Arc<Serving>, source: Source, metrics: Metrics) -> Self {
        let upkeep = Self { source, serving, metrics, fault: None };
        upkeep.note_expiry(&upkeep.serving.current());
        upkeep
    }

    /// Looks again and again until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let pause = self.source.pause();
        self.run_every(pause, shutdown).await;
    }

    async fn run_every(mut self, look: Duration, shutdown: CancellationToken) {
        let mut every = tokio::time::interval(look);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while shutdown.run_until_cancelled(every.tick()).await.is_some() {
            // Files may lie on a file system that hangs.
            let looked = tokio::task::spawn_blocking(move || {
                self.look(SystemTime::now());
                self
            });
            match looked.await {
                Ok(upkeep) => self = upkeep,
                Err(error) => {
                    tracing::error!(%error, "the serving certificate is not looked after any more");
                    return;
                }
            }
        }
    }

    fn look(&mut self, now: SystemTime) {
        match self.source.look(now) {
            None => {}
            Some(Ok(key)) => {
                self.fault = None;
                if self.serving.current().cert != key.cert {
                    self.note_expiry(&key);
                    self.serving.replace(key);
                    self.metrics.replacements.inc();
                    tracing::info!("new serving certificate");
                }
            }
            Some(Err(error)) => {
                let text = error.to_string();
                if self.fault.as_ref() != Some(&text) {
                    tracing::error!(%error, "new serving certificate cannot be used; the last one is served on");
                    self.metrics.faults.inc();
                    self.fault = Some(text);
                }
            }
        }
    }

    fn note_expiry(&self, key: &CertifiedKey) {
        match expiry(key) {
            Ok(seconds) => {
                self.metrics.expiry.set(seconds);
                if seconds < unix_seconds(SystemTime::now()) {
                    tracing::warn!("the serving certificate has expired");
                }
            }
            Err(error) => tracing::warn!(%error, "nobody knows when the serving certificate expires"),
        }
    }
}

/// When the first certificate of the chain expires, in seconds since 1970.
pub(super) fn expiry(key: &CertifiedKey) -> Result<i64, TlsError> {
    let fault = |error: &dyn std::fmt::Display| TlsError::Certificate(error.to_string());
    let certificate = key.end_entity_cert().map_err(|error| fault(&error))?;
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).map_err(|error| fault(&error))?;
    Ok(parsed.validity().not_after.timestamp())
}

pub(super) fn unix_seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, path::Path};

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    struct Pair {
        certificate: String,
        key: String,
    }

    fn pair() -> Pair {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        Pair { certificate: made.cert.pem(), key: made.signing_key.serialize_pem() }
    }

    /// Puts a pair where the kubelet would: below a new directory, to which a link is then renamed.
    fn mount(directory: &Path, version: &str, certificate: &str, key: &str) {
        let files = directory.join(version);
        fs::create_dir(&files).unwrap();
        fs::write(files.join("tls.crt"), certificate).unwrap();
        fs::write(files.join("tls.key"), key).unwrap();
        let draft = directory.join("..data_tmp");
        symlink(version, &draft).unwrap();
        fs::rename(&draft, directory.join("..data")).unwrap();
    }

    fn mounted(pair: &Pair) -> (tempfile::TempDir, Upkeep) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        mount(path, "1", &pair.certificate, &pair.key);
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), path.join(name)).unwrap();
        }
        let (serving, source) =
            Upkeep::begin(Source::files(path.join("tls.crt"), path.join("tls.key"))).unwrap();
        (directory, Upkeep::new(serving, source, Metrics::default()))
    }

    fn serves(upkeep: &Upkeep, pair: &Pair) -> bool {
        let pem = rustls_pki_types::pem::PemObject::from_pem_slice(pair.certificate.as_bytes());
        let expected: rustls_pki_types::CertificateDer<'_> = pem.unwrap();
        upkeep.serving.current().cert == [expected]
    }

    #[tokio::test]
    async fn c106_a_mounted_secret_that_is_swapped_serves_soon() {
        let (old, new) = (pair(), pair());
        let (directory, upkeep) = mounted(&old);
        let (serving, shutdown) = (Arc::clone(&upkeep.serving), CancellationToken::new());
        let replaced = upkeep.metrics.replacements.clone();
        let before = serving.current();
        let task = tokio::spawn(upkeep.run_every(Duration::from_millis(10), shutdown.clone()));
        mount(directory.path(), "2", &new.certificate, &new.key);
        let changed = async {
            while serving.current().cert == before.cert {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, changed).await.unwrap();
        shutdown.cancel();
        tokio::time::timeout(DEADLINE, task).await.unwrap().unwrap();
        assert_eq!(replaced.get(), 1);
        assert!(LOOK <= Duration::from_secs(10), "sixty seconds are asked for");
    }

    #[test]
    fn c106_a_broken_pair_keeps_the_last_good_one_and_is_told_once() {
        let (old, new) = (pair(), pair());
        let (directory, mut upkeep) = mounted(&old);
        let path = directory.path();
        let now = SystemTime::now();
        // A key of another certificate, no key, and half a file.
        let half = &new.certificate[..new.certificate.len() / 2];
        for (version, certificate, key) in [
            ("2", new.certificate.as_str(), old.key.as_str()),
            ("3", &new.certificate, ""),
            ("4", half, &new.key),
        ] {
            mount(path, version, certificate, key);
            for _ in 0..3 {
                upkeep.look(now);
            }
            assert!(serves(&upkeep, &old), "version {version}");
        }
        assert_eq!(upkeep.metrics.faults.get(), 3);
        fs::remove_file(path.join("..data")).unwrap();
        for _ in 0..3 {
            upkeep.look(now);
        }
        assert!(serves(&upkeep, &old));
        assert_eq!(upkeep.metrics.faults.get(), 4);
        mount(path, "5", &new.certificate, &new.key);
        upkeep.look(now);
        assert!(serves(&upkeep, &new));
        assert_eq!((upkeep.metrics.replacements.get(), upkeep.metrics.faults.get()), (1, 4));
    }

    #[test]
    fn files_written_again_with_the_same_certificate_change_nothing() {
        let old = pair();
        let (directory, mut upkeep) = mounted(&old);
        let again = format!("# a comment\n{}", old.certificate);
        mount(directory.path(), "2", &again, &old.key);
        upkeep.look(SystemTime::now());
        assert_eq!(upkeep.metrics.replacements.get(), 0);
    }

    #[test]
    fn our_own_certificate_is_renewed_at_two_thirds_of_its_life_by_the_same_authority() {
        let authority = Authority::generate().unwrap();
        let source = Source::own(authority, vec!["metrics.svc".to_owned()]);
        let (serving, source) = Upkeep::begin(source).unwrap();
        let mut upkeep = Upkeep::new(serving, source, Metrics::default());
        let (first, started) = (upkeep.serving.current(), SystemTime::now());
        let expires = upkeep.metrics.expiry.get();
        let life = unix_seconds(started + SERVING_LIFE);
        assert!((life - 60..=life).contains(&expires), "{expires}");
        upkeep.look(started + SERVING_LIFE * 6 / 10);
        assert_eq!(upkeep.serving.current().cert, first.cert);
        upkeep.look(started + SERVING_LIFE * 7 / 10);
        let second = upkeep.serving.current();
        assert_ne!(second.cert, first.cert);
        let issuer = |key: &CertifiedKey| {
            let (_, parsed) = x509_parser::parse_x509_certificate(&key.cert[0]).unwrap();
            let name = parsed.issuer().to_string();
            let signer = parsed.extensions().iter().find(|it| it.oid.to_string() == "2.5.29.35").unwrap();
            (name, signer.value.to_vec())
        };
        assert_eq!(issuer(&first), issuer(&second));
        // The next one comes after as long again.
        upkeep.look(started + SERVING_LIFE);
        assert_eq!(upkeep.metrics.replacements.get(), 1);
    }

    #[tokio::test]
    async fn a_short_lived_certificate_is_replaced_again_and_again() {
        let signer = Arc::new(ArcSwap::from_pointee(Signer::only(Authority::generate().unwrap())));
        let source = Source::Signed(Issuing::new(signer, Vec::new(), Duration::from_millis(300)));
        let (serving, source) = Upkeep::begin(source).unwrap();
        let upkeep = Upkeep::new(serving, source, Metrics::default());
        let (replaced, shutdown) = (upkeep.metrics.replacements.clone(), CancellationToken::new());
        tokio::spawn(upkeep.run_every(Duration::from_millis(10), shutdown.clone()));
        let thrice = async {
            while replaced.get() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, thrice).await.unwrap();
        shutdown.cancel();
    }
}
