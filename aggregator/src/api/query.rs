//! The query string: which parameters there are, what they mean, and which combinations are refused.
//!
//! Unknown parameters and malformed pairs are ignored, and the first of a repeated parameter counts, as the
//! Kubernetes API does it. The selectors themselves are read in [`super::select`].

use std::time::Duration;

use percent_encoding::percent_decode_str;

use super::{
    select::{Field, FieldSelector, LabelSelector},
    status::ApiError,
    time::parse_duration,
};

/// Longest time a request may take, and what it gets when it asks for none or for more.
pub const MAX_TIMEOUT: Duration = Duration::from_mins(1);

/// The parameters that somebody reads. Others are not kept: a request may hold tens of thousands.
const READ: [&str; 15] = [
    "continue",
    EXCLUDE,
    "fieldSelector",
    "hash",
    "includeObject",
    "labelSelector",
    "limit",
    "pretty",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeout",
    "timeoutSeconds",
    "verbose",
    "watch",
];

/// The one that may be repeated; of the others the first counts.
const EXCLUDE: &str = "exclude";

/// The decoded pairs of a query string.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Splits and decodes; pairs with a broken escape or a semicolon are left out.
    #[must_use]
    pub fn new(raw: Option<&str>) -> Self {
        let pairs = raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty() && !pair.contains(';'));
        let mut seen = [false; READ.len()];
        let kept = pairs.filter_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let key = decode(key)?;
            let (known, seen) = READ.into_iter().zip(&mut seen).find(|(known, _)| *known == key)?;
            if *seen && known != EXCLUDE {
                return None;
            }
            let value = decode(value)?;
            *seen = true;
            Some((known, value))
        });
        Self(kept.collect())
    }

    /// The first value of a parameter; `Some("")` when it stands there without one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(held, _)| *held == key).map(|(_, value)| value.as_str())
    }

    /// Every value of a parameter that may be repeated, as written.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(held, _)| *held == key).map(|(_, value)| value.as_str())
    }

    /// Whether the client asks for a watch: `watch` with anything but `false` or `0`.
    #[must_use]
    pub fn watch(&self) -> bool {
        self.get("watch").is_some_and(|value| !value.eq_ignore_ascii_case("false") && value != "0")
    }

    /// Whether JSON is to be indented, if the client says so.
    #[must_use]
    pub fn pretty(&self) -> Option<bool> {
        let text = self.get("pretty").filter(|text| !text.is_empty())?;
        Some(matches!(text, "1" | "t" | "T" | "true" | "True" | "TRUE"))
    }

    /// How long the request may take.
    pub fn timeout(&self) -> Result<Duration, ApiError> {
        let Some(text) = self.get("timeout").filter(|text| !text.is_empty()) else {
            return Ok(MAX_TIMEOUT);
        };
        let asked = parse_duration(text).map_err(|error| {
            ApiError::BadRequest(format!("invalid timeout specified in the request URL - {error}"))
        })?;
        Ok(asked.map_or(MAX_TIMEOUT, |asked| asked.min(MAX_TIMEOUT)))
    }

    /// Checks that a parameter that is ignored is at least a number, as others do.
    fn check_integer(&self, key: &str) -> Result<(), ApiError> {
        let Some(text) = self.get(key) else { return Ok(()) };
        let Err(error) = text.parse::<i64>() else {
            return Ok(());
        };
        let why = match error.kind() {
            std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        Err(ApiError::BadRequest(format!("strconv.ParseInt: parsing {text:?}: {why}")))
    }
}

/// `+` is a blank; a percent sign needs two hexadecimal digits.
fn decode(text: &str) -> Option<String> {
    let valid = text.split('%').skip(1).all(|after| {
        let digits = after.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    let spaced = text.replace('+', " ");
    valid.then(|| percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// What a list is asked to contain. Paging is ignored: a list is always complete, in one page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListOptions {
    /// `?labelSelector=`.
    pub labels: LabelSelector,
    /// `?fieldSelector=`.
    pub fields: FieldSelector,
}

/// An option that is refused in combination with others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOption {
    /// `resourceVersionMatch` alone.
    #[error("Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")]
    MatchWithoutVersion,
    /// `resourceVersionMatch` with `continue`.
    #[error("Forbidden: resourceVersionMatch is forbidden when continue is provided")]
    MatchWithContinue,
    /// A `resourceVersionMatch` that does not exist.
    #[error("Unsupported value: {0:?}: supported values: \"Exact\", \"NotOlderThan\", \"\"")]
    UnknownMatch(String),
    /// `resourceVersionMatch=Exact` with `resourceVersion=0`.
    #[error("Forbidden: resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")]
    ExactZero,
    /// `sendInitialEvents` belongs to a watch.
    #[error("Forbidden: sendInitialEvents is forbidden for list")]
    InitialEventsOnList,
}

impl InvalidOption {
    /// The parameter it is about.
    #[must_use]
    pub fn field(&self) -> &'static str {
        match self {
            Self::InitialEventsOnList => "sendInitialEvents",
            _ => "resourceVersionMatch",
        }
    }

    /// The word that clients branch on.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::UnknownMatch(_) => "FieldValueNotSupported",
            _ => "FieldValueForbidden",
        }
    }
}

impl ListOptions {
    /// Reads and checks the parameters of a list over objects that have the fields `known`.
    ///
    /// A watch skips the checks that only lists have; it is refused anyway, and clients that first try
    /// a watch with `sendInitialEvents` fall back to a list on that refusal.
    pub fn new(query: &Query, known: &[Field]) -> Result<Self, ApiError> {
        query.check_integer("timeoutSeconds")?;
        query.check_integer("limit")?;
        let labels = LabelSelector::parse(query.get("labelSelector").unwrap_or_default())?;
        if !query.watch() {
            let faults = list_faults(query);
            if !faults.is_empty() {
                return Err(ApiError::Invalid(faults));
            }
        }
        let fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or_default(), known)?;
        Ok(Self { labels, fields })
    }
}

fn list_faults(query: &Query) -> Vec<InvalidOption> {
    let text = |key| query.get(key).unwrap_or_default();
    let (version_match, version) = (text("resourceVersionMatch"), text("resourceVersion"));
    let mut faults = Vec::new();
    if !version_match.is_empty() {
        if version.is_empty() {
            faults.push(InvalidOption::MatchWithoutVersion);
        }
        if !text("continue").is_empty() {
            faults.push(InvalidOption::MatchWithContinue);
        }
        if !matches!(version_match, "Exact" | "NotOlderThan") {
            faults.push(InvalidOption::UnknownMatch(version_match.to_owned()));
        }
        if version_match == "Exact" && version == "0" {
            faults.push(InvalidOption::ExactZero);
        }
    }
    if query.get("sendInitialEvents").is_some() {
        faults.push(InvalidOption::InitialEventsOnList);
    }
    faults
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn options(raw: &str) -> Result<ListOptions, ApiError> {
        ListOptions::new(&Query::new(Some(raw)), Field::OF_NODES)
    }

    #[test]
    fn the_first_of_a_repeated_parameter_counts_and_broken_pairs_are_ignored() {
        let raw =
            "limit=1&limit=2&labelSelector=x%20y+z&%zz=1&hash=%zz&hash=h&pretty;e=1&watch&=g&continue=%zz";
        let query = Query::new(Some(raw));
        assert_eq!(query.get("limit"), Some("1"));
        assert_eq!(query.get("labelSelector"), Some("x y z"));
        assert_eq!(query.get("watch"), Some(""));
        assert_eq!(query.get("hash"), Some("h"));
        assert_eq!(query.get("continue"), None);
        assert_eq!(query.get("pretty"), None);
        assert_eq!(Query::new(None), Query::default());
    }

    #[test]
    fn what_nobody_reads_is_not_kept() {
        let query = Query::new(Some(&"a&limit=1&".repeat(5000)));
        assert_eq!(query.0, [("limit", "1".to_owned())]);
        let query = Query::new(Some("exclude=a&x=1&exclude=b"));
        assert_eq!(query.all("exclude").collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn watch_is_asked_by_anything_but_false_and_zero() {
        let watch = |raw| Query::new(Some(raw)).watch();
        assert!(["watch", "watch=1", "watch=yes", "watch=true", "watch="].iter().all(|raw| watch(raw)));
        assert!(!["", "watch=0", "watch=false", "watch=FALSE"].iter().any(|raw| watch(raw)));
    }

    #[test]
    fn pretty_needs_a_value() {
        let pretty = |raw| Query::new(Some(raw)).pretty();
        assert_eq!(pretty("pretty"), None);
        assert_eq!(pretty("pretty=true"), Some(true));
        assert_eq!(pretty("pretty=1"), Some(true));
        assert_eq!(pretty("pretty=0"), Some(false));
        assert_eq!(pretty("pretty=false"), Some(false));
    }

    #[test]
    fn a_timeout_is_bounded_and_zero_or_negative_means_the_bound() {
        let timeout = |raw| Query::new(Some(raw)).timeout();
        assert_eq!(timeout("timeout=32s"), Ok(Duration::from_secs(32)));
        for raw in ["", "timeout=", "timeout=0", "timeout=-1s", "timeout=1h"] {
            assert_eq!(timeout(raw), Ok(MAX_TIMEOUT), "{raw}");
        }
        assert_eq!(
            timeout("timeout=abc").unwrap_err().to_string(),
            "invalid timeout specified in the request URL - time: invalid duration \"abc\""
        );
    }

    #[test]
    fn paging_and_versions_are_ignored_when_well_formed() {
        for raw in [
            "limit=1&continue=abc",
            "limit=-1",
            "resourceVersion=abc",
            "resourceVersion=1&resourceVersionMatch=Exact",
            "timeoutSeconds=5&allowWatchBookmarks=x&unknown=1",
            "watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan",
        ] {
            assert_eq!(options(raw), Ok(ListOptions::default()), "{raw}");
        }
    }

    #[test]
    fn numbers_that_are_none_are_bad_requests() {
        assert_eq!(
            options("limit=abc").unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert_eq!(
            options("timeoutSeconds=99999999999999999999").unwrap_err().to_string(),
            "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"
        );
    }

    #[test]
    fn options_that_exclude_each_other_are_invalid() {
        use InvalidOption::*;
        let faults = |raw| match options(raw) {
            Err(ApiError::Invalid(faults)) => faults,
            other => unreachable!("{raw}: {other:?}"),
        };
        assert_eq!(faults("resourceVersionMatch=Exact"), [MatchWithoutVersion]);
        assert_eq!(faults("resourceVersionMatch=Exact&resourceVersion=0"), [ExactZero]);
        assert_eq!(
            faults("resourceVersionMatch=Near&continue=a&sendInitialEvents=true"),
            [MatchWithoutVersion, MatchWithContinue, UnknownMatch("Near".to_owned()), InitialEventsOnList]
        );
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(raw in "\\PC{0,40}|[a=&%;+1limt]{0,30}") {
            let query = Query::new(Some(&raw));
            prop_assert!(query.timeout().is_ok() || query.get("timeout").is_some());
            prop_assert!(options(&raw).is_ok() || !raw.is_empty());
        }
    }
}
