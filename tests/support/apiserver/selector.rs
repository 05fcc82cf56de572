//! Which objects a list or watch is about: field selectors on the fields that are used here, and label selectors
//! of equality, sets and existence.

use serde_json::Value;

/// All of its conditions hold for what is selected.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selector {
    pub(super) namespace: Option<String>,
    fields: Vec<Condition>,
    labels: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    key: String,
    test: Test,
}

#[derive(Debug, Clone)]
enum Test {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

/// Fields that pods can be selected by; other resources have the first two.
const FIELDS: [&str; 4] = ["metadata.name", "metadata.namespace", "spec.nodeName", "status.phase"];

impl Selector {
    pub(super) fn parse(
        namespace: Option<&str>,
        fields: Option<&str>,
        labels: Option<&str>,
    ) -> Result<Self, String> {
        let fields: Vec<Condition> =
            terms(fields.unwrap_or_default()).map(equality).collect::<Result<_, _>>()?;
        if let Some(unknown) = fields.iter().find(|condition| !FIELDS.contains(&condition.key.as_str())) {
            return Err(format!("field label not supported: {}", unknown.key));
        }
        let labels = terms(labels.unwrap_or_default()).map(requirement).collect::<Result<_, _>>()?;
        Ok(Self { namespace: namespace.map(ToOwned::to_owned), fields, labels })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let namespace = object["metadata"]["namespace"].as_str();
        let fields = self.fields.iter().all(|condition| {
            let path = condition.key.split('.');
            let value = path.fold(object, |value, part| &value[part]);
            // A field without a value is the empty text.
            condition.test.holds(Some(value.as_str().unwrap_or_default()))
        });
        let labels = self.labels.iter().all(|condition| {
            condition.test.holds(object["metadata"]["labels"][condition.key.as_str()].as_str())
        });
        let here = self.namespace.as_deref().is_none_or(|wanted| namespace == Some(wanted));
        here && fields && labels
    }

    /// The name, when only one can match.
    pub(super) fn name(&self) -> Option<&str> {
        self.fields.iter().find_map(|condition| match &condition.test {
            Test::In(names) if condition.key == "metadata.name" => names.first().map(String::as_str),
            _ => None,
        })
    }
}

impl Test {
    fn holds(&self, value: Option<&str>) -> bool {
        let is_one_of = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::In(values) => is_one_of(values),
            Self::NotIn(values) => !is_one_of(values),
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
        }
    }
}

/// The parts between commas that are not within brackets.
fn terms(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0;
    let parts = text.split(move |c| {
        depth += i32::from(c == '(') - i32::from(c == ')');
        c == ',' && depth == 0
    });
    parts.map(str::trim).filter(|term| !term.is_empty())
}

fn equality(term: &str) -> Result<Condition, String> {
    let (key, value, is_equal) = match (term.split_once("!="), term.split_once("==")) {
        (Some((key, value)), _) => (key, value, false),
        (None, Some((key, value))) => (key, value, true),
        (None, None) => {
            let (key, value) = term.split_once('=').ok_or_else(|| format!("invalid selector: {term:?}"))?;
            (key, value, true)
        }
    };
    let values = vec![value.trim().to_owned()];
    let test = if is_equal { Test::In(values) } else { Test::NotIn(values) };
    Ok(Condition { key: key.trim().to_owned(), test })
}

fn requirement(term: &str) -> Result<Condition, String> {
    if let Some((head, values)) = term.split_once('(') {
        let values: Vec<String> =
            values.trim_end_matches(')').split(',').map(|value| value.trim().to_owned()).collect();
        let (key, operator) =
            head.trim().split_once(' ').ok_or_else(|| format!("invalid selector: {term:?}"))?;
        let test = match operator.trim() {
            "in" => Test::In(values),
            "notin" => Test::NotIn(values),
            other => return Err(format!("invalid operator: {other:?}")),
        };
        return Ok(Condition { key: key.to_owned(), test });
    }
    match term.strip_prefix('!') {
        Some(key) => Ok(Condition { key: key.trim().to_owned(), test: Test::Absent }),
        None if term.contains('=') => equality(term),
        None => Ok(Condition { key: term.to_owned(), test: Test::Exists }),
    }
}
