//! The OpenAPI documents, which `kubectl explain` and API servers read: version 2 as one document, version 3 as one
//! for each group version and for the paths above them.
//!
//! In reading order: [`schemas`] (what objects look like), [`operations`] (which paths answer with them), [`mod@v2`] and
//! [`mod@v3`] (both put together), [`gnostic`] (the same as protobuf), [`representation`] (bytes, ETag, compression). All
//! documents are made once, when the first is asked for. The core API of `standalone` is not described.

pub mod gnostic;
pub mod operations;
pub mod representation;
pub mod schemas;
pub mod v2;
pub mod v3;

use std::{
    sync::LazyLock,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use axum::response::Response;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, EXPIRES},
};
use kubevitals::sample::WallTime;
use serde_json::{Value, json};

use super::{call::Call, negotiate::Offer, reply, route::Version, status::ApiError};
use representation::{Representation, offer};

/// A document of version 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// About `/apis`.
    Groups,
    /// About `/apis/metrics.k8s.io`.
    Group,
    /// About everything below a version of the group.
    Version(Version),
    /// About `/version`.
    Build,
}

impl Part {
    /// In the order of their names.
    pub const ALL: [Self; 5] =
        [Self::Groups, Self::Group, Self::Version(Version::V1), Self::Version(Version::V1Beta1), Self::Build];

    /// What follows `/openapi/v3/`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Groups => "apis",
            Self::Group => "apis/metrics.k8s.io",
            Self::Version(Version::V1) => "apis/metrics.k8s.io/v1",
            Self::Version(Version::V1Beta1) => "apis/metrics.k8s.io/v1beta1",
            Self::Build => "version",
        }
    }

    /// By its name.
    #[must_use]
    pub fn find(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// One document in JSON and protobuf.
#[derive(Debug)]
struct Forms {
    json: Representation,
    protobuf: Representation,
}

/// Every document.
#[derive(Debug)]
struct Documents {
    v2: Forms,
    v3_index: Representation,
    v3: [(Part, Forms); 5],
    /// When these documents came to be.
    made: SystemTime,
}

static DOCUMENTS: LazyLock<Documents> = LazyLock::new(|| {
    let definitions = schemas::definitions();
    let v3 = Part::ALL.map(|part| (part, v3_forms(&v3::document(part, &definitions))));
    Documents {
        v2: v2_forms(&v2::document(&definitions)),
        v3_index: Representation::new(JSON, text(&index(&v3)), None),
        v3,
        made: SystemTime::now(),
    }
});

const JSON: &str = "application/json";
/// The response says the second spelling, whichever was asked for.
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
const V3_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v3.v1.0+protobuf";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Protobuf,
}

const V2_OFFERS: [Offer<Form>; 3] = [
    offer(JSON, Form::Json),
    offer("application/com.github.proto-openapi.spec.v2@v1.0+protobuf", Form::Protobuf),
    offer(V2_PROTOBUF, Form::Protobuf),
];

const V3_OFFERS: [Offer<Form>; 3] = [
    offer(JSON, Form::Json),
    offer("application/com.github.proto-openapi.spec.v3@v1.0+protobuf", Form::Protobuf),
    offer(V3_PROTOBUF, Form::Protobuf),
];

fn v2_forms(document: &Value) -> Forms {
    Forms {
        json: Representation::new(JSON, text(document), None),
        protobuf: Representation::new(V2_PROTOBUF, protobuf(&gnostic::v2::DOCUMENT, document), None),
    }
}

/// Clients of version 3 know a document by one hash in whichever form they read it: that of the JSON.
fn v3_forms(document: &Value) -> Forms {
    let json = Representation::new(JSON, text(document), None);
    let (encoded, etag) = (protobuf(&gnostic::v3::DOCUMENT, document), json.etag().clone());
    Forms { json, protobuf: Representation::new(V3_PROTOBUF, encoded, Some(etag)) }
}

fn protobuf(table: &gnostic::Message, document: &Value) -> Vec<u8> {
    gnostic::encode(table, document).expect("a test encodes each of these documents")
}

fn text(document: &Value) -> Vec<u8> {
    document.to_string().into_bytes()
}

/// The list of version 3 documents. Each address holds the document's hash, so that clients may keep what they find
/// there for ever.
fn index(documents: &[(Part, Forms)]) -> Value {
    let paths = documents.iter().map(|(part, forms)| {
        let (name, hash) = (part.name(), forms.json.hash());
        (name.to_owned(), json!({"serverRelativeURL": format!("/openapi/v3/{name}?hash={hash}")}))
    });
    json!({"paths": paths.collect::<serde_json::Map<_, _>>()})
}

impl Forms {
    fn get(&self, form: Form) -> &Representation {
        match form {
            Form::Json => &self.json,
            Form::Protobuf => &self.protobuf,
        }
    }
}

/// Answers `/openapi/v2`.
#[must_use]
pub fn v2(call: &Call) -> Response {
    match call.choose(&V2_OFFERS) {
        Ok((form, _)) => DOCUMENTS.v2.get(form).answer(call, DOCUMENTS.made),
        // Without a body, as the clients of these documents expect.
        Err(_) => reply::empty(StatusCode::NOT_ACCEPTABLE),
    }
}

/// Answers `/openapi/v3`, which is JSON whatever was asked for, as on any server.
#[must_use]
pub fn v3_index(call: &Call) -> Response {
    DOCUMENTS.v3_index.answer(call, DOCUMENTS.made)
}

/// Answers `/openapi/v3/...`. A stale hash gets the present document: other servers redirect to it, and the API server
/// in between turns every redirect into an error.
pub fn v3(call: &Call, part: Part, now: fn() -> WallTime) -> Result<Response, ApiError> {
    let (_, forms) = DOCUMENTS.v3.iter().find(|(held, _)| *held == part).ok_or(ApiError::NoSuchResource)?;
    let Ok((form, _)) = call.choose(&V3_OFFERS) else {
        return Ok(reply::empty(StatusCode::NOT_ACCEPTABLE));
    };
    let mut response = forms.get(form).answer(call, DOCUMENTS.made);
    if call.query.get("hash").is_some_and(|hash| hash.eq_ignore_ascii_case(forms.json.hash())) {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
        headers.insert(EXPIRES, in_a_year(now()));
    }
    Ok(response)
}

fn in_a_year(now: WallTime) -> HeaderValue {
    let year = Duration::from_secs(365 * 24 * 3600);
    representation::date(UNIX_EPOCH + Duration::from_micros(now.0) + year)
}

#[cfg(test)]
mod tests;
