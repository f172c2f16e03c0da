//! Arrays: one job of which many run.
//!
//! An array is one node of its build's graph, and its indexes are attempts of that node, so to speak: each is a [`LiveJob`] that shares
//! everything with the array but its status. None is made before it can be queued, and only the first of those that have not begun
//! stands in the queue: the next one takes its place when it was placed. So what waits costs nothing, however much there is, and the
//! queue's order is the same as if all stood in it.
//!
//! Within a build, indexes of arrays are named by numbers that no job has ([`FIRST_OF_INDEXES`] and above), so that whatever is done with
//! jobs is done with them. The array itself is never placed. It ends when all its indexes have, which its children wait for.

mod advance;
mod end;
mod explain;

use std::collections::BTreeMap;
use std::ops::Bound::{Included, Unbounded};
use std::sync::Arc;

use super::Control;
use super::builds::{JobKey, LiveBuild, LiveJob};
use super::outbox::Outbox;
use super::record::{JobNode, JobStatus};
use crate::build::JobState;
use crate::build::array::{Array, Counts};
use crate::id::JobId;

/// The first number within a build that is that of an index of an array. No build has as many jobs.
pub(super) const FIRST_OF_INDEXES: u32 = 1 << 31;

/// An array of a build that is not over.
#[derive(Debug)]
pub(super) struct LiveArray {
    /// The array's own place in the build's list of jobs.
    pub(super) job: u32,
    /// The number of its index 0 within the build.
    pub(super) first: u32,
    /// What its job says.
    pub(super) array: Array,
    /// The indexes that have begun, or have ended without.
    pub(super) begun: BTreeMap<u32, Box<LiveJob>>,
    /// The index that stands in the queue for all that have not begun.
    pub(super) head: Option<u32>,
    /// No index below has not begun.
    next: u32,
    /// How many have begun and are not over.
    pub(super) open: u32,
    /// How many of those that have begun are in which state, as it was written.
    counts: Counts,
}

impl LiveArray {
    fn new(node: &JobNode, first: u32) -> Option<Self> {
        Some(Self {
            job: node.index,
            first,
            array: node.array()?,
            begun: BTreeMap::new(),
            head: None,
            next: 0,
            open: 0,
            counts: Counts::default(),
        })
    }

    /// Takes in an index that has begun, with its status.
    fn take(&mut self, node: &Arc<JobNode>, index: u32, status: JobStatus) {
        if status.ended().is_none() {
            self.open += 1;
            // Any other that is not over has had an attempt.
            if status.epoch.0 == 0 {
                self.head = Some(index);
            }
        }
        self.counts.add(status.as_ended().state, 1);
        let number = self.first.saturating_add(index);
        let job = LiveJob::of_index(number, Arc::clone(node), status);
        self.begun.insert(index, Box::new(job));
    }

    /// The next index that has not begun, if there is one.
    fn first_unbegun(&mut self) -> Option<u32> {
        while self.next < self.array.count && self.begun.contains_key(&self.next) {
            self.next += 1;
        }
        (self.next < self.array.count).then_some(self.next)
    }

    /// How many have not begun.
    pub(super) fn unbegun(&self) -> u32 {
        let begun = u32::try_from(self.begun.len()).unwrap_or(u32::MAX);
        self.array.count.saturating_sub(begun)
    }

    /// Whether as many have begun and are not over as may be.
    fn is_full(&self) -> bool {
        self.array.parallel.is_some_and(|parallel| self.open >= parallel)
    }

    /// Counts an index anew that has changed.
    pub(super) fn recount(&mut self, number: u32) {
        let Some(job) = self.begun.get_mut(&number.wrapping_sub(self.first)) else {
            return;
        };
        let state = job.status.as_ended().state;
        if let Some(before) = job.counted.replace(state) {
            self.counts.remove(before, 1);
        }
        self.counts.add(state, 1);
    }

    /// An index has ended for the first time.
    pub(super) fn note_end(&mut self, number: u32) {
        let index = number.wrapping_sub(self.first);
        self.open = self.open.saturating_sub(1);
        self.head = self.head.filter(|head| *head != index);
    }

    /// How many are in which state; `status` is the array's own.
    pub(super) fn counts(&self, status: &JobStatus) -> Counts {
        let mut counts = self.counts;
        counts.add(status.of_unbegun(status.id).state, self.unbegun());
        counts
    }
}

impl LiveBuild {
    /// Finds the arrays among the jobs from `first` on.
    pub(super) fn note_arrays(&mut self, first: usize) {
        for job in self.jobs.iter().skip(first) {
            let number = self.arrays.last().map_or(FIRST_OF_INDEXES, LiveArray::end);
            self.arrays.extend(LiveArray::new(&job.node, number));
        }
    }

    /// Takes in indexes that have begun, with their status. Whether there are such indexes.
    pub(super) fn take_indexes(&mut self, statuses: Vec<JobStatus>) -> Result<(), JobId> {
        for status in statuses {
            let id = status.id;
            let (array, index) = id.array_and_index().ok_or(id)?;
            let jobs = &self.jobs;
            let mut arrays = self.arrays.iter_mut();
            let found = arrays.find_map(|live| {
                let job = jobs.get(live.job as usize)?;
                (job.node.id == array).then_some((live, &job.node))
            });
            let (live, node) = found.filter(|(live, _)| index < live.array.count).ok_or(id)?;
            live.take(node, index, status);
        }
        Ok(())
    }

    /// The array that has the index with this number.
    pub(super) fn array_of(&self, number: u32) -> Option<&LiveArray> {
        let place = self.place_of_array(number)?;
        self.arrays.get(place)
    }

    pub(super) fn array_of_mut(&mut self, number: u32) -> Option<&mut LiveArray> {
        let place = self.place_of_array(number)?;
        self.arrays.get_mut(place)
    }

    fn place_of_array(&self, number: u32) -> Option<usize> {
        if number < FIRST_OF_INDEXES {
            return None;
        }
        let place = self.arrays.partition_point(|array| array.first <= number);
        let place = place.checked_sub(1)?;
        (number < self.arrays[place].end()).then_some(place)
    }

    /// The array that a job is.
    pub(super) fn array(&self, job: u32) -> Option<&LiveArray> {
        let place = self.arrays.binary_search_by_key(&job, |array| array.job);
        self.arrays.get(place.ok()?)
    }

    pub(super) fn array_mut(&mut self, job: u32) -> Option<&mut LiveArray> {
        let place = self.arrays.binary_search_by_key(&job, |array| array.job);
        self.arrays.get_mut(place.ok()?)
    }

    /// The job that stands in the graph: of an index, its array, and every other job itself.
    pub(super) fn in_graph(&self, number: u32) -> u32 {
        self.array_of(number).map_or(number, |array| array.job)
    }

    /// The jobs that a job of the graph stands for when its outputs are given on: an array's indexes that have begun, or only one of them,
    /// and every other job itself.
    pub(super) fn leaving<'a>(&'a self, job: &'a LiveJob, only: Option<u32>) -> impl Iterator<Item = &'a LiveJob> {
        let array = job.is_array().then(|| self.array(job.index)).flatten();
        let range = only.map_or((Unbounded, Unbounded), |index| (Included(index), Included(index)));
        let begun = array.into_iter().flat_map(move |array| array.begun.range(range));
        let itself = (!job.is_array()).then_some(job);
        itself.into_iter().chain(begun.map(|(_, job)| job.as_ref()))
    }

    /// The job in the graph with this number, and of an array the indexes that have begun.
    pub(super) fn with_indexes(&self, job: u32) -> impl Iterator<Item = &LiveJob> {
        let begun = self.array(job).into_iter().flat_map(|array| array.begun.values());
        self.job(job).into_iter().chain(begun.map(Box::as_ref))
    }

    /// The jobs that stand in the queue among the children of a job, by number.
    pub(super) fn queued_children(&self, job: u32) -> Vec<u32> {
        let children = self.edges.children(self.in_graph(job)).iter();
        let all = children.flat_map(|child| self.with_indexes(*child));
        all.filter(|child| child.is_queued()).map(|child| child.index).collect()
    }

    /// All jobs, and all indexes of arrays that have begun.
    pub(super) fn all(&self) -> impl Iterator<Item = &LiveJob> {
        let indexes = self.arrays.iter().flat_map(|array| array.begun.values());
        self.jobs.iter().chain(indexes.map(Box::as_ref))
    }

    /// How many of its edges come from parents that are not over, or make an output again.
    pub(super) fn pending(&self, number: u32) -> u32 {
        self.job(self.in_graph(number)).map_or(0, |job| job.pending)
    }

    /// Whether an index has ended for the first time: then its array may have, while nothing follows from the index itself.
    pub(super) fn only_array_cares(&self, number: u32) -> bool {
        let array = self.array_of(number).and_then(|array| self.job(array.job));
        array.is_some_and(|array| array.status.state.terminal().is_none())
    }
}

impl LiveArray {
    /// The number after that of its last index.
    fn end(&self) -> u32 {
        self.first.saturating_add(self.array.count)
    }
}

impl Control {
    /// How many indexes of an array of a build that is not over are in which state.
    pub fn counts(&self, array: JobId) -> Option<Counts> {
        let (build, job) = self.builds.job_by_id(array)?;
        Some(build.array(job.index)?.counts(&job.status))
    }

    /// Begins with the indexes of an array, whose parents allow it.
    pub(super) fn begin_array(&mut self, outbox: &mut Outbox, key: JobKey) {
        let Some(job) = self.builds.job_mut(key) else { return };
        if job.status.state == JobState::Waiting {
            job.status.state = JobState::Queued;
            job.status.queued_at.get_or_insert(outbox.now.wall);
            outbox.touch(key, job);
        }
        outbox.arrays.push(key);
    }
}
