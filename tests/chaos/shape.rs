//! What builds of the load are like.

use std::net::SocketAddr;
use std::path::PathBuf;

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value, json};

use crate::judge::history::Asked;
use crate::judge::plan::CLUSTERS;

/// How much longer than others commands work that say what becomes of them when nobody hears of their cluster: longer than a lease, so that it often
/// comes to that.
const LONGER: u64 = 14;

/// What all commands have in common.
pub(crate) struct Work {
    /// The file of commands' words.
    pub(crate) witness: PathBuf,
    /// Where those say theirs that do not see it: commands in pods.
    pub(crate) hears: Option<SocketAddr>,
    pub(crate) command: Vec<String>,
}

/// What pods run commands in; nodes have it.
const IMAGE: &str = "docker.io/library/busybox:1";

/// A job to ask for.
pub(crate) struct Job {
    pub(crate) asked: Asked,
    /// How many halves of a second it works.
    rounds: u64,
    /// How much it leaves.
    bytes: u64,
    /// What else its file says.
    says: Value,
    /// The jobs that come before it, as the file names them.
    after: Vec<Value>,
}

impl Job {
    fn new(name: &str, chance: &mut ChaCha8Rng) -> Self {
        Self {
            asked: Asked {
                name: name.to_owned(),
                lines: chance.random_range(5..60),
                ..Asked::default()
            },
            rounds: chance.random_range(1..8),
            bytes: chance.random_range(10..100_000),
            says: json!({}),
            after: Vec::new(),
        }
    }

    fn says(mut self, says: Value) -> Self {
        self.says = says;
        self
    }

    fn at(mut self, selector: &str) -> Self {
        self.asked.selector = vec![selector.to_owned()];
        self
    }

    fn after(mut self, parents: &[&str]) -> Self {
        self.asked.parents = parents.iter().map(|parent| (*parent).to_owned()).collect();
        self.after = parents.iter().map(|parent| json!(parent)).collect();
        self
    }
}

/// Any of the shapes.
pub(crate) fn any(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let shapes: [fn(&mut ChaCha8Rng) -> Vec<Job>; 8] =
        [chain, large, exclusive, replaced, array, retried, talkative, failing];
    shapes[chance.random_range(0..shapes.len())](chance)
}

fn zone(chance: &mut ChaCha8Rng) -> String {
    format!("zone={}", CLUSTERS[chance.random_range(0..CLUSTERS.len())])
}

/// One after the other, on clusters of which each has another store.
fn chain(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let (first, last) = (zone(chance), zone(chance));
    vec![
        Job::new("make", chance).at(&first),
        Job::new("shape", chance).after(&["make"]).at("store=bucket"),
        Job::new("turn", chance).after(&["make"]).at("store=folder"),
        Job::new("join", chance).after(&["shape", "turn"]).at(&last),
    ]
}

/// Megabytes that go to other clusters.
fn large(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let (first, second, third) = (zone(chance), zone(chance), zone(chance));
    let mut make = Job::new("make", chance).at(&first);
    make.bytes = chance.random_range(2 << 20..8 << 20);
    vec![
        make,
        Job::new("read", chance).after(&["make"]).at(&second),
        Job::new("read-too", chance).after(&["make"]).at(&third),
    ]
}

/// Commands that must not run twice at once, with one that takes what they leave.
fn exclusive(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let mut jobs = Vec::new();
    for name in ["migrate", "publish"] {
        let prefer = CLUSTERS[chance.random_range(0..CLUSTERS.len())];
        let mut job = Job::new(name, chance).says(json!({"exclusive": true, "cluster": {"prefer": prefer}}));
        job.asked.exclusive = true;
        job.rounds += LONGER;
        jobs.push(job);
    }
    jobs.push(Job::new("report", chance).after(&["migrate", "publish"]));
    jobs
}

/// Commands that are placed again as soon as nobody hears of their cluster.
fn replaced(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let mut jobs = Vec::new();
    for name in ["render", "mix"] {
        let mut job = Job::new(name, chance).says(json!({"on_disconnect": "replace"}));
        job.rounds += LONGER;
        jobs.push(job);
    }
    jobs.push(
        Job::new("show", chance)
            .after(&["render", "mix"])
            .says(json!({"on_disconnect": "replace"})),
    );
    jobs
}

/// Many of one, and one that takes all that they leave.
fn array(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let count = chance.random_range(3..7);
    let mut parts = Job::new("part", chance).says(json!({"count": count, "parallel": 3}));
    parts.asked.count = count;
    let mut gather = Job::new("gather", chance).after(&["part"]);
    gather.asked.parents = (0..count).map(|index| format!("part/{index}")).collect();
    vec![parts, gather]
}

/// A command that fails at first.
fn retried(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let retry = json!({"retry": {"count": 2, "backoff": {"initial": "1s", "factor": 1, "max": "1s"}}});
    let mut flaky = Job::new("flaky", chance).says(retry);
    flaky.asked.fails_until = 1;
    vec![flaky, Job::new("then", chance).after(&["flaky"]).at("store=bucket")]
}

/// A long log.
fn talkative(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let at = zone(chance);
    let mut talk = Job::new("talk", chance).at(&at);
    talk.asked.lines = chance.random_range(500..3_000);
    talk.rounds = 12;
    vec![talk]
}

/// One that fails, one that comes because of that, and one that does not.
fn failing(chance: &mut ChaCha8Rng) -> Vec<Job> {
    let mut fails = Job::new("fails", chance);
    fails.asked.fails_until = u32::MAX;
    let mut tidy = Job::new("tidy", chance);
    tidy.after = vec![json!({"job": "fails", "on": ["*"]})];
    vec![fails, tidy, Job::new("never", chance).after(&["fails"])]
}

/// What is sent to a master.
pub(crate) fn body(jobs: &[Job], tag: &str, work: &Work) -> Value {
    let hears = work.hears.map(|hears| format!("{} {}", hears.ip(), hears.port()));
    let job = |job: &Job| {
        let asked = &job.asked;
        let environment = json!({
            "WORK_TAG": tag, "WORK_WITNESS": work.witness, "WORK_PARENTS": asked.parents.join(" "),
            "WORK_ROUNDS": job.rounds.to_string(), "WORK_LINES": asked.lines.to_string(),
            "WORK_BYTES": job.bytes.to_string(), "WORK_FAILS_UNTIL": asked.fails_until.to_string(),
            "WORK_HEARS": hears.as_deref().unwrap_or_default(),
        });
        let mut file = Map::from_iter([
            ("name".to_owned(), json!(asked.name)),
            ("type".to_owned(), json!("docker-image")),
            ("image".to_owned(), json!(IMAGE)),
            ("command".to_owned(), json!(work.command)),
            ("environment".to_owned(), environment),
            // Nodes share the processors of one machine.
            ("resources".to_owned(), json!({"limits": {"cpu": 0.31, "memory": 256}})),
        ]);
        if !job.after.is_empty() {
            file.insert("depends_on".to_owned(), json!(job.after));
        }
        if !asked.selector.is_empty() {
            file.insert("cluster".to_owned(), json!({"selector": asked.selector}));
        }
        file.extend(job.says.as_object().cloned().unwrap_or_default());
        Value::Object(file)
    };
    let file = json!({"version": 1, "jobs": jobs.iter().map(job).collect::<Vec<_>>()}).to_string();
    json!({"job_file": {"name": "tombolo.json", "text": file}, "revision": {"commit": tag}})
}
