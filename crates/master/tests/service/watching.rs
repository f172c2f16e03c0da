//! Watching a build by server-sent events.

use http::Method;
use tombolo_api::{BuildState, JobState, WatchEvent};
use tombolo_core::attempt::RouteKind;
use tombolo_core::build::TerminalState;
use tombolo_core::control::event::{Recipient, TransferProgress};
use tombolo_core::session::AgentFrame;

use crate::agent::{Agent, ended};
use crate::builds::{BUILDS, CHAIN, submit};
use crate::setting::{DEADLINE, Master, User};

struct Watch {
    response: reqwest::Response,
    text: String,
}

impl Watch {
    async fn open(user: &User, number: u64) -> Self {
        let request = user.request(Method::GET, &format!("{BUILDS}/{number}/events"));
        let response = request.header("last-event-id", "7").send().await.unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self {
            response,
            text: String::new(),
        }
    }

    /// The next event; none at the end of the stream.
    async fn next(&mut self) -> Option<WatchEvent> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let lines: Vec<_> = event.lines().map(str::to_owned).collect();
                self.text = rest.to_owned();
                let field = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name));
                let Some(data) = field("data: ") else { continue };
                let data: serde_json::Value = serde_json::from_str(data).unwrap();
                assert_eq!(data["type"], field("event: ").unwrap());
                assert!(field("id: ").unwrap().parse::<u64>().is_ok());
                return Some(serde_json::from_value(data).unwrap());
            }
            let chunk = tokio::time::timeout(DEADLINE, self.response.chunk())
                .await
                .unwrap()
                .unwrap()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that `pick` takes.
    async fn until<T>(&mut self, pick: impl Fn(&WatchEvent) -> Option<T>) -> T {
        loop {
            let event = self.next().await.expect("the stream goes on");
            if let Some(picked) = pick(&event) {
                return picked;
            }
        }
    }
}

fn job_state(event: &WatchEvent, name: &str) -> Option<JobState> {
    match event {
        WatchEvent::Job { job } if job.name.as_str() == name => Some(job.state),
        _ => None,
    }
}

#[tokio::test]
async fn a_watcher_sees_everything_to_the_end() {
    let master = Master::start().await;
    submit(&master.user, CHAIN).await;
    let mut watch = Watch::open(&master.user, 1).await;
    let Some(WatchEvent::Snapshot { build }) = watch.next().await else {
        panic!("a snapshot comes first")
    };
    assert_eq!((build.summary.state, build.jobs.len()), (BuildState::Running, 2));
    assert_eq!(build.jobs[0].waiting.as_deref(), Some("no cluster has joined"));

    // Why it waits changes without any event of the build.
    let west = Agent::join(&master, "west", &["GCP"]).await;
    let reason = watch.until(|event| match event {
        WatchEvent::Job { job } => job.waiting.clone().filter(|reason| reason.contains("west")),
        _ => None,
    });
    reason.await;
    drop(west);

    let east = Agent::join(&master, "east", &["AWS"]).await;
    let mut session = east.connect(Vec::new()).await;
    let attempt = session.assignment().await.attempt;
    // Nothing is written of this, and no event is made of it.
    let waits = |reason: &str| AgentFrame::Waits {
        attempt,
        reason: reason.to_owned(),
    };
    session.send(waits("waits for a node")).await;
    let reason = |event: &WatchEvent, wanted: Option<&str>| match event {
        WatchEvent::Job { job } if job.state == JobState::Assigned && job.waiting.as_deref() == wanted => Some(()),
        _ => None,
    };
    watch.until(|event| reason(event, Some("waits for a node"))).await;
    session.send(waits("")).await;
    watch.until(|event| reason(event, None)).await;
    session.run(attempt).await;
    watch
        .until(|event| job_state(event, "make").filter(|state| *state == JobState::Running))
        .await;
    let progress = TransferProgress {
        recipient: Recipient::Attempt(attempt),
        parent: None,
        from: None,
        route: RouteKind::Master,
        bytes: 10,
        done_bytes: 5,
        moved_bytes: 3,
        milliseconds: 1,
    };
    session.send(AgentFrame::Progress(progress)).await;
    let moved = watch.until(|event| match event {
        WatchEvent::Progress { progress } => Some((progress.job.clone(), progress.moved_bytes)),
        _ => None,
    });
    let moved = moved.await;
    assert_eq!((moved.0.as_str(), moved.1), ("make", 3));
    session.report(attempt, ended(TerminalState::Failure, 0, None)).await;
    watch
        .until(|event| job_state(event, "test").filter(|state| *state == JobState::Skipped))
        .await;
    let last = watch.until(|event| match event {
        WatchEvent::Build { build } if build.state.is_terminal() => Some(build.state),
        _ => None,
    });
    assert_eq!(last.await, BuildState::Failure);
    assert_eq!(watch.next().await, None, "the stream ends with the build");

    let mut late = Watch::open(&master.user, 1).await;
    assert!(matches!(late.next().await, Some(WatchEvent::Snapshot { .. })));
    assert!(matches!(late.next().await, Some(WatchEvent::Build { .. })));
    assert_eq!(late.next().await, None);
}

#[tokio::test]
async fn a_master_that_stops_ends_its_streams() {
    let mut master = Master::start().await;
    submit(&master.user, CHAIN).await;
    let east = Agent::join(&master, "east", &["GCP"]).await;
    let mut session = east.connect(Vec::new()).await;
    let mut watch = Watch::open(&master.user, 1).await;
    assert!(watch.next().await.is_some());
    master.stop().await;
    while watch.text.contains("\n\n") || watch.response.chunk().await.ok().flatten().is_some() {
        watch.text.clear();
    }
    while session.next().await.is_ok() {}
}
