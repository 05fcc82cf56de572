//! `Explain`: why something has numbers or not, from [`crate::explain`]'s facts to the contract's chain.
//!
//! What may be told follows from two rights: `get` on the pod (or node) itself, without which nothing is told, and `get`
//! on the node, without which of the node is told only what concerns the pod: that no agent speaks for it, or for how
//! long that one is silent. Addresses, versions and numbers of other tenants' containers are the node's own matter.

mod chain;

use kubevitals::wire;
use tonic::{Request, Response, Status};

use self::chain::Scope;
use super::{
    Query,
    access::{Caller, Object},
    target::Target,
};

/// Answers; errors as the contract has them.
pub async fn explain(
    query: &Query,
    mut request: Request<wire::ExplainRequest>,
) -> Result<Response<wire::ExplainResponse>, Status> {
    let caller = query.access.caller(&mut request).await?;
    let target = Target::checked(request.into_inner().subject)?;
    caller.may_get(target.object()).await?;
    let (namespace, pod, container) = match &target {
        Target::Node(name) => return Ok(Response::new(chain::of_node(&query.explainer.node(name)))),
        Target::Pod { namespace, name } => (namespace, name, None),
        Target::Container { namespace, pod, name } => (namespace, pod, Some(name.as_str())),
    };
    let told = query.explainer.pod(namespace, pod);
    let scope = match &told.node {
        Some(node) => scope(&caller, &node.name).await,
        None => Scope::Pod,
    };
    Ok(Response::new(chain::of_pod(&told, container, scope)))
}

/// How much of a node may be told. When it cannot be found out, little.
async fn scope(caller: &Caller, node: &str) -> Scope {
    match caller.may_get(Object::Node(node)).await {
        Ok(()) => Scope::Node,
        Err(_) => Scope::Pod,
    }
}
