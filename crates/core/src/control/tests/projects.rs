//! Projects and tokens.

use super::super::record::{Build, Token};
use super::super::testing::{PROJECT, World, digest, job};
use super::super::{Change, Command, Refusal, Reply};
use crate::access::{Right, Role};
use crate::build::{BuildState, TerminalState};
use crate::id::{ProjectId, TokenId};
use crate::name::ProjectName;
use crate::retention::Policy;
use crate::time::Timestamp;

fn token(id: u128, name: &str, secret: u8, project: Option<ProjectId>) -> Token {
    Token {
        id: TokenId::from_u128(id),
        name: name.to_owned(),
        secret: digest(secret),
        right: Right {
            role: Role::Viewer,
            project,
        },
        created_at: Timestamp(0),
        expires_at: None,
    }
}

#[test]
fn names_are_unique() {
    let mut world = World::new();
    let name = ProjectName::new("other").unwrap();
    let id = ProjectId::from_u128(2);
    let effects = world.done(Command::CreateProject { id, name: name.clone() });
    let Ok(Reply::Project(project)) = effects.reply else {
        panic!("a project is made")
    };
    assert_eq!(effects.changes, [Change::PutProject(project.clone())]);
    assert_eq!(world.control.project(&name), Some(&project));
    let names: Vec<&str> = world.control.projects().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["demo", "other"]);
    let id = ProjectId::from_u128(3);
    assert!(matches!(
        world.refused(Command::CreateProject { id, name }),
        Refusal::Exists { kind: "project", .. }
    ));
}

#[test]
fn a_project_goes_with_its_tokens_but_not_while_it_builds() {
    let mut world = World::new();
    world.done(Command::CreateToken(token(1, "mine", 1, Some(PROJECT))));
    world.done(Command::CreateToken(token(2, "everywhere", 2, None)));
    let (build, _) = world.submit(vec![job("a")]);
    let delete = || Command::DeleteProject { id: PROJECT };
    let refusal = world.refused(delete());
    assert_eq!(
        refusal.to_string(),
        "project `demo` has 1 running build: cancel what runs first"
    );
    world.done(Command::CancelBuild {
        build,
        extent: Default::default(),
    });
    assert_eq!(world.done(delete()).changes, [Change::DeleteProject(PROJECT)]);
    assert_eq!(world.control.tokens().count(), 1);
    let now = world.now.wall;
    assert!(world.control.token_by_secret(&digest(1), now).is_none());
    assert!(world.control.token_by_secret(&digest(2), now).is_some());
    assert!(matches!(
        world.refused(delete()),
        Refusal::NotFound { kind: "project", .. }
    ));
}

#[test]
fn tokens_are_found_by_secret_until_they_end() {
    let mut world = World::new();
    let now = world.now.wall;
    let expires_at = Some(Timestamp(now.0 + 1));
    let mine = Token {
        expires_at,
        ..token(1, "mine", 1, None)
    };
    world.done(Command::CreateToken(mine.clone()));
    for (other, kind) in [
        (token(1, "x", 5, None), "token"),
        (token(5, "mine", 5, None), "token"),
        (token(5, "x", 1, None), "token"),
    ] {
        assert!(
            matches!(world.refused(Command::CreateToken(other)), Refusal::Exists { kind: found, .. } if found == kind)
        );
    }
    let stranger = token(5, "x", 5, Some(ProjectId::from_u128(9)));
    assert!(matches!(
        world.refused(Command::CreateToken(stranger)),
        Refusal::NotFound { kind: "project", .. }
    ));
    assert_eq!(world.control.token_by_secret(&digest(1), now), Some(&mine));
    assert_eq!(world.control.token_by_secret(&digest(1), Timestamp(now.0 + 1)), None);
    assert_eq!(world.control.token_by_secret(&digest(7), now), None);
    let id = mine.id;
    assert_eq!(
        world.done(Command::RevokeToken { id }).changes,
        [Change::DeleteToken(id)]
    );
    assert_eq!(world.control.token_by_secret(&digest(1), now), None);
    assert!(matches!(
        world.refused(Command::RevokeToken { id }),
        Refusal::NotFound { kind: "token", .. }
    ));
}

#[test]
fn the_last_admin_token_stays() {
    let mut world = World::new();
    let right = Right {
        role: Role::Admin,
        project: None,
    };
    let token = |id, name, secret| Token {
        right,
        ..token(id, name, secret, None)
    };
    let (first, second) = (token(1, "first", 1), token(2, "second", 2));
    let ending = Token {
        expires_at: Some(Timestamp(u64::MAX)),
        ..token(3, "ending", 3)
    };
    for token in [&first, &second, &ending] {
        world.done(Command::CreateToken(token.clone()));
    }
    world.done(Command::RevokeToken { id: first.id });
    assert!(matches!(
        world.refused(Command::RevokeToken { id: second.id }),
        Refusal::Conflict(_)
    ));
    world.done(Command::RevokeToken { id: ending.id });
}

#[test]
fn what_is_kept_is_the_projects_to_say() {
    let mut world = World::new();
    let retention = Some(Policy {
        builds: Some(3),
        ..Policy::default()
    });
    let effects = world.done(Command::SetRetention { id: PROJECT, retention });
    let Ok(Reply::Project(project)) = effects.reply else {
        panic!("the project is changed")
    };
    assert_eq!(project.retention, retention);
    assert_eq!(effects.changes, [Change::PutProject(project)]);
    world.restart();
    let kept: Vec<_> = world.control.projects().map(|project| project.retention).collect();
    assert_eq!(kept, [retention]);
    let id = ProjectId::from_u128(99);
    let refusal = world.refused(Command::SetRetention { id, retention });
    assert!(matches!(refusal, Refusal::NotFound { kind: "project", .. }));
}

#[test]
fn outputs_of_a_build_that_runs_are_not_given_up() {
    let mut world = World::new();
    let (build, _) = world.submit(vec![job("a")]);
    let running = world.live.builds.iter().find(|live| live.id == build).unwrap().clone();
    let release = |build: &Build| Command::ReleaseOutputs(Box::new(build.clone()));
    assert!(matches!(world.refused(release(&running)), Refusal::Conflict(_)));
    // What was read is old: it ended, says the reader, and yet it runs.
    let mut over = running;
    over.state = BuildState::Terminal(TerminalState::Killed);
    assert!(matches!(world.refused(release(&over)), Refusal::Conflict(_)));
    world.done(Command::CancelBuild {
        build,
        extent: Default::default(),
    });
    let effects = world.done(release(&over));
    let [Change::PutBuild(released)] = &effects.changes[..] else {
        panic!("{:?}", effects.changes)
    };
    let at = released.released_at.expect("it is given up");
    // Again: the first time counts.
    let again = released.clone();
    let effects = world.done(release(&again));
    assert!(matches!(&effects.changes[..], [Change::PutBuild(build)] if build.released_at == Some(at)));
}
