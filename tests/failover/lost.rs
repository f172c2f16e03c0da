//! A cluster that is not heard of any more, and where its jobs go on.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Client;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::master::{Agent, Master};
use crate::report::{Report, Row, Target};
use crate::rounds;
use crate::times::percentile;

/// What the design asks for, in seconds.
const WANTED: f64 = 20.0;
/// Of each kind in a round.
const JOBS: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long anything here may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// The states of jobs, by name: state and cluster.
type States = BTreeMap<String, (String, String)>;

pub(crate) fn run(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let master = Master::start(None)?;
    let slots = u32::try_from(4 * JOBS)?;
    let mut agents = BTreeMap::new();
    for name in ["east", "west"] {
        agents.insert(name, master.start_agent(name, slots)?);
    }
    master.wait_for_clusters(2)?;
    let user = User {
        client: master.client()?,
        url: master.builds(),
    };
    let rounds = rounds()?.div_ceil(4);
    let mut times: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for round in 0..rounds {
        let (lost, other) = [("east", "west"), ("west", "east")][round % 2];
        runtime.block_on(user.round(&agents[lost], lost, other, &mut times))?;
        master.wait_for_clusters(2)?;
    }
    for (case, kind) in [
        ("cluster lost, jobs not started, p99", "unstarted"),
        ("cluster lost, `replace`, p99", "replace"),
        ("cluster lost, `exclusive`, p99", "exclusive"),
    ] {
        let mut times = times.remove(kind).unwrap_or_default();
        times.sort_by(f64::total_cmp);
        report.rows.push(Row {
            case,
            unit: "s",
            ours: percentile(&times, 0.99),
            against: "wanted",
            theirs: WANTED,
            target: Target::Limit,
        });
    }
    report.notes.push(format!(
        "a lost cluster: its agent stops (SIGSTOP), as its machine would, with default leases; {rounds} rounds of {JOBS} jobs of each kind; until the command runs \
         elsewhere"
    ));
    Ok(())
}

struct User {
    client: Client,
    url: String,
}

impl User {
    async fn round(
        &self,
        agent: &Agent,
        lost: &str,
        other: &str,
        times: &mut BTreeMap<&'static str, Vec<f64>>,
    ) -> anyhow::Result<()> {
        let job = |kind: &str, number: usize, says: &Value| {
            let mut job = json!({
                "name": format!("{kind}-{number}"), "type": "docker-image", "image": "none", "command": ["sleep", "1000"],
                "cluster": {"prefer": lost},
            });
            if let (Some(job), Some(says)) = (job.as_object_mut(), says.as_object()) {
                job.extend(says.clone());
            }
            job
        };
        let of_kind = |kind: &'static str, says: Value| (0..JOBS).map(move |number| job(kind, number, &says));
        let running = of_kind("replace", json!({"on_disconnect": "replace"}));
        let running = running.chain(of_kind("exclusive", json!({"exclusive": true})));
        let first = self.submit(running.collect()).await?;
        self.wait_for(first, |states| all(states, "running", lost)).await?;
        let began = Instant::now();
        agent.signal(Signal::STOP)?;
        // It is not known yet that nobody takes these.
        let second = self.submit(of_kind("unstarted", json!({})).collect()).await?;
        let mut seen = BTreeMap::new();
        while seen.len() < 3 * JOBS {
            ensure!(began.elapsed() < PATIENCE, "jobs of `{lost}` do not go on: {seen:?}");
            for build in [first, second] {
                for (name, (state, cluster)) in self.states(build).await? {
                    if state == "running" && cluster == other {
                        seen.entry(name).or_insert_with(|| began.elapsed().as_secs_f64());
                    }
                }
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        for kind in ["unstarted", "replace", "exclusive"] {
            let those = seen.iter().filter(|(name, _)| name.starts_with(kind));
            let those: Vec<f64> = those.map(|(_, took)| *took).collect();
            println!(
                "{lost} lost: {kind} after {:.2} s",
                those.iter().copied().fold(0.0, f64::max)
            );
            times.entry(kind).or_default().extend(those);
        }
        agent.signal(Signal::CONT)?;
        for build in [first, second] {
            let cancel = self.client.post(format!("{}/{build}/cancel", self.url)).send().await?;
            cancel.error_for_status()?;
            self.wait_for(build, |states| states.values().all(|(state, _)| state == "killed"))
                .await?;
        }
        Ok(())
    }

    async fn submit(&self, jobs: Vec<Value>) -> anyhow::Result<u64> {
        let file = json!({"version": 1, "jobs": jobs}).to_string();
        let body = json!({"job_file": {"name": "tombolo.yaml", "text": file}}).to_string();
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let answer = request.body(body).send().await?;
        let (status, text) = (answer.status(), answer.text().await?);
        ensure!(status.is_success(), "a build was not taken: {status} {text}");
        let build: Value = serde_json::from_str(&text)?;
        build["number"].as_u64().context("the number of a build")
    }

    async fn states(&self, build: u64) -> anyhow::Result<States> {
        let answer = self.client.get(format!("{}/{build}", self.url)).send().await?;
        let build: Value = serde_json::from_slice(&answer.error_for_status()?.bytes().await?)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let jobs = build["jobs"].as_array().context("jobs")?.iter();
        Ok(jobs
            .map(|job| (text(&job["name"]), (text(&job["state"]), text(&job["cluster"]))))
            .collect())
    }

    async fn wait_for(&self, build: u64, wanted: impl Fn(&States) -> bool) -> anyhow::Result<()> {
        let began = Instant::now();
        loop {
            let states = self.states(build).await?;
            if wanted(&states) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "waited in vain: {states:?}");
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

fn all(states: &States, state: &str, cluster: &str) -> bool {
    let is = |found: &(String, String)| found.0 == state && found.1 == cluster;
    states.values().all(is)
}
