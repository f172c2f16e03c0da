//! Triggers of projects: made, fired once for each time of their schedule, removed.

use std::collections::BTreeMap;

use super::command::Firing;
use super::outbox::Outbox;
use super::{Change, Control, Refusal, Reply};
use crate::id::ProjectId;
use crate::name::TriggerName;
use crate::time::Timestamp;
use crate::trigger::{LastBuild, Overlap, Trigger, TriggerFile};

/// All triggers, without their job files.
#[derive(Debug, Default)]
pub(super) struct Triggers {
    by_name: BTreeMap<(ProjectId, TriggerName), Trigger>,
}

impl Triggers {
    pub(super) fn insert(&mut self, trigger: Trigger) {
        self.by_name.insert((trigger.project, trigger.name.clone()), trigger);
    }

    pub(super) fn remove_project(&mut self, id: ProjectId) {
        self.by_name.retain(|(project, _), _| *project != id);
    }
}

impl Control {
    /// All triggers, by project and name.
    pub fn triggers(&self) -> impl Iterator<Item = &Trigger> {
        self.triggers.by_name.values()
    }

    /// One trigger of a project.
    pub fn trigger(&self, project: ProjectId, name: &TriggerName) -> Option<&Trigger> {
        self.triggers.by_name.get(&(project, name.clone()))
    }

    pub(super) fn create_trigger(
        &mut self,
        outbox: &mut Outbox,
        mut trigger: Trigger,
        file: TriggerFile,
    ) -> Result<Reply, Refusal> {
        let (project, limit) = (trigger.project, self.settings.max_triggers_per_project);
        if self.projects.get(project).is_none() {
            return Err(Refusal::not_found("project", &project));
        }
        if self.trigger(project, &trigger.name).is_some() {
            return Err(Refusal::exists("trigger", &trigger.name));
        }
        if self.triggers().filter(|other| other.project == project).count() >= limit {
            return Err(Refusal::Limit(format!(
                "the project has {limit} triggers, which is the limit: delete one first"
            )));
        }
        trigger.created_at = outbox.now.wall;
        self.triggers.insert(trigger.clone());
        let name = trigger.name.clone();
        outbox.changes.push(Change::PutTrigger(trigger));
        outbox.changes.push(Change::PutTriggerFile { project, name, file });
        Ok(Reply::Done)
    }

    pub(super) fn delete_trigger(
        &mut self,
        outbox: &mut Outbox,
        project: ProjectId,
        name: TriggerName,
    ) -> Result<Reply, Refusal> {
        if self.triggers.by_name.remove(&(project, name.clone())).is_none() {
            return Err(Refusal::not_found("trigger", &name));
        }
        outbox.changes.push(Change::DeleteTrigger { project, name });
        Ok(Reply::Done)
    }

    /// Submits a trigger's build, and notes in the same transaction which time it is for: no time has two.
    pub(super) fn fire(&mut self, outbox: &mut Outbox, firing: Firing) -> Result<Reply, Refusal> {
        let Firing {
            trigger: name,
            scheduled,
            submission,
        } = firing;
        let key = (submission.project, name);
        let trigger = self.triggers.by_name.get(&key);
        let trigger = trigger.ok_or_else(|| Refusal::not_found("trigger", &key.1))?;
        check_time(trigger, scheduled)?;
        let running = trigger
            .last
            .as_ref()
            .filter(|last| self.builds.get(last.build).is_some());
        if let (Overlap::Skip, Some(last)) = (trigger.overlap, running) {
            return Err(Refusal::Conflict(format!(
                "build {} of trigger `{}` still runs, and the trigger is not to overlap",
                last.number, key.1
            )));
        }
        let reply = self.submit(outbox, submission)?;
        if let (Reply::Build(build), Some(trigger)) = (&reply, self.triggers.by_name.get_mut(&key)) {
            trigger.last = Some(LastBuild {
                build: build.id,
                number: build.number,
                at: build.created_at,
            });
            if scheduled.is_some() {
                trigger.fired_for = scheduled;
                trigger.obstacle = None;
            }
            outbox.changes.push(Change::PutTrigger(trigger.clone()));
        }
        Ok(reply)
    }

    /// Notes that a time of a schedule has made no build, and why.
    pub(super) fn pass_trigger(
        &mut self,
        outbox: &mut Outbox,
        key: (ProjectId, TriggerName),
        scheduled: Timestamp,
        obstacle: String,
    ) -> Result<Reply, Refusal> {
        let trigger = self.triggers.by_name.get_mut(&key);
        let trigger = trigger.ok_or_else(|| Refusal::not_found("trigger", &key.1))?;
        check_time(trigger, Some(scheduled))?;
        trigger.fired_for = Some(scheduled);
        trigger.obstacle = Some(obstacle);
        outbox.changes.push(Change::PutTrigger(trigger.clone()));
        Ok(Reply::Done)
    }
}

/// Each time of a schedule is dealt with once.
fn check_time(trigger: &Trigger, scheduled: Option<Timestamp>) -> Result<(), Refusal> {
    match (scheduled, trigger.fired_for) {
        (Some(time), Some(last)) if time <= last => Err(Refusal::Conflict(format!(
            "trigger `{}` was fired for this time already",
            trigger.name
        ))),
        _ => Ok(()),
    }
}
