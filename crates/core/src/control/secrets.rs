//! Secrets of projects: which there are. Their values are not here.

use std::collections::{BTreeMap, BTreeSet};

use super::outbox::Outbox;
use super::{Change, Control, Refusal, Reply};
use crate::build::JobSpec;
use crate::id::ProjectId;
use crate::name::SecretName;
use crate::secret::{SealedSecret, Secret};
use crate::time::Timestamp;

/// How many names a refusal has at the most.
const MAX_NAMES: usize = 5;

/// The secrets of all projects, without their values.
#[derive(Debug, Default)]
pub(super) struct Secrets {
    by_project: BTreeMap<ProjectId, BTreeMap<SecretName, Timestamp>>,
}

impl Secrets {
    pub(super) fn insert(&mut self, secret: Secret) {
        let Secret {
            project,
            name,
            updated_at,
        } = secret;
        self.by_project.entry(project).or_default().insert(name, updated_at);
    }

    fn contains(&self, project: ProjectId, name: &SecretName) -> bool {
        self.by_project
            .get(&project)
            .is_some_and(|names| names.contains_key(name))
    }

    fn count(&self, project: ProjectId) -> usize {
        self.by_project.get(&project).map_or(0, BTreeMap::len)
    }

    pub(super) fn remove_project(&mut self, project: ProjectId) {
        self.by_project.remove(&project);
    }
}

impl Control {
    /// The secrets of a project, by name.
    pub fn secrets(&self, project: ProjectId) -> impl Iterator<Item = Secret> {
        let names = self.secrets.by_project.get(&project).into_iter().flatten();
        names.map(move |(name, updated_at)| Secret {
            project,
            name: name.clone(),
            updated_at: *updated_at,
        })
    }

    pub(super) fn set_secret(&mut self, outbox: &mut Outbox, mut sealed: SealedSecret) -> Result<Reply, Refusal> {
        let (project, limit) = (sealed.secret.project, self.settings.max_secrets_per_project);
        if self.projects.get(project).is_none() {
            return Err(Refusal::not_found("project", &project));
        }
        if !self.secrets.contains(project, &sealed.secret.name) && self.secrets.count(project) >= limit {
            return Err(Refusal::Limit(format!(
                "the project has {limit} secrets, which is the limit: delete one first"
            )));
        }
        sealed.secret.updated_at = outbox.now.wall;
        self.secrets.insert(sealed.secret.clone());
        outbox.changes.push(Change::PutSecret(sealed));
        Ok(Reply::Done)
    }

    /// The value stays what it is, and as old as it is.
    pub(super) fn reseal_secret(&mut self, outbox: &mut Outbox, mut sealed: SealedSecret) -> Result<Reply, Refusal> {
        let Secret { project, name, .. } = &sealed.secret;
        let names = self.secrets.by_project.get(project);
        let since = names.and_then(|names| names.get(name));
        sealed.secret.updated_at = *since.ok_or_else(|| Refusal::not_found("secret", name))?;
        outbox.changes.push(Change::PutSecret(sealed));
        Ok(Reply::Done)
    }

    /// Jobs that run keep the value that they were given; those that have not begun end with an error when they would need it.
    pub(super) fn delete_secret(
        &mut self,
        outbox: &mut Outbox,
        project: ProjectId,
        name: SecretName,
    ) -> Result<Reply, Refusal> {
        let names = self.secrets.by_project.get_mut(&project);
        if names.and_then(|names| names.remove(&name)).is_none() {
            return Err(Refusal::not_found("secret", &name));
        }
        outbox.changes.push(Change::DeleteSecret { project, name });
        Ok(Reply::Done)
    }

    /// Refuses jobs that refer to secrets which the project does not have.
    pub(super) fn check_secrets<'a>(
        &self,
        project: ProjectId,
        jobs: impl IntoIterator<Item = &'a JobSpec>,
    ) -> Result<(), Refusal> {
        let mut missing: BTreeMap<&SecretName, &JobSpec> = BTreeMap::new();
        for job in jobs {
            let names: BTreeSet<&SecretName> = job.secrets.values().collect();
            for name in names.into_iter().filter(|name| !self.secrets.contains(project, name)) {
                missing.entry(name).or_insert(job);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        let shown = missing.iter().take(MAX_NAMES);
        let clauses: Vec<String> = shown
            .map(|(name, job)| format!("`{name}` (for job `{}`)", job.name))
            .collect();
        let more = match missing.len().saturating_sub(MAX_NAMES) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        let noun = if missing.len() == 1 { "secret" } else { "secrets" };
        Err(Refusal::MissingSecrets(format!(
            "the project lacks the {noun} {}{more}",
            clauses.join(", ")
        )))
    }
}
