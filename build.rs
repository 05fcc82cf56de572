//! Compiles `proto/` without an installed protoc and stamps the commit into the crate.

use std::{env, error::Error, fs, path::Path, process::Command};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let files = protox::compile(["kubevitals/v1/ingest.proto", "kubevitals/v1/query.proto"], ["proto"])?;
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("descriptor.bin"), files.encode_to_vec())?;
    tonic_prost_build::configure()
        // An agent encodes a batch once and hands the same bytes to every aggregator.
        .bytes(".kubevitals.v1.AgentMessage")
        .codec_path("crate::codec::Codec")
        .build_transport(false)
        .compile_fds(files)?;
    println!("cargo:rustc-env=KUBEVITALS_COMMIT={}", commit());
    Ok(())
}

/// The commit this tree was built from: given by the environment (image builds have no `.git`), else asked
/// of git, else "unknown".
fn commit() -> String {
    println!("cargo:rerun-if-env-changed=KUBEVITALS_BUILD_COMMIT");
    if let Ok(given) = env::var("KUBEVITALS_BUILD_COMMIT") {
        return given;
    }
    // HEAD's log is appended at every commit and check-out. Naming a missing file would rebuild each time.
    if Path::new(".git/logs/HEAD").exists() {
        println!("cargo:rerun-if-changed=.git/logs/HEAD");
    }
    Command::new("git")
        .args(["rev-parse", "--short=12", "HEAD"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map_or_else(|| "unknown".to_owned(), |text| text.trim().to_owned())
}
