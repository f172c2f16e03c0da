use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;
use tombolo_core::attempt::Revision;
use tombolo_core::time::{Moment, Now};
use tombolo_core::trigger::{CatchUp, Overlap, Schedule};
use tombolo_store::Sqlite;
use tombolo_store::faulty::{Fault, Faulty};
use tombolo_transfer::ChunkStore;
use tombolo_transfer::store::{Owner, Patience, StoreLocation};

use super::*;
use crate::driver::tests::world::{PROJECT, World};
use crate::sources::Sources;

/// The time as a test sets it, in hours since 1970.
#[derive(Debug, Default)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now(&self) -> Now {
        let hours = self.0.load(Ordering::SeqCst);
        Now {
            wall: Timestamp(hours * HOUR),
            steady: Moment(Duration::from_secs(3600 * hours)),
        }
    }
}

const HOUR: u64 = 60 * 60 * 1000;
const PLAIN: &str = r#"{"version": 1, "jobs": [{"type": "docker-image", "name": "a", "image": "i", "environment": {"A": "file", "B": "file"}}]}"#;
const SECRET: &str = r#"{"version": 1, "jobs": [{"type": "docker-image", "name": "a", "image": "i", "environment": {"A": {"$secret": "gone"}}}]}"#;

struct Setting {
    world: World,
    clock: Arc<SetClock>,
    triggers: Triggers<Faulty<Sqlite>>,
    folder: TempDir,
}

impl Setting {
    async fn new() -> Self {
        let (world, folder) = (World::new().await, TempDir::new().unwrap());
        Self::with(world, Arc::default(), folder).await
    }

    async fn with(world: World, clock: Arc<SetClock>, folder: TempDir) -> Self {
        let location = StoreLocation::local(folder.path().join("store"));
        let owner = Owner {
            trust_domain: "tombolo.test".to_owned(),
            member: "master".to_owned(),
        };
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        let definitions = Definitions::new(Sources::new(store, clock.clone()));
        let database = Arc::new(world.store.clone());
        Self {
            triggers: Triggers::new(world.handle.clone(), database, definitions, clock.clone()),
            world,
            clock,
            folder,
        }
    }

    /// Another master on the same database.
    async fn restart(self) -> Self {
        Self::with(self.world.restart().await, self.clock, self.folder).await
    }

    fn at_hour(&self, hour: u64) {
        self.clock.0.store(hour, Ordering::SeqCst);
    }

    async fn create(&self, text: &str, overlap: Overlap, catch_up: CatchUp) {
        let trigger = Trigger {
            project: PROJECT,
            name: name(),
            schedule: Some(Schedule {
                cron: "0 3 * * *".to_owned(),
                timezone: "UTC".to_owned(),
            }),
            environment: [("B", "trigger"), ("C", "trigger")]
                .map(|(name, value)| (name.into(), value.into()))
                .into(),
            source: None,
            revision: Revision::default(),
            overlap,
            catch_up,
            created_by: "somebody".to_owned(),
            created_at: Timestamp(0),
            fired_for: None,
            last: None,
            obstacle: None,
        };
        let file = TriggerFile {
            name: "tombolo.json".to_owned(),
            text: text.to_owned(),
        };
        let trigger = Box::new(trigger);
        let made = self.world.handle.apply(Command::CreateTrigger { trigger, file });
        made.await.unwrap();
    }

    async fn builds(&self) -> usize {
        self.world.store.builds(PROJECT, None, 100).await.unwrap().len()
    }

    async fn known(&self) -> Trigger {
        let found = self
            .world
            .handle
            .query(|control| control.trigger(PROJECT, &name()).cloned());
        found.await.unwrap().unwrap()
    }
}

fn name() -> TriggerName {
    TriggerName::new("nightly").unwrap()
}

#[tokio::test]
async fn each_time_has_one_build_also_if_the_master_starts_again() {
    let mut setting = Setting::new().await;
    setting.create(PLAIN, Overlap::Allow, CatchUp::Once).await;
    setting.at_hour(2);
    let pause = setting.triggers.look().await;
    assert!(pause <= LOOK_AT_LEAST && setting.builds().await == 0);
    setting.at_hour(3);
    for _ in 0..3 {
        setting.triggers.look().await;
        assert_eq!(setting.builds().await, 1);
        setting = setting.restart().await;
    }
    // Ten days without a master: one build makes up for them.
    setting.at_hour(10 * 24 + 12);
    for _ in 0..2 {
        setting.triggers.look().await;
        assert_eq!(setting.builds().await, 2);
    }
    assert_eq!(setting.known().await.fired_for, Some(Timestamp((10 * 24 + 3) * HOUR)));
}

#[tokio::test]
async fn a_commit_of_which_nobody_knows_whether_it_was_made_makes_no_second_build() {
    for fault in [Fault::Before, Fault::After, Fault::Lost] {
        let setting = Setting::new().await;
        setting.create(PLAIN, Overlap::Allow, CatchUp::Once).await;
        setting.at_hour(3);
        setting.world.store.fail_commits([Some(fault)]);
        for _ in 0..4 {
            setting.triggers.look().await;
        }
        assert_eq!(setting.builds().await, 1, "{fault:?}");
        assert_eq!(setting.known().await.obstacle, None, "{fault:?}");
    }
}

#[tokio::test]
async fn times_pass_with_a_reason_where_no_build_is_made() {
    let setting = Setting::new().await;
    setting.create(SECRET, Overlap::Skip, CatchUp::Never).await;
    setting.at_hour(3);
    setting.triggers.look().await;
    assert_eq!(setting.builds().await, 0);
    // Secrets are a capability that no cluster has here; that is found first.
    let obstacle = setting.known().await.obstacle.unwrap();
    assert!(
        obstacle.contains("no cluster here has what the build needs: `secrets`"),
        "{obstacle}"
    );
    setting.at_hour(24 + 12);
    setting.triggers.look().await;
    assert_eq!(
        setting.known().await.obstacle.unwrap(),
        "no master was there at this time"
    );
    assert_eq!(setting.known().await.fired_for, Some(Timestamp(27 * HOUR)));
}

#[tokio::test]
async fn a_build_that_still_runs_is_not_overlapped() {
    let setting = Setting::new().await;
    setting.create(PLAIN, Overlap::Skip, CatchUp::Once).await;
    setting.at_hour(3);
    setting.triggers.look().await;
    setting.at_hour(27);
    setting.triggers.look().await;
    assert_eq!(setting.builds().await, 1);
    let obstacle = setting.known().await.obstacle.unwrap();
    assert!(
        obstacle.contains("build 1 of trigger `nightly` still runs"),
        "{obstacle}"
    );
    let asked = setting
        .triggers
        .fire(PROJECT, &name(), None, &BTreeMap::new(), None)
        .await;
    assert!(asked.unwrap_err().to_string().contains("still runs"));
}

#[tokio::test]
async fn the_environment_reaches_the_jobs_and_the_call_outranks_the_trigger() {
    let setting = Setting::new().await;
    setting.create(PLAIN, Overlap::Allow, CatchUp::Once).await;
    let call = [("C".to_owned(), "call".to_owned())].into();
    let name = name();
    let fired = setting
        .triggers
        .fire(PROJECT, &name, None, &call, Some("me".to_owned()));
    let build = fired.await.unwrap();
    assert_eq!(build.submitted_by, "me");
    let jobs = setting.world.store.jobs(build.id, 0, 10).await.unwrap();
    let specs = setting.world.store.specs(vec![jobs[0].0.id]).await.unwrap();
    let environment = &specs[0].1.environment;
    for (variable, value) in [
        ("A", "file"),
        ("B", "trigger"),
        ("C", "call"),
        ("INFRABOX_CRONJOB", "false"),
        ("TOMBOLO_CRONJOB_NAME", "nightly"),
    ] {
        assert_eq!(environment.get(variable).map(String::as_str), Some(value), "{variable}");
        // What jobs make has what the trigger gives, and not what the file says of its own jobs.
        assert_eq!(specs[0].1.passes_on.contains(variable), value != "file", "{variable}");
    }
}
