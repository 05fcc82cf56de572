//! Certificates and tokens, as files that the parts read.

use std::{fs, path::Path};

use crate::{
    apiserver::{ApiServer, SERVICE, make::node, pki::Wanted, reviews::User},
    names::INGEST,
    program::AGENT_ACCOUNT,
};

/// Whom the agents' tokens are for.
const AUDIENCE: &str = "kubevitals";

/// The aggregators' certificate, and the authority that everybody believes.
pub(super) fn write_certificates(api: &ApiServer, files: &Path) {
    let serves = [SERVICE, INGEST, "localhost"];
    let identity = api.pki.serving.issue(&Wanted::server("aggregator", &serves));
    let ca_pem = api.pki.serving.pem();
    for (name, text) in [("tls.crt", &identity.pem), ("tls.key", &identity.key_pem), ("ca.crt", &ca_pem)] {
        fs::write(files.join(name), text).expect("the temporary directory is writable");
    }
}

/// Makes a node known, and a token for its agent.
pub(super) fn admit(api: &ApiServer, node_name: &str, files: &Path) {
    api.cluster.nodes.put(node(node_name, &[]));
    let token = format!("projected-for-{node_name}");
    let agent = User::new(AGENT_ACCOUNT, &["system:serviceaccounts"])
        .extra("authentication.kubernetes.io/node-name", node_name)
        .audience(AUDIENCE);
    api.cluster.reviews.issue(&token, agent);
    fs::write(files.join(format!("token-{node_name}")), token).expect("the temporary directory is writable");
}
