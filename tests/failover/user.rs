//! Who asks and submits while masters come and go.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use reqwest::Client;
use serde_json::{Value, json};

use crate::installation::PATIENCE;

/// How many jobs are live, in how many builds.
const BUILDS: usize = 1000;
const JOBS: usize = 100;
pub(crate) const LIVE_JOBS: usize = BUILDS * JOBS;
/// Builds that are submitted at once.
const SUBMITTERS: usize = 8;
/// Between two requests of a user who waits.
const ASK_AGAIN: Duration = Duration::from_millis(10);

/// Who asks and submits.
pub(crate) struct User {
    client: Client,
    project: String,
    /// Where the builds of the project are.
    url: String,
    /// The number of the last build that was acknowledged.
    builds: u64,
}

impl User {
    pub(crate) fn of(client: Client, master: &str, project: &str) -> Self {
        let mut user = Self {
            client,
            project: project.to_owned(),
            url: String::new(),
            builds: 0,
        };
        user.go_to(master);
        user
    }

    /// Asks this master from now on.
    pub(crate) fn go_to(&mut self, master: &str) {
        self.url = format!("{master}/api/v1/projects/{}/builds", self.project);
    }

    /// Submits jobs that wait for a cluster which does not come.
    pub(crate) async fn fill(&mut self) -> anyhow::Result<()> {
        let began = Instant::now();
        let mut submitting = tokio::task::JoinSet::new();
        for _ in 0..BUILDS {
            if submitting.len() >= SUBMITTERS
                && let Some(submitted) = submitting.join_next().await
            {
                submitted??;
            }
            let (client, url) = (self.client.clone(), self.url.clone());
            submitting.spawn(async move { submit(&client, &url, JOBS).await });
        }
        while let Some(submitted) = submitting.join_next().await {
            submitted??;
        }
        self.builds = BUILDS as u64;
        println!("{LIVE_JOBS} jobs submitted in {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// Waits until a master answers, and takes a build. All builds before are there.
    pub(crate) async fn wait_for(&mut self, since: Instant) -> anyhow::Result<()> {
        loop {
            let asked = self.client.get(format!("{}?limit=1", self.url));
            if let Ok(answer) = asked.send().await
                && answer.status().is_success()
                && let Ok(list) = answer.json::<Value>().await
                && let Ok(number) = submit(&self.client, &self.url, 1).await
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
    let request = client.post(url);
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
