//! The bulk connection: log lines, what clusters have to keep, and secrets.

use std::pin::Pin;

use futures::{Stream, StreamExt};
use secrecy::ExposeSecret;
use tombolo_core::control::Standing;
use tombolo_core::id::{AttemptId, ProjectId};
use tombolo_core::log::LogLine;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_proto::agent::v1 as wire;
use tombolo_proto::agent::v1::bulk_server;
use tombolo_proto::convert;
use tombolo_store::Store;
use tonic::{Request, Response, Status, Streaming};
use uuid::Uuid;

use super::Services;
use super::membership::caller;
use crate::driver::ApplyError;
use crate::logs;
use crate::secrets::Denied;

/// How many batches of one connection wait for their transaction at once: those of several attempts share one.
const BATCHES_AT_ONCE: usize = 4;

/// How many manifests one call asks about at the most.
const MANIFESTS_AT_ONCE: usize = 1_000;

#[derive(Clone)]
pub(super) struct Bulk {
    services: Services,
}

impl Bulk {
    pub(super) fn new(services: &Services) -> Self {
        Self {
            services: services.clone(),
        }
    }

    async fn take(&self, cluster: &ClusterName, batch: wire::LogBatch) -> Result<wire::LogAcknowledgement, Status> {
        let attempt = convert::attempt(batch.attempt, "LogBatch.attempt")?;
        let answer = |next_line: u64, refused: bool| wire::LogAcknowledgement {
            attempt: Some(attempt.into()),
            next_line,
            refused,
        };
        let standing = self.standing(cluster, attempt).await?;
        let end = batch
            .first_line
            .saturating_add(u64::try_from(batch.lines.len()).unwrap_or(u64::MAX));
        let is_beyond = matches!(standing, Standing::Replaced(lines) if end > lines);
        if standing == Standing::None || is_beyond {
            tracing::info!(target: "audit", %cluster, %attempt, reason = "not its current attempt", refused = true, "logs");
            return Ok(answer(batch.first_line, true));
        }
        let numbered = (batch.first_line..).zip(batch.lines);
        let lines = numbered.map(|(number, line)| LogLine {
            number,
            at: Timestamp(line.at),
            text: line.text,
        });
        let next = match self.services.logs.append(attempt, lines.collect()).await {
            Ok(next) => next,
            // The agent goes on from where the log is.
            Err(logs::Error::Gap { expected, .. }) => expected,
            // All attempts of a cluster share the stream: it ends this log, and no other.
            Err(error @ logs::Error::Invalid { .. }) => {
                tracing::warn!(%cluster, %attempt, %error, "log refused");
                return Ok(answer(batch.first_line, true));
            }
            Err(error) => return Err(Status::unavailable(error.to_string())),
        };
        if matches!(standing, Standing::Over | Standing::Replaced(_)) {
            self.services.seal(attempt);
        }
        Ok(answer(next, false))
    }

    async fn find_wanted(
        &self,
        cluster: &ClusterName,
        request: wire::FindWantedRequest,
    ) -> Result<wire::FindWantedResponse, Status> {
        let project = <[u8; 16]>::try_from(&request.project[..]);
        let project = project.map_err(|_| Status::invalid_argument("FindWantedRequest.project: not 16 bytes"))?;
        let project = ProjectId::new(Uuid::from_bytes(project));
        if request.manifests.len() > MANIFESTS_AT_ONCE {
            return Err(Status::invalid_argument(format!(
                "FindWantedRequest.manifests: at most {MANIFESTS_AT_ONCE} are allowed"
            )));
        }
        let manifests = request.manifests.iter();
        let manifests = manifests.map(|digest| convert::digest(digest, "FindWantedRequest.manifests"));
        let manifests: Vec<_> = manifests.collect::<Result<_, _>>()?;
        let exists = self
            .services
            .handle
            .query(move |control| control.projects().any(|one| one.id == project));
        let project_exists = exists.await.map_err(|error| Status::unavailable(error.to_string()))?;
        let count = manifests.len();
        let store = &self.services.store;
        let now = self.services.clock.now().wall;
        let wanted = match project_exists {
            true => {
                let outputs = store.are_wanted(cluster.clone(), project, manifests.clone(), now);
                let caches = store.are_caches(cluster.clone(), project, manifests);
                futures::try_join!(outputs, caches).map(|(outputs, caches)| {
                    let both = outputs.into_iter().zip(caches);
                    both.map(|(output, cache)| output || cache).collect()
                })
            }
            false => Ok(vec![false; count]),
        };
        let wanted = wanted.map_err(|error| {
            tracing::warn!(%error, "it is not known what is wanted of a cluster");
            Status::unavailable("the master cannot use its database at the moment")
        })?;
        Ok(wire::FindWantedResponse { project_exists, wanted })
    }

    async fn find_secrets(
        &self,
        cluster: &ClusterName,
        request: wire::FindSecretsRequest,
    ) -> Result<wire::FindSecretsResponse, Status> {
        let attempt = convert::attempt(request.attempt, "FindSecretsRequest.attempt")?;
        let asked = self
            .services
            .secrets
            .of_attempt(&self.services.handle, cluster, attempt);
        let values = asked.await.map_err(|denied| {
            let words = denied.to_string();
            let (refused, status) = match denied {
                Denied::Stale(_) => (true, Status::permission_denied(words)),
                Denied::Missing { .. } | Denied::TooMuch => (true, Status::failed_precondition(words)),
                Denied::Sealed(_) => (true, Status::data_loss(words)),
                Denied::Store | Denied::Control(_) => (false, Status::unavailable(words)),
            };
            tracing::info!(target: "audit", %cluster, %attempt, reason = status.message(), refused, "secrets");
            status
        })?;
        let variables: Vec<&str> = values.keys().map(String::as_str).collect();
        tracing::info!(target: "audit", %cluster, %attempt, variables = variables.join(" "), "secrets");
        let variables = values
            .into_iter()
            .map(|(variable, value)| (variable, value.expose_secret().to_owned()));
        Ok(wire::FindSecretsResponse {
            variables: variables.collect(),
        })
    }

    async fn standing(&self, cluster: &ClusterName, attempt: AttemptId) -> Result<Standing, Status> {
        let unavailable = |error: ApplyError| Status::unavailable(error.to_string());
        let asked = cluster.clone();
        let live = self
            .services
            .handle
            .query(move |control| control.standing(&asked, attempt));
        if let Some(standing) = live.await.map_err(unavailable)? {
            return Ok(standing);
        }
        // The build may be over, and the last lines still on their way.
        let stored = self.services.store.job(attempt.job).await.map_err(|error| {
            tracing::warn!(%error, "it is not known whose an attempt is");
            Status::unavailable("the master cannot use its database at the moment")
        })?;
        let standing = stored.map(|record| record.status.standing(cluster, attempt.epoch));
        Ok(standing.unwrap_or(Standing::None))
    }
}

#[tonic::async_trait]
impl bulk_server::Bulk for Bulk {
    async fn find_wanted(
        &self,
        request: Request<wire::FindWantedRequest>,
    ) -> Result<Response<wire::FindWantedResponse>, Status> {
        let cluster = caller(request.extensions())?;
        let found = Self::find_wanted(self, &cluster, request.into_inner()).await?;
        Ok(Response::new(found))
    }

    async fn find_secrets(
        &self,
        request: Request<wire::FindSecretsRequest>,
    ) -> Result<Response<wire::FindSecretsResponse>, Status> {
        let cluster = caller(request.extensions())?;
        let found = Self::find_secrets(self, &cluster, request.into_inner()).await?;
        Ok(Response::new(found))
    }

    type PushLogsStream = Pin<Box<dyn Stream<Item = Result<wire::LogAcknowledgement, Status>> + Send>>;

    async fn push_logs(
        &self,
        request: Request<Streaming<wire::LogBatch>>,
    ) -> Result<Response<Self::PushLogsStream>, Status> {
        let cluster = caller(request.extensions())?;
        let this = self.clone();
        let acknowledgements = request.into_inner().map(move |batch| {
            let (this, cluster) = (this.clone(), cluster.clone());
            async move { this.take(&cluster, batch?).await }
        });
        // A call that was answered with an error is over: what comes after the error is not read.
        let mut failed = false;
        let until_error = acknowledgements.buffered(BATCHES_AT_ONCE).take_while(move |answer| {
            let goes_on = !failed;
            failed = answer.is_err();
            std::future::ready(goes_on)
        });
        Ok(Response::new(Box::pin(until_error)))
    }
}
