//! Where volumes are, and when they go.
//!
//! A volume is where the first job that uses it was placed, and all others that use it follow. For a build's shared volume that
//! is read off its jobs; for a project's workspace it is kept. Clusters are told to release what nobody will use any more; what a
//! cluster has is known from its hello, from what it says later and from what was placed there, so that a release that was lost
//! is made good at the next hello.

use std::collections::BTreeSet;

use super::builds::{JobKey, LiveBuild, LiveJob};
use super::clusters::ClusterIndex;
use super::outbox::Outbox;
use super::sharing::Sharing;
use super::{Change, Control, Refusal, Reply};
use crate::build::JobState;
use crate::id::{BuildId, ProjectId, SessionId};
use crate::name::ClusterName;
use crate::placement::{Demand, VolumeNeeds};
use crate::session::Order;
use crate::volume::{VolumeId, VolumeKind, VolumeSet};

impl LiveBuild {
    /// What the jobs that use the volume of `job` ask for together, if it uses the shared one.
    pub(super) fn sharing(&self, job: &LiveJob) -> Option<&Sharing> {
        let sharing = self.sharing.as_deref()?;
        job.node.volumes.contains(VolumeKind::Shared).then_some(sharing)
    }

    /// The cluster that has the shared volume, if `job` uses it.
    pub(super) fn shared_of(&self, job: &LiveJob) -> Option<&ClusterName> {
        self.sharing(job)?.on.as_ref()
    }

    /// The cluster that has the shared volume.
    fn shared_on(&self) -> Option<&ClusterName> {
        self.sharing.as_ref()?.on.as_ref()
    }

    /// Reads off the jobs again where the shared volume is. Whether that has changed.
    pub(super) fn find_shared(&mut self) -> bool {
        if self.sharing.is_none() {
            return false;
        }
        let uses = |job: &LiveJob| {
            let held = job.node.volumes.contains(VolumeKind::Shared) && job.attempt().is_some();
            let here = job.status.cluster.as_ref().filter(|_| held);
            here.or_else(|| job.has_used_shared()).cloned()
        };
        let on = self.all().find_map(uses);
        let is_lost = self
            .all()
            .any(|job| job.has_used_shared().is_some() && job.status.has_lost_its_place());
        let Some(sharing) = &mut self.sharing else {
            return false;
        };
        let changed = sharing.on != on;
        sharing.on = on;
        sharing.is_lost = is_lost;
        changed
    }

    /// Says which volume of a job cannot be had any more, if there is one.
    pub(super) fn lost_volume(&self, job: &LiveJob, exists: impl Fn(&ClusterName) -> bool) -> Option<String> {
        let sharing = self.sharing(job)?;
        let gone = |cluster: &&ClusterName| sharing.is_lost || !exists(cluster);
        let cluster = sharing.on.as_ref().filter(gone)?;
        let user = self.all().find(|user| user.has_used_shared() == Some(cluster))?;
        Some(format!(
            "the shared volume of the build is lost: cluster `{cluster}`, where `{}` used it, was removed",
            user.name()
        ))
    }

    /// Takes the shared volume to be on this cluster, if it is nowhere yet.
    pub(super) fn share_on(&mut self, cluster: &ClusterName) {
        if let Some(sharing) = &mut self.sharing {
            sharing.on.get_or_insert_with(|| cluster.clone());
        }
    }

    /// Whether a job has ended that may have left something in the shared volume.
    pub(super) fn shared_was_used(&self) -> bool {
        self.all().any(|job| job.has_used_shared().is_some())
    }

    /// Whether the job, or one that shares a volume with it, works with the workspace.
    pub(super) fn uses_workspace(&self, job: &LiveJob) -> bool {
        self.volumes_together(job).contains(VolumeKind::Workspace)
    }

    /// All volumes that the jobs work with which have to run where this one runs.
    pub(super) fn volumes_together(&self, job: &LiveJob) -> VolumeSet {
        let all = self.sharing(job).map(|sharing| sharing.volumes).unwrap_or_default();
        job.node.volumes.union(all)
    }
}

impl LiveJob {
    /// The cluster where it may have left something in the shared volume before it ended.
    fn has_used_shared(&self) -> Option<&ClusterName> {
        let status = &self.status;
        let (cluster, started_at) = match status.end() {
            Some(end) => (&end.cluster, end.started_at),
            None => (
                &status.cluster,
                status.started_at.filter(|_| status.state.terminal().is_some()),
            ),
        };
        let shares = self.node.volumes.contains(VolumeKind::Shared);
        cluster.as_ref().filter(|_| shares && started_at.is_some())
    }

    /// It was placed and has ended, and never ran: it leaves its volumes as if it had not been there.
    pub(super) fn was_placed_in_vain(&self) -> bool {
        self.status.cluster.is_some() && self.status.started_at.is_none() && !self.node.volumes.is_empty()
    }

    /// Whether it stands in the queue.
    pub(super) fn is_queued(&self) -> bool {
        self.status.state == JobState::Queued && !self.is_array()
    }
}

impl Control {
    /// Says which volume of a job cannot be had any more, or that the cluster is gone where it has to run, if so.
    pub(super) fn lost_volume(&self, build: &LiveBuild, job: &LiveJob) -> Option<String> {
        let exists = |cluster: &ClusterName| self.clusters.index(cluster).is_some();
        build
            .lost_volume(job, exists)
            .or_else(|| build.lost_companion(job, exists))
    }

    /// What the job asks of a cluster because of volumes.
    pub(super) fn volume_needs(&self, build: &LiveBuild, job: &LiveJob) -> VolumeNeeds {
        let wanted = job.node.volumes;
        let beside = build.beside(job).cloned();
        if wanted.is_empty() {
            return VolumeNeeds {
                beside,
                ..VolumeNeeds::NONE
            };
        }
        let sharing = build.sharing(job);
        let project = self.projects.get(build.record.project);
        let workspace = build.uses_workspace(job).then(|| project?.workspace.clone());
        VolumeNeeds {
            wanted,
            shared_on: sharing.and_then(|_| build.shared_on().cloned()),
            workspace_on: workspace.flatten(),
            companions: sharing.map(|sharing| sharing.largest).unwrap_or_default(),
            beside,
        }
    }

    /// Notes that a job was placed: its volumes are on that cluster from now on, and whoever uses them follows.
    pub(super) fn volumes_placed(&mut self, outbox: &mut Outbox, key: JobKey, index: ClusterIndex) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let wanted = job.node.volumes;
        if wanted.is_empty() {
            return;
        }
        let (project, uses_workspace) = (build.record.project, build.uses_workspace(job));
        let Some(cluster) = self.clusters.get(index).map(|member| member.record.name.clone()) else {
            return;
        };
        self.note_volumes(key, index);
        // Also for a job that only shares a volume with one that will need the workspace: that one has to find both in one place.
        if uses_workspace
            && let Some(project) = self.projects.get_mut(project)
            && project.workspace.is_none()
        {
            project.workspace = Some(cluster.clone());
            outbox.changes.push(Change::PutProject(project.clone()));
            let project = project.id;
            self.release_volume(outbox, VolumeId::Workspace(project), Some(&cluster));
            self.requeue(outbox, |build, job| {
                build.record.project == project && build.uses_workspace(job)
            });
        }
        let sharing = self.builds.get_mut(key.build).and_then(|build| build.sharing.as_mut());
        if let Some(sharing) = sharing.filter(|sharing| wanted.contains(VolumeKind::Shared) && sharing.on.is_none()) {
            sharing.on = Some(cluster.clone());
            self.release_volume(outbox, VolumeId::Shared(key.build), Some(&cluster));
            self.requeue_sharing(outbox, key.build);
        }
    }

    /// The cluster has the volumes of one of its attempts, or will have them.
    pub(super) fn note_volumes(&mut self, key: JobKey, index: ClusterIndex) {
        let Some((build, job)) = self.builds.job(key) else {
            return;
        };
        let (project, wanted) = (build.record.project, job.node.volumes);
        if let Some(member) = self.clusters.get_mut(index) {
            let volumes = wanted.iter().map(|kind| VolumeId::of(kind, project, key.build));
            member.volumes.extend(volumes);
        }
    }

    /// A job of the build has no attempt any more: its shared volume may be nowhere now.
    pub(super) fn sharing_changed(&mut self, outbox: &mut Outbox, build: BuildId) {
        if self.builds.get_mut(build).is_some_and(LiveBuild::find_shared) {
            self.requeue_sharing(outbox, build);
        }
    }

    /// A cluster was removed: notes that of the jobs which have left there what others need beside their outputs.
    pub(super) fn note_lost_places(&mut self, outbox: &mut Outbox, cluster: &ClusterName) {
        let mut lost = BTreeSet::new();
        for build in self.builds.iter() {
            // One of them says it for all.
            let user = build.all().find(|job| job.has_used_shared() == Some(cluster));
            let beside = build.all().filter(|job| build.beside(job) == Some(cluster));
            let companions = beside.filter_map(|job| build.companion(job));
            let companions = companions.filter(|job| job.attempt().is_none());
            lost.extend(user.into_iter().chain(companions).map(|job| build.key(job)));
        }
        for key in lost {
            if let Some(job) = self.builds.job_mut(key) {
                job.status.lose_place();
                outbox.touch(key, job);
            }
        }
    }

    /// A cluster was removed, and its attempts were replaced: shared volumes that were there are nowhere, unless they were used.
    pub(super) fn lose_shared(&mut self, outbox: &mut Outbox, cluster: &ClusterName) {
        let builds = self.builds.iter().filter(|build| build.shared_on() == Some(cluster));
        for build in builds.map(|build| build.record.id).collect::<Vec<_>>() {
            self.sharing_changed(outbox, build);
        }
    }

    /// Looks again where the queued jobs of a build that use its shared volume can go.
    pub(super) fn requeue_sharing(&mut self, outbox: &mut Outbox, build: BuildId) {
        let Some(live) = self.builds.get(build).filter(|live| live.sharing.is_some()) else {
            return;
        };
        let queued = live.all().filter(|job| job.is_queued() && live.sharing(job).is_some());
        let keys: Vec<JobKey> = queued
            .map(|job| JobKey {
                build,
                index: job.index,
            })
            .collect();
        self.requeue_jobs(outbox, keys);
    }

    /// Forgets the workspaces on a cluster that was removed.
    pub(super) fn lose_workspaces(&mut self, outbox: &mut Outbox, cluster: &ClusterName) {
        let mut lost = Vec::new();
        for project in self
            .projects
            .iter_mut()
            .filter(|project| project.workspace.as_ref() == Some(cluster))
        {
            project.workspace = None;
            lost.push(project.id);
            outbox.changes.push(Change::PutProject(project.clone()));
        }
        if !lost.is_empty() {
            self.requeue(outbox, |build, job| {
                lost.contains(&build.record.project) && build.uses_workspace(job)
            });
        }
    }

    fn requeue(&mut self, outbox: &mut Outbox, which: impl Fn(&LiveBuild, &LiveJob) -> bool) {
        let mut keys = Vec::new();
        for build in self.builds.iter() {
            let queued = build.all().filter(|job| job.is_queued() && which(build, job));
            keys.extend(queued.map(|job| JobKey {
                build: build.record.id,
                index: job.index,
            }));
        }
        self.requeue_jobs(outbox, keys);
    }

    fn requeue_jobs(&mut self, outbox: &mut Outbox, keys: Vec<JobKey>) {
        for key in keys {
            self.dequeue(key);
            self.enqueue(outbox, key);
        }
    }

    /// An agent says that it has a volume: it is to release one that nobody will use there.
    pub(super) fn holds(
        &mut self,
        outbox: &mut Outbox,
        cluster: &ClusterName,
        session: SessionId,
        volume: VolumeId,
    ) -> Result<Reply, Refusal> {
        self.check_session(cluster, session)?;
        self.take_in_volume(outbox, cluster, volume);
        Ok(Reply::Done)
    }

    pub(super) fn take_in_volume(&mut self, outbox: &mut Outbox, cluster: &ClusterName, volume: VolumeId) {
        let wanted = match volume {
            VolumeId::Shared(build) => {
                let build = self.builds.get(build).filter(|build| build.sharing.is_some());
                build.is_some_and(|build| build.shared_on() == Some(cluster))
            }
            VolumeId::Workspace(project) => {
                let project = self.projects.get(project);
                project.is_some_and(|project| project.workspace.as_ref() == Some(cluster))
            }
        };
        if !wanted {
            outbox.order(cluster, Order::Release(volume));
        } else if let Some((_, member)) = self.clusters.by_name_mut(cluster) {
            member.volumes.insert(volume);
        }
    }

    /// The build is over.
    pub(super) fn release_shared(&mut self, outbox: &mut Outbox, build: &LiveBuild) {
        if build.sharing.is_some() {
            self.release_volume(outbox, VolumeId::Shared(build.record.id), None);
        }
    }

    /// The project is gone.
    pub(super) fn release_workspace(&mut self, outbox: &mut Outbox, project: ProjectId) {
        self.release_volume(outbox, VolumeId::Workspace(project), None);
    }

    /// Has all clusters but one release a volume.
    fn release_volume(&mut self, outbox: &mut Outbox, volume: VolumeId, but: Option<&ClusterName>) {
        for member in self.clusters.iter_mut() {
            let name = &member.record.name;
            if Some(name) != but && member.volumes.remove(&volume) {
                outbox.order(name, Order::Release(volume));
            }
        }
    }
}

/// What a job asks of a cluster.
pub(super) fn demand<'a>(build: &'a LiveBuild, job: &'a LiveJob, volumes: &'a VolumeNeeds) -> Demand<'a> {
    Demand {
        selector: build
            .sharing(job)
            .map_or(&job.node.selector, |sharing| &sharing.selector),
        wishes: job.wishes(),
        resources: job.node.resources,
        volumes,
        needs: job.node.needs,
        project: None,
        sharers: build.sharing(job).map(|sharing| sharing.sharers(job)),
        share: None,
    }
}
