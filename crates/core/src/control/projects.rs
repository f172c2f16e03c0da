//! Projects: made, counted up, removed.

use std::collections::BTreeMap;

use super::outbox::Outbox;
use super::record::{Build, Project};
use super::{Change, Control, Refusal, Reply};
use crate::build::BuildState;
use crate::id::ProjectId;
use crate::name::ProjectName;
use crate::retention::Policy;
use crate::share::Share;

/// All projects, by id and by name.
#[derive(Debug, Default)]
pub(super) struct Projects {
    by_id: BTreeMap<ProjectId, Project>,
    by_name: BTreeMap<ProjectName, ProjectId>,
}

impl Projects {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Project> {
        self.by_name.values().filter_map(|id| self.by_id.get(id))
    }

    pub(super) fn get(&self, id: ProjectId) -> Option<&Project> {
        self.by_id.get(&id)
    }

    pub(super) fn get_mut(&mut self, id: ProjectId) -> Option<&mut Project> {
        self.by_id.get_mut(&id)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Project> {
        self.by_id.values_mut()
    }

    pub(super) fn by_name(&self, name: &ProjectName) -> Option<&Project> {
        self.by_id.get(self.by_name.get(name)?)
    }

    pub(super) fn insert(&mut self, project: Project) {
        self.by_name.insert(project.name.clone(), project.id);
        self.by_id.insert(project.id, project);
    }

    fn remove(&mut self, id: ProjectId) {
        if let Some(project) = self.by_id.remove(&id) {
            self.by_name.remove(&project.name);
        }
    }
}

impl Control {
    pub(super) fn create_project(
        &mut self,
        outbox: &mut Outbox,
        id: ProjectId,
        name: ProjectName,
    ) -> Result<Reply, Refusal> {
        if self.projects.by_name(&name).is_some() || self.projects.get(id).is_some() {
            return Err(Refusal::exists("project", &name));
        }
        let project = Project {
            id,
            name,
            created_at: outbox.now.wall,
            last_build: 0,
            workspace: None,
            retention: None,
            share: Share::default(),
        };
        self.projects.insert(project.clone());
        outbox.changes.push(Change::PutProject(project.clone()));
        Ok(Reply::Project(project))
    }

    pub(super) fn set_retention(
        &mut self,
        outbox: &mut Outbox,
        id: ProjectId,
        retention: Option<Policy>,
    ) -> Result<Reply, Refusal> {
        let project = self.projects.get_mut(id);
        let project = project.ok_or_else(|| Refusal::not_found("project", &id))?;
        project.retention = retention;
        let project = project.clone();
        outbox.changes.push(Change::PutProject(project.clone()));
        Ok(Reply::Project(project))
    }

    /// Gives up the outputs of a build that is over: from now on no cluster has to keep them.
    pub(super) fn release_outputs(&mut self, outbox: &mut Outbox, mut build: Build) -> Result<Reply, Refusal> {
        if self.projects.get(build.project).is_none() {
            return Err(Refusal::not_found("project", &build.project));
        }
        if self.builds.get(build.id).is_some() || build.state == BuildState::Running {
            return Err(Refusal::Conflict(format!(
                "build {} runs: its jobs read its outputs",
                build.number
            )));
        }
        build.released_at = build.released_at.or(Some(outbox.now.wall));
        outbox.changes.push(Change::PutBuild(build));
        Ok(Reply::Done)
    }

    pub(super) fn delete_project(&mut self, outbox: &mut Outbox, id: ProjectId) -> Result<Reply, Refusal> {
        let project = self
            .projects
            .get(id)
            .ok_or_else(|| Refusal::not_found("project", &id))?;
        let running = self.builds.running_in(id);
        if running > 0 {
            let builds = if running == 1 { "build" } else { "builds" };
            return Err(Refusal::Conflict(format!(
                "project `{}` has {running} running {builds}: cancel what runs first",
                project.name
            )));
        }
        self.projects.remove(id);
        self.tokens.remove_project(id);
        self.drop_caches(id);
        self.secrets.remove_project(id);
        self.triggers.remove_project(id);
        self.queue.forget_project(id);
        self.release_workspace(outbox, id);
        outbox.changes.push(Change::DeleteProject(id));
        Ok(Reply::Done)
    }
}
