//! Reads the job files that attempts have left, before the control plane takes in that they have ended.

use std::sync::Arc;

use tombolo_core::attempt::{GeneratedFile, Phase};
use tombolo_core::control::{Command, Generated};
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, JobId, ProjectId};
use tombolo_jobfile::Faults;
use tombolo_store::Store;

use super::Services;
use crate::Database;
use crate::clock::{Clock, fresh_id};
use crate::definitions::Definitions;
use crate::driver::{ApplyError, Handle};

/// How many faults a job's message tells.
const SHOWN: usize = 5;

pub(super) struct Reader {
    handle: Handle,
    definitions: Definitions,
    store: Arc<Database>,
    clock: Arc<dyn Clock>,
}

impl Reader {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            handle: services.handle.clone(),
            definitions: services.definitions.clone(),
            store: services.store.clone(),
            clock: services.clock.clone(),
        }
    }

    /// The command, with what the job file says that the attempt has left. If that cannot be found out now, the agent is to come again.
    pub(super) async fn complete(&self, command: Command) -> Result<Command, ApplyError> {
        let Command::Report {
            cluster,
            session,
            attempt,
            phase,
            generated,
        } = command
        else {
            return Ok(command);
        };
        let file = match &phase {
            Phase::Ended(outcome) => outcome.generated.as_deref(),
            _ => None,
        };
        let generated = match file {
            Some(file) => Some(Box::new(self.read(attempt, file).await?)),
            None => generated,
        };
        Ok(Command::Report {
            cluster,
            session,
            attempt,
            phase,
            generated,
        })
    }

    async fn read(&self, attempt: AttemptId, file: &GeneratedFile) -> Result<Generated, ApplyError> {
        let origin = self.handle.query(move |control| {
            let job = control.job(attempt.job)?;
            Some(Origin {
                project: job.build.project,
                source: job.build.source,
                on_clone: control.makes_on_clone(attempt.job),
            })
        });
        let Some(origin) = origin.await? else {
            // What is in it does not matter: the attempt does not count any more.
            return Ok(Generated { jobs: Ok(Vec::new()) });
        };
        let text = match &file.text {
            Ok(text) => text.clone(),
            Err(reason) => {
                let words = format!("its job file `output/{}` cannot be taken: {reason}", file.name);
                return Ok(Generated { jobs: Err(words) });
            }
        };
        let later = |error: &dyn std::fmt::Display| {
            tracing::warn!(%attempt, %error, "a job file that a job has left cannot be read at the moment");
            ApplyError::Overloaded
        };
        let Origin { project, source, .. } = origin;
        let read = match origin.on_clone {
            true => self.definitions.read_with(file.clone(), text).await,
            false => {
                let bytes = text.into_bytes();
                self.definitions.read(project, source, file.name.clone(), bytes).await
            }
        };
        let mut read = read.map_err(|error| later(&error))?;
        if let Ok(definition) = &mut read {
            let found = self.store.specs(vec![attempt.job]).await;
            let found = found.map_err(|error| later(&error))?;
            for (_, maker) in &found {
                definition.jobs.iter_mut().for_each(|job| job.inherit(maker));
            }
        }
        let jobs = read.map(|definition| {
            let fresh = |spec| (JobId::new(fresh_id(&*self.clock)), spec);
            definition.jobs.into_iter().map(fresh).collect()
        });
        Ok(Generated {
            jobs: jobs.map_err(|faults| in_a_line(&faults)),
        })
    }
}

/// Where a job file comes from.
struct Origin {
    project: ProjectId,
    /// The source of the build.
    source: Option<Digest>,
    /// Its jobs have a clone as their source. Then the files of its workflows came with it.
    on_clone: bool,
}

/// The first faults, for the job's message.
fn in_a_line(faults: &Faults) -> String {
    let shown = faults.faults.iter().take(SHOWN).map(|fault| {
        let file = fault.file.as_ref().unwrap_or(&faults.file);
        let path = match fault.path.as_str() {
            "" => String::new(),
            path => format!("{path}: "),
        };
        let hint = fault.hint.as_ref().map(|hint| format!(" ({hint})")).unwrap_or_default();
        format!("{file}:{}:{}: {path}{}{hint}", fault.line, fault.column, fault.message)
    });
    let shown: Vec<String> = shown.collect();
    let count = faults.faults.len() + faults.omitted;
    let more = match count.saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    format!(
        "its job file `output/{}` is not valid: {}{more}",
        faults.file,
        shown.join("; ")
    )
}
