//! `tombolo dev`: a master and two clusters on this machine, as separate processes over mutual TLS.

mod orphans;
mod process;
mod s3;
mod settings;
mod state;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use clap::Args;
use rustix::process::Signal;
use secrecy::SecretString;
use tokio_util::sync::CancellationToken;
use tombolo_api::{Availability, Cluster, ClusterList, CreateInvite, Invite, path};
use tombolo_core::name::ClusterName;
use tombolo_runtime::shutdown::{TaskGroup, on_signals};
use url::Url;

use crate::client::Client;
use crate::context::{self, Context, Contexts};
use crate::failure::{ExitCode, Failure};
use crate::render;
use orphans::Awaited;
use process::Part;
use settings::{CLUSTERS, Example};
use state::State;

/// The name of the context that `dev` makes.
const CONTEXT: &str = "dev";
/// How long the master may take to answer, and the clusters to join.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often it is looked whether they have.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// How long all parts may take to end, the last of them being killed before.
const STOP_WITHIN: Duration = Duration::from_secs(20);

#[derive(Debug, Args)]
pub(crate) struct Dev {
    /// The folder that everything is kept in. Started again with it, everything goes on where it was.
    #[arg(long, default_value = ".tombolo-dev", value_name = "FOLDER")]
    state: PathBuf,
    /// Lets the two agents reach each other, so that outputs need not go through the master.
    #[arg(long)]
    direct: bool,
}

/// Runs everything until Ctrl-C.
pub(crate) fn run(command: &Dev) -> Result<(), Failure> {
    tombolo_runtime::telemetry::install(&settings::telemetry()).map_err(anyhow::Error::from)?;
    // One thread: the parts end when the thread that started them does, and that is to be this process's end.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_parts(command)).map_err(Failure::from)
}

async fn run_parts(command: &Dev) -> anyhow::Result<()> {
    orphans::adopt()?;
    let state = State::open(&command.state)?;
    let stop = CancellationToken::new();
    let mut tasks = TaskGroup::new(stop.clone());
    tasks.spawn("signals", {
        let stop = stop.clone();
        async move { on_signals(stop).await }
    });
    let awaited = Awaited::default();
    tasks.spawn("orphans", orphans::reap(awaited.clone(), stop.clone()));
    let s3 = s3::Endpoint::bind(&state.path("s3"), &state.settings.s3).await?;
    tasks.spawn("s3", s3.serve(stop.clone()));

    let started = tokio::select! {
        started = start(command, &state, &mut tasks, &awaited) => started,
        () = stop.cancelled() => Ok(()),
    };
    if started.is_err() {
        stop.cancel();
    }
    let ended = tasks.run(STOP_WITHIN).await;
    orphans::end().await;
    started?;
    Ok(ended?)
}

async fn start(command: &Dev, state: &State, tasks: &mut TaskGroup, awaited: &Awaited) -> anyhow::Result<()> {
    let program = std::env::current_exe().context("this program's own file is gone")?;
    fs::create_dir_all(state.path("logs"))?;
    let master = state.path("master.toml");
    state::write(&master, &settings::master(state)?)?;
    let part = Part {
        name: "master",
        subcommand: "master",
        configuration: master,
        log: state.path("logs/master.log"),
        environment: Vec::new(),
        awaited: awaited.clone(),
    };
    tasks.spawn("master", part.run(program.clone(), tasks.token()));

    let context = wait_for_context(state).await?;
    let name = save_context(state, &context)?;
    let client = Client::new(&context).map_err(explain)?;
    for (index, example) in CLUSTERS.iter().enumerate() {
        let configuration = state.path(format!("{}.toml", example.name));
        state::write(&configuration, &settings::agent(state, index, command.direct)?)?;
        let part = Part {
            name: example.name,
            subcommand: "agent",
            configuration,
            log: state.path(format!("logs/{}.log", example.name)),
            environment: invite(&client, state, example).await?,
            awaited: awaited.clone(),
        };
        tasks.spawn(example.name, part.run(program.clone(), tasks.token()));
    }
    let disabled = wait_for_clusters(&client, state).await?;
    say_ready(command, state, &name, &disabled).map_err(explain)
}

fn explain(failure: Failure) -> anyhow::Error {
    anyhow::anyhow!(failure.message)
}

/// The context of the bootstrap admin, once the master has written its files and answers.
async fn wait_for_context(state: &State) -> anyhow::Result<Context> {
    let deadline = Instant::now() + READY_WITHIN;
    let (token, authority) = (state.path(settings::ADMIN_TOKEN), state.path(settings::TRUST));
    loop {
        if let (Ok(token), Ok(authority)) = (fs::read_to_string(&token), fs::read_to_string(&authority)) {
            let context = Context {
                server: Url::parse(&format!("https://localhost:{}", state.settings.user_port))?,
                server_name: None,
                certificate_authority: Some(authority),
                token: SecretString::from(token.trim().to_owned()),
                project: None,
            };
            let client = Client::new(&context).map_err(explain)?;
            match client.get::<tombolo_api::WhoAmI>(&path::whoami()).await {
                Ok(_) => return Ok(context),
                Err(failure) if failure.code == ExitCode::Unauthorized => bail!(failure.message),
                Err(_) => {}
            }
        }
        if Instant::now() > deadline {
            bail!(
                "the master does not answer; see {}",
                state.path("logs/master.log").display()
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Puts the context into the state folder, and into the user's own file as the current one. Another `dev` keeps its context
/// there; this one then gets a name of its own. Returns the name.
fn save_context(state: &State, context: &Context) -> anyhow::Result<String> {
    let own = Contexts {
        current: Some(CONTEXT.to_owned()),
        contexts: BTreeMap::from([(CONTEXT.to_owned(), context.clone())]),
    };
    own.save(&state.path("cli.toml")).map_err(explain)?;
    let file = context::path().map_err(explain)?;
    let mut contexts = Contexts::load(&file).map_err(explain)?;
    let free = |name: &str| {
        contexts
            .contexts
            .get(name)
            .is_none_or(|other| other.server == context.server)
    };
    let name = if free(CONTEXT) {
        CONTEXT.to_owned()
    } else {
        format!("{CONTEXT}-{}", state.settings.user_port)
    };
    contexts.contexts.insert(name.clone(), context.clone());
    contexts.current = Some(name.clone());
    contexts.save(&file).map_err(explain)?;
    Ok(name)
}

/// An invite for a cluster that has not joined yet, or was removed since; nothing for one that has.
async fn invite(client: &Client, state: &State, example: &Example) -> anyhow::Result<Vec<(&'static str, String)>> {
    let list: ClusterList = client.get(&path::clusters()).await.map_err(explain)?;
    if list.clusters.iter().any(|cluster| example.is(cluster)) {
        return Ok(Vec::new());
    }
    if state.path(example.name).exists() {
        let line = format!("Cluster `{}` was removed, and joins again.", example.name);
        render::line(&line).map_err(explain)?;
    }
    let request = CreateInvite {
        name: ClusterName::new(example.name)?,
        labels: example.labels.iter().map(|label| (*label).to_owned()).collect(),
        ttl_seconds: None,
    };
    let invite: Invite = client.post(&path::invites(), &request).await.map_err(explain)?;
    Ok(vec![(settings::INVITE_VARIABLE, invite.invite)])
}

/// Waits for all clusters but for those that are disabled, which cannot connect. Returns these.
async fn wait_for_clusters(client: &Client, state: &State) -> anyhow::Result<Vec<&'static str>> {
    let deadline = Instant::now() + READY_WITHIN;
    loop {
        if let Ok(list) = client.get::<ClusterList>(&path::clusters()).await {
            let is = |example: &Example, holds: fn(&Cluster) -> bool| {
                let mut clusters = list.clusters.iter();
                clusters.any(|cluster| example.is(cluster) && holds(cluster))
            };
            let is_disabled =
                |example: &&Example| is(example, |cluster| cluster.availability == Availability::Disabled);
            let disabled: Vec<&Example> = CLUSTERS.iter().filter(is_disabled).collect();
            let mut others = CLUSTERS.iter().filter(|example| !is_disabled(example));
            if others.all(|example| is(example, |cluster| cluster.connected)) {
                return Ok(disabled.into_iter().map(|example| example.name).collect());
            }
        }
        if Instant::now() > deadline {
            bail!("the clusters did not join; see {}", state.path("logs").display());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

impl Example {
    fn is(&self, cluster: &Cluster) -> bool {
        cluster.name.as_str() == self.name
    }
}

fn say_ready(command: &Dev, state: &State, context: &str, disabled: &[&str]) -> Result<(), Failure> {
    let way = if command.direct {
        "The agents reach each other."
    } else {
        "The agents cannot reach each other: outputs go through the master, or straight from the bucket of `west`."
    };
    for name in disabled {
        render::line(&format!(
            "Cluster `{name}` is disabled, and stays away until `tombolo cluster enable {name}`."
        ))?;
    }
    let port = state.settings.user_port;
    render::line(&format!(
        "Ready: master at https://localhost:{port}, clusters east (local folder) and west (S3). {way}"
    ))?;
    render::line(&format!(
        "State and logs are in {}. Ctrl-C ends everything.",
        state.path("").display()
    ))?;
    render::line(&format!(
        "In another terminal: `tombolo run FILE --watch` (the context `{context}` is the current one now)."
    ))
}

/// Ends this process when the one that started it ends, whatever the reason.
pub(crate) fn end_with_parent() -> anyhow::Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?)
}
