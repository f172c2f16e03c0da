//! Records as the API shows them.

use std::collections::BTreeMap;

use tombolo_api as api;
use tombolo_core::attempt::TransferReceipt;
use tombolo_core::capability::{Capability, CapabilitySet};
use tombolo_core::control::record::{Build, JobNode, JobStatus, Project, Token};
use tombolo_core::control::{ClusterView, Contact, DrainView};
use tombolo_core::label::{Labels, Selector};
use tombolo_core::name::{JobName, ProjectName};
use tombolo_core::time::{Now, Timestamp};

use super::kept::removal;

pub(crate) fn project(project: &Project) -> api::Project {
    api::Project {
        id: project.id,
        name: project.name.clone(),
        created_at: project.created_at.into(),
        last_build: project.last_build,
        workspace: project.workspace.clone(),
        retention: project.retention.map(Into::into),
        share: project.share.clone().into(),
    }
}

pub(crate) fn token(token: &Token, project: Option<ProjectName>) -> api::Token {
    api::Token {
        id: token.id,
        name: token.name.clone(),
        role: token.right.role.into(),
        project,
        created_at: token.created_at.into(),
        expires_at: token.expires_at.map(Into::into),
    }
}

pub(crate) fn labels(labels: &Labels) -> BTreeMap<String, String> {
    labels
        .iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// A cluster as of `now`.
pub(crate) fn cluster(view: &ClusterView<'_>, now: Now) -> api::Cluster {
    let handing_over_until = view.handing_over_until.map(|until| {
        let left = u64::try_from(until.since(now.steady).as_millis()).unwrap_or(u64::MAX);
        Timestamp(now.wall.0.saturating_add(left)).into()
    });
    let connected = view.contact == Contact::Connected;
    let agent = view.agent.filter(|_| connected);
    let capacity = agent.and_then(|agent| agent.capacity.known());
    api::Cluster {
        name: view.record.name.clone(),
        labels: labels(view.labels),
        availability: view.record.availability.into(),
        connected,
        handing_over_until,
        joined_at: view.record.joined_at.into(),
        version: view.agent.map(|agent| agent.version.clone()),
        capabilities: view.agent.map(|agent| names(&agent.capabilities)),
        capacity: capacity.map(Into::into),
        nodes: agent.and_then(|agent| agent.nodes).map(Into::into),
        used: agent.map(|_| view.used.into()),
        free: capacity.map(|capacity| capacity.minus(&view.used).into()),
        slots: agent.map(|agent| agent.slots),
        attempts: view.attempts as u64,
        peer_address: agent.and_then(|agent| agent.peer_address.clone()),
        drain: view.drain.map(drain),
    }
}

/// Each once, in an order of their own.
fn names(capabilities: &[Capability]) -> Vec<String> {
    let set: CapabilitySet = capabilities.iter().copied().collect();
    set.iter().map(|capability| capability.to_string()).collect()
}

/// What is left of a cluster that is being drained.
fn drain(view: DrainView<'_>) -> api::Drain {
    api::Drain {
        attempts: view.attempts as u64,
        bound_jobs: view.bound_jobs,
        outputs: view.outputs,
        output_bytes: view.bytes,
        moving: view.moving as u64,
        obstacle: view.obstacle.map(str::to_owned),
        drained: view.is_over,
    }
}

/// A build with all its jobs, which are given by index.
pub(crate) fn build(build: &Build, project: &ProjectName, jobs: &[(JobNode, JobStatus)], now: Timestamp) -> api::Build {
    let names: Vec<&JobName> = jobs.iter().map(|(node, _)| &node.name).collect();
    let cancelling = jobs
        .iter()
        .any(|(_, status)| status.cancel_requested && status.state.terminal().is_none());
    api::Build {
        summary: api::BuildSummary {
            cancelling,
            ..api::BuildSummary::new(build, project)
        },
        jobs: jobs
            .iter()
            .map(|(node, status)| job(build, node, status, &names, now))
            .collect(),
    }
}

/// A job; `names` are those of all jobs of its build, by index.
pub(crate) fn job(build: &Build, node: &JobNode, status: &JobStatus, names: &[&JobName], now: Timestamp) -> api::Job {
    let parent = |(index, on): &(u32, tombolo_core::build::StateSet)| {
        let name = names.get(*index as usize)?;
        Some(api::Parent {
            name: (*name).clone(),
            on: on.iter().map(Into::into).collect(),
        })
    };
    let extensions = node.extensions.as_deref();
    let mut job = api::Job {
        id: node.id,
        name: node.name.clone(),
        kind: node.kind.into(),
        hook: node.hook().map(|hook| hook.as_str().to_owned()),
        array: None,
        generated_by: node
            .generated_by
            .and_then(|maker| names.get(maker as usize).copied().cloned()),
        state: status.state.into(),
        waiting: None,
        cluster: None,
        epoch: 0,
        message: String::new(),
        exit_code: None,
        queued_at: None,
        started_at: None,
        ended_at: None,
        cancel_requested: false,
        output: None,
        inputs: Vec::new(),
        parents: node.parents.iter().filter_map(parent).collect(),
        selector: required(&node.selector),
        prefer: node.prefer.clone(),
        preferences: extensions
            .map(|says| says.preferences.iter().map(Into::into).collect())
            .unwrap_or_default(),
        spread: extensions.and_then(|says| says.spread.clone()),
        same_as: extensions.and_then(|says| says.same_as.clone()),
        on_disconnect: extensions.and_then(|says| api::OnDisconnect::of(says.on_disconnect)),
        exclusive: extensions.is_some_and(|says| says.exclusive),
        resources: node.resources.into(),
        timeout_seconds: node.timeout.as_secs(),
        log_lines: None,
        replacements: 0,
        retries: extensions.and_then(|says| says.retry).map_or(0, |retry| retry.count),
        limits: extensions.map(|says| says.limits).unwrap_or_default().into(),
        tries: Vec::new(),
        replaced: Vec::new(),
        retry_at: None,
        flaky: false,
        taken_over: false,
        output_expires_at: None,
        output_removed_at: None,
        output_lost: None,
        recovery: None,
    };
    update(&mut job, status);
    if job.output.is_some() {
        job.output_expires_at = node.output_expiry(build).map(Into::into);
        job.output_removed_at = removal(build, node, now).map(|removal| removal.at().into());
    }
    job
}

/// What a job requires of clusters, once each: its project may require what it says itself.
fn required(selector: &Selector) -> Vec<String> {
    let mut required: Vec<String> = Vec::new();
    for requirement in selector.requirements.iter().map(ToString::to_string) {
        if !required.contains(&requirement) {
            required.push(requirement);
        }
    }
    required
}

/// How the inputs of a job came in its build: of one that is taken over nothing came there, and what its record says is of the build before.
pub(super) fn brought(status: &JobStatus) -> &[TransferReceipt] {
    match status.is_taken_over() {
        true => &[],
        false => &status.inputs,
    }
}

/// Brings a job up to date.
pub(crate) fn update(job: &mut api::Job, status: &JobStatus) {
    let live = status;
    let recovery = live.is_recovering().then(|| api::Recovery {
        state: live.state.into(),
        cluster: live.cluster.clone(),
        epoch: live.epoch.0,
    });
    if job.attempt_state() != live.state.into() || job.epoch != live.epoch.0 {
        job.waiting = None;
    }
    let status = live.as_ended();
    job.output_lost = live.output_lost().map(str::to_owned);
    job.recovery = recovery;
    job.tries = live.tries().iter().map(Into::into).collect();
    job.replaced = live.replaced().iter().map(Into::into).collect();
    job.retry_at = status.retry_at().map(Into::into);
    job.flaky = live.is_flaky();
    job.taken_over = live.is_taken_over();
    job.state = status.state.into();
    job.cluster = status.cluster.clone();
    job.epoch = status.epoch.0;
    job.message = status.message.clone();
    job.exit_code = status.exit_code;
    job.queued_at = status.queued_at.map(Into::into);
    job.started_at = status.started_at.map(Into::into);
    job.ended_at = status.ended_at.map(Into::into);
    job.cancel_requested = status.cancel_requested;
    job.output = status.output.map(Into::into);
    job.inputs = brought(&status).iter().cloned().map(Into::into).collect();
    job.log_lines = status.log_lines;
    job.replacements = status.replacements;
}
