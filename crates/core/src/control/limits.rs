//! What projects and builds may have at once, and what they have.

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::outbox::Outbox;
use super::queue::{ClassId, Ticket};
use super::{Change, Control, Refusal, Reply};
use crate::id::{BuildId, ProjectId};
use crate::label::Selector;
use crate::share::{Passed, Share, Usage};

impl Control {
    pub(super) fn set_share(&mut self, outbox: &mut Outbox, id: ProjectId, share: Share) -> Result<Reply, Refusal> {
        let project = self.projects.get_mut(id);
        let project = project.ok_or_else(|| Refusal::not_found("project", &id))?;
        if !(1..=Share::MAX_WEIGHT).contains(&share.weight) {
            let message = format!("the weight is {}: give 1 to {}", share.weight, Share::MAX_WEIGHT);
            return Err(Refusal::Conflict(message));
        }
        let requirements = share.clusters.requirements.len();
        if requirements > Selector::MAX_REQUIREMENTS {
            let most = Selector::MAX_REQUIREMENTS;
            return Err(Refusal::Limit(format!(
                "{requirements} requirements of clusters are more than {most}"
            )));
        }
        project.share = share.clone();
        let project = project.clone();
        outbox.changes.push(Change::PutProject(project.clone()));
        self.queue.set_share(id, share);
        let builds = self.builds.iter().filter(|build| build.record.project == id);
        let held: Vec<JobKey> = builds
            .flat_map(|build| build.held.iter().map(|ticket| ticket.job))
            .collect();
        held.into_iter().for_each(|key| self.enqueue(outbox, key));
        Ok(Reply::Project(project))
    }

    /// What the attempts of a project take.
    pub fn usage(&self, project: ProjectId) -> Usage {
        self.queue.usage(project)
    }

    /// The limit that a queued job waits for, in words.
    pub(super) fn limit_on(&self, build: &LiveBuild, job: &LiveJob) -> Option<String> {
        let project = self.projects.get(build.record.project)?;
        let passed = self.limit_with(build, job, &self.queue.usage(project.id), &build.usage);
        if let Some((whose, passed)) = passed {
            return Some(format!("{whose} {passed}"));
        }
        if job.class.is_none() {
            let first = build.job(build.held.first()?.job.index)?;
            let words = || format!("its build is at a limit, and `{}` comes before it", first.name());
            return (first.id() != job.id()).then(words);
        }
        let own = self.ticket(build.key(job))?;
        let first = self.queue.blocked_by(project.id).filter(|first| *first < own)?;
        let (of, first) = self.builds.job(first.job)?;
        let of_build = match of.record.id == build.record.id {
            true => String::new(),
            false => format!(" of build {}", of.record.number),
        };
        let usage = self.queue.usage(project.id);
        let name = first.name();
        Some(match self.limit_with(of, first, &usage, &Usage::default()) {
            Some(_) => format!(
                "its project `{}` is at a limit, and `{name}`{of_build} comes before it",
                project.name
            ),
            None => format!(
                "`{name}`{of_build} comes before it, has the room of a cluster kept for it, and waits for a limit of its build"
            ),
        })
    }

    /// The limit that a job passes if its project and build have so much, after whose limit it is, in words.
    pub(super) fn limit_with(
        &self,
        build: &LiveBuild,
        job: &LiveJob,
        project: &Usage,
        own: &Usage,
    ) -> Option<(String, Passed)> {
        let owner = self.projects.get(build.record.project)?;
        let (share, resources) = (&owner.share, &job.node.resources);
        if let Some(passed) = share.limits.passed_by(project, resources) {
            return Some((format!("its project `{}`", owner.name), passed));
        }
        let passed = share.build_limits.passed_by(own, resources)?;
        Some(("its build".to_owned(), passed))
    }

    /// Takes a job out of its class for whose build there is no room now, since of each build only so much may run, or that comes after one for
    /// which there was none. Whether that is so.
    pub(super) fn hold(&mut self, class: ClassId, ticket: Ticket) -> bool {
        let key = ticket.job;
        let Some((build, job)) = self.builds.job(key) else {
            return false;
        };
        let comes_after = build.held.first().is_some_and(|first| *first < ticket);
        let project = self.projects.get(build.record.project);
        let limits = project.map(|project| project.share.build_limits).unwrap_or_default();
        if !comes_after && limits.passed_by(&build.usage, &job.node.resources).is_none() {
            return false;
        }
        if !comes_after && self.queue.keeps_room(&self.clusters, class) {
            // It would lose what it has waited for on a cluster, and have to find both at the same time.
            self.queue.block(class, ticket);
            return true;
        }
        self.dequeue(key);
        if let Some(build) = self.builds.get_mut(key.build) {
            build.held.insert(ticket);
        }
        true
    }

    /// Notes that a cluster has an attempt of the job.
    pub(super) fn charge(&mut self, key: JobKey) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let project = build.record.project;
        let Some(job) = build.job_mut(key.index) else { return };
        job.charged = true;
        let resources = job.node.resources;
        build.note_spread(key.index, 1);
        build.usage = build.usage.plus(&resources);
        self.queue.charge(project, &resources);
    }

    /// Notes that no cluster has an attempt of the job any more, if one had: others may go on by that.
    pub(super) fn refund(&mut self, key: JobKey) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let project = build.record.project;
        let Some(job) = build.job_mut(key.index) else { return };
        if !std::mem::take(&mut job.charged) {
            return;
        }
        let resources = job.node.resources;
        build.note_spread(key.index, -1);
        build.usage = build.usage.minus(&resources);
        self.queue.refund(project, &resources);
        self.let_go_on(key.build);
    }

    /// Puts the first of the build's jobs that are held into their classes again, as many as there is room for. Whether there are any.
    pub(super) fn let_go_on(&mut self, id: BuildId) -> bool {
        let Some(build) = self.builds.get(id).filter(|build| !build.held.is_empty()) else {
            return false;
        };
        let project = self.projects.get(build.record.project);
        let limits = project.map(|project| project.share.build_limits).unwrap_or_default();
        let mut usage = build.usage;
        let mut keys = Vec::new();
        for ticket in &build.held {
            let Some(job) = build.job(ticket.job.index) else {
                continue;
            };
            if limits.passed_by(&usage, &job.node.resources).is_some() {
                // Those behind it wait too: else a large one would wait for ever.
                break;
            }
            usage = usage.plus(&job.node.resources);
            keys.push(ticket.job);
        }
        let go_on = !keys.is_empty();
        for key in keys {
            if let Some(class) = self.insert(key) {
                self.queue.note_unwatched(class);
            }
        }
        if go_on && self.builds.get(id).is_some_and(|build| !build.held.is_empty()) {
            self.holding.insert(id);
        }
        go_on
    }

    /// All that could be placed is: lets more go on of builds whose limits have room still, since those that went on before found no cluster. They
    /// hold up no other. Whether there are any.
    pub(super) fn let_more_go_on(&mut self) -> bool {
        let mut go_on = false;
        for id in std::mem::take(&mut self.holding) {
            let Some(build) = self.builds.get(id) else { continue };
            // What its project waits for comes first, and ends.
            if self.queue.blocked_by(build.record.project).is_some() {
                self.holding.insert(id);
                continue;
            }
            go_on |= self.let_go_on(id);
        }
        go_on
    }
}
