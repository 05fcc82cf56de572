//! What cannot work is said at once and in full.

use std::{net::TcpListener, path::Path, process::Output, time::Duration};

use crate::{
    cgroups::{Tree, Workload},
    program::{Agent, Aggregator, built, dies_with_us, skipped, wait_until},
};

/// `EX_USAGE` of sysexits.h.
const USAGE: i32 = 64;

fn run(program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = dies_with_us("timeout").arg("20").arg(built(program)).args(arguments).output();
    let Output { status, stderr, .. } = output.unwrap();
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

/// Lines of a refusal that begin with a flag's name, as typed.
fn assert_names(text: &str, flags: &[&str]) {
    for flag in flags {
        assert!(text.contains(&format!(" {flag}: ")), "{flag} is not named in:\n{text}");
    }
    assert_eq!(text.lines().count(), flags.len(), "something else is said:\n{text}");
}

#[test]
fn an_agent_names_every_fault_of_its_flags_and_exits_64() {
    let (code, text) = run(
        "kubevitals-agent",
        &[
            "run",
            "--aggregator=http://a:1",
            "--interval=1ms",
            "--history=never",
            "--max-cgroups=-1",
            "--listen=nowhere",
            "--log-level=a=b=c",
        ],
    );
    assert_eq!(code, Some(USAGE), "{text}");
    let flags = ["--log-level", "--node-name", "--aggregator", "--interval", "--history"];
    assert_names(&text, &[&flags[..], &["--max-cgroups", "--listen"]].concat());
}

#[test]
fn an_aggregator_names_every_fault_of_its_flags_and_exits_64() {
    let (code, text) = run(
        "kubevitals-aggregator",
        &[
            "serve",
            "--listen=nowhere",
            "--ingest-listen=1",
            "--window=0s",
            "--stale-after=soon",
            "--max-nodes=0",
            "--tls-cert-file=c",
            "--shutdown-delay=1h",
            "--log-level=a=b=c",
        ],
    );
    assert_eq!(code, Some(USAGE), "{text}");
    let addresses = ["--listen", "--ingest-listen", "--names", "--api-token-file", "--agent-token-file"];
    let others =
        ["--tls-key-file", "--window", "--stale-after", "--max-nodes", "--shutdown-delay", "--log-level"];
    assert_names(&text, &[&addresses[..], &others].concat());
}

#[test]
fn unknown_flags_and_commands_are_refused_with_64() {
    for program in ["kubevitals-agent", "kubevitals-aggregator"] {
        for arguments in [&["--nonsense"][..], &["nonsense"], &[]] {
            let (code, text) = run(program, arguments);
            assert_eq!(code, Some(USAGE), "{program} {arguments:?}: {text}");
        }
    }
}

/// `serve` with tokens in this directory.
fn serve<'a>(flags: &[&'a str]) -> Vec<&'a str> {
    let fixed = [
        "serve",
        "--names=paths",
        "--ingest-listen=127.0.0.1:0",
        "--query-listen=off",
        "--admin-listen=127.0.0.1:0",
    ];
    [&fixed[..], flags].concat()
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

#[test]
fn faults_in_files_are_named_all_at_once_before_anything_listens() {
    let files = tempfile::tempdir().unwrap();
    let (missing, empty) = (files.path().join("missing"), files.path().join("empty"));
    std::fs::write(&empty, "\n").unwrap();
    let (api, agent) = (flag("api-token-file", &missing), flag("agent-token-file", &empty));
    let arguments = serve(&["--listen=127.0.0.1:0", &api, &agent, "--server-name=not a name"]);
    let (code, text) = run("kubevitals-aggregator", &arguments);
    assert_eq!(code, Some(USAGE), "{text}");
    for named in [missing.to_str().unwrap(), empty.to_str().unwrap(), "not a name"] {
        assert!(text.contains(named), "{named}: {text}");
    }
    assert!(!text.contains("listening"), "{text}");
}

#[test]
fn a_port_in_use_is_named() {
    let files = tempfile::tempdir().unwrap();
    let token = files.path().join("token");
    std::fs::write(&token, "token").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let listen = format!("--listen={address}");
    let (api, agent) = (flag("api-token-file", &token), flag("agent-token-file", &token));
    let programs = [
        ("kubevitals-aggregator", serve(&[&listen, &api, &agent])),
        ("kubevitals-agent", vec!["run", "--node-name=n", "--aggregator=https://127.0.0.1:1", &listen]),
    ];
    for (program, arguments) in programs {
        let (code, text) = run(program, &arguments);
        assert_eq!(code, Some(1), "{program}: {text}");
        assert!(text.contains(&address) && text.contains("in use"), "{program}: {text}");
    }
}

#[test]
fn an_agent_names_a_missing_file_and_goes_on_when_it_is_there() {
    if skipped("root") {
        return;
    }
    let tree = Tree::new();
    let container = tree.container();
    let mut workload = Workload::pulse();
    container.adopt(workload.child());
    workload.go();
    let files = tempfile::tempdir().unwrap();
    let aggregator = Aggregator::start(files.path(), &[]);
    let (token, aside) = (files.path().join("agent-token"), files.path().join("aside"));
    std::fs::rename(&token, &aside).unwrap();
    let agent = Agent::start(&[&aggregator]);
    wait_until("the file is named", Duration::from_secs(10), || {
        let log = agent.program.log();
        let named = log.contains(token.to_str().unwrap());
        named.then_some(()).ok_or(log)
    });

    std::fs::rename(&aside, &token).unwrap();

    // The wait for what a person has to mend grows to 15 s at most.
    wait_until("a number", Duration::from_secs(30), || aggregator.api.pod(&container.pod_uid));
}
