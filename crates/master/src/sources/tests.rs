use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tombolo_artifact::PackLimits;
use tombolo_core::attempt::Revision;
use tombolo_core::control::record::Build;
use tombolo_core::control::{Command, Reply, Submission};
use tombolo_core::id::BuildId;
use tombolo_core::time::Now;
use tombolo_store::{Sqlite, Store, faulty::Faulty};
use tombolo_transfer::store::retention::Swept;
use tombolo_transfer::store::{Owner, Patience, StoreLocation};

use super::*;
use crate::clock::SystemClock;
use crate::driver::tests::world::{PROJECT, World, flat, job_id};
use crate::leadership::Tenure;

/// The time as a test sets it, in minutes.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Now {
        let passed = Duration::from_secs(60 * self.0.load(Ordering::SeqCst));
        Now {
            wall: Timestamp(1_800_000_000_000 + u64::try_from(passed.as_millis()).unwrap()),
            steady: Moment(passed),
        }
    }
}

struct Setting {
    world: World,
    clock: Arc<SetClock>,
    sources: Sources,
    folder: TempDir,
}

impl Setting {
    async fn new() -> Self {
        let (world, clock, folder) = (
            World::new().await,
            Arc::new(SetClock::default()),
            TempDir::new().unwrap(),
        );
        let location = StoreLocation::local(folder.path().join("store"));
        let owner = Owner {
            trust_domain: "tombolo.test".to_owned(),
            member: "master".to_owned(),
        };
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        Self {
            world,
            sources: Sources::new(store, clock.clone()),
            clock,
            folder,
        }
    }

    /// Forgets what only the process knew.
    fn restart(&mut self) {
        self.sources = Sources::new(self.sources.store().clone(), self.clock.clone());
    }

    fn at_minute(&self, minute: u64) {
        self.clock.0.store(minute, Ordering::SeqCst);
    }

    /// Uploads a folder with one file as users do.
    async fn upload(&self, content: &str) -> Digest {
        let folder = self.folder.path().join("uploaded");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("file"), content).unwrap();
        self.sources.upload(PROJECT).await.unwrap();
        let store = self.sources.store();
        let packed = store.pack(PROJECT, &folder, PackLimits::default()).await.unwrap();
        self.sources.expect_build(PROJECT, packed.manifest);
        packed.manifest
    }

    async fn submit(&self, seed: u128, source: Digest) -> Build {
        let submission = Submission {
            id: BuildId::from_u128(seed),
            project: PROJECT,
            jobs: vec![job_id(seed, 0)],
            definition: flat(1),
            source: Some(source),
            revision: Revision::default(),
            submitted_by: "tester".to_owned(),
            rerun: None,
        };
        let reply = self.world.handle.apply(Command::Submit(Box::new(submission))).await;
        let Ok(Reply::Build(build)) = reply else {
            panic!("{reply:?}")
        };
        build
    }

    /// Ends the build, and gives up its outputs.
    async fn give_up(&self, build: Build) {
        let handle = &self.world.handle;
        handle
            .apply(Command::CancelBuild {
                build: build.id,
                extent: Default::default(),
            })
            .await
            .unwrap();
        let over = self.world.store.build(build.id).await.unwrap().unwrap();
        handle.apply(Command::ReleaseOutputs(Box::new(over))).await.unwrap();
    }

    async fn sweep(&self) -> Swept {
        let (sources, handle) = (self.sources.clone(), self.world.handle.clone());
        let database: Arc<Faulty<Sqlite>> = Arc::new(self.world.store.clone());
        let tenure = Tenure::unlimited(Arc::new(SystemClock));
        let sweeper = Sweeper::new(sources, database, handle, tenure, Duration::from_secs(1), true);
        sweeper.sweep(PROJECT).await.unwrap()
    }

    async fn has(&self, source: Digest) -> bool {
        self.sources.store().has_manifest(PROJECT, source).await.unwrap()
    }
}

#[tokio::test]
async fn the_source_of_a_build_goes_after_its_outputs() {
    let setting = Setting::new().await;
    let (given_up, kept) = (setting.upload("one").await, setting.upload("two").await);
    let build = setting.submit(1, given_up).await;
    setting.submit(2, kept).await;
    setting.at_minute(300);
    setting.sweep().await;
    assert!(setting.has(given_up).await, "its build runs");
    setting.give_up(build).await;
    let swept = setting.sweep().await;
    assert_eq!(
        (swept.deleted_manifests, swept.deleted_chunks, swept.waits_for),
        (1, 1, 0)
    );
    assert!(!setting.has(given_up).await);
    assert!(setting.has(kept).await);
}

#[tokio::test]
async fn what_was_uploaded_waits_an_hour_for_its_build() {
    let setting = Setting::new().await;
    let source = setting.upload("abc").await;
    setting.at_minute(59);
    setting.sweep().await;
    assert!(setting.has(source).await, "a build may be about to come");
    setting.submit(1, source).await;
    setting.at_minute(500);
    setting.sweep().await;
    assert!(setting.has(source).await);

    let unused = setting.upload("nobody builds this").await;
    setting.at_minute(700);
    setting.sweep().await;
    assert!(!setting.has(unused).await);
}

#[tokio::test]
async fn what_an_upload_found_there_stays_over_a_restart() {
    let mut setting = Setting::new().await;
    let source = setting.upload("abc").await;
    let build = setting.submit(1, source).await;
    setting.at_minute(300);
    setting.give_up(build).await;
    // Somebody finds all chunks there, and puts the manifest, when a sweep of another process begins.
    let again = setting.upload("abc").await;
    assert_eq!(again, source);
    setting.restart();
    let swept = setting.sweep().await;
    assert_eq!(
        (swept.deleted_manifests, swept.deleted_chunks, swept.waits_for),
        (0, 0, 1)
    );
    setting.submit(2, source).await;
    setting.at_minute(600);
    let swept = setting.sweep().await;
    assert!(swept.taken_back > 0, "{swept:?}");
    assert!(setting.has(source).await);
    setting.sources.store().get_manifest(PROJECT, source).await.unwrap();
}

#[tokio::test]
async fn nothing_goes_that_cannot_be_asked_about() {
    let setting = Setting::new().await;
    let source = setting.upload("abc").await;
    let mut uploads = setting.sources.uploads();
    for number in 0..u64::try_from(REMEMBERED).unwrap() {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&number.to_le_bytes());
        uploads
            .manifests
            .insert((PROJECT, Digest::new(digest)), Moment::default());
    }
    drop(uploads);
    setting.at_minute(30);
    assert_eq!(setting.sources.is_expected(PROJECT, source), Some(true));
    assert_eq!(setting.sources.is_expected(PROJECT, Digest::new([0xee; 32])), None);
    setting.at_minute(61);
    assert_eq!(setting.sources.is_expected(PROJECT, source), Some(false));
}
