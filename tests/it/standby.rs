//! Several masters: one leads, the others pass connections on to it, and one of them takes over when it is gone, stands still, is cut off or
//! goes by itself. No job is lost, and none is started again.

mod cable;
mod installation;

use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::postgres::server;
use crate::world::{PROGRAM, job};
use installation::Installation;

/// The lease of a leader, as the masters have it by default.
const LEASE: Duration = Duration::from_secs(3);

/// Jobs that run while the masters change, some that wait for room, and some that wait for others and their outputs.
const BUSY: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "for i in $(seq 1 40); do echo line $i; sleep 0.25; done; head -c 200000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    resources: {limits: {cpu: 1, memory: 256}}
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = 200000"]
    depends_on: [build]
    cluster: {selector: [GCP]}
"#;

/// The same with more jobs than there is room for.
fn busy() -> String {
    let mut text = BUSY.to_owned();
    for number in 0..12 {
        text.push_str(&format!(
            "  - {{name: many-{number}, type: docker-image, image: b, command: [sh, -c, 'echo begin; sleep 1.5; echo end'], \
             cluster: {{selector: [AWS]}}}}\n"
        ));
    }
    text
}

struct World {
    installation: Installation,
}

impl World {
    fn start() -> Self {
        Self::start_with(LEASE)
    }

    fn start_with(lease: Duration) -> Self {
        let mut installation = Installation::start(&PROGRAM, 2, lease);
        installation.wait_for_role(1, "standby");
        installation.add_agent("east", "AWS");
        installation.add_agent("west", "GCP");
        Self { installation }
    }

    /// Submits the busy build through a master, and waits until it runs.
    #[track_caller]
    fn submit(&self, master: usize) -> u64 {
        let file = self.installation.write("tombolo.yaml", &busy());
        let printed = self
            .installation
            .tombolo(master, &["run", &file.display().to_string(), "-o", "name"]);
        assert_eq!(printed.code, 0, "{printed:?}");
        let number = printed.output.trim().parse().expect("a number");
        self.installation.wait_for("the build to run", || {
            let build = self.build(master, number)?;
            (job(&build, "build")["state"] == "running").then_some(())
        });
        number
    }

    fn build(&self, master: usize, number: u64) -> Option<Value> {
        let printed = self
            .installation
            .tombolo(master, &["jobs", &number.to_string(), "-o", "json"]);
        (printed.code == 0).then(|| printed.json())
    }

    /// Waits for the end of a busy build: everything was done, and done once.
    #[track_caller]
    fn finished_once(&self, master: usize, number: u64) {
        let build = self.installation.wait_for("the end of the build", || {
            self.build(master, number).filter(|build| build["state"] != "running")
        });
        assert_eq!(build["state"], "finished", "{build:#}");
        let jobs = build["jobs"].as_array().expect("a list of jobs");
        assert_eq!(jobs.len(), 14);
        for job in jobs {
            assert_eq!(job["epoch"], 1, "it was started again: {job:#}");
        }
        let number = number.to_string();
        let log = self
            .installation
            .tombolo(master, &["logs", &number, "build", "--follow"]);
        let lines = log.output.lines().filter(|line| line.starts_with("line "));
        let expected: Vec<String> = (1..=40).map(|line| format!("line {line}")).collect();
        assert_eq!(lines.collect::<Vec<_>>(), expected, "{log:?}");
    }

    /// Waits until a master leads, and gives how long that took.
    #[track_caller]
    fn led_by(&self, master: usize, since: Instant) -> Duration {
        self.installation.wait_for_role(master, "leader");
        since.elapsed()
    }
}

#[test]
fn a_standby_passes_users_and_agents_on_to_the_leader() {
    let world = World::start();
    // The second one does not lead, and answers nevertheless.
    let number = world.submit(1);
    world.finished_once(1, number);
    let tokens = (0..2).filter(|index| world.installation.path(&format!("master-{index}/admin.token")).exists());
    assert_eq!(tokens.collect::<Vec<_>>(), [0], "one installation has one first token");
}

#[test]
fn a_killed_leader_is_followed_and_no_job_is_lost_or_started_again() {
    let mut world = World::start();
    let number = world.submit(0);
    let killed = Instant::now();
    world.installation.end(0, Signal::KILL);
    let took = world.led_by(1, killed);
    assert!(
        took >= LEASE / 2,
        "whether the leader is dead nobody can know before its lease is over: {took:?}"
    );
    world.installation.wait_for_clusters(2);
    let second = world.submit(1);
    world.finished_once(1, number);
    // The one that was killed comes back, and stands by.
    world.installation.start_master(0);
    world.installation.wait_for_role(0, "standby");
    world.finished_once(0, second);
    assert_eq!(world.installation.leader(), 1);
}

/// Requests over connections that are open already find the master as it was, before it has noticed anything.
#[test]
fn a_leader_that_stood_still_tells_nobody_what_it_knew() {
    let world = World::start();
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let (client, url) = (world.installation.client(), world.installation.url(0));
    let ask = || {
        let request = client.get(format!("{url}/api/v1/projects")).send();
        async move {
            let answer = request.await.ok()?;
            let is_success = answer.status().is_success();
            answer.text().await.ok().filter(|_| is_success)
        }
    };
    assert!(
        runtime.block_on(async { ask().await }).is_some(),
        "the connection is open"
    );
    world.installation.pause(0);
    let late = runtime.spawn({
        let _within = runtime.enter();
        ask()
    });
    world.led_by(1, Instant::now());
    let created = world.installation.tombolo(1, &["project", "create", "newer"]);
    assert_eq!(created.code, 0, "{created:?}");
    world.installation.signal(0, Signal::CONT);
    let late = runtime.block_on(late).expect("the request ends");
    assert!(
        late.as_ref().is_none_or(|text| text.contains("newer")),
        "out of date: {late:?}"
    );
    world.installation.wait_for_role(0, "standby");
    let again = runtime.block_on(async { ask().await });
    assert!(
        again.is_some_and(|text| text.contains("newer")),
        "the standby passes it on"
    );
}

#[test]
fn a_leader_that_stood_still_acts_on_nothing_when_it_goes_on() {
    let world = World::start();
    let number = world.submit(0);
    world.installation.pause(0);
    // Somebody asks the one that stands still for something.
    let late = thread::scope(|scope| {
        let asking = scope.spawn(|| world.installation.tombolo(0, &["project", "create", "late"]));
        world.led_by(1, Instant::now());
        world.installation.wait_for_clusters_through(1, 2);
        let second = world.submit(1);
        world.installation.signal(0, Signal::CONT);
        world.installation.wait_for_role(0, "standby");
        world.finished_once(1, number);
        world.finished_once(0, second);
        asking.join().expect("the command ends")
    });
    let projects = world.installation.tombolo(1, &["project", "list", "-o", "json"]).output;
    let is_there = projects.contains("\"late\"");
    assert!(
        late.code != 0 || is_there,
        "what was acknowledged is not there: {late:?}"
    );
    assert_eq!(world.installation.leader(), 1);
    let log = world.installation.log("master-0");
    assert!(log.contains("does not lead any more"), "{log}");
}

/// As a rolling upgrade does it: each in its turn, the leader last and first.
#[test]
fn leaders_that_are_told_to_go_hand_over_at_once() {
    // Nothing else takes as long.
    let lease = 20 * LEASE;
    let mut world = World::start_with(lease);
    let number = world.submit(0);
    for (leader, other) in [(0, 1), (1, 0)] {
        let told = Instant::now();
        world.installation.signal(leader, Signal::TERM);
        let took = world.led_by(other, told);
        assert!(took < lease, "the lease was waited for: {took:?}");
        assert_eq!(world.installation.wait_for_end(leader), Some(0));
        world.installation.wait_for_clusters(2);
        world.installation.start_master(leader);
        world.installation.wait_for_role(leader, "standby");
    }
    world.finished_once(1, number);
}

/// Starts each master again in its turn, with the files that there are now.
fn start_all_again(world: &mut World) {
    for (leader, other) in [(0, 1), (1, 0)] {
        world.installation.signal(leader, Signal::TERM);
        world.led_by(other, Instant::now());
        assert_eq!(world.installation.wait_for_end(leader), Some(0));
        world.installation.wait_for_clusters(2);
        world.installation.start_master(leader);
        world.installation.wait_for_role(leader, "standby");
    }
}

/// In between, one master has the files of before and one those of today, and either leads.
#[test]
fn another_certificate_authority_is_taken_over_by_one_master_after_the_other() {
    let mut world = World::start_with(20 * LEASE);
    let place = |name: &str| {
        world
            .installation
            .path(&format!("authority/{name}"))
            .display()
            .to_string()
    };
    let (certificates, key) = (place("ca.pem"), place("ca.key.pem"));
    let number = world.submit(0);
    for (step, roots) in [("rotate", 2), ("finish", 1)] {
        let words = ["ca", step, "--certificate", &certificates, "--key", &key];
        let done = world.installation.tombolo(1, &words);
        assert_eq!(done.code, 0, "{done:?}");
        start_all_again(&mut world);
        world.installation.wait_for("both clusters to come along", || {
            let status = world.installation.tombolo(1, &["ca", "status", "-o", "json"]);
            let status = (status.code == 0).then(|| status.json())?;
            let clusters = status["clusters"].as_array()?;
            let all = clusters.len() == 2 && clusters.iter().all(|cluster| cluster["state"] == "current");
            (all && status["roots"].as_array()?.len() == roots).then_some(())
        });
    }
    world.finished_once(1, number);
    let second = world.submit(0);
    world.finished_once(1, second);
}

#[test]
fn a_leader_without_its_database_stops_acting_and_the_other_one_leads() {
    let world = World::start();
    let number = world.submit(0);
    let cut = Instant::now();
    world.installation.cable(0).cut();
    world.led_by(1, cut);
    let role = world.installation.role(0);
    assert_ne!(role.as_deref(), Some("leader"), "two lead at once");
    world.installation.wait_for_clusters_through(1, 2);
    world.installation.cable(0).mend();
    world.installation.wait_for_role(0, "standby");
    world.finished_once(0, number);
}

#[test]
fn a_database_that_restarts_is_ridden_through() {
    let world = World::start();
    let number = world.submit(0);
    // Shorter than the lease, and longer.
    for away in [LEASE / 4, LEASE * 2] {
        world.installation.server.kill();
        thread::sleep(away);
        world.installation.server.start_again();
        let leader = world.installation.leader();
        world.installation.wait_for_role(1 - leader, "standby");
        world.installation.wait_for_clusters(2);
    }
    world.finished_once(1, number);
}

/// Nobody leads: users are told so, and when to come again, by the master itself.
#[test]
fn without_a_leader_users_are_told_to_try_again() {
    let world = World::start();
    world.installation.server.kill();
    thread::sleep(LEASE + LEASE / 2);
    for master in [0, 1] {
        let printed = world.installation.tombolo(master, &["project", "list"]);
        assert_eq!(printed.code, 5, "{printed:?}");
        assert!(printed.error.contains("no master"), "{printed:?}");
    }
    world.installation.server.start_again();
    world.installation.leader();
    world.installation.wait_for_clusters(2);
}
