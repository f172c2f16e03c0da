//! Source and inputs: from wherever they are into the cluster's own store.

mod cache;

use std::collections::HashSet;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;
use tombolo_core::attempt::{Assignment, LostInput, Prefetch, RouteKind, TransferReceipt};
use tombolo_core::build::extensions::input_folder;
use tombolo_core::control::Copied;
use tombolo_core::control::event::Recipient;
use tombolo_core::digest::Digest;
use tombolo_core::id::{AttemptId, JobId, ProjectId};
use tombolo_core::name::{ClusterName, JobName};
use tombolo_transfer::Puller;
use tombolo_transfer::pull::{self, Request};
use tombolo_transfer::store::retention::UploadId;

use crate::executor::{Material, SOURCE};
use crate::network::{Network, Ways};
use crate::prefetch::Prefetcher;
use crate::progress::Teller;
use crate::seam::Notice;

pub(super) use self::cache::kept;

/// How many inputs of one attempt come at once. Each has several chunks on the way already; more would only share the link.
const INPUTS_AT_ONCE: usize = 2;

/// Brings sources and inputs.
#[derive(Clone)]
pub struct Inputs {
    puller: Puller,
    network: Network,
    prefetcher: Prefetcher,
}

/// Why a sandbox did not get what it needs.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("cannot get the source of the build: {reason}")]
    Source {
        reason: String,
        /// How far it came, if it was on its way.
        receipt: Option<Box<TransferReceipt>>,
    },
    #[error("cannot get the output of `{parent}`: {reason}")]
    Input {
        parent: JobName,
        reason: String,
        /// Who was asked, if nobody gave it.
        lost: Option<Box<LostInput>>,
        /// How far it came, if it was on its way.
        receipt: Option<Box<TransferReceipt>>,
    },
    #[error("two parents have outputs for `inputs/{0}`: names that end alike cannot both be inputs of a job")]
    Clash(String),
}

/// One artifact that is to come.
struct Wanted {
    /// None for the source.
    parent: Option<Parent>,
    manifest: Digest,
    /// Within the sandbox.
    folder: String,
    /// What is unpacked of it.
    paths: Vec<String>,
    ways: Ways,
}

/// The parent that left it.
struct Parent {
    job: JobId,
    name: JobName,
    /// This cluster is to have its output.
    is_here: bool,
}

impl Wanted {
    fn name(&self) -> Option<JobName> {
        self.parent.as_ref().map(|parent| parent.name.clone())
    }

    fn failed(&self, error: &pull::Error, own: &ClusterName) -> Error {
        let reason = error.to_string();
        match &self.parent {
            Some(parent) => Error::Input {
                parent: parent.name.clone(),
                reason,
                lost: self.lost(parent, error, own).map(Box::new),
                receipt: self.receipt(error),
            },
            None => Error::Source {
                reason,
                receipt: self.receipt(error),
            },
        }
    }

    /// What users are shown of one that did not come.
    fn receipt(&self, error: &pull::Error) -> Option<Box<TransferReceipt>> {
        let pull::Error::Unobtainable { so_far, what, .. } = error else {
            return None;
        };
        let mut receipt = so_far.for_parent(self.name(), self.manifest, format!("nobody gave {what}"));
        receipt.routes.extend(self.ways.unavailable.iter().cloned());
        Some(Box::new(receipt))
    }

    /// What the master is told of an input that nobody gave. One that somebody has and will not give is not lost.
    fn lost(&self, parent: &Parent, error: &pull::Error, own: &ClusterName) -> Option<LostInput> {
        let pull::Error::Unobtainable { answers, .. } = error else {
            return None;
        };
        let mut missing = answers.missing.clone();
        missing.extend(parent.is_here.then(|| own.clone()));
        answers.refused.is_empty().then(|| LostInput {
            parent: parent.job,
            manifest: self.manifest,
            missing,
            unreachable: answers.unreachable.clone(),
        })
    }
}

impl Error {
    /// The inputs that nobody gave, for the master.
    pub(super) fn lost_inputs(&self) -> Vec<LostInput> {
        match self {
            Self::Input { lost: Some(lost), .. } => vec![(**lost).clone()],
            _ => Vec::new(),
        }
    }

    /// How far came what did not come.
    pub(super) fn receipts(&self) -> Vec<TransferReceipt> {
        match self {
            Self::Source { receipt, .. } | Self::Input { receipt, .. } => {
                receipt.iter().map(|receipt| (**receipt).clone()).collect()
            }
            Self::Clash(_) => Vec::new(),
        }
    }
}

impl Inputs {
    /// Brings what `network` has, with `puller`, and knows what `prefetcher` has brought.
    pub const fn new(puller: Puller, network: Network, prefetcher: Prefetcher) -> Self {
        Self {
            puller,
            network,
            prefetcher,
        }
    }

    /// Has an output brought that will be needed soon. What the master is to be told of it now, if anything.
    pub(super) fn prefetch(&self, prefetch: Prefetch) -> Option<Copied> {
        self.prefetcher.prefetch(prefetch)
    }

    /// Notes that the attempt looks for and writes things in the cluster's store, before it does.
    pub(super) async fn begin_upload(&self, assignment: &Assignment) -> Result<(), tombolo_transfer::store::Error> {
        let store = self.puller.store();
        store
            .begin_upload(assignment.build.project, &UploadId::from(assignment.attempt))
            .await
    }

    /// Something is not in the cluster's store, or not whole, that should be.
    pub(super) fn distrust(&self, project: ProjectId) {
        self.puller.store().distrust(project);
    }

    /// Notes that the attempt is gone: what the master took of it is wanted by the master.
    pub(super) async fn end_upload(&self, project: ProjectId, attempt: AttemptId) {
        let ended = self.puller.store().end_upload(project, &UploadId::from(attempt)).await;
        if let Err(error) = ended {
            tracing::debug!(%attempt, %error, "the end of an upload was not noted; the next sweep does it");
        }
    }

    /// Brings all that belongs into `context` and `inputs`; all of it is there on success. What the job waits for is told to
    /// `notices`.
    pub(super) async fn bring(
        &self,
        assignment: &Assignment,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<Vec<(Material, TransferReceipt)>, Error> {
        let wanted = self.wanted(assignment)?;
        let receipts = stream::iter(wanted)
            .map(|wanted| self.bring_one(assignment, wanted, notices))
            .buffered(INPUTS_AT_ONCE);
        receipts.try_collect().await
    }

    /// Brings the source or the input that has this manifest once more: what is in the store of it is not trusted. Whether there is
    /// one; a cache is done without.
    pub(super) async fn bring_again(
        &self,
        assignment: &Assignment,
        manifest: Digest,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<bool, Error> {
        self.distrust(assignment.build.project);
        let wanted = self.wanted(assignment)?;
        // Parents that left the same have it on clusters of their own.
        let mut failed = None;
        for wanted in wanted.into_iter().filter(|wanted| wanted.manifest == manifest) {
            match self.bring_one(assignment, wanted, notices).await {
                Ok(_) => return Ok(true),
                Err(error) => failed = Some(error),
            }
        }
        failed.map_or(Ok(false), Err)
    }

    fn wanted(&self, assignment: &Assignment) -> Result<Vec<Wanted>, Error> {
        let mut wanted = Vec::new();
        if let Some(source) = &assignment.source {
            wanted.push(Wanted {
                parent: None,
                manifest: source.manifest,
                folder: SOURCE.to_owned(),
                paths: Vec::new(),
                ways: self.network.source(source),
            });
        }
        let mut taken = HashSet::new();
        for input in &assignment.inputs {
            let says = assignment.job.extensions.as_deref();
            let rule = says.and_then(|says| says.input(&input.name));
            let folder = match input_folder(says, &input.name) {
                Some(segment) => {
                    let folder = match input.index {
                        Some(index) => format!("{segment}/{index}"),
                        None => segment.to_owned(),
                    };
                    if !taken.insert(folder.clone()) {
                        return Err(Error::Clash(folder));
                    }
                    format!("inputs/{folder}")
                }
                // What a clone has made has the clone where others have the build's source.
                None if rule.is_some_and(|rule| rule.is_source && rule.wanted) => SOURCE.to_owned(),
                None => continue,
            };
            let of_index = input.index.and_then(|index| input.name.of_index(index).ok());
            wanted.push(Wanted {
                parent: Some(Parent {
                    job: input.job,
                    name: of_index.unwrap_or_else(|| input.name.clone()),
                    is_here: input.sources.iter().any(|source| source.cluster == *self.network.own()),
                }),
                manifest: input.output.manifest,
                folder,
                paths: rule.map(|rule| rule.paths.clone()).unwrap_or_default(),
                ways: self.network.input(input, assignment.waiting_per_hour),
            });
        }
        Ok(wanted)
    }

    async fn bring_one(
        &self,
        assignment: &Assignment,
        wanted: Wanted,
        notices: &mpsc::Sender<Notice>,
    ) -> Result<(Material, TransferReceipt), Error> {
        let teller = Teller::new(Recipient::Attempt(assignment.attempt), wanted.name(), notices);
        let request = Request {
            project: assignment.build.project,
            manifest: wanted.manifest,
            sources: wanted.ways.sources.clone(),
        };
        let pulled = self.puller.pull(request, |progress| teller.tell(&progress)).await;
        if wanted.parent.as_ref().is_some_and(|parent| parent.is_here) && pulled.is_err() {
            self.puller.store().distrust(assignment.build.project);
        }
        let mut receipt = pulled.map_err(|error| wanted.failed(&error, self.network.own()))?;
        teller.tell_last(&receipt.progress);
        let (name, moved) = (wanted.name(), !receipt.routes.is_empty());
        if moved {
            receipt.routes.extend(wanted.ways.unavailable);
        }
        let mut told = receipt.for_parent(name);
        if !moved && let Some(earlier) = self.prefetcher.take_receipt(assignment.build.project, wanted.manifest) {
            told = TransferReceipt {
                parent: told.parent,
                ..earlier
            };
        }
        let material = Material {
            folder: wanted.folder,
            manifest: wanted.manifest,
            optional: false,
            paths: wanted.paths,
        };
        Ok((material, told))
    }
}

/// How an artifact came, for the job's log.
pub(super) fn describe(receipt: &TransferReceipt) -> String {
    let what = match &receipt.parent {
        Some(parent) => format!("the output of `{parent}`"),
        None if receipt.cache => "the cache".to_owned(),
        None => "the source".to_owned(),
    };
    let digest = receipt.manifest.short();
    let size = |bytes| bytesize::ByteSize::b(bytes).display().si();
    if receipt.moved_bytes == 0 && receipt.route == RouteKind::Local {
        return format!("{what} ({}, digest {digest}) is here already", size(receipt.bytes));
    }
    let from = match &receipt.from {
        Some(cluster) => format!("cluster `{cluster}`"),
        None => "the master".to_owned(),
    };
    format!(
        "{what} ({}, digest {digest}) came {}from {from} by route {}: {} moved in {:.1} s",
        size(receipt.bytes),
        if receipt.prefetched { "ahead " } else { "" },
        receipt.route.as_str(),
        size(receipt.moved_bytes),
        Duration::from_millis(receipt.milliseconds).as_secs_f64()
    )
}
