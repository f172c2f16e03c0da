//! No master at all for a long time, while jobs run and end.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::master::Master;
use crate::report::{Report, Row, Target};

/// How long nobody is there, if nobody says otherwise: `TOMBOLO_BENCH_OUTAGE`, in seconds.
const OUTAGE: u64 = 600;
const JOBS: u64 = 20;
/// How long anything here may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

pub(crate) fn run(runtime: &Runtime, report: &mut Report) -> anyhow::Result<()> {
    let outage = std::env::var("TOMBOLO_BENCH_OUTAGE").map_or(Ok(OUTAGE), |seconds| seconds.parse())?;
    let mut master = Master::start(None)?;
    let agents = [
        master.start_agent("east", u32::try_from(JOBS)?)?,
        master.start_agent("west", u32::try_from(JOBS)?)?,
    ];
    master.wait_for_clusters(2)?;
    let (client, url) = (master.client()?, master.builds());
    runtime.block_on(submit(&client, &url, outage))?;
    runtime.block_on(wait_for(&client, &url, |job| job["state"] == "running"))?;
    master.stop_at_once()?;
    println!("no master for {outage} s");
    std::thread::sleep(Duration::from_secs(outage));
    master.start_again()?;
    let jobs = runtime.block_on(wait_for(&client, &url, |job| job["ended_at"].is_string()))?;
    drop(agents);
    let finished = jobs.iter().filter(|job| job["state"] == "finished").count();
    ensure!(finished as u64 == JOBS, "not all finished: {jobs:#?}");
    let restarted = jobs.iter().filter(|job| job["epoch"] != 1).count();
    let mut missing = 0;
    for (job, number) in jobs.iter().zip(0..) {
        let name = job["name"].as_str().context("a name")?;
        let log = runtime.block_on(log(&client, &format!("{url}/1/jobs/{name}/log?follow=true")))?;
        let said: Vec<String> = (1..=lines(number, outage)).map(|line| format!("line {line}")).collect();
        missing += said.iter().filter(|line| !log.contains(line)).count();
        ensure!(log.len() <= said.len(), "lines of {name} came twice: {log:#?}");
    }
    for (case, unit, count) in [
        ("no master, jobs restarted", "jobs", restarted as f64),
        ("no master, lines of logs lost", "lines", missing as f64),
    ] {
        report.rows.push(Row {
            case,
            unit,
            ours: count,
            against: "wanted",
            theirs: 0.0,
            target: Target::Limit,
        });
    }
    report.notes.push(format!(
        "no master for {outage} s: {JOBS} jobs on two clusters that write a line each second, and end before, during and after it"
    ));
    Ok(())
}

/// The lines of a job's log, as users get them.
async fn log(client: &Client, url: &str) -> anyhow::Result<Vec<String>> {
    let answer = client.get(url).send().await?.error_for_status()?.text().await?;
    let items = answer.lines().filter(|line| !line.is_empty());
    let text = |item: &str| Ok(serde_json::from_str::<Value>(item)?["text"].as_str().map(str::to_owned));
    let lines: anyhow::Result<Vec<Option<String>>> = items.map(text).collect();
    // The agent has a word of its own at the beginning.
    let lines = lines?.into_iter().flatten();
    Ok(lines.filter(|line| line.starts_with("line ")).collect())
}

/// How many lines a job writes: one a second. The last ones outlast the outage.
const fn lines(number: u64, outage: u64) -> u64 {
    5 + number * (outage + 20) / JOBS
}

async fn submit(client: &Client, url: &str, outage: u64) -> anyhow::Result<()> {
    let job = |number| {
        let command = format!(
            "for line in $(seq {}); do echo line $line; sleep 1; done",
            lines(number, outage)
        );
        json!({"name": format!("job-{number:02}"), "type": "docker-image", "image": "none", "command": ["sh", "-c", command]})
    };
    let file = json!({"version": 1, "jobs": (0..JOBS).map(job).collect::<Vec<_>>()}).to_string();
    let body = json!({"job_file": {"name": "tombolo.json", "text": file}}).to_string();
    let request = client.post(url).header("content-type", "application/json").body(body);
    request.send().await?.error_for_status()?;
    Ok(())
}

/// The jobs of the first build, once all are as wanted.
async fn wait_for(client: &Client, url: &str, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Vec<Value>> {
    let began = Instant::now();
    loop {
        let answer = async {
            let answer = client.get(format!("{url}/1")).send().await?.error_for_status()?;
            anyhow::Ok(serde_json::from_slice::<Value>(&answer.bytes().await?)?)
        };
        let build = answer.await;
        if let Ok(build) = &build {
            let jobs = build["jobs"].as_array().context("jobs")?;
            if jobs.iter().all(&wanted) {
                return Ok(jobs.clone());
            }
        }
        ensure!(began.elapsed() < PATIENCE, "waited in vain: {build:#?}");
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}
