//! The body of an answer to a page: unpacked and read as it arrives, never held.

use std::io::{self, Write as _};

use flate2::write::GzDecoder;

use super::{fault::PollError, gather::Page, page::Lines};

/// Largest page, unpacked: forty times that of a node with 250 pods.
const MAX_BYTES: usize = 16 << 20;

/// Reads what is written to it.
#[derive(Debug)]
struct Reader {
    lines: Lines,
    page: Page,
    left: usize,
}

impl io::Write for Reader {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.left.checked_sub(bytes.len()).filter(|_| !self.page.has_too_many());
        // Nothing more is taken after that.
        self.left = left.unwrap_or(0);
        if left.is_none() {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let Self { lines, page, .. } = self;
        lines.feed(bytes, &mut |line| page.take(line));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An answer's body.
#[derive(Debug)]
pub struct Body(Form);

#[derive(Debug)]
enum Form {
    Plain(Box<Reader>),
    Gzip(Box<GzDecoder<Reader>>),
}

impl Body {
    /// A body that is packed by gzip or not at all.
    #[must_use]
    pub fn new(is_gzip: bool) -> Self {
        let reader = Reader { lines: Lines::default(), page: Page::default(), left: MAX_BYTES };
        let packed = |reader| Form::Gzip(Box::new(GzDecoder::new(reader)));
        Self(if is_gzip { packed(reader) } else { Form::Plain(Box::new(reader)) })
    }

    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), PollError> {
        let fed = match &mut self.0 {
            Form::Plain(reader) => reader.write_all(piece),
            Form::Gzip(decoder) => decoder.write_all(piece),
        };
        let page = match &self.0 {
            Form::Plain(reader) => &reader.page,
            Form::Gzip(decoder) => &decoder.get_ref().page,
        };
        if page.has_too_many() {
            return Err(PollError::TooManyContainers);
        }
        fed.map_err(|error| fault(&error))
    }

    /// The page, if all of it came.
    pub fn finish(self) -> Result<Page, PollError> {
        let Reader { lines, page, .. } = match self.0 {
            Form::Plain(reader) => *reader,
            Form::Gzip(decoder) => decoder.finish().map_err(|error| fault(&error))?,
        };
        lines.finish().map_err(|_| PollError::Unfinished)?;
        if page.has_too_many() {
            return Err(PollError::TooManyContainers);
        }
        if page.has_scrape_error() { Err(PollError::ScrapeError) } else { Ok(page) }
    }
}

fn fault(error: &io::Error) -> PollError {
    match error.kind() {
        io::ErrorKind::FileTooLarge => PollError::TooLarge(MAX_BYTES),
        _ => PollError::Broken(format!("gzip: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};
    use proptest::prelude::*;

    use super::*;

    fn packed(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    const PAGE: &[u8] = b"container_cpu_usage_seconds_total{container=\"c\",namespace=\"n\",pod=\"p\"} 1 5\n";

    proptest! {
        #[test]
        fn a_part_of_a_packed_page_is_no_page(cut in 0_usize..70) {
            let whole = packed(PAGE);
            let cut = cut.min(whole.len() - 1);
            let mut body = Body::new(true);
            let fed = body.feed(&whole[..cut]);
            prop_assert!(fed.and_then(|()| body.finish()).is_err());
        }
    }

    #[test]
    fn a_packed_page_reads_as_the_plain_one() {
        for (is_gzip, bytes) in [(false, PAGE.to_vec()), (true, packed(PAGE))] {
            let mut body = Body::new(is_gzip);
            bytes.chunks(7).for_each(|piece| body.feed(piece).unwrap());
            assert_eq!(body.finish().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_page_that_never_ends_is_given_up_at_its_limit() {
        let bomb = packed(&vec![b'\n'; MAX_BYTES + 1]);
        let mut body = Body::new(true);
        let fault = bomb.chunks(4096).find_map(|piece| body.feed(piece).err());
        // What is unpacked last is only handed on at the end.
        let fault = fault.or_else(|| body.finish().err());
        assert_eq!(fault, Some(PollError::TooLarge(MAX_BYTES)));
        let mut body = Body::new(false);
        let mut crowd = Vec::new();
        for n in 0..20_000 {
            let labels = format!("{{container=\"{n}\",namespace=\"n\",pod=\"p\"}}");
            writeln!(crowd, "container_start_time_seconds{labels} 1").unwrap();
        }
        assert_eq!(body.feed(&crowd).and_then(|()| body.finish()).err(), Some(PollError::TooManyContainers));
    }
}
