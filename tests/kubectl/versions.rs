//! Which kubectls there are: those that `tests/kubectl/prepare` brought, and those beside the kubectl on the path.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// One version of kubectl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kubectl {
    pub(crate) program: PathBuf,
    /// 36 of 1.36.
    pub(crate) minor: u32,
}

/// Fewer would show too little.
const FEWEST: usize = 3;

/// One of each minor version, oldest first.
pub(crate) fn all() -> Vec<Kubectl> {
    let mut found = BTreeMap::new();
    for program in prepared().into_iter().chain(installed()) {
        if let Some(minor) = minor(&program) {
            found.entry(minor).or_insert(program);
        }
    }
    let all: Vec<_> = found.into_iter().map(|(minor, program)| Kubectl { program, minor }).collect();
    assert!(all.len() >= FEWEST, "tests/kubectl/prepare brings {FEWEST} versions; found {all:?}");
    all
}

/// `target/kubectl/<version>/kubectl`.
fn prepared() -> Vec<PathBuf> {
    let test = env::current_exe().expect("a test knows its own path");
    // Of target/<profile>/deps/<test>.
    let target = test.ancestors().nth(3).expect("tests lie three levels below the target directory");
    entries(&target.join("kubectl")).into_iter().map(|version| version.join("kubectl")).collect()
}

/// `kubectl` of each directory of the path, and what is called `kubectl.<version>` beside it.
fn installed() -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).filter_map(|directory| directory.join("kubectl").canonicalize().ok());
    let beside = found.flat_map(|program| {
        let directory = program.parent().map(Path::to_owned).unwrap_or_default();
        let named = |path: &PathBuf| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name == "kubectl" || name.starts_with("kubectl.1.")
        };
        entries(&directory).into_iter().filter(named).collect::<Vec<_>>()
    });
    beside.collect()
}

/// What lies in a directory, in order; nothing when there is none.
fn entries(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten();
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    paths
}

/// None for what does not run, and for a program that only chooses among others.
fn minor(program: &Path) -> Option<u32> {
    let output = Command::new(program).args(["version", "--client", "--output=json"]).output().ok()?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    let version = answer["clientVersion"]["gitVersion"].as_str()?.strip_prefix("v1.")?;
    let (minor, rest) = version.split_once('.')?;
    if rest.ends_with("-dispatcher") { None } else { minor.parse().ok() }
}
