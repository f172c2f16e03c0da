//! Arrays, and their indexes, as records.

use super::{JobNode, JobStatus};
use crate::build::JobState;
use crate::build::array::Array;
use crate::id::JobId;

impl JobNode {
    /// How many of it there are, if it is an array.
    pub fn array(&self) -> Option<Array> {
        self.extensions.as_ref()?.array
    }

    /// An index of this array, as a job of its own; none if there is no such index.
    pub fn of_index(&self, index: u32) -> Option<Self> {
        self.array().filter(|array| index < array.count)?;
        let mut node = Self {
            id: self.id.of_index(index),
            name: self.name.of_index(index).ok()?,
            ..self.clone()
        };
        if let Some(extensions) = &mut node.extensions {
            extensions.array = None;
        }
        Some(node)
    }
}

impl JobStatus {
    /// Where an index of the array with this status stands that has not begun, and so has no record of its own.
    pub fn of_unbegun(&self, id: JobId) -> Self {
        let mut status = Self::waiting(id);
        let unbegun = self.course.as_ref().and_then(|course| course.unbegun.as_ref());
        match (unbegun, self.state) {
            (Some(unbegun), _) => {
                status.state = JobState::Terminal(unbegun.state);
                status.message.clone_from(&unbegun.message);
                status.ended_at = Some(unbegun.ended_at);
            }
            // It ended before any of its indexes began.
            (None, JobState::Terminal(_)) => {
                status.state = self.state;
                status.message.clone_from(&self.message);
                status.ended_at = self.ended_at;
            }
            (None, JobState::Waiting) => {}
            (None, _) => status.state = JobState::Queued,
        }
        status.queued_at = self.queued_at;
        status
    }
}
