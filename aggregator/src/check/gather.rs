//! Asks everything that a diagnosis needs, side by side where one answer does not depend on another.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::DaemonSet,
        core::v1::{Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::version::Info,
    kube_aggregator::pkg::apis::apiregistration::v1::APIService,
};
use kube::Api;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls_pki_types::ServerName;

use super::{
    asked::Asked,
    brief::PodBrief,
    facts::{API_SERVICES, Endpoint, Facts, Names, Replica, Server, Target},
    questions::Questions,
    steps::{answer_path, endpoints, needed_rights},
    way::{self, Way},
};
use crate::{cluster::Reached, config::check::CheckConfig};

/// Replicas and endpoints that are asked one by one.
const REPLICAS: usize = 5;

/// Where the admin listener is unless flags of the aggregator say otherwise.
const ADMIN_PORT: u16 = 9466;

/// What ends a value in a query.
const QUERY: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'#').add(b'%').add(b'&').add(b'+').add(b'<').add(b'>');

/// Asks as `config` says, of the cluster that was reached.
pub(super) async fn gather(config: CheckConfig, reached: Reached) -> Facts {
    let Reached { client, url, is_inside } = reached;
    let questions = Questions { client, patience: config.patience };
    let (version, user) = tokio::join!(questions.raw::<Info>("/version"), questions.user());
    let version = version.map(|info| info.git_version);
    let place = Place { config: &config, questions: &questions, is_inside };
    let server = Server { url, version, user };
    if server.version.got().is_some() {
        Box::pin(place.everything(server)).await
    } else {
        place.only_aggregator(server).await
    }
}

/// From where, and for what, questions are asked.
struct Place<'a> {
    config: &'a CheckConfig,
    questions: &'a Questions,
    is_inside: bool,
}

impl Place<'_> {
    fn names(&self) -> Names {
        let CheckConfig { namespace, service, daemon_set, .. } = self.config;
        Names { namespace: namespace.clone(), service: service.clone(), daemon_set: daemon_set.clone() }
    }

    /// Without an API server only the aggregator beside us can be asked.
    async fn only_aggregator(&self, server: Server) -> Facts {
        let why = "the API server does not answer";
        let unasked = || Asked::Failed(why.to_owned());
        let mut facts = Facts {
            names: self.names(),
            target: self.config.target.clone(),
            server,
            api_services: Vec::new(),
            service: Asked::Failed(why.to_owned()),
            slices: Asked::Failed(why.to_owned()),
            pods: Asked::Failed(why.to_owned()),
            shown: Vec::new(),
            account: String::new(),
            rights: Vec::new(),
            daemon_set: Asked::Failed(why.to_owned()),
            agents: Asked::Failed(why.to_owned()),
            replicas: self.replicas(&[]).await,
            node_name: None,
            node: None,
            pod: None,
            answer: (unasked(), 0.0),
        };
        facts.node_name = match &facts.target {
            Target::Node(name) => Some(name.clone()),
            _ => node_of_replicas(&facts.replicas),
        };
        if let Some(node) = &facts.node_name {
            self.ask_node(&mut facts.replicas, node, &[]).await;
        }
        facts
    }

    async fn everything(&self, server: Server) -> Facts {
        let (installed, (pod, answer)) = tokio::join!(
            Box::pin(self.installed()),
            Box::pin(async { tokio::join!(self.pod(), self.answer()) })
        );
        let Installed { api_services, service, slices, pods, daemon_set } = installed;
        let briefs = pods.got().map(Vec::as_slice).unwrap_or_default();
        let account = briefs.iter().map(|pod| pod.account.as_str()).find(|account| !account.is_empty());
        let account = format!(
            "system:serviceaccount:{}:{}",
            self.config.namespace,
            account.unwrap_or(&self.config.service)
        );
        let (rights, shown, mut replicas) = tokio::join!(
            self.rights(&account, server.user.got(), briefs.first()),
            self.shown(&slices),
            Box::pin(self.replicas(briefs)),
        );
        let node_name = match &self.config.target {
            Target::Node(name) => Some(name.clone()),
            Target::Cluster => None,
            Target::Pod { .. } => {
                let bound = pod.as_ref().and_then(Asked::got).map(|pod| pod.node.clone());
                bound.filter(|node| !node.is_empty()).or_else(|| node_of_replicas(&replicas))
            }
        };
        let (agents, node) =
            tokio::join!(self.agents(&daemon_set, node_name.as_deref()), self.node(node_name.as_deref()),);
        if let Some(node) = &node_name {
            self.ask_node(&mut replicas, node, briefs).await;
        }
        Facts {
            names: self.names(),
            target: self.config.target.clone(),
            server,
            api_services,
            service,
            slices,
            pods,
            shown,
            account,
            rights,
            daemon_set,
            agents,
            replicas,
            node_name,
            node,
            pod,
            answer,
        }
    }

    async fn installed(&self) -> Installed {
        let (client, questions) = (&self.questions.client, self.questions);
        let names = self.names();
        let services = Api::<Service>::namespaced(client.clone(), &names.namespace);
        let slices = Api::<EndpointSlice>::namespaced(client.clone(), &names.namespace);
        let sets = Api::<DaemonSet>::namespaced(client.clone(), &names.namespace);
        let api_services = Api::<APIService>::all(client.clone());
        let of_service = format!("kubernetes.io/service-name={}", names.service);
        let with_pods = async {
            let service = questions.get(&services, &names.service).await;
            let pods = self.pods_of(&service).await;
            (service, pods)
        };
        let ((service, pods), slices, daemon_set, registered) = tokio::join!(
            with_pods,
            questions.list(&slices, &of_service),
            questions.get(&sets, &names.daemon_set),
            join_all(API_SERVICES.map(|name| questions.get(&api_services, name))),
        );
        let api_services = API_SERVICES.into_iter().zip(registered).collect();
        Installed { api_services, service, slices, pods, daemon_set }
    }

    async fn pods_of(&self, service: &Asked<Service>) -> Asked<Vec<PodBrief>> {
        let selector = service.got().and_then(|service| service.spec.as_ref()?.selector.as_ref());
        match selector.filter(|selector| !selector.is_empty()) {
            Some(selector) => {
                let labels = labels(selector);
                self.questions.pods(&self.config.namespace, &labels, "", |_| true).await
            }
            None => Asked::Failed("the Service tells no selector of its pods".to_owned()),
        }
    }

    /// Those of one node, or those that are not ready.
    async fn agents(&self, set: &Asked<DaemonSet>, node: Option<&str>) -> Asked<Vec<PodBrief>> {
        let Some(set) = set.got() else {
            return Asked::Failed("the DaemonSet tells no selector of its pods".to_owned());
        };
        let status = set.status.clone().unwrap_or_default();
        if node.is_none() && status.number_ready >= status.desired_number_scheduled {
            return Asked::Got(Vec::new());
        }
        let selector = set.spec.as_ref().and_then(|spec| spec.selector.match_labels.as_ref());
        let labels = selector.map(labels).unwrap_or_default();
        let fields = node.map(|node| format!("spec.nodeName={node}")).unwrap_or_default();
        let wanted = |pod: &PodBrief| node.is_some() || !pod.ready;
        self.questions.pods(&self.config.namespace, &labels, &fields, wanted).await
    }

    async fn node(&self, name: Option<&str>) -> Option<Asked<Node>> {
        let api = Api::<Node>::all(self.questions.client.clone());
        Some(self.questions.find(&api, name?).await)
    }

    async fn pod(&self) -> Option<Asked<PodBrief>> {
        let Target::Pod { namespace, name } = &self.config.target else {
            return None;
        };
        let api = Api::<Pod>::namespaced(self.questions.client.clone(), namespace);
        Some(self.questions.find(&api, name).await.map(|pod| PodBrief::of(&pod)))
    }

    async fn answer(&self) -> (Asked<serde_json::Value>, f64) {
        let answer = self.questions.raw(&answer_path(&self.config.target)).await;
        (answer, now())
    }

    async fn rights(
        &self,
        account: &str,
        me: Option<&String>,
        pod: Option<&PodBrief>,
    ) -> Vec<(super::facts::Right, Asked<bool>)> {
        let setting = |flag: &str| pod.and_then(|pod| pod.setting(flag)).map(ToOwned::to_owned);
        let needed = needed_rights(&self.config.namespace, setting);
        let other = (me.map(String::as_str) != Some(account)).then_some(account);
        let asked = join_all(needed.iter().map(|right| self.questions.allowed(other, right))).await;
        needed.into_iter().zip(asked).collect()
    }

    async fn shown(
        &self,
        slices: &Asked<Vec<EndpointSlice>>,
    ) -> Vec<(Endpoint, Asked<Vec<rustls_pki_types::CertificateDer<'static>>>)> {
        let endpoints = endpoints(slices.got().map(Vec::as_slice).unwrap_or_default());
        let Ok(name) = ServerName::try_from(self.names().host()) else {
            return Vec::new();
        };
        let shown = endpoints.into_iter().take(REPLICAS).map(|endpoint| {
            let name = name.clone();
            async move {
                let way = self.way(&endpoint.name, &endpoint.address, port_of(&endpoint.address));
                let chain = way::shown(&way, Some(&self.questions.client), &name, self.config.patience).await;
                (endpoint, chain)
            }
        });
        join_all(shown).await
    }

    /// To a port of a pod: directly where pods can be reached, else by port forwarding.
    fn way(&self, pod: &str, address: &str, port: u16) -> Way {
        if self.is_inside || self.config.admin_address.is_some() {
            Way::Address(address.to_owned())
        } else {
            Way::Forward { namespace: self.config.namespace.clone(), pod: pod.to_owned(), port }
        }
    }

    /// The aggregators that can be asked what they know: the one beside us, or all by port forwarding.
    fn ways(&self, pods: &[PodBrief]) -> Vec<(String, Way)> {
        if let Some(address) = &self.config.admin_address {
            return vec![(address.clone(), Way::Address(address.clone()))];
        }
        if self.is_inside {
            let name = std::env::var("HOSTNAME").unwrap_or_else(|_| "this pod".to_owned());
            return vec![(name, Way::Address(format!("127.0.0.1:{ADMIN_PORT}")))];
        }
        let running = pods.iter().filter(|pod| pod.phase == "Running" && !pod.is_ending).take(REPLICAS);
        running
            .map(|pod| {
                let port = pod.setting("admin-listen").map_or(ADMIN_PORT, port_of);
                let forward = Way::Forward { namespace: pod.namespace.clone(), pod: pod.name.clone(), port };
                (pod.name.clone(), forward)
            })
            .collect()
    }

    async fn replicas(&self, pods: &[PodBrief]) -> Vec<Replica> {
        let asked = self.ways(pods).into_iter().map(|(name, way)| async move {
            let overview = self.explain(&way, "/explain").await;
            let pod = match &self.config.target {
                Target::Pod { namespace, name } => {
                    let path = format!("/explain?pod={}/{}", escaped(namespace), escaped(name));
                    Some(self.explain(&way, &path).await)
                }
                _ => None,
            };
            Replica { name, overview, node: None, pod }
        });
        join_all(asked).await
    }

    async fn ask_node(&self, replicas: &mut [Replica], node: &str, pods: &[PodBrief]) {
        let path = format!("/explain?node={}", escaped(node));
        for (replica, (_, way)) in replicas.iter_mut().zip(self.ways(pods)) {
            // Who did not answer before keeps nobody waiting again.
            replica.node = Some(match &replica.overview {
                Asked::Got(_) => self.explain(&way, &path).await,
                Asked::Failed(why) | Asked::Forbidden(why) => Asked::Failed(why.clone()),
                Asked::Absent => Asked::Absent,
            });
        }
    }

    async fn explain<T: serde::de::DeserializeOwned>(&self, way: &Way, path: &str) -> Asked<T> {
        way::get(way, Some(&self.questions.client), path, self.config.patience).await
    }
}

/// What belongs to the installation.
struct Installed {
    api_services: Vec<(&'static str, Asked<APIService>)>,
    service: Asked<Service>,
    slices: Asked<Vec<EndpointSlice>>,
    pods: Asked<Vec<PodBrief>>,
    daemon_set: Asked<DaemonSet>,
}

fn labels(selector: &std::collections::BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(",")
}

fn node_of_replicas(replicas: &[Replica]) -> Option<String> {
    let mut told = replicas.iter().filter_map(|replica| replica.pod.as_ref()?.got()?.node.as_ref());
    told.next().map(|node| node.name.clone())
}

/// The number after the last colon.
fn port_of(address: &str) -> u16 {
    address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or(ADMIN_PORT)
}

fn escaped(text: &str) -> String {
    utf8_percent_encode(text, QUERY).to_string()
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}
