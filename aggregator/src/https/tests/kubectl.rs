//! What the real kubectl makes of the API. `KUBEVITALS_SKIP=kubectl` leaves these tests out.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Output,
};

use super::*;
use crate::kubeconfig::Kubeconfig;

/// A server over the fixture, and what a user has of it.
struct Cluster {
    _running: Running,
    directory: tempfile::TempDir,
}

impl Cluster {
    /// None when these tests are left out.
    async fn start() -> Option<Self> {
        if env::var("KUBEVITALS_SKIP").is_ok_and(|skip| skip.contains("kubectl")) {
            eprintln!("kubectl is left out on request");
            return None;
        }
        let running = start(Limits::default(), api()).await;
        let directory = tempfile::tempdir().unwrap();
        let server = format!("https://{}", running.address);
        let config = Kubeconfig { server: &server, ca_pem: &running.ca_pem, token: fixture::TOKEN };
        config.write(&directory.path().join("config")).unwrap();
        Some(Self { _running: running, directory })
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(Path::new("kubectl"), arguments).await
    }

    async fn run_with(&self, kubectl: &Path, arguments: &[&str]) -> Output {
        let mut command = std::process::Command::new(kubectl);
        command
            .args(arguments)
            .env("KUBECONFIG", self.directory.path().join("config"))
            // Discovery is cached below the home directory.
            .env("HOME", self.directory.path())
            .stdin(std::process::Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output());
        let output = timeout(Duration::from_mins(1), output).await.expect("kubectl ends").unwrap();
        output.expect("kubectl is installed (or set KUBEVITALS_SKIP=kubectl)")
    }

    /// Standard output of a command that must succeed, with single blanks.
    async fn lines(&self, arguments: &[&str]) -> Vec<String> {
        let output = self.run(arguments).await;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
    }

    /// What a command that must fail prints.
    async fn error(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    }
}

/// The kubectl on the path, and those of other versions (`kubectl.1.27`) beside it.
fn versions() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed =
        env::split_paths(&path).map(|directory| directory.join("kubectl")).find(|file| file.exists());
    let real = installed.and_then(|file| fs::canonicalize(file).ok()).unwrap_or_default();
    let beside = real.parent().and_then(|directory| fs::read_dir(directory).ok()).into_iter().flatten();
    let others = beside.flatten().map(|entry| entry.path()).filter(|file| {
        file.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with("kubectl.1."))
    });
    others.chain([PathBuf::from("kubectl")]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c121_top_nodes_shows_percentages_and_unknown_where_there_is_no_number() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    assert_eq!(
        cluster.lines(&["top", "nodes"]).await,
        [
            "NAME CPU(cores) CPU(%) MEMORY(bytes) MEMORY(%)",
            "n1 2000m 50% 2048Mi 25%",
            "n2 251m 6% 512Mi 6%",
            "n3 <unknown> <unknown> <unknown> <unknown>",
        ]
    );
    let selected = cluster.lines(&["top", "nodes", "-l", "zone=a", "--no-headers"]).await;
    assert_eq!(selected, ["n1 2000m 50% 2048Mi 25%"]);
    assert_eq!(cluster.lines(&["top", "node", "n2", "--no-headers"]).await, ["n2 251m 6% 512Mi 6%"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c120_top_pods_shows_pods_and_containers() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    assert_eq!(
        cluster.lines(&["top", "pods", "-A", "--containers"]).await,
        [
            "NAMESPACE POD NAME CPU(cores) MEMORY(bytes)",
            "default web-1 app 120m 64Mi",
            "default web-1 proxy 3m 16Mi",
            "default web-2 app 80m 32Mi",
            "kube-system dns dns 1m 8Mi",
        ]
    );
    let by_label = ["top", "pods", "-l", "app in (web)", "--sort-by=memory", "--no-headers"];
    assert_eq!(cluster.lines(&by_label).await, ["web-1 123m 80Mi", "web-2 80m 32Mi"]);
    let by_field = ["top", "pods", "-A", "--field-selector", "metadata.name=dns", "--no-headers"];
    assert_eq!(cluster.lines(&by_field).await, ["kube-system dns 1m 8Mi"]);
    assert_eq!(
        cluster.error(&["top", "pod", "nosuch"]).await,
        "Error from server (NotFound): pods \"nosuch\" not found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c120_get_lists_objects_of_both_groups() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let names = async |arguments: &[&str]| {
        let lines = cluster.lines(arguments).await;
        lines.iter().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect::<Vec<_>>()
    };
    assert_eq!(names(&["get", "nodes", "--no-headers"]).await, ["n1", "n2", "n3"]);
    assert_eq!(names(&["get", "namespaces", "--no-headers"]).await, ["default", "kube-system"]);
    assert_eq!(names(&["get", "nodemetrics", "--no-headers"]).await, ["n1", "n2"]);
    let pods = cluster.lines(&["get", "podmetrics", "-A", "--no-headers"]).await;
    assert_eq!(pods.len(), 3, "{pods:?}");
    assert!(pods.iter().any(|line| line.starts_with("kube-system dns ")), "{pods:?}");
    let nodes = cluster.lines(&["get", "nodemetrics"]).await;
    assert_eq!(nodes, ["NAME CPU MEMORY WINDOW", "n1 2 2Gi 15s", "n2 250000001n 512Mi 15s"]);
    let by_name = ["get", "podmetrics", "-A", "--sort-by=.metadata.name", "--no-headers", "-o", "wide"];
    assert_eq!(names(&by_name).await, ["kube-system", "default", "default"]);
    let yaml = cluster.lines(&["get", "nodemetrics", "n1", "-o", "yaml"]).await;
    assert!(yaml.contains(&"cpu: \"2\"".to_owned()), "{yaml:?}");
    let path = "jsonpath={.containers[0].usage.cpu}";
    assert_eq!(cluster.lines(&["get", "podmetrics", "web-1", "-o", path]).await, ["120m"]);
    assert_eq!(
        cluster.error(&["get", "nodemetrics", "n3"]).await,
        "Error from server (NotFound): nodemetrics.metrics.k8s.io \"n3\" not found"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c120_discovery_and_raw_paths_work() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let resources = cluster.lines(&["api-resources", "--no-headers"]).await;
    for expected in ["nodes metrics.k8s.io/v1 false NodeMetrics", "pods metrics.k8s.io/v1 true PodMetrics"] {
        assert!(resources.iter().any(|line| line == expected), "{resources:?}");
    }
    let versions = cluster.lines(&["api-versions"]).await;
    assert_eq!(versions, ["metrics.k8s.io/v1", "metrics.k8s.io/v1beta1", "v1"]);
    let raw = cluster.lines(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/nodes"]).await.concat();
    assert!(raw.starts_with("{\"kind\":\"NodeMetricsList\""), "{raw}");
    assert!(cluster.error(&["delete", "podmetrics", "web-1"]).await.contains("MethodNotAllowed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c120_where_there_is_nothing_kubectl_says_so() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    let says = async |arguments: &[&str]| {
        let output = cluster.run(arguments).await;
        assert!(output.status.success(), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).trim().to_owned()
    };
    assert_eq!(says(&["top", "pods", "-n", "none"]).await, "No resources found in none namespace.");
    assert_eq!(says(&["get", "pods", "-A"]).await, "No resources found");
    assert_eq!(says(&["get", "podmetrics", "-n", "none"]).await, "No resources found in none namespace.");
    let watch = cluster.error(&["get", "nodemetrics", "-w"]).await;
    assert!(watch.contains("(MethodNotAllowed)"), "{watch}");
    let selector = cluster.error(&["get", "podmetrics", "--field-selector", "status.phase=Running"]).await;
    assert!(selector.contains("is not a known field selector: only \"metadata.name\""), "{selector}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn c028_every_kubectl_explains_what_is_served() {
    let Some(cluster) = Cluster::start().await else {
        return;
    };
    for kubectl in versions() {
        let says = async |arguments: &[&str]| {
            let output = cluster.run_with(&kubectl, arguments).await;
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{}: {arguments:?}: {errors}", kubectl.display());
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let pod = says(&["explain", "podmetrics"]).await;
        assert!(pod.contains("What the containers of a pod use."), "{pod}");
        let usage = says(&["explain", "podmetrics.containers.usage"]).await;
        assert!(
            usage.contains("<map[string]Quantity>") && usage.contains("What the container uses:"),
            "{usage}"
        );
        // This one reads the protobuf form of version 2.
        let old = ["explain", "podmetrics.containers.usage", "--output=plaintext-openapiv2"];
        let usage = says(&old).await;
        assert!(usage.contains("What the container uses:"), "{usage}");
        let beta = ["explain", "nodemetrics.window", "--api-version=metrics.k8s.io/v1beta1"];
        assert!(says(&beta).await.contains("How long the window was."));
        let resources = says(&["api-resources", "--no-headers"]).await;
        assert_eq!(resources.lines().count(), 5, "{resources}");
        let requests = cluster.run_with(&kubectl, &["api-resources", "-v=6"]).await.stderr;
        let requests = String::from_utf8_lossy(&requests);
        assert!(
            requests.contains("/apis?") && !requests.contains("/apis/"),
            "one document is enough: {requests}"
        );
        assert_eq!(says(&["api-versions"]).await, "metrics.k8s.io/v1\nmetrics.k8s.io/v1beta1\nv1\n");
    }
}
