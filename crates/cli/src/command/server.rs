//! The long-running parts: the master, the agent, and what runs in the pod of one attempt.

use std::io::Write;
use std::path::PathBuf;
use std::process;

use clap::{Args, Subcommand, ValueEnum};
use secrecy::SecretString;
use serde::Serialize;
use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;
use tombolo_agent::doctor::{self, Finding, State};
use tombolo_agent::pod::supervise::Step;
use tombolo_agent::pod::{self, Places};
use tombolo_runtime::shutdown::on_signals;
use tombolo_runtime::{configuration, telemetry};

use crate::dev;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format, Rows, Wide};

/// Threads of an agent whose jobs run in pods that wait for the disk: each has memory of its own, and hundreds would come at once
/// with hundreds of jobs. (Where jobs are processes, such a thread packs or unpacks for as long as that takes: there, as many as
/// there are jobs.)
const POD_BLOCKING_THREADS: usize = 16;

/// Where to read what each setting is for.
const EXPLAINED: &str = "each setting is explained in `config/master.toml` and `config/agent.toml` of Tombolo's source";

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Master {
    #[command(flatten)]
    service: Service,
    /// Keeps everything in this Postgres database instead of a file: `postgres://user@host/database`, as the setting `database.url`.
    /// The password is `database.password` in the configuration, never here.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    #[command(subcommand)]
    errand: Option<MasterErrand>,
}

#[derive(Debug, Subcommand)]
enum MasterErrand {
    /// Prints the certificates (PEM) that users have to trust, for `tombolo login --certificate-authority`.
    Trust(Service),
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Agent {
    #[command(flatten)]
    service: Service,
    #[command(subcommand)]
    errand: Option<AgentErrand>,
}

#[derive(Debug, Subcommand)]
enum AgentErrand {
    /// Looks whether the agent can work: its configuration, the master, the store, and each right in Kubernetes.
    Doctor(Service),
}

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
    #[arg(required_unless_present = "pod", conflicts_with = "pod")]
    folder: Option<PathBuf>,
    /// Does what the user's container of a pod is for; its volumes are /run/tombolo, /tombolo and /infrabox.
    #[arg(long)]
    pod: bool,
    /// Does one of its steps only; started by the supervisor itself.
    #[arg(long, hide = true, requires = "pod")]
    step: Option<PodStep>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum PodStep {
    Stage,
    Publish,
}

impl From<PodStep> for Step {
    fn from(step: PodStep) -> Self {
        match step {
            PodStep::Stage => Self::Stage,
            PodStep::Publish => Self::Publish,
        }
    }
}

/// What containers of a pod run beside the user's.
#[derive(Debug, Subcommand)]
pub(crate) enum Courier {
    /// Puts this program into the volume that the containers share, and ends.
    Install {
        /// The volume.
        #[arg(default_value = "/run/tombolo")]
        folder: PathBuf,
    },
    /// Speaks for the pod with the agent until the job's supervisor has finished. The variables TOMBOLO_COURIER_AGENT (host:port),
    /// TOMBOLO_COURIER_CLUSTER, TOMBOLO_COURIER_TRUST (PEM, or a file of it) and TOMBOLO_COURIER_TOKEN_FILE say with whom.
    Run,
}

/// Runs the control plane until a signal.
pub(crate) fn master(command: &Master) -> Result<(), Failure> {
    if let Some(MasterErrand::Trust(service)) = &command.errand {
        return trust(service);
    }
    let mut configuration = load_master(&command.service)?;
    if let Some(url) = &command.database {
        configuration.database.url = Some(database(url)?);
    }
    configuration.validate().map_err(invalid)?;
    let mut runtime = Builder::new_multi_thread();
    // Whatever one of them is at, the lead is renewed.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    runtime.worker_threads(threads.max(2));
    serve(
        &command.service,
        runtime,
        &configuration.telemetry.clone(),
        |stop| async move { Ok(tombolo_master::run(configuration, stop).await?) },
    )
}

pub(super) fn load_master(command: &Service) -> Result<tombolo_master::Configuration, Failure> {
    load(command, tombolo_master::configuration::ENVIRONMENT_PREFIX)
}

/// The URL of a database that was given as an argument, which every user of the machine can read.
fn database(url: &str) -> Result<SecretString, Failure> {
    if tombolo_master::configuration::Database::has_password(url) {
        let failure = Failure::usage("`--database` has a password in it, which everyone on this machine can see");
        return Err(failure.hint(
            "leave it out of the URL, and give `database.password` in the configuration, or a file that has it as \
             TOMBOLO_MASTER_DATABASE__PASSWORD__FILE",
        ));
    }
    Ok(SecretString::from(url.to_owned()))
}

fn trust(command: &Service) -> Result<(), Failure> {
    let configuration = load_master(command)?;
    configuration.validate().map_err(invalid)?;
    let path = tombolo_master::bootstrap::trust_file(&configuration.data_folder);
    let text = std::fs::read_to_string(&path).map_err(|error| {
        let failure = Failure::new(ExitCode::Failed, format!("cannot read {}: {error}", path.display()));
        failure.hint("the master writes it at its first start")
    })?;
    if let Some(warning) = two_authorities(&text) {
        // Nobody is left to hear of a standard error that cannot be written.
        drop(writeln!(anstream::stderr(), "warning: {warning}"));
    }
    render::line(text.trim_end())
}

/// What to say of a trust bundle that is handed out while one authority takes the place of another.
fn two_authorities(bundle: &str) -> Option<String> {
    let count = bundle.matches("-----BEGIN CERTIFICATE-----").count();
    (count > 1).then(|| {
        format!(
            "this has {count} certificate authorities, since one is being replaced. If others may have the key of the older one, hand this out only \
             when it has one: after `tombolo ca finish`, and the start of the master that follows it"
        )
    })
}

/// Runs the agent of a cluster until a signal.
pub(crate) fn agent(command: &Agent, format: Format) -> Result<(), Failure> {
    let command = match &command.errand {
        Some(AgentErrand::Doctor(service)) => return doctor(service, format),
        None => &command.service,
    };
    let configuration: tombolo_agent::configuration::Configuration =
        load(command, tombolo_agent::configuration::ENVIRONMENT_PREFIX)?;
    configuration.validate().map_err(invalid)?;
    let mut runtime = Builder::new_multi_thread();
    if configuration.kubernetes.is_some() {
        runtime.max_blocking_threads(POD_BLOCKING_THREADS);
    }
    serve(command, runtime, &configuration.telemetry.clone(), |stop| {
        tombolo_agent::run(configuration, stop)
    })
}

#[derive(Serialize)]
struct Findings(Vec<Finding>);

impl Rows for Findings {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["check", "state", "detail"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |finding: &Finding| {
            let state = match finding.state {
                State::Good => "ok",
                State::Unknown => "unknown",
                State::Bad => "FAULT",
            };
            vec![finding.what.clone(), state.to_owned(), finding.detail.clone()]
        };
        self.0.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        let bad = self.0.iter().filter(|finding| finding.state == State::Bad);
        bad.map(|finding| finding.what.clone()).collect()
    }

    fn empty(&self) -> &'static str {
        "There is nothing to check."
    }
}

/// Looks whether an agent can work with its configuration.
pub(crate) fn doctor(command: &Service, format: Format) -> Result<(), Failure> {
    let configuration: tombolo_agent::configuration::Configuration =
        load(command, tombolo_agent::configuration::ENVIRONMENT_PREFIX)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let findings = Findings(runtime.block_on(doctor::examine(&configuration)));
    render::print(format, &findings)?;
    match findings.names().len() {
        0 => Ok(()),
        faults => Err(Failure::new(
            ExitCode::Failed,
            format!(
                "the agent cannot work like this: {faults} of {} checks failed",
                findings.0.len()
            ),
        )),
    }
}

/// Runs one attempt to its end.
pub(crate) fn supervise(command: &Supervise) -> Result<process::ExitCode, Failure> {
    let failed = |error: &dyn std::fmt::Display| Failure::new(ExitCode::Failed, error);
    match (&command.folder, command.step) {
        (Some(folder), _) => {
            tombolo_agent::supervisor::run(folder).map_err(|error| failed(&error))?;
            Ok(process::ExitCode::SUCCESS)
        }
        (None, Some(step)) => {
            pod::supervise::carry_out(step.into(), &Places::default())?;
            Ok(process::ExitCode::SUCCESS)
        }
        (None, None) => {
            let code = pod::supervise::run(&Places::default(), this_program).map_err(|error| failed(&error))?;
            Ok(process::ExitCode::from(code))
        }
    }
}

fn this_program(step: Step) -> process::Command {
    let step = match step {
        Step::Stage => "stage",
        Step::Publish => "publish",
    };
    let mut program = process::Command::new("/proc/self/exe");
    program.args(["supervise", "--pod", "--step", step]);
    program
}

/// What the courier's containers do.
pub(crate) fn courier(command: &Courier) -> Result<(), Failure> {
    match command {
        Courier::Install { folder } => {
            let places = Places {
                system: folder.clone(),
                ..Places::default()
            };
            let program = std::env::current_exe()?;
            pod::install(&program, &places).map_err(|error| Failure::new(ExitCode::Failed, error))
        }
        Courier::Run => {
            telemetry::install(&telemetry::Settings::default()).map_err(Failure::usage)?;
            let settings = pod::Settings::read(|name| std::env::var(name).ok()).map_err(Failure::usage)?;
            let ended = pod::courier::main(&settings, &Places::default());
            ended.map_err(|error| Failure::new(ExitCode::Failed, error))
        }
    }
}

fn load<T: serde::de::DeserializeOwned>(command: &Service, prefix: &str) -> Result<T, Failure> {
    configuration::load(command.config.as_deref(), prefix).map_err(|error| {
        let hint = if command.config.is_some() {
            EXPLAINED.to_owned()
        } else {
            format!("no `--config FILE` was given; {EXPLAINED}")
        };
        Failure::usage(error).hint(hint)
    })
}

fn invalid(faults: configuration::Faults) -> Failure {
    Failure::usage(faults).hint(EXPLAINED)
}

fn serve<Running: Future<Output = anyhow::Result<()>>>(
    command: &Service,
    mut runtime: Builder,
    telemetry: &telemetry::Settings,
    run: impl FnOnce(CancellationToken) -> Running,
) -> Result<(), Failure> {
    telemetry::install(telemetry).map_err(Failure::usage)?;
    if command.end_with_parent {
        dev::end_with_parent()?;
    }
    let runtime = runtime.enable_all().build()?;
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
    ended.map_err(|error| Failure::new(ExitCode::Failed, tombolo_runtime::reason::whole(&error)))
}

#[cfg(test)]
mod tests {
    use tombolo_core::time::Timestamp;
    use tombolo_identity::authority::Authority;
    use tombolo_identity::member::TrustDomain;

    use super::*;

    #[test]
    fn trust_is_handed_out_with_a_warning_while_it_has_two_authorities() {
        let now = Timestamp(1_700_000_000_000);
        let before = Authority::create(TrustDomain::default(), now).unwrap();
        let during = before.successor(now).unwrap();
        let after = during.without_others().unwrap();
        assert_eq!(two_authorities(&before.trust().pem()), None);
        assert_eq!(two_authorities(&after.trust().pem()), None);
        let warning = two_authorities(&during.trust().pem()).unwrap();
        assert!(warning.contains("ca finish"), "{warning}");
    }
}
