use proptest::prelude::*;

use super::*;

/// Four objects: `east` and `west` have zones, `bare` has no labels, `ranked` has numbers.
fn matching(selector: &str) -> Vec<&'static str> {
    let objects = [
        ("east", Labels::from_iter([("zone", "a"), ("app", "web"), ("empty", "")])),
        ("west", Labels::from_iter([("zone", "b"), ("app", "db")])),
        ("bare", Labels::default()),
        ("ranked", Labels::from_iter([("rank", "10"), ("zone", "x")])),
    ];
    let selector = LabelSelector::parse(selector).unwrap();
    objects.iter().filter(|(_, labels)| selector.matches(labels)).map(|&(name, _)| name).collect()
}

fn error(text: &str) -> String {
    LabelSelector::parse(text).unwrap_err().to_string()
}

#[test]
fn every_operator_selects_what_it_says() {
    let table: [(&str, &[&str]); 22] = [
        ("", &["east", "west", "bare", "ranked"]),
        (" \t", &["east", "west", "bare", "ranked"]),
        ("zone=a", &["east"]),
        ("zone==a", &["east"]),
        (" zone = a , app = web ", &["east"]),
        ("zone!=a", &["west", "bare", "ranked"]),
        ("zone in (a,b)", &["east", "west"]),
        ("zone in(a)", &["east"]),
        ("zone notin (a)", &["west", "bare", "ranked"]),
        ("zone", &["east", "west", "ranked"]),
        ("!zone", &["bare"]),
        ("! zone", &["bare"]),
        ("empty=", &["east"]),
        ("empty=,zone", &["east"]),
        ("empty in (a,)", &["east"]),
        ("empty in ()", &["east"]),
        ("empty in (,x,,y)", &["east"]),
        ("rank>9", &["ranked"]),
        ("rank>10", &[]),
        ("rank<11", &["ranked"]),
        ("zone>1", &[]),
        ("in=notin", &[]),
    ];
    for (selector, expected) in table {
        assert_eq!(matching(selector), expected, "{selector:?}");
    }
}

#[test]
fn in_and_notin_are_words_wherever_a_value_or_key_stands() {
    let labels = Labels::from_iter([("in", "notin")]);
    for text in ["in", "in=notin", "in in (notin,in)", "in notin (in)"] {
        assert!(LabelSelector::parse(text).unwrap().matches(&labels), "{text}");
    }
}

#[test]
fn a_bad_selector_is_named_as_kubernetes_names_it() {
    assert_eq!(error(","), "found ',', expected: !, identifier, or 'end of string'");
    assert_eq!(error("=b"), "found '=', expected: !, identifier, or 'end of string'");
    assert_eq!(error("a=b=c"), "found '=', expected: ',' or 'end of string'");
    assert_eq!(error("a=b c"), "found 'c', expected: ',' or 'end of string'");
    assert_eq!(error("a=b,,c=d"), "found ',', expected: identifier after ','");
    assert_eq!(error("a,"), "found '', expected: identifier after ','");
    assert_eq!(error("zone in a"), "unable to parse requirement: found 'a' expected: '('");
    assert_eq!(error("zone in (a"), "unable to parse requirement: found '', expected: ',' or ')'");
    assert_eq!(
        error("zone in (=)"),
        "unable to parse requirement: found '=', expected: ',', ')' or identifier"
    );
    assert_eq!(
        error("a b"),
        "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"
    );
    assert_eq!(error("!"), "unable to parse requirement: found '', expected: identifier");
    assert_eq!(
        error("a>x"),
        "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, \
         the value must be an integer"
    );
    assert_eq!(error("!a=b"), "found '=', expected: ',' or 'end of string'");
}

#[test]
fn keys_and_values_that_no_label_can_have_are_refused() {
    let long = "x".repeat(64);
    for text in
        [&long, &format!("a={long}"), "foo/bar/baz", "/x", "x/", "A/b", "-a", "a=-b", "a=ü", "a in (b,c_)"]
    {
        assert!(LabelSelector::parse(text).is_err(), "{text}");
    }
    assert!(error("/x").contains("prefix part must be non-empty"));
    assert!(error(&format!("a={long}")).contains("must be no more than 63 bytes"));
    assert!(LabelSelector::parse(&format!("example.com/{}", "x".repeat(63))).is_ok());
}

fn value() -> impl Strategy<Value = String> {
    "([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?|in|notin"
}

fn requirement() -> impl Strategy<Value = Requirement> {
    let values = || {
        prop::collection::btree_set(value(), 1..4).prop_map(|values| values.into_iter().collect::<Vec<_>>())
    };
    let condition = prop_oneof![
        Just(Condition::Exists),
        Just(Condition::Absent),
        values().prop_map(Condition::In),
        values().prop_map(Condition::NotIn),
        (0..i64::MAX).prop_map(Condition::Greater),
        (0..i64::MAX).prop_map(Condition::Less),
    ];
    ("([a-z][a-z0-9]{0,4}(\\.[a-z]{1,4})?/)?[a-zA-Z0-9]{1,8}|in|notin", condition)
        .prop_map(|(key, condition)| Requirement { key, condition })
}

proptest! {
    #[test]
    fn a_printed_selector_parses_to_itself(mut requirements in prop::collection::vec(requirement(), 0..4)) {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        let selector = LabelSelector(requirements);
        prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,40}|[a-c/=!,()<> \\x00]{0,24}") {
        if let Ok(selector) = LabelSelector::parse(&text) {
            prop_assert_eq!(LabelSelector::parse(&selector.to_string()), Ok(selector));
        }
    }
}
