//! What every kind of store must do. Each run has a place of its own.

use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::future::join_all;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions};
use tombolo_artifact::chunk::MAXIMUM_STORED_CHUNK_BYTES;
use tombolo_artifact::{ChunkReference, PackLimits, UnpackOptions};
use tombolo_core::id::ProjectId;

use super::gcs::Strictness;
use super::{PROJECT, azurite, chunk, embedded, example_folder, gcs, manifest_of, noise, owner, seaweed};
use crate::store::location::Connected;
use crate::store::{ChunkStore, DirectAccess, Error, Owner, Patience, PutOutcome, StoreLocation};

#[tokio::test]
async fn local_folder() {
    let folder = tempfile::tempdir().unwrap();
    conform(StoreLocation::local(folder.path().join("made/when/needed"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_inside_this_process() {
    let server = embedded::Server::start().await;
    conform(server.location("")).await;
    conform(server.location("some/prefix")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_of_seaweedfs() {
    let server = seaweed::Server::start().await;
    conform(server.location("east")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn azure_of_azurite() {
    let server = azurite::Server::start().await;
    conform(server.location("east")).await;
    conform(server.location_with("by/signature", "rwdl")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gcs_of_its_emulator() {
    let server = gcs::Server::start(Strictness::Signed).await;
    conform(server.location("some/prefix")).await;
}

async fn conform(location: StoreLocation) {
    let place = Place {
        raw: location.connect(&DirectAccess::never()).unwrap(),
        location,
    };
    ownership(&place).await;
    one_of_many_is_the_owner(&place).await;
    conditional_creation(&place).await;
    chunks(&place).await;
    the_largest_chunk(&place).await;
    damage_heals(&place).await;
    other_damage(&place).await;
    lies_do_no_damage(&place).await;
    manifests(&place).await;
    folders(&place).await;
    projects(&place).await;
}

struct Place {
    location: StoreLocation,
    /// The same place without a [`ChunkStore`] before it.
    raw: Connected,
}

impl Place {
    async fn open_as(&self, owner: &Owner) -> Result<ChunkStore, Error> {
        ChunkStore::open(&self.location, owner, Patience::default()).await
    }

    async fn open(&self) -> ChunkStore {
        self.open_as(&owner("east")).await.unwrap()
    }

    fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.raw.objects
    }

    /// The names of all objects below the prefix and `folder`.
    async fn list(&self, folder: &str) -> Vec<Path> {
        let prefix: Path = self.raw.prefix.parts().chain(Path::from(folder).parts()).collect();
        self.objects()
            .list(Some(&prefix))
            .map_ok(|object| object.location)
            .try_collect()
            .await
            .unwrap()
    }

    /// The objects of a chunk: its generations and marks.
    async fn list_chunk(&self, chunk: ChunkReference) -> Vec<String> {
        let digest = chunk.digest.to_string();
        let folder = format!("projects/{PROJECT}/chunks/{}", &digest[..2]);
        let names = self
            .list(&folder)
            .await
            .into_iter()
            .map(|path| path.filename().unwrap().to_owned());
        let mut endings: Vec<_> = names
            .filter_map(|name| Some(name.strip_prefix(&digest)?.to_owned()))
            .collect();
        endings.sort();
        endings
    }

    fn chunk_path(&self, chunk: ChunkReference) -> Path {
        let digest = chunk.digest.to_string();
        let path = format!("projects/{PROJECT}/chunks/{}/{digest}.0", &digest[..2]);
        self.raw.prefix.parts().chain(Path::from(path).parts()).collect()
    }

    /// Replaces an object by what `change` makes of it.
    async fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.objects().get(path).await.unwrap().bytes().await.unwrap().to_vec();
        change(&mut bytes);
        self.objects().put(path, bytes.into()).await.unwrap();
    }
}

async fn ownership(place: &Place) {
    let store = place.open().await;
    assert!(!store.instance().is_empty());
    assert_eq!(place.open().await.instance(), store.instance());
    let strangers = [
        owner("west"),
        Owner {
            trust_domain: "elsewhere.test".to_owned(),
            ..owner("east")
        },
    ];
    for stranger in strangers {
        let error = place.open_as(&stranger).await.unwrap_err();
        let words = "belongs to east of tombolo.test: give each member a place of its own";
        assert!(error.to_string().contains(words), "{error}");
    }
    assert_eq!(place.open().await.instance(), store.instance());
}

/// Who comes at the same time is told to go elsewhere.
async fn one_of_many_is_the_owner(place: &Place) {
    let mark: Path = place.raw.prefix.clone().join("owner");
    place.objects().delete(&mark).await.unwrap();
    let members: Vec<_> = (0..8).map(|number| owner(&format!("member-{number}"))).collect();
    let opened = join_all(members.iter().map(|member| place.open_as(member))).await;
    let (owners, others): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!(owners.len(), 1, "{others:?}");
    for other in others {
        assert!(matches!(other, Err(Error::Owned { .. })), "{other:?}");
    }
    place.objects().delete(&mark).await.unwrap();
}

/// What a store cannot create conditionally, two members could both take for theirs. (That in this process drops the connection
/// instead of an answer: the claim of the owner's mark reckons with it.)
async fn conditional_creation(place: &Place) {
    let path = place.raw.prefix.clone().join("conditional");
    let create = async |text: &'static str| {
        let options = PutOptions::from(PutMode::Create);
        place.objects().put_opts(&path, text.into(), options).await
    };
    create("first").await.unwrap();
    let again = create("second").await;
    assert!(
        matches!(
            again,
            Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Generic { .. })
        ),
        "{again:?}"
    );
    let kept = place.objects().get(&path).await.unwrap().bytes().await.unwrap();
    assert_eq!(&kept[..], b"first");
    place.objects().delete(&path).await.unwrap();
}

/// Without a pattern, so that it is stored as it is.
async fn the_largest_chunk(place: &Place) {
    let store = place.open().await;
    let (chunk, stored) = chunk(&noise(30, 16 << 20));
    assert_eq!(stored.to_bytes().len(), MAXIMUM_STORED_CHUNK_BYTES as usize);
    assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
    let read = store.get_chunk(PROJECT, chunk.reference()).await.unwrap();
    assert!(read.bytes() == chunk.bytes());
}

async fn chunks(place: &Place) {
    let store = place.open().await;
    for content in [b"x".to_vec(), b"text ".repeat(100_000), noise(1, 3 << 20)] {
        let (chunk, stored) = chunk(&content);
        let digest = chunk.reference().digest;
        assert!(!store.has_chunk(PROJECT, digest).await.unwrap());
        let error = store.get_chunk(PROJECT, chunk.reference()).await.unwrap_err();
        assert!(matches!(error, Error::Missing { what: "chunk", .. }), "{error}");
        assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
        assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Present);
        let again = place.open().await;
        for store in [&store, &again] {
            assert!(store.has_chunk(PROJECT, digest).await.unwrap());
            assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Present);
            assert_eq!(
                store.get_chunk(PROJECT, chunk.reference()).await.unwrap().bytes(),
                chunk.bytes()
            );
            let handed_on = store.get_stored_chunk(PROJECT, chunk.reference()).await.unwrap();
            assert_eq!(handed_on.to_bytes(), stored.to_bytes());
        }
        let other = ProjectId::from_u128(8);
        assert!(
            !store.has_chunk(other, digest).await.unwrap(),
            "projects share no chunks"
        );
        assert_eq!(place.list_chunk(chunk.reference()).await, [".0"]);
    }
}

async fn damage_heals(place: &Place) {
    let store = place.open().await;
    let (chunk, stored) = chunk(&noise(2, 100_000));
    let reference = chunk.reference();
    store.put_chunk(PROJECT, &stored).await.unwrap();
    place
        .change(&place.chunk_path(reference), |bytes| bytes[50_000] ^= 1)
        .await;
    for _ in 0..2 {
        let error = store.get_chunk(PROJECT, reference).await.unwrap_err();
        assert!(
            matches!(error, Error::Damaged { what: "chunk", digest, .. } if digest == reference.digest),
            "{error}"
        );
        assert!(!store.has_chunk(PROJECT, reference.digest).await.unwrap());
    }
    assert_eq!(place.list_chunk(reference).await, [".0", ".0.damaged"]);
    assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Stored);
    assert_eq!(place.list_chunk(reference).await, [".0", ".0.damaged", ".1"]);
    let again = place.open().await;
    for store in [&store, &again] {
        assert_eq!(
            store.get_chunk(PROJECT, reference).await.unwrap().bytes(),
            chunk.bytes()
        );
        assert_eq!(store.put_chunk(PROJECT, &stored).await.unwrap(), PutOutcome::Present);
    }
}

async fn other_damage(place: &Place) {
    type Damage = fn(&mut Vec<u8>);
    let damages: [(u64, Damage); 4] = [
        (10, |bytes| bytes.truncate(500)),
        (11, Vec::clear),
        (12, |bytes| bytes.extend_from_slice(b"more")),
        (13, |bytes| bytes.resize((16 << 20) + 2, 0)),
    ];
    for (seed, damage) in damages {
        let store = place.open().await;
        let (chunk, stored) = chunk(&noise(seed, 1_000));
        store.put_chunk(PROJECT, &stored).await.unwrap();
        place.change(&place.chunk_path(chunk.reference()), damage).await;
        let error = store.get_chunk(PROJECT, chunk.reference()).await.unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{seed}: {error}");
        store.put_chunk(PROJECT, &stored).await.unwrap();
        assert_eq!(
            store.get_chunk(PROJECT, chunk.reference()).await.unwrap().bytes(),
            chunk.bytes()
        );
    }
}

/// A manifest with a wrong length must not make a good chunk pass for a damaged one.
async fn lies_do_no_damage(place: &Place) {
    let store = place.open().await;
    let (chunk, stored) = chunk(&noise(20, 1_000));
    store.put_chunk(PROJECT, &stored).await.unwrap();
    for length in [1, 999, 1_001] {
        let lie = ChunkReference {
            length,
            ..chunk.reference()
        };
        assert!(matches!(
            store.get_chunk(PROJECT, lie).await,
            Err(Error::WrongLength(_))
        ));
    }
    assert_eq!(place.list_chunk(chunk.reference()).await, [".0"]);
}

async fn manifests(place: &Place) {
    let store = place.open().await;
    let folder = example_folder();
    let manifest = manifest_of(folder.path());
    let digest = manifest.digest();
    assert!(!store.has_manifest(PROJECT, digest).await.unwrap());
    assert!(matches!(
        store.get_manifest(PROJECT, digest).await,
        Err(Error::Missing { what: "manifest", .. })
    ));
    for _ in 0..2 {
        store.put_manifest(PROJECT, &manifest).await.unwrap();
        assert!(store.has_manifest(PROJECT, digest).await.unwrap());
        assert_eq!(store.get_manifest(PROJECT, digest).await.unwrap(), manifest);
        let paths = place.list(&format!("projects/{PROJECT}/manifests")).await;
        let path = paths
            .iter()
            .find(|path| path.filename() == Some(&digest.to_string()))
            .unwrap();
        place.change(path, |bytes| bytes.truncate(30)).await;
        assert!(matches!(
            store.get_manifest(PROJECT, digest).await,
            Err(Error::Damaged { what: "manifest", .. })
        ));
    }
}

async fn folders(place: &Place) {
    let store = place.open().await;
    let source = example_folder();
    let output = store.pack(PROJECT, source.path(), PackLimits::default()).await.unwrap();
    let manifest = manifest_of(source.path());
    assert_eq!(output, manifest.reference());
    let stored = place.list("projects").await.len();
    assert_eq!(
        store.pack(PROJECT, source.path(), PackLimits::default()).await.unwrap(),
        output
    );
    assert_eq!(
        place.list("projects").await.len(),
        stored,
        "what is there is not stored again"
    );

    let parent = tempfile::tempdir().unwrap();
    let into = parent.path().join("into");
    let unpacked = store
        .unpack(PROJECT, output.manifest, &into, UnpackOptions::default())
        .await
        .unwrap();
    assert_eq!(unpacked, manifest);
    assert_eq!(manifest_of(&into).digest(), output.manifest);

    let victim = manifest.chunks().nth(2).unwrap();
    place.change(&place.chunk_path(victim), |bytes| bytes[1_000] ^= 1).await;
    let elsewhere = parent.path().join("elsewhere");
    let error = store
        .unpack(PROJECT, output.manifest, &elsewhere, UnpackOptions::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, Error::Damaged { digest, .. } if digest == victim.digest),
        "{error}"
    );
    assert_eq!(
        std::fs::read_dir(parent.path()).unwrap().count(),
        1,
        "nothing is left behind"
    );
    store.pack(PROJECT, source.path(), PackLimits::default()).await.unwrap();
    store
        .unpack(PROJECT, output.manifest, &elsewhere, UnpackOptions::default())
        .await
        .unwrap();
    assert_eq!(manifest_of(&elsewhere).digest(), output.manifest);
}

async fn projects(place: &Place) {
    let store = place.open().await;
    let (one, other) = (ProjectId::from_u128(100), ProjectId::from_u128(101));
    let chunks: Vec<_> = (0..20_u8).map(|number| chunk(&[number; 100])).collect();
    for project in [one, other] {
        for (_, stored) in &chunks {
            store.put_chunk(project, stored).await.unwrap();
        }
    }
    let listed = store.projects().await.unwrap();
    assert!(listed.contains(&one) && listed.contains(&other), "{listed:?}");
    assert_eq!(store.delete_project(one).await.unwrap(), chunks.len());
    assert_eq!(store.delete_project(one).await.unwrap(), 0);
    assert!(store.projects().await.unwrap().contains(&other));
    assert!(place.list(&format!("projects/{one}")).await.is_empty());
    assert_eq!(place.list(&format!("projects/{other}")).await.len(), chunks.len());
    let (chunk, stored) = &chunks[0];
    assert!(!store.has_chunk(one, chunk.reference().digest).await.unwrap());
    assert_eq!(store.put_chunk(one, stored).await.unwrap(), PutOutcome::Stored);
    assert_eq!(
        store.get_chunk(other, chunk.reference()).await.unwrap().bytes(),
        &Bytes::from(vec![0; 100])
    );
}
