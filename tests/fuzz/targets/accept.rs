//! `Accept` headers. The first byte chooses: a text as it is, or clauses built from a model, for which a second, naive
//! reading says what must win.
#![no_main]

use kubevitals_aggregator::api::negotiate::{Offer, Transform, negotiate};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

type Representation = (usize, bool);

const TABLE: Transform = Transform { kind: "Table", group: "meta.k8s.io", version: "v1" };
const TYPES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// Every type as it is, and a table in the two that have one.
fn offers() -> [Offer<Representation>; 5] {
    let offer = |at: usize, transform| Offer {
        media_type: TYPES[at],
        transform,
        representation: (at, transform.is_some()),
    };
    [offer(0, None), offer(1, None), offer(2, None), offer(0, Some(TABLE)), offer(1, Some(TABLE))]
}

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else {
        return;
    };
    match (form % 2, std::str::from_utf8(rest)) {
        (0, Ok(text)) => accept(text),
        (1, _) => built(&mut Choices::new(rest)),
        _ => {}
    }
});

fn accept(text: &str) {
    let all = offers();
    for offers in [all.as_slice(), &all[..1]] {
        match negotiate(Some(text), offers) {
            Ok(chosen) => {
                let (at, table) = chosen.representation;
                assert!(offers.iter().any(|offer| offer.representation == (at, table)));
                // Blanks around the slash are allowed, as the Go server has it.
                let named = text.replace(char::is_whitespace, "").contains(TYPES[at]);
                assert!(text.is_empty() || text.contains('*') || named, "never asked for");
                assert!(!table || text.contains("Table"));
                assert!(!chosen.pretty || text.contains("pretty"));
                // A clause that nothing fits changes nothing.
                let more = format!("{text},text/html");
                if !text.is_empty() {
                    let again = negotiate(Some(&more), offers).expect("still acceptable");
                    assert_eq!(again, chosen);
                }
            }
            Err(_) => assert!(!text.is_empty()),
        }
    }
}

/// What a clause names: an offered type, anything, or something else.
const NAMED: [(&str, Option<usize>); 6] = [
    (TYPES[0], Some(0)),
    (TYPES[1], Some(1)),
    (TYPES[2], Some(2)),
    ("*/*", None),
    ("text/html", Some(9)),
    ("application/cbor", Some(9)),
];
const QUALITIES: [(&str, u8); 6] =
    [("", 10), (";q=0", 0), (";q=0.1", 1), (";q=0.5", 5), (";q=0.9", 9), (";q=1", 10)];
/// Whether a table is asked for; None when it is one that nobody makes.
const TRANSFORMS: [(&str, Option<bool>); 5] = [
    ("", Some(false)),
    (";foo=bar", Some(false)),
    (";as=Table;v=v1;g=meta.k8s.io", Some(true)),
    (";g=meta.k8s.io;as=Table;v=v1", Some(true)),
    (";as=Table;v=v7;g=meta.k8s.io", None),
];

fn built(choices: &mut Choices<'_>) {
    let clauses: Vec<_> = (0..=choices.below(5))
        .map(|_| {
            let named = NAMED[choices.below(NAMED.len())];
            let quality = QUALITIES[choices.below(QUALITIES.len())];
            let transform = TRANSFORMS[choices.below(TRANSFORMS.len())];
            (named, quality, transform)
        })
        .collect();
    let texts: Vec<String> = clauses
        .iter()
        .map(|((name, _), (quality, _), (transform, _))| match choices.below(2) {
            0 => format!("{name}{transform}{quality}"),
            _ => format!(" {name}{quality}{transform}"),
        })
        .collect();
    let text = texts.join(",");
    let mut tried: Vec<_> = clauses
        .iter()
        .filter_map(|&((_, at), (_, quality), (_, table))| Some((quality, at, table?)))
        .collect();
    tried.sort_by_key(|&(quality, at, _)| (10 - quality, at.is_none()));
    let fits = |at: Option<usize>, table: bool| {
        let types = at.map_or(0..TYPES.len(), |at| at..at + 1);
        types.into_iter().find(|&at| at < TYPES.len() && (!table || at < 2)).map(|at| (at, table))
    };
    let expected = tried.into_iter().find_map(|(_, at, table)| fits(at, table));
    let found = negotiate(Some(&text), &offers()).ok().map(|chosen| chosen.representation);
    assert_eq!(found, expected, "{text:?}");
}
