//! Each kind of absence, as `Explain` tells it.

use std::time::Duration;

use kubevitals::{
    client::{Client, Error},
    wire::{
        AbsenceReason as Reason, ExplainRequest, ExplainResponse, Link, LinkKind as Kind, LinkState as State,
        Verdict,
    },
};
use tokio::time::{Instant, sleep};

use crate::{
    apiserver::{
        ApiServer,
        make::{self, Pod},
        reviews::{Decision, User},
    },
    consumer::{container, node, options, pod, reader},
    fleet::Fleet,
    kubelet::{Kubelet, Manner},
    rig::{DEADLINE, NODE, Rig, agent_user},
};

/// Asks until there is this verdict for this reason.
async fn until(client: &Client, ask: ExplainRequest, verdict: Verdict, reason: Reason) -> ExplainResponse {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = client.explain(ask.clone()).await.unwrap();
        if (told.verdict(), told.reason()) == (verdict, reason) {
            return told;
        }
        assert!(Instant::now() < deadline, "not {verdict:?} {reason:?} in {DEADLINE:?}: {told:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn absent(client: &Client, ask: ExplainRequest, reason: Reason) -> ExplainResponse {
    until(client, ask, Verdict::Absent, reason).await
}

fn link(told: &ExplainResponse, kind: Kind) -> &Link {
    told.chain.iter().find(|link| link.kind() == kind).unwrap_or_else(|| panic!("no {kind:?}: {told:#?}"))
}

/// The first broken link: its kind, and that the answer's message is its own.
fn cause(told: &ExplainResponse) -> Kind {
    let broken = told.chain.iter().find(|link| link.state() == State::Broken);
    let broken = broken.unwrap_or_else(|| panic!("nothing is broken: {told:#?}"));
    assert_eq!(told.message, broken.message);
    broken.kind()
}

/// A rig with an agent on its node, and `shop/web-0` there, served.
async fn served() -> (Rig, Client, Pod) {
    let rig = Rig::start();
    let web = Pod::new("shop", "web-0", NODE);
    rig.run(&web, 100);
    rig.agent(NODE, &[rig.ingest()]);
    let client = reader(&rig);
    let told = until(&client, pod("shop", "web-0"), Verdict::Served, Reason::Unspecified).await;
    let states: Vec<_> = told.chain.iter().map(Link::state).collect();
    assert!(states.iter().all(|state| *state == State::Ok), "{told:#?}");
    let subject = told.subject.unwrap();
    assert_eq!((subject.node.as_str(), subject.pod_uid), (NODE, web.uid()));
    (rig, client, web)
}

/// An agent of a node in a fleet of its own, so that it can fall silent alone.
fn agent_apart(rig: &Rig, fleet: &Fleet, node: &str) {
    let token = format!("agent-of-{node}");
    rig.api.cluster.reviews.issue(&token, agent_user(node));
    fleet.agent(node, &token, &[rig.ingest()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_container_or_node_that_nobody_knows() {
    let (_rig, client, _) = served().await;
    assert_eq!(cause(&absent(&client, pod("shop", "none"), Reason::Unknown).await), Kind::Pod);
    let told = absent(&client, container("shop", "web-0", "none"), Reason::Unknown).await;
    assert_eq!(cause(&told), Kind::Pod);
    assert_eq!(cause(&absent(&client, node("none"), Reason::Unknown).await), Kind::Node);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_without_a_running_container() {
    let (rig, client, _) = served().await;
    rig.api.cluster.pods.put(Pod::new("shop", "starts", NODE).containers(&[]).object());
    let told = absent(&client, pod("shop", "starts"), Reason::NoContainers).await;
    assert_eq!(cause(&told), Kind::Pod);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_agent_on_the_node() {
    let (rig, client, _) = served().await;
    rig.api.cluster.nodes.put(make::node("n2", &[]));
    rig.api.cluster.pods.put(Pod::new("shop", "far", "n2").object());
    let told = absent(&client, pod("shop", "far"), Reason::NoAgent).await;
    assert_eq!(cause(&told), Kind::Agent);
    assert_eq!(link(&told, Kind::Counters).state(), State::Unknown);
    assert_eq!(cause(&absent(&client, node("n2"), Reason::NoAgent).await), Kind::Agent);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_fell_silent() {
    let rig = Rig::with(ApiServer::start(), &["--stale-after=3s"]);
    let client = reader(&rig);
    rig.run(&Pod::new("shop", "web-0", NODE), 100);
    rig.agent(NODE, &[rig.ingest()]);
    until(&client, pod("shop", "web-0"), Verdict::Served, Reason::Unspecified).await;
    rig.fleet.silence();
    let told = absent(&client, pod("shop", "web-0"), Reason::Stale).await;
    assert_eq!(cause(&told), Kind::Agent);
    assert!(link(&told, Kind::Agent).age.unwrap().seconds >= 3, "{told:#?}");
    // A node that hears nothing from its agent lacks its own numbers too.
    absent(&client, node(NODE), Reason::Stale).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_is_not_reported_also_takes_its_siblings_with_it() {
    let (rig, client, _) = served().await;
    let whole = Pod::new("shop", "two", NODE).containers(&["main", "side"]);
    rig.api.cluster.pods.put(whole.object());
    rig.fleet.run(&whole.containers(&["main"]), 100);
    let deadline = Instant::now() + DEADLINE;
    for ask in [pod("shop", "two"), container("shop", "two", "main"), container("shop", "two", "side")] {
        // The agent's next batch brings the first of them.
        while !absent(&client, ask.clone(), Reason::NotMeasured).await.message.contains("container side") {
            assert!(Instant::now() < deadline, "the other is not reported");
        }
        assert_eq!(cause(&absent(&client, ask, Reason::NotMeasured).await), Kind::Counters);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_was_read_once() {
    let rig = Rig::start();
    let (client, fleet) = (reader(&rig), Fleet::new(Duration::from_millis(200)));
    let web = Pod::new("shop", "web-0", NODE);
    fleet.come_late();
    fleet.silence_after(1);
    fleet.run(&web, 100);
    rig.api.cluster.pods.put(web.object());
    agent_apart(&rig, &fleet, NODE);
    let told = absent(&client, pod("shop", "web-0"), Reason::FirstSample).await;
    let counters = link(&told, Kind::Counters);
    assert!(counters.message.contains("1 sample,"), "{}", counters.message);
    absent(&client, node(NODE), Reason::FirstSample).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readings_that_are_too_close_together() {
    let rig = Rig::start();
    let (client, fleet) = (reader(&rig), Fleet::new(Duration::from_millis(200)));
    let web = Pod::new("shop", "web-0", NODE);
    fleet.come_late();
    fleet.silence_after(2);
    fleet.run(&web, 100);
    rig.api.cluster.pods.put(web.object());
    agent_apart(&rig, &fleet, NODE);
    let told = absent(&client, pod("shop", "web-0"), Reason::WindowTooShort).await;
    assert!(link(&told, Kind::Counters).message.contains("2 samples"), "{told:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_without_a_place() {
    let rig = Rig::with(ApiServer::start(), &["--max-containers=1"]);
    let client = reader(&rig);
    for name in ["one", "two"] {
        rig.run(&Pod::new("shop", name, NODE), 100);
    }
    rig.agent(NODE, &[rig.ingest()]);
    let deadline = Instant::now() + DEADLINE;
    let told = loop {
        let mut told = Vec::new();
        for name in ["one", "two"] {
            told.push(client.explain(pod("shop", name)).await.unwrap());
        }
        if let Some(over) = told.into_iter().find(|told| told.reason() == Reason::OverLimit) {
            break over;
        }
        assert!(Instant::now() < deadline, "nothing is over the limit");
    };
    assert_eq!(cause(&told), Kind::Counters);
    let told = client.explain(node(NODE)).await.unwrap();
    let agent = link(&told, Kind::Agent);
    assert_eq!(agent.state(), State::Degraded);
    assert!(agent.message.contains("over the limit"), "{}", agent.message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_the_agent_of_another_node_announces() {
    let (rig, client, _) = served().await;
    rig.api.cluster.nodes.put(make::node("n2", &[]));
    rig.agent("n2", &[rig.ingest()]);
    let true_pod = Pod::new("shop", "far", "n2");
    rig.api.cluster.pods.put(true_pod.object());
    rig.fleet.run(&Pod { node: NODE.to_owned(), ..true_pod }, 9000);
    let told = absent(&client, pod("shop", "far"), Reason::NotMeasured).await;
    assert_eq!(cause(&told), Kind::Counters);
    assert_eq!(told.subject.unwrap().node, "n2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kubelet_that_is_polled_and_does_not_answer() {
    let flags = ["--kubelet-fallback", "--kubelet-use-node-status-port", "--metric-resolution=10s"];
    let rig = Rig::with(ApiServer::start(), &flags);
    let client = reader(&rig);
    let kubelet = Kubelet::start(&rig.api.pki.serving, &["127.0.0.1"], String::new);
    kubelet.set(Manner::Status(500));
    rig.api.cluster.nodes.put(kubelet.node("n2"));
    rig.api.cluster.pods.put(Pod::new("shop", "far", "n2").object());
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = absent(&client, pod("shop", "far"), Reason::NoKubelet).await;
        if link(&told, Kind::Kubelet).message.contains("500") {
            assert_eq!(cause(&told), Kind::Kubelet);
            assert_eq!(link(&told, Kind::Agent).state(), State::Degraded);
            return;
        }
        assert!(Instant::now() < deadline, "{told:#?}");
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_picture_that_is_held_while_a_new_container_is_not_measured() {
    let (rig, client, web) = served().await;
    rig.api.cluster.pods.put(web.containers(&["main", "new"]).object());
    let told = until(&client, pod("shop", "web-0"), Verdict::Held, Reason::NotMeasured).await;
    assert!(told.message.contains("container new"), "{}", told.message);
    assert_eq!(link(&told, Kind::Picture).state(), State::Degraded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_whose_cgroup_is_gone() {
    let (rig, client, web) = served().await;
    rig.fleet.end(&web);
    // The API has not heard of it yet. The last numbers are served until they are stale.
    let deadline = Instant::now() + DEADLINE;
    loop {
        let told = client.explain(pod("shop", "web-0")).await.unwrap();
        let counters = link(&told, Kind::Counters);
        if counters.state() != State::Ok {
            eprintln!("{:?}: {}", told.verdict(), counters.message);
            assert!(counters.message.contains("its cgroup is gone"), "{told:#?}");
            return;
        }
        assert!(Instant::now() < deadline, "{told:#?}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_learns_nothing_of_other_namespaces_and_little_of_nodes() {
    let (rig, _, _) = served().await;
    rig.api.cluster.reviews.rule(|spec| {
        let wanted = &spec["resourceAttributes"];
        Decision::when(
            wanted["namespace"] == "shop" && wanted["resource"] == "pods" && wanted["verb"] == "get",
        )
    });
    rig.api.cluster.reviews.issue("token-of-tenant", User::new("tenant", &["tenants"]));
    let tenant = Client::new(options(&rig).token("token-of-tenant"));
    rig.run(&Pod::new("bank", "vault", NODE), 100);

    let told = tenant.explain(pod("shop", "web-0")).await.unwrap();
    assert_eq!(told.verdict(), Verdict::Served);
    assert_eq!(link(&told, Kind::Node).state(), State::Unknown);
    let text = format!("{told:?}");
    assert!(!text.contains(kubevitals::COMMIT) && !text.contains("streams"), "{text}");

    // Whether it exists or not, the words are the same.
    let refused = async |ask: ExplainRequest| match tenant.explain(ask).await {
        Err(Error::Forbidden(message)) => message,
        other => panic!("not forbidden: {other:?}"),
    };
    let (there, not) = (refused(pod("bank", "vault")).await, refused(pod("bank", "nowhere")).await);
    assert_eq!(there.replace("vault", "nowhere"), not);
    let there = refused(container("bank", "vault", "main")).await;
    assert_eq!(there, refused(container("bank", "vault", "none")).await);
    let (there, not) = (refused(node(NODE)).await, refused(node("n9")).await);
    assert_eq!(there.replace(NODE, "n9"), not);

    let nobody = Client::new(options(&rig).token("token-of-nobody"));
    let answer = nobody.explain(pod("shop", "web-0")).await;
    assert!(matches!(answer, Err(Error::Unauthenticated(_))), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_about_nothing_names_the_field() {
    let rig = Rig::start();
    let client = reader(&rig);
    let field = async |ask: ExplainRequest| match client.explain(ask).await {
        Err(Error::Invalid { field, .. }) => field,
        other => panic!("not invalid: {other:?}"),
    };
    assert_eq!(field(ExplainRequest { subject: None }).await, "subject");
    assert_eq!(field(pod("shop", "../web")).await, "pod.name");
    assert_eq!(field(container("shop", "web", "")).await, "container.container");
    assert_eq!(field(node("")).await, "node");
}
