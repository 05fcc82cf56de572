//! Who is not let in, and that everybody learns why.

use crate::{
    apiserver::{make::Pod, reviews::User},
    program::AGENT_ACCOUNT,
    rig::{AGENT_AUDIENCE, NODE, Rig, agent_user},
    witness,
};

/// How often each thief tries.
const TRIES: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn each_thief_is_refused_with_its_reason_counted_and_logged_once_and_nobody_else_is_disturbed() {
    let rig = Rig::start();
    witness::start(&rig).await;
    let node = "authentication.kubernetes.io/node-name";
    let user = |name: &str| User::new(name, &["system:serviceaccounts"]);
    let unknown_pod = user(AGENT_ACCOUNT)
        .extra("authentication.kubernetes.io/pod-name", "nosuch")
        .extra("authentication.kubernetes.io/pod-uid", "u")
        .audience(AGENT_AUDIENCE);
    let other = user("system:serviceaccount:default:other").extra(node, NODE).audience(AGENT_AUDIENCE);
    let thieves = [
        ("a forged node name", Some(agent_user("n2")), "PermissionDenied", "another node's", "other_node"),
        (
            "two nodes",
            Some(agent_user(NODE).extra(node, "n2")),
            "PermissionDenied",
            "exactly one",
            "no_single_node",
        ),
        (
            "no binding",
            Some(user(AGENT_ACCOUNT).audience(AGENT_AUDIENCE)),
            "PermissionDenied",
            "not bound",
            "unbound_token",
        ),
        ("another account", Some(other), "PermissionDenied", "no agent's", "wrong_account"),
        (
            "another audience",
            Some(user(AGENT_ACCOUNT).extra(node, NODE)),
            "Unauthenticated",
            "audience",
            "invalid_token",
        ),
        ("expired", None, "Unauthenticated", "expired", "invalid_token"),
        ("of a pod nobody knows", Some(unknown_pod), "Unavailable", "not known yet", "unknown_pod"),
    ];
    for (token, user, code, text, _) in &thieves {
        let token = token.replace(' ', "-");
        if let Some(user) = user {
            rig.api.cluster.reviews.issue(&token, user.clone());
        }
        for _ in 0..TRIES {
            // Blocking, as the fleet has threads of its own.
            let tried = tokio::task::block_in_place(|| rig.fleet.try_as(NODE, &token, &rig.ingest()));
            let refused = tried.expect_err(&token);
            assert!(refused.starts_with(code) && refused.contains(text), "{token}: {refused}");
        }
    }
    let metrics = rig.aggregator.metrics();
    let log = rig.aggregator.program.log();
    for reason in thieves.iter().map(|(.., reason)| reason) {
        let name = format!("kubevitals_aggregator_ingest_refused_agents_total{{reason=\"{reason}\"}}");
        let same = thieves.iter().filter(|(.., other)| other == reason).count();
        let expected = u32::try_from(same * TRIES).unwrap();
        assert_eq!(metrics.get(&name).to_bits(), f64::from(expected).to_bits(), "{reason}");
        let logged =
            log.lines().filter(|line| line.contains("agent refused") && line.contains(reason)).count();
        assert_eq!(logged, 1, "{reason} is logged once");
    }
    witness::lost_nothing(&rig, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_at_once_when_the_pod_of_its_token_is_gone_and_no_other_does() {
    let rig = Rig::start();
    witness::start(&rig).await;
    let pod = Pod::new("kube-system", "kubevitals-agent-x", NODE);
    let user = agent_user(NODE)
        .extra("authentication.kubernetes.io/pod-name", &pod.name)
        .extra("authentication.kubernetes.io/pod-uid", &pod.uid());
    rig.api.cluster.reviews.issue("of-a-pod", user);
    rig.api.cluster.pods.put(pod.object());
    rig.fleet.agent(NODE, "of-a-pod", &[rig.ingest()]);
    let path = format!("/apis/metrics.k8s.io/v1/nodes/{NODE}");
    rig.until(&rig.admin(), &path, |answer| answer.status == 200).await;

    let gone = std::time::Instant::now();
    rig.api.cluster.reviews.revoke("of-a-pod");
    rig.api.cluster.pods.delete(&pod.namespace, &pod.name);
    rig.logged("\"reason\":\"pod_gone\"", 1).await;
    eprintln!("the stream ended {:?} after its pod", gone.elapsed());
    // Nor does it come back: its token is asked about anew.
    rig.logged("\"reason\":\"invalid_token\"", 1).await;
    assert!(
        rig.fleet.ends(NODE)[0].contains("the pod of the bearer token is gone"),
        "{:?}",
        rig.fleet.ends(NODE)
    );
    assert_eq!(rig.fleet.ends(witness::WITNESS), [] as [String; 0]);
}
