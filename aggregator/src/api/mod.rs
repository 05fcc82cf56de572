//! The metrics.k8s.io API over HTTP: from a request to the bytes of its response.
//!
//! In reading order: [`route`] (which path is this), [`query`] and [`select`] (what exactly is asked), [`negotiate`]
//! (in which form), [`source`] (who knows the numbers), [`objects`] and [`encode`] (the numbers as bytes),
//! [`discovery`] and [`openapi`] (what is served at all), [`health`] (whether to come back later), [`status`] (what went
//! wrong). This file holds the order of the steps and the table of routes. Connections are [`crate::https`]' business.
//!
//! Nothing here redirects, upgrades a connection or reads a body. Only who calls and whether it may is asked elsewhere,
//! and never for longer than the request may take.

pub mod call;
pub mod discovery;
pub mod encode;
pub mod etag;
pub use kubevitals_agent::gzip;
pub mod health;
pub mod inflight;
pub mod negotiate;
pub mod objects;
pub mod openapi;
pub mod quantity;
pub mod query;
pub mod record;
pub mod reply;
pub mod route;
pub mod select;
pub mod source;
pub mod status;
pub mod stream;
pub mod time;

use std::{fmt, panic::AssertUnwindSafe, sync::Arc};

use axum::{
    Router,
    extract::{Request, State},
    response::Response,
};
use futures_util::FutureExt as _;
use kubevitals::sample::WallTime;
use prometheus_client::registry::Registry;
use tokio::time::{Instant, timeout_at};

use crate::{
    auth::{
        self, Authenticator, Identity, Means, access::Authorizer, attributes::Attributes, user::UserInfo,
    },
    core_v1, metrics,
    tls::clients::PeerCertificates,
};
use call::Call;
use discovery::Paths;
use encode::format::Text;
use health::{Health, Report};
use inflight::InFlight;
use objects::Read;
use query::MAX_TIMEOUT;
use record::Record;
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
    /// Who may have what.
    pub authorizer: Arc<Authorizer>,
    /// Whether the core API is served too, for `standalone`.
    pub core: bool,
    /// What long lists may take.
    pub lists: stream::Budget,
    /// What the probes say.
    pub health: Health,
    /// The requests being answered.
    pub in_flight: InFlight,
    /// What is counted about them.
    pub metrics: metrics::api::Api,
    /// What `/metrics` prints.
    pub registry: Arc<Registry>,
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

impl ApiState {
    fn paths(&self) -> Paths {
        discovery::paths(self.core, &self.health)
    }
}

/// The whole API as one service. All paths come in as they were sent: a router of paths would redirect and
/// normalise where Kubernetes does not.
pub fn router(state: ApiState) -> Router {
    Router::new().fallback(serve).with_state(Arc::new(state))
}

/// One request, whatever happens: it is counted, and a shutdown waits for it. Probes are answered during a shutdown
/// too.
async fn serve(State(state): State<Arc<ApiState>>, request: Request) -> Response {
    let parts = request.into_parts().0;
    let certificates = parts.extensions.get::<PeerCertificates>().cloned();
    let mut call = Call::from(parts);
    let route = Route::parse(call.path(), state.core);
    let is_probe = is_open_probe(&call, &route);
    let begun = if is_probe { None } else { state.in_flight.begin() };
    let turned_away = begun.is_none() && !is_probe;
    let mut record = Record::new(&state.metrics, &call, route.as_ref().ok(), begun);
    let response = if turned_away {
        reply::shutting_down(&call)
    } else {
        respond(&state, &mut call, route, certificates, &mut record).await
    };
    record.follow(response)
}

/// Whether it is one of the three probes that anybody may ask. With a slash at its end it needs rights as all else, and
/// to find out about them takes time.
fn is_open_probe(call: &Call, route: &Result<Route, ApiError>) -> bool {
    matches!(route, Ok(Route::Probe(_))) && !call.path().ends_with('/')
}

/// Who, whether, and then the answer.
async fn respond(
    state: &ApiState,
    call: &mut Call,
    route: Result<Route, ApiError>,
    certificates: Option<PeerCertificates>,
    record: &mut Record,
) -> Response {
    // A limit that makes no sense is reported once the caller is known; until then the usual one holds.
    let deadline = Instant::now() + call.query.timeout().unwrap_or(MAX_TIMEOUT);
    let identity = state.authenticator.authenticate(&call.headers, certificates.as_ref());
    let identity = within(deadline, identity).await;
    state.authenticator.strip(&mut call.headers);
    let known = identity.as_ref().is_ok_and(|identity| identity.by != Means::Nothing);
    let outcome = match identity {
        Ok(Identity { user, .. }) => {
            record.user(&user.name);
            let exempt = user.is_master() || is_open_probe(call, &route);
            match state.in_flight.place(exempt) {
                Some(place) => {
                    record.keep(place);
                    within(deadline, answer(state, call, &user, route, deadline)).await
                }
                None => Ok(reply::too_many()),
            }
        }
        Err(error) => Err(error),
    };
    let mut response = outcome.unwrap_or_else(|error| {
        tracing::debug!(method = %call.method, path = call.path(), %error, "request refused");
        reply::error(call.encoding_of_errors(), || state.paths(), &error)
    });
    reply::finish(call, &mut response);
    if !known {
        reply::last(&mut response);
    }
    response
}

/// A step of a request: it ends by the deadline, and a panic is this request's 500 and nobody else's.
async fn within<T>(
    deadline: Instant,
    step: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    let step = AssertUnwindSafe(step).catch_unwind();
    match timeout_at(deadline, step).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(ApiError::Internal("this request met a fault in the server")),
        Err(_) => Err(ApiError::Timeout),
    }
}

/// Whether, and then the answer. What is forbidden is forbidden before it is known to exist.
async fn answer(
    state: &ApiState,
    call: &Call,
    user: &UserInfo,
    route: Result<Route, ApiError>,
    deadline: Instant,
) -> Result<Response, ApiError> {
    auth::refuse_impersonation(user, &call.headers)?;
    let wanted = Attributes::new(&call.method, call.path(), &call.query);
    state.authorizer.check(user, &wanted).await?;
    let route = route?;
    route.check_method(&call.method)?;
    call.query.timeout()?;
    dispatch(state, call, route, deadline).await
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
        Route::Index => reply::document(plain, &state.paths()),
        Route::Version => reply::document(plain, &discovery::version()),
        Route::OwnMetrics => Ok(reply::metrics(&state.registry, &call.headers)),
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
            read.answer(&state.source, (state.now)(), &state.lists, deadline).await
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
