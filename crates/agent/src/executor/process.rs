//! Commands as processes on the agent's own system, each under a supervisor of its own.

mod belongings;
mod running;
mod sandbox;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};
use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;
use tombolo_core::name::ClusterName;
use tombolo_core::session::Capability;
use tombolo_core::volume::VolumeId;
use tombolo_transfer::ChunkStore;

use self::belongings::Belongings;
use self::running::ProcessRunning;
use super::cache::CacheFolder;
use super::{Error, Executor, Material, contract, is_exclusive, output_limit, sandbox_limits};
use crate::exec;
use crate::folder::{AttemptFolder, Durability, read_record, write_record};
use crate::generated::Looked;
use crate::link::{Granted, Lease};
use crate::secrets::Values;
use crate::supervisor::{self, Presence, READY, SandboxPaths, Socket, Specification, request};

/// How long a supervisor may take until the command runs. A machine under great load needs seconds.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// How long everything of an attempt may take to end after it was killed.
const CLEAR_DEADLINE: Duration = Duration::from_secs(30);

/// What programs are looked for in if the agent itself does not say.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What is inherited from the agent's own environment, and what stands for it if it is not there. All else stays out.
const INHERITED: [(&str, &str); 3] = [("PATH", DEFAULT_PATH), ("LANG", "C.UTF-8"), ("TERM", "xterm-256color")];

/// The variables that say whom TLS believes, for clones.
const AUTHORITIES: [&str; 2] = ["SSL_CERT_FILE", "SSL_CERT_DIR"];

/// What to do with a job's image, which cannot be run here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Images {
    /// The command runs on the agent's own system, and the job's log says so.
    #[default]
    Ignore,
    /// The job ends with an error that says so.
    Refuse,
}

/// How commands are run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The name that jobs see.
    pub cluster: ClusterName,
    /// The program that supervises when it is given `supervise` and an attempt's folder: `/proc/self/exe` for the agent's own.
    pub supervisor: PathBuf,
    /// What to do with images.
    pub images: Images,
    /// How a command finds its sandbox.
    pub paths: SandboxPaths,
    /// How long a command may go on after it was asked to stop.
    pub stop_grace: Duration,
    /// How many bytes the log of an attempt may take on the disk.
    pub log_limit_bytes: u64,
    /// The folder that volumes are kept in, beside their records.
    pub volumes: PathBuf,
}

/// Runs commands as processes.
#[derive(Clone)]
pub struct ProcessExecutor {
    settings: Settings,
    store: ChunkStore,
}

impl ProcessExecutor {
    /// An executor with these settings. Inputs come from `store`, and outputs go there.
    pub const fn new(settings: Settings, store: ChunkStore) -> Self {
        Self { settings, store }
    }

    fn environment(&self, assignment: &Assignment) -> BTreeMap<String, String> {
        let mut variables = contract::variables(assignment, &self.settings.cluster);
        for (name, default) in INHERITED {
            let value = std::env::var(name).unwrap_or_else(|_| default.to_owned());
            variables.insert(name.to_owned(), value);
        }
        if assignment.job.repository.is_some() {
            variables.extend(contract::proxies(std::env::vars()));
            variables.extend(
                AUTHORITIES
                    .iter()
                    .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?))),
            );
        }
        variables
    }

    fn belongings(&self, folder: &AttemptFolder, assignment: &Assignment) -> Belongings {
        Belongings {
            store: self.store.clone(),
            project: assignment.build.project,
            sandbox: folder.sandbox(),
            cache: assignment.cache.as_ref().map(CacheFolder::from),
            limits: sandbox_limits(output_limit(assignment)),
            generated: Looked::of(assignment),
        }
    }

    fn specification(&self, assignment: &Assignment, lease: Option<Granted>) -> Specification {
        Specification {
            attempt: assignment.attempt,
            command: contract::clone_command(assignment, &self.settings.supervisor)
                .or_else(|| assignment.job.command.clone())
                .unwrap_or_default(),
            environment: self.environment(assignment),
            job_environment: contract::job_environment(assignment),
            paths: self.settings.paths,
            timeout: assignment.job.timeout,
            stop_grace: self.settings.stop_grace,
            log_limit_bytes: self.settings.log_limit_bytes,
            storage_limit_bytes: None,
            output_limit_bytes: output_limit(assignment),
            volumes: Default::default(),
            secrets: assignment.job.secrets.keys().cloned().collect(),
            exclusive: is_exclusive(assignment),
            lease,
            generated: Looked::of(assignment),
        }
    }

    async fn make_sandbox(&self, folder: &AttemptFolder, assignment: &Assignment) -> Result<(), Error> {
        let (folder, assignment, cluster) = (folder.clone(), assignment.clone(), self.settings.cluster.clone());
        let volumes = self.settings.volumes.clone();
        let made = blocking(move || sandbox::make(&folder, &assignment, &cluster, &volumes)).await;
        made.map_err(Error::system("make the sandbox"))
    }

    /// Starts a supervisor, and returns when the command runs or has turned out not to. None if this supervisor gave up: then
    /// one that an earlier agent started a moment ago may have the attempt.
    async fn spawn(&self, folder: &AttemptFolder, secrets: &Values) -> Result<Option<Child>, Error> {
        let failed = Error::system::<io::Error>;
        let messages = File::options()
            .append(true)
            .create(true)
            .open(folder.supervisor_messages())
            .map_err(failed("make the supervisor's log"))?;
        let mut child = Command::new(&self.settings.supervisor)
            .arg("supervise")
            .arg(folder.path())
            .env_clear()
            .stdin(if secrets.is_empty() {
                Stdio::null()
            } else {
                Stdio::piped()
            })
            .stdout(Stdio::piped())
            .stderr(messages)
            .spawn()
            .map_err(failed("start a supervisor"))?;
        let mut output = child.stdout.take().expect("its output is a pipe");
        let mut said = Vec::new();
        let input = child.stdin.take();
        let talk = async {
            if let Some(mut input) = input {
                // One that gives up does not read it, and says so by its end.
                let _ = input.write_all(&secrets.to_bytes()).await;
            }
            output.read_to_end_or_line(&mut said).await
        };
        let ready = tokio::time::timeout(START_DEADLINE, talk).await;
        match ready {
            Ok(Ok(())) if said == READY => Ok(Some(child)),
            Ok(Ok(())) => {
                let _ = child.wait().await;
                Ok(None)
            }
            Ok(Err(error)) => Err(failed("hear of the supervisor")(error)),
            Err(_) => Err(failed("start the command")(io::ErrorKind::TimedOut.into())),
        }
    }
}

trait ReadLine {
    async fn read_to_end_or_line(&mut self, line: &mut Vec<u8>) -> io::Result<()>;
}

impl<R: tokio::io::AsyncRead + Unpin> ReadLine for R {
    async fn read_to_end_or_line(&mut self, line: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; READY.len()];
        while !line.ends_with(b"\n") {
            match self.read(&mut buffer).await? {
                0 => break,
                count => line.extend_from_slice(&buffer[..count]),
            }
        }
        Ok(())
    }
}

impl Executor for ProcessExecutor {
    type Running = ProcessRunning;

    fn capabilities(&self) -> Vec<Capability> {
        vec![
            Capability::Exec,
            Capability::Volumes,
            Capability::Secrets,
            Capability::Exclusive,
            Capability::Git,
        ]
    }

    fn is_lost(&self, folder: &AttemptFolder, attempt: AttemptId) -> io::Result<bool> {
        let over = folder.ended().exists() || folder.exit().exists();
        let lost = !over
            && folder.started().exists()
            && supervisor::presence(folder)? == Presence::Absent
            && !folder.exit().exists();
        if lost {
            supervisor::kill_remains(attempt)?;
        }
        Ok(lost)
    }

    async fn prepare(&self, folder: &AttemptFolder, assignment: &Assignment) -> Result<Vec<String>, Error> {
        let image = &assignment.job.image;
        if assignment.job.repository.is_some() {
            self.make_sandbox(folder, assignment).await?;
            return Ok(vec![format!(
                "the repository is cloned on cluster `{}`",
                self.settings.cluster
            )]);
        }
        if self.settings.images == Images::Refuse {
            return Err(Error::Refused(format!(
                "cluster `{}` runs commands without images and refuses those that name one (`{image}`): let a selector \
                 keep this job away, or set `images = \"ignore\"` in the agent's configuration",
                self.settings.cluster
            )));
        }
        if assignment.job.command.is_none() {
            return Err(Error::Refused(format!(
                "the job names no command, and the one of its image `{image}` cannot be known here: cluster `{}` runs \
                 commands without images",
                self.settings.cluster
            )));
        }
        let also = assignment
            .job
            .pod
            .as_ref()
            .map_or("", |_| ", nor what it says under `kubernetes`");
        self.make_sandbox(folder, assignment).await?;
        Ok(vec![format!(
            "the image `{image}` is not used{also}: cluster `{}` runs commands on its agent's own system",
            self.settings.cluster
        )])
    }

    async fn make_volume(&self, volume: VolumeId, _: &Assignment) -> Result<(), Error> {
        let path = self.settings.volumes.join(volume.to_string());
        let made = blocking(move || std::fs::create_dir_all(path)).await;
        made.map_err(Error::system("make a volume"))
    }

    async fn remove_volume(&self, volume: VolumeId) -> Result<(), Error> {
        let path = self.settings.volumes.join(volume.to_string());
        let removed = blocking(move || match tombolo_artifact::remove_tree(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            removed => removed,
        });
        removed.await.map_err(Error::system("remove a volume"))
    }

    async fn find_volumes(&self) -> Result<Vec<VolumeId>, Error> {
        let folder = self.settings.volumes.clone();
        let found = blocking(move || sandbox::volumes(&folder)).await;
        found.map_err(Error::system("look for volumes"))
    }

    async fn stage(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        materials: &[Material],
    ) -> Result<Vec<String>, Error> {
        self.belongings(folder, assignment).unpack(materials).await
    }

    async fn start(
        &self,
        folder: &AttemptFolder,
        assignment: &Assignment,
        secrets: &Values,
        lease: Option<Lease>,
    ) -> Result<ProcessRunning, Error> {
        let failed = Error::system::<io::Error>;
        let belongings = self.belongings(folder, assignment);
        let read = || read_record(&folder.exit()).map_err(failed("read the exit"));
        if let Some(exit) = read()? {
            return Ok(ProcessRunning::over(folder, exit, belongings));
        }
        let mut child = None;
        if supervisor::presence(folder).map_err(failed("look for the supervisor"))? == Presence::Absent {
            if folder.started().exists() {
                // It may have ended since the first look.
                return match read()? {
                    Some(exit) => Ok(ProcessRunning::over(folder, exit, belongings)),
                    None => {
                        running::kill_remains(assignment.attempt).await?;
                        Err(running::lost(folder))
                    }
                };
            }
            write_record(
                &folder.specification(),
                &self.specification(assignment, lease.as_ref().and_then(Lease::granted)),
                Durability::Fast,
            )
            .map_err(failed("write what to run"))?;
            child = self.spawn(folder, secrets).await?;
        }
        let running = ProcessRunning::attach(folder, assignment.attempt, child, belongings, START_DEADLINE).await?;
        running.held(lease).await
    }

    async fn enter(
        &self,
        folder: &AttemptFolder,
        _: AttemptId,
        request: exec::Request,
    ) -> Result<exec::Session, exec::Failure> {
        Ok(exec::Session::local(folder.clone(), request))
    }

    async fn clear(&self, folder: &AttemptFolder, attempt: AttemptId) -> Result<(), Error> {
        if let Ok(mut socket) = Socket::connect(folder) {
            socket.kill_and_wait(CLEAR_DEADLINE).await;
        }
        running::kill_remains(attempt).await
    }
}

/// Runs what may wait for the disk where it holds nobody up.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
