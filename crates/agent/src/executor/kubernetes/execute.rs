//! The executor: one pod for each attempt, and the couriers of these pods.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tombolo_core::attempt::Assignment;
use tombolo_core::build::TerminalState;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::Capability;
use tombolo_core::volume::VolumeId;

use super::clone::as_run;
use super::cluster::Cluster;
use super::entrypoint::{self, Entrypoints, Image};
use super::keep::{self, Fate};
use super::pod::{Facts, render};
use super::running::{KubernetesRunning, now};
use super::settings::{JobSettings, Settings};
use super::watch::Pods;
use super::{cluster, names, pod};
use crate::couriers::{Couriers, Duty};
use crate::exec;
use crate::executor::cache::CacheFolder;
use crate::executor::{Error, Executor, Material, contract, is_exclusive, output_limit};
use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::generated::Looked;
use crate::link::Lease;
use crate::secrets::Values;
use crate::supervisor::{SandboxPaths, Specification};

/// What commands are held to, in pods as elsewhere.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a command may go on after it was asked to stop.
    pub stop_grace: Duration,
    /// How many bytes the log of an attempt may take on the disk.
    pub log_limit_bytes: u64,
}

/// What the executor works with.
pub struct Parts {
    /// The cluster's name.
    pub name: ClusterName,
    /// How pods are made.
    pub settings: Settings,
    /// What commands are held to.
    pub limits: Limits,
    /// The API server.
    pub cluster: Cluster,
    /// What the watch knows of the pods.
    pub pods: Pods,
    /// What images run by themselves.
    pub entrypoints: Entrypoints,
    /// Where the pods' couriers report.
    pub couriers: Couriers,
    /// The certificates (PEM) by which couriers know this agent.
    pub trust: String,
}

/// Runs commands in pods. Cheap to clone; clones are one.
#[derive(Clone)]
pub struct KubernetesExecutor {
    pub(super) parts: Arc<Parts>,
}

impl KubernetesExecutor {
    /// An executor of these parts.
    pub fn new(parts: Parts) -> Self {
        let parts = Arc::new(parts);
        Self { parts }
    }

    /// What the job's image runs, if the job does not say.
    async fn look_up(&self, assignment: &Assignment) -> Result<Option<Arc<Image>>, Error> {
        if assignment.job.command.is_some() {
            return Ok(None);
        }
        let parts = &self.parts;
        let namespace = parts.settings.namespace_of(&assignment.build.project_name);
        let mut secrets = Vec::new();
        for name in &parts.settings.image_pull_secrets {
            let secret = parts.cluster.pull_secret(namespace, name).await;
            secrets.push(secret.map_err(|error| Error::Failed(error.to_string()))?);
        }
        let image = parts.entrypoints.command_of(&assignment.job.image, &secrets).await;
        image.map(Some).map_err(|error| refused_image(&error))
    }

    /// Whether the pod of an attempt that is cleared away stays for people to look at.
    async fn fate(&self, folder: &AttemptFolder, attempt: AttemptId) -> Fate {
        let parts = &self.parts;
        // Before its end is recorded, an attempt is not held up.
        let patience = folder.ended().exists().then_some(keep::ABOUT_TO_END);
        let has_spoken = folder.collected().exists();
        let seen = parts.pods.follow(attempt);
        keep::fate(seen, parts.settings.keep_finished, patience, has_spoken, now).await
    }

    /// Removes the token of a pod that stays. False if the agent may not.
    async fn take_token(&self, attempt: AttemptId, namespaces: &[String]) -> Result<bool, Error> {
        for namespace in namespaces {
            let deleted = self
                .parts
                .cluster
                .delete_secret(namespace, &names::pod_name(attempt))
                .await;
            match deleted {
                Ok(()) => {}
                Err(error @ cluster::Error::Denied(_)) => {
                    tracing::warn!(%error, "a pod that should be kept is removed, because its token must not stay");
                    return Ok(false);
                }
                Err(error) => return Err(system("remove the token of the pod", &error)),
            }
        }
        Ok(true)
    }

    async fn remove(&self, attempt: AttemptId, namespaces: &[String]) -> Result<(), Error> {
        let name = names::pod_name(attempt);
        for namespace in namespaces {
            let cluster = &self.parts.cluster;
            let deleted = cluster.delete_pod(namespace, &name, None, Some(Duration::ZERO)).await;
            deleted.map_err(|error| system("remove the pod", &error))?;
        }
        Ok(())
    }

    fn environment(&self, assignment: &Assignment) -> BTreeMap<String, String> {
        let mut variables = contract::variables(assignment, &self.parts.name);
        if assignment.job.repository.is_some() {
            variables.extend(contract::proxies(std::env::vars()));
        }
        variables
    }

    /// What the supervisor of an attempt is to run.
    fn specification(&self, assignment: &Assignment, image: Option<&Image>) -> Specification {
        let job = &assignment.job;
        let of_image = || image.map(|image| image.command.clone()).unwrap_or_default();
        Specification {
            attempt: assignment.attempt,
            command: job.command.clone().unwrap_or_else(of_image),
            environment: self.environment(assignment),
            job_environment: contract::job_environment(assignment),
            paths: SandboxPaths::Absolute,
            timeout: job.timeout,
            stop_grace: self.parts.limits.stop_grace,
            log_limit_bytes: self.parts.limits.log_limit_bytes,
            storage_limit_bytes: storage_of(&self.parts.settings, assignment),
            output_limit_bytes: output_limit(assignment),
            volumes: job.volumes,
            secrets: job.secrets.keys().cloned().collect(),
            exclusive: is_exclusive(assignment),
            // The courier asks for it when the command is to start.
            lease: None,
            generated: Looked::of(assignment),
        }
    }
}

impl Executor for KubernetesExecutor {
    type Running = KubernetesRunning;

    fn capabilities(&self) -> Vec<Capability> {
        let mut capabilities = vec![
            Capability::Images,
            Capability::Exec,
            Capability::Secrets,
            Capability::Exclusive,
            Capability::Git,
        ];
        capabilities.extend(self.parts.settings.volumes.as_ref().map(|_| Capability::Volumes));
        capabilities
    }

    /// Pods outlive agents. One that is gone is missed when it is looked for.
    fn is_lost(&self, _: &AttemptFolder, _: AttemptId) -> io::Result<bool> {
        Ok(false)
    }

    /// Nothing is made yet; but a job that gets no pod here is refused before its inputs are fetched.
    async fn prepare(&self, folder: &AttemptFolder, assignment: &Assignment) -> Result<Vec<String>, Error> {
        let assignment = &*as_run(&self.parts.settings, assignment);
        let image = self.look_up(assignment).await?;
        let job = job_settings(assignment);
        let facts = Facts {
            cluster: &self.parts.name,
            assignment,
            job: &job,
            image: image.as_deref(),
            trust: &self.parts.trust,
        };
        let pod = render(&self.parts.settings, &facts).map_err(|error| Error::Refused(error.to_string()))?;
        if let Some(image) = &image {
            write_record(&image_record(folder), image.as_ref(), Durability::Fast)
                .map_err(Error::system("record what the image runs"))?;
        }
        let namespace = pod.metadata.namespace.unwrap_or_default();
        let name = names::pod_name(assignment.attempt);
        Ok(vec![format!(
            "the job runs in the pod `{name}` of the namespace `{namespace}` on cluster `{}`, image `{}`",
            self.parts.name, assignment.job.image
        )])
    }

    async fn make_volume(&self, volume: VolumeId, assignment: &Assignment) -> Result<(), Error> {
        let job = job_settings(assignment);
        let facts = Facts {
            cluster: &self.parts.name,
            assignment,
            job: &job,
            image: None,
            trust: &self.parts.trust,
        };
        let claim = pod::claim(&self.parts.settings, volume, &facts);
        let claim = claim.map_err(|error| Error::Refused(error.to_string()))?;
        let created = self.parts.cluster.create_claim(&claim).await;
        created.map_err(|error| Error::Failed(format!("no claim for the volume `{}`: {error}", volume.kind())))
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<(), Error> {
        for namespace in self.parts.settings.namespaces() {
            let deleted = self
                .parts
                .cluster
                .delete_claim(&namespace, volume, &self.parts.name)
                .await;
            deleted.map_err(|error| system("remove the claim of a volume", &error))?;
        }
        Ok(())
    }

    async fn find_volumes(&self) -> Result<Vec<VolumeId>, Error> {
        let parts = &self.parts;
        let mut found = Vec::new();
        if parts.settings.volumes.is_some() {
            for namespace in parts.settings.namespaces() {
                let volumes = parts.cluster.volumes(&namespace, &parts.name).await;
                found.extend(volumes.map_err(|error| system("look for claims", &error))?);
            }
        }
        Ok(found)
    }

    /// The pod's own supervisor fetches them, before the command starts.
    async fn stage(
        &self,
        folder: &AttemptFolder,
        _: &Assignment,
        materials: &[Material],
    ) -> Result<Vec<String>, Error> {
        write_record(&folder.materials(), &materials, Durability::Fast)
            .map_err(Error::system("record what belongs into the sandbox"))?;
        Ok(Vec::new())
    }

    fn obstacle_to_cache(&self, assignment: &Assignment) -> Option<String> {
        pod::obstacle_to_cache(&self.parts.settings, &job_settings(assignment), assignment)
    }

    async fn start(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        secrets: &Values,
        lease: Option<Lease>,
    ) -> Result<KubernetesRunning, Error> {
        let assignment = &*as_run(&self.parts.settings, assignment);
        let failed = Error::system::<io::Error>;
        let materials: Option<Vec<Material>> =
            read_record(&folder.materials()).map_err(failed("read what belongs into the sandbox"))?;
        let image: Option<Image> = read_record(&image_record(folder)).map_err(failed("read what the image runs"))?;
        let duty = Duty {
            project: assignment.build.project,
            command: self.specification(assignment, image.as_ref()),
            job_file: contract::job_file(assignment, &self.parts.name),
            materials: materials.unwrap_or_default(),
            cache: assignment.cache.as_ref().map(CacheFolder::from),
            secrets: secrets.clone(),
        };
        let attempt = assignment.attempt;
        let visit = self.parts.couriers.expect(attempt, folder, duty);
        let visit = visit.map_err(failed("open the attempt's records"))?;
        Ok(KubernetesRunning::new(
            Arc::clone(&self.parts),
            assignment.clone(),
            image,
            (visit, lease),
        ))
    }

    /// By the courier, not by the API server: no right to enter pods is needed, input has an end, and nothing goes on when nobody listens.
    async fn enter(
        &self,
        _: &AttemptFolder,
        attempt: AttemptId,
        request: exec::Request,
    ) -> Result<exec::Session, exec::Failure> {
        self.parts.couriers.enter(attempt, request).await
    }

    async fn clear(&self, folder: &AttemptFolder, attempt: AttemptId) -> Result<(), Error> {
        let parts = &self.parts;
        parts.couriers.dismiss(attempt);
        let assignment: Option<Assignment> = read_record(&folder.assignment()).unwrap_or_default();
        let namespaces = match assignment {
            Some(assignment) => vec![parts.settings.namespace_of(&assignment.build.project_name).to_owned()],
            None => parts.settings.namespaces(),
        };
        match self.fate(folder, attempt).await {
            Fate::Later => return Ok(()),
            Fate::Stays if self.take_token(attempt, &namespaces).await? => {}
            Fate::Stays | Fate::Goes => self.remove(attempt, &namespaces).await?,
        }
        parts.pods.forget(attempt);
        Ok(())
    }
}

/// What the volume that the job works in holds.
fn storage_of(settings: &Settings, assignment: &Assignment) -> Option<u64> {
    let job = job_settings(assignment);
    // One that is too large was refused before.
    pod::sandbox_bytes(settings, &job, assignment).ok()
}

/// What a job file says of pods.
pub(super) fn job_settings(assignment: &Assignment) -> JobSettings {
    let pod = assignment.job.pod.as_deref().cloned().unwrap_or_default();
    JobSettings {
        resources: assignment.job.resources,
        ephemeral_storage_bytes: pod.storage_bytes,
        node_selector: pod.node_selector,
        run_as_user: pod.run_as_user.map(i64::from),
        architecture: pod.architecture,
    }
}

fn image_record(folder: &AttemptFolder) -> PathBuf {
    folder.path().join("image.json")
}

fn refused_image(error: &entrypoint::Error) -> Error {
    match error.state() {
        TerminalState::Failure => Error::Job(error.to_string()),
        _ => Error::Failed(error.to_string()),
    }
}

pub(super) fn system(action: &'static str, error: &cluster::Error) -> Error {
    Error::System {
        action,
        source: io::Error::other(error.to_string()),
    }
}
