//! Those who submit.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{interval, timeout};

use crate::tally::Tally;

/// The jobs of one build.
pub(crate) const JOBS: usize = 100;
/// Who submit at the same time.
pub(crate) const SUBMITTERS: usize = 16;
/// Builds that each of them has under way: the next one is sent while the last one runs.
const UNDER_WAY: usize = 2;
/// How long a build may take: a guard against hanging, not a measure.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where builds go, and where their ends are seen.
#[derive(Clone)]
pub(crate) struct Load {
    client: Client,
    url: String,
    body: Bytes,
    tally: Arc<Tally>,
}

impl Load {
    pub(crate) fn new(client: Client, url: String, tally: Arc<Tally>) -> Self {
        let job = |number| {
            json!({
                "name": format!("job-{number}"), "type": "docker-image", "image": "none", "command": ["true"],
                "resources": {"limits": {"cpu": 1, "memory": 1024}},
            })
        };
        let jobs: Vec<_> = (0..JOBS).map(job).collect();
        let file = json!({"version": 1, "jobs": jobs}).to_string();
        let body = json!({"job_file": {"name": "tombolo.json", "text": file}}).to_string();
        Self {
            client,
            url,
            body: body.into(),
            tally,
        }
    }

    /// Submits a build, and returns its number.
    async fn submit(&self) -> anyhow::Result<u64> {
        let request = self.client.post(&self.url).header("content-type", "application/json");
        let answer = request.body(self.body.clone()).send().await?;
        let status = answer.status();
        let text = answer.text().await?;
        ensure!(status.is_success(), "a build was not taken: {status} {text}");
        let build: Value = serde_json::from_str(&text)?;
        build["number"].as_u64().context("the number of a build")
    }

    async fn build(&self) -> anyhow::Result<()> {
        let number = self.submit().await?;
        let ended = timeout(PATIENCE, self.tally.build(number, JOBS)).await;
        ended.with_context(|| format!("build {number} does not end"))
    }

    /// As fast as it goes, for so long. Returns how many jobs ended a second.
    pub(crate) async fn as_fast_as_it_goes(&self, lasts: Duration) -> anyhow::Result<f64> {
        let (began, before) = (Instant::now(), self.tally.jobs());
        let mut submitters = JoinSet::new();
        for _ in 0..SUBMITTERS * UNDER_WAY {
            let load = self.clone();
            submitters.spawn(async move {
                while began.elapsed() < lasts {
                    load.build().await?;
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = submitters.join_next().await {
            ended??;
        }
        Ok((self.tally.jobs() - before) as f64 / began.elapsed().as_secs_f64())
    }

    /// So many builds a second, whether the ones before have ended or not. Returns how long each job waited for its start, from before
    /// its build was sent, in order.
    pub(crate) async fn at_a_rate(&self, builds_a_second: f64, lasts: Duration) -> anyhow::Result<Vec<Duration>> {
        let began = Instant::now();
        let mut ticks = interval(Duration::from_secs_f64(1.0 / builds_a_second));
        let mut builds = JoinSet::new();
        while began.elapsed() < lasts {
            ticks.tick().await;
            let load = self.clone();
            builds.spawn(async move {
                let sent = Instant::now();
                let number = load.submit().await?;
                let ended = timeout(PATIENCE, load.tally.build(number, JOBS)).await;
                ended.with_context(|| format!("build {number} does not end"))?;
                anyhow::Ok((sent, number))
            });
        }
        let mut waits = Vec::new();
        while let Some(build) = builds.join_next().await {
            let (sent, number) = build??;
            let starts = self.tally.starts(number);
            waits.extend(starts.into_iter().map(|start| start.saturating_duration_since(sent)));
        }
        waits.sort_unstable();
        Ok(waits)
    }
}

/// The value that so much (0 to 1) of a sorted list does not exceed, in milliseconds.
pub(crate) fn percentile(sorted: &[Duration], part: f64) -> f64 {
    let index = ((sorted.len() as f64 * part).ceil() as usize).clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).map_or(f64::NAN, |wait| wait.as_secs_f64() * 1_000.0)
}
