//! The files with which clients find a standalone server: address, authority, token.
//!
//! They replace only files that were written here. A kubeconfig holds the keys to somebody's clusters, so an existing
//! file without our first line is left alone and reported, never merged into.

use std::{
    fs::{DirBuilder, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// First line of every file of ours.
const MARK: &str = "# Written by kubevitals, and again at every start. Changes are lost.";

/// Name of the cluster, the user and the context.
const NAME: &str = "kubevitals";

/// Why there is no kubeconfig.
#[derive(Debug, thiserror::Error)]
pub enum KubeconfigError {
    /// Somebody else's file is in the way.
    #[error("{}: not written by kubevitals, so it is not overwritten", path.display())]
    NotOurs {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory that could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// What goes into the file.
#[derive(Clone, Copy)]
pub struct Kubeconfig<'a> {
    /// Such as `https://127.0.0.1:6443`.
    pub server: &'a str,
    /// The authority that signed the server's certificate.
    pub ca_pem: &'a str,
    /// The bearer token.
    pub token: &'a str,
}

impl std::fmt::Debug for Kubeconfig<'_> {
    /// Without the token.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubeconfig").field("server", &self.server).finish_non_exhaustive()
    }
}

impl Kubeconfig<'_> {
    /// The file's text. The CA is inside, so that the file works wherever it is copied.
    #[must_use]
    pub fn render(&self) -> String {
        let (server, token) = (quoted(self.server), quoted(self.token));
        let ca = base64(self.ca_pem.as_bytes());
        format!(
            "{MARK}\n\
             apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: {NAME}\n  cluster:\n    server: {server}\n    certificate-authority-data: {ca}\n\
             users:\n\
             - name: {NAME}\n  user:\n    token: {token}\n\
             contexts:\n\
             - name: {NAME}\n  context:\n    cluster: {NAME}\n    user: {NAME}\n\
             current-context: {NAME}\n"
        )
    }

    /// Writes the file whole or not at all, readable for its owner alone. Makes its directory where there is none.
    pub fn write(&self, path: &Path) -> Result<(), KubeconfigError> {
        replace(path, &self.render(), |found| found.starts_with(MARK.as_bytes()))
    }

    /// Writes authority and token beside the kubeconfig, for clients that read no kubeconfig.
    pub fn write_credentials(&self, kubeconfig: &Path) -> Result<Credentials, KubeconfigError> {
        let beside = |extension: &str| {
            let mut name = kubeconfig.as_os_str().to_owned();
            name.push(extension);
            PathBuf::from(name)
        };
        let files = Credentials { ca: beside(".ca.pem"), token: beside(".token") };
        let ca = format!("{MARK}\n{}", self.ca_pem);
        replace(&files.ca, &ca, |found| found.starts_with(MARK.as_bytes()))?;
        replace(&files.token, self.token, |found| found.len() == self.token.len() && is_hexadecimal(found))?;
        Ok(files)
    }
}

/// Where clients find what they need beside the address.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// The authority that signed the server's certificate, PEM.
    pub ca: PathBuf,
    /// The bearer token, and nothing else.
    pub token: PathBuf,
}

fn is_hexadecimal(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

/// Writes a file whole or not at all; one that is there must be ours.
fn replace(path: &Path, text: &str, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), KubeconfigError> {
    refuse_foreign(path, is_ours)?;
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed(directory))?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let draft = directory.join(name);
    let written = write_new(&draft, text).and_then(|()| std::fs::rename(&draft, path));
    written.map_err(|error| {
        // What is left of the draft holds the token.
        let _gone = std::fs::remove_file(&draft);
        failed(path)(error)
    })
}

fn refuse_foreign(path: &Path, is_ours: impl Fn(&[u8]) -> bool) -> Result<(), KubeconfigError> {
    match std::fs::read(path) {
        Ok(found) if is_ours(&found) => Ok(()),
        Ok(_) => Err(KubeconfigError::NotOurs { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path)(error)),
    }
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> KubeconfigError {
    let path = path.to_owned();
    |source| KubeconfigError::Io { path, source }
}

fn write_new(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

/// A YAML string in double quotes, which may hold what a JSON string may hold.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Standard base64 with padding.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group =
            chunk.iter().fold(0_u32, |group, byte| group << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for position in 0..4 {
            let digit = usize::try_from(group >> (18 - 6 * position) & 63).ok().and_then(|at| DIGITS.get(at));
            text.push(if position <= chunk.len() {
                digit.map_or('=', |&digit| char::from(digit))
            } else {
                '='
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const CONFIG: Kubeconfig<'_> =
        Kubeconfig { server: "https://127.0.0.1:6443", ca_pem: "certificate", token: "a \"secret\"" };

    #[test]
    fn the_file_holds_all_that_a_client_needs() {
        assert_eq!(
            CONFIG.render(),
            "# Written by kubevitals, and again at every start. Changes are lost.\n\
             apiVersion: v1\nkind: Config\n\
             clusters:\n- name: kubevitals\n  cluster:\n    server: \"https://127.0.0.1:6443\"\n    \
             certificate-authority-data: Y2VydGlmaWNhdGU=\n\
             users:\n- name: kubevitals\n  user:\n    token: \"a \\\"secret\\\"\"\n\
             contexts:\n- name: kubevitals\n  context:\n    cluster: kubevitals\n    user: kubevitals\n\
             current-context: kubevitals\n"
        );
    }

    #[test]
    fn base64_is_padded_as_rfc_4648_has_it() {
        let table = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
        ];
        for (plain, text) in table {
            assert_eq!(base64(plain.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xfe, 0xfb]), "//77");
    }

    #[test]
    fn it_is_written_for_its_owner_alone_and_replaced_at_the_next_start() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/config");
        CONFIG.write(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        Kubeconfig { token: "other", ..CONFIG }.write(&path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("\"other\""));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left");
    }

    #[test]
    fn authority_and_token_lie_beside_it_for_their_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        let config = Kubeconfig { token: "0f1e", ..CONFIG };
        let files = config.write_credentials(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&files.token).unwrap(), "0f1e");
        assert!(std::fs::read_to_string(&files.ca).unwrap().ends_with("\ncertificate"));
        for file in [&files.token, &files.ca] {
            assert_eq!(std::fs::metadata(file).unwrap().permissions().mode() & 0o777, 0o600);
        }
        Kubeconfig { token: "beef", ..CONFIG }.write_credentials(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&files.token).unwrap(), "beef");
        std::fs::write(&files.token, "somebody else's").unwrap();
        assert!(matches!(config.write_credentials(&path), Err(KubeconfigError::NotOurs { .. })));
    }

    #[test]
    fn somebody_elses_file_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config");
        std::fs::write(&path, "apiVersion: v1\n").unwrap();
        let error = CONFIG.write(&path).unwrap_err().to_string();
        assert!(error.ends_with("config: not written by kubevitals, so it is not overwritten"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "apiVersion: v1\n");
    }

    #[test]
    fn the_token_does_not_show_in_debug_text() {
        assert!(!format!("{CONFIG:?}").contains("secret"));
    }
}
