//! Aggregated discovery: everything in one document, as `/apis` and `/api` offer it beside the plain lists.
//!
//! API servers poll it each minute and clients before each command, so it can be revalidated by its ETag. The ETag is
//! one for all representations, as with other servers of this API; caches tell them apart by `Vary`.
//! (<https://kubernetes.io/docs/reference/using-api/api-concepts/#aggregated-discovery>)

use axum::response::Response;
use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, ETAG, IF_NONE_MATCH, VARY},
};

use super::{
    document::Document,
    messages::{
        DiscoveryGroup, DiscoveryList, DiscoveryResource, DiscoveryVersion, Empty, Name, Resource,
        ResponseKind,
    },
};
use crate::api::{
    call::Call,
    encode::format::Encoding,
    etag,
    negotiate::{Offer, Transform},
    reply,
    status::ApiError,
};

const GROUP: &str = "apidiscovery.k8s.io";
const KIND: &str = "APIGroupDiscoveryList";

/// A list of groups in all forms that it can be asked for.
#[derive(Clone, Debug)]
pub struct Groups {
    plain: Document,
    v2: Document,
    v2beta1: Document,
    etag: HeaderValue,
}

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wanted {
    /// The plain list.
    Plain(Encoding),
    /// The aggregated one, and the media type of the answer.
    Aggregated(Version, Encoding, &'static str),
}

/// A version of the aggregated list. Both have the same fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V2,
    /// What API servers before 1.30 ask for. Others refuse it today and are asked again for the plain list.
    V2Beta1,
}

const fn plain(encoding: Encoding) -> Offer<Wanted> {
    Offer { media_type: encoding.content_type(), transform: None, representation: Wanted::Plain(encoding) }
}

/// Clients compare the media type of the answer as text, so its parameters stand in one order.
const fn aggregated(version: Version, encoding: Encoding, content_type: &'static str) -> Offer<Wanted> {
    let name = match version {
        Version::V2 => "v2",
        Version::V2Beta1 => "v2beta1",
    };
    Offer {
        media_type: encoding.content_type(),
        transform: Some(Transform { kind: KIND, group: GROUP, version: name }),
        representation: Wanted::Aggregated(version, encoding, content_type),
    }
}

const OFFERS: [Offer<Wanted>; 7] = [
    plain(Encoding::JSON),
    plain(Encoding::YAML),
    plain(Encoding::Protobuf),
    aggregated(
        Version::V2,
        Encoding::JSON,
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
    aggregated(
        Version::V2,
        Encoding::Protobuf,
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
    ),
    aggregated(
        Version::V2Beta1,
        Encoding::JSON,
        "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    ),
    aggregated(
        Version::V2Beta1,
        Encoding::Protobuf,
        "application/vnd.kubernetes.protobuf;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
    ),
];

impl Groups {
    /// From the plain document and the resources of each version, by group (empty for core).
    #[must_use]
    pub fn new(plain: Document, group: &str, versions: Vec<(&str, Vec<Resource>)>) -> Self {
        let versions = versions.into_iter().map(|(version, resources)| DiscoveryVersion {
            version: version.to_owned(),
            resources: resources.into_iter().map(resource).collect(),
            freshness: "Current".to_owned(),
        });
        let group =
            DiscoveryGroup { metadata: Some(Name { name: group.to_owned() }), versions: versions.collect() };
        let list = DiscoveryList { metadata: Some(Empty {}), items: vec![group] };
        let v2 = Document::new("apidiscovery.k8s.io/v2", KIND, &list);
        let v2beta1 = Document::new("apidiscovery.k8s.io/v2beta1", KIND, &list);
        let etag = etag::quoted(&etag::sha512(v2.json()));
        Self { plain, v2, v2beta1, etag }
    }

    /// Answers a request in the form that it accepts.
    pub fn answer(&self, call: &Call) -> Result<Response, ApiError> {
        let (wanted, pretty) = call.choose(&OFFERS)?;
        let mut response = match wanted {
            Wanted::Plain(encoding) => {
                let encoding = encoding.indented(pretty);
                reply::encoded(StatusCode::OK, encoding, self.plain.encode(encoding))
            }
            Wanted::Aggregated(version, encoding, content_type) => {
                let list = match version {
                    Version::V2 => &self.v2,
                    Version::V2Beta1 => &self.v2beta1,
                };
                self.aggregated(call, list, encoding, content_type)
            }
        };
        response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
        Ok(response)
    }

    fn aggregated(
        &self,
        call: &Call,
        list: &Document,
        encoding: Encoding,
        content_type: &'static str,
    ) -> Response {
        // Byte for byte, as other servers of this API compare: a client repeats what it was given.
        let mut response = if call.headers.get(IF_NONE_MATCH) == Some(&self.etag) {
            reply::empty(StatusCode::NOT_MODIFIED)
        } else {
            // Never indented: the ETag stands for these bytes.
            let content_type = HeaderValue::from_static(content_type);
            reply::respond(StatusCode::OK, content_type, list.encode(encoding))
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, self.etag.clone());
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
        response
    }
}

fn resource(resource: Resource) -> DiscoveryResource {
    DiscoveryResource {
        resource: resource.name,
        response_kind: Some(ResponseKind { kind: resource.kind, ..ResponseKind::default() }),
        scope: if resource.namespaced { "Namespaced" } else { "Cluster" }.to_owned(),
        singular_resource: resource.singular_name,
        verbs: resource.verbs.unwrap_or_default().items,
    }
}
