//! A scraper: the real curl, which shows what it is told to.

use std::{path::Path, process::Command};

/// What curl shows.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shown<'a> {
    Nothing,
    Token(&'a str),
    /// Files of a certificate and its key.
    Certificate(&'a Path, &'a Path),
}

/// Status and body of a page.
pub(crate) fn scrape(port: u16, path: &str, shown: Shown<'_>) -> (u16, String) {
    let mut command = Command::new("curl");
    command.args([
        "--silent",
        "--insecure",
        "--noproxy",
        "*",
        "--max-time",
        "20",
        "--write-out",
        "\n%{http_code}",
    ]);
    match shown {
        Shown::Nothing => {}
        Shown::Token(token) => {
            command.arg("--header").arg(format!("Authorization: Bearer {token}"));
        }
        Shown::Certificate(certificate, key) => {
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
    }
    let output = command.arg(format!("https://127.0.0.1:{port}{path}")).output().expect("curl runs");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, code) = text.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), body.to_owned())
}

/// The status of the page that kubelets have too.
pub(crate) fn status(port: u16, shown: Shown<'_>) -> u16 {
    scrape(port, "/metrics/resource", shown).0
}
