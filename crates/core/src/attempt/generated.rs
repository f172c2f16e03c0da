//! Job files that attempts leave.

use serde::{Deserialize, Serialize};

/// A job file that an attempt has left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedFile {
    /// Its name: one of [`GeneratedFile::NAMES`], or its path from the top of what the attempt has cloned.
    pub name: String,
    /// Its text, as it is; or why it cannot be taken, in words.
    pub text: Result<String, String>,
    /// The files of its workflows, if the attempt's source is a clone, which only its cluster has.
    #[serde(default)]
    pub workflows: Vec<WorkflowFile>,
}

/// A file that a job file names, directly or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkflowFile {
    /// Its path from the top of the source.
    pub path: String,
    /// Its text, or why it cannot be taken.
    pub text: Result<String, String>,
}

impl GeneratedFile {
    /// The names that are looked for directly in the output folder, the first one first.
    pub const NAMES: [&'static str; 5] = [
        "tombolo.yaml",
        "tombolo.yml",
        "tombolo.json",
        "infrabox.json",
        "infrabox.yaml",
    ];

    /// The most that is taken, with the files of its workflows: several hundred jobs. It travels in one message, and is held in memory.
    pub const MAX_BYTES: usize = 512 * 1024;

    /// The most files of workflows that are taken along.
    pub const MAX_WORKFLOWS: usize = 1000;

    /// How many bytes it has, with the files of its workflows.
    pub fn bytes(&self) -> usize {
        let of = |text: &Result<String, String>| match text {
            Ok(words) | Err(words) => words.len(),
        };
        of(&self.text)
            + self
                .workflows
                .iter()
                .map(|file| file.path.len() + of(&file.text))
                .sum::<usize>()
    }
}
