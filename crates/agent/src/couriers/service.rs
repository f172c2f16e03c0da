//! The gRPC service for couriers. Wire types stop here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;
use tombolo_core::attempt::GeneratedFile;
use tombolo_core::id::AttemptId;
use tombolo_core::time::Timestamp;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_server::Courier;
use tombolo_runtime::clock;
use tombolo_transfer::peer::ChunkService;
use tonic::{Request, Response, Status, Streaming};

use super::Couriers;
use super::attend::{Inputs, attend};
use super::signing::Signing;
use super::upload::Uploads;
use super::visit::{Expected, Wanted};
use crate::executor::cache::CacheFolder;
use crate::executor::{Collected, Urgency};
use crate::supervisor::Exit;
use crate::xunit;

/// Orders that may wait until the courier takes them.
const ORDERS_WAITING: usize = 16;
/// What is said of test results that could not be read, at most.
const UNREADABLE_LIMIT: usize = 100;

/// Serves couriers.
pub(super) struct Service {
    couriers: Couriers,
    uploads: Uploads,
    signing: Signing,
}

impl Service {
    /// `chunks`: the inputs that couriers may read.
    pub(super) fn new(couriers: Couriers, chunks: ChunkService) -> Self {
        let store = couriers.shared.store.clone();
        Self {
            couriers,
            uploads: Uploads::new(store.clone()),
            signing: Signing::new(store, chunks),
        }
    }

    fn caller<T>(&self, request: &Request<T>) -> Result<(AttemptId, Arc<Expected>), Status> {
        self.couriers.caller(request.metadata())
    }
}

#[tonic::async_trait]
impl Courier for Service {
    type AttendStream = Inputs;
    type SessionStream = Pin<Box<dyn Stream<Item = Result<wire::Order, Status>> + Send>>;

    async fn describe(&self, request: Request<wire::DescribeRequest>) -> Result<Response<wire::Description>, Status> {
        let (_, expected) = self.caller(&request)?;
        let duty = &expected.duty;
        let command = serde_json::to_vec(&duty.command).map_err(|error| Status::internal(error.to_string()))?;
        let material = |material: &crate::executor::Material| wire::Material {
            folder: material.folder.clone(),
            manifest: material.manifest.as_bytes().to_vec(),
            optional: material.optional,
            paths: material.paths.clone(),
        };
        let cache = |cache: CacheFolder| wire::CacheFolder {
            limit_bytes: cache.limit_bytes,
            replaces: cache.replaces,
        };
        Ok(Response::new(wire::Description {
            command,
            job_file: duty.job_file.clone(),
            materials: duty.materials.iter().map(material).collect(),
            cache: duty.cache.map(cache),
            secrets: duty.secrets.exposed().into_iter().collect(),
        }))
    }

    async fn session(
        &self,
        request: Request<Streaming<wire::Report>>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (attempt, expected) = self.caller(&request)?;
        let (sender, orders) = mpsc::channel(ORDERS_WAITING);
        let (number, wanted) = expected.open_session();
        let session = Session {
            attempt,
            expected,
            number,
            wanted,
            orders: sender,
            told: Wanted::default(),
        };
        // Ends with the courier's stream, with the next session, or when the attempt is dismissed.
        tokio::spawn(session.run(request.into_inner()));
        Ok(Response::new(Box::pin(ReceiverStream::new(orders))))
    }

    async fn hold_lease(
        &self,
        request: Request<wire::HoldLeaseRequest>,
    ) -> Result<Response<wire::HoldLeaseResponse>, Status> {
        let (_, expected) = self.caller(&request)?;
        let held = expected.held().unwrap_or_default();
        let remaining = held.until.saturating_sub(clock::now().steady);
        let milliseconds = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(Response::new(wire::HoldLeaseResponse {
            remaining_milliseconds: milliseconds(remaining),
            length_milliseconds: milliseconds(held.length),
        }))
    }

    async fn attend(&self, request: Request<Streaming<wire::Attendance>>) -> Result<Response<Inputs>, Status> {
        let (attempt, expected) = self.caller(&request)?;
        Ok(Response::new(attend(attempt, &expected, request.into_inner()).await?))
    }

    async fn find_missing(
        &self,
        request: Request<wire::FindMissingRequest>,
    ) -> Result<Response<wire::FindMissingResponse>, Status> {
        let (_, expected) = self.caller(&request)?;
        let digests = request.into_inner().digests.into_iter().map(Into::into).collect();
        let missing = self.uploads.missing(expected.duty.project, digests).await?;
        Ok(Response::new(wire::FindMissingResponse { missing }))
    }

    async fn put_chunks(
        &self,
        request: Request<Streaming<wire::ChunkUpload>>,
    ) -> Result<Response<wire::PutChunksResponse>, Status> {
        let (_, expected) = self.caller(&request)?;
        let project = expected.duty.project;
        self.uploads.chunks(project, request.into_inner()).await?;
        Ok(Response::new(wire::PutChunksResponse {}))
    }

    async fn describe_store(
        &self,
        request: Request<wire::DescribeStoreRequest>,
    ) -> Result<Response<wire::StoreDescription>, Status> {
        self.caller(&request)?;
        Ok(Response::new(self.signing.describe().await?))
    }

    async fn prepare_upload(
        &self,
        request: Request<wire::PrepareUploadRequest>,
    ) -> Result<Response<wire::PrepareUploadResponse>, Status> {
        let (attempt, expected) = self.caller(&request)?;
        let way = self.signing.upload(attempt, &expected, &request.into_inner()).await?;
        Ok(Response::new(wire::PrepareUploadResponse { way: Some(way) }))
    }

    async fn confirm_upload(
        &self,
        request: Request<wire::ConfirmUploadRequest>,
    ) -> Result<Response<wire::ConfirmUploadResponse>, Status> {
        let (_, expected) = self.caller(&request)?;
        let stored = self.signing.confirm(&expected, &request.into_inner().digest).await?;
        Ok(Response::new(wire::ConfirmUploadResponse { stored }))
    }

    async fn prepare_download(
        &self,
        request: Request<wire::PrepareDownloadRequest>,
    ) -> Result<Response<wire::PrepareDownloadResponse>, Status> {
        let (attempt, expected) = self.caller(&request)?;
        let way = self.signing.download(attempt, &expected, &request.into_inner()).await?;
        Ok(Response::new(wire::PrepareDownloadResponse { way: Some(way) }))
    }

    async fn renounce_store(
        &self,
        request: Request<wire::RenounceStoreRequest>,
    ) -> Result<Response<wire::RenounceStoreResponse>, Status> {
        let (attempt, expected) = self.caller(&request)?;
        self.signing.renounce(attempt, &expected, &request.into_inner().reason);
        Ok(Response::new(wire::RenounceStoreResponse {}))
    }

    async fn put_manifest(
        &self,
        request: Request<Streaming<wire::ManifestUpload>>,
    ) -> Result<Response<wire::PutManifestResponse>, Status> {
        let (_, expected) = self.caller(&request)?;
        let project = expected.duty.project;
        self.signing.settle(&expected).await?;
        let output = self.uploads.manifest(project, request.into_inner()).await?;
        Ok(Response::new(wire::PutManifestResponse {
            manifest: output.manifest.as_bytes().to_vec(),
            bytes: output.bytes,
            files: output.files,
        }))
    }

    async fn finish(&self, request: Request<wire::FinishRequest>) -> Result<Response<wire::FinishResponse>, Status> {
        use wire::finish_request::{Cache, Output};
        let (attempt, expected) = self.caller(&request)?;
        let wire::FinishRequest {
            output,
            tests,
            cache,
            generated,
        } = request.into_inner();
        let output = match output {
            Some(Output::Manifest(manifest)) => {
                Ok(Some(self.uploads.reference(expected.duty.project, &manifest).await?))
            }
            Some(Output::Nothing(_)) => Ok(None),
            Some(Output::Refused(reason)) => Err(reason),
            None => return Err(Status::invalid_argument("it is not said what became of the output")),
        };
        let cache = match cache.filter(|_| expected.duty.cache.is_some()) {
            Some(Cache::KeptCache(manifest)) => {
                Ok(Some(self.uploads.reference(expected.duty.project, &manifest).await?))
            }
            Some(Cache::RefusedCache(reason)) => Err(reason),
            None => Ok(None),
        };
        let tests = tests.unwrap_or_default();
        let collected = Collected {
            output,
            cache,
            tests: xunit::Results {
                tests: tests.tests,
                failed: tests.failed,
                unreadable: tests.unreadable.into_iter().take(UNREADABLE_LIMIT).collect(),
            },
            generated: generated.map(GeneratedFile::try_from).transpose()?,
        };
        recorded(attempt, expected.finish(collected))?;
        expected.ledger.tell(attempt);
        Ok(Response::new(wire::FinishResponse {}))
    }
}

/// One session with a courier.
struct Session {
    attempt: AttemptId,
    expected: Arc<Expected>,
    number: u64,
    wanted: watch::Receiver<Wanted>,
    orders: mpsc::Sender<Result<wire::Order, Status>>,
    told: Wanted,
}

impl Session {
    async fn run(mut self, mut reports: Streaming<wire::Report>) {
        let _heard = self.expected.contact.heard();
        if let Err(status) = self.serve(&mut reports).await {
            tracing::debug!(attempt = %self.attempt, %status, "the session with a courier is over");
            let _ = self.orders.try_send(Err(status));
        }
    }

    async fn serve(&mut self, reports: &mut Streaming<wire::Report>) -> Result<(), Status> {
        // The courier learns at once where the log goes on.
        self.report(wire::report::Report::Lines(wire::Lines::default())).await?;
        loop {
            self.tell().await?;
            tokio::select! {
                changed = self.wanted.changed() => {
                    changed.map_err(|_| Status::unavailable("the attempt is gone"))?;
                }
                report = reports.message() => match report? {
                    Some(wire::Report { report: Some(report) }) => self.report(report).await?,
                    Some(wire::Report { report: None }) => {
                        return Err(Status::invalid_argument("a report says nothing"));
                    }
                    None => return Ok(()),
                },
            }
        }
    }

    /// Hands on what is wanted and was not told in this session.
    async fn tell(&mut self) -> Result<(), Status> {
        use wire::order::Order;
        let wanted = *self.wanted.borrow_and_update();
        if wanted.dismissed || wanted.session != self.number {
            return Err(Status::cancelled("another session has taken the place of this one"));
        }
        // In this order: a command that is to end does not start.
        if wanted.stop != self.told.stop
            && let Some(urgency) = wanted.stop
        {
            let immediately = urgency == Urgency::Immediate;
            self.send(Order::Stop(wire::Stop { immediately })).await?;
        }
        if wanted.begin && !self.told.begin && wanted.stop.is_none() {
            let exclusive = self.expected.duty.command.exclusive;
            self.send(Order::Begin(wire::Begin { exclusive })).await?;
        }
        for session in self.expected.entering.after(self.told.entering) {
            self.send(Order::Enter(wire::Enter { session })).await?;
        }
        self.told = wanted;
        Ok(())
    }

    async fn report(&self, report: wire::report::Report) -> Result<(), Status> {
        use wire::report::Report;
        match report {
            Report::Staged(_) => self.expected.staged(),
            Report::Started(started) => {
                let expected = Arc::clone(&self.expected);
                self.record(move || expected.started(Timestamp(started.started_at)))
                    .await?;
            }
            Report::Lines(lines) => {
                let expected = Arc::clone(&self.expected);
                let texts = lines
                    .lines
                    .into_iter()
                    .map(|line| (Timestamp(line.at), line.text))
                    .collect();
                let next_line = self.record(move || expected.lines(lines.first_line, texts)).await?;
                self.acknowledge(next_line).await?;
            }
            Report::Exited(exited) => {
                let exit: Exit = serde_json::from_slice(&exited.exit)
                    .map_err(|error| Status::invalid_argument(format!("this is no exit: {error}")))?;
                let expected = Arc::clone(&self.expected);
                if let Err(next_line) = self.record(move || expected.exited(exit)).await? {
                    self.acknowledge(next_line).await?;
                }
            }
        }
        Ok(())
    }

    /// Disks can be slow: not on a thread that serves connections.
    async fn record<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, Status> {
        let done = tokio::task::spawn_blocking(work).await;
        recorded(self.attempt, done.map_err(io::Error::other).flatten())
    }

    async fn acknowledge(&self, next_line: u64) -> Result<(), Status> {
        self.send(wire::order::Order::Acknowledged(wire::Acknowledged { next_line }))
            .await
    }

    async fn send(&self, order: wire::order::Order) -> Result<(), Status> {
        let order = wire::Order { order: Some(order) };
        let sent = self.orders.send(Ok(order)).await;
        sent.map_err(|_| Status::cancelled("the courier is gone"))
    }
}

/// A disk that fails may work again: the courier repeats what was not acknowledged.
fn recorded<T>(attempt: AttemptId, result: io::Result<T>) -> Result<T, Status> {
    result.map_err(|error| match error.kind() {
        io::ErrorKind::FileTooLarge => Status::resource_exhausted(error.to_string()),
        _ => {
            tracing::error!(%attempt, %error, "what a courier said cannot be recorded");
            Status::unavailable("the agent cannot record this at present")
        }
    })
}
