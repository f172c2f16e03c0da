//! Builds whose parent leaves the payload behind on one cluster and whose child wants it on another.

use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::json;

use crate::measure::{Process, Taken};
use crate::servers::Servers;
use crate::world::World;

/// What is to be moved, and where.
pub(super) struct Order<'a> {
    pub(super) project: &'a str,
    pub(super) from: &'a str,
    pub(super) to: &'a str,
    pub(super) payload: &'a Path,
    pub(super) servers: &'a Servers,
}

/// How it was moved.
pub(super) struct Moved {
    /// How long the pull took, by its own receipt.
    pub(super) seconds: f64,
    pub(super) route: String,
    pub(super) moved_bytes: u64,
    /// What the processes took from when the parent was there until the child had run; those that had nothing to do are left out.
    pub(super) costs: Vec<(&'static str, Taken)>,
    /// By how much the memory of each grew at most.
    growth: Vec<(&'static str, u64)>,
}

impl Moved {
    pub(super) fn growth_bytes(&self, process: &str) -> u64 {
        let grown = self.growth.iter().find(|(name, _)| *name == process);
        grown.map_or(0, |(_, bytes)| *bytes)
    }
}

/// A project: others have nothing of what is in it.
pub(super) struct Project {
    pub(super) name: String,
    pub(super) id: String,
}

pub(super) fn project(world: &World, name: &str) -> anyhow::Result<Project> {
    world.tombolo(&["project", "create", name])?;
    let list = world.json(&["project", "list"])?;
    let projects = list["projects"].as_array().context("a list of projects")?;
    let id = projects.iter().find(|project| project["name"] == name);
    let id = id
        .and_then(|project| project["id"].as_str())
        .context("the project's id")?;
    Ok(Project {
        name: name.to_owned(),
        id: id.to_owned(),
    })
}

pub(super) fn remove(world: &World, project: &str) -> anyhow::Result<()> {
    world.tombolo(&["project", "delete", project, "--yes"]).map(drop)
}

/// The child waits for a gate that is opened when the parent's work is done, so that what processes take is the transfer's.
pub(super) fn run(world: &World, order: &Order<'_>) -> anyhow::Result<Moved> {
    let Order { project, from, to, .. } = order;
    let gate = world.path("gate");
    let payload = order.payload.display();
    let job = |name: &str, at: &str, command: String| {
        json!({
            "name": name, "type": "docker-image", "image": "none", "command": ["sh", "-c", command],
            "cluster": {"selector": [format!("at={at}")]},
        })
    };
    let mut child = job("use", to, "true".to_owned());
    child["depends_on"] = json!(["make", "gate"]);
    let file = json!({"version": 1, "jobs": [
        job("make", from, format!("cp -R {payload}/. \"$TOMBOLO_OUTPUT\"")),
        job("gate", from, format!("until test -e {}; do sleep 0.1; done", gate.display())),
        child,
    ]});
    let path = world.path("tombolo.json");
    fs::write(&path, file.to_string())?;
    let number = world.tombolo(&["run", &path.display().to_string(), "-p", project, "-o", "name"])?;
    let number = number.trim();
    world.job(project, number, "make", "finished")?;
    let processes = [world.processes(), order.servers.processes.clone()].concat();
    let before = Snapshot::take(&processes)?;
    fs::write(&gate, "")?;
    let child = world.job(project, number, "use", "finished");
    fs::remove_file(&gate)?;
    let child = child?;
    let (costs, growth) = before.since(&processes);
    let inputs = child["inputs"].as_array().context("the child's inputs")?;
    let input = inputs.iter().find(|input| input["parent"] == "make");
    let input = input.context("the child's input")?;
    let number = |key: &str| input[key].as_u64().with_context(|| format!("`{key}` of an input"));
    Ok(Moved {
        seconds: number("milliseconds")? as f64 / 1_000.0,
        route: input["route"].as_str().unwrap_or_default().to_owned(),
        moved_bytes: number("moved_bytes")?,
        costs,
        growth,
    })
}

/// What processes had taken at some time.
struct Snapshot(Vec<Taken>);

impl Snapshot {
    fn take(processes: &[(&'static str, Process)]) -> anyhow::Result<Self> {
        let take = |(name, process): &(&'static str, Process)| {
            process.forget_peak()?;
            process.taken().with_context(|| format!("{name} is gone"))
        };
        Ok(Self(processes.iter().map(take).collect::<anyhow::Result<_>>()?))
    }

    #[allow(clippy::type_complexity, reason = "two lists of the same")]
    fn since(&self, processes: &[(&'static str, Process)]) -> (Vec<(&'static str, Taken)>, Vec<(&'static str, u64)>) {
        let (mut costs, mut growth) = (Vec::new(), Vec::new());
        for ((name, process), before) in processes.iter().zip(&self.0) {
            let Some(now) = process.taken() else { continue };
            growth.push((*name, now.peak_bytes.saturating_sub(before.peak_bytes)));
            let processor_seconds = now.processor_seconds - before.processor_seconds;
            if processor_seconds >= 0.05 {
                costs.push((
                    *name,
                    Taken {
                        processor_seconds,
                        ..now
                    },
                ));
            }
        }
        (costs, growth)
    }
}
