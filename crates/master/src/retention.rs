//! Gives up the outputs of builds that the projects' policies do not keep. What clusters have of them goes when they sweep.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tombolo_core::build::BuildState;
use tombolo_core::control::Command;
use tombolo_core::control::record::Project;
use tombolo_core::id::ProjectId;
use tombolo_core::retention::{Kept, Policy, plan};
use tombolo_store::{Error, KeptBuild, Store};

use crate::Database;
use crate::clock::Clock;
use crate::driver::Handle;

/// How many builds are read at once.
const PAGE: u32 = 500;

/// Decides what goes. Cheap to clone.
#[derive(Clone)]
pub struct Retention {
    handle: Handle,
    store: Arc<Database>,
    clock: Arc<dyn Clock>,
    default: Policy,
}

impl Retention {
    /// With the policy of projects that have none.
    pub fn new(handle: Handle, store: Arc<Database>, clock: Arc<dyn Clock>, default: Policy) -> Self {
        Self {
            handle,
            store,
            clock,
            default,
        }
    }

    /// What holds for a project.
    pub(crate) fn policy(&self, project: &Project) -> Policy {
        project.retention.unwrap_or(self.default)
    }

    /// The builds of a project whose outputs would go now, newest first.
    pub(crate) async fn plan(&self, project: ProjectId, policy: Policy) -> Result<Vec<KeptBuild>, Error> {
        let mut kept = Vec::new();
        let now = self.clock.now().wall;
        if !policy.keeps_everything() {
            let mut before = None;
            loop {
                let page = self.store.kept_builds(project, before, PAGE, now).await?;
                before = page.last().map(|last| last.build.number);
                let is_last = page.len() < PAGE as usize;
                kept.extend(page);
                if is_last {
                    break;
                }
            }
        }
        let short: Vec<Kept> = kept.iter().map(shorten).collect();
        let mut going = plan(policy, now, &short).into_iter().peekable();
        // Both are newest first.
        kept.retain(|kept| going.next_if(|one| one.build == kept.build.id).is_some());
        Ok(kept)
    }

    /// Looks now and then, until `stopping`.
    pub(crate) async fn run(self, every: Duration, stopping: CancellationToken) {
        loop {
            let looked = stopping.run_until_cancelled(async {
                tokio::time::sleep(every).await;
                self.look().await
            });
            match looked.await {
                None => return,
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::warn!(%error, "cannot look what outputs go; trying again later"),
            }
        }
    }

    async fn look(&self) -> anyhow::Result<()> {
        let projects = self
            .handle
            .query(|control| control.projects().cloned().collect::<Vec<_>>());
        for project in projects.await? {
            let going = self.plan(project.id, self.policy(&project)).await?;
            for KeptBuild { build, bytes } in going {
                let number = build.number;
                match self.handle.apply(Command::ReleaseOutputs(Box::new(build))).await {
                    Ok(_) => {
                        tracing::info!(project = %project.name, build = number, bytes, "gave up the outputs of a build");
                    }
                    Err(error) => {
                        tracing::warn!(project = %project.name, build = number, %error, "cannot give up the outputs of a build");
                    }
                }
            }
        }
        Ok(())
    }
}

fn shorten(kept: &KeptBuild) -> Kept {
    let is_over = kept.build.state != BuildState::Running;
    Kept {
        build: kept.build.id,
        ended_at: is_over.then(|| kept.build.ended_at.unwrap_or(kept.build.created_at)),
        bytes: kept.bytes,
    }
}
