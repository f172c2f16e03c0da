//! One job at a time, as a process, on a system that has nothing else to do.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use futures::StreamExt;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::load::percentile;
use crate::master::Master;
use crate::report::{Report, Row, Target};

/// What is not measured: connections are made, files come to memory.
const WARM_UP: usize = 20;
const JOBS: usize = 200;
/// Between two jobs, so that nothing of the one is still going on when the next one comes.
const PAUSE: Duration = Duration::from_millis(50);
/// What the design asks for, in milliseconds.
const WANTED: f64 = 25.0;
/// How long a job may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) async fn run(report: &mut Report) -> anyhow::Result<()> {
    let master = tokio::task::block_in_place(|| Master::start(None))?;
    let _agent = tokio::task::block_in_place(|| {
        let agent = master.start_agent("one", 1)?;
        master.wait_for_clusters(1)?;
        anyhow::Ok(agent)
    })?;
    let (client, url) = (master.client()?, master.builds());
    let mut times = Vec::with_capacity(JOBS);
    for number in 0..WARM_UP + JOBS {
        tokio::time::sleep(PAUSE).await;
        let began = Instant::now();
        timeout(PATIENCE, job(&client, &url))
            .await
            .context("a job does not end")??;
        if number >= WARM_UP {
            times.push(began.elapsed());
        }
    }
    times.sort_unstable();
    for (case, part, target) in [
        ("one job, p50", 0.5, Target::Limit),
        ("one job, p99", 0.99, Target::Told),
    ] {
        report.rows.push(Row {
            case,
            unit: "ms",
            ours: percentile(&times, part),
            against: "wanted of the median",
            theirs: WANTED,
            target,
        });
    }
    report.notes.push(format!(
        "one job: {JOBS} builds of one job, `true` as a process, one after the other on an idle system with SQLite; from before the \
         build is sent until its end has come by the stream of events"
    ));
    Ok(())
}

/// Submits a build of one job, and follows it to its end.
async fn job(client: &Client, url: &str) -> anyhow::Result<()> {
    let file =
        json!({"version": 1, "jobs": [{"name": "one", "type": "docker-image", "image": "none", "command": ["true"]}]});
    let body = json!({"job_file": {"name": "tombolo.json", "text": file.to_string()}}).to_string();
    let request = client.post(url).header("content-type", "application/json").body(body);
    let answer = request.send().await?.error_for_status()?;
    let build: Value = serde_json::from_slice(&answer.bytes().await?)?;
    let number = build["number"].as_u64().context("the number of a build")?;
    let events = client.get(format!("{url}/{number}/events")).send().await?;
    let mut events = events.error_for_status()?.bytes_stream();
    let (mut text, mut state) = (Vec::new(), None);
    while let Some(piece) = events.next().await {
        text.extend_from_slice(&piece?);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            if let Some(data) = line.strip_prefix(b"data:") {
                let event: Value = serde_json::from_slice(data)?;
                state = event["build"]["state"].as_str().map(str::to_owned).or(state);
            }
        }
        match state.as_deref() {
            None | Some("running") => {}
            Some(ended) => {
                ensure!(ended == "finished", "build {number} ended as {ended}");
                return Ok(());
            }
        }
    }
    bail!("the events of build {number} ended before it did")
}
