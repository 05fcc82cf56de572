//! Questions to the API server, each within a time.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::{
    api::{
        authentication::v1::SelfSubjectReview,
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec, SubjectAccessReview,
            SubjectAccessReviewSpec,
        },
        core::v1::Pod,
    },
    serde::de::DeserializeOwned,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};

use super::{
    asked::{Asked, asked},
    brief::PodBrief,
    facts::Right,
};

/// Pods in one page, and most pages: agents of 20,000 nodes.
const PAGE: u32 = 500;
const PAGES: usize = 40;

/// A client with patience.
#[derive(Clone)]
pub(super) struct Questions {
    pub(super) client: Client,
    pub(super) patience: Duration,
}

impl Questions {
    /// One object.
    pub(super) async fn get<K>(&self, api: &Api<K>, name: &str) -> Asked<K>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        asked(self.patience, api.get(name)).await
    }

    /// One object, found by a list: the aggregator's role may list pods and nodes, and get neither.
    pub(super) async fn find<K>(&self, api: &Api<K>, name: &str) -> Asked<K>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let found = asked(self.patience, api.list(&params)).await;
        found.map(|list| list.items.into_iter().next()).or_absent()
    }

    /// The objects of a list.
    pub(super) async fn list<K>(&self, api: &Api<K>, labels: &str) -> Asked<Vec<K>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let params = ListParams::default().labels(labels).limit(PAGE);
        asked(self.patience, api.list(&params)).await.map(|list| list.items)
    }

    /// Pods in brief, as many as are wanted of each page.
    pub(super) async fn pods(
        &self,
        namespace: &str,
        labels: &str,
        fields: &str,
        wanted: impl Fn(&PodBrief) -> bool,
    ) -> Asked<Vec<PodBrief>> {
        let api = Api::<Pod>::namespaced(self.client.clone(), namespace);
        let mut params = ListParams::default().labels(labels).fields(fields).limit(PAGE);
        let mut briefs = Vec::new();
        for _ in 0..PAGES {
            let page = match asked(self.patience, api.list(&params)).await {
                Asked::Got(page) => page,
                other => return other.map(|_| Vec::new()),
            };
            briefs.extend(page.items.iter().map(PodBrief::of).filter(&wanted));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        Asked::Got(briefs)
    }

    /// As whom the API server knows us (authentication.k8s.io/v1, from Kubernetes 1.28 on).
    pub(super) async fn user(&self) -> Asked<String> {
        let api = Api::<SelfSubjectReview>::all(self.client.clone());
        let reviewed =
            asked(self.patience, api.create(&PostParams::default(), &SelfSubjectReview::default())).await;
        let name = |review: SelfSubjectReview| review.status?.user_info?.username;
        reviewed.map(|review| name(review).unwrap_or_default())
    }

    /// Whether an account has a right; we ourselves when `account` is none.
    pub(super) async fn allowed(&self, account: Option<&str>, right: &Right) -> Asked<bool> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let (resource, subresource) = right.resource.split_once('/').unwrap_or((right.resource, ""));
        let attributes = ResourceAttributes {
            group: Some(right.group.to_owned()),
            resource: text(resource),
            subresource: text(subresource),
            verb: text(right.verb),
            namespace: text(&right.namespace),
            name: text(&right.name),
            ..ResourceAttributes::default()
        };
        let params = PostParams::default();
        let Some(account) = account else {
            let spec = SelfSubjectAccessReviewSpec {
                resource_attributes: Some(attributes),
                ..SelfSubjectAccessReviewSpec::default()
            };
            let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
            let api = Api::<SelfSubjectAccessReview>::all(self.client.clone());
            let reviewed = asked(self.patience, api.create(&params, &review)).await;
            return reviewed.map(|review| review.status.is_some_and(|status| status.allowed));
        };
        let namespace = account.split(':').nth(2).unwrap_or_default();
        let groups = [
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
            "system:authenticated".to_owned(),
        ];
        let spec = SubjectAccessReviewSpec {
            user: text(account),
            groups: Some(groups.to_vec()),
            resource_attributes: Some(attributes),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api = Api::<SubjectAccessReview>::all(self.client.clone());
        let reviewed = asked(self.patience, api.create(&params, &review)).await;
        reviewed.map(|review| review.status.is_some_and(|status| status.allowed))
    }

    /// A plain GET of JSON.
    pub(super) async fn raw<T: DeserializeOwned>(&self, path: &str) -> Asked<T> {
        let request = match http::Request::get(path).body(Vec::new()) {
            Ok(request) => request,
            Err(error) => return Asked::Failed(error.to_string()),
        };
        asked(self.patience, self.client.request(request)).await
    }
}
