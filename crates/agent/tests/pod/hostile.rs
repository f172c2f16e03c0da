//! What a pod that is not ours any more can do with its token, and with what is signed for it.

use bytes::Bytes;
use secrecy::ExposeSecret;
use tombolo_agent::executor::Material;
use tombolo_agent::supervisor::Specification;
use tombolo_artifact::{BorrowedChunk, Chunk, ChunkSink, Manifest, PackLimits, StoredChunk};
use tombolo_core::name::ClusterName;
use tombolo_identity::member::Member;
use tombolo_identity::tls;
use tombolo_identity::transport::{Address, Proxy, connect};
use tombolo_identity::trust::Trust;
use tombolo_proto::courier::v1 as wire;
use tombolo_proto::courier::v1::courier_client::CourierClient;
use tombolo_proto::courier::v1::prepare_download_response::Way as DownloadRoute;
use tombolo_proto::courier::v1::prepare_upload_response::Way;
use tombolo_transfer::direct::{Client, Deadlines, Failure, SignedRequest, UploadTerms, Written};
use tombolo_transfer::remote::uploads;
use tombolo_transfer::store::DirectAccess;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use crate::agent::specification;
use crate::direct::{PROJECT, Port, bucket, is_ready};
use crate::life::noise;
use crate::seaweed::process::Server;
use crate::setting::SOON;

/// Signatures that live at once, for one attempt.
const LIVE_UPLOADS: usize = 32;

/// Somebody with a courier's token.
struct Thief {
    channel: Channel,
    token: String,
    store: Client,
}

impl Thief {
    async fn new(agent: &Port, attempt: &Specification) -> Self {
        let member = Member::Cluster(ClusterName::new("east").unwrap());
        let tls = tls::anonymous(&Trust::from_pem(&agent.trust).unwrap(), &member).unwrap();
        let address = Address::parse(&format!("127.0.0.1:{}", agent.port)).unwrap();
        let token = agent.couriers.token(attempt.attempt);
        Self {
            channel: connect(&[address], tls, &Proxy::none()).await.unwrap(),
            token: token.expose_secret().to_owned(),
            store: Client::new(None, Deadlines::default()).unwrap(),
        }
    }

    fn client(&self) -> CourierClient<Channel> {
        CourierClient::new(self.channel.clone())
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        let token = format!("Bearer {}", self.token).parse().unwrap();
        request.metadata_mut().insert("authorization", token);
        request
    }

    async fn prepare(&self, stored: &StoredChunk, terms: UploadTerms) -> Result<Way, Status> {
        let message = wire::PrepareUploadRequest {
            digest: stored.reference().digest.as_bytes().to_vec(),
            bytes: terms.bytes,
            sha256: terms.sha256.to_vec(),
            md5: Vec::new(),
        };
        let answer = self.client().prepare_upload(self.request(message)).await?;
        Ok(answer.into_inner().way.unwrap())
    }

    async fn signed(&self, stored: &StoredChunk) -> SignedRequest {
        match self.prepare(stored, UploadTerms::of(&stored.to_bytes())).await.unwrap() {
            Way::Signed(request) => parse(&request),
            other => panic!("{other:?}"),
        }
    }

    async fn confirm(&self, stored: &StoredChunk) -> bool {
        let digest = stored.reference().digest.as_bytes().to_vec();
        let request = self.request(wire::ConfirmUploadRequest { digest });
        self.client().confirm_upload(request).await.unwrap().into_inner().stored
    }

    async fn read(&self, manifest: &Manifest, chunk: u64) -> Result<DownloadRoute, Status> {
        let manifest = manifest.digest().as_bytes().to_vec();
        let request = self.request(wire::PrepareDownloadRequest { manifest, chunk });
        let answer = self.client().prepare_download(request).await?;
        Ok(answer.into_inner().way.unwrap())
    }

    async fn put_manifest(&self, manifest: &Manifest) -> Result<(), Status> {
        let data = manifest.encoded().clone();
        let request = self.request(futures::stream::iter([wire::ManifestUpload { data }]));
        self.client().put_manifest(request).await.map(drop)
    }
}

fn parse(request: &wire::SignedRequest) -> SignedRequest {
    let headers = request.headers.iter();
    SignedRequest::parse(
        &request.url,
        headers.map(|header| (&header.name[..], &header.value[..])),
    )
    .unwrap()
}

struct Packed(Vec<StoredChunk>);

impl ChunkSink for Packed {
    fn chunk(&mut self, chunk: BorrowedChunk<'_>) -> std::io::Result<()> {
        self.0.push(StoredChunk::encode(&chunk.to_chunk()));
        Ok(())
    }
}

fn pack(bytes: usize) -> (Manifest, Vec<StoredChunk>) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("noise"), noise(bytes)).unwrap();
    let mut packed = Packed(Vec::new());
    let manifest = tombolo_artifact::pack(folder.path(), PackLimits::default(), &mut packed).unwrap();
    (manifest, packed.0)
}

fn chunk(bytes: usize) -> StoredChunk {
    StoredChunk::encode(&Chunk::new(Bytes::from(noise(bytes))))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_gets_no_further_than_its_own_attempt() {
    let server = Server::start(is_ready).await;
    let location = bucket(server.address, "hostile");
    let agent = Port::open(&location, &DirectAccess::default()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "an input").unwrap();
    let input = agent
        .store
        .pack(PROJECT, folder.path(), PackLimits::default())
        .await
        .unwrap();
    let input = agent.store.get_manifest(PROJECT, input.manifest).await.unwrap();
    let material = Material {
        folder: "inputs/a".to_owned(),
        manifest: input.digest(),
        optional: false,
        paths: Vec::new(),
    };
    let attempt = specification("true");
    let _visit = agent.expect(&attempt, vec![material]);
    let thief = Thief::new(&agent, &attempt).await;
    uploads_are_what_they_were_signed_as(&thief).await;
    reads_are_of_inputs(&agent, &thief, &input).await;
    manifests_need_their_chunks(&thief).await;
    long_chunks_come_in_one_call(&thief).await;
    few_signatures_live(&thief).await;
    let reason = "no\nway ".repeat(1000);
    let renounced = thief.request(wire::RenounceStoreRequest { reason });
    thief.client().renounce_store(renounced).await.unwrap();
    assert!(matches!(
        thief.read(&input, 0).await,
        Ok(DownloadRoute::ThroughAgent(_))
    ));
    let late = chunk(100);
    let way = thief.prepare(&late, UploadTerms::of(&late.to_bytes())).await;
    assert!(matches!(way, Ok(Way::ThroughAgent(_))), "{way:?}");
    agent.couriers.dismiss(attempt.attempt);
    let refused = thief.prepare(&late, UploadTerms::of(&late.to_bytes())).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
}

async fn uploads_are_what_they_were_signed_as(thief: &Thief) {
    let stored = chunk(10_000);
    let good = UploadTerms::of(&stored.to_bytes());
    for bytes in [0, (16 << 20) + 2, u64::MAX] {
        let refused = thief.prepare(&stored, UploadTerms { bytes, ..good }).await;
        assert_eq!(refused.unwrap_err().code(), Code::InvalidArgument, "{bytes}");
    }
    let request = thief.signed(&stored).await;
    let other = thief.store.put(&request, &chunk(10_000).to_bytes()).await;
    assert!(
        matches!(other, Err(Failure::Refused(_) | Failure::Busy(_))),
        "{other:?}"
    );
    assert!(!thief.confirm(&stored).await);
    let request = thief.signed(&stored).await;
    assert_eq!(thief.store.put(&request, &stored.to_bytes()).await, Ok(Written::Stored));
    assert!(thief.confirm(&stored).await);
    assert_eq!(
        thief.store.put(&request, &stored.to_bytes()).await,
        Ok(Written::Occupied)
    );
    assert!(matches!(thief.prepare(&stored, good).await, Ok(Way::Present(_))));
}

async fn reads_are_of_inputs(agent: &Port, thief: &Thief, input: &Manifest) {
    let Ok(DownloadRoute::Signed(signed)) = thief.read(input, 0).await else {
        panic!("the input cannot be read");
    };
    let reference = input.chunks().next().unwrap();
    assert_eq!(
        (&signed.digest[..], signed.length),
        (&reference.digest.as_bytes()[..], reference.length)
    );
    let read = thief
        .store
        .get(&parse(&signed.request.unwrap()), 1 << 20)
        .await
        .unwrap();
    StoredChunk::verify(read, reference).unwrap();
    assert_eq!(thief.read(input, 1).await.unwrap_err().code(), Code::OutOfRange);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("file"), "of another job").unwrap();
    let foreign = agent
        .store
        .pack(PROJECT, folder.path(), PackLimits::default())
        .await
        .unwrap();
    let foreign = agent.store.get_manifest(PROJECT, foreign.manifest).await.unwrap();
    assert_eq!(
        thief.read(&foreign, 0).await.unwrap_err().code(),
        Code::PermissionDenied
    );
}

async fn manifests_need_their_chunks(thief: &Thief) {
    let (manifest, chunks) = pack(5 << 20);
    let mut requests = Vec::new();
    for stored in &chunks {
        requests.push(thief.signed(stored).await);
    }
    let early = thief.put_manifest(&manifest).await.unwrap_err();
    assert_eq!(early.code(), Code::FailedPrecondition, "{early}");
    for (request, stored) in requests.iter().zip(&chunks) {
        assert_eq!(thief.store.put(request, &stored.to_bytes()).await, Ok(Written::Stored));
    }
    // Nothing of it was confirmed: the agent looks itself.
    thief.put_manifest(&manifest).await.unwrap();
}

/// Those that wait for memory must not keep those from going on that have it.
async fn long_chunks_come_in_one_call(thief: &Thief) {
    let chunks: Vec<_> = (0..5).map(|_| chunk(16 << 20)).collect();
    let messages: Vec<_> = chunks.iter().cloned().flat_map(uploads).collect();
    let request = thief.request(futures::stream::iter(messages));
    let put = async { thief.client().put_chunks(request).await };
    tokio::time::timeout(SOON, put)
        .await
        .expect("the agent stands still")
        .unwrap();
    for stored in &chunks {
        let way = thief.prepare(stored, UploadTerms::of(&stored.to_bytes())).await;
        assert!(matches!(way, Ok(Way::Present(_))), "{way:?}");
    }
}

async fn few_signatures_live(thief: &Thief) {
    let mut signed = 0;
    for number in 0..LIVE_UPLOADS + 8 {
        let stored = chunk(100 + number);
        match thief
            .prepare(&stored, UploadTerms::of(&stored.to_bytes()))
            .await
            .unwrap()
        {
            Way::Signed(_) => signed += 1,
            Way::ThroughAgent(_) => {}
            Way::Present(_) => panic!("nobody has sent it"),
        }
    }
    assert_eq!(signed, LIVE_UPLOADS);
}
