//! Compression: whether a client takes it, of a whole body, and of one that comes in pieces.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use http::{HeaderMap, header::ACCEPT_ENCODING};

/// A whole document, compressed once and sent often.
#[must_use]
pub fn whole(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    let written = encoder.write_all(plain).and_then(|()| encoder.finish());
    written.expect("writing to memory does not fail")
}

/// A gzip stream.
#[derive(Debug)]
pub struct Gzip(Option<GzEncoder<Vec<u8>>>);

impl Default for Gzip {
    /// Level 1, as Kubernetes' own servers: most of the gain for a fraction of the work.
    fn default() -> Self {
        Self(Some(GzEncoder::new(Vec::new(), Compression::fast())))
    }
}

impl Gzip {
    /// Takes a piece and gives what is ready, which may be nothing until the last one.
    #[must_use]
    pub fn compress(&mut self, piece: &[u8], is_last: bool) -> Vec<u8> {
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
pub fn is_accepted(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|element| {
        let (coding, quality) = element.split_once(';').unwrap_or((element, ""));
        let quality = quality.trim().strip_prefix("q=").map_or(Ok(1.0), str::parse::<f32>);
        coding.trim().eq_ignore_ascii_case("gzip") && quality.is_ok_and(|quality| quality > 0.0)
    })
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::GzDecoder;
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pieces_together_are_one_gzip_stream() {
        let pieces: Vec<Vec<u8>> = (0..50_u8).map(|n| vec![n; 10_000]).collect();
        let (mut gzip, mut packed) = (Gzip::default(), Vec::new());
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
        let accepts = |value: &'static str| {
            is_accepted(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]))
        };
        for value in ["gzip", "gzip, deflate", "br, GZIP", "gzip;q=0.5", "identity;q=1, gzip ; q=0.1"] {
            assert!(accepts(value), "{value}");
        }
        for value in ["", "br", "deflate", "gzip;q=0", "gzip;q=x", "x-gzip", "*", "identity"] {
            assert!(!accepts(value), "{value}");
        }
    }
}
