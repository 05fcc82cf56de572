//! Who asks, and whether they may: the API's own rules for callers who come by gRPC.
//!
//! A [`Caller`] is recognised by each request, never by connection. What it may is asked of the cluster in the terms of
//! metrics.k8s.io: `list` and `watch` of what a [`Selection`] names, `get` of one object. Whoever may not is told so
//! before anything is looked up, so that the answer is the same whether there is something or not.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::HeaderMap;
use k8s_openapi::api::authorization::v1::ResourceAttributes;
use tonic::{Request, Status};

use super::selection::{Level, Selection};
use crate::{
    api::{
        route::GROUP,
        select::{FieldSelector, LabelSelector},
        status::ApiError,
    },
    auth::{
        Authenticator, Identity, Means, Unrecognised, access::Authorizer, attributes::Attributes,
        refuse_impersonation, user::UserInfo,
    },
    https::Admitted,
    tls::clients::PeerCertificates,
};

/// For how long a caller who was entitled stays so while the cluster cannot be asked again.
pub const TOLERATED: Duration = Duration::from_secs(300);

/// Reviews of one request under way at a time.
const SIDE_BY_SIDE: usize = 10;

/// How callers are recognised and what decides about them; shared with the API.
#[derive(Debug, Clone)]
pub struct Access {
    /// Who calls.
    pub authenticator: Arc<Authenticator>,
    /// Whether it may.
    pub authorizer: Arc<Authorizer>,
}

/// What is to be done with what is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Once.
    List,
    /// From now on.
    Watch,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Watch => "watch",
        }
    }
}

/// One object, by name; it need not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Object<'a> {
    /// A pod, or something of it.
    Pod {
        /// Its namespace.
        namespace: &'a str,
        /// Its name.
        name: &'a str,
    },
    /// A node.
    Node(&'a str),
}

impl Access {
    /// Shares both.
    #[must_use]
    pub fn new(authenticator: Authenticator, authorizer: Authorizer) -> Self {
        Self { authenticator: Arc::new(authenticator), authorizer: Arc::new(authorizer) }
    }

    /// Who sent `request`. Once that is known, everything that says so is removed from it, and its connection may stay.
    ///
    /// UNAUTHENTICATED for whoever shows nothing, or credentials that are nobody's; UNAVAILABLE when it cannot be
    /// found out; `PERMISSION_DENIED` for who wants to act as somebody else.
    pub async fn caller<T>(&self, request: &mut Request<T>) -> Result<Caller, Status> {
        let admitted = request.extensions().get::<Admitted>().cloned();
        let shown = admitted.as_ref().and_then(Admitted::certificates).cloned();
        let mut caller = Caller {
            access: self.clone(),
            headers: Arc::new(sensitive(request.metadata().as_ref())),
            certificates: shown,
            user: UserInfo::anonymous(),
            confirmed: Instant::now(),
        };
        self.authenticator.strip(request.metadata_mut().as_mut());
        caller.user = caller.recognise().await?;
        if let Some(admitted) = admitted {
            admitted.set();
        }
        refuse_impersonation(&caller.user, &caller.headers).map_err(|error| refused(&error))?;
        Ok(caller)
    }
}

/// Nothing of a request's headers shows in a text, since a token may stand anywhere.
fn sensitive(headers: &HeaderMap) -> HeaderMap {
    let mut headers = headers.clone();
    headers.values_mut().for_each(|value| value.set_sensitive(true));
    headers
}

/// Somebody who was recognised, and by what: a long stream looks again whether it is still so.
#[derive(Clone)]
pub struct Caller {
    access: Access,
    headers: Arc<HeaderMap>,
    certificates: Option<PeerCertificates>,
    user: UserInfo,
    /// When it was last found out that the caller may.
    confirmed: Instant,
}

impl Caller {
    /// The user.
    #[must_use]
    pub fn user(&self) -> &UserInfo {
        &self.user
    }

    /// Whether all that is selected may be read: every namespace that is named, or all of them where none is. The
    /// error is about the first namespace, by name, that may not: `PERMISSION_DENIED` with the API's own words, or
    /// UNAVAILABLE when it cannot be found out.
    pub async fn may(&self, verb: Verb, selection: &Selection) -> Result<(), Status> {
        self.check(&self.user, wanted(verb, selection)).await
    }

    /// Whether one object may be read; errors as for [`may`](Self::may).
    pub async fn may_get(&self, object: Object<'_>) -> Result<(), Status> {
        self.check(&self.user, vec![got(object)]).await
    }

    /// Whether the caller still is who it was, and still may: for each minute of a long watch. An error ends it. That
    /// it cannot be found out is none until [`TOLERATED`] after it last was.
    pub async fn recheck(&mut self, verb: Verb, selection: &Selection) -> Result<(), Status> {
        let outcome = async {
            let user = self.recognise().await?;
            if user.name != self.user.name {
                return Err(Status::unauthenticated("the credentials are somebody else's by now"));
            }
            self.check(&user, wanted(verb, selection)).await?;
            Ok(user)
        };
        match outcome.await {
            Ok(user) => {
                (self.user, self.confirmed) = (user, Instant::now());
                Ok(())
            }
            Err(status) if is_unknown(&status) && self.confirmed.elapsed() < TOLERATED => Ok(()),
            Err(status) => Err(status),
        }
    }

    async fn recognise(&self) -> Result<UserInfo, Status> {
        let authenticator = &self.access.authenticator;
        match authenticator.recognise(&self.headers, self.certificates.as_ref()).await {
            Ok(Identity { by: Means::Nothing, .. }) => {
                Err(Status::unauthenticated("credentials are needed: a bearer token or a client certificate"))
            }
            Ok(Identity { user, .. }) => Ok(user),
            Err(Unrecognised::Refused) => Err(Status::unauthenticated("the credentials are not valid")),
            Err(Unrecognised::Unknown) => {
                Err(Status::unavailable("whose the credentials are could not be found out"))
            }
        }
    }

    /// The first refusal, in order; a few are asked about at a time.
    async fn check(&self, user: &UserInfo, wanted: Vec<Attributes>) -> Result<(), Status> {
        let check = |wanted: Attributes| {
            let (authorizer, user) = (Arc::clone(&self.access.authorizer), user.clone());
            async move { authorizer.check(&user, &wanted).await.map_err(|error| refused(&error)) }
        };
        stream::iter(wanted.into_iter().map(check)).buffered(SIDE_BY_SIDE).try_collect::<()>().await
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("user", &self.user.name).finish_non_exhaustive()
    }
}

fn is_unknown(status: &Status) -> bool {
    status.code() == tonic::Code::Unavailable
}

fn refused(error: &ApiError) -> Status {
    match error {
        ApiError::Forbidden { message, .. } => Status::permission_denied(message),
        _ => Status::unavailable("whether this is allowed could not be found out"),
    }
}

/// What a selection asks for, one right for each namespace. It is what the API would ask of its own callers for lists of
/// the same; a condition that lists have no word for is left out, which asks for more.
fn wanted(verb: Verb, selection: &Selection) -> Vec<Attributes> {
    let labels = selection.labels();
    let fields = FieldSelector::all_of(selection.fields());
    let one = |namespace: Option<&str>| {
        let resource = if selection.level() == Level::Nodes { "nodes" } else { "pods" };
        attributes(verb.as_str(), resource, namespace, None, Some((labels, &fields)))
    };
    match selection.namespaces() {
        [] => vec![one(None)],
        named => named.iter().map(|namespace| one(Some(namespace))).collect(),
    }
}

fn got(object: Object<'_>) -> Attributes {
    match object {
        Object::Pod { namespace, name } => attributes("get", "pods", Some(namespace), Some(name), None),
        Object::Node(name) => attributes("get", "nodes", None, Some(name), None),
    }
}

fn attributes(
    verb: &str,
    resource: &str,
    namespace: Option<&str>,
    name: Option<&str>,
    which: Option<(&LabelSelector, &FieldSelector)>,
) -> Attributes {
    let text = |text: &str| Some(text.to_owned());
    let wanted = ResourceAttributes {
        verb: text(verb),
        group: text(GROUP),
        version: text("v1"),
        resource: text(resource),
        namespace: namespace.and_then(text),
        name: name.and_then(text),
        ..ResourceAttributes::default()
    };
    Attributes::reading(wanted, which.map(|(labels, _)| labels), which.map(|(_, fields)| fields))
}
