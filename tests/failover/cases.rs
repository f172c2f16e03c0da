//! What is measured, in one run.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::installation::{Installation, PATIENCE};
use crate::report::{Report, Row, Target};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tombolo");
/// How many jobs are live, in how many builds: they wait for a cluster that does not come.
const BUILDS: usize = 1000;
const JOBS: usize = 100;
/// Builds that are submitted at once.
const SUBMITTERS: usize = 8;
/// What the design asks for, in seconds.
const WANTED: f64 = 5.0;
/// Between two requests of a user who waits.
const ASK_AGAIN: Duration = Duration::from_millis(10);

pub(crate) fn run() -> anyhow::Result<Report> {
    let rounds: usize = std::env::var("TOMBOLO_BENCH_ROUNDS").map_or(Ok(20), |rounds| rounds.parse())?;
    let mut installation = Installation::start(Path::new(PROGRAM), 2, Duration::from_secs(3));
    installation.wait_for_role(1, "standby");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start")?;
    let mut user = User::of(&installation);
    let filled = Instant::now();
    runtime.block_on(user.fill(&installation.url(0)))?;
    println!(
        "{} jobs submitted in {:.1} s",
        BUILDS * JOBS,
        filled.elapsed().as_secs_f64()
    );
    let mut report = Report {
        bench: "failover",
        ..Report::default()
    };
    for (signal, cases) in [
        (Signal::KILL, ["leader killed, p50", "leader killed, p99"]),
        (Signal::TERM, ["leader told to go, p50", "leader told to go, p99"]),
    ] {
        let times = measure(&mut installation, &mut user, &runtime, signal, rounds)?;
        for (case, part, target) in [(cases[0], 0.5, Target::Told), (cases[1], 0.99, Target::Limit)] {
            report.rows.push(Row {
                case,
                unit: "s",
                ours: percentile(&times, part),
                against: "wanted",
                theirs: WANTED,
                target,
            });
        }
    }
    report.notes.push(format!(
        "{} live jobs, {rounds} rounds each; from the signal until the other master answers a user's question from the database's \
         state, and has taken a build",
        BUILDS * JOBS
    ));
    Ok(report)
}

/// The times in seconds, in order.
fn measure(
    installation: &mut Installation,
    user: &mut User,
    runtime: &Runtime,
    signal: Signal,
    rounds: usize,
) -> anyhow::Result<Vec<f64>> {
    let mut times = Vec::with_capacity(rounds);
    for round in 0..rounds {
        let leader = installation.leader();
        let other = 1 - leader;
        installation.wait_for_role(other, "standby");
        let began = Instant::now();
        installation.signal(leader, signal);
        // Until then it passes users on.
        installation.wait_for_role(other, "leader");
        runtime.block_on(user.wait_for(&installation.url(other), began))?;
        let took = began.elapsed().as_secs_f64();
        println!("{signal:?}, round {round}: {took:.2} s");
        times.push(took);
        installation.wait_for_end(leader);
        installation.start_master(leader);
    }
    times.sort_by(f64::total_cmp);
    Ok(times)
}

/// The value that so much (0 to 1) of a sorted list does not exceed.
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(f64::NAN)
}

/// Who asks and submits.
struct User {
    client: Client,
    /// The number of the last build that was acknowledged.
    builds: u64,
}

impl User {
    fn of(installation: &Installation) -> Self {
        Self {
            client: installation.client(),
            builds: 0,
        }
    }

    async fn fill(&mut self, url: &str) -> anyhow::Result<()> {
        let mut submitting = tokio::task::JoinSet::new();
        for _ in 0..BUILDS {
            if submitting.len() >= SUBMITTERS
                && let Some(submitted) = submitting.join_next().await
            {
                submitted??;
            }
            let (client, url) = (self.client.clone(), url.to_owned());
            submitting.spawn(async move { submit(&client, &url, JOBS).await });
        }
        while let Some(submitted) = submitting.join_next().await {
            submitted??;
        }
        self.builds = BUILDS as u64;
        Ok(())
    }

    /// Waits until a master answers, and takes a build. All builds before are there.
    async fn wait_for(&mut self, url: &str, since: Instant) -> anyhow::Result<()> {
        loop {
            let asked = self.client.get(format!("{url}/api/v1/projects/default/builds?limit=1"));
            if let Ok(answer) = asked.send().await
                && answer.status().is_success()
                && let Ok(list) = answer.json::<Value>().await
                && let Ok(number) = submit(&self.client, url, 1).await
            {
                // Of a request whose answer was lost, nobody knows.
                let last = list["builds"][0]["number"].as_u64().context("the last build")?;
                ensure!(last >= self.builds, "builds were lost: {list}");
                ensure!(number == last + 1, "build {number} does not follow {last}");
                self.builds = number;
                return Ok(());
            }
            ensure!(since.elapsed() < PATIENCE, "nobody takes over");
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }
}

async fn submit(client: &Client, url: &str, jobs: usize) -> anyhow::Result<u64> {
    let job = |number| {
        json!({
            "name": format!("job-{number}"), "type": "docker-image", "image": "none", "command": ["true"],
            "cluster": {"selector": ["nowhere"]},
        })
    };
    let file = json!({"version": 1, "jobs": (0..jobs).map(job).collect::<Vec<_>>()}).to_string();
    let body = json!({"job_file": {"name": "tombolo.json", "text": file}}).to_string();
    let request = client.post(format!("{url}/api/v1/projects/default/builds"));
    let answer = request
        .header("content-type", "application/json")
        .body(body)
        .send()
        .await?;
    let status = answer.status();
    let text = answer.text().await?;
    ensure!(status.is_success(), "a build was not taken: {status} {text}");
    let build: Value = serde_json::from_str(&text)?;
    build["number"].as_u64().context("the number of a build")
}
