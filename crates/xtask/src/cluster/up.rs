//! Starting clusters.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Instant;

use anyhow::{Context, anyhow, bail, ensure};
use xshell::{Shell, cmd};

use super::component::Component;
use super::place::{Cluster, MAXIMUM_CLUSTERS, Name};
use super::{control_plane, dns, down, images, mounts, network, node, pki, registry, runtime, system, volumes};
use crate::tools;

/// Folders that the programs find in the cluster's folder.
const FOLDERS: [&str; 11] = [
    "cni",
    "components",
    "containerd",
    "dns",
    "etcd",
    "flex",
    "images",
    "kubelet",
    "log",
    "pki",
    "registry",
];

/// Programs that all clusters share.
struct Programs {
    kubernetes: PathBuf,
    kubectl: PathBuf,
}

/// Brings clusters up side by side. One that runs is left as it is, and must be healthy. One that fails leaves nothing behind.
pub(super) fn up(shell: &Shell, state: &Path, names: &[Name], labels: &[String]) -> anyhow::Result<()> {
    system::require()?;
    ensure!(
        !state.display().to_string().contains(char::is_whitespace),
        "the state folder `{}` has a space in it, which the programs of Kubernetes cannot take",
        state.display()
    );
    system::install(shell)?;
    let programs = Programs {
        kubernetes: tools::kubernetes(shell, || system::install_for_build(shell))?,
        kubectl: tools::kubectl(shell)?,
    };
    fs::create_dir_all(state).with_context(|| format!("cannot make {}", state.display()))?;
    let state = &state
        .canonicalize()
        .with_context(|| format!("{} is gone", state.display()))?;

    let results: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> = names
            .iter()
            .map(|name| {
                // One after the other, so that the same names get the same networks.
                let claim = claim(shell, state, name);
                let programs = &programs;
                (name, scope.spawn(move || bring_up(state, claim?, programs, labels)))
            })
            .collect();
        threads
            .into_iter()
            .map(|(name, thread)| {
                let result = thread
                    .join()
                    .unwrap_or_else(|_| Err(anyhow!("its thread ended with a panic")));
                (name, result)
            })
            .collect()
    });
    let mut failures = Vec::new();
    for (name, result) in results {
        if let Err(error) = result {
            failures.push(format!("the cluster `{name}` did not come up: {error:#}"));
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n"));
    Ok(())
}

fn bring_up(state: &Path, claim: Claim, programs: &Programs, labels: &[String]) -> anyhow::Result<()> {
    let started = Instant::now();
    let shell = &Shell::new()?;
    let cluster = match claim {
        Claim::There(cluster) => return check(shell, &cluster, programs),
        Claim::New(cluster) => cluster,
    };
    let name = &cluster.name;
    if let Err(error) = start(shell, &cluster, programs, labels) {
        cluster.say("failed: removing what is there of it");
        down::down(state, name).with_context(|| {
            format!("{error:#}\nand it cannot be removed\nhint: `cargo xtask cluster down {name}` tries again")
        })?;
        return Err(error);
    }
    cluster.say(&format!("images can be pulled from {}", registry::description()));
    cluster.say(&format!("up in {:.1} s", started.elapsed().as_secs_f64()));
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    Ok(())
}

enum Claim {
    New(Cluster),
    There(Cluster),
}

/// Takes a name and a number, and makes the network: from there on, nobody else has them.
fn claim(shell: &Shell, state: &Path, name: &Name) -> anyhow::Result<Claim> {
    let _lock = lock(state)?;
    if let Some(cluster) = Cluster::find(state, name)? {
        return Ok(Claim::There(cluster));
    }
    ensure!(
        !Path::new("/run/netns").join(format!("tombolo-{name}")).exists(),
        "a cluster `{name}` is on this machine, but not in {}\nhint: it may belong to another `--state`; `cargo xtask cluster down {name}` removes it",
        state.display()
    );
    let taken: Vec<_> = Cluster::all(state)?.into_iter().map(|cluster| cluster.index).collect();
    for index in (0..MAXIMUM_CLUSTERS).filter(|index| !taken.contains(index)) {
        let cluster = Cluster {
            name: name.clone(),
            index,
            folder: state.join(name.to_string()),
        };
        if network::has_address(shell, &cluster.gateway())? {
            continue;
        }
        for folder in FOLDERS {
            let folder = cluster.path(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let path = cluster.path("index");
        fs::write(&path, format!("{index}\n")).with_context(|| format!("cannot write {}", path.display()))?;
        if let Err(error) = network::create(shell, &cluster) {
            down::remove_locked(shell, state, name)?;
            return Err(error.context("cannot make its network"));
        }
        return Ok(Claim::New(cluster));
    }
    bail!("this machine has networks for {MAXIMUM_CLUSTERS} clusters, and all are taken")
}

/// Held while networks are made or removed.
pub(super) fn lock(state: &Path) -> anyhow::Result<File> {
    let path = state.join(".lock");
    let file = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
    file.lock().with_context(|| format!("cannot lock {}", path.display()))?;
    Ok(file)
}

fn start(shell: &Shell, cluster: &Cluster, programs: &Programs, labels: &[String]) -> anyhow::Result<()> {
    let Programs { kubernetes, kubectl } = programs;
    cluster.say(&format!("starting at {}", cluster.address()));
    mounts::enter(cluster)?;
    pki::write(cluster)?;
    // What does not need the API server starts while it does.
    registry::start(cluster)?;
    let archives = images::pack(shell, cluster)?;
    control_plane::start_server(shell, cluster, kubernetes, kubectl)?;
    cluster.say("its API server answers");
    control_plane::start_controllers(cluster, kubernetes)?;
    volumes::start(shell, cluster, kubectl)?;
    dns::start(cluster, kubectl)?;
    runtime::start(shell, cluster)?;
    node::start(shell, cluster, kubernetes, kubectl, labels)?;
    cluster.say("its node is ready");
    registry::publish(shell, cluster, &archives)?;
    wait_for_service_account(shell, cluster, kubectl)
}

/// Before it is there, pods are refused.
fn wait_for_service_account(shell: &Shell, cluster: &Cluster, kubectl: &Path) -> anyhow::Result<()> {
    let config = cluster.kubeconfig();
    super::component::wait(
        cluster,
        "controller-manager",
        std::time::Duration::from_secs(60),
        || {
            cmd!(shell, "{kubectl} --kubeconfig {config} get serviceaccount default")
                .quiet()
                .ignore_stdout()
                .ignore_stderr()
                .run()
                .is_ok()
        },
    )
}

fn check(shell: &Shell, cluster: &Cluster, programs: &Programs) -> anyhow::Result<()> {
    let again = format!(
        "hint: `cargo xtask cluster down {0}`, then `cargo xtask cluster up {0}`",
        cluster.name
    );
    let components = Component::all(cluster)?;
    let dead: Vec<_> = components
        .iter()
        .filter(|component| !component.is_alive())
        .map(|component| component.name.as_str())
        .collect();
    ensure!(!components.is_empty(), "it is half made\n{again}");
    ensure!(
        dead.is_empty(),
        "it is there, but does not run: {}\n{again}",
        dead.join(", ")
    );
    let wait = || {
        control_plane::wait_for_server(shell, cluster, &programs.kubectl)?;
        node::wait_for_node(shell, cluster, &programs.kubectl)
    };
    wait().context(again)?;
    cluster.say("runs already");
    println!("export KUBECONFIG={}", cluster.kubeconfig().display());
    Ok(())
}
