//! What others have published is kept beside ours for a while.
//!
//! A replica that is behind, one that runs with other flags during a rolling update, cert-manager's next authority: each may
//! have servers that show a certificate of it. What one adds no other takes away before the time is over, so that
//! replicas that do not agree yet neither fight nor cut anybody off.

use std::time::{Duration, Instant};

use rustls_pki_types::CertificateDer;

use super::bundle::Bundle;

/// Most foreign certificates that are kept; a bundle is read by every client at every connection.
const MOST: usize = 16;

/// Certificates that are not ours, and since when they are known.
#[derive(Debug, Default)]
pub struct Held(Vec<(CertificateDer<'static>, Instant)>);

impl Held {
    /// What to publish where `published` is at present: ours, and what was there before and is known for less than
    /// `keep`. Nothing is dropped while it is not known whether `ours` is the newest.
    pub fn merge(
        &mut self,
        ours: &Bundle,
        published: &Bundle,
        is_newest: bool,
        now: Instant,
        keep: Duration,
    ) -> Bundle {
        let strangers = published.certificates().iter().filter(|certificate| !ours.contains(certificate));
        let strangers: Vec<_> = strangers.take(MOST).cloned().collect();
        let since = |certificate: &CertificateDer<'static>| {
            let known = self.0.iter().find(|(held, _)| held == certificate);
            known.map_or(now, |(_, since)| *since)
        };
        self.0 =
            strangers.into_iter().map(|certificate| (certificate.clone(), since(&certificate))).collect();
        let kept = self.0.iter().filter(|(_, since)| !is_newest || now.duration_since(*since) < keep);
        let mut bundle = ours.clone();
        kept.for_each(|(certificate, _)| bundle.add(certificate));
        bundle
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::Authority;

    const KEEP: Duration = Duration::from_secs(600);

    fn certificate() -> CertificateDer<'static> {
        Authority::generate().unwrap().certificate().clone()
    }

    #[test]
    fn what_another_published_stays_for_a_while_and_then_goes() {
        let (ours, foreign) = (certificate(), certificate());
        let (alone, both): (Bundle, Bundle) =
            ([&ours].into_iter().collect(), [&foreign, &ours].into_iter().collect());
        let (mut held, begun) = (Held::default(), Instant::now());
        let mut merge =
            |published: &Bundle, is_newest, at| held.merge(&alone, published, is_newest, begun + at, KEEP);
        assert!(merge(&both, true, Duration::ZERO).same_as(&both));
        assert!(merge(&both, true, KEEP.mul_f64(0.99)).same_as(&both));
        assert!(merge(&both, false, KEEP).same_as(&both));
        assert!(merge(&both, true, KEEP).same_as(&alone));
        // Once it is gone it begins anew.
        assert!(merge(&alone, true, KEEP * 2).same_as(&alone));
        assert!(merge(&both, true, KEEP * 3).same_as(&both));
    }

    #[test]
    fn two_that_do_not_agree_publish_the_same() {
        let (one, other) = (certificate(), certificate());
        let ours: [Bundle; 2] = [&one, &other].map(|it| [it].into_iter().collect());
        let (mut held, now) = ([Held::default(), Held::default()], Instant::now());
        let mut published = Bundle::default();
        for (held, ours) in held.iter_mut().zip(&ours) {
            published = held.merge(ours, &published, true, now, KEEP);
        }
        for (held, ours) in held.iter_mut().zip(&ours) {
            assert!(held.merge(ours, &published, true, now, KEEP).same_as(&published));
        }
    }

    #[test]
    fn a_flood_of_strangers_is_bounded() {
        let strangers: Vec<_> = (0..MOST + 3).map(|_| certificate()).collect();
        let (ours, published): (Bundle, Bundle) =
            ([&certificate()].into_iter().collect(), strangers.iter().collect());
        let merged = Held::default().merge(&ours, &published, true, Instant::now(), KEEP);
        assert_eq!(merged.certificates().len(), MOST + 1);
    }
}
