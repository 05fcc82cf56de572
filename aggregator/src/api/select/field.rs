//! Field selectors: `metadata.name=web-1,metadata.namespace!=default`.
//!
//! Beyond what other metrics servers know, pods can be selected by `spec.nodeName`.

use std::fmt;

use super::SelectorError;

/// A field that can be selected on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// `metadata.name`.
    Name,
    /// `metadata.namespace`; a node's is empty.
    Namespace,
    /// `spec.nodeName`, of pods only.
    NodeName,
}

impl Field {
    /// What nodes can be selected by.
    pub const OF_NODES: &'static [Self] = &[Self::Name, Self::Namespace];
    /// What pods can be selected by.
    pub const OF_PODS: &'static [Self] = &[Self::Name, Self::Namespace, Self::NodeName];

    /// The path as clients spell it.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Name => "metadata.name",
            Self::Namespace => "metadata.namespace",
            Self::NodeName => "spec.nodeName",
        }
    }
}

/// All terms must hold; none means everything matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector(Vec<Term>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: Field,
    equal: bool,
    value: String,
}

impl FieldSelector {
    /// Reads a selector over the fields in `known`; empty terms are skipped.
    pub fn parse(text: &str, known: &[Field]) -> Result<Self, SelectorError> {
        let mut parts = split_unescaped(text);
        // The error is about the smallest faulty term, not about the first.
        parts.sort_unstable();
        let mut terms = Vec::new();
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            let (path, equal, value) = split_term(part).ok_or_else(|| {
                SelectorError(format!("invalid selector: '{text}'; can't understand '{part}'"))
            })?;
            let value = unescape(value)?;
            // `=` alone says nothing.
            if path.is_empty() && value.is_empty() {
                continue;
            }
            terms.push(Term { field: find(path, known)?, equal, value });
        }
        Ok(Self(terms))
    }

    /// Each of the fields must have its value.
    pub fn all_of<'a>(terms: impl IntoIterator<Item = (Field, &'a str)>) -> Self {
        let term = |(field, value): (Field, &str)| Term { field, equal: true, value: value.to_owned() };
        Self(terms.into_iter().map(term).collect())
    }

    /// Every term as it is told to others: the field, whether it must be equal, and the value.
    pub fn terms(&self) -> impl Iterator<Item = (Field, bool, &str)> {
        self.0.iter().map(|term| (term.field, term.equal, term.value.as_str()))
    }

    /// The one value that a field must have, if a term says so.
    #[must_use]
    pub fn required(&self, field: Field) -> Option<&str> {
        self.0.iter().find(|term| term.field == field && term.equal).map(|term| term.value.as_str())
    }

    /// Whether every term holds for an object whose fields `value_of` tells.
    #[must_use]
    pub fn matches<'a>(&self, value_of: impl Fn(Field) -> &'a str) -> bool {
        self.0.iter().all(|term| (value_of(term.field) == term.value) == term.equal)
    }
}

impl fmt::Display for FieldSelector {
    /// A text that parses to the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, term) in self.0.iter().enumerate() {
            let separator = if position > 0 { "," } else { "" };
            let operator = if term.equal { "=" } else { "!=" };
            write!(f, "{separator}{}{operator}", term.field.path())?;
            for c in term.value.chars() {
                if matches!(c, '\\' | ',' | '=') {
                    f.write_str("\\")?;
                }
                write!(f, "{c}")?;
            }
        }
        Ok(())
    }
}

fn find(path: &str, known: &[Field]) -> Result<Field, SelectorError> {
    known.iter().copied().find(|field| field.path() == path).ok_or_else(|| {
        let names: Vec<String> = known.iter().map(|field| format!("{:?}", field.path())).collect();
        SelectorError(format!("{path:?} is not a known field selector: only {}", names.join(", ")))
    })
}

/// The terms between commas that no backslash escapes.
fn split_unescaped(text: &str) -> Vec<&str> {
    let mut escaped = false;
    text.split(|c| {
        let separates = c == ',' && !escaped;
        escaped = c == '\\' && !escaped;
        separates
    })
    .collect()
}

/// Path, whether equality is asked, and the value as written. The first operator counts.
fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    let at = [term.find("!="), term.find('=')].into_iter().flatten().min()?;
    let (path, rest) = term.split_at(at);
    for (operator, equal) in [("!=", false), ("==", true), ("=", true)] {
        if let Some(value) = rest.strip_prefix(operator) {
            return Some((path, equal, value));
        }
    }
    None
}

/// Undoes `\\`, `\,` and `\=`; any other backslash, and a bare `=`, is an error.
fn unescape(value: &str) -> Result<String, SelectorError> {
    let error = |what: String| SelectorError(format!("invalid field selector: {what}"));
    let mut plain = String::with_capacity(value.len());
    let mut characters = value.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => match characters.next() {
                Some(escaped @ ('\\' | ',' | '=')) => plain.push(escaped),
                Some(other) => return Err(error(format!("invalid escape sequence: \\{other}"))),
                None => return Err(error("invalid escape sequence: \\".to_owned())),
            },
            ',' | '=' => return Err(error(format!("unescaped character in value: {}", u32::from(c)))),
            other => plain.push(other),
        }
    }
    Ok(plain)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> FieldSelector {
        FieldSelector::parse(text, Field::OF_PODS).unwrap()
    }

    fn error(text: &str) -> String {
        FieldSelector::parse(text, Field::OF_NODES).unwrap_err().to_string()
    }

    fn web_1(field: Field) -> &'static str {
        match field {
            Field::Name => "web-1",
            Field::Namespace => "default",
            Field::NodeName => "n1",
        }
    }

    #[test]
    fn terms_compare_fields_and_all_must_hold() {
        let table = [
            ("", true),
            (",", true),
            ("=", true),
            ("metadata.name=web-1", true),
            ("metadata.name==web-1", true),
            ("metadata.name!=web-1", false),
            ("metadata.name=web-1,metadata.namespace=other", false),
            ("metadata.namespace=", false),
            ("spec.nodeName=n1,metadata.namespace!=other", true),
            ("metadata.name=a\\,b", false),
        ];
        for (text, expected) in table {
            assert_eq!(parse(text).matches(web_1), expected, "{text}");
        }
    }

    #[test]
    fn a_bad_selector_is_named_as_kubernetes_names_it() {
        assert_eq!(
            error("status.phase=Running"),
            "\"status.phase\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
        );
        assert_eq!(
            error("metadata.name"),
            "invalid selector: 'metadata.name'; can't understand 'metadata.name'"
        );
        assert_eq!(error("a in (b)"), "invalid selector: 'a in (b)'; can't understand 'a in (b)'");
        assert_eq!(error("metadata.name=a\\b"), "invalid field selector: invalid escape sequence: \\b");
        assert_eq!(error("metadata.name=a\\"), "invalid field selector: invalid escape sequence: \\");
        assert_eq!(error("metadata.name=a=b"), "invalid field selector: unescaped character in value: 61");
        assert_eq!(error("a!b"), "invalid selector: 'a!b'; can't understand 'a!b'");
        assert!(error("spec.nodeName=n1").starts_with("\"spec.nodeName\" is not a known"));
        assert!(error("a!b=c").starts_with("\"a!b\" is not a known"));
    }

    fn term() -> impl Strategy<Value = Term> {
        let field = prop::sample::select(Field::OF_PODS);
        (field, any::<bool>(), "[a-z,=\\\\! é-]{0,12}").prop_map(|(field, equal, value)| Term {
            field,
            equal,
            value,
        })
    }

    proptest! {
        #[test]
        fn a_printed_selector_parses_to_the_same_terms(terms in prop::collection::vec(term(), 0..4)) {
            let selector = FieldSelector(terms);
            let mut again = parse(&selector.to_string());
            let mut first = selector;
            let order = |a: &Term, b: &Term| (a.field, a.equal, &a.value).cmp(&(b.field, b.equal, &b.value));
            first.0.sort_by(order);
            again.0.sort_by(order);
            prop_assert_eq!(again, first);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,40}|[a=!,\\\\.]{0,16}|metadata.name[=!,\\\\a]{0,12}") {
            if let Ok(selector) = FieldSelector::parse(&text, Field::OF_PODS) {
                prop_assert!(selector.0.is_empty() || !selector.to_string().is_empty());
            }
        }
    }
}
