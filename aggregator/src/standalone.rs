//! `standalone`: the whole pipeline in one process over one machine's own cgroups, without Kubernetes.
//!
//! Agent and aggregator are joined by a pipe, so no ports but the API's and that for queries are open, both on loopback.

mod screen;

use std::{net::SocketAddr, time::Duration};

use kubevitals_agent::{
    cgroup::{Scope, clock::wall_time},
    config::Config as AgentConfig,
    exporter::Naming,
    node::NodeMemory,
    stream::targets::Targets,
};
use tokio::{io::DuplexStream, net::TcpListener, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    api::{
        self,
        inflight::{DEFAULT_LIMIT, InFlight},
    },
    auth::{Authenticator, access::Authorizer, token::StaticTokens},
    config::StandaloneConfig,
    gate::AgentGate,
    kubeconfig::{Credentials, Kubeconfig},
    metrics::Registered,
    names::{Names, paths::PathNames},
    pipeline::Pipeline,
    query::{self, access::Access},
    serve::{RunError, agents::serve_connections, api_server, api_state, bind, io_error, query_server},
    tls::{
        Authority,
        reload::{Source, Upkeep},
    },
};

/// How much the agent keeps for replay: the aggregator in the same process never needs it.
const HISTORY: Duration = Duration::from_secs(5);

/// Seldom-changing values are read so many ticks apart.
const DETAIL_TICKS: u32 = 20;

/// With two ticks every number is complete; past this many something is wrong and we say so.
const PATIENCE_TICKS: u32 = 5;

/// Runs until `shutdown`.
pub async fn run(config: StandaloneConfig, shutdown: CancellationToken) -> Result<(), RunError> {
    screen::starting(&config);
    let listener = bind("api", config.listen).await?;
    let address = listener.local_addr().map_err(io_error("bound address"))?;
    let authority = Authority::generate()?;
    let ca_pem = authority.ca_pem();
    let (serving, source) = Upkeep::begin(Source::own(authority, Vec::new()))?;
    let token = random_token();
    let server = format!("https://{address}");
    let kubeconfig = Kubeconfig { server: &server, ca_pem: &ca_pem, token: &token };
    kubeconfig.write(&config.kubeconfig_out)?;
    let queries = match config.query_listen {
        Some(address) => Some(Queries::open(address, &kubeconfig, &config).await?),
        None => None,
    };

    let stop = CancellationToken::new();
    let names = Names::Paths(PathNames::new(false));
    let pipeline =
        Pipeline::new(&config.serving, names, AgentGate::InProcess, Registered::default(), stop.clone());
    let clients = Authenticator::Tokens(StaticTokens::new([(token, "standalone")]));
    let access = Access::new(clients, Authorizer::Named);
    let in_flight = InFlight::new(DEFAULT_LIMIT, pipeline.metrics.api.in_flight());
    let app = api::router(api_state(&pipeline, &access, in_flight, true));
    let https = api_server(serving.api_config()?, &pipeline);

    let mut tasks = JoinSet::new();
    let way = queries.as_ref().map(|queries| queries.way.clone());
    if let Some(Queries { listener, .. }) = queries {
        let (query, health) = (pipeline.query(access), pipeline.health.clone());
        let door = query_server(serving.grpc_config()?, &pipeline);
        let stopped = stop.clone();
        tasks.spawn(async move {
            query::server::serve(query, health, door, listener, stopped).await;
            Ok(())
        });
    }
    let upkeep = Upkeep::new(serving, source, pipeline.metrics.certificate.clone());
    let stopped = stop.clone();
    tasks.spawn(async move {
        upkeep.run(stopped).await;
        Ok(())
    });
    let (pipes, connections) = mpsc::channel(1);
    let (connections, ingest) = (ReceiverStream::new(connections), pipeline.ingest.clone());
    tasks.spawn(async move {
        serve_connections(connections, ingest).await;
        Ok(())
    });
    let stopped = stop.clone();
    tasks.spawn(async move {
        https.serve(listener, app, stopped).await;
        Ok(())
    });
    let (tidy, stopped) = (pipeline.clone(), stop.clone());
    tasks.spawn(async move {
        tidy.tidy(|| true, stopped).await;
        Ok(())
    });
    let agent_stop = CancellationToken::new();
    let agent = kubevitals_agent::run(agent_config(&config, pipes), agent_stop.clone());
    let mut agent = AbortOnDropHandle::new(tokio::spawn(agent));
    let (greeted, stopped) = (config.clone(), stop.clone());
    let greeting = tokio::spawn(async move { greet(&greeted, way.as_ref(), &pipeline, stopped).await });

    let ended = tokio::select! {
        () = shutdown.cancelled() => Ok(()),
        ended = &mut agent => match ended {
            Ok(Err(error)) => Err(error.into()),
            _ => Err(RunError::TaskEnded("the agent")),
        },
        ended = tasks.join_next() => match ended {
            Some(Ok(Err(error))) => Err(error),
            _ => Err(RunError::TaskEnded("a task")),
        },
    };
    // First the agent, which would complain about an aggregator that is gone.
    agent_stop.cancel();
    if !agent.is_finished() {
        let _ = (&mut agent).await;
    }
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    let _ = greeting.await;
    ended
}

/// The port for queries.
struct Queries {
    listener: TcpListener,
    way: Way,
}

/// How to call the query service.
#[derive(Debug, Clone)]
struct Way {
    address: SocketAddr,
    files: Credentials,
}

impl Queries {
    async fn open(
        address: SocketAddr,
        kubeconfig: &Kubeconfig<'_>,
        config: &StandaloneConfig,
    ) -> Result<Self, RunError> {
        let listener = bind("query", address).await?;
        let address = listener.local_addr().map_err(io_error("bound address"))?;
        let files = kubeconfig.write_credentials(&config.kubeconfig_out)?;
        Ok(Self { listener, way: Way { address, files } })
    }
}

fn agent_config(config: &StandaloneConfig, pipes: mpsc::Sender<DuplexStream>) -> AgentConfig {
    AgentConfig {
        node_name: config.node_name.clone(),
        targets: Targets::Pipe(pipes),
        cgroup_root: config.cgroup_root.clone(),
        proc_root: config.proc_root.clone(),
        scope: Scope::All,
        node_memory: NodeMemory::CgroupStat,
        interval: config.interval,
        detail_interval: config.interval * DETAIL_TICKS,
        history: HISTORY.max(config.interval * 2),
        max_cgroups: kubevitals::limits::MAX_SERIES,
        listen: None,
        exporter: None,
        names: Naming::Uid,
        wall_clock: wall_time,
    }
}

/// Tells the user what to try as soon as it will work.
async fn greet(config: &StandaloneConfig, way: Option<&Way>, pipeline: &Pipeline, stop: CancellationToken) {
    let mut ready = pipeline.ready();
    let complete = async {
        // The first tick makes us ready; numbers need a second one.
        let _ = ready.wait_for(|ready| *ready).await;
        while !screen::has_numbers(pipeline, &config.node_name) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let patience = config.interval * PATIENCE_TICKS + Duration::from_secs(1);
    tokio::select! {
        () = stop.cancelled() => {}
        complete = tokio::time::timeout(patience, complete) => match complete {
            Ok(()) => screen::ready(config, way, pipeline),
            Err(_) => screen::nothing_measured(config),
        },
    }
}

/// 256 random bits in hexadecimal.
fn random_token() -> String {
    let words: [u128; 2] = rand::random();
    words.map(|word| format!("{word:032x}")).concat()
}
