//! Renders overlays and the chart with the real programs.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::objects::Objects;

/// The namespace of all overlays.
pub(crate) const NAMESPACE: &str = "kubevitals";

/// Whether these tests are to be left out; says so.
pub(crate) fn skipped() -> bool {
    let skip = env::var("KUBEVITALS_SKIP").unwrap_or_default();
    let skipped = skip.split(',').find(|name| ["manifests", "kubectl"].contains(name));
    if let Some(name) = skipped {
        eprintln!("SKIPPED: KUBEVITALS_SKIP names {name}, so nothing was checked");
    }
    skipped.is_some()
}

/// A file or directory of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What `prepare` brought.
pub(crate) fn prepared(path: &str) -> PathBuf {
    let test = env::current_exe().expect("a test knows its own path");
    // Of target/<profile>/deps/<test>.
    let target = test.ancestors().nth(3).expect("tests lie three levels below the target directory");
    let path = target.join(path);
    assert!(path.exists(), "{} is missing: tests/run prepares it", path.display());
    path
}

/// The newest kubectl of tests/kubectl/prepare.
fn kubectl() -> PathBuf {
    let number = |path: &PathBuf| -> Option<Vec<u32>> {
        path.file_name()?.to_str()?.split('.').map(|part| part.parse().ok()).collect()
    };
    let versions = fs::read_dir(prepared("kubectl")).unwrap().map(|entry| entry.unwrap().path());
    let newest = versions.filter(|path| number(path).is_some()).max_by_key(number);
    newest.expect("tests/kubectl/prepare brings kubectl").join("kubectl")
}

/// What a command prints, as remembered from a run with the same words over the same files: every test is a process of its
/// own, and all look at the same renderings.
fn run(command: &mut Command) -> Result<String, String> {
    let mut hasher = DefaultHasher::new();
    format!("{command:?}").hash(&mut hasher);
    hash_files(&repository("deploy"), &mut hasher);
    let directory = prepared("deploy").join("rendered");
    let remembered = directory.join(format!("{:016x}.yaml", hasher.finish()));
    if let Ok(text) = fs::read_to_string(&remembered) {
        return Ok(text);
    }
    let text = run_now(command)?;
    fs::create_dir_all(&directory).unwrap();
    // Others may be doing the same; each moves a whole file into place.
    let part = tempfile::NamedTempFile::new_in(&directory).unwrap();
    fs::write(part.path(), &text).unwrap();
    part.persist(remembered).unwrap();
    Ok(text)
}

fn hash_files(directory: &Path, hasher: &mut DefaultHasher) {
    let mut paths: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash_files(&path, hasher);
        } else {
            (path.display().to_string(), fs::read(&path).unwrap()).hash(hasher);
        }
    }
}

fn run_now(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output().expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

/// Renders a directory below `deploy/`.
pub(crate) fn kustomize(directory: &str) -> Objects {
    let path = repository("deploy").join(directory);
    let yaml =
        run(Command::new(kubectl()).arg("kustomize").arg(path)).unwrap_or_else(|error| panic!("{error}"));
    Objects::parse(directory.to_owned(), &yaml)
}

/// Renders the chart as release `kubevitals` with some values, or says why it cannot be.
pub(crate) fn try_chart(values: &[&str]) -> Result<Objects, String> {
    let mut command = Command::new(prepared("deploy/helm"));
    command.args(["template", "kubevitals", "--namespace", NAMESPACE]).arg(repository("deploy/chart"));
    for value in values {
        command.args(["--set", value]);
    }
    let yaml = run(&mut command)?;
    Ok(Objects::parse(format!("chart {}", values.join(" ")), &yaml))
}

/// Renders the chart with values that it accepts.
pub(crate) fn chart(values: &[&str]) -> Objects {
    try_chart(values).unwrap_or_else(|error| panic!("{values:?}: {error}"))
}

/// Every overlay with the values that make the chart the same.
pub(crate) const SAME: &[(&str, &[&str])] = &[
    ("overlays/single", &["replicas=1"]),
    ("overlays/ha", &[]),
    ("overlays/cert-manager", &["tls.type=cert-manager"]),
    ("overlays/ha-kubelet-fallback", &["kubeletFallback.enabled=true"]),
    ("overlays/kubelet-fallback", &["kubeletFallback.enabled=true", "agent.enabled=false"]),
    ("overlays/migration", &["apiService.create=false"]),
    ("overlays/ha-exporter", &["exporter.enabled=true"]),
];

/// More choices of the chart: each changes something that other tests look at.
const CHOICES: &[&[&str]] = &[
    &["fullnameOverride=vitals", "ingestPort=10351", "containerPort=4443", "hostNetwork.enabled=true"],
    &["metrics.enabled=true", "serviceMonitor.enabled=true", "query.enabled=false"],
    &[
        "exporter.enabled=true",
        "exporter.port=9567",
        "exporter.hostPort.enabled=true",
        "podMonitor.enabled=true",
        "query.port=10352",
        "query.service.port=443",
        "fullnameOverride=vitals",
    ],
    &["tls.type=existingSecret", "tls.existingSecret.name=mine", "extraVolumes[0].name=tmp"],
    &["apiService.versions={v1}", "apiService.insecureSkipTLSVerify=true", "service.port=8443"],
    &["apiService.caBundle=PEM", "agent.adminPort=9565", "agent.args={--interval=500ms}"],
    &[
        "serviceAccount.create=false",
        "serviceAccount.name=a",
        "agent.serviceAccount.name=b",
        "hostUsers=false",
    ],
    &[
        "serviceMonitor.enabled=true",
        "podMonitor.enabled=true",
        "prometheusRule.enabled=true",
        "dashboard.enabled=true",
        "podDisruptionBudget.maxUnavailable=1",
        "image.digest=sha256:0000000000000000000000000000000000000000000000000000000000000000",
        "commonLabels.team=a",
    ],
];

/// Everything that can be rendered, as far as tests need it.
pub(crate) fn every() -> Vec<Objects> {
    let mut every = vec![kustomize("base")];
    for (overlay, values) in SAME {
        every.push(kustomize(overlay));
        every.push(chart(values));
    }
    every.extend(CHOICES.iter().map(|values| chart(values)));
    every
}

/// Overlays that nobody put into [`SAME`] would go unchecked.
#[test]
fn every_overlay_is_rendered() {
    let overlays = fs::read_dir(repository("deploy/overlays")).unwrap();
    let mut found: Vec<String> =
        overlays.map(|entry| format!("overlays/{}", entry.unwrap().file_name().display())).collect();
    found.sort();
    let mut known: Vec<_> = SAME.iter().map(|(overlay, _)| (*overlay).to_owned()).collect();
    known.sort();
    assert_eq!(found, known);
}
