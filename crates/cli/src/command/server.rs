//! The long-running parts: the master, the agent, and the supervisor of one attempt.

use std::path::PathBuf;

use clap::Args;
use tokio_util::sync::CancellationToken;
use tombolo_runtime::shutdown::on_signals;
use tombolo_runtime::{configuration, telemetry};

use crate::dev;
use crate::failure::{ExitCode, Failure};

/// What the master and the agent have in common.
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The configuration (TOML); variables `TOMBOLO_MASTER_*` or `TOMBOLO_AGENT_*` override it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Ends when the process that started this one ends.
    #[arg(long, hide = true)]
    end_with_parent: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Supervise {
    /// The attempt's folder.
    folder: PathBuf,
}

/// Runs the control plane until a signal.
pub(crate) fn master(command: &Service) -> Result<(), Failure> {
    let configuration: tombolo_master::configuration::Configuration =
        load(command, tombolo_master::configuration::ENVIRONMENT_PREFIX)?;
    configuration.validate().map_err(invalid)?;
    serve(command, &configuration.telemetry.clone(), |stop| async move {
        Ok(tombolo_master::run(configuration, stop).await?)
    })
}

/// Runs the agent of a cluster until a signal.
pub(crate) fn agent(command: &Service) -> Result<(), Failure> {
    let configuration: tombolo_agent::configuration::Configuration =
        load(command, tombolo_agent::configuration::ENVIRONMENT_PREFIX)?;
    configuration.validate().map_err(invalid)?;
    serve(command, &configuration.telemetry.clone(), |stop| {
        tombolo_agent::run(configuration, stop)
    })
}

/// Runs one attempt to its end.
pub(crate) fn supervise(command: &Supervise) -> Result<(), Failure> {
    tombolo_agent::supervisor::run(&command.folder).map_err(|error| Failure::new(ExitCode::Failed, error))
}

fn load<T: serde::de::DeserializeOwned>(command: &Service, prefix: &str) -> Result<T, Failure> {
    configuration::load(command.config.as_deref(), prefix).map_err(|error| {
        let hint = if command.config.is_some() {
            "see the commented examples under config/"
        } else {
            "no `--config FILE` was given; see the commented examples under config/"
        };
        Failure::usage(error).hint(hint)
    })
}

fn invalid(faults: configuration::Faults) -> Failure {
    Failure::usage(faults).hint("see the commented examples under config/")
}

fn serve<Running: Future<Output = anyhow::Result<()>>>(
    command: &Service,
    telemetry: &telemetry::Settings,
    run: impl FnOnce(CancellationToken) -> Running,
) -> Result<(), Failure> {
    telemetry::install(telemetry).map_err(Failure::usage)?;
    if command.end_with_parent {
        dev::end_with_parent()?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let stop = CancellationToken::new();
        let signals = on_signals(stop.clone());
        let service = async {
            let ended = run(stop.clone()).await;
            stop.cancel();
            ended
        };
        let (signals, ended) = tokio::join!(signals, service);
        ended.and(signals)
    });
    ended.map_err(|error| Failure::new(ExitCode::Failed, format!("{error:#}")))
}
