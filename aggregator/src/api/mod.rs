//! The metrics.k8s.io API over HTTP: from a request to the bytes of its response.
//!
//! In reading order: [`route`] (which path is this), [`query`] and [`select`] (what exactly is asked), [`negotiate`]
//! (in which form), [`source`] (who knows the numbers), [`objects`] and [`encode`] (the numbers as bytes),
//! [`discovery`] and [`openapi`] (what is served at all), [`health`] (whether to come back later), [`status`] (what went wrong). This file holds the order of the steps and the
//! table of routes. Connections are [`crate::https`]' business.
//!
//! Nothing here redirects, upgrades a connection, reads a body, or waits for the network.

pub mod call;
pub mod discovery;
pub mod encode;
pub mod etag;
pub mod gzip;
pub mod health;
pub mod negotiate;
pub mod objects;
pub mod openapi;
pub mod quantity;
pub mod query;
pub mod reply;
pub mod route;
pub mod select;
pub mod source;
pub mod status;
pub mod stream;
pub mod time;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt as _;
#[cfg(test)]
use http::StatusCode;
use kubevitals::sample::WallTime;

use crate::{
    auth::{
        self, Authenticator, Identity,
        access::{self, Attributes},
    },
    core_v1,
};
use call::Call;
use encode::format::Text;
use health::{Health, Report};
use objects::Read;
use route::Route;
use source::Source;
use status::ApiError;

/// What the API needs of the rest of the program.
#[derive(Clone)]
pub struct ApiState {
    /// Who knows the numbers.
    pub source: Arc<dyn Source>,
    /// Who may ask.
    pub authenticator: Arc<Authenticator>,
    /// Whether the core API is served too, for `standalone`.
    pub core: bool,
    /// Memory for long lists.
    pub memory: stream::Memory,
    /// What the probes say.
    pub health: Health,
    /// The wall clock, for creation times.
    pub now: fn() -> WallTime,
}

impl fmt::Debug for ApiState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiState")
            .field("authenticator", &self.authenticator)
            .field("core", &self.core)
            .finish_non_exhaustive()
    }
}

/// The whole API as one service. All paths come in as they were sent: a router of paths would redirect and
/// normalise where Kubernetes does not.
pub fn router(state: ApiState) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(state))
}

/// One request, whatever happens: a panic is this request's 500 and nobody else's.
async fn serve(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let call = Call::from(request.into_parts().0);
    let identity = state.authenticator.authenticate(&call.headers);
    let known = matches!(identity, Ok(Identity::User(_)));
    let outcome = AssertUnwindSafe(answer(&state, &call, identity)).catch_unwind().await;
    let outcome = outcome.unwrap_or(Err(ApiError::Internal("this request met a fault in the server")));
    let mut response = outcome.unwrap_or_else(|error| {
        tracing::debug!(method = %call.method, path = call.path(), %error, "request refused");
        reply::error(call.encoding_of_errors(), state.core, &error)
    });
    reply::finish(&call, &mut response);
    if !known {
        reply::last(&mut response);
    }
    response
}

/// Who, what, whether, and then the answer. What is forbidden is forbidden before it is known to exist.
async fn answer(
    state: &ApiState,
    call: &Call,
    identity: Result<Identity, ApiError>,
) -> Result<Response, ApiError> {
    let identity = identity?;
    auth::refuse_impersonation(&identity, &call.headers)?;
    let route = Route::parse(call.path(), state.core);
    let wanted = Attributes::new(&call.method, call.path(), route.as_ref().ok(), call.query.watch());
    access::check(&identity, route.as_ref().ok(), &wanted)?;
    let route = route?;
    route.check_method(&call.method)?;
    let limit = call.query.timeout()?;
    let deadline = Instant::now() + limit;
    let answer = dispatch(state, call, route, deadline);
    tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or(Err(ApiError::Timeout))
}

/// Every path we serve.
async fn dispatch(
    state: &ApiState,
    call: &Call,
    route: Route,
    deadline: Instant,
) -> Result<Response, ApiError> {
    let plain = Text::Json { pretty: true };
    match route {
        Route::Index => reply::document(plain, &discovery::paths(state.core)),
        Route::Version => reply::document(plain, &discovery::version()),
        Route::OpenApi2 => Ok(openapi::v2(call)),
        Route::OpenApi3Index => Ok(openapi::v3_index(call)),
        Route::OpenApi3(part) => openapi::v3(call, part, state.now),
        Route::Probe(probe) => Ok(state.health.probe(probe, &call.query).into_response()),
        Route::Check(probe, name) => {
            state.health.check(probe, &name).map(Report::into_response).ok_or(ApiError::NoSuchPath)
        }
        Route::Groups => discovery::groups().answer(call),
        Route::Group => discovery::group().answer(call),
        Route::Resources(version) => discovery::resources(version).answer(call),
        Route::Metrics(version, objects) => {
            let read = Read::new(version, objects, call)?;
            read.answer(&state.source, (state.now)(), &state.memory, deadline).await
        }
        Route::CoreVersions => core_v1::versions().answer(call),
        Route::CoreResources => core_v1::resources().answer(call),
        Route::Namespaces => reply::document(call.text()?, &core_v1::namespaces(state.source.as_ref())),
        Route::Core(objects) => core_v1::answer(state.source.as_ref(), call, objects),
    }
}

#[cfg(test)]
pub mod fixture;
#[cfg(test)]
mod tests;
