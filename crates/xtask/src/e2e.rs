//! Charts and jobs on two real Kubernetes clusters.

mod aftermath;
mod bucket;

use std::env;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{cluster, demo, image, plain, tools};

const EAST: &str = "TOMBOLO_E2E_EAST_KUBECONFIG";
const WEST: &str = "TOMBOLO_E2E_WEST_KUBECONFIG";
/// Names an S3 server that the other clusters reach, where they are not this machine's own.
const S3: &str = "TOMBOLO_E2E_S3";
/// Tests at once: most of them wait for a kubelet, and nodes have room for few pods.
const THREADS: &str = "5";
/// What only the clusters of this machine let one break.
const MACHINE: &str = "machine::";
/// The namespaces that the tests make.
const NAMESPACES: [&str; 3] = ["tombolo-e2e", "tombolo-e2e-cramped", "tombolo-e2e-bare"];

#[derive(Args)]
pub(crate) struct Options {
    /// Leaves the clusters and what is installed on them.
    #[arg(long)]
    keep: bool,
    /// Takes the image as it is on the clusters.
    #[arg(long)]
    no_image: bool,
    /// The profile to build the program with.
    #[arg(long, hide = true, default_value = "release")]
    profile: String,
    /// Runs only the tests whose names contain this, and not those of the agent's parts. Of no use to a benchmark.
    filter: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            keep: false,
            no_image: false,
            profile: "release".to_owned(),
            filter: None,
        }
    }
}

/// The clusters that the tests run on.
struct Clusters {
    east: PathBuf,
    west: PathBuf,
    /// They are those of `cargo xtask cluster`.
    own: bool,
    /// This command has started them.
    started: bool,
}

/// What runs on the clusters.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Tests,
    Bench,
}

/// The tests.
pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    on_clusters(shell, options, What::Tests)?;
    println!("The end-to-end tests took {:.0} s.", began.elapsed().as_secs_f64());
    Ok(())
}

/// Side by side with bare Kubernetes.
pub(crate) fn bench(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    on_clusters(shell, options, What::Bench)
}

fn on_clusters(shell: &Shell, options: &Options, what: What) -> anyhow::Result<()> {
    let clusters = clusters(shell)?;
    let _alone = alone(&clusters.east)?;
    let tested = test(shell, options, &clusters, what);
    let cleaned = if options.keep {
        println!("The clusters and what is installed on them were kept: `cargo xtask cluster down` ends them.");
        Ok(())
    } else {
        clean(shell, &clusters)
    };
    tested?;
    cleaned
}

/// Two runs on the same clusters would remove each other's installations.
pub(crate) fn alone(kubeconfig: &Path) -> anyhow::Result<File> {
    let path = kubeconfig.with_extension("in-use");
    let context = || format!("cannot lock {}", path.display());
    let file = File::create(&path).with_context(context)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => anyhow::bail!("another run uses the cluster of {}", kubeconfig.display()),
        Err(TryLockError::Error(error)) => Err(error).with_context(context),
    }
}

fn clusters(shell: &Shell) -> anyhow::Result<Clusters> {
    let named = |variable| env::var_os(variable).map(PathBuf::from);
    match (named(EAST), named(WEST)) {
        (Some(east), Some(west)) => Ok(Clusters {
            east,
            west,
            own: false,
            started: false,
        }),
        (None, None) => {
            let started = cluster::ensure_up(shell)?;
            Ok(Clusters {
                east: cluster::own_kubeconfig("east")?,
                west: cluster::own_kubeconfig("west")?,
                own: true,
                started,
            })
        }
        _ => anyhow::bail!("give both {EAST} and {WEST}, or neither: then clusters are started on this machine"),
    }
}

fn test(shell: &Shell, options: &Options, clusters: &Clusters, what: What) -> anyhow::Result<()> {
    let target = demo::target_folder(shell)?;
    let program = target.join("image/tombolo");
    if !options.no_image {
        image::run(shell, &image::Options::with(&options.profile, clusters.own))?;
        let folder = if options.profile == "dev" {
            "debug"
        } else {
            &options.profile
        };
        // What is built later takes its place.
        let built = target.join(folder).join("tombolo");
        fs::copy(&built, &program).with_context(|| format!("cannot copy {}", built.display()))?;
    }
    let kubectl = tools::kubectl(shell)?;
    let tools = kubectl.parent().context("kubectl is in no folder")?.to_owned();
    let (s3, _server) = bucket(shell, clusters, &target)?;
    let command = match what {
        What::Bench => plain(cmd!(shell, "cargo test --workspace --test kubernetes-bench")),
        What::Tests => {
            if options.filter.is_none() {
                parts(shell, clusters).context("to see it again: cargo xtask e2e --keep")?;
            }
            whole(shell, options, clusters)
        }
    };
    let ran = command
        .env(EAST, &clusters.east)
        .env(WEST, &clusters.west)
        .env(S3, s3)
        .env("TOMBOLO_E2E_TOOLS", tools)
        .env("TOMBOLO_E2E_XTASK", env::current_exe()?)
        .env("TOMBOLO_PROGRAM", program)
        .run();
    if ran.is_err() {
        aftermath::show(shell, &kubectl, clusters);
    }
    ran.context("to see one test again: cargo xtask e2e --keep NAME, with --no-image if the program is as it was")
}

/// The tests of the whole, on the clusters.
fn whole<'shell>(shell: &'shell Shell, options: &Options, clusters: &Clusters) -> xshell::Cmd<'shell> {
    let mut arguments = vec!["--test-threads", THREADS];
    if !clusters.own {
        println!("not run, since only clusters of this machine let one break them so: {MACHINE}");
        arguments.extend(["--skip", MACHINE]);
    }
    arguments.extend(options.filter.as_deref());
    plain(cmd!(shell, "cargo test --workspace --test e2e -- {arguments...}"))
}

/// The S3 server of the cluster `west`: one that was named, or one of ours.
fn bucket(shell: &Shell, clusters: &Clusters, target: &Path) -> anyhow::Result<(String, Option<bucket::Server>)> {
    if let Ok(address) = env::var(S3) {
        return Ok((address, None));
    }
    ensure!(
        clusters.own,
        "{S3} is not set: `http://host:port` of an S3 server that the cluster `west` reaches, with the bucket `tombolo-west`, for \
         the user `tester` with the key `not-a-secret`"
    );
    let server = bucket::Server::start(&tools::weed(shell)?, &cluster::own_gateway("west")?, target)?;
    Ok((server.address(), Some(server)))
}

/// The agent's parts alone, without a master.
fn parts(shell: &Shell, clusters: &Clusters) -> anyhow::Result<()> {
    let mut command = plain(cmd!(
        shell,
        "cargo test --workspace --test kubernetes -- --test-threads {THREADS}"
    ))
    .env("TOMBOLO_TEST_KUBECONFIG", &clusters.east);
    if clusters.own {
        let node = cluster::own_address("east")?;
        command = command
            .env("TOMBOLO_TEST_REGISTRY", format!("{node}:5000"))
            .env("TOMBOLO_TEST_PULL_REGISTRY", format!("{node}:5001"));
    } else {
        println!("not run, since these clusters have no registry of ours: registries::");
        command = command.args(["--skip", "registries::"]);
    }
    Ok(command.run()?)
}

/// Ends what was started, and removes what was installed on what goes on.
fn clean(shell: &Shell, clusters: &Clusters) -> anyhow::Result<()> {
    if clusters.started {
        return cluster::down_everywhere();
    }
    let (helm, kubectl) = (tools::helm(shell)?, tools::kubectl(shell)?);
    for kubeconfig in [&clusters.east, &clusters.west] {
        remove(shell, &helm, &kubectl, kubeconfig)
            .with_context(|| format!("cannot clean the cluster of {}", kubeconfig.display()))?;
    }
    Ok(())
}

fn remove(shell: &Shell, helm: &Path, kubectl: &Path, kubeconfig: &Path) -> anyhow::Result<()> {
    let namespace = NAMESPACES[0];
    for release in ["tombolo-agent", "tombolo"] {
        cmd!(
            shell,
            "{helm} --kubeconfig {kubeconfig} uninstall {release} --namespace {namespace} --ignore-not-found --wait"
        )
        .quiet()
        .run()?;
    }
    cmd!(
        shell,
        "{kubectl} --kubeconfig {kubeconfig} delete namespace {NAMESPACES...} --ignore-not-found --timeout 120s"
    )
    .quiet()
    .run()?;
    Ok(())
}
