//! Other commands in a pod, beside its own: the agent's side is the real one here.

use std::time::Duration;

use bytes::Bytes;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tombolo_agent::couriers::{self, Couriers, Duty, Visit};
use tombolo_agent::exec::{Exit, Failure, Input, Output, Reason, Request, Session, Size, Terminal, WINDOW_BYTES, cost};
use tombolo_agent::executor::Urgency;
use tombolo_agent::folder::AttemptFolder;
use tombolo_agent::supervisor::Specification;
use tombolo_core::id::ProjectId;
use tombolo_core::name::ClusterName;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::{Member, TrustDomain};
use tombolo_identity::tls::Identity;
use tombolo_transfer::store::{Owner, Patience};
use tombolo_transfer::{ChunkStore, StoreLocation};

use crate::agent::specification;
use crate::setting::{Pod, SOON, until};

/// The agent and the pod of one attempt.
struct World {
    root: tempfile::TempDir,
    pod: Pod,
    couriers: Couriers,
    visit: Visit,
    attempt: Specification,
    _stop: tokio_util::sync::DropGuard,
}

impl World {
    /// A pod whose command runs.
    async fn start() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = tempfile::tempdir().unwrap();
        let owner = Owner {
            trust_domain: "test.internal".to_owned(),
            member: "cluster/east".to_owned(),
        };
        let location = StoreLocation::local(root.path().join("store"));
        let store = ChunkStore::open(&location, &owner, Patience::default()).await.unwrap();
        let couriers = Couriers::open(root.path(), store).unwrap();
        let now = Timestamp(tombolo_runtime::clock::now().wall_milliseconds);
        let authority = Authority::create(TrustDomain::default(), now).unwrap();
        let member = Member::Cluster(ClusterName::new("east").unwrap());
        let issued = authority.issue(&member, authority.trust(), now).unwrap();
        let identity = Identity::new(issued).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let (serving, token) = (couriers.clone(), stop.clone());
        tokio::spawn(async move { couriers::serve(serving, listener, &identity, token).await });

        let attempt = specification("echo up; while :; do sleep 0.1; done");
        let folder = AttemptFolder::new(root.path().join("attempt"));
        std::fs::create_dir(folder.path()).unwrap();
        let duty = Duty {
            project: ProjectId::from_u128(7),
            command: attempt.clone(),
            job_file: b"{}".to_vec(),
            materials: Vec::new(),
            cache: None,
            secrets: Default::default(),
        };
        let visit = couriers.expect(attempt.attempt, &folder, duty).unwrap();
        visit.begin();
        let mut pod = Pod::new();
        let token = couriers.token(attempt.attempt);
        pod.start_courier_of((port, &authority.trust().pem()), "east", token.expose_secret());
        pod.start_job();
        Self {
            root,
            pod,
            couriers,
            visit,
            attempt,
            _stop: stop.drop_guard(),
        }
    }

    async fn running() -> Self {
        let world = Self::start().await;
        tokio::time::timeout(SOON, world.visit.begun()).await.unwrap().unwrap();
        world
    }

    async fn enter(&self, request: Request) -> Result<Session, Failure> {
        self.couriers.enter(self.attempt.attempt, request).await
    }

    async fn run(&self, script: &str) -> Said {
        collect(self.enter(shell(script, false)).await.unwrap()).await
    }
}

fn shell(script: &str, stdin: bool) -> Request {
    Request {
        command: ["sh", "-c", script].map(str::to_owned).into(),
        stdin,
        terminal: None,
    }
}

/// All that a command said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Said {
    output: String,
    errors: String,
    exit: Option<Exit>,
    failure: Option<Reason>,
}

async fn next(session: &mut Session) -> Option<Output> {
    let output = tokio::time::timeout(SOON, session.output.recv()).await;
    output.expect("nothing is said")
}

/// Takes everything to the end.
async fn collect(mut session: Session) -> Said {
    let mut said = Said::default();
    while let Some(output) = next(&mut session).await {
        let taken = match &output {
            Output::Stdout(bytes) | Output::Stderr(bytes) => cost(bytes.len()),
            _ => 0,
        };
        match output {
            Output::Started | Output::Taken(_) => {}
            Output::Stdout(bytes) => said.output.push_str(std::str::from_utf8(&bytes).unwrap()),
            Output::Stderr(bytes) => said.errors.push_str(std::str::from_utf8(&bytes).unwrap()),
            Output::Exited(exit) => said.exit = Some(exit),
            Output::Failed(failure) => said.failure = Some(failure.reason),
        }
        if taken > 0 {
            let _ = session.input.send(Input::Taken(taken)).await;
        }
    }
    said
}

/// How many processes sleep so long.
fn sleepers(seconds: &str) -> usize {
    let wanted = format!("sleep\0{seconds}\0");
    let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let line = |entry: std::fs::DirEntry| std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
    entries
        .filter(|_| true)
        .map(line)
        .filter(|line| line == wanted.as_bytes())
        .count()
}

#[tokio::test]
async fn a_command_finds_what_the_pod_s_own_finds() {
    let world = World::running().await;
    let script = "pwd; echo $OF_THE_JOB $OF_THE_IMAGE $KUBERNETES_SERVICE_HOST; echo err >&2; cat; exit 3";
    let context = world.pod.path("sandbox/context").canonicalize().unwrap();
    let expected = Said {
        output: format!("{}\nyes yes\n", context.display()),
        errors: "err\n".to_owned(),
        exit: Some(Exit::Code(3)),
        failure: None,
    };
    assert_eq!(world.run(script).await, expected);
    assert_eq!(world.run("kill -9 $$").await.exit, Some(Exit::Signal(9)));
    let unknown = Request {
        command: vec!["no-such-program".to_owned()],
        stdin: false,
        terminal: None,
    };
    let said = collect(world.enter(unknown).await.unwrap()).await;
    assert_eq!(said.exit, Some(Exit::Code(127)));
    assert!(said.errors.contains("was not found"), "{said:?}");
    // Input, to its end.
    let session = world.enter(shell("cat", true)).await.unwrap();
    session
        .input
        .send(Input::Stdin(Bytes::from_static(b"in\n")))
        .await
        .unwrap();
    session.input.send(Input::StdinEnded).await.unwrap();
    assert_eq!(collect(session).await.output, "in\n");
}

#[tokio::test]
async fn a_terminal_has_its_size() {
    let world = World::running().await;
    let request = Request {
        command: vec!["sh".to_owned()],
        stdin: true,
        terminal: Some(Terminal {
            size: Size { columns: 100, rows: 40 },
            kind: "vt220".to_owned(),
        }),
    };
    let session = world.enter(request).await.unwrap();
    let size = Size { columns: 120, rows: 50 };
    session.input.send(Input::Size(size)).await.unwrap();
    let typed = "until test \"$(stty size)\" = '50 120'; do sleep 0.1; done; echo $TERM-$((1 + 1)); exit 4\n";
    session.input.send(Input::Stdin(typed.into())).await.unwrap();
    let said = collect(session).await;
    assert!(said.output.contains("vt220-2\r\n"), "{said:?}");
    assert_eq!(said.exit, Some(Exit::Code(4)));
}

#[tokio::test]
async fn a_session_that_is_dropped_leaves_nothing() {
    let world = World::running().await;
    let mut session = world
        .enter(shell("trap '' HUP; echo; sleep 86201 & sleep 86201; :", false))
        .await
        .unwrap();
    while !matches!(next(&mut session).await, Some(Output::Stdout(_))) {}
    until("the command sleeps", || sleepers("86201") == 2).await;
    drop(session);
    until("nobody sleeps", || sleepers("86201") == 0).await;
    // Neither does one whose courier dies.
    let session = world.enter(shell("exec sleep 86202", false)).await.unwrap();
    until("the command sleeps", || sleepers("86202") == 1).await;
    world.pod.courier.as_ref().unwrap().signal("-KILL");
    let said = collect(session).await;
    assert_eq!((said.exit, said.failure), (None, None), "{said:?}");
    until("nobody sleeps", || sleepers("86202") == 0).await;
}

#[tokio::test]
async fn the_end_of_the_job_ends_what_runs_beside_it() {
    let mut world = World::running().await;
    let session = world.enter(shell("exec sleep 86203", false)).await.unwrap();
    until("the command sleeps", || sleepers("86203") == 1).await;
    world.visit.stop(Urgency::Immediate);
    assert_eq!(collect(session).await.failure, Some(Reason::JobEnded));
    world.pod.ended().await;
    assert_eq!(sleepers("86203"), 0);
    let late = world.enter(shell("true", false)).await.unwrap_err();
    assert_eq!(late.reason, Reason::NotRunning);
    drop(world.root);
}

#[tokio::test]
async fn a_command_that_does_not_run_yet_is_not_entered() {
    let world = World::start().await;
    world.couriers.dismiss(world.attempt.attempt);
    let refused = world.enter(shell("true", false)).await.unwrap_err();
    assert_eq!(refused.reason, Reason::NotRunning);
}

#[tokio::test]
async fn output_that_nobody_takes_stops_at_the_window() {
    let world = World::running().await;
    let mut session = world.enter(shell("exec yes", false)).await.unwrap();
    let mut came = 0;
    while came < WINDOW_BYTES {
        if let Some(Output::Stdout(bytes)) = next(&mut session).await {
            came += cost(bytes.len());
        }
    }
    assert_eq!(came, WINDOW_BYTES);
    let more = tokio::time::timeout(Duration::from_millis(500), session.output.recv()).await;
    assert!(more.is_err(), "{more:?}");
    session.input.send(Input::Taken(1000)).await.unwrap();
    let Some(Output::Stdout(bytes)) = next(&mut session).await else {
        panic!("nothing more comes")
    };
    assert!(bytes.len() <= 1000);
    // Whoever takes more than was sent is cut off.
    session.input.send(Input::Taken(u32::MAX)).await.unwrap();
    let failed = loop {
        match next(&mut session).await {
            Some(Output::Failed(failure)) => break failure,
            Some(Output::Stdout(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(failed.reason, Reason::Fault);
}
