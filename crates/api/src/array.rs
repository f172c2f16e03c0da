//! Arrays: jobs of which many run.

use serde::{Deserialize, Serialize};
use tombolo_core::build;
use utoipa::ToSchema;

use crate::job::{Job, JobState};

/// The indexes of an array: jobs named `array/index`, which are listed by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Array {
    /// How many there are; the indexes are those below.
    pub count: u32,
    /// How many may run at once; any number if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
    /// The states that any is in, in their order, with how many are.
    pub counts: Vec<StateCount>,
}

/// How many indexes of an array are in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StateCount {
    /// The state.
    pub state: JobState,
    /// How many.
    pub count: u32,
}

impl Array {
    /// With so many indexes in each state.
    pub fn new(array: build::array::Array, counts: &build::array::Counts) -> Self {
        let of = |(state, count): (build::JobState, u32)| StateCount {
            state: state.into(),
            count,
        };
        Self {
            count: array.count,
            parallel: array.parallel,
            counts: counts.iter().map(of).collect(),
        }
    }
}

/// A page of the indexes of an array.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct IndexList {
    /// How many there are in all, and in which states.
    pub array: Array,
    /// The indexes of this page, as jobs, in their order.
    pub jobs: Vec<Job>,
    /// Where the next page begins, if there are more.
    pub next_first: Option<u32>,
}
