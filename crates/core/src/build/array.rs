//! Array jobs: one job of which many run, told apart by their index.

use serde::{Deserialize, Serialize};

use super::{JobSpec, JobState, TerminalState};
use crate::name::InvalidName;

/// The most indexes of one array. Those that have not begun cost nothing; each that has is held in memory for as long as its build.
pub const MAX_COUNT: u32 = 100_000;

/// The most outputs of indexes that one job takes: they are named in one message to its cluster.
pub const MAX_INPUTS: u64 = 10_000;

/// The most outputs that the indexes of one array take of those of other arrays, all in all.
pub const MAX_INPUTS_OF_ALL: u64 = 100_000;

/// How many of a job there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Array {
    /// The indexes are those below.
    pub count: u32,
    /// How many of them may have begun, and not be over; any number if none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parallel: Option<u32>,
}

/// The variables that tell a command its index: each under both names.
const INDEX_VARIABLES: [&str; 2] = ["TOMBOLO_ARRAY_INDEX", "INFRABOX_ARRAY_INDEX"];
/// The variables that tell a command how many there are.
const COUNT_VARIABLES: [&str; 2] = ["TOMBOLO_ARRAY_COUNT", "INFRABOX_ARRAY_COUNT"];

impl JobSpec {
    /// What an index of this array is to do: the same, with its own name and the variables that tell it apart.
    ///
    /// # Errors
    /// If the name becomes too long.
    pub fn of_index(&self, index: u32) -> Result<Self, InvalidName> {
        let mut spec = self.clone();
        spec.name = self.name.of_index(index)?;
        let count = self.array().map_or(1, |array| array.count);
        let index = INDEX_VARIABLES.map(|name| (name, index));
        let count = COUNT_VARIABLES.map(|name| (name, count));
        for (name, value) in index.into_iter().chain(count) {
            spec.secrets.remove(name);
            spec.environment.insert(name.to_owned(), value.to_string());
        }
        Ok(spec)
    }
}

/// How many indexes of an array are in which state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counts([u32; Counts::STATES.len()]);

impl Counts {
    /// All states, in the order in which they are shown.
    pub const STATES: [JobState; 12] = [
        JobState::Waiting,
        JobState::Queued,
        JobState::Assigned,
        JobState::Preparing,
        JobState::Running,
        JobState::Publishing,
        JobState::Terminal(TerminalState::Finished),
        JobState::Terminal(TerminalState::Unstable),
        JobState::Terminal(TerminalState::Failure),
        JobState::Terminal(TerminalState::Error),
        JobState::Terminal(TerminalState::Killed),
        JobState::Terminal(TerminalState::Skipped),
    ];

    /// Adds indexes that are in a state.
    pub fn add(&mut self, state: JobState, count: u32) {
        if let Some(of) = self.place(state) {
            *of = of.saturating_add(count);
        }
    }

    /// Takes out indexes that were in a state.
    pub fn remove(&mut self, state: JobState, count: u32) {
        if let Some(of) = self.place(state) {
            *of = of.saturating_sub(count);
        }
    }

    fn place(&mut self, state: JobState) -> Option<&mut u32> {
        let place = Self::STATES.iter().position(|other| *other == state)?;
        self.0.get_mut(place)
    }

    /// How many there are.
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// The states that any is in, with how many are.
    pub fn iter(&self) -> impl Iterator<Item = (JobState, u32)> {
        let counted = Self::STATES.into_iter().zip(self.0);
        counted.filter(|(_, count)| *count > 0)
    }
}

impl FromIterator<(JobState, u32)> for Counts {
    fn from_iter<States: IntoIterator<Item = (JobState, u32)>>(states: States) -> Self {
        let mut counts = Self::default();
        states.into_iter().for_each(|(state, count)| counts.add(state, count));
        counts
    }
}
