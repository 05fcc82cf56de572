//! Compression of a body that comes in pieces.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};

/// A gzip stream.
#[derive(Debug)]
pub(super) struct Gzip(Option<GzEncoder<Vec<u8>>>);

impl Gzip {
    /// Level 1, as Kubernetes' own servers: most of the gain for a fraction of the work.
    pub(super) fn new() -> Self {
        Self(Some(GzEncoder::new(Vec::new(), Compression::fast())))
    }

    /// Takes a piece and gives what is ready, which may be nothing until the last one.
    pub(super) fn compress(&mut self, piece: &[u8], is_last: bool) -> Vec<u8> {
        let Some(mut encoder) = self.0.take() else { return Vec::new() };
        // Writing into a vector cannot fail.
        let _written = encoder.write_all(piece);
        if is_last {
            return encoder.finish().unwrap_or_default();
        }
        let ready = std::mem::take(encoder.get_mut());
        self.0 = Some(encoder);
        ready
    }
}

/// Whether a client takes gzip: one element of `Accept-Encoding` is `gzip`, with a quality above zero if it has one.
/// Kubernetes' own servers ignore elements with a quality; to honour them is what RFC 9110 says.
#[must_use]
pub(in crate::api) fn accepts_gzip(accept_encoding: &str) -> bool {
    accept_encoding.split(',').any(|element| {
        let mut parts = element.split(';').map(str::trim);
        let is_gzip = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case("gzip"));
        is_gzip
            && parts
                .filter_map(|part| part.strip_prefix("q="))
                .all(|quality| quality.parse::<f32>().is_ok_and(|quality| quality > 0.0))
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;

    use super::*;

    #[test]
    fn pieces_together_are_one_gzip_stream() {
        let pieces: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; 10_000]).collect();
        let (mut gzip, mut packed) = (Gzip::new(), Vec::new());
        for piece in &pieces {
            packed.extend(gzip.compress(piece, false));
        }
        packed.extend(gzip.compress(b"end", true));
        assert!(gzip.compress(b"more", true).is_empty(), "nothing follows the end");
        let mut plain = Vec::new();
        GzDecoder::new(packed.as_slice()).read_to_end(&mut plain).unwrap();
        assert_eq!(plain, [pieces.concat(), b"end".to_vec()].concat());
        assert!(packed.len() < plain.len() / 50);
    }

    #[test]
    fn c054_a_quality_is_honoured_where_go_ignores_the_element() {
        for accepted in
            ["gzip", "gzip, deflate", "br,gzip", "GZIP", "gzip;q=0.5", "identity;q=1, gzip ; q=0.1"]
        {
            assert!(accepts_gzip(accepted), "{accepted}");
        }
        for refused in ["", "br", "deflate", "gzip;q=0", "gzip;q=x", "xgzip", "*", "identity"] {
            assert!(!accepts_gzip(refused), "{refused}");
        }
    }
}
