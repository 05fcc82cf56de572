//! A kubelet's page: whatever comes is read to its end, in whatever pieces it comes, and what is taken of it is whole.
//! The first byte says how long the pieces are.
#![no_main]

use kubevitals::sample::WallTime;
use kubevitals_aggregator::kubelet::{
    gather::{Page, Refused},
    page::Lines,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&length, text)) = data.split_first() else {
        return;
    };
    let whole = read(text.chunks(text.len().max(1)));
    assert_eq!(whole, read(text.chunks(usize::from(length) + 1)));
});

/// Whether the page is finished, what was refused, and what its containers and its node were read to use.
type Read = (bool, Refused, Vec<(String, String)>, Option<String>);

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Read {
    let (mut lines, mut page) = (Lines::default(), Page::default());
    for piece in pieces {
        lines.feed(piece, &mut |line| page.take(line));
    }
    let now = WallTime(1);
    let containers: Vec<_> = page
        .containers(now)
        .map(|(whose, reading)| {
            let names = [whose.namespace, whose.pod, whose.container];
            assert!(names.iter().all(|name| !name.is_empty() && !name.contains('/')), "{names:?}");
            (names.join("/"), format!("{reading:?}"))
        })
        .collect();
    let mut names: Vec<&str> = containers.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), containers.len(), "each container once");
    let node = page.node(now).map(|reading| format!("{reading:?}"));
    (lines.finish().is_ok(), page.refused(), containers, node)
}
