//! Real Kubernetes clusters on this machine, each a host of its own: `cargo xtask cluster --help`.

mod component;
mod control_plane;
mod dns;
mod down;
mod firewall;
mod images;
mod mounts;
mod network;
mod node;
mod pki;
mod place;
mod registry;
mod runtime;
mod status;
mod system;
mod up;
mod volumes;

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Context, anyhow, bail, ensure};
use clap::{Args, Subcommand};
use rustix::process::{Signal, kill_process};
use xshell::Shell;

use crate::tools;
use component::Component;
use firewall::Cut;
use place::Cluster;
pub(crate) use place::Name;

/// Short: the paths of Unix sockets below it may have a hundred characters.
pub(crate) const STATE: &str = "/tmp/tombolo-clusters";

#[derive(Args)]
pub(crate) struct State {
    /// Where the clusters' files are. Keep it short: there are Unix sockets below it.
    #[arg(long = "state", value_name = "FOLDER", default_value = STATE)]
    folder: PathBuf,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts clusters, side by side; those that run are left as they are.
    ///
    /// Wants Linux with Debian's packages, and root. The first time, it installs packages and builds Kubernetes 1.20 from
    /// Debian's source package (five minutes). For other systems see docs/guide/test-clusters.md.
    Up {
        /// Which; letters, digits and hyphens, ten at most.
        #[arg(default_values = ["east", "west"])]
        names: Vec<Name>,
        /// A label for the nodes, besides their region (the cluster's name) and zone.
        #[arg(long = "node-label", value_name = "KEY=VALUE")]
        labels: Vec<String>,
        #[command(flatten)]
        state: State,
    },
    /// Ends clusters and removes all that is there of them: all clusters, unless some are named.
    Down {
        names: Vec<Name>,
        #[command(flatten)]
        state: State,
    },
    /// Shows the clusters, and how they are.
    List {
        #[command(flatten)]
        state: State,
    },
    /// Prints where a cluster's kubeconfig is: `export KUBECONFIG=$(cargo xtask cluster kubeconfig east)`.
    Kubeconfig {
        name: Name,
        #[command(flatten)]
        state: State,
    },
    /// Cuts the networks of two clusters apart, both ways, established connections included.
    ///
    /// What is between each of them and this machine stays. Cutting again replaces the cut.
    Cut {
        one: Name,
        other: Name,
        /// A TCP port that stays reachable on either side, like the NodePort of the master.
        #[arg(long = "except-port", value_name = "PORT")]
        except_ports: Vec<u16>,
        /// Answers with a clear no. By default packets vanish, as at most firewalls.
        #[arg(long)]
        reject: bool,
        #[command(flatten)]
        state: State,
    },
    /// Joins two clusters again, or all of them when none is named.
    Heal {
        #[arg(num_args = 2)]
        names: Vec<Name>,
        #[command(flatten)]
        state: State,
    },
    /// Stops a component of a cluster: apiserver, kubelet, scheduler, etcd, ... Its pods go on.
    Stop {
        name: Name,
        component: String,
        #[command(flatten)]
        state: State,
    },
    /// Starts a component again, and waits until it is ready.
    Start {
        name: Name,
        component: String,
        #[command(flatten)]
        state: State,
    },
    /// Has a component stand still where it is (SIGSTOP): it holds its connections, and answers nobody.
    Pause {
        name: Name,
        component: String,
        #[command(flatten)]
        state: State,
    },
    /// Lets a component go on that stands still.
    Resume {
        name: Name,
        component: String,
        #[command(flatten)]
        state: State,
    },
    /// Kills a component at once (SIGKILL).
    Kill {
        name: Name,
        component: String,
        #[command(flatten)]
        state: State,
    },
    /// Makes the images of archives known to a cluster's node.
    Load {
        name: Name,
        /// OCI archives, or what `docker save` writes.
        #[arg(required = true)]
        archives: Vec<PathBuf>,
        #[command(flatten)]
        state: State,
    },
    /// Runs a command in a cluster's network, with its kubeconfig: `cargo xtask cluster run east -- ip addr`.
    Run {
        name: Name,
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
        #[command(flatten)]
        state: State,
    },
}

pub(crate) fn run(shell: &Shell, command: Command) -> anyhow::Result<()> {
    match command {
        Command::Up { names, labels, state } => up::up(shell, &state.folder, &names, &labels),
        Command::Down { names, state } => down_all(&state.folder, names),
        Command::List { state } => status::list(shell, &state.folder),
        Command::Kubeconfig { name, state } => {
            println!("{}", Cluster::require(&state.folder, &name)?.kubeconfig().display());
            Ok(())
        }
        Command::Cut {
            one,
            other,
            except_ports,
            reject,
            state,
        } => {
            system::require()?;
            let (one, other) = (
                Cluster::require(&state.folder, &one)?,
                Cluster::require(&state.folder, &other)?,
            );
            let cut = if reject { Cut::Reject } else { Cut::Drop };
            firewall::cut(shell, &one, &other, cut, &except_ports)
        }
        Command::Heal { names, state } => heal(shell, &state.folder, &names),
        Command::Stop { name, component, state } => {
            system::require()?;
            let cluster = Cluster::require(&state.folder, &name)?;
            Component::load(&cluster, &component)?.stop()
        }
        Command::Start { name, component, state } => start(shell, &state.folder, &name, &component),
        Command::Pause { name, component, state } => signal(&state.folder, &name, &component, Signal::STOP),
        Command::Resume { name, component, state } => signal(&state.folder, &name, &component, Signal::CONT),
        Command::Kill { name, component, state } => signal(&state.folder, &name, &component, Signal::KILL),
        Command::Load { name, archives, state } => {
            system::require()?;
            let cluster = Cluster::require(&state.folder, &name)?;
            archives.iter().try_for_each(|archive| {
                let archive = archive
                    .canonicalize()
                    .with_context(|| format!("cannot find {}", archive.display()))?;
                runtime::load(shell, &cluster, &archive)
            })
        }
        Command::Run { name, command, state } => run_inside(&state.folder, &name, &command),
    }
}

/// Makes the images in an archive known to clusters: those named, or all that are there.
pub(crate) fn load_everywhere(shell: &Shell, archive: &Path) -> anyhow::Result<()> {
    system::require()?;
    let clusters = Cluster::all(Path::new(STATE))?;
    ensure!(
        !clusters.is_empty(),
        "there is no cluster in {STATE} to load the image into\nhint: `cargo xtask cluster up` starts two"
    );
    for cluster in clusters {
        runtime::load(shell, &cluster, archive)?;
        cluster.say("has the image");
    }
    Ok(())
}

/// Brings up `east` and `west` unless they run; says whether it had to. What does not run any more is begun anew.
pub(crate) fn ensure_up(shell: &Shell) -> anyhow::Result<bool> {
    let (state, names) = (Path::new(STATE), [own("east")?, own("west")?]);
    let kubectl = tools::kubectl(shell)?;
    let mut ready = true;
    for name in &names {
        let Some(cluster) = Cluster::find(state, name)? else {
            ready = false;
            continue;
        };
        if !control_plane::is_ready(shell, &cluster, &kubectl) || !node::is_ready(shell, &cluster, &kubectl) {
            ready = false;
            cluster.say("does not run well; it is begun anew");
            down_all(state, vec![name.clone()])?;
        }
    }
    if ready {
        heal(shell, state, &[])?;
    } else {
        up::up(shell, state, &names, &[])?;
    }
    Ok(!ready)
}

/// Ends all clusters of this machine.
pub(crate) fn down_everywhere() -> anyhow::Result<()> {
    down_all(Path::new(STATE), Vec::new())
}

fn own(name: &str) -> anyhow::Result<Name> {
    name.parse().map_err(|reason: String| anyhow!(reason))
}

/// The administrator's kubeconfig of a cluster of this machine.
pub(crate) fn own_kubeconfig(name: &str) -> anyhow::Result<PathBuf> {
    Ok(Cluster::require(Path::new(STATE), &own(name)?)?.kubeconfig())
}

/// The node's address.
pub(crate) fn own_address(name: &str) -> anyhow::Result<String> {
    Ok(Cluster::require(Path::new(STATE), &own(name)?)?.address())
}

/// This machine's address as a cluster sees it.
pub(crate) fn own_gateway(name: &str) -> anyhow::Result<String> {
    Ok(Cluster::require(Path::new(STATE), &own(name)?)?.gateway())
}

fn down_all(state: &Path, names: Vec<Name>) -> anyhow::Result<()> {
    system::require()?;
    let names = match names.is_empty() {
        true => Cluster::all(state)?.into_iter().map(|cluster| cluster.name).collect(),
        false => names,
    };
    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .map(|name| {
                scope.spawn(move || {
                    down::down(state, name).with_context(|| format!("cannot remove the cluster `{name}`"))
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("a thread ended with a panic")))
            })
            .collect()
    });
    results.into_iter().collect()
}

fn heal(shell: &Shell, state: &Path, names: &[Name]) -> anyhow::Result<()> {
    system::require()?;
    let clusters = match names {
        [] => Cluster::all(state)?,
        names => names
            .iter()
            .map(|name| Cluster::require(state, name))
            .collect::<anyhow::Result<_>>()?,
    };
    for (position, one) in clusters.iter().enumerate() {
        for other in &clusters[position + 1..] {
            firewall::heal(shell, one, other)?;
        }
    }
    Ok(())
}

fn start(shell: &Shell, state: &Path, name: &Name, component: &str) -> anyhow::Result<()> {
    system::require()?;
    let cluster = Cluster::require(state, name)?;
    ensure!(
        component != mounts::HOLDER,
        "without `{component}` the cluster has no mounts any more\nhint: `cargo xtask cluster down {name}`, then `up {name}`"
    );
    Component::load(&cluster, component)?.start(&cluster)?;
    let kubectl = tools::kubectl(shell)?;
    match component {
        "apiserver" => control_plane::wait_for_server(shell, &cluster, &kubectl),
        "kubelet" => node::wait_for_node(shell, &cluster, &kubectl),
        _ => Ok(()),
    }
}

/// Sends a signal to a component. To one that does not run, only what would let it go on is no mistake.
fn signal(state: &Path, name: &Name, component: &str, signal: Signal) -> anyhow::Result<()> {
    system::require()?;
    let cluster = Cluster::require(state, name)?;
    let component = Component::load(&cluster, component)?;
    match component.process() {
        Some(process) => kill_process(process, signal).with_context(|| format!("cannot signal `{}`", component.name)),
        None if signal == Signal::CONT => Ok(()),
        None => bail!(
            "`{0}` of the cluster `{name}` does not run\nhint: `cargo xtask cluster start {name} {0}`",
            component.name
        ),
    }
}

fn run_inside(state: &Path, name: &Name, command: &[String]) -> anyhow::Result<()> {
    system::require()?;
    let cluster = Cluster::require(state, name)?;
    let error = std::process::Command::new("nsenter")
        .arg(format!("--net={}", cluster.namespace_file().display()))
        .args(command)
        .env("KUBECONFIG", cluster.kubeconfig())
        .exec();
    bail!("cannot run `nsenter`: {error}");
}

/// The options of `nsenter` for the cluster's network and mounts.
fn inside(cluster: &Cluster) -> anyhow::Result<Vec<String>> {
    let Some(holder) = Component::load(cluster, mounts::HOLDER)?.process() else {
        bail!(
            "the cluster `{0}` does not run\nhint: `cargo xtask cluster down {0}`, then `cargo xtask cluster up {0}`",
            cluster.name
        );
    };
    Ok(vec![
        format!("--net={}", cluster.namespace_file().display()),
        format!("--mount=/proc/{}/ns/mnt", holder.as_raw_nonzero()),
    ])
}

/// A command of a program and its options, which are split at white space.
fn words(program: &str, options: &str) -> Vec<String> {
    std::iter::once(program)
        .chain(options.split_whitespace())
        .map(str::to_owned)
        .collect()
}
