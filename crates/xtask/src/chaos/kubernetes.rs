//! The Kubernetes clusters of a run: those of this machine, since what is broken there are its processes.

use std::env;
use std::fs::File;
use std::path::PathBuf;

use anyhow::{Context, anyhow, bail};
use xshell::{Shell, cmd};

use crate::{cluster, e2e, image, program, tools};

const NAMES: [&str; 2] = ["east", "west"];
/// What a run makes on each of them.
const NAMESPACE: &str = "tombolo-chaos";
/// These name clusters of others, for the end-to-end tests.
const OTHERS: [&str; 2] = ["TOMBOLO_E2E_EAST_KUBECONFIG", "TOMBOLO_E2E_WEST_KUBECONFIG"];

/// Both, for this run alone.
pub(super) struct Clusters {
    /// This command has started them.
    started: bool,
    _alone: File,
}

impl Clusters {
    /// Starts them if they do not run, and gives them the image.
    pub(super) fn ready(shell: &Shell, no_image: bool) -> anyhow::Result<Self> {
        if let Some(variable) = OTHERS.into_iter().find(|name| env::var_os(name).is_some()) {
            bail!(
                "{variable} names a cluster, and only those of this machine can be broken so: their nodes are its processes\n\
                 hint: unset it"
            );
        }
        let started = cluster::ensure_up(shell)?;
        let clusters = Self {
            started,
            _alone: e2e::alone(&cluster::own_kubeconfig(NAMES[0])?)?,
        };
        let has_image = match (no_image, started) {
            (false, _) => image::run(shell, &image::Options::with(program::RELEASE, true)),
            (true, false) => Ok(()),
            (true, true) => Err(anyhow!(
                "`--no-image` takes the image that is there, and the clusters did not run\nhint: leave it out"
            )),
        };
        if let Err(error) = has_image {
            clusters.clean(shell)?;
            return Err(error);
        }
        Ok(clusters)
    }

    /// What the run has to know of them.
    pub(super) fn variables(&self, shell: &Shell) -> anyhow::Result<Vec<(&'static str, PathBuf)>> {
        let kubectl = tools::kubectl(shell)?;
        tools::helm(shell)?;
        let tools = kubectl.parent().context("kubectl is in no folder")?.to_owned();
        Ok(vec![
            ("TOMBOLO_CHAOS_KUBERNETES", cluster::STATE.into()),
            ("TOMBOLO_CHAOS_GATEWAY", cluster::own_gateway(NAMES[0])?.into()),
            ("TOMBOLO_E2E_TOOLS", tools),
            ("TOMBOLO_E2E_XTASK", env::current_exe()?),
        ])
    }

    /// Ends what was started, and removes what was made on what goes on.
    pub(super) fn clean(&self, shell: &Shell) -> anyhow::Result<()> {
        if self.started {
            return cluster::down_everywhere();
        }
        let kubectl = tools::kubectl(shell)?;
        for name in NAMES {
            let config = cluster::own_kubeconfig(name)?;
            cmd!(
                shell,
                "{kubectl} --kubeconfig {config} delete namespace {NAMESPACE} --ignore-not-found --timeout 120s"
            )
            .quiet()
            .run()
            .with_context(|| format!("cannot clean the cluster `{name}`"))?;
        }
        Ok(())
    }
}
