//! A file that says who may read, read again when it changes.
//!
//! Compared by content every few seconds, as certificates are ([`crate::tls::reload`]). What cannot be read or makes no
//! sense leaves what was there before; it is logged once and counted.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use prometheus_client::metrics::counter::Counter;

/// Largest file, bytes: what a Secret can hold.
const LARGEST: u64 = 1 << 20;

/// What a file held when it last made sense.
pub(super) struct Watched<T> {
    path: PathBuf,
    parse: fn(&str) -> Result<T, String>,
    current: ArcSwap<T>,
    seen: Mutex<Seen>,
    faults: Counter,
}

#[derive(Default)]
struct Seen {
    text: String,
    /// The last fault, if nothing good came after it.
    fault: Option<String>,
}

impl<T> Watched<T> {
    /// Reads it for the first time; the error names the file.
    pub(super) fn open(
        path: &Path,
        parse: fn(&str) -> Result<T, String>,
        faults: Counter,
    ) -> Result<Self, String> {
        let text = read(path).map_err(|error| named(path, &error))?;
        let first = parse(&text).map_err(|fault| named(path, &fault))?;
        Ok(Self {
            path: path.to_owned(),
            parse,
            current: ArcSwap::from_pointee(first),
            seen: Mutex::new(Seen { text, fault: None }),
            faults,
        })
    }

    /// What it held last.
    pub(super) fn current(&self) -> Arc<T> {
        self.current.load_full()
    }

    /// Looks again; true when something new counts from now on.
    pub(super) fn look(&self) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let looked = match read(&self.path) {
            Ok(text) if text == seen.text => {
                seen.fault = None;
                return false;
            }
            Ok(text) => (self.parse)(&text).map(|parsed| (text, parsed)),
            Err(error) => Err(error.to_string()),
        };
        match looked {
            Ok((text, parsed)) => {
                *seen = Seen { text, fault: None };
                self.current.store(Arc::new(parsed));
                tracing::info!(file = %self.path.display(), "read again: it has changed");
                true
            }
            Err(fault) => {
                if seen.fault.as_ref() != Some(&fault) {
                    let file = self.path.display();
                    tracing::error!(%file, %fault, "cannot be used; what it held before counts on");
                    self.faults.inc();
                    seen.fault = Some(fault);
                }
                false
            }
        }
    }
}

impl<T> fmt::Debug for Watched<T> {
    /// Without contents, of which some are secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watched").field("path", &self.path).finish_non_exhaustive()
    }
}

fn named(path: &Path, fault: &dyn fmt::Display) -> String {
    format!("{}: {fault}", path.display())
}

fn read(path: &Path) -> io::Result<String> {
    use io::Read as _;
    let mut text = String::new();
    fs::File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, "larger than 1 MiB"));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u32, String> {
        text.trim().parse().map_err(|_| "no number".to_owned())
    }

    fn open(path: &Path) -> Result<Watched<u32>, String> {
        Watched::open(path, number, Counter::default())
    }

    #[test]
    fn a_file_that_changes_counts_and_one_that_makes_no_sense_does_not() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "1").unwrap();
        let watched = open(file.path()).unwrap();
        assert!(!watched.look());
        fs::write(file.path(), "2").unwrap();
        assert!(watched.look());
        assert_eq!(*watched.current(), 2);
        fs::write(file.path(), "two").unwrap();
        for _ in 0..3 {
            assert!(!watched.look());
        }
        assert_eq!((*watched.current(), watched.faults.get()), (2, 1));
        fs::remove_file(file.path()).unwrap();
        assert!(!watched.look());
        assert_eq!((*watched.current(), watched.faults.get()), (2, 2));
        fs::write(file.path(), "2").unwrap();
        assert!(!watched.look(), "it is as it was");
        fs::remove_file(file.path()).unwrap();
        assert!(!watched.look());
        assert_eq!(watched.faults.get(), 3, "the same fault after a good time is news");
    }

    #[test]
    fn the_first_look_names_the_file_and_its_fault() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("tokens");
        assert!(open(&path).unwrap_err().ends_with("tokens: No such file or directory (os error 2)"));
        fs::write(&path, "one").unwrap();
        assert!(open(&path).unwrap_err().ends_with("tokens: no number"));
        fs::write(&path, vec![b'1'; 2 << 20]).unwrap();
        assert!(open(&path).unwrap_err().ends_with("tokens: larger than 1 MiB"));
        fs::write(&path, [0xff]).unwrap();
        assert!(open(&path).unwrap_err().contains("UTF-8"));
    }
}
