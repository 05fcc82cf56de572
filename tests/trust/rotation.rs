//! Authorities and certificates are replaced while everybody asks.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use http::HeaderMap;

use crate::{
    apiserver::{dial::Target, front_proxy::identify, make::Pod, reviews::User},
    fleet::{Fleet, Ingest},
    poll::{Aim, Poller, Question, Tally},
    program::{Aggregator, wait_until},
    setup::{DEADLINE, SERVICES, SHORT, Setup, address, logged, target},
};

const NODES: usize = 5;

const PODS: &str = "/apis/metrics.k8s.io/v1beta1/pods";

/// What a kubelet does, scaled as the overlap is: of ten minutes it takes at most two and a half.
const MOUNT: Duration = Duration::from_millis(1250);

/// Copies the `ConfigMap` to a file again and again, as a kubelet does for a mount.
struct Mount {
    stop: std::sync::mpsc::Sender<()>,
}

impl Mount {
    fn start(setup: &Setup) -> (Self, std::path::PathBuf) {
        let file = setup.files.path().join("mounted-ca.crt");
        let maps = Arc::clone(&setup.api.cluster.config_maps);
        let (stop, stopped) = std::sync::mpsc::channel();
        let (path, draft) = (file.clone(), setup.files.path().join("draft"));
        let copy = move || {
            if let Some(map) = maps.get(crate::setup::NAMESPACE, crate::setup::CA) {
                std::fs::write(&draft, map["data"]["ca.crt"].as_str().unwrap()).unwrap();
                std::fs::rename(&draft, &path).unwrap();
            }
        };
        wait_until("the bundle is published", DEADLINE, || {
            setup.config_map().ok_or_else(|| "not yet".to_owned())
        });
        copy();
        thread::spawn(move || {
            while stopped.recv_timeout(MOUNT) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                copy();
            }
        });
        (Self { stop }, file)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The thread may have ended with a failed test.
        let _ = self.stop.send(());
    }
}

/// Who asks for every pod, and how it proves that it may.
fn question(setup: &Setup) -> Question {
    let mut headers = HeaderMap::new();
    identify(&mut headers, &User::new("admin", &["system:masters"]));
    Question {
        path: PODS.to_owned(),
        headers,
        identity: Some(setup.api.pki.proxy()),
        pods: NODES,
        is_one_server: true,
    }
}

/// Three kinds of clients: API servers on new connections, users through the API server, and agents on new connections.
fn pollers(setup: &Setup, ports: [[u16; 2]; 2], mounted: std::path::PathBuf) -> [Poller; 3] {
    let services = Arc::clone(&setup.api.cluster);
    let [api, ingest] = ports;
    let direct: Aim = Arc::new(move |count| {
        let service =
            services.objects("apiregistration.k8s.io", "apiservices").get("", SERVICES[count / 2 % 2]);
        let bundle = crate::setup::bundle_of(&service.unwrap()).unwrap();
        target(api[count % 2], &bundle)
    });
    let users: Target = setup.api.target();
    let through: Aim = Arc::new(move |_| users.clone());
    let agents: Aim =
        Arc::new(move |count| target(ingest[count % 2], &std::fs::read_to_string(&mounted).unwrap()));
    setup.api.cluster.reviews.issue("reader's", User::new("reader", &["readers"]));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer reader's".parse().unwrap());
    let through_question = Question { headers, identity: None, is_one_server: false, ..question(setup) };
    [
        Poller::start("api servers on new connections", 20, direct, Some(question(setup))),
        Poller::start("users through the api server", 5, through, Some(through_question)),
        Poller::start("agents on new connections", 10, agents, None),
    ]
}

fn fleet(setup: &Setup, replicas: &[&Aggregator], mounted: &std::path::Path) -> Fleet {
    let fleet = Fleet::new(Duration::from_millis(300));
    fleet.mount(mounted);
    let ingest =
        |replica: &&Aggregator| Ingest { address: address(replica.ingest_port), ca_pem: String::new() };
    let aggregators: Vec<Ingest> = replicas.iter().map(ingest).collect();
    for number in 0..NODES {
        let node = format!("n{number}");
        let token = setup.node(&node);
        fleet.agent(&node, &token, &aggregators);
        let pod = Pod::new("default", &format!("web-{number}"), &node);
        fleet.run(&pod, 250);
        setup.api.cluster.pods.put(pod.object());
    }
    fleet
}

fn steps(replicas: &[&Aggregator], step: &str) -> f64 {
    let name = format!("kubevitals_aggregator_ca_rotation_steps_total{{step=\"{step}\"}}");
    replicas.iter().map(|replica| replica.metrics().get(&name)).sum()
}

fn until_steps(replicas: &[&Aggregator], step: &str, count: f64) {
    wait_until(&format!("{count} times {step}"), DEADLINE * 2, || {
        let done = steps(replicas, step);
        (done >= count - 0.5).then_some(()).ok_or_else(|| format!("{done}"))
    });
}

fn is_flawless(tally: &Tally) {
    assert_eq!(tally.handshakes, tally.begun);
    assert!(
        tally.failures.is_empty() && tally.backwards == 0 && tally.incomplete == 0,
        "{:?}",
        tally.failures
    );
}

#[test]
fn authorities_and_certificates_rotate_under_load_and_no_handshake_fails() {
    let setup = Setup::start();
    let flags = [SHORT[0], SHORT[1], "--serving-life=30s"];
    let (first, second) = (setup.replica("first", &flags), setup.replica("second", &flags));
    let replicas = [&first, &second];
    let (_mount, mounted) = Mount::start(&setup);
    let fleet = fleet(&setup, &replicas, &mounted);
    setup.api.register_endpoints(&[address(first.api.port), address(second.api.port)]);
    wait_until("both APIServices are available", DEADLINE, || {
        setup.api.check_availability().then_some(()).ok_or_else(|| "not yet".to_owned())
    });
    ready(&setup, &replicas);
    let begun = Instant::now();
    let ports = [[first.api.port, second.api.port], [first.ingest_port, second.ingest_port]];
    let pollers = pollers(&setup, ports, mounted);

    // An operator's first, then the one that is due by itself at two thirds of 72 s.
    thread::sleep(Duration::from_secs(2));
    setup.change_secret(|secret| secret["metadata"]["annotations"]["kubevitals.io/rotate-ca"] = "now".into());
    until_steps(&replicas, "switch", 1.0);
    until_steps(&replicas, "end", 1.0);
    until_steps(&replicas, "switch", 2.0);
    // Certificates by the last authority are made and used.
    thread::sleep(Duration::from_secs(3));

    eprintln!("rotated twice in {:?}", begun.elapsed());
    let [api, users, agents] = pollers.map(Poller::finish);
    for tally in [&api, &users, &agents] {
        is_flawless(tally);
    }
    assert!(api.answers > 500 && agents.handshakes > 300);
    for tally in [&api, &agents] {
        assert_eq!(tally.issuers.len(), 3, "three authorities signed");
        assert!(tally.certificates.len() >= 8, "{} certificates", tally.certificates.len());
    }
    assert_eq!((steps(&replicas, "create"), steps(&replicas, "repair")), (1.0, 0.0));
    assert_eq!(fleet.all_ends(), [], "streams go on");
    for replica in replicas {
        assert!((replica.metrics().get("kubevitals_aggregator_ingest_streams") - 5.0).abs() < 0.5);
    }

    // A replica that starts now has a certificate that agents did not know when they started.
    let first = first.again();
    logged(&first.program, "listening", 3);
    wait_until("all agents are back", DEADLINE, || {
        let streams = first.metrics().get("kubevitals_aggregator_ingest_streams");
        (streams > 4.5).then_some(()).ok_or_else(|| format!("{streams} streams"))
    });
}

/// Waits until every replica serves every pod.
fn ready(setup: &Setup, replicas: &[&Aggregator]) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for replica in replicas {
        wait_until("every pod is served", DEADLINE, || {
            let bundle = setup.ca_bundle(SERVICES[0]).ok_or("no bundle")?;
            let (target, question) = (target(replica.api.port, &bundle), question(setup));
            let tally =
                runtime.block_on(crate::poll::once(&target, &question)).map_err(|fault| fault.to_string())?;
            (tally.incomplete == 0).then_some(()).ok_or_else(|| "not all pods".to_owned())
        });
    }
}
