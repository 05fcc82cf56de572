use std::sync::atomic::{AtomicU64, Ordering};

use kubevitals::wire::{ReviewRequest, ReviewResponse, ingest_server::Ingest as _};
use serde_json::{Value, json};
use tonic::{Code, Request};

use super::*;
use crate::{
    auth::{
        access_review::AccessReviews,
        delegated::Delegated,
        fake::{Answer, FakeCluster, access_review, failure, token_review},
        token::StaticTokens,
        token_review::TokenReviews,
    },
    gate::{AgentGate, ReviewedAgents},
    ingest::{Ingest, Rush},
    metrics::{self, auth::Auth},
    names::{Names, paths::PathNames},
    store::{Limits, Store},
};

const AGENT: &str = "system:serviceaccount:kubevitals:kubevitals-agent";
const SECOND: Duration = Duration::from_secs(1);

/// An agent's token is its node's name, a scraper's `may` or `may-not`.
fn cluster(path: &str, asked: &Value) -> Answer {
    if path.contains("subjectaccessreviews") {
        let allowed = asked["spec"]["user"] == "may";
        return access_review(&json!({"allowed": allowed, "reason": "by role"}));
    }
    let token = asked["spec"]["token"].as_str().unwrap();
    let extra = |node: &str| json!({"authentication.kubernetes.io/node-name": [node], "authentication.kubernetes.io/pod-uid": ["u"]});
    match token {
        "n1" | "n2" => token_review(&json!({"authenticated": true, "audiences": ["kubevitals"],
            "user": {"username": AGENT, "extra": extra(token)}})),
        "may" | "may-not" => token_review(&json!({"authenticated": true, "user": {"username": token}})),
        _ => token_review(&json!({"authenticated": false})),
    }
}

struct World {
    cluster: Arc<FakeCluster>,
    ingest: Ingest,
}

impl World {
    fn new() -> Self {
        let (cluster, client) = FakeCluster::new(cluster);
        let auth = Auth::default();
        let reviews = |audiences| TokenReviews::new(client.clone(), audiences, SECOND, &auth).unwrap();
        let delegated = Delegated::new(Arc::default(), reviews(vec![]), auth.authentication.clone());
        let access = AccessReviews::new(client.clone(), SECOND, SECOND, &auth);
        let authorizer = Authorizer::Delegated { reviews: access, metrics: auth.authorization.clone() };
        let agents = ReviewedAgents::new(reviews(vec!["kubevitals".to_owned()]), AGENT.to_owned());
        let ingest = ingest(
            AgentGate::Reviewed(Arc::new(agents)),
            Some((Authenticator::Delegated(delegated), authorizer)),
        );
        Self { cluster, ingest }
    }
}

fn ingest(gate: AgentGate, reviewer: Option<(Authenticator, Authorizer)>) -> Ingest {
    let limits = Limits { containers: 1, nodes: 1, kept: SECOND };
    let reviewer = reviewer.map(|(who, may)| Arc::new(Reviewer::new(Arc::new(who), Arc::new(may))));
    Ingest {
        store: Arc::new(Store::new(limits)),
        directory: Arc::default(),
        names: Arc::new(Names::Paths(PathNames::new(false))),
        gate: Arc::new(gate),
        reviewer,
        metrics: metrics::Ingest::default(),
        complaints: Arc::default(),
        refusals: Arc::default(),
        rush: Rush::new(Duration::from_secs(15)),
        shutdown: tokio_util::sync::CancellationToken::new(),
    }
}

async fn ask(
    ingest: &Ingest,
    agent: &str,
    node: &str,
    token: &str,
) -> Result<ReviewResponse, (Code, String)> {
    let mut request = Request::new(ReviewRequest { node_name: node.to_owned(), token: token.to_owned() });
    request.metadata_mut().insert("authorization", format!("Bearer {agent}").parse().unwrap());
    let answer = ingest.review(request).await;
    answer.map(tonic::Response::into_inner).map_err(|status| (status.code(), status.message().to_owned()))
}

#[tokio::test]
async fn a_token_is_judged_as_a_kubelet_would_have_it_judged() {
    let world = World::new();
    let allowed = ask(&world.ingest, "n1", "n1", "may").await.unwrap();
    assert!(allowed.authenticated && allowed.allowed && allowed.user == "may", "{allowed:?}");
    let wanted =
        world.cluster.calls().into_iter().find(|(path, _)| path.contains("subjectaccess")).unwrap().1;
    assert_eq!(
        wanted["spec"]["resourceAttributes"],
        json!({"verb": "get", "version": "v1", "resource": "nodes", "subresource": "metrics", "name": "n1"})
    );
    let forbidden = ask(&world.ingest, "n1", "n1", "may-not").await.unwrap();
    assert!(forbidden.authenticated && !forbidden.allowed);
    assert_eq!(
        forbidden.reason,
        "nodes \"n1\" is forbidden: User \"may-not\" cannot get resource \"nodes/metrics\" in API group \"\" at the \
         cluster scope: by role"
    );
    for nobody in ["garbage", "", "may more", "may\n", "m\u{e4}y"] {
        let answer = ask(&world.ingest, "n1", "n1", nobody).await.unwrap();
        assert!(!answer.authenticated && !answer.allowed && answer.user.is_empty(), "{nobody:?}: {answer:?}");
    }
}

#[tokio::test]
async fn an_agent_asks_for_its_own_node_alone_and_a_stranger_for_none() {
    let world = World::new();
    let refused = ask(&world.ingest, "n1", "n2", "may").await.unwrap_err();
    assert_eq!(refused, (Code::PermissionDenied, "the bearer token is another node's".to_owned()));
    assert!(
        world.cluster.calls().iter().all(|(_, body)| body["spec"]["token"] != "may"),
        "nothing was asked"
    );
    for stranger in ["may", "garbage"] {
        let (code, _) = ask(&world.ingest, stranger, "n1", "may").await.unwrap_err();
        assert!(matches!(code, Code::Unauthenticated | Code::PermissionDenied), "{stranger}: {code:?}");
    }
    let empty = ask(&world.ingest, "n1", "", "may").await.unwrap_err();
    assert_eq!(empty.0, Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn while_the_cluster_does_not_answer_nothing_is_allowed_and_nobody_is_refused() {
    let world = World::new();
    ask(&world.ingest, "n1", "n1", "may").await.unwrap();
    world.cluster.set(
        |path, asked| {
            if path.contains("subjectaccess") { failure(500) } else { cluster(path, asked) }
        },
    );
    tokio::time::sleep(2 * SECOND).await;
    let answer = ask(&world.ingest, "n1", "n1", "may").await.unwrap_err();
    assert_eq!(answer.0, Code::Unavailable);
    world.cluster.set(|_, asked| match asked["spec"]["token"].as_str() {
        Some("n1") => cluster("", asked),
        _ => failure(500),
    });
    let answer = ask(&world.ingest, "n1", "n1", "other").await.unwrap_err();
    assert_eq!(answer, (Code::Unavailable, "the token cannot be reviewed now".to_owned()));
}

#[tokio::test]
async fn who_guesses_is_stopped_and_the_others_are_not() {
    let world = World::new();
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    world.cluster.set(move |path, body| {
        count.fetch_add(1, Ordering::Relaxed);
        cluster(path, body)
    });
    let begun = Instant::now();
    let mut limited = 0;
    for guess in 0..1000 {
        match ask(&world.ingest, "n1", "n1", &format!("guess-{guess}")).await {
            Ok(answer) => assert!(!answer.authenticated),
            Err((code, _)) => {
                assert_eq!(code, Code::ResourceExhausted);
                limited += 1;
            }
        }
    }
    let gained = u64::try_from(begun.elapsed().as_millis()).unwrap() / 100;
    assert!(1000 - limited <= 100 + gained + 1, "{limited}");
    assert!(ask(&world.ingest, "n2", "n2", "may").await.unwrap().allowed);
}

#[tokio::test]
async fn without_a_cluster_the_fixed_tokens_of_the_api_count() {
    let tokens = || StaticTokens::new([("agent", "agent")]);
    let gate = || AgentGate::Tokens(Arc::new(tokens()));
    let clients = Authenticator::Tokens(StaticTokens::new([("reads", "api-client")]));
    let world = ingest(gate(), Some((clients, Authorizer::Named)));
    assert!(ask(&world, "agent", "any", "reads").await.unwrap().allowed);
    assert!(!ask(&world, "agent", "any", "agent").await.unwrap().authenticated);
    let nobody = ask(&ingest(gate(), None), "agent", "any", "reads").await.unwrap_err();
    assert_eq!(nobody.0, Code::Unimplemented);
}
