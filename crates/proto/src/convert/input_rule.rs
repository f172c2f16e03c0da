//! What jobs take of the outputs of their parents.

use tombolo_core::build::extensions::InputRule;
use tombolo_core::name::JobName;

use super::phase::job_name;
use super::{Error, text};
use crate::agent::v1 as wire;

impl From<InputRule> for wire::InputRule {
    fn from(rule: InputRule) -> Self {
        Self {
            job: rule.job.into(),
            wanted: rule.wanted,
            paths: rule.paths,
            folder: rule.folder,
            is_source: rule.is_source,
        }
    }
}

impl TryFrom<wire::InputRule> for InputRule {
    type Error = Error;

    fn try_from(rule: wire::InputRule) -> Result<Self, Error> {
        let paths = rule.paths.into_iter().map(|path| text(path, "InputRule.paths"));
        // It becomes a folder in the sandbox, and must not lead out of it.
        let folder = rule.folder.map(|folder| match JobName::new(&folder) {
            Ok(_) if !folder.contains('/') => Ok(folder),
            _ => Err(Error::new("InputRule.folder", "it is not a part of a job's name")),
        });
        Ok(Self {
            job: job_name(&rule.job, "InputRule.job")?,
            wanted: rule.wanted,
            paths: paths.collect::<Result<_, _>>()?,
            folder: folder.transpose()?,
            is_source: rule.is_source,
            // The master knows whose outputs are taken.
            same_index: false,
        })
    }
}
