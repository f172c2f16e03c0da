//! What must be true after every command.

use std::collections::BTreeMap;

use super::World;
use crate::build::JobState;
use crate::build::extensions::takes_input;
use crate::control::builds::{JobKey, LiveBuild, LiveJob};
use crate::control::record::{JobNode, JobStatus};
use crate::control::volumes::demand;
use crate::control::{Change, Contact, Control};
use crate::id::{AttemptId, JobId};
use crate::name::ClusterName;
use crate::placement::{Availability, Candidate, Miss, misses};
use crate::resources::Resources;
use crate::share::Usage;
use crate::time::Moment;
use crate::volume::VolumeKind;

impl World {
    /// What one written job must be to what was written of it before.
    pub(super) fn check_step(&self, new: &JobStatus) {
        let Some(old) = self.seen.get(&new.id) else { return };
        assert!(new.epoch >= old.epoch, "epochs only grow: {old:?} -> {new:?}");
        if let Some(end) = old.ended() {
            assert_eq!(new.ended(), Some(end), "a job that ended stays as it is");
            let shown = |status: &JobStatus| {
                let ended = status.as_ended().into_owned();
                let times = (ended.queued_at, ended.started_at, ended.ended_at);
                let words = (ended.message, ended.exit_code, ended.inputs, ended.log_lines);
                let course = (status.tries().to_vec(), status.unbegun().cloned());
                (times, words, status.log_epoch(), course)
            };
            assert_eq!(shown(old), shown(new), "a job that ended stays as it is");
            let renewed = old.is_recovering() && new.output_lost().is_none();
            assert!(
                old.output == new.output || renewed,
                "outputs are made again by recoveries only"
            );
            let is_over = old.state.terminal().is_some();
            let copied = new.copies() != old.copies();
            let places = |status: &JobStatus| (status.has_lost_its_place(), status.has_lost_its_cluster());
            let removed = places(new) != places(old);
            assert!(
                !is_over || old == new || new.loss != old.loss || copied || removed,
                "{old:?} -> {new:?}"
            );
        }
        let tries = (old.tries(), new.tries());
        assert!(tries.1.starts_with(tries.0), "tries are never forgotten: {tries:?}");
        if let [.., last] = tries.1
            && tries.1.len() > tries.0.len()
        {
            assert_eq!((tries.1.len(), last.epoch), (tries.0.len() + 1, old.epoch));
            assert!(!old.cancel_requested, "what was cancelled is not tried again");
        }
        let replaced = (old.replaced(), new.replaced());
        assert!(
            replaced.1.starts_with(replaced.0),
            "what was replaced is never forgotten: {replaced:?}"
        );
        if let [.., last] = replaced.1
            && replaced.1.len() > replaced.0.len()
        {
            assert_eq!((replaced.1.len(), last.epoch), (replaced.0.len() + 1, old.epoch));
            assert_eq!(Some(&last.cluster), old.cluster.as_ref());
            assert_eq!(new.replacements, old.replacements + 1);
        }
        assert!(new.retry_at().is_none() || new.state == JobState::Waiting);
        if new.state == JobState::Queued && old.state != JobState::Queued {
            assert!(!old.cancel_requested, "a cancelled job is not placed again");
        }
        let retry = self
            .control
            .job(new.id)
            .and_then(|job| job.node.extensions.as_ref()?.retry);
        assert!(new.tries().len() <= retry.map_or(new.tries().len(), |retry| retry.count as usize));
        if new.epoch > old.epoch {
            self.check_turn(new);
        }
        assert!(new.replacements <= self.control.settings().max_replacements);
    }

    /// A cluster was removed with caution: no job runs again for want of what it had. If nothing was expected of it any more, they would have anyway.
    pub(super) fn check_removal(&self, changes: &[Change]) {
        for change in changes {
            let Change::PutJob(status) = change else { continue };
            let recovered = self.seen.get(&status.id).is_some_and(JobStatus::is_recovering);
            assert!(
                recovered || !status.is_recovering(),
                "it runs again for its output: {status:?}"
            );
        }
    }

    /// Hooks run when all that comes before them is over.
    fn check_turn(&self, new: &JobStatus) {
        let Some((build, job)) = self.control.builds.job_by_id(new.id) else {
            return;
        };
        let mut before = build.jobs.iter().filter(|other| other.node.stage() < job.node.stage());
        assert!(
            before.all(|other| other.status.ended().is_some()),
            "a hook runs before its turn"
        );
    }

    /// No new attempt goes where there is no room for it.
    pub(super) fn check_room(&self, new: &JobStatus) {
        let old = self.seen.get(&new.id).map(|status| status.epoch).unwrap_or_default();
        if let Some(name) = new.cluster.as_ref().filter(|_| new.epoch > old) {
            let assignment = self
                .control
                .assignment(AttemptId {
                    job: new.id,
                    epoch: new.epoch,
                })
                .unwrap();
            for input in assignment.inputs {
                assert!(!input.holders.is_empty(), "no attempt begins without its inputs");
                assert_eq!(input.parent.status.output_lost(), None);
            }
            self.check_chosen(new.id, name);
            let cluster = self.control.cluster(name).unwrap();
            let agent = cluster.agent.unwrap();
            assert_eq!(cluster.contact, Contact::Connected);
            let job = self.control.job(new.id).unwrap();
            let shares = job.node.volumes.contains(VolumeKind::Shared);
            let says = job.node.extensions.as_ref();
            let follows = says.is_some_and(|says| says.same_as.is_some());
            assert!(match cluster.record.availability {
                Availability::Open => true,
                Availability::Draining => shares || follows,
                Availability::Cordoned | Availability::Disabled => false,
            });
            assert!(cluster.attempts <= agent.slots as usize && agent.capacity.fits(&cluster.used));
        }
    }

    /// A job was placed where nothing was missing by what `explain` says, and within all limits.
    fn check_chosen(&self, job: JobId, name: &ClusterName) {
        let control = &self.control;
        let (build, live) = control.builds.job_by_id(job).unwrap();
        let project = control.project_by_id(build.record.project).unwrap();
        let resources = &live.node.resources;
        let before = |usage: Usage| usage.minus(resources);
        let (share, usage) = (&project.share, control.usage(project.id));
        // Others may have been placed by the same command since.
        assert!(share.limits.is_empty() || share.limits.passed_by(&before(usage), resources).is_none());
        assert!(
            share.build_limits.is_empty() || share.build_limits.passed_by(&before(build.usage), resources).is_none()
        );
        let volumes = control.volume_needs(build, live);
        let (_, member) = control.clusters.by_name(name).unwrap();
        let candidate = member.candidate();
        let empty = Candidate {
            used: Resources::default(),
            attempts: 0,
            ..candidate
        };
        assert_eq!(misses(&demand(build, live, &volumes), &empty), [], "{job}");
    }

    pub(super) fn check(&self) {
        self.check_written();
        self.check_usage();
        self.check_clusters();
        self.check_attempts();
        self.check_nobody_waits_in_vain();
        self.check_restored();
    }

    /// What is in memory is what was written.
    fn check_written(&self) {
        let written: BTreeMap<JobId, &(JobNode, JobStatus)> =
            self.live.jobs.iter().map(|job| (job.0.id, job)).collect();
        self.check_indexes();
        let mut count = 0;
        for build in self.control.builds() {
            assert!(self.live.builds.contains(build));
            for job in self.control.jobs(build.id) {
                let (node, status) = written[&job.node.id];
                assert_eq!((node, status), (job.node, job.status));
                count += 1;
            }
        }
        assert_eq!(
            (count, self.live.builds.len()),
            (written.len(), self.control.builds().count())
        );
    }

    /// All jobs and all indexes that have begun, as they were written; an index with its array's node.
    fn records(&self) -> Vec<(&JobNode, &JobStatus)> {
        let node = |id: JobId| self.live.jobs.iter().map(|(node, _)| node).find(|node| node.id == id);
        let indexes = self.live.indexes.iter();
        let indexes = indexes.map(|status| (node(status.id.specified_by()).unwrap(), status));
        let jobs = self.live.jobs.iter().map(|(node, status)| (node, status));
        jobs.chain(indexes).collect()
    }

    /// What arrays have in memory of their indexes is what was written, and none begins that must not.
    fn check_indexes(&self) {
        let written: BTreeMap<JobId, &JobStatus> = self.live.indexes.iter().map(|status| (status.id, status)).collect();
        let mut count = 0;
        for build in self.control.builds.iter() {
            for array in &build.arrays {
                let own = build.job(array.job).unwrap();
                for (index, job) in &array.begun {
                    assert_eq!(job.id(), own.id().of_index(*index));
                    assert_eq!(&job.status, written[&job.id()]);
                    count += 1;
                }
                let open = array.begun.values().filter(|job| job.status.ended().is_none());
                let open = u32::try_from(open.count()).unwrap();
                assert_eq!(open, array.open);
                assert!(array.array.parallel.is_none_or(|parallel| open <= parallel));
                let counts = array.counts(&own.status);
                assert_eq!(counts.total(), array.array.count);
                let ended = counts.iter().filter(|(state, _)| state.terminal().is_some());
                let ended: u32 = ended.map(|(_, count)| count).sum();
                // Of one that waits for its parents still, each index may have been cancelled.
                if own.status.state != JobState::Waiting {
                    let all = ended == array.array.count;
                    assert_eq!(all, own.status.ended().is_some(), "an array ends with its indexes");
                }
                let waits = array.head.map(|head| array.begun[&head].status.state);
                assert!(matches!(waits, None | Some(JobState::Queued | JobState::Waiting)));
            }
        }
        assert_eq!(count, written.len());
    }

    /// Projects and builds have what their attempts take.
    fn check_usage(&self) {
        let taken = |which: &dyn Fn(&JobNode) -> bool| {
            let held = self.records().into_iter();
            let held = held.filter(|(node, status)| is_held(node, status) && which(node));
            held.fold(Usage::default(), |usage, (node, _)| usage.plus(&node.resources))
        };
        for build in self.control.builds.iter() {
            let id = build.record.id;
            self.check_spread(build);
            assert_eq!(build.usage, taken(&|node| node.build == id));
            for ticket in &build.held {
                let job = build.job(ticket.job.index).unwrap();
                assert_eq!((job.status.state, job.class), (JobState::Queued, None));
            }
            self.check_limits(build);
        }
        for project in self.control.projects() {
            let of = |node: &JobNode| {
                self.control
                    .build(node.build)
                    .is_some_and(|build| build.project == project.id)
            };
            assert_eq!(self.control.usage(project.id), taken(&of));
        }
    }

    /// Whoever holds others back at a limit will have room in it: something of the project or the build ends first.
    fn check_limits(&self, build: &LiveBuild) {
        let project = self.control.project_by_id(build.record.project).unwrap();
        let passes_alone = |job: &LiveJob| project.share.over(&job.node.resources).next().is_some();
        for ticket in &build.held {
            assert!(!passes_alone(build.job(ticket.job.index).unwrap()));
        }
        let blocked = self.control.queue.blocked_by(project.id);
        let more_to_come = self.control.next_deadline() == Some(Moment::default());
        let first = build.held.first().and_then(|first| build.job(first.job.index));
        if let Some(first) = first.filter(|_| blocked.is_none() && !more_to_come) {
            let passed = project
                .share
                .build_limits
                .passed_by(&build.usage, &first.node.resources);
            assert!(passed.is_some(), "its limit has room for the first that it holds back");
        }
        if let Some(first) = blocked {
            let (_, job) = self.control.builds.job(first.job).unwrap();
            assert!(job.is_queued() && job.class.is_some() && !passes_alone(job));
            assert!(
                self.control.usage(project.id).attempts > 0,
                "nothing ends that could let it go on"
            );
        }
    }

    /// Jobs that are spread are counted where they are, also by a master that starts now.
    fn check_spread(&self, build: &LiveBuild) {
        let held = build.all().filter(|job| is_held(&job.node, &job.status));
        let spread = held.filter(|job| job.wishes().spread.is_some()).count();
        assert_eq!(build.spread.total(), spread);
    }

    /// Clusters have what their attempts take.
    fn check_clusters(&self) {
        assert!(
            self.control.clusters.is_fresh(),
            "every change of a cluster was noticed"
        );
        for cluster in self.control.clusters() {
            let mut held = self.records();
            held.retain(|(node, status)| {
                is_held(node, status) && status.cluster.as_ref() == Some(&cluster.record.name)
            });
            let used = held
                .iter()
                .fold(Resources::default(), |sum, (node, _)| sum.plus(&node.resources));
            assert_eq!((cluster.used, cluster.attempts), (used, held.len()));
        }
    }

    /// Attempts are where their selectors allow it, and have all their inputs.
    fn check_attempts(&self) {
        let held = self
            .records()
            .into_iter()
            .filter(|(node, status)| is_held(node, status));
        for (node, status) in held {
            let attempt = self.attempt(status.id);
            let assignment = self.control.assignment(attempt).unwrap();
            let labels = self.control.cluster(assignment.cluster).unwrap().labels;
            // After a restart the agent's facts are known only when it has connected.
            if labels.get("node.os").is_some() && !self.relabelled.contains(assignment.cluster) {
                assert!(node.selector.matches(labels));
            }
            assert_eq!(assignment.parents.len(), node.parents.len());
            for (parent, (_, on)) in assignment.parents.iter().zip(&node.parents) {
                assert!(on.contains(parent.status.ended().unwrap()));
            }
            let taken = assignment.parents.iter();
            let taken = taken.filter(|parent| takes_input(node.extensions.as_deref(), &parent.node.name));
            let outputs: usize = taken.map(|parent| self.outputs_of(parent.id(), node, status)).sum();
            assert_eq!(assignment.inputs.len(), outputs);
            let view = self.control.current_attempt(attempt).unwrap();
            assert_eq!(
                (Some(view.cluster), view.state),
                (status.cluster.as_ref(), status.state)
            );
        }
    }

    /// How many outputs of a parent the job takes.
    fn outputs_of(&self, parent: JobId, node: &JobNode, status: &JobStatus) -> usize {
        let (name, _) = self.live.jobs.iter().find(|(other, _)| other.id == parent).unwrap();
        let rule = node.extensions.as_deref().and_then(|says| says.input(&name.name));
        let same = rule.is_some_and(|rule| rule.same_index);
        let own = status.id.array_and_index().map(|(_, index)| index);
        let left = self.records().into_iter().filter(|(of, left)| {
            let index = left.id.array_and_index().map(|(_, index)| index);
            of.id == parent && left.output.is_some() && (!same || index == own)
        });
        left.count()
    }

    /// A job waits only if there is a reason, unless the rest is to be placed at once.
    fn check_nobody_waits_in_vain(&self) {
        if self.control.next_deadline() == Some(Moment::default()) {
            return;
        }
        for (node, status) in self.records() {
            let explanation = self.control.explain(status.id).unwrap();
            // An array whose indexes begin has those of one of them to show, or none.
            if node.id == status.id && node.array().is_some() {
                continue;
            }
            if status.state == JobState::Queued {
                assert!(
                    explanation.limit.is_some()
                        || explanation.clusters.iter().all(|verdict| !verdict.misses.is_empty()),
                    "{explanation:?}"
                );
            }
            for verdict in &explanation.clusters {
                let contact = self.control.cluster(&verdict.cluster).unwrap().contact;
                assert_eq!(
                    contact != Contact::Connected,
                    verdict.misses.contains(&Miss::Disconnected)
                );
            }
        }
    }

    /// Jobs wait for as many parents as before; those that wait for none are known to wait for a cluster.
    fn check_pending(&self, restored: &Control) {
        let pending = |control: &Control| -> Vec<(JobKey, u32)> {
            let builds = control.builds.iter();
            let jobs = builds.flat_map(|build| {
                let build_id = build.record.id;
                build.all().map(move |job| {
                    let (build, index) = (build_id, job.index);
                    (JobKey { build, index }, job.pending)
                })
            });
            jobs.collect()
        };
        assert_eq!(pending(&self.control), pending(restored));
        for build in self.control.builds.iter() {
            let id = build.record.id;
            let mut due = build.due_hooks().into_iter().map(|index| JobKey { build: id, index });
            assert!(
                due.all(|key| self.control.parked.contains(&key)),
                "nobody begins with a hook"
            );
        }
        for key in &restored.parked {
            assert!(self.control.parked.contains(key), "a job waits for nothing: {key:?}");
        }
    }

    /// A master that starts now sees the same.
    fn check_restored(&self) {
        let settings = self.control.settings().clone();
        let restored = Control::restore(settings, self.live.clone(), self.now).unwrap();
        assert!(self.control.projects().eq(restored.projects()));
        assert!(self.control.tokens().eq(restored.tokens()));
        assert!(self.control.invites().eq(restored.invites()));
        assert!(self.control.triggers().eq(restored.triggers()));
        for project in self.control.projects() {
            assert!(self.control.secrets(project.id).eq(restored.secrets(project.id)));
        }
        assert!(self.control.builds().eq(restored.builds()));
        let clusters = |control: &Control| -> Vec<_> {
            let row = |view: crate::control::ClusterView<'_>| (view.record.clone(), view.used, view.attempts);
            control.clusters().map(row).collect()
        };
        assert_eq!(clusters(&self.control), clusters(&restored));
        assert_eq!(self.control.recoveries, restored.recoveries);
        self.check_pending(&restored);
        self.check_restored_arrays(&restored);
        for (node, status) in self.records() {
            let (here, there) = (self.control.job(status.id).unwrap(), restored.job(status.id).unwrap());
            assert_eq!((here.node, here.status), (there.node, there.status));
            let summary = |control: &Control| control.explain(status.id).unwrap().summary;
            let begins = node.id == status.id && node.array().is_some();
            if here.status.state != JobState::Queued && !begins {
                // Which agents are heard of, and what they say of what holds a job up, is known again when they connect.
                let (here, there) = (summary(&self.control), summary(&restored));
                let known = there.split(", and cluster ").next().unwrap_or_default();
                assert!(here.starts_with(known), "{here}: {there}");
            }
        }
    }
}

impl World {
    /// Arrays go on where they were.
    fn check_restored_arrays(&self, restored: &Control) {
        let arrays = |control: &Control| -> Vec<_> {
            let arrays = control
                .builds
                .iter()
                .flat_map(|build| build.arrays.iter().map(move |array| (build, array)));
            let row = |(build, array): (&LiveBuild, &crate::control::arrays::LiveArray)| {
                let status = &build.job(array.job).unwrap().status;
                (array.job, array.first, array.head, array.open, array.counts(status))
            };
            arrays.map(row).collect()
        };
        assert_eq!(arrays(&self.control), arrays(restored));
    }
}

/// Whether a cluster has an attempt of it; never of an array.
fn is_held(node: &JobNode, status: &JobStatus) -> bool {
    use JobState::{Assigned, Preparing, Publishing, Running};
    let is_array = node.id == status.id && node.array().is_some();
    !is_array && matches!(status.state, Assigned | Preparing | Running | Publishing)
}
