//! Who is let in, and that whoever is not learns nothing.

use kubevitals::wire::{
    ContainerRef, Level, ListRequest, PodRef, RawRequest, Selection, raw_request::Subject,
};
use tonic::{Code, Status};

use crate::{
    apiserver::{
        make::Pod,
        reviews::{Decision, Fault, User},
    },
    caller::{Caller, names},
    rig::{NODE, Rig, Who},
};

/// A rig with a pod in each of two namespaces, of which `tenant` may read its own alone.
pub(crate) async fn tenancy() -> Rig {
    let rig = Rig::start();
    rig.agent(NODE, &[rig.ingest()]);
    for namespace in ["ours", "theirs"] {
        rig.run(&Pod::new(namespace, "web", NODE).label("app", "web"), 250);
    }
    rig.api.cluster.reviews.rule(|spec| {
        let (user, wanted) = (&spec["user"], &spec["resourceAttributes"]);
        Decision::when(user == "tenant" && wanted["namespace"] == "ours")
    });
    rig.api.cluster.reviews.issue("tenant's", User::new("tenant", &[]));
    let admin = Caller::new(&rig, &rig.admin()).await;
    admin.until(&ListRequest::default(), |answer| answer.usages.len() == 2).await;
    rig
}

fn of(namespaces: &[&str]) -> Selection {
    let namespaces = namespaces.iter().map(ToString::to_string).collect();
    Selection { namespaces, ..Selection::default() }
}

/// What a caller can tell of a refusal.
fn told(status: &Status) -> (Code, String, Vec<u8>) {
    (status.code(), status.message().to_owned(), status.details().to_vec())
}

fn pod(namespace: &str, name: &str) -> RawRequest {
    let subject = Subject::Pod(PodRef { namespace: namespace.to_owned(), name: name.to_owned() });
    RawRequest { subject: Some(subject), after_time_us: 0 }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_read_one_namespace_reads_that_one_alone() {
    let rig = tenancy().await;
    let tenant = Caller::new(&rig, &Who::bearer("tenant's")).await;
    let own = tenant.select(of(&["ours"])).await.unwrap();
    assert_eq!((names(&own.usages), own.absent.len()), (vec!["ours/web".to_owned()], 0));
    let spec = rig.api.cluster.reviews.of_access.last();
    let wanted = &spec["resourceAttributes"];
    let is = |field: &str, value: &str| wanted[field] == *value;
    assert!(
        is("group", "metrics.k8s.io") && is("version", "v1") && is("resource", "pods") && is("verb", "list"),
        "{wanted}"
    );
    for selection in [of(&["theirs"]), of(&["ours", "theirs"]), of(&["nosuch"]), Selection::default()] {
        let refused = tenant.select(selection.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{selection:?}: {refused}");
    }
    let nodes = Selection { level: Level::Nodes.into(), ..Selection::default() };
    assert_eq!(tenant.select(nodes).await.unwrap_err().code(), Code::PermissionDenied);
    let refused = tenant.select(of(&["theirs"])).await.unwrap_err();
    assert_eq!(
        refused.message(),
        "pods.metrics.k8s.io is forbidden: User \"tenant\" cannot list resource \"pods\" in API group \
         \"metrics.k8s.io\" in the namespace \"theirs\""
    );
}

/// Everything that a stranger to a namespace can ask of it, with and without something being there.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_the_same_whether_there_is_something_or_not() {
    let rig = tenancy().await;
    let tenant = Caller::new(&rig, &Who::bearer("tenant's")).await;
    let blind = |status: Status, namespace: &str| {
        let (code, message, details) = told(&status);
        assert_eq!(code, Code::PermissionDenied, "{status}");
        (message.replace(namespace, "NAMESPACE"), details)
    };
    let mut lists = Vec::new();
    for namespace in ["theirs", "nosuch"] {
        lists.push(blind(tenant.select(of(&[namespace])).await.unwrap_err(), namespace));
    }
    assert_eq!(lists[0], lists[1]);
    let uid = Pod::new("theirs", "web", NODE).uid();
    for uids in [vec![uid], vec!["nosuch".to_owned()]] {
        let by_uid = Selection { uids: uids.clone(), ..of(&["ours"]) };
        let answer = tenant.select(by_uid).await.unwrap();
        assert_eq!((answer.usages.len(), answer.absent.len()), (0, 0), "{uids:?}");
        assert_eq!(answer.next_page_token, "");
        let everywhere = Selection { uids, ..Selection::default() };
        assert_eq!(tenant.select(everywhere).await.unwrap_err().code(), Code::PermissionDenied);
    }
    let mut raws = Vec::new();
    for name in ["web", "nosuch"] {
        raws.push(blind(tenant.raw(pod("theirs", name)).await.unwrap_err(), name));
        let container = ContainerRef {
            namespace: "theirs".to_owned(),
            pod: name.to_owned(),
            container: "main".to_owned(),
        };
        let container = RawRequest { subject: Some(Subject::Container(container)), after_time_us: 0 };
        raws.push(blind(tenant.raw(container).await.unwrap_err(), name));
    }
    assert!(raws.iter().all(|raw| *raw == raws[0]), "{raws:?}");
    let nodes = [NODE, "nosuch"]
        .map(|node| RawRequest { subject: Some(Subject::Node(node.to_owned())), after_time_us: 0 });
    let mut of_nodes = Vec::new();
    for (node, request) in [NODE, "nosuch"].into_iter().zip(nodes) {
        of_nodes.push(blind(tenant.raw(request).await.unwrap_err(), node));
    }
    assert_eq!(of_nodes[0], of_nodes[1]);
    // Whoever is entitled is told.
    assert_eq!(tenant.raw(pod("ours", "nosuch")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(tenant.raw(pod("ours", "web")).await.unwrap().series.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn selectors_are_told_to_the_reviewer_as_the_api_tells_them() {
    let rig = tenancy().await;
    let tenant = Caller::new(&rig, &Who::bearer("tenant's")).await;
    let selection = Selection {
        label_selector: "app=web".to_owned(),
        names: vec!["web".to_owned()],
        node: NODE.to_owned(),
        ..of(&["ours"])
    };
    assert_eq!(tenant.select(selection).await.unwrap().usages.len(), 1);
    let ours = rig.api.cluster.reviews.of_access.last()["resourceAttributes"].clone();
    let path = format!(
        "/apis/metrics.k8s.io/v1/namespaces/ours/pods?labelSelector=app%3Dweb&\
         fieldSelector=metadata.name%3Dweb%2Cspec.nodeName%3D{NODE}&limit=1"
    );
    rig.api.cluster.reviews.of_access.forget();
    // The same question, from somebody of whom nothing is remembered.
    rig.get(&rig.proxied(&User::new("somebody", &[])), &path).await;
    let theirs = rig.api.cluster.reviews.of_access.last()["resourceAttributes"].clone();
    assert_eq!(ours, theirs);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_are_recognised_as_by_the_api() {
    let rig = tenancy().await;
    let code = async |who: &Who| {
        let caller = Caller::new(&rig, who).await;
        caller.select(of(&["ours"])).await.map_err(|status| status.code()).err()
    };
    assert_eq!(code(&Who::bearer("tenant's")).await, None);
    assert_eq!(code(&rig.proxied(&User::new("tenant", &[]))).await, None, "the front proxy vouches");
    let certificate = Who::certificate(rig.api.pki.user("tenant", &[]));
    assert_eq!(code(&certificate).await, None, "a client certificate");
    assert_eq!(code(&Who::nobody()).await, Some(Code::Unauthenticated));
    assert_eq!(code(&Who::bearer("wrong")).await, Some(Code::Unauthenticated));
    let claims = Who::nobody().header("x-remote-user", "tenant");
    assert_eq!(code(&claims).await, Some(Code::Unauthenticated), "nobody vouches");
    let basic = Who::nobody().header("authorization", "Basic dGVuYW50");
    assert_eq!(code(&basic).await, Some(Code::Unauthenticated));
    let acts = Who::bearer("tenant's").header("impersonate-user", "admin");
    assert_eq!(code(&acts).await, Some(Code::PermissionDenied));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_be_found_out_is_told_to_come_back() {
    let rig = tenancy().await;
    let reviews = &rig.api.cluster.reviews;
    reviews.of_access.fail(Fault::Status(403));
    let tenant = Caller::new(&rig, &Who::bearer("tenant's")).await;
    assert_eq!(tenant.select(of(&["ours"])).await.unwrap_err().code(), Code::Unavailable);
    reviews.of_access.recover();
    assert!(tenant.select(of(&["ours"])).await.is_ok());
    reviews.of_tokens.fail(Fault::Status(403));
    let newcomer = Caller::new(&rig, &Who::bearer("somebody's")).await;
    assert_eq!(newcomer.select(of(&["ours"])).await.unwrap_err().code(), Code::Unavailable);
}
