use http::{HeaderName, HeaderValue};
use serde_json::json;

use super::*;
use crate::{
    auth::{
        fake::{CLIENT, FakeCluster, Signer, Wish, config_map, failure, token_review},
        user::{ANONYMOUS, AUTHENTICATED},
    },
    metrics::auth::Auth,
};

struct World {
    clients: Signer,
    proxy: Signer,
    trust: Arc<ArcSwap<Trust>>,
    cluster: Arc<FakeCluster>,
    delegated: Delegated,
}

/// The front proxy.
const PROXY: Wish<'static> = Wish { name: "front-proxy-client", ..CLIENT };

const USER: (&str, &str) = ("x-remote-user", "view");
const GOOD: (&str, &str) = ("authorization", "Bearer good");
const BAD: (&str, &str) = ("authorization", "Bearer bad");

impl World {
    /// A cluster that knows the token `good` as bob's.
    fn new() -> Self {
        let (clients, proxy) = (Signer::new("clients"), Signer::new("proxy"));
        let trust = Trust::from_config_map(&config_map(&clients, &proxy)).unwrap();
        let trust = Arc::new(ArcSwap::from_pointee(trust));
        let (cluster, client) = FakeCluster::new(|_, body| {
            let good = body["spec"]["token"] == "good";
            token_review(&json!({"authenticated": good, "user": {"username": "bob"}}))
        });
        let metrics = Auth::default();
        let tokens = TokenReviews::new(client, Vec::new(), Duration::from_secs(10), &metrics).unwrap();
        let delegated = Delegated::new(Arc::clone(&trust), tokens, metrics.authentication);
        Self { clients, proxy, trust, cluster, delegated }
    }

    /// Name and means, or the code of the error.
    async fn caller(&self, shown: Option<&PeerCertificates>, headers: &[(&str, &str)]) -> Caller {
        let identity = self.identity(shown, headers).await.map_err(|_| 401_u16)?;
        Ok((identity.user.name, identity.by))
    }

    async fn identity(
        &self,
        shown: Option<&PeerCertificates>,
        headers: &[(&str, &str)],
    ) -> Result<Identity, Unrecognised> {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
        };
        self.delegated.authenticate(&headers.iter().map(pair).collect(), shown).await
    }
}

/// Recognised so.
type Caller = Result<(String, Means), u16>;

#[expect(clippy::unnecessary_wraps, reason = "compared with what may be an error")]
fn is(name: &str, by: Means) -> Caller {
    Ok((name.to_owned(), by))
}

#[tokio::test]
async fn c077_who_shows_nothing_is_anonymous() {
    let world = World::new();
    assert_eq!(world.identity(None, &[]).await, Ok(Identity::anonymous()));
    assert_eq!(
        world.caller(None, &[("authorization", "Basic c2VjcmV0")]).await,
        is(ANONYMOUS, Means::Nothing)
    );
    assert!(world.cluster.calls().is_empty());
}

#[tokio::test]
async fn c080_c081_a_token_is_its_users_or_refused() {
    let world = World::new();
    assert_eq!(world.caller(None, &[GOOD]).await, is("bob", Means::Token));
    assert_eq!(world.caller(None, &[BAD]).await, Err(401));
}

#[tokio::test(start_paused = true)]
async fn c084_a_token_that_cannot_be_checked_is_refused() {
    let world = World::new();
    world.cluster.set(|_, _| failure(500));
    assert_eq!(world.caller(None, &[GOOD]).await, Err(401));
}

#[tokio::test]
async fn c089_the_front_proxy_speaks_for_others() {
    let world = World::new();
    let proxy = world.proxy.shown(PROXY);
    let headers = [USER, ("x-remote-group", "g1"), ("x-remote-uid", "42"), BAD];
    let identity = world.identity(Some(&proxy), &headers).await.unwrap();
    assert_eq!((identity.user.name.as_str(), identity.by), ("view", Means::FrontProxy));
    assert_eq!(identity.user.groups, ["g1", AUTHENTICATED]);
    assert_eq!(identity.user.uid.as_deref(), Some("42"));
    assert!(world.cluster.calls().is_empty(), "the first that recognises decides");
}

#[tokio::test]
async fn c091_the_front_proxy_itself_is_nobody() {
    let world = World::new();
    let proxy = world.proxy.shown(PROXY);
    assert_eq!(world.caller(Some(&proxy), &[]).await, Err(401));
    assert_eq!(world.caller(Some(&proxy), &[("x-remote-user", "")]).await, Err(401));
    assert_eq!(world.caller(Some(&proxy), &[GOOD]).await, is("bob", Means::Token));
    assert_eq!(world.caller(Some(&proxy), &[BAD]).await, Err(401));
}

#[tokio::test]
async fn c092_a_front_proxy_of_another_name_or_authority_is_refused() {
    let world = World::new();
    let table = [
        world.proxy.shown(CLIENT),
        Signer::new("proxy").shown(PROXY),
        world.proxy.shown(Wish { expired: true, ..PROXY }),
    ];
    for shown in table {
        assert_eq!(world.caller(Some(&shown), &[USER]).await, Err(401));
    }
}

#[tokio::test]
async fn c093_headers_without_the_proxys_certificate_are_nothing() {
    let world = World::new();
    let headers = [USER, ("x-remote-group", "system:masters")];
    assert_eq!(world.identity(None, &headers).await, Ok(Identity::anonymous()));
    let alice = world.identity(Some(&world.clients.shown(CLIENT)), &headers).await.unwrap();
    assert_eq!((alice.user.name.as_str(), alice.by), ("alice", Means::Certificate));
    assert_eq!(alice.user.groups, [AUTHENTICATED]);
    // The front proxy's name from the clients' authority.
    let posing = world.identity(Some(&world.clients.shown(PROXY)), &headers).await.unwrap();
    assert_eq!((posing.user.name.as_str(), posing.by), ("front-proxy-client", Means::Certificate));
}

#[tokio::test]
async fn c094_a_certificate_that_nobody_knows_is_refused_unless_a_token_is_good() {
    let world = World::new();
    let unknown = Signer::new("x").shown(CLIENT);
    let expired = world.clients.shown(Wish { expired: true, ..CLIENT });
    for shown in [unknown, expired] {
        assert_eq!(world.caller(Some(&shown), &[]).await, Err(401));
        assert_eq!(world.caller(Some(&shown), &[GOOD]).await, is("bob", Means::Token));
    }
    assert_eq!(
        world.caller(Some(&world.clients.shown(CLIENT)), &[BAD]).await,
        is("alice", Means::Certificate)
    );
}

#[tokio::test]
async fn c095_whoever_is_anonymous_to_the_proxy_is_so_to_us() {
    let world = World::new();
    let proxy = world.proxy.shown(PROXY);
    let identity = world.identity(Some(&proxy), &[("x-remote-user", ANONYMOUS)]).await.unwrap();
    assert_eq!((identity.user.groups.as_slice(), identity.by), (&[][..], Means::FrontProxy));
}

#[tokio::test]
async fn c100_a_changed_trust_counts_for_the_next_request_of_the_same_connection() {
    let world = World::new();
    let (old, new) = (world.proxy.shown(PROXY), Signer::new("new"));
    assert_eq!(world.caller(Some(&old), &[USER]).await, is("view", Means::FrontProxy));
    let trust = Trust::from_config_map(&config_map(&world.clients, &new)).unwrap();
    world.trust.store(Arc::new(trust));
    assert_eq!(world.caller(Some(&old), &[USER]).await, Err(401));
    assert_eq!(world.caller(Some(&new.shown(PROXY)), &[USER]).await, is("view", Means::FrontProxy));
}

#[tokio::test]
async fn c101_while_nobody_is_trusted_certificates_are_refused() {
    let world = World::new();
    world.trust.store(Arc::default());
    for shown in [world.proxy.shown(PROXY), world.clients.shown(CLIENT)] {
        assert_eq!(world.caller(Some(&shown), &[USER]).await, Err(401));
    }
    assert_eq!(world.caller(None, &[GOOD]).await, is("bob", Means::Token));
}

#[tokio::test]
async fn a_proxys_header_that_is_not_text_is_not_answered_as_the_proxy_itself() {
    let mut world = World::new();
    // One authority for both, told apart by names.
    world.proxy = Signer::new("both");
    let trust = Trust::from_config_map(&config_map(&world.proxy, &world.proxy)).unwrap();
    world.trust.store(Arc::new(trust));
    let proxy = world.proxy.shown(PROXY);
    let mut headers = http::HeaderMap::new();
    headers.insert("x-remote-user", HeaderValue::from_bytes(b"j\xfcrgen").unwrap());
    let outcome = world.delegated.authenticate(&headers, Some(&proxy)).await;
    assert_eq!(outcome, Err(Unrecognised::Refused));
}

#[tokio::test]
async fn c081_a_token_that_is_not_ascii_is_wrong_and_not_anonymous() {
    let world = World::new();
    for value in [&b"Bearer j\xfcrgen"[..], "Bearer jürgen".as_bytes()] {
        let mut headers = http::HeaderMap::new();
        headers.insert("authorization", HeaderValue::from_bytes(value).unwrap());
        assert_eq!(world.delegated.authenticate(&headers, None).await, Err(Unrecognised::Refused));
    }
}
