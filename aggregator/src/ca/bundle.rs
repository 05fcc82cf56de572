//! The certificates that clients are told to trust, as one text.

use rustls_pki_types::{CertificateDer, pem::PemObject as _};

use crate::tls::authority::certificate_pem;

/// Most certificates in a bundle. A rotation needs two or three; a few more are somebody else's.
pub const MOST: usize = 32;

/// Why a text is no bundle.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// No certificate in it.
    #[error("there is no certificate")]
    Empty,
    /// Something in it is no PEM.
    #[error("not pem: {0}")]
    Pem(String),
    /// A certificate that cannot be read, which would make an API server refuse the whole.
    #[error("certificate {0} cannot be read")]
    Certificate(usize),
    /// More than anybody needs.
    #[error("more than {MOST} certificates")]
    TooMany,
}

/// Certificates in order, each once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bundle(Vec<CertificateDer<'static>>);

impl Bundle {
    /// Reads PEM, whole or not at all.
    pub fn parse(pem: &[u8]) -> Result<Self, BundleError> {
        let mut bundle = Self::default();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| BundleError::Pem(error.to_string()))?;
            let count = bundle.0.len() + 1;
            if count > MOST {
                return Err(BundleError::TooMany);
            }
            if x509_parser::parse_x509_certificate(&certificate).is_err() {
                return Err(BundleError::Certificate(count));
            }
            bundle.add(&certificate);
        }
        if bundle.0.is_empty() { Err(BundleError::Empty) } else { Ok(bundle) }
    }

    /// Adds one at the end, unless it is there.
    pub fn add(&mut self, certificate: &CertificateDer<'_>) {
        if !self.contains(certificate) {
            self.0.push(certificate.clone().into_owned());
        }
    }

    /// Whether a certificate is among them.
    #[must_use]
    pub fn contains(&self, certificate: &CertificateDer<'_>) -> bool {
        self.0.iter().any(|held| held == certificate)
    }

    /// Whether both hold the same, in any order.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        self.0.len() == other.0.len() && self.0.iter().all(|certificate| other.contains(certificate))
    }

    /// The certificates.
    #[must_use]
    pub fn certificates(&self) -> &[CertificateDer<'static>] {
        &self.0
    }

    /// As PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.0.iter().map(|certificate| certificate_pem(certificate)).collect()
    }
}

impl<'a> FromIterator<&'a CertificateDer<'a>> for Bundle {
    fn from_iter<T: IntoIterator<Item = &'a CertificateDer<'a>>>(certificates: T) -> Self {
        let mut bundle = Self::default();
        certificates.into_iter().for_each(|certificate| bundle.add(certificate));
        bundle
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tls::Authority;

    fn two() -> [String; 2] {
        [(); 2].map(|()| Authority::generate().unwrap().ca_pem())
    }

    #[test]
    fn a_bundle_reads_what_it_wrote_in_any_order_and_each_once() {
        let [one, other] = two();
        let bundle = Bundle::parse(format!("# ours\n{one}\n{other}{one}").as_bytes()).unwrap();
        assert_eq!(bundle.pem(), format!("{one}{other}"));
        let turned = Bundle::parse(format!("{other}{one}").as_bytes()).unwrap();
        assert!(bundle.same_as(&turned) && turned.same_as(&bundle));
        assert!(!bundle.same_as(&Bundle::parse(one.as_bytes()).unwrap()));
    }

    #[test]
    fn what_an_api_server_would_refuse_is_no_bundle() {
        let [one, _] = two();
        assert_eq!(Bundle::parse(b"nothing"), Err(BundleError::Empty));
        let garbage = format!("{one}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
        assert_eq!(Bundle::parse(garbage.as_bytes()), Err(BundleError::Certificate(2)));
        assert_eq!(Bundle::parse(one.repeat(MOST + 1).as_bytes()).unwrap().certificates().len(), 1);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Bundle::parse(&bytes);
            let framed = [b"-----BEGIN CERTIFICATE-----\n".as_slice(), &bytes, b"\n-----END CERTIFICATE-----\n"].concat();
            let _ = Bundle::parse(&framed);
        }
    }
}
