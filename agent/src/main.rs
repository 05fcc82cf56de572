//! The life of the agent's process: flags, logging, run, signals, exit code.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use kubevitals_agent::{
    RunError,
    config::{Cli, Command, EXIT_USAGE, Flags, LogFlags, LogFormat, SampleFlags, SampleFormat},
    inspect, run,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let done = match cli.command {
        Command::Run(flags) => sample_and_stream(&flags),
        Command::Sample(flags) => look(&flags).map(|()| ExitCode::SUCCESS),
    };
    done.unwrap_or_else(|error| {
        complain(&format!("kubevitals-agent: {error}"));
        ExitCode::FAILURE
    })
}

fn complain(line: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// Bad configuration: every fault, and the exit code for it.
fn refuse(faults: &[String]) -> ExitCode {
    for fault in faults {
        complain(&format!("kubevitals-agent: {fault}"));
    }
    ExitCode::from(EXIT_USAGE)
}

fn sample_and_stream(flags: &Flags) -> anyhow::Result<ExitCode> {
    let filter = EnvFilter::try_new(&flags.log.log_level);
    let mut faults = match &filter {
        Ok(_) => Vec::new(),
        Err(error) => vec![format!("--log-level: {:?}: {error}", flags.log.log_level)],
    };
    let config = flags.resolve().map_err(|found| faults.extend(found));
    let (Ok(filter), Ok(config)) = (filter, config) else {
        return Ok(refuse(&faults));
    };
    start_logging(&flags.log, filter);
    tracing::info!(version = kubevitals::VERSION, node = config.node_name, "starting");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(watch_signals(shutdown.clone()));
        run(config, shutdown).await
    });
    // A name that is being looked up cannot be waited for: that may take as long as a resolver likes.
    runtime.shutdown_background();
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(RunError::Configuration(faults)) => Ok(refuse(&faults)),
        Err(error) => Err(error.into()),
    }
}

fn start_logging(flags: &LogFlags, filter: EnvFilter) {
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// The first signal asks for an orderly end, the second ends at once.
async fn watch_signals(shutdown: CancellationToken) {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("no signal handler");
        return;
    };
    for _ in 0..2 {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if shutdown.is_cancelled() {
            std::process::exit(1);
        }
        tracing::info!("stopping; a second signal ends at once");
        shutdown.cancel();
    }
}

fn look(flags: &SampleFlags) -> anyhow::Result<()> {
    let options = inspect::LookOptions {
        cgroup_root: flags.kernel.cgroup_root.clone(),
        proc_root: flags.kernel.proc_root.clone(),
        scope: flags.kernel.scope.into(),
        node_memory: flags.kernel.node_memory.into(),
        ..inspect::LookOptions::default()
    };
    let look = inspect::look(&options)?;
    let text = match flags.format {
        SampleFormat::Table => inspect::table(&look),
        SampleFormat::Json => serde_json::to_string_pretty(&look)? + "\n",
    };
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // A reader such as `head` that has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| anyhow::anyhow!("standard output: {error}")),
    }
}
