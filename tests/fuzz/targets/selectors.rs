//! Both selector grammars. The first byte chooses: a text as it is, or a selector built from a model and spelled in
//! one of the ways its grammar allows.
#![no_main]

use kubevitals_aggregator::api::{
    select::{Field, FieldSelector, LabelSelector},
    source::Labels,
};
use kubevitals_fuzz::Choices;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&form, rest)) = data.split_first() else {
        return;
    };
    match (form % 4, std::str::from_utf8(rest)) {
        (0, Ok(text)) => labels(text),
        (1, Ok(text)) => fields(text),
        (2, _) => built_labels(&mut Choices::new(rest)),
        (3, _) => built_fields(&mut Choices::new(rest)),
        _ => {}
    }
});

/// What a selector prints parses to the same selector, and matches the same objects.
fn labels(text: &str) {
    let Ok(selector) = LabelSelector::parse(text) else {
        return;
    };
    let printed = selector.to_string();
    let again = LabelSelector::parse(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again, selector, "{printed:?}");
    assert_eq!(again.to_string(), printed);
    let blank = format!(" \t{printed}\n ");
    assert_eq!(LabelSelector::parse(&blank).as_ref(), Ok(&selector), "blanks around it");
    let none = Labels::default();
    let some = Labels::from_iter([("a", "b"), ("app", "web"), ("rank", "3"), ("empty", "")]);
    let _ = selector.matches(&some);
    // Every requirement of "all must hold": adding one that holds changes nothing, one that fails makes all fail.
    if !printed.is_empty() {
        for labels in [&none, &some] {
            let with =
                |more: &str| LabelSelector::parse(&format!("{printed},{more}")).unwrap().matches(labels);
            assert_eq!(with("!kubevitals.io/none"), selector.matches(labels));
            assert!(!with("kubevitals.io/none"));
        }
    }
}

fn fields(text: &str) {
    let Ok(selector) = FieldSelector::parse(text, Field::OF_PODS) else {
        return;
    };
    let printed = selector.to_string();
    let again =
        FieldSelector::parse(&printed, Field::OF_PODS).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    // The terms were sorted as written; printed in their own form they may sort differently once.
    let printed_again = again.to_string();
    let last = FieldSelector::parse(&printed_again, Field::OF_PODS).unwrap();
    assert_eq!(last.to_string(), printed_again);
    for value in ["", "a", "web-1", "a,b", "=", "\\"] {
        for values in [[value, "", ""], ["", value, "n"], [value, value, value], ["x", "default", value]] {
            let of = |field: Field| of_object(field, values);
            assert_eq!(again.matches(of), selector.matches(of), "{printed:?}");
        }
    }
    match FieldSelector::parse(text, Field::OF_NODES) {
        Ok(of_nodes) => assert_eq!(of_nodes, selector),
        Err(_) => assert!(printed.contains(Field::NodeName.path())),
    }
}

fn of_object(field: Field, [name, namespace, node]: [&str; 3]) -> &str {
    match field {
        Field::Name => name,
        Field::Namespace => namespace,
        Field::NodeName => node,
    }
}

/// Some of them are words of the grammar.
const KEYS: [&str; 6] = ["a", "in", "example.com/app", "notin", "a.b-c_d", "0"];
const VALUES: [&str; 8] = ["", "a", "in", "notin", "3", "-5", "web-1", "0012"];
const BLANKS: [&str; 3] = ["", " ", "\t \n"];

/// A requirement: its spelling, and whether a label of this value (or none) fulfils it.
struct Requirement {
    key: &'static str,
    text: String,
    holds: Box<dyn Fn(Option<&str>) -> bool>,
}

fn requirement(choices: &mut Choices<'_>) -> Requirement {
    let key = KEYS[choices.below(KEYS.len())];
    let value = VALUES[choices.below(VALUES.len())];
    let among: Vec<&str> = (0..choices.below(4)).map(|_| VALUES[choices.below(VALUES.len())]).collect();
    let mut blank = || BLANKS[choices.below(BLANKS.len())];
    let (b, c, d, e) = (blank(), blank(), blank(), blank());
    let set = format!("({d}{}{e})", among.join(&format!("{d},{e}")));
    let among = if among.is_empty() { vec![""] } else { among };
    let bound: i64 = if choices.flag() { 3 } else { -5 };
    let equal = move |held: Option<&str>| held == Some(value);
    let one_of = move |held: Option<&str>| held.is_some_and(|held| among.contains(&held));
    let number = |held: Option<&str>| held.and_then(|held| held.parse::<i64>().ok());
    let (text, holds): (String, Box<dyn Fn(Option<&str>) -> bool>) = match choices.below(9) {
        0 => (format!("{b}{key}{c}"), Box::new(|held| held.is_some())),
        1 => (format!("{b}!{c}{key}{d}"), Box::new(|held| held.is_none())),
        2 => (format!("{b}{key}{c}={d}{value}{e}"), Box::new(equal)),
        3 => (format!("{b}{key}{c}=={d}{value}{e}"), Box::new(equal)),
        4 => (format!("{b}{key}{c}!={d}{value}{e}"), Box::new(move |held| !equal(held))),
        5 => (format!("{b}{key} {c}in{d}{set}{e}"), Box::new(one_of)),
        6 => (format!("{b}{key} {c}notin{d}{set}{e}"), Box::new(move |held| !one_of(held))),
        7 => (
            format!("{b}{key}{c}>{d}{bound}{e}"),
            Box::new(move |held| number(held).is_some_and(|n| n > bound)),
        ),
        _ => (
            format!("{b}{key}{c}<{d}{bound}{e}"),
            Box::new(move |held| number(held).is_some_and(|n| n < bound)),
        ),
    };
    Requirement { key, text, holds }
}

/// However it is spelled, a selector means what was put in.
fn built_labels(choices: &mut Choices<'_>) {
    let requirements: Vec<_> = (0..=choices.below(4)).map(|_| requirement(choices)).collect();
    let texts: Vec<&str> = requirements.iter().map(|requirement| requirement.text.as_str()).collect();
    let text = texts.join(",");
    // A sign and a leading dash are no label value; as a bound they are.
    let selector = match LabelSelector::parse(&text) {
        Ok(selector) => selector,
        Err(error) => return assert!(text.contains("-5"), "{text:?}: {error}"),
    };
    let held: Vec<(&str, &str)> = (0..choices.below(5))
        .map(|_| (KEYS[choices.below(KEYS.len())], VALUES[choices.below(VALUES.len())]))
        .collect();
    let labels = Labels::from_iter(held);
    let expected = requirements.iter().all(|requirement| (requirement.holds)(labels.get(requirement.key)));
    assert_eq!(selector.matches(&labels), expected, "{text:?} on {labels:?}");
}

const NAMES: [&str; 7] = ["", "a", "web-1", "a,b", "x=y", "\\", " n "];

/// However it is spelled, a field selector means what was put in.
fn built_fields(choices: &mut Choices<'_>) {
    let terms: Vec<(Field, bool, &str)> = (0..choices.below(5))
        .map(|_| (Field::OF_PODS[choices.below(3)], choices.flag(), NAMES[choices.below(NAMES.len())]))
        .collect();
    let spelled = |choices: &mut Choices<'_>, (field, equal, value): &(Field, bool, &str)| {
        let operator = if !equal { "!=" } else { ["=", "=="][choices.below(2)] };
        let escaped = value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=");
        format!("{}{operator}{escaped}{}", field.path(), ["", ",", ",="][choices.below(3)])
    };
    let texts: Vec<String> = terms.iter().map(|term| spelled(choices, term)).collect();
    let text = texts.join(",");
    let selector =
        FieldSelector::parse(&text, Field::OF_PODS).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let values = [(); 3].map(|()| NAMES[choices.below(NAMES.len())]);
    let expected = terms.iter().all(|(field, equal, value)| (of_object(*field, values) == *value) == *equal);
    assert_eq!(selector.matches(|field| of_object(field, values)), expected, "{text:?} on {values:?}");
}
