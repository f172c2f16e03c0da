//! What the master wants.

use std::time::Duration;

use anyhow::{Context, ensure};
use tokio::time::timeout;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_proto::agent::v1::bulk_client::BulkClient;
use tombolo_proto::agent::v1::{FindWantedRequest, FindWantedResponse};
use tonic::transport::Channel;

/// How long the master may take to answer.
const DEADLINE: Duration = Duration::from_secs(30);

pub(super) struct Master {
    bulk: Channel,
}

impl Master {
    pub(super) const fn new(bulk: Channel) -> Self {
        Self { bulk }
    }

    /// Whether the project exists.
    pub(super) async fn knows(&self, project: ProjectId) -> anyhow::Result<bool> {
        Ok(self.ask(project, &[]).await?.project_exists)
    }

    /// Which of the manifests it wants, in their order; at most 1,000.
    pub(super) async fn wants(&self, project: ProjectId, manifests: &[Digest]) -> anyhow::Result<Vec<bool>> {
        let answer = self.ask(project, manifests).await?;
        ensure!(
            answer.wanted.len() == manifests.len(),
            "the master gave {} answers to {} questions",
            answer.wanted.len(),
            manifests.len()
        );
        Ok(answer.wanted)
    }

    async fn ask(&self, project: ProjectId, manifests: &[Digest]) -> anyhow::Result<FindWantedResponse> {
        let request = FindWantedRequest {
            project: project.uuid().as_bytes().to_vec(),
            manifests: manifests.iter().map(|digest| digest.as_bytes().to_vec()).collect(),
        };
        let mut client = BulkClient::new(self.bulk.clone());
        let answer = timeout(DEADLINE, client.find_wanted(request)).await;
        let answer = answer.context("the master did not say in time what it wants")?;
        Ok(answer.context("the master did not say what it wants")?.into_inner())
    }
}
