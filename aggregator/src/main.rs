//! The life of the aggregator's process: flags, logging, run, signals, exit code.

use std::{io::Write, process::ExitCode};

use clap::Parser;
use kubevitals_aggregator::{
    check,
    config::{Cli, Command, EXIT_USAGE, LogFlags, LogFormat, check::CheckFlags},
    serve::{self, RunError},
    standalone,
};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// musl's own has one lock for all threads: with it a thousand nodes took a quarter more processor time, and a restart twice as
/// much.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The HTTP/2 library warns of every connection that it ends for flooding, which anybody can cause. What the flags
/// say comes after this and outweighs it.
const QUIET: &str = "h2=error";

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(EXIT_USAGE) } else { ExitCode::SUCCESS };
        }
    };
    match cli.command {
        Command::Serve(flags) => launch(&flags.log, "info", flags.resolve(), serve::run),
        Command::Check(flags) => look(&flags),
        Command::Standalone(flags) => launch(&flags.log, "warn", flags.resolve(), standalone::run),
    }
}

fn complain(what: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = writeln!(std::io::stderr(), "kubevitals-aggregator: {what}");
}

/// Bad configuration: every fault, and the exit code for it.
fn refuse(faults: &[String]) -> ExitCode {
    for fault in faults {
        complain(fault);
    }
    ExitCode::from(EXIT_USAGE)
}

/// Runs `check`, whose findings make the exit code.
fn look(flags: &CheckFlags) -> ExitCode {
    let config = match flags.resolve() {
        Ok(config) => config,
        Err(faults) => return refuse(&faults),
    };
    let looked = tokio::runtime::Builder::new_multi_thread().enable_all().build().map(|runtime| {
        let looked = runtime.block_on(check::run(config));
        runtime.shutdown_background();
        looked
    });
    match looked {
        Ok(Ok(code)) => ExitCode::from(code),
        Ok(Err(error)) => refuse(&[error.to_string()]),
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Logging, runtime and signals, then `run` with a good configuration.
fn launch<C, R>(
    log: &LogFlags,
    level: &str,
    config: Result<C, Vec<String>>,
    run: impl FnOnce(C, CancellationToken) -> R,
) -> ExitCode
where
    R: Future<Output = Result<(), RunError>>,
{
    let level = log.log_level.as_deref().unwrap_or(level);
    let filter = EnvFilter::try_new(format!("{QUIET},{level}"))
        .map_err(|error| format!("--log-level: {level:?}: {error}"));
    let (filter, config) = match (filter, config) {
        (Ok(filter), Ok(config)) => (filter, config),
        (filter, config) => {
            let faults: Vec<String> = config.err().into_iter().flatten().chain(filter.err()).collect();
            return refuse(&faults);
        }
    };
    start_logging(log, filter);
    let ended = tokio::runtime::Builder::new_multi_thread().enable_all().build().map(|runtime| {
        let shutdown = CancellationToken::new();
        runtime.spawn(watch_signals(shutdown.clone()));
        let ended = runtime.block_on(run(config, shutdown));
        // A name that is being looked up cannot be waited for: that may take as long as a resolver likes.
        runtime.shutdown_background();
        ended
    });
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(RunError::Configuration(faults))) => refuse(&faults),
        Ok(Err(error)) => {
            complain(&error.to_string());
            ExitCode::FAILURE
        }
        Err(error) => {
            complain(&format!("no runtime: {error}"));
            ExitCode::FAILURE
        }
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
