//! The `tombolo` program: one binary for the master, the agents, the supervisor of a job, and the users' commands.

mod client;
mod command;
mod context;
mod dev;
mod exec;
mod failure;
mod number;
mod render;
mod source;
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::process;

use clap::{CommandFactory, Parser, Subcommand};
use secrecy::SecretString;
use tombolo_agent::supervisor::{ENTER, enter};
use tombolo_core::name::ProjectName;

use crate::client::Client;
use crate::context::Contexts;
use crate::failure::{ExitCode, Failure};
use crate::render::Format;

/// The project that is meant when neither the command nor the context names one.
const DEFAULT_PROJECT: &str = "default";

/// One job file, many clusters.
#[derive(Debug, Parser)]
#[command(name = "tombolo", version, propagate_version = true, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    shared: Shared,
    #[command(subcommand)]
    command: Command,
}

/// What every command takes.
#[derive(Debug, clap::Args)]
struct Shared {
    /// The context to use instead of the current one.
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// The project to use instead of the context's.
    #[arg(long, short, global = true, env = "TOMBOLO_PROJECT", value_name = "NAME")]
    project: Option<ProjectName>,
    /// How to print results.
    #[arg(long, short, global = true, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Logs in to a master, and makes it the current context.
    Login(command::login::Login),
    /// Shows and switches contexts.
    #[command(subcommand)]
    Context(command::login::ContextCommand),
    /// Submits a job file.
    Run(command::run::Run),
    /// Uploads a folder as source and submits the job file in it.
    Push(command::run::Push),
    /// Follows a build until it is over.
    Watch(command::run::Watch),
    /// Lists the builds of the project.
    Builds(command::builds::Builds),
    /// Lists the jobs of a build, and why those that wait do.
    Jobs(command::builds::Jobs),
    /// Prints the log of a job.
    Logs(command::logs::Logs),
    /// Runs a command, or a shell, beside the one of a running job.
    Exec(exec::Exec),
    /// Lists and downloads what jobs left behind.
    #[command(subcommand)]
    Outputs(command::outputs::Outputs),
    /// Cancels a build, or one job of it.
    Cancel(command::builds::Cancel),
    /// Says where the jobs of a job file would go now, and why.
    Plan(command::plan::Plan),
    /// Runs a build again, or some of it, as a new build.
    Rerun(command::rerun::Rerun),
    /// Says why a job is where it is, or is nowhere.
    Explain(command::builds::Explain),
    /// Shows how the inputs of a build's jobs come, and by which ways.
    Transfers(command::transfers::Transfers),
    /// Lists and clears what jobs keep between builds.
    #[command(subcommand)]
    Cache(command::cache::Cache),
    /// Sets, lists and deletes secrets of the project.
    #[command(subcommand)]
    Secret(command::secret::Secret),
    /// Submits builds by a schedule, or when somebody asks.
    #[command(subcommand)]
    Trigger(command::trigger::Trigger),
    /// Checks a job file.
    Validate(command::validate::Validate),
    /// Invites, lists, cordons, drains and removes clusters.
    #[command(subcommand)]
    Cluster(command::cluster::Cluster),
    /// Puts another certificate authority in the place of the present one, while clusters stay connected.
    #[command(subcommand)]
    Ca(command::ca::Ca),
    /// Says what goes of the outputs of a project.
    #[command(subcommand)]
    Retention(command::retention::Retention),
    /// Makes, lists, changes and deletes projects.
    #[command(subcommand)]
    Project(command::project::Project),
    /// Makes, lists and revokes access tokens.
    #[command(subcommand)]
    Token(command::token::Token),
    /// Saves everything that another machine needs to be this master, in one file.
    Backup(command::backup::Backup),
    /// Makes the data folder of a new master from a backup; on the machine of that master.
    Restore(command::backup::Restore),
    /// Runs a master and two clusters on this machine.
    Dev(dev::Dev),
    /// Runs the control plane.
    Master(command::server::Master),
    /// Runs the agent of a cluster.
    Agent(command::server::Agent),
    /// Looks whether an agent can work: `tombolo agent doctor`, for those who look for it here.
    #[command(hide = true)]
    Doctor(command::server::Service),
    /// Runs one attempt; started by the agent.
    #[command(hide = true)]
    Supervise(command::server::Supervise),
    /// Clones for a job; started by its supervisor.
    #[command(hide = true)]
    Clone {
        /// What to clone, as JSON.
        order: String,
    },
    /// Works in the pod of an attempt; started by Kubernetes.
    #[command(hide = true, subcommand)]
    Courier(command::server::Courier),
    /// Prints a completion script for a shell.
    Completion {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// What commands that talk to a master work with.
struct Session {
    client: Client,
    project: ProjectName,
    format: Format,
}

impl Session {
    fn open(shared: &Shared) -> Result<Self, Failure> {
        let contexts = Contexts::load(&context::path()?)?;
        let mut context = contexts.select(shared.context.as_deref())?.clone();
        if let Ok(token) = std::env::var(context::TOKEN_VARIABLE) {
            context.token = SecretString::from(token.trim().to_owned());
        }
        let project = shared.project.clone().or_else(|| context.project.clone());
        let project = match project {
            Some(project) => project,
            None => ProjectName::new(DEFAULT_PROJECT).map_err(Failure::usage)?,
        };
        Ok(Self {
            client: Client::new(&context)?,
            project,
            format: shared.output,
        })
    }
}

/// Parses the arguments, carries out the command and returns the exit code.
pub fn main() -> process::ExitCode {
    // Before anything looks at the variables, which are a job's here.
    let mut words = std::env::args_os().skip(1);
    if words.next().is_some_and(|word| word == ENTER) {
        return process::ExitCode::from(enter(words));
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are no errors; clap knows which stream is right.
            let code = if error.use_stderr() { ExitCode::Usage as u8 } else { 0 };
            if error.use_stderr() && asks_for_json(std::env::args_os()) {
                let message = error.render().to_string();
                let message = message.strip_prefix("error: ").unwrap_or(&message);
                report(&Failure::usage(message.trim_end()), Format::Json);
                return process::ExitCode::from(code);
            }
            return if error.print().is_ok() {
                process::ExitCode::from(code)
            } else {
                process::ExitCode::FAILURE
            };
        }
    };
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::debug!("a TLS provider was installed already");
    }
    let format = arguments.shared.output;
    let ended = match &arguments.command {
        // Their exit codes are those of the commands.
        Command::Supervise(command) => command::server::supervise(command),
        Command::Clone { order } => Ok(process::ExitCode::from(tombolo_agent::clone::main(order))),
        Command::Exec(command) => exec::main(command, &arguments.shared),
        _ => run(arguments).map(|()| process::ExitCode::SUCCESS),
    };
    match ended {
        Ok(code) => code,
        Err(failure) => {
            report(&failure, format);
            process::ExitCode::from(failure.code as u8)
        }
    }
}

/// Whether arguments that cannot be understood ask for JSON all the same.
fn asks_for_json(arguments: impl IntoIterator<Item = OsString>) -> bool {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let joined = ["-ojson", "-o=json", "--output=json"];
    arguments
        .iter()
        .any(|argument| joined.iter().any(|asks| argument == asks))
        || arguments
            .windows(2)
            .any(|pair| (pair[0] == "-o" || pair[0] == "--output") && pair[1] == "json")
}

fn report(failure: &Failure, format: Format) {
    if failure.message.is_empty() {
        return;
    }
    let mut output = anstream::stderr().lock();
    if format == Format::Json
        && let Ok(json) = failure.json()
    {
        // As below.
        drop(writeln!(output, "{json}"));
        return;
    }
    let (error, hint) = (
        anstyle::AnsiColor::Red.on_default().bold(),
        anstyle::AnsiColor::Cyan.on_default(),
    );
    // Nobody is left to hear of a standard error that cannot be written.
    drop(writeln!(output, "{error}error:{error:#} {}", failure.message));
    if let Some(text) = &failure.hint {
        drop(writeln!(output, "{hint}hint:{hint:#} {text}"));
    }
}

fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { shared, command } = arguments;
    match command {
        Command::Completion { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Arguments::command(), "tombolo", &mut script);
            std::io::stdout().write_all(&script).map_err(render::write_failure)
        }
        Command::Validate(command) => command::validate::run(&command, shared.output),
        Command::Context(command) => command::login::contexts(&command, shared.output),
        Command::Courier(command) => command::server::courier(&command),
        Command::Master(command) => command::server::master(&command),
        Command::Agent(command) => command::server::agent(&command, shared.output),
        Command::Dev(command) => dev::run(&command),
        Command::Restore(command) => command::backup::restore(&command, shared.output),
        Command::Ca(command) => command::ca::ca(&command, &shared),
        Command::Doctor(service) => command::server::doctor(&service, shared.output),
        Command::Login(command) => wait(command::login::login(&command, &shared), None),
        command => {
            let session = Session::open(&shared)?;
            let builds = matches!(
                command,
                Command::Run(_) | Command::Push(_) | Command::Rerun(_) | Command::Watch(_)
            );
            let hint = match &command {
                Command::Cluster(command::cluster::Cluster::Drain { .. }) => {
                    Some("the draining goes on; `tombolo cluster uncordon NAME` ends it")
                }
                _ => builds.then_some("a build that was submitted goes on; `tombolo cancel BUILD` ends it"),
            };
            wait(with_session(command, &session), hint)
        }
    }
}

async fn with_session(command: Command, session: &Session) -> Result<(), Failure> {
    match command {
        Command::Run(command) => command::run::run(&command, session).await,
        Command::Push(command) => command::run::push(&command, session).await,
        Command::Watch(command) => command::run::watch(&command, session).await,
        Command::Builds(command) => command::builds::builds(&command, session).await,
        Command::Jobs(command) => command::builds::jobs(&command, session).await,
        Command::Cancel(command) => command::builds::cancel(&command, session).await,
        Command::Plan(command) => command::plan::plan(&command, session).await,
        Command::Rerun(command) => command::rerun::rerun(&command, session).await,
        Command::Explain(command) => command::builds::explain(&command, session).await,
        Command::Transfers(command) => command::transfers::transfers(&command, session).await,
        Command::Logs(command) => command::logs::logs(&command, session).await,
        Command::Outputs(command) => command::outputs::outputs(&command, session).await,
        Command::Cache(command) => command::cache::cache(&command, session).await,
        Command::Secret(command) => command::secret::secret(&command, session).await,
        Command::Trigger(command) => command::trigger::trigger(&command, session).await,
        Command::Cluster(command) => command::cluster::cluster(&command, session).await,
        Command::Retention(command) => command::retention::retention(&command, session).await,
        Command::Project(command) => command::project::project(&command, session).await,
        Command::Token(command) => command::token::token(&command, session).await,
        Command::Backup(command) => command::backup::backup(&command, session).await,
        _ => Err(Failure::usage("this command does not talk to a master")),
    }
}

/// Runs a user's command to its end, or until Ctrl-C. `hint`: what to know of it then.
fn wait(command: impl Future<Output = Result<(), Failure>>, hint: Option<&str>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        tokio::select! {
            result = command => result,
            signal = tokio::signal::ctrl_c() => {
                signal?;
                let stopped = Failure::new(ExitCode::Cancelled, "stopped by Ctrl-C");
                Err(match hint {
                    Some(hint) => stopped.hint(hint),
                    None => stopped,
                })
            }
        }
    })
}
