//! A process that writes is killed with SIGKILL in the middle of it, again and again: what it had acknowledged is there, and
//! what it had not is there whole or not at all.
//!
//! The test starts itself as the process that writes (and has no harness for that reason).

use std::collections::HashMap;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use tombolo_core::access::{Right, Role};
use tombolo_core::attempt::Revision;
use tombolo_core::build::{BuildDefinition, BuildState, JobSpec};
use tombolo_core::control::Change;
use tombolo_core::control::record::{Build, JobNode, Project, Token};
use tombolo_core::digest::Digest;
use tombolo_core::id::{BuildId, JobId, ProjectId, TokenId};
use tombolo_core::name::{JobName, ProjectName};
use tombolo_core::time::Timestamp;
use tombolo_store::sqlite::Execution;
use tombolo_store::{Sequence, Sqlite, Store};

const ROUNDS: usize = 6;
const JOBS: u32 = 20;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().is_some_and(|first| first == "write") {
        let database = arguments.next().ok_or("no database")?;
        return runtime.block_on(write(Path::new(&database)));
    }
    let folder = tempfile::tempdir()?;
    let database = folder.path().join("master.db");
    let mut acknowledged = 0;
    for round in 0..ROUNDS {
        acknowledged = kill_after(&database, 3 + round * 5)?.max(acknowledged);
        let stored = runtime.block_on(check(&database, acknowledged))?;
        writeln!(
            std::io::stdout(),
            "round {round}: {acknowledged} acknowledged, {stored} stored"
        )?;
        acknowledged = stored;
    }
    assert!(
        acknowledged as usize >= ROUNDS * 3,
        "the killed processes wrote something"
    );
    Ok(())
}

/// Commits change after change and says so.
async fn write(database: &Path) -> Outcome {
    let store = Sqlite::open(database, Execution::Inline)?;
    let epoch = store.acquire().await?;
    let first = store.load().await?.live.projects.len() as u128 + 1;
    let mut sequence = Sequence::default();
    for number in first.. {
        sequence = sequence.next();
        store.commit(epoch, sequence, Arc::new(changes(number)?)).await?;
        let mut out = std::io::stdout().lock();
        writeln!(out, "{number}")?;
        out.flush()?;
    }
    Ok(())
}

/// A project with a token and a build: whole or not at all.
fn changes(number: u128) -> Outcome<Vec<Change>> {
    let project = Project {
        id: ProjectId::from_u128(number),
        name: ProjectName::new(&format!("project-{number}"))?,
        created_at: Timestamp(0),
        last_build: 1,
        workspace: None,
        retention: None,
        share: tombolo_core::share::Share::default(),
    };
    let token = Token {
        id: TokenId::from_u128(number),
        name: String::new(),
        secret: Digest::new(std::array::from_fn(|index| number.to_le_bytes()[index % 16])),
        right: Right {
            role: Role::Viewer,
            project: Some(project.id),
        },
        created_at: Timestamp(0),
        expires_at: None,
    };
    let build = Build {
        id: BuildId::from_u128(number),
        project: project.id,
        number: 1,
        state: BuildState::Running,
        created_at: Timestamp(0),
        ended_at: None,
        submitted_by: String::new(),
        source: None,
        revision: Revision::default(),
        restarts: 0,
        released_at: None,
    };
    let definition = definition()?;
    let nodes = definition
        .jobs
        .iter()
        .zip(0..)
        .map(|(spec, index)| node(spec, build.id, index));
    let nodes = nodes.collect();
    let specs = definition.jobs;
    Ok(vec![
        Change::PutProject(project),
        Change::PutToken(token),
        Change::InsertBuild { build, nodes, specs },
    ])
}

fn definition() -> Outcome<BuildDefinition> {
    let mut jobs = Vec::new();
    for index in 0..JOBS {
        jobs.push(JobSpec {
            name: JobName::new(&format!("job-{index}"))?,
            image: "image".to_owned(),
            command: None,
            environment: std::collections::BTreeMap::new(),
            secrets: Default::default(),
            timeout: std::time::Duration::from_secs(1),
            resources: tombolo_core::resources::Resources::default(),
            dependencies: Vec::new(),
            selector: tombolo_core::label::Selector::default(),
            prefer: None,
            priority: 0,
            volumes: tombolo_core::volume::VolumeSet::default(),
            cache: false,
            pod: None,
            kind: Default::default(),
            source: true,
            needs: Default::default(),
            passes_on: Default::default(),
            confined_to: Default::default(),
            repository: None,
            extensions: None,
        });
    }
    Ok(BuildDefinition { jobs })
}

fn node(spec: &JobSpec, build: BuildId, index: u32) -> JobNode {
    JobNode {
        id: JobId::from_u128(build.uuid().as_u128() << 32 | u128::from(index)),
        build,
        index,
        name: spec.name.clone(),
        parents: Vec::new(),
        selector: spec.selector.clone(),
        prefer: None,
        priority: 0,
        volumes: tombolo_core::volume::VolumeSet::default(),
        cache: false,
        resources: spec.resources,
        timeout: spec.timeout,
        kind: Default::default(),
        generated_by: None,
        needs: Default::default(),
        extensions: None,
    }
}

/// Starts the process that writes, kills it after some acknowledgements, and returns the last one.
fn kill_after(database: &Path, acknowledgements: usize) -> Outcome<u128> {
    let mut writer = Command::new(std::env::current_exe()?)
        .arg("write")
        .arg(database)
        .stdout(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(writer.stdout.take().ok_or("no output")?).lines();
    let mut last = String::new();
    for _ in 0..acknowledgements {
        last = lines.next().ok_or("the writer ended by itself")??;
    }
    // SIGKILL, while it goes on writing.
    writer.kill()?;
    writer.wait()?;
    for line in lines {
        last = line?;
    }
    Ok(last.parse()?)
}

/// Everything acknowledged is there, at most one more, and nothing in parts.
async fn check(database: &Path, acknowledged: u128) -> Outcome<u128> {
    let store = Sqlite::open(database, Execution::Inline)?;
    let live = store.load().await?.live;
    let stored = live.projects.len() as u128;
    assert!(
        (acknowledged..=acknowledged + 1).contains(&stored),
        "{acknowledged} acknowledged, {stored} stored"
    );
    let mut jobs = HashMap::<BuildId, u32>::new();
    for (node, _) in &live.jobs {
        *jobs.entry(node.build).or_default() += 1;
    }
    assert_eq!((live.tokens.len() as u128, live.builds.len() as u128), (stored, stored));
    for number in 1..=stored {
        assert_eq!(jobs.get(&BuildId::from_u128(number)), Some(&JOBS), "build {number}");
    }
    Ok(stored)
}
