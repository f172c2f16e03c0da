//! Has indexes of arrays begin when it is their turn, and ends arrays.

use crate::build::JobState;
use crate::build::TerminalState;
use crate::control::Control;
use crate::control::builds::{JobKey, LiveJob};
use crate::control::outbox::Outbox;
use crate::control::record::{JobStatus, Unbegun};

/// What is next for an array.
enum Step {
    /// This index begins: it is made, and stands in the queue.
    Begin(u32),
    /// All indexes are over.
    End,
    /// Nothing, for now.
    Wait,
}

impl Control {
    /// Does what is next with the arrays that something has happened to.
    pub(in crate::control) fn advance_arrays(&mut self, outbox: &mut Outbox) {
        while let Some(key) = outbox.arrays.pop() {
            self.advance(outbox, key);
        }
    }

    fn advance(&mut self, outbox: &mut Outbox, array: JobKey) {
        loop {
            match self.next_step(array) {
                Step::Begin(index) => {
                    let Some(key) = self.begin_index(array, index) else {
                        return;
                    };
                    // Its array was ready before that was lost.
                    let lost = self
                        .builds
                        .job(key)
                        .and_then(|(build, job)| self.lost_volume(build, job));
                    let queued = match lost {
                        Some(message) => Err(message),
                        None => self.queue_or_wait(outbox, key, &[]),
                    };
                    match queued {
                        Ok(()) => {}
                        // What one index cannot have another one may.
                        Err(message) if self.needs_of_its_own(key) => self.fail_only(outbox, key, message),
                        Err(message) => self.fail_waiting(outbox, key, message),
                    }
                }
                Step::End => return self.end_array(outbox, array),
                Step::Wait => return,
            }
        }
    }

    /// Whether an index takes what the others do not.
    fn needs_of_its_own(&self, key: JobKey) -> bool {
        let extensions = self.builds.job(key).and_then(|(_, job)| job.node.extensions.as_deref());
        extensions.is_some_and(|says| says.inputs.iter().any(|rule| rule.same_index))
    }

    fn next_step(&mut self, key: JobKey) -> Step {
        let Some(build) = self.builds.get_mut(key.build) else {
            return Step::Wait;
        };
        let Some(job) = build.job(key.index) else {
            return Step::Wait;
        };
        if matches!(job.status.state, JobState::Waiting | JobState::Terminal(_)) {
            return Step::Wait;
        }
        let closed = job.status.unbegun().is_some();
        let Some(array) = build.array_mut(key.index) else {
            return Step::Wait;
        };
        let next = array.first_unbegun().filter(|_| !closed);
        match next {
            Some(index) if array.head.is_none() && !array.is_full() => Step::Begin(index),
            None if array.open == 0 => Step::End,
            _ => Step::Wait,
        }
    }

    /// Makes an index of an array. Where it was ready first is its place in the queue.
    fn begin_index(&mut self, array: JobKey, index: u32) -> Option<JobKey> {
        let build = self.builds.get_mut(array.build)?;
        let job = build.job(array.index)?;
        let (node, id, queued_at) = (job.node.clone(), job.node.id, job.status.queued_at);
        let live = build.array_mut(array.index)?;
        let status = JobStatus {
            queued_at,
            ..JobStatus::waiting(id.of_index(index))
        };
        live.take(&node, index, status);
        Some(JobKey {
            index: live.first.saturating_add(index),
            ..array
        })
    }

    /// An index that has not begun is needed by itself: makes it, if there is such an index and it is not over.
    pub(in crate::control) fn begin_out_of_turn(&mut self, key: JobKey) {
        let Some(build) = self
            .builds
            .get(key.build)
            .filter(|build| build.job(key.index).is_none())
        else {
            return;
        };
        let Some(array) = build.array_of(key.index) else { return };
        let over = |job: &LiveJob| job.status.state.terminal().is_some() || job.status.unbegun().is_some();
        if build.job(array.job).is_none_or(over) {
            return;
        }
        let (head, index) = (array.head, key.index - array.first);
        let array = JobKey {
            index: array.job,
            ..key
        };
        self.begin_index(array, index);
        // It does not stand for the others.
        if let Some(build) = self.builds.get_mut(key.build)
            && let Some(live) = build.array_mut(array.index)
        {
            live.head = head;
        }
    }

    /// The index of an array that stood for those behind it was placed: the next one may begin.
    pub(in crate::control) fn index_placed(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some(build) = self.builds.get_mut(key.build) else {
            return;
        };
        let Some(live) = build.array_of_mut(key.index) else {
            return;
        };
        let index = key.index - live.first;
        if live.head == Some(index) {
            live.head = None;
        }
        let array = JobKey { index: live.job, ..key };
        outbox.arrays.push(array);
        let now = outbox.now.wall;
        if let Some(job) = build
            .job_mut(array.index)
            .filter(|job| job.status.state == JobState::Queued)
        {
            job.status.state = JobState::Running;
            job.status.started_at = Some(now);
            outbox.touch(array, job);
        }
    }

    /// Ends the indexes of an array that have not begun, all at once.
    pub(in crate::control) fn end_unbegun(
        &mut self,
        outbox: &mut Outbox,
        array: JobKey,
        state: TerminalState,
        message: &str,
    ) {
        let now = outbox.now.wall;
        let Some(build) = self.builds.get_mut(array.build) else {
            return;
        };
        let left = build.array(array.index).map_or(0, super::LiveArray::unbegun);
        let Some(job) = build.job_mut(array.index) else { return };
        if left > 0 && job.status.unbegun().is_none() {
            job.status.course.get_or_insert_default().unbegun = Some(Unbegun {
                state,
                message: message.to_owned(),
                ended_at: now,
            });
            outbox.touch(array, job);
        }
        outbox.arrays.push(array);
    }

    /// A job has waited for a cluster for too long. If it stands for others, these have waited as long, and end like it.
    pub(in crate::control) fn fail_waiting(&mut self, outbox: &mut Outbox, key: JobKey, message: String) {
        let build = self.builds.get(key.build);
        let array = build.and_then(|build| build.array_of(key.index));
        let stands = array.filter(|array| array.head == Some(key.index - array.first));
        if let Some(index) = stands.map(|array| array.job) {
            self.end_unbegun(outbox, JobKey { index, ..key }, TerminalState::Error, &message);
        }
        self.fail(outbox, key, message);
    }
}

impl JobStatus {
    /// How the indexes of an array ended together that had not begun, if they have.
    pub fn unbegun(&self) -> Option<&Unbegun> {
        self.course.as_ref()?.unbegun.as_ref()
    }
}
