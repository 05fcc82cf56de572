//! Label selectors: `app=web,tier in (a,b),!canary,rank>3`.
//!
//! Described in <https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors>.
//! What that page leaves open (blanks, empty values, `in` as a value) is as the API server's own parser has it.

use std::fmt;

use super::SelectorError;
use crate::api::source::Labels;

mod lexer;
mod name;

use lexer::{Token, Tokens};

/// All requirements must hold; none means everything matches. Sorted by key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct LabelSelector(Vec<Requirement>);

/// One requirement on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Requirement {
    key: String,
    condition: Condition,
}

/// What is asked of the label. The values are sorted and distinct, and never none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Condition {
    Exists,
    Absent,
    In(Vec<String>),
    /// Also true when the label is absent.
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

/// The operators that take a value, as the error text lists them.
const BINARY_OPERATORS: &str = "in, notin, =, ==, !=, gt, lt";

impl LabelSelector {
    /// Reads a selector; an empty or blank text matches everything.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = parse_requirements(&mut Tokens::new(text)).map_err(SelectorError)?;
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(Self(requirements))
    }

    /// Every requirement as it is told to others: key, operator and values. Comparisons of numbers have no such form
    /// and are left out, which says less than is asked.
    pub fn requirements(&self) -> impl Iterator<Item = (&str, &'static str, &[String])> {
        self.0.iter().filter_map(|requirement| {
            let (operator, values) = match &requirement.condition {
                Condition::Exists => ("Exists", &[][..]),
                Condition::Absent => ("DoesNotExist", &[][..]),
                Condition::In(values) => ("In", values.as_slice()),
                Condition::NotIn(values) => ("NotIn", values.as_slice()),
                Condition::Greater(_) | Condition::Less(_) => return None,
            };
            Some((requirement.key.as_str(), operator, values))
        })
    }

    /// The keys that must have one of some values, with those values.
    pub fn required_values(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = &str>)> {
        self.0.iter().filter_map(|requirement| match &requirement.condition {
            Condition::In(values) => Some((requirement.key.as_str(), values.iter().map(String::as_str))),
            _ => None,
        })
    }

    /// Whether every requirement holds.
    #[must_use]
    pub fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| requirement.condition.holds(labels.get(&requirement.key)))
    }
}

impl Condition {
    fn holds(&self, value: Option<&str>) -> bool {
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        let among = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::Exists => value.is_some(),
            Self::Absent => value.is_none(),
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Greater(bound) => number().is_some_and(|number| number > *bound),
            Self::Less(bound) => number().is_some_and(|number| number < *bound),
        }
    }
}

impl fmt::Display for LabelSelector {
    /// A text that parses to the same selector.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, requirement) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = &self.key;
        match &self.condition {
            Condition::Exists => f.write_str(key),
            Condition::Absent => write!(f, "!{key}"),
            Condition::In(values) => match values.as_slice() {
                [one] => write!(f, "{key}={one}"),
                many => write!(f, "{key} in ({})", many.join(",")),
            },
            Condition::NotIn(values) => match values.as_slice() {
                [one] => write!(f, "{key}!={one}"),
                many => write!(f, "{key} notin ({})", many.join(",")),
            },
            Condition::Greater(bound) => write!(f, "{key}>{bound}"),
            Condition::Less(bound) => write!(f, "{key}<{bound}"),
        }
    }
}

fn parse_requirements(tokens: &mut Tokens<'_>) -> Result<Vec<Requirement>, String> {
    let mut requirements = Vec::new();
    match tokens.peek() {
        Token::End => return Ok(requirements),
        Token::Word(_) | Token::Not => {}
        other => {
            return Err(format!("found '{other}', expected: !, identifier, or 'end of string'"));
        }
    }
    loop {
        let requirement =
            parse_requirement(tokens).map_err(|error| format!("unable to parse requirement: {error}"))?;
        requirements.push(requirement);
        match tokens.next() {
            Token::End => return Ok(requirements),
            Token::Comma => {}
            other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
        }
        match tokens.peek() {
            Token::Word(_) | Token::Not => {}
            other => return Err(format!("found '{other}', expected: identifier after ','")),
        }
    }
}

fn parse_requirement(tokens: &mut Tokens<'_>) -> Result<Requirement, String> {
    let (negated, token) = match tokens.next() {
        Token::Not => (true, tokens.next()),
        token => (false, token),
    };
    let Token::Word(key) = token else {
        return Err(format!("found '{token}', expected: identifier"));
    };
    name::check_key(key)?;
    let condition = if negated {
        Condition::Absent
    } else if matches!(tokens.peek(), Token::End | Token::Comma) {
        Condition::Exists
    } else {
        parse_condition(tokens, key)?
    };
    Ok(Requirement { key: key.to_owned(), condition })
}

fn parse_condition(tokens: &mut Tokens<'_>, key: &str) -> Result<Condition, String> {
    match tokens.next() {
        Token::Equals | Token::DoubleEquals => Ok(Condition::In(vec![parse_value(tokens, key)?])),
        Token::NotEquals => Ok(Condition::NotIn(vec![parse_value(tokens, key)?])),
        Token::Greater => parse_bound(tokens, key).map(Condition::Greater),
        Token::Less => parse_bound(tokens, key).map(Condition::Less),
        Token::Word("in") => parse_values(tokens, key).map(Condition::In),
        Token::Word("notin") => parse_values(tokens, key).map(Condition::NotIn),
        other => Err(format!("found '{other}', expected: {BINARY_OPERATORS}")),
    }
}

/// The one value after `=`, `==` or `!=`; nothing there means the empty value.
fn parse_value(tokens: &mut Tokens<'_>, key: &str) -> Result<String, String> {
    let value = parse_raw_value(tokens)?;
    name::check_value(key, 0, &value)?;
    Ok(value)
}

/// The integer after `>` or `<`.
fn parse_bound(tokens: &mut Tokens<'_>, key: &str) -> Result<i64, String> {
    let value = parse_raw_value(tokens)?;
    let bound = value.parse().map_err(|_| {
        format!("values[0]: Invalid value: {value:?}: for 'Gt', 'Lt' operators, the value must be an integer")
    })?;
    name::check_value(key, 0, &value)?;
    Ok(bound)
}

fn parse_raw_value(tokens: &mut Tokens<'_>) -> Result<String, String> {
    if matches!(tokens.peek(), Token::End | Token::Comma) {
        return Ok(String::new());
    }
    match tokens.next() {
        Token::Word(value) => Ok(value.to_owned()),
        other => Err(format!("found '{other}', expected: identifier")),
    }
}

/// `(a,b)`. Nothing between two separators is the empty value.
fn parse_values(tokens: &mut Tokens<'_>, key: &str) -> Result<Vec<String>, String> {
    match tokens.next() {
        Token::Open => {}
        other => return Err(format!("found '{other}' expected: '('")),
    }
    let mut values = Vec::new();
    loop {
        let value = match tokens.peek() {
            Token::Word(value) => {
                tokens.next();
                value.to_owned()
            }
            Token::Comma | Token::Close => String::new(),
            other if values.is_empty() => {
                return Err(format!("found '{other}', expected: ',', ')' or identifier"));
            }
            other => return Err(format!("found '{other}', expected: ',', or identifier")),
        };
        values.push(value);
        match tokens.next() {
            Token::Comma => {}
            Token::Close => break,
            other => return Err(format!("found '{other}', expected: ',' or ')'")),
        }
    }
    values.sort();
    values.dedup();
    for (position, value) in values.iter().enumerate() {
        name::check_value(key, position, value)?;
    }
    Ok(values)
}

#[cfg(test)]
mod tests;
