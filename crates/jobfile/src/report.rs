//! Says what is wrong with a job file, to people and to programs.

use serde::{Deserialize, Serialize};
use tombolo_core::build::BuildDefinition;

use crate::fault::{Fault, Faults};

/// The verdict on a file, as `tombolo validate -o json` prints it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The name of the file, as it was given.
    pub file: String,
    /// Whether the file can be submitted.
    pub valid: bool,
    /// How many jobs it has; none if it is not valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jobs: Option<usize>,
    /// What is wrong with it, by line and column; empty if it is valid.
    pub faults: Vec<Fault>,
    /// How many more faults there are.
    pub omitted: usize,
}

impl Report {
    /// The verdict on what [`crate::parse`] said of `file`.
    pub fn new(file: &str, result: &Result<BuildDefinition, Faults>) -> Self {
        match result {
            Ok(definition) => Self {
                file: file.to_owned(),
                valid: true,
                jobs: Some(definition.jobs.len()),
                faults: Vec::new(),
                omitted: 0,
            },
            Err(Faults { file, faults, omitted }) => Self {
                file: file.clone(),
                valid: false,
                jobs: None,
                faults: faults.clone(),
                omitted: *omitted,
            },
        }
    }
}

/// One line for each fault, `file:line:column: path: message`, with the hint below it, indented. No line break at the end.
pub fn plain(faults: &Faults) -> String {
    let mut lines = Vec::with_capacity(faults.faults.len() * 2 + 1);
    for Fault {
        file,
        path,
        line,
        column,
        message,
        hint,
    } in &faults.faults
    {
        let path = if path.is_empty() {
            String::new()
        } else {
            format!("{path}: ")
        };
        let file = file.as_ref().unwrap_or(&faults.file);
        lines.push(format!("{file}:{line}:{column}: {path}{message}"));
        lines.extend(hint.iter().map(|hint| format!("    hint: {hint}")));
    }
    if faults.omitted > 0 {
        lines.push(format!("{}: and {} more faults", faults.file, faults.omitted));
    }
    lines.join("\n")
}
