//! The agent's chart, installed in place of what an earlier run may have left.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::{Cluster, NAMESPACE};

/// What the chart is told, besides what is said of every agent.
pub(crate) struct Wishes<'wishes> {
    pub(crate) masters: &'wishes str,
    pub(crate) invite: &'wishes str,
    pub(crate) slots: u32,
    pub(crate) store: &'wishes Value,
    pub(crate) settings: &'wishes Value,
}

impl Cluster {
    /// Installs the agent, and returns when its pod is ready.
    pub(crate) fn install(&self, folder: &Path, wishes: &Wishes<'_>) -> anyhow::Result<()> {
        let values = folder.join(format!("{}.values.json", self.name));
        std::fs::write(&values, values_of(wishes)?.to_string())?;
        let gone = [
            "delete",
            "namespace",
            NAMESPACE,
            "--ignore-not-found",
            "--wait",
            "--timeout=120s",
        ];
        succeed(&mut self.kubectl(&gone))?;
        succeed(&mut self.kubectl(&["create", "namespace", NAMESPACE]))?;
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../helm/tombolo-agent");
        let mut helm = Command::new(self.machine.tools.join("helm"));
        helm.arg("--kubeconfig")
            .arg(self.kubeconfig())
            .args(["upgrade", "--install", "tombolo-agent"]);
        helm.arg(chart)
            .args(["--namespace", NAMESPACE, "--wait", "--timeout", "180s", "--values"])
            .arg(values);
        let installed = succeed(&mut helm);
        self.follow().context("cannot read what the agent says")?;
        installed
    }
}

fn values_of(wishes: &Wishes<'_>) -> anyhow::Result<Value> {
    Ok(json!({
        "master": wishes.masters,
        "invite": {"value": wishes.invite},
        "slots": wishes.slots,
        "store": toml::to_string(&json!({"store": wishes.store}))?,
        "extraSettings": toml::to_string(wishes.settings)?,
        "persistence": {"size": "1Gi"},
        "jobs": {"runAsUser": 1000},
        "telemetry": {"format": "text"},
    }))
}

fn succeed(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {said}",
        output.status
    );
    Ok(())
}
