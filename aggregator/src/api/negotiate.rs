//! Which representation a client gets: the `Accept` header against a table of what is on offer.
//!
//! Kubernetes servers decide in two stages, and clients rely on both. First the header must name one media type
//! on offer, or `*/*`, letter for letter and without regard to parameters. Then its clauses are tried by quality,
//! concrete before wildcard, and the first one whose parameters fit an offer wins. The table is the caller's, so
//! that another encoding or transformation is one more row.

/// What an object is turned into before it is encoded, as the parameters `as`, `g` and `v` name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transform {
    /// Kind, such as `Table`.
    pub kind: &'static str,
    /// Its API group.
    pub group: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// One representation on offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<R> {
    /// Such as `application/json`.
    pub media_type: &'static str,
    /// None for the object itself.
    pub transform: Option<Transform>,
    /// What the caller calls it.
    pub representation: R,
}

/// The outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen<R> {
    /// The offer that won.
    pub representation: R,
    /// Whether the clause asked for indented text (`;pretty=1`).
    pub pretty: bool,
}

/// Nothing on offer is acceptable. The texts are those of a Kubernetes server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAcceptable {
    /// The first stage found no media type; holds those on offer.
    #[error("406: Not Acceptable\n\nAvailable representations: {0}")]
    MediaType(String),
    /// The second stage found no clause whose parameters fit; holds the media types on offer.
    #[error("only the following media types are accepted: {0}")]
    Parameters(String),
    /// Metadata of one object, of what is a list.
    #[error("you requested PartialObjectMetadata, but the requested object is a list (*metrics.{0})")]
    IsList(&'static str),
    /// A list of metadata, of what is one object.
    #[error("you requested PartialObjectMetadataList, but the requested object is not a list (*metrics.{0})")]
    IsNoList(&'static str),
}

/// Chooses among `offers`; the first is for clients that accept anything.
pub fn negotiate<R: Copy>(accept: Option<&str>, offers: &[Offer<R>]) -> Result<Chosen<R>, NotAcceptable> {
    let header = accept.unwrap_or_default();
    if header.is_empty() {
        let first =
            offers.first().map(|offer| Chosen { representation: offer.representation, pretty: false });
        return first.ok_or_else(|| NotAcceptable::MediaType(names(offers)));
    }
    if !names_an_offer(header, offers) {
        return Err(NotAcceptable::MediaType(names(offers)));
    }
    let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(Clause::parse).collect();
    clauses.sort_by(Clause::order);
    clauses
        .iter()
        .find_map(|clause| clause.choose(offers))
        .ok_or_else(|| NotAcceptable::Parameters(names(offers)))
}

/// The first stage. A Go server takes `application/*` for the name of a type and refuses it; here it means what the
/// second stage takes it for.
fn names_an_offer<R>(header: &str, offers: &[Offer<R>]) -> bool {
    header.split(',').any(|clause| {
        let media_type = clause.split(';').next().unwrap_or_default().trim();
        matches!(media_type, "*/*" | "application/*")
            || offers.iter().any(|offer| offer.media_type == media_type)
    })
}

/// The media types on offer, each once.
fn names<R>(offers: &[Offer<R>]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for offer in offers {
        if !names.contains(&offer.media_type) {
            names.push(offer.media_type);
        }
    }
    names.join(", ")
}

/// One element of an `Accept` header.
#[derive(Debug)]
struct Clause<'a> {
    main: &'a str,
    sub: &'a str,
    quality: f32,
    parameters: Vec<(&'a str, &'a str)>,
}

impl<'a> Clause<'a> {
    /// None for what is no media type.
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';');
        let media_type = parts.next()?.trim();
        let (main, sub) = match media_type.split_once('/') {
            Some((main, sub)) if !sub.contains('/') => (main.trim(), sub.trim()),
            None if media_type == "*" => ("*", "*"),
            _ => return None,
        };
        let mut clause = Self { main, sub, quality: 1.0, parameters: Vec::new() };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim() {
                "q" => clause.quality = value.parse().ok().filter(|q: &f32| q.is_finite()).unwrap_or(0.0),
                key => clause.parameters.push((key, value.trim())),
            }
        }
        Some(clause)
    }

    /// Higher quality first, then concrete before wildcard; otherwise as written.
    fn order(a: &Self, b: &Self) -> std::cmp::Ordering {
        let wildcards = |clause: &Self| (clause.main == "*", clause.sub == "*");
        b.quality.total_cmp(&a.quality).then_with(|| wildcards(a).cmp(&wildcards(b)))
    }

    fn choose<R: Copy>(&self, offers: &[Offer<R>]) -> Option<Chosen<R>> {
        if !self.schema_is_known() {
            return None;
        }
        let fits =
            offers.iter().find(|offer| self.matches(offer.media_type) && self.asks_for(offer.transform))?;
        let pretty = self.parameter("pretty") == Some("1");
        Some(Chosen { representation: fits.representation, pretty })
    }

    fn matches(&self, media_type: &str) -> bool {
        let (main, sub) = media_type.split_once('/').unwrap_or((media_type, ""));
        (self.main == main && (self.sub == sub || self.sub == "*")) || (self.main == "*" && self.sub == "*")
    }

    /// Whether `as`, `g` and `v` name exactly this transformation; none of them names none.
    fn asks_for(&self, transform: Option<Transform>) -> bool {
        let asked = ["as", "g", "v"].map(|key| self.parameter(key));
        match transform {
            None => asked == [None; 3],
            Some(Transform { kind, group, version }) => asked == [Some(kind), Some(group), Some(version)],
        }
    }

    /// `stream` and `sv` choose schemas of their own; only that of watches exists, and only objects have it.
    fn schema_is_known(&self) -> bool {
        let stream = self.parameter("stream").unwrap_or_default();
        matches!(stream, "" | "watch") && self.parameter("sv").unwrap_or_default().is_empty()
    }

    fn parameter(&self, key: &str) -> Option<&'a str> {
        self.parameters.iter().rev().find(|(held, _)| *held == key).map(|&(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TABLE: Transform = Transform { kind: "Table", group: "meta.k8s.io", version: "v1" };

    /// More than is served today, so that the rules show.
    const OFFERS: [Offer<&str>; 5] = [
        Offer { media_type: "application/json", transform: None, representation: "json" },
        Offer { media_type: "application/yaml", transform: None, representation: "yaml" },
        Offer {
            media_type: "application/vnd.kubernetes.protobuf",
            transform: None,
            representation: "protobuf",
        },
        Offer { media_type: "application/json", transform: Some(TABLE), representation: "json table" },
        Offer { media_type: "application/yaml", transform: Some(TABLE), representation: "yaml table" },
    ];

    fn chosen(accept: &str) -> Option<&'static str> {
        negotiate(Some(accept), &OFFERS).ok().map(|chosen| chosen.representation)
    }

    #[test]
    fn the_header_chooses_as_on_a_kubernetes_server() {
        let table = [
            ("", Some("json")),
            ("*/*", Some("json")),
            ("*/*, application/yaml", Some("yaml")),
            ("application/json;q=0.1,application/yaml;q=0.9", Some("yaml")),
            ("text/html, */*;q=0.1", Some("json")),
            ("application/cbor,application/json", Some("json")),
            ("application/json;charset=utf-8", Some("json")),
            ("application/json;foo=bar", Some("json")),
            ("application/json;stream=watch", Some("json")),
            ("application/json;stream=other", None),
            ("application/vnd.kubernetes.protobuf, */*", Some("protobuf")),
            ("application/json;q=0,*/*", Some("json")),
            // Better than a Go server, which refuses it.
            ("application/*", Some("json")),
            ("text/html", None),
            ("garbage", None),
            (",", None),
            ("APPLICATION/JSON", None),
            ("application/cbor", None),
            ("application/json;as=Table;v=v1;g=meta.k8s.io", Some("json table")),
            ("application/yaml;g=meta.k8s.io;as=Table;v=v1", Some("yaml table")),
            ("application/json;as=Table;v=v2;g=meta.k8s.io", None),
            ("application/json;as=Table", None),
            ("application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", None),
            ("application/json;as=Table;v=v9;g=meta.k8s.io,application/json", Some("json")),
        ];
        for (accept, expected) in table {
            assert_eq!(chosen(accept), expected, "{accept:?}");
        }
        assert_eq!(negotiate(None, &OFFERS).map(|chosen| chosen.representation), Ok("json"));
    }

    #[test]
    fn pretty_is_part_of_the_clause_that_wins() {
        let pretty = |accept| negotiate(Some(accept), &OFFERS).unwrap().pretty;
        assert!(pretty("application/json;pretty=1"));
        assert!(!pretty("application/json"));
        assert!(!pretty("application/yaml;q=0.5;pretty=1,application/json"));
    }

    #[test]
    fn each_stage_refuses_in_its_own_words_and_lists_what_there_is() {
        let refusal = |accept| negotiate(Some(accept), &OFFERS).unwrap_err().to_string();
        assert_eq!(
            refusal("text/html"),
            "406: Not Acceptable\n\nAvailable representations: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
        assert_eq!(
            refusal("application/json;as=Table"),
            "only the following media types are accepted: \
             application/json, application/yaml, application/vnd.kubernetes.protobuf"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_headers_never_panic(accept in "\\PC{0,40}|(application|/|json|\\*|;|q=|0\\.|,|as=Table){0,12}") {
            prop_assert!(chosen(&accept).is_none_or(|name| !name.is_empty()));
        }
    }
}
