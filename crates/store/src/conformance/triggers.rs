//! Triggers, and what they submit.

use tombolo_core::attempt::Revision;
use tombolo_core::control::Change;
use tombolo_core::id::{BuildId, ProjectId};
use tombolo_core::name::TriggerName;
use tombolo_core::time::Timestamp;
use tombolo_core::trigger::{CatchUp, LastBuild, Overlap, Schedule, Trigger, TriggerFile};

use super::example::{HARD_TEXT, Leader, digest, project};
use crate::Store;

fn name(name: &str) -> TriggerName {
    TriggerName::new(name).unwrap()
}

fn trigger(project: ProjectId, of: &str, source: u128) -> Trigger {
    Trigger {
        project,
        name: name(of),
        schedule: Some(Schedule {
            cron: "0 3 * * *".to_owned(),
            timezone: HARD_TEXT.to_owned(),
        }),
        environment: [("A".to_owned(), HARD_TEXT.to_owned())].into(),
        source: Some(digest(source)),
        revision: Revision {
            branch: Some(HARD_TEXT.to_owned()),
            ..Revision::default()
        },
        overlap: Overlap::Skip,
        catch_up: CatchUp::Never,
        created_by: HARD_TEXT.to_owned(),
        created_at: Timestamp(1),
        fired_for: None,
        last: None,
        obstacle: Some(HARD_TEXT.to_owned()),
    }
}

fn file(project: ProjectId, of: &str, text: &str) -> Change {
    Change::PutTriggerFile {
        project,
        name: name(of),
        file: TriggerFile {
            name: HARD_TEXT.to_owned(),
            text: text.to_owned(),
        },
    }
}

pub async fn triggers_are_kept_with_their_files_and_sources<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (home, other) = (project(1), project(2));
    let mut first = trigger(home.id, "first", 10);
    leader
        .commit(vec![
            Change::PutProject(home.clone()),
            Change::PutProject(other.clone()),
            Change::PutTrigger(first.clone()),
            file(home.id, "first", HARD_TEXT),
            Change::PutTrigger(trigger(home.id, "second", 11)),
            file(home.id, "second", "{}"),
            Change::PutTrigger(trigger(other.id, "first", 12)),
            file(other.id, "first", "other"),
        ])
        .await;
    leader.check().await;
    let text = async |project, of| {
        let file = store.trigger_file(project, name(of)).await.unwrap();
        file.map(|file| file.text)
    };
    assert_eq!(text(home.id, "first").await.as_deref(), Some(HARD_TEXT));
    assert_eq!(text(other.id, "first").await.as_deref(), Some("other"));
    assert_eq!(text(other.id, "second").await, None);
    let asked = || [10, 11, 12, 13].map(digest).to_vec();
    let sources = store.are_sources(home.id, asked()).await.unwrap();
    assert_eq!(sources, [true, true, false, false]);

    // It fires, and the file stays what it is.
    first.fired_for = Some(Timestamp(u64::MAX));
    first.last = Some(LastBuild {
        build: BuildId::from_u128(7),
        number: u64::MAX,
        at: Timestamp(0),
    });
    leader.commit(vec![Change::PutTrigger(first)]).await;
    leader.check().await;
    assert_eq!(text(home.id, "first").await.as_deref(), Some(HARD_TEXT));
    let gone = |of| Change::DeleteTrigger {
        project: home.id,
        name: name(of),
    };
    // What is not there can be deleted too.
    leader.commit(vec![gone("first"), gone("none")]).await;
    leader.check().await;
    assert_eq!(text(home.id, "first").await, None);
    let sources = store.are_sources(home.id, asked()).await.unwrap();
    assert_eq!(sources, [false, true, false, false]);
}

pub async fn triggers_go_with_their_project<S: Store>(store: &S) {
    let mut leader = Leader::new(store).await;
    let (gone, kept) = (project(1), project(2));
    leader
        .commit(vec![
            Change::PutProject(gone.clone()),
            Change::PutProject(kept.clone()),
            Change::PutTrigger(trigger(gone.id, "a", 1)),
            file(gone.id, "a", "gone"),
            Change::PutTrigger(trigger(kept.id, "a", 2)),
            file(kept.id, "a", "kept"),
            Change::DeleteProject(gone.id),
        ])
        .await;
    leader.check().await;
    assert_eq!(store.trigger_file(gone.id, name("a")).await.unwrap(), None);
    assert_eq!(
        store.trigger_file(kept.id, name("a")).await.unwrap().unwrap().text,
        "kept"
    );
}
