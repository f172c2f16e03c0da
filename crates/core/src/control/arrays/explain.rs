//! Why arrays and their indexes are where they are.

use super::LiveArray;
use crate::build::JobState;
use crate::control::Control;
use crate::control::builds::{LiveBuild, LiveJob};
use crate::id::JobId;
use crate::placement::Explanation;

impl Control {
    /// Why an array is where it is: what its indexes do, and what the first of those waits for that have not begun.
    pub(in crate::control) fn explain_array(&self, build: &LiveBuild, job: &LiveJob) -> Option<Explanation> {
        let array = build.array(job.index)?;
        let counts = array.counts(&job.status);
        let counts: Vec<String> = counts.iter().map(|(state, count)| format!("{count} {state}")).collect();
        let counts = format!("of its {} indexes, {}", array.array.count, counts.join(", "));
        let head = array.head.map(|index| (index, job.node.id.of_index(index)));
        if let Some((index, id)) = head {
            let mut explanation = self.explain(id)?;
            explanation.summary = format!("{counts}; index {index} is the next: {}", explanation.summary);
            return Some(explanation);
        }
        let summary = match array.reason_to_wait() {
            Some(reason) => format!("{counts}; {reason}"),
            None => counts,
        };
        Some(Explanation {
            summary,
            ..Explanation::default()
        })
    }

    /// What the first index waits for that has not begun, if it waits for a cluster.
    pub(in crate::control) fn array_waits(&self, build: &LiveBuild, job: &LiveJob) -> Option<String> {
        let array = build.array(job.index)?;
        let index = array
            .head
            .filter(|index| array.begun.get(index).is_some_and(|job| job.is_queued()))?;
        let explanation = self.explain(job.node.id.of_index(index))?;
        Some(format!("index {index}: {}", explanation.summary))
    }

    /// Why an index of an array has not begun.
    pub(in crate::control) fn explain_unbegun(&self, id: JobId) -> Option<Explanation> {
        let (array_id, _) = id.array_and_index()?;
        // None for an index that there is not.
        self.builds.key(id)?;
        let (build, job) = self.builds.job_by_id(array_id)?;
        let array = build.array(job.index)?;
        let status = job.status.of_unbegun(id);
        if let JobState::Terminal(state) = status.state {
            return Some(Explanation {
                summary: format!("it is over: {state} ({}); no cluster had it", status.message),
                ..Explanation::default()
            });
        }
        if status.state == JobState::Waiting {
            return self.explain(array_id);
        }
        let mut explanation = match array.head {
            Some(index) => {
                let mut explanation = self.explain(job.node.id.of_index(index))?;
                explanation.summary = format!("it comes after index {index}: {}", explanation.summary);
                explanation
            }
            None => Explanation::default(),
        };
        if let Some(reason) = array.reason_to_wait() {
            explanation.summary.clone_from(&reason);
            explanation.limit = Some(reason);
        }
        Some(explanation)
    }
}

impl LiveArray {
    /// What keeps those from beginning that have not, but for clusters.
    fn reason_to_wait(&self) -> Option<String> {
        let parallel = self.array.parallel.filter(|_| self.is_full() && self.unbegun() > 0)?;
        Some(format!(
            "as many have begun and are not over as may be at once ({parallel}, `parallel`)"
        ))
    }
}
