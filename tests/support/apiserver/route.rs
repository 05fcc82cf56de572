//! From a request to who asks, whether they may, and who answers.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
};
use serde_json::{Value, json};

use super::{
    AGGREGATOR, Cluster, Seen,
    access::Access,
    core_v1::Asked,
    discovery,
    front_proxy::pair,
    make::AUTHENTICATION,
    poll::VERSIONS,
    protobuf,
    reply::{Reply, not_found},
    reviews::{Decision, User},
};

impl Cluster {
    pub(super) async fn answer(&self, request: Request<Bytes>) -> Reply {
        if self.hangs.load(std::sync::atomic::Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let uri = request.uri().clone();
        let path_and_query = uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
        let method = request.method().to_string();
        let user = self.user(request.headers());
        let name = user.as_ref().map_or("", |user| &user.name).to_owned();
        let reply = match user {
            None => Reply::failure(StatusCode::UNAUTHORIZED, "Unauthorized", "Unauthorized"),
            Some(user) => self.routed(&user, request).await,
        };
        let status = reply.0.status().as_u16();
        self.seen.lock().unwrap().push(Seen { user: name, method, path_and_query, status });
        reply
    }

    /// Whom the bearer token belongs to.
    fn user(&self, headers: &HeaderMap) -> Option<User> {
        let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
        let mut user = self.reviews.user(value.strip_prefix("Bearer ")?)?;
        if !user.groups.iter().any(|group| group == "system:authenticated") {
            user.groups.push("system:authenticated".to_owned());
        }
        Some(user)
    }

    async fn routed(&self, user: &User, request: Request<Bytes>) -> Reply {
        let path = request.uri().path().to_owned();
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        let headers = request.headers();
        match segments.as_slice() {
            ["version"] => discovery::version(),
            ["api"] => discovery::core(headers),
            ["api", "v1"] => discovery::core_v1(),
            ["apis"] => self.groups(headers).await,
            ["apis", group] => discovery::one_group(group).unwrap_or_else(not_found),
            ["openapi", "v2"] => self.openapi_v2(headers).await,
            ["openapi", "v3"] => self.openapi_v3().await,
            ["apis" | "openapi", .., "metrics.k8s.io", version] | ["apis", "metrics.k8s.io", version, ..]
                if VERSIONS.contains(version) =>
            {
                self.proxy.pass(user, version, request).await
            }
            ["apis", group, "v1"] => discovery::reviews_v1(group).unwrap_or_else(not_found),
            ["apis", "authentication.k8s.io" | "authorization.k8s.io", "v1", resource] => {
                self.review(user, resource, &request).await
            }
            ["api", "v1", rest @ ..] => self.objects_for(user, "", rest, &request).await,
            ["apis", group, "v1", rest @ ..] => self.objects_for(user, group, rest, &request).await,
            _ => not_found(),
        }
    }

    async fn review(&self, user: &User, resource: &str, request: &Request<Bytes>) -> Reply {
        if request.method() != Method::POST {
            return Reply::failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "create only");
        }
        let content_type = request.headers().get(CONTENT_TYPE).map(http::HeaderValue::as_bytes);
        let body = match content_type {
            Some(b"application/json") => serde_json::from_slice::<Value>(request.body()).ok(),
            Some(b"application/vnd.kubernetes.protobuf") => protobuf::of_oneself(request.body()),
            _ => None,
        };
        let Some(body) = body else {
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Reply::failure(status, "UnsupportedMediaType", "the body is not understood");
        };
        let query = request.uri().query().unwrap_or_default();
        match resource {
            "selfsubjectreviews" => {
                let status = json!({"userInfo": {"username": user.name, "groups": user.groups}});
                let review = json!({"kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1",
                    "metadata": {}, "status": status});
                Reply::json(StatusCode::CREATED, &review)
            }
            "selfsubjectaccessreviews" => self.of_oneself(user, body),
            "tokenreviews" | "subjectaccessreviews" if user.name != AGGREGATOR => {
                forbidden(user, "create", resource)
            }
            "tokenreviews" => self.reviews.token(query, body).await,
            "subjectaccessreviews" => self.reviews.access(query, body).await,
            _ => not_found(),
        }
    }

    fn of_oneself(&self, user: &User, mut body: Value) -> Reply {
        let mut spec = body["spec"].clone();
        (spec["user"], spec["groups"]) = (json!(user.name), json!(user.groups));
        let Decision { allowed, denied, reason } = self.reviews.decide(&spec);
        body["status"] = json!({"allowed": allowed, "denied": denied, "reason": reason});
        Reply::json(StatusCode::CREATED, &body)
    }

    async fn objects_for(&self, user: &User, group: &str, path: &[&str], request: &Request<Bytes>) -> Reply {
        let query: BTreeMap<String, String> =
            request.uri().query().unwrap_or_default().split('&').filter_map(pair).collect();
        let (namespace, resource, name) = match path {
            ["namespaces"] => (None, "namespaces", None),
            ["namespaces", name] => (None, "namespaces", Some(*name)),
            ["namespaces", namespace, resource] => (Some(*namespace), *resource, None),
            ["namespaces", namespace, resource, name] => (Some(*namespace), *resource, Some(*name)),
            [resource, name] => (None, *resource, Some(*name)),
            [resource] => (None, *resource, None),
            _ => return not_found(),
        };
        let asked = Asked { group, resource, namespace, name, query: &query, headers: request.headers() };
        let Some(verb) = asked.verb(request.method()) else {
            return Reply::failure(StatusCode::METHOD_NOT_ALLOWED, "MethodNotAllowed", "no such verb");
        };
        let access = Access::new(&user.name, verb, &asked);
        let failure = self.faults.next(&access).await;
        let reply = if let Some(failure) = failure {
            failure
        } else if !self.may(user, &access) {
            forbidden(user, verb, resource)
        } else if request.method() == Method::GET {
            self.core(&asked)
        } else {
            self.write(verb, &asked, request)
        };
        self.accesses.lock().unwrap().push(access);
        reply
    }

    /// What the roles of the aggregator's service account and [grants](Cluster::grant) allow, and to all others
    /// everything but config maps.
    fn may(&self, user: &User, access: &Access) -> bool {
        let authentication =
            access.namespace == AUTHENTICATION.0 && access.name == AUTHENTICATION.1 && access.is_reading();
        let usual = match access.resource.as_str() {
            "configmaps" => user.name == AGGREGATOR && authentication,
            "pods" | "nodes" => access.is_reading() || user.name != AGGREGATOR,
            _ => user.name != AGGREGATOR,
        };
        usual || self.grants.lock().unwrap().iter().any(|grant| grant.allows(access))
    }
}

fn forbidden(user: &User, verb: &str, resource: &str) -> Reply {
    let message =
        format!("{resource} is forbidden: User {:?} cannot {verb} resource {resource:?}", user.name);
    Reply::failure(StatusCode::FORBIDDEN, "Forbidden", &message)
}
