//! The Secret: what is in it and what that means. Pure.
//!
//! | key | what |
//! | --- | --- |
//! | `ca.crt`, `ca.key` | the authority that signs serving certificates at present |
//! | `next.crt`, `next.key` | the one that will, while clients are being told of it |
//! | `previous.crt` | those that did, while a certificate of theirs may be in use; their keys are gone |
//!
//! Times stand in annotations. Who made the authority does too: what an operator put there is used and never written.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::bundle::Bundle;
use crate::tls::{
    Authority,
    authority::{AuthorityError, BACKDATE, fingerprint},
    signer::Signer,
};

/// The certificate of the authority that signs.
pub const CERTIFICATE: &str = "ca.crt";
/// Its key.
pub const KEY: &str = "ca.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const NEXT_KEY: &str = "next.key";
const PREVIOUS: &str = "previous.crt";

/// An operator sets this annotation, to any value, to have a new authority.
pub const ROTATE: &str = "kubevitals.io/rotate-ca";
/// SHA-256 of the certificate that we put there: what does not match it is somebody else's.
const GENERATED: &str = "kubevitals.io/ca-generated";
/// Since when all clients can know the next one.
const NEXT_PUBLISHED: &str = "kubevitals.io/ca-next-published";
/// From when on certificates of former authorities are replaced.
const SIGNS_FROM: &str = "kubevitals.io/ca-signs-from";

/// Longest text of an annotation that is read as a time.
const TIME_LENGTH: usize = 40;

/// Data and annotations of the Secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// By key.
    pub data: BTreeMap<String, Vec<u8>>,
    /// By name.
    pub annotations: BTreeMap<String, String>,
}

/// An authority that clients are being told of.
#[derive(Debug, Clone)]
pub struct Next {
    /// It will sign.
    pub authority: Arc<Authority>,
    /// Since when it is published everywhere, if it is.
    pub published: Option<SystemTime>,
}

/// What sound contents mean.
#[derive(Debug, Clone)]
pub struct State {
    /// It signs.
    pub signing: Arc<Authority>,
    /// From when on certificates of former ones are replaced; `None` when nobody wrote it down.
    pub from: Option<SystemTime>,
    /// It will sign.
    pub next: Option<Next>,
    /// They did.
    pub previous: Bundle,
    /// Whether we made it, and so look after it.
    pub is_ours: bool,
    /// Whether an operator asked for a new one.
    pub is_requested: bool,
    /// Parts that cannot be used and are not needed.
    pub oddities: Vec<String>,
}

/// What contents are.
#[derive(Debug)]
pub enum Found {
    /// Nothing yet: a Secret made to be filled.
    Empty,
    /// All that is needed.
    Sound(Box<State>),
    /// An authority that cannot sign.
    Broken(Broken),
}

/// Contents without an authority that can sign.
#[derive(Debug)]
pub struct Broken {
    /// What is wrong, with its key.
    pub fault: String,
    /// Whether we put it there, and so may replace it.
    pub is_ours: bool,
    /// An authority that was about to sign, when there is one.
    pub next: Option<Arc<Authority>>,
    /// Certificates whose servers may still be about.
    pub trusted: Bundle,
}

/// Reads contents.
#[must_use]
pub fn read(contents: &Contents) -> Found {
    if contents.data.is_empty() {
        return Found::Empty;
    }
    let text = |key: &str| contents.data.get(key).map(Vec::as_slice).unwrap_or_default();
    let generated = contents.annotations.get(GENERATED);
    let mut oddities = Vec::new();
    let certificates = Bundle::parse(text(CERTIFICATE));
    let is_ours = match &certificates {
        Ok(bundle) => {
            let first = bundle.certificates().first();
            generated.is_some() && first.map(|first| fingerprint(first)).as_ref() == generated
        }
        Err(_) => generated.is_some(),
    };
    let next = if is_ours { next(contents, &mut oddities) } else { None };
    let mut previous = Bundle::default();
    if is_ours && !text(PREVIOUS).is_empty() {
        match Bundle::parse(text(PREVIOUS)) {
            Ok(read) => previous = read,
            Err(error) => oddities.push(format!("{PREVIOUS}: {error}")),
        }
    }
    let signing = certificates
        .clone()
        .map_err(|error| format!("{CERTIFICATE}: {error}{}", hint(contents)))
        .and_then(|_| Authority::from_pem(text(CERTIFICATE), text(KEY)).map_err(fault));
    match signing {
        Ok(signing) => {
            // Further certificates beside the signer's are trusted too: an operator's way to rotate.
            for certificate in certificates.iter().flat_map(Bundle::certificates).skip(1) {
                previous.add(certificate);
            }
            Found::Sound(Box::new(State {
                signing: Arc::new(signing),
                from: time(contents, SIGNS_FROM),
                next,
                previous,
                is_ours,
                is_requested: is_ours && contents.annotations.contains_key(ROTATE),
                oddities,
            }))
        }
        Err(fault) => {
            let mut trusted = certificates.unwrap_or_default();
            previous.certificates().iter().for_each(|certificate| trusted.add(certificate));
            Found::Broken(Broken { fault, is_ours, next: next.map(|next| next.authority), trusted })
        }
    }
}

/// A fault with the key of the data that has it.
fn fault(error: AuthorityError) -> String {
    match error {
        AuthorityError::NoKey | AuthorityError::Key(_) | AuthorityError::Mismatch => {
            format!("{KEY}: {error}")
        }
        error => format!("{CERTIFICATE}: {error}"),
    }
}

/// What to say of a Secret of another kind.
fn hint(contents: &Contents) -> &'static str {
    if contents.data.contains_key("tls.crt") && !contents.data.contains_key(CERTIFICATE) {
        "; it holds tls.crt, which --tls-cert-file takes from a mounted file"
    } else {
        ""
    }
}

fn next(contents: &Contents, oddities: &mut Vec<String>) -> Option<Next> {
    let (certificate, key) = (contents.data.get(NEXT_CERTIFICATE)?, contents.data.get(NEXT_KEY));
    match Authority::from_pem(certificate, key.map(Vec::as_slice).unwrap_or_default()) {
        Ok(authority) => {
            Some(Next { authority: Arc::new(authority), published: time(contents, NEXT_PUBLISHED) })
        }
        Err(error) => {
            oddities.push(format!("{NEXT_CERTIFICATE}: {error}"));
            None
        }
    }
}

fn time(contents: &Contents, annotation: &str) -> Option<SystemTime> {
    let text = contents.annotations.get(annotation).filter(|text| text.len() <= TIME_LENGTH)?;
    humantime::parse_rfc3339(text).ok()
}

impl State {
    /// Writes it over what is there; what is not ours stays.
    pub fn write(&self, contents: &mut Contents) {
        let previous = self.previous.pem();
        let next = self.next.as_ref();
        for (key, value) in [
            (CERTIFICATE, Some(self.signing.ca_pem())),
            (KEY, Some(self.signing.key_pem())),
            (NEXT_CERTIFICATE, next.map(|next| next.authority.ca_pem())),
            (NEXT_KEY, next.map(|next| next.authority.key_pem())),
            (PREVIOUS, Some(previous).filter(|previous| !previous.is_empty())),
        ] {
            match value {
                Some(value) => drop(contents.data.insert(key.to_owned(), value.into_bytes())),
                None => drop(contents.data.remove(key)),
            }
        }
        let written = |time: SystemTime| humantime::format_rfc3339_seconds(time).to_string();
        let request = contents.annotations.get(ROTATE).cloned().filter(|_| self.is_requested);
        for (name, value) in [
            (GENERATED, Some(fingerprint(self.signing.certificate()))),
            (NEXT_PUBLISHED, next.and_then(|next| next.published).map(written)),
            (SIGNS_FROM, self.from.map(written)),
            (ROTATE, request),
        ] {
            match value {
                Some(value) => drop(contents.annotations.insert(name.to_owned(), value)),
                None => drop(contents.annotations.remove(name)),
            }
        }
    }

    /// Every certificate to trust, the signer's first.
    #[must_use]
    pub fn bundle(&self) -> Bundle {
        let next = self.next.iter().map(|next| next.authority.certificate());
        let all = [self.signing.certificate()].into_iter().chain(next).chain(self.previous.certificates());
        all.collect()
    }

    /// Who signs serving certificates.
    #[must_use]
    pub fn signer(&self) -> Signer {
        Signer {
            authority: Arc::clone(&self.signing),
            from: self.from.unwrap_or(SystemTime::UNIX_EPOCH),
            trusted: self.bundle().certificates().to_vec(),
        }
    }

    /// When it is time for the next one: at two thirds of the life of a certificate that we made.
    #[must_use]
    pub fn renew(&self) -> SystemTime {
        let valid = self.signing.valid();
        let made = valid.start + BACKDATE;
        made + valid.end.duration_since(made).unwrap_or(Duration::ZERO) * 2 / 3
    }
}

#[cfg(test)]
mod tests;
