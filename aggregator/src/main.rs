//! The life of the aggregator's process: flags, logging, run, signals, exit code.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use kubevitals_aggregator::{
    config::{Cli, Command, EXIT_USAGE, LogFlags, LogFormat},
    serve, standalone,
};
use tokio::{
    runtime::Runtime,
    signal::unix::{SignalKind, signal},
};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() {
                ExitCode::from(EXIT_USAGE)
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    let done = match cli.command {
        Command::Serve(flags) => start(&flags.log, "info", flags.resolve()).map(|start| {
            start.and_then(|(runtime, config, shutdown)| Ok(runtime.block_on(serve::run(config, shutdown))?))
        }),
        Command::Standalone(flags) => start(&flags.log, "warn", flags.resolve()).map(|start| {
            start.and_then(|(runtime, config, shutdown)| {
                Ok(runtime.block_on(standalone::run(config, shutdown))?)
            })
        }),
    };
    match done {
        Err(faults) => {
            for fault in faults {
                complain(&fault);
            }
            ExitCode::from(EXIT_USAGE)
        }
        Ok(Err(error)) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
        Ok(Ok(())) => ExitCode::SUCCESS,
    }
}

fn complain(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "kubevitals-aggregator: {what}");
}

/// Logging, runtime and signals; or every fault of the flags.
fn start<C>(
    log: &LogFlags,
    level: &str,
    config: Result<C, Vec<String>>,
) -> Result<anyhow::Result<(Runtime, C, CancellationToken)>, Vec<String>> {
    let level = log.log_level.as_deref().unwrap_or(level);
    let filter = EnvFilter::try_new(level).map_err(|error| format!("--log-level: {level:?}: {error}"));
    let (filter, config) = match (filter, config) {
        (Ok(filter), Ok(config)) => (filter, config),
        (filter, config) => {
            return Err(config.err().into_iter().flatten().chain(filter.err()).collect());
        }
    };
    start_logging(log, filter);
    Ok(start_runtime().map(|(runtime, shutdown)| (runtime, config, shutdown)))
}

fn start_logging(flags: &LogFlags, filter: EnvFilter) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match flags.log_format {
        LogFormat::Text => builder.with_ansi(false).init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

fn start_runtime() -> anyhow::Result<(Runtime, CancellationToken)> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let shutdown = CancellationToken::new();
    runtime.spawn(watch_signals(shutdown.clone()));
    Ok((runtime, shutdown))
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
