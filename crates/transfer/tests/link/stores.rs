//! From every kind of store to every kind, by every route, on the real servers.
#![allow(dead_code)] // of what the unit tests use of their servers

#[path = "../../src/store/tests/azurite.rs"]
mod azurite;
#[path = "../../src/store/tests/gcs.rs"]
mod gcs;
#[path = "../../src/store/tests/seaweed.rs"]
mod seaweed;

use std::path::Path;
use std::process::Command;

use rand::{Rng, SeedableRng};
use tokio::time::timeout;
use tombolo_artifact::UnpackOptions;
use tombolo_core::attempt::{OutputReference, RouteKind, RouteOutcome};
use tombolo_transfer::store::{ChunkStore, DirectAccess, Owner, Patience, StoreLocation};
use tombolo_transfer::tunnel::Limits;

use crate::embedded;
use crate::places::{PROJECT, Place, grant};
use crate::setting::{DEADLINE, Record, Setting, cluster, name};

/// As the servers of the unit tests name it.
fn owner(member: &str) -> Owner {
    Owner {
        trust_domain: "tombolo.test".to_owned(),
        member: member.to_owned(),
    }
}

/// One server of each kind.
struct Servers {
    s3: seaweed::Server,
    azure: azurite::Server,
    gcs: gcs::Server,
    folder: tempfile::TempDir,
}

const KINDS: [&str; 4] = ["local", "s3", "azure", "gcs"];
const ROUTES: [RouteKind; 4] = [
    RouteKind::Signed,
    RouteKind::Peer,
    RouteKind::ReversePeer,
    RouteKind::Relay,
];

impl Servers {
    async fn start() -> Self {
        let (s3, azure, gcs) = tokio::join!(
            seaweed::Server::start(),
            azurite::Server::start(),
            gcs::Server::start(gcs::Strictness::Signed)
        );
        let folder = tempfile::tempdir().unwrap();
        Self { s3, azure, gcs, folder }
    }

    fn location(&self, kind: &str, prefix: &str) -> StoreLocation {
        match kind {
            "s3" => self.s3.location(prefix),
            "azure" => self.azure.location(prefix),
            "gcs" => self.gcs.location(prefix),
            _ => StoreLocation::local(self.folder.path().join(prefix)),
        }
    }
}

/// A MiB without a pattern.
fn noise(seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    rand_chacha::ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// The sums of a folder's files, by a program that knows nothing of ours.
fn sums(folder: &Path) -> String {
    let listed = Command::new("sh")
        .args(["-c", "find . -type f | LC_ALL=C sort | xargs sha256sum"])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(listed.status.success(), "{listed:?}");
    String::from_utf8(listed.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_all_kinds_by_all_routes() {
    let servers = Servers::start().await;
    let setting = Setting::new(Limits::default(), Record::Nothing).await;
    let original = tempfile::tempdir().unwrap();
    for file in 0..3_u8 {
        std::fs::write(original.path().join(format!("file-{file}")), noise(file.into())).unwrap();
    }
    std::fs::create_dir(original.path().join("folder")).unwrap();
    std::fs::write(original.path().join("folder/words"), "words ".repeat(100_000)).unwrap();
    let expected = sums(original.path());
    assert_eq!(expected.lines().count(), 4);
    let mut moved = 0;
    for from in KINDS {
        let location = servers.location(from, &format!("from-{from}"));
        let access = match from {
            "local" => DirectAccess::never(),
            _ => DirectAccess::default(),
        };
        let mut source = Place::in_store(&setting, cluster(from), &location, &access).await;
        source.dials_back();
        source.serve_tunnels(&setting);
        let address = source.serve_directly().await;
        let output = source
            .store
            .pack(PROJECT, original.path(), Default::default())
            .await
            .unwrap();
        for to in KINDS {
            for route in ROUTES {
                let location = servers.location(to, &format!("{from}-{to}-{}", route.as_str()));
                let mut reader = Place::in_store(&setting, cluster("reader"), &location, &DirectAccess::never()).await;
                reader.open_door().await;
                let grant = grant(&setting.signer, &reader.member, output.manifest);
                let source = match route {
                    RouteKind::Signed => reader.links.signed(name(from), Some(address.clone()), false, grant),
                    RouteKind::Peer => reader.links.peer(name(from), address.clone(), grant),
                    RouteKind::ReversePeer => reader.links.reverse(name(from), grant),
                    _ => reader.links.relay(name(from), grant),
                };
                let pulled = timeout(DEADLINE, reader.pull(output.manifest, vec![source]))
                    .await
                    .unwrap();
                if (from, route) == ("local", RouteKind::Signed) {
                    let reason = pulled.unwrap_err().to_string();
                    assert!(reason.contains("through its agent only"), "{reason}");
                    continue;
                }
                let receipt = pulled.unwrap_or_else(|error| panic!("{from} to {to} by {}: {error}", route.as_str()));
                assert_eq!(receipt.progress.route, route, "{from} to {to}");
                assert_eq!(receipt.routes[0].outcome, RouteOutcome::Used, "{from} to {to}");
                assert_eq!(
                    arrived(&location, output).await,
                    expected,
                    "{from} to {to} by {}",
                    route.as_str()
                );
                moved += 1;
            }
        }
    }
    assert_eq!(moved, 4 * 4 * 4 - 4, "a folder signs nothing");
}

/// The sums of what is in a store, as a program that has just started finds it.
async fn arrived(location: &StoreLocation, output: OutputReference) -> String {
    let owner = Owner {
        trust_domain: tombolo_identity::member::TrustDomain::default().to_string(),
        member: cluster("reader").to_string(),
    };
    let store = ChunkStore::open(location, &owner, Patience::default()).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let into = folder.path().join("output");
    let manifest = store
        .unpack(PROJECT, output.manifest, &into, UnpackOptions::default())
        .await
        .unwrap();
    assert_eq!(manifest.reference(), output);
    sums(&into)
}
