//! Members with stores: what they have, and how they serve it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tombolo_artifact::PackLimits;
use tombolo_core::attempt::OutputReference;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;
use tombolo_core::time::Timestamp;
use tombolo_identity::grant::{Grant, Signer};
use tombolo_identity::member::Member;
use tombolo_identity::tls::Identity;
use tombolo_identity::transport::{Address, Connections, Proxy, http2};
use tombolo_transfer::Bandwidth;
use tombolo_transfer::peer::{ChunkService, Dialler, Door, Links, serve_offered};
use tombolo_transfer::pull::{self, Error, Progress, Puller, Receipt, Request, Source};
use tombolo_transfer::store::{ChunkStore, DirectAccess, Owner, Patience, StoreLocation};
use tonic::service::Routes;
use tonic::transport::Channel;

use crate::setting::{Setting, listen, now};

/// The project of all artifacts here.
pub(crate) const PROJECT: ProjectId = ProjectId::from_u128(42);
/// Pulls that cannot succeed end soon.
const SOON: pull::Patience = pull::Patience {
    request: Duration::from_secs(10),
    stalled: Duration::from_secs(2),
};

/// A member: its identity, its bulk connection, its store on a local folder.
pub(crate) struct Place {
    pub(crate) member: Member,
    pub(crate) identity: Identity,
    pub(crate) bulk: Channel,
    pub(crate) store: ChunkStore,
    pub(crate) links: Links,
    pub(crate) service: ChunkService,
    /// Those that this place dialled to serve.
    pub(crate) connections: Connections,
    folder: TempDir,
    tasks: JoinSet<()>,
}

impl Place {
    pub(crate) async fn new(setting: &Setting, member: Member) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = StoreLocation::local(folder.path());
        Self::with(setting, member, folder, &location, &DirectAccess::never()).await
    }

    /// A member whose store is there.
    pub(crate) async fn in_store(
        setting: &Setting,
        member: Member,
        location: &StoreLocation,
        access: &DirectAccess,
    ) -> Self {
        Self::with(setting, member, tempfile::tempdir().unwrap(), location, access).await
    }

    async fn with(
        setting: &Setting,
        member: Member,
        folder: TempDir,
        location: &StoreLocation,
        access: &DirectAccess,
    ) -> Self {
        let identity = setting.identity(&member);
        let bulk = setting.bulk(&identity).await;
        let owner = Owner {
            trust_domain: setting.trust.domain().to_string(),
            member: member.to_string(),
        };
        let store = ChunkStore::open_direct(location, access, &owner, Patience::default());
        let store = store.await.unwrap();
        let links = Links::new(identity.clone(), bulk.clone(), Proxy::none());
        let service = ChunkService::new(store.clone(), identity.clone());
        Self {
            member,
            identity,
            bulk,
            store,
            links,
            service,
            connections: Connections::default(),
            folder,
            tasks: JoinSet::new(),
        }
    }

    /// The same member with the same store, in a program that has just started.
    pub(crate) async fn again(&self, setting: &Setting) -> Self {
        let location = StoreLocation::local(self.folder.path());
        Self::in_store(setting, self.member.clone(), &location, &DirectAccess::never()).await
    }

    /// Serves peers directly.
    pub(crate) async fn serve_directly(&mut self) -> Address {
        let (acceptor, address) = listen(&self.identity, &Connections::default()).await;
        let service = self.service.server();
        self.tasks.spawn(async move {
            http2::server()
                .add_service(service)
                .serve_with_incoming(acceptor)
                .await
                .unwrap();
        });
        address
    }

    /// Dials those who ask for it.
    pub(crate) fn dials_back(&mut self) {
        self.sends_at_most(Bandwidth::default());
    }

    /// Dials those who ask for it, and sends no faster than this.
    pub(crate) fn sends_at_most(&mut self, bandwidth: Bandwidth) {
        let dialler = Dialler::new(self.identity.clone(), Proxy::none(), self.connections.clone());
        self.service = ChunkService::with_dialler(self.store.clone(), self.identity.clone(), dialler, bandwidth);
    }

    /// Lets others dial it to serve it.
    pub(crate) async fn open_door(&mut self) -> Address {
        let (mut acceptor, address) = listen(&self.identity, &Connections::default()).await;
        let reverse = acceptor.take_reverse();
        let door = Door::new(&address.to_string());
        self.links = self.links.clone().with_door(door.clone());
        let service = self.service.server();
        self.tasks.spawn(async move {
            let serving = http2::server().add_service(service).serve_with_incoming(acceptor);
            let (served, ()) = tokio::join!(serving, door.answer(reverse, CancellationToken::new()));
            served.unwrap();
        });
        address
    }

    /// Tells others an address at which it cannot be dialled.
    pub(crate) fn door_at(&mut self, address: &str) {
        self.links = self.links.clone().with_door(Door::new(address));
    }

    /// Serves in every tunnel that is offered.
    pub(crate) fn serve_tunnels(&mut self, setting: &Setting) {
        let mut offers = setting.offers.listen(self.member.cluster().unwrap().as_str());
        let (bulk, identity, service) = (self.bulk.clone(), self.identity.clone(), self.service.clone());
        self.tasks.spawn(async move {
            let mut serving = JoinSet::new();
            while let Some(tunnel) = offers.recv().await {
                let (bulk, identity, service) = (bulk.clone(), identity.clone(), service.clone());
                serving.spawn(async move {
                    let connections = Connections::default();
                    // Tunnels that are cut end with an error; what it means is seen at the other end.
                    serve_offered(
                        bulk,
                        tunnel,
                        &identity,
                        Routes::new(service.server()),
                        &connections,
                        CancellationToken::new(),
                    )
                    .await
                    .ok();
                });
            }
        });
    }

    pub(crate) async fn pack(&self, seed: u64, files: u64) -> (OutputReference, Vec<u8>) {
        pack(&self.store, seed, files).await
    }

    /// The files of the store whose path contains the text.
    pub(crate) fn objects(&self, containing: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(self.folder.path(), containing, &mut found);
        found.sort();
        found
    }

    pub(crate) async fn pull(&self, manifest: Digest, sources: Vec<Source>) -> Result<Receipt, Error> {
        self.pull_watching(manifest, sources, |_| {}).await
    }

    pub(crate) async fn pull_watching(
        &self,
        manifest: Digest,
        sources: Vec<Source>,
        progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Receipt, Error> {
        let request = Request {
            project: PROJECT,
            manifest,
            sources,
        };
        Puller::new(self.store.clone(), SOON).pull(request, progress).await
    }
}

/// Packs a folder with so many files of random bytes (seeded, 1 MiB each); gives their contents too.
pub(crate) async fn pack(store: &ChunkStore, seed: u64, files: u64) -> (OutputReference, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    let mut content = Vec::new();
    for file in 0..files {
        let mut bytes = vec![0; 1 << 20];
        random.fill_bytes(&mut bytes);
        std::fs::write(folder.path().join(format!("{file:04}")), &bytes).unwrap();
        content.extend_from_slice(&bytes);
    }
    (
        store.pack(PROJECT, folder.path(), PackLimits::default()).await.unwrap(),
        content,
    )
}

fn collect(folder: &Path, containing: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, containing, found);
        } else if path.to_string_lossy().contains(containing) {
            found.push(path);
        }
    }
}

/// The right of a member to read an artifact.
pub(crate) fn grant(signer: &Signer, reader: &Member, manifest: Digest) -> Vec<u8> {
    grant_until(signer, reader, manifest, Timestamp(now().0 + 60_000))
}

pub(crate) fn grant_until(signer: &Signer, reader: &Member, manifest: Digest, expires_at: Timestamp) -> Vec<u8> {
    signer
        .sign(&Grant {
            reader: reader.clone(),
            project: PROJECT,
            manifest,
            expires_at,
        })
        .unwrap()
}

/// How an attempt to pull failed, in words.
pub(crate) fn failure(outcome: Result<Receipt, Error>) -> String {
    outcome.expect_err("the pull must fail").to_string()
}
