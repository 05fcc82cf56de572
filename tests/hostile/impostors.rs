//! Attackers who pretend to be somebody: spoofed headers, wrong certificates, bad tokens, impersonation. Whatever they
//! ask, they must not get it.

use crate::{
    chain::{NOBODY, READER},
    field::{Attempt, Field, PATHS},
    tally::Caller::Unwelcome,
};

/// Header lines with which an attacker says that it is an administrator.
fn as_master(attempt: Attempt, field: &Field) -> Attempt {
    let named =
        attempt.with("X-Remote-User", field.word(&["admin", "system:apiserver", "jane", "kubernetes-admin"]));
    let grouped = named.with("X-Remote-Group", "system:masters").with("X-Remote-Group", "readers");
    match field.number() % 5 {
        0 => grouped.with("X-Remote-Extra-Scopes", "all").with("X-Remote-Uid", "0"),
        1 => grouped.with("x-remote-user", "root"),
        2 => grouped.with("X_Remote_User", "root").with("X-Forwarded-For", "127.0.0.1"),
        3 => grouped.with("Connection", "close").with("X-Remote-Group", ""),
        _ => grouped,
    }
}

pub(crate) async fn spoofed_headers(field: &Field) {
    let attempt = as_master(Attempt::get(field.word(&PATHS)), field);
    field.send("spoofed headers without a certificate", Unwelcome, None, &attempt).await;
}

pub(crate) async fn wrong_certificates(field: &Field) {
    let (_, identity) = field.one(&field.certificates.wrong);
    // Everybody with a name may read the documents of discovery, so only numbers are asked for.
    let attempt = Attempt::get(field.word(&PATHS[..5]));
    let attempt = if field.number().is_multiple_of(2) { as_master(attempt, field) } else { attempt };
    field.send("wrong certificates", Unwelcome, Some(identity), &attempt).await;
}

pub(crate) async fn no_credentials(field: &Field) {
    let attempt = Attempt::get(field.word(&PATHS));
    let attempt = match field.number() % 3 {
        0 => attempt.with("Authorization", "Basic cm9vdDpyb290"),
        1 => attempt.with("Authorization", "Bearer "),
        _ => attempt,
    };
    field.send("no credentials", Unwelcome, None, &attempt).await;
}

pub(crate) async fn bad_tokens(field: &Field) {
    let attempt = Attempt::get(field.word(&PATHS));
    let number = field.number();
    let attempt = match number % 8 {
        // Every one is new, so that no cache helps.
        0 | 1 => attempt.bearer(&format!("guess-{number}")),
        2 => attempt.bearer(&"A".repeat(60_000)),
        3 => attempt.with("authorization", b"Bearer \xff\xfe\x80 reader"),
        4 => attempt.bearer(&format!("eyJhbGciOiJub25lIn0.{number}.")),
        5 => attempt.bearer(&format!("{READER}\t{number}x").replace('\t', "%00")),
        6 => attempt.bearer("agent-of-node-1"),
        _ => attempt.with("authorization", "Bearer wrong").with("authorization", format!("Bearer {READER}")),
    };
    field.send("bad tokens", Unwelcome, None, &attempt).await;
}

pub(crate) async fn tokens_in_strange_places(field: &Field) {
    let attempt = Attempt::get(field.word(&PATHS));
    let attempt = match field.number() % 4 {
        0 => Attempt::get(&format!("{}?token={READER}&access_token={READER}", PATHS[0])),
        1 => attempt.with("Cookie", format!("token={READER}")),
        2 => attempt.with("Proxy-Authorization", format!("Bearer {READER}")),
        _ => attempt.with("X-Remote-User", "jane").with("Authorization", format!("Token {READER}")),
    };
    field.send("tokens in strange places", Unwelcome, None, &attempt).await;
}

/// A reader may read, but not as somebody else; and who may nothing does not become a reader.
pub(crate) async fn impersonation(field: &Field) {
    let attempt = Attempt::get(field.word(&PATHS)).bearer(field.word(&[READER, NOBODY]));
    let attempt = match field.number() % 4 {
        0 => attempt.with("Impersonate-User", "root"),
        1 => attempt.with("Impersonate-User", "jane").with("Impersonate-Group", "system:masters"),
        2 => attempt.with("Impersonate-Group", "system:masters"),
        _ => attempt.with("impersonate-extra-scopes", "all"),
    };
    field.send("impersonation", Unwelcome, None, &attempt).await;
}

/// A valid token of somebody without rights, with headers that promise them.
pub(crate) async fn without_rights(field: &Field) {
    let attempt = as_master(Attempt::get(field.word(&PATHS[..5])).bearer(NOBODY), field);
    field.send("a valid token without rights", Unwelcome, None, &attempt).await;
}
