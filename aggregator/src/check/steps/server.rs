//! The API server: whether it answers, and as whom it knows us.

use super::{Finding, Step};
use crate::check::{asked::Asked, facts::Facts};

pub(super) const NAME: &str = "API server";

pub(super) fn step(facts: &Facts) -> Step {
    let server = &facts.server;
    let reach = "see that this place reaches it (DNS, NetworkPolicy, proxy); kubectl cluster-info";
    let finding = match &server.version {
        Asked::Got(version) => {
            let user = match &server.user {
                Asked::Got(user) => format!(", as {user}"),
                _ => String::new(),
            };
            Finding::ok("reachable", format!("{version} at {}{user}", server.url))
        }
        Asked::Forbidden(why) => Finding::broken("unauthorized", format!("{}: {why}", server.url))
            .then("use other credentials: --kubeconfig, or the pod's service account"),
        Asked::Failed(why) => Finding::broken("unreachable", format!("{}: {why}", server.url)).then(reach),
        Asked::Absent => {
            Finding::broken("no_api_server", format!("{} has no /version: not an API server", server.url))
                .then(reach)
        }
    };
    Step::new(NAME, vec![finding])
}
