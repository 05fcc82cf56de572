//! What a person who runs `standalone` sees.
#![expect(clippy::print_stdout, reason = "the screen is this module's purpose")]

use std::path::Path;

use super::Way;
use crate::{api::source::Source, config::StandaloneConfig, pipeline::Pipeline};

/// The first line, at once.
pub(super) fn starting(config: &StandaloneConfig) {
    println!(
        "kubevitals {}: reading the cgroups of {} every {}",
        kubevitals::VERSION,
        config.node_name,
        humantime::format_duration(config.interval)
    );
}

/// Whether the node can be served.
pub(super) fn has_numbers(pipeline: &Pipeline, node: &str) -> bool {
    pipeline.view.node(node).is_found()
}

/// What to try.
pub(super) fn ready(config: &StandaloneConfig, way: Option<&Way>, pipeline: &Pipeline) {
    let pods = pipeline.view.directory.count(None);
    let kubectl = format!("kubectl --kubeconfig {}", quoted(&config.kubeconfig_out));
    println!("ready; {pods} pods. Try, in another terminal:\n");
    println!("    {kubectl} top nodes");
    println!("    {kubectl} top pods -A --containers\n");
    if let Some(Way { address, files }) = way {
        let (ca, token) = (quoted(&files.ca), quoted(&files.token));
        println!("Over gRPC, with more of what the kernel counts and as a stream:\n");
        println!("    grpcurl -cacert {ca} -H \"authorization: Bearer $(cat {token})\" \\");
        println!("        {address} kubevitals.v1.Query/Watch\n");
    }
    if pods == 0 {
        println!(
            "No cgroup outside the root has processes and both a CPU and a memory counter, so there are no pods to \
             show yet.\nkubevitals-agent sample --scope all tells which cgroups there are and what they lack.\n"
        );
    }
    println!("Ctrl-C ends it.");
}

/// Nothing came in the time in which it should have.
pub(super) fn nothing_measured(config: &StandaloneConfig) {
    println!(
        "nothing was measured yet, although {} should have been; see the log above. \
         kubevitals-agent sample --scope all shows what can be read",
        config.node_name
    );
}

/// A path that a shell takes as one word.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+@%".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(
            quoted(Path::new("/run/user/0/kubevitals/kubeconfig")),
            "/run/user/0/kubevitals/kubeconfig"
        );
        assert_eq!(quoted(Path::new("/tmp/it's here")), "'/tmp/it'\\''s here'");
    }
}
