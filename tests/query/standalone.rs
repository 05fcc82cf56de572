//! The query service of `standalone`, called as its screen says.

use std::{fs, os::unix::fs::PermissionsExt as _};

use kubevitals::wire::{Level, ListRequest, Selection, query_client::QueryClient};
use rustix::process::Signal;
use tonic::{Code, Request};

use crate::{
    apiserver::dial::Target,
    caller::channel_to,
    program::{PATIENCE, Program, built, dies_with_us, skipped},
};

#[tokio::test(flavor = "multi_thread")]
async fn what_the_screen_says_lists_this_machine() {
    if skipped("root") {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    let kubeconfig = files.path().join("kubeconfig");
    let mut command = dies_with_us(built("kubevitals-aggregator"));
    command.args(["standalone", "--node-name", "this-machine"]).arg("--kubeconfig-out").arg(&kubeconfig);
    let mut standalone = Program::start("kubevitals-aggregator", &mut command);
    let address = standalone.shows("how to ask", PATIENCE, |line| {
        line.trim().strip_suffix(" kubevitals.v1.Query/Watch")?.parse().ok()
    });
    let read = |name: &str| {
        let path = files.path().join(name);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        assert!(standalone.screen().contains(&path.display().to_string()), "{name}");
        fs::read_to_string(path).unwrap()
    };
    let (ca_pem, token) = (read("kubeconfig.ca.pem"), read("kubeconfig.token"));
    let target = Target { address, name: "localhost".to_owned(), ca_pem };
    let mut client = QueryClient::new(channel_to(target, None).await);
    let nodes = || {
        let selection = Selection { level: Level::Nodes.into(), ..Selection::default() };
        Request::new(ListRequest { selection: Some(selection), ..ListRequest::default() })
    };
    assert_eq!(client.list(nodes()).await.unwrap_err().code(), Code::Unauthenticated);
    let mut request = nodes();
    request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let told = client.list(request).await.unwrap().into_inner().usages;
    assert_eq!(told[0].subject.as_ref().unwrap().node, "this-machine");
    standalone.signal(Signal::INT);
    assert!(standalone.ended(PATIENCE).success());
}
