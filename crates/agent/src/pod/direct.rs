//! Chunks between the pod and the store without the agent, by requests that the agent has signed.
//!
//! The supervisor knows nothing of it: it asks the courier as it would ask the agent, and has no address of the store. What cannot
//! go directly goes through the agent, chunk by chunk; if the store cannot be used from here, all of it, from then on.

mod download;
mod upload;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use http::HeaderValue;
use tokio::sync::OnceCell;
use tokio::time::timeout;
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_transfer::direct::{Client, Deadlines, Failure, SignedRequest};
use tombolo_transfer::peer::PIECE_BYTES;
use tonic::metadata::MetadataValue;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::incoming::Incoming;

/// The memory of chunks under way: one of the longest kind, and two average ones.
const MEMORY_BYTES: usize = MAXIMUM_STORED_CHUNK_BYTES as usize + (8 << 20);
/// The largest message of the pod: a piece of a chunk with its digest.
const MESSAGE_BYTES: usize = 2 * PIECE_BYTES;
/// How long the agent may take for an answer. The pod repeats what it has asked.
const AGENT_DEADLINE: Duration = Duration::from_secs(60);
/// After how many chunks in a row that did not come through none is tried any more: each has cost a minute.
const IN_VAIN: u32 = 2;

/// The way to the store. Cheap to clone; clones are one.
#[derive(Clone)]
pub(super) struct Direct {
    shared: Arc<Shared>,
}

struct Shared {
    agent: Channel,
    authorization: Option<MetadataValue<tonic::metadata::Ascii>>,
    /// What the agent has said of the store.
    access: OnceCell<Access>,
    /// The store cannot be used from here.
    renounced: AtomicBool,
    in_vain: AtomicU32,
    incoming: Incoming,
    figures: Figures,
}

/// What may go directly.
#[derive(Default)]
struct Access {
    uploads: bool,
    downloads: bool,
    wants_md5: bool,
    client: Option<Client>,
}

/// What went which way.
#[derive(Default)]
struct Figures {
    direct: Traffic,
    through_agent: Traffic,
}

#[derive(Default)]
struct Traffic {
    chunks: AtomicU64,
    bytes: AtomicU64,
}

impl Traffic {
    fn add(&self, bytes: usize) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Direct {
    pub(super) fn new(agent: Channel, authorization: &HeaderValue) -> Self {
        let authorization = MetadataValue::try_from(authorization.as_bytes()).ok();
        Self {
            shared: Arc::new(Shared {
                agent,
                authorization: authorization.map(|mut value| {
                    value.set_sensitive(true);
                    value
                }),
                access: OnceCell::new(),
                renounced: AtomicBool::new(false),
                in_vain: AtomicU32::new(0),
                incoming: Incoming::new(MEMORY_BYTES),
                figures: Figures::default(),
            }),
        }
    }

    /// Whether uploads are to be tried directly.
    pub(super) async fn takes_uploads(&self) -> bool {
        self.shared.access().await.is_some_and(|access| access.uploads)
    }

    /// Whether downloads are to be tried directly.
    pub(super) async fn takes_downloads(&self) -> bool {
        self.shared.access().await.is_some_and(|access| access.downloads)
    }

    /// Says what went which way.
    pub(super) fn tell(&self) {
        let Figures { direct, through_agent } = &self.shared.figures;
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        if count(&direct.chunks) + count(&through_agent.chunks) > 0 {
            tracing::info!(
                direct_chunks = count(&direct.chunks),
                direct_bytes = count(&direct.bytes),
                through_agent_chunks = count(&through_agent.chunks),
                through_agent_bytes = count(&through_agent.bytes),
                "chunks of this pod, as stored"
            );
        }
    }
}

impl Shared {
    /// What the agent says of the store; none if nothing goes directly, or if it does not answer now.
    async fn access(&self) -> Option<&Access> {
        if self.renounced.load(Ordering::Relaxed) {
            return None;
        }
        let asked = self.access.get_or_try_init(|| self.describe()).await;
        asked
            .inspect_err(|status| tracing::debug!(%status, "the agent does not say how its store is reached"))
            .ok()
    }

    async fn describe(&self) -> Result<Access, Status> {
        let request = self.request(wire::DescribeStoreRequest {});
        let answer = within(async { self.client().describe_store(request).await }).await;
        let wire::StoreDescription {
            uploads,
            downloads,
            certificates,
            wants_md5,
        } = match answer {
            Ok(description) => description.into_inner(),
            // An older agent.
            Err(status) if status.code() == Code::Unimplemented => return Ok(Access::default()),
            Err(status) => return Err(status),
        };
        if !(uploads || downloads) {
            return Ok(Access::default());
        }
        let certificates = Some(&certificates[..]).filter(|text| !text.is_empty());
        match Client::new(certificates, Deadlines::default()) {
            Ok(client) => Ok(Access {
                uploads,
                downloads,
                wants_md5,
                client: Some(client),
            }),
            Err(reason) => {
                self.renounce(&reason).await;
                Ok(Access::default())
            }
        }
    }

    /// Who makes requests to the store, unless it is done with.
    fn store(&self) -> Option<&Client> {
        let usable = !self.renounced.load(Ordering::Relaxed);
        self.access.get().filter(|_| usable)?.client.as_ref()
    }

    /// A request that the agent has signed; none if it makes no sense.
    async fn parse(&self, request: &wire::SignedRequest) -> Option<SignedRequest> {
        let headers = request.headers.iter();
        let headers = headers.map(|header| (&header.name[..], &header.value[..]));
        match SignedRequest::parse(&request.url, headers) {
            Ok(request) => Some(request),
            Err(error) => {
                self.renounce(&error.to_string()).await;
                None
            }
        }
    }

    /// What a failure means for all that follows.
    async fn failed(&self, request: &SignedRequest, failure: &Failure) {
        let origin = request.origin();
        match failure {
            Failure::Unreachable(reason) | Failure::Refused(reason) => {
                self.renounce(&format!("{origin}: {reason}")).await;
            }
            Failure::Busy(reason) => {
                tracing::debug!(origin, reason, "a chunk did not come through directly");
                if self.in_vain.fetch_add(1, Ordering::Relaxed) + 1 >= IN_VAIN {
                    self.renounce(&format!("{origin}: {reason}")).await;
                }
            }
            Failure::Missing | Failure::TooLong(_) => {
                tracing::debug!(origin, %failure, "a chunk is not what it should be");
            }
        }
    }

    fn succeeded(&self, bytes: usize) {
        self.in_vain.store(0, Ordering::Relaxed);
        self.figures.direct.add(bytes);
    }

    /// All that follows goes through the agent. Said once, here and to the agent.
    async fn renounce(&self, reason: &str) {
        if self.renounced.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            reason,
            "the store cannot be used from this pod: chunks go through the agent from now on"
        );
        let request = self.request(wire::RenounceStoreRequest {
            reason: reason.to_owned(),
        });
        if let Err(status) = within(async { self.client().renounce_store(request).await }).await {
            tracing::debug!(%status, "the agent was not told of it");
        }
    }

    fn client(&self) -> CourierClient<Channel> {
        CourierClient::new(self.agent.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

/// An answer of the agent, if it comes in time.
async fn within<T>(call: impl Future<Output = Result<T, Status>>) -> Result<T, Status> {
    let answered = timeout(AGENT_DEADLINE, call).await;
    answered.map_err(|_| Status::unavailable("the agent does not answer"))?
}
