//! What users ask masters for.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, bail};
use reqwest::{Client, Method, StatusCode};
use serde_json::Value;
use tombolo_api::path;
use tombolo_core::name::{JobName, ProjectName};

/// How long a user waits for an answer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
/// How long an output may take to come.
const DOWNLOADED_WITHIN: Duration = Duration::from_secs(60);

/// A user of all masters, in turns.
pub(crate) struct Api {
    client: Client,
    masters: Vec<String>,
    turn: AtomicUsize,
    project: ProjectName,
}

/// An answer that is no success.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// None without an answer.
    pub(crate) status: Option<StatusCode>,
    pub(crate) why: String,
}

impl Refusal {
    /// Whoever asks again gets the same answer.
    pub(crate) fn is_final(&self) -> bool {
        let again = [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT];
        self.status
            .is_some_and(|status| status.is_client_error() && !again.contains(&status))
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Some(status) => write!(formatter, "{status}: {}", self.why),
            None => formatter.write_str(&self.why),
        }
    }
}

impl std::error::Error for Refusal {}

impl Api {
    pub(crate) fn of(client: Client, masters: Vec<String>) -> anyhow::Result<Self> {
        Ok(Self {
            client,
            masters,
            turn: AtomicUsize::new(0),
            project: ProjectName::new("default")?,
        })
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
        within: Duration,
    ) -> Result<Vec<u8>, Refusal> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let master = &self.masters[turn % self.masters.len()];
        let mut request = self.client.request(method, format!("{master}{path}")).timeout(within);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let silent = |error: reqwest::Error| Refusal {
            status: None,
            why: format!("{:#}", anyhow::Error::from(error)),
        };
        let answer = request.send().await.map_err(silent)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(silent)?;
        if status.is_success() {
            return Ok(bytes.to_vec());
        }
        let why = String::from_utf8_lossy(&bytes).chars().take(300).collect();
        Err(Refusal {
            status: Some(status),
            why,
        })
    }

    async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let bytes = self.ask(Method::GET, path, None, ANSWERED_WITHIN).await?;
        serde_json::from_slice(&bytes).with_context(|| format!("{path} is not JSON"))
    }

    /// Asks once for a build: the number of what was acknowledged.
    pub(crate) async fn submit(&self, body: &Value) -> Result<u64, Refusal> {
        let path = path::builds(&self.project);
        let bytes = self.ask(Method::POST, &path, Some(body), ANSWERED_WITHIN).await?;
        let build: Option<Value> = serde_json::from_slice(&bytes).ok();
        let number = build.and_then(|build| build["number"].as_u64());
        number.ok_or_else(|| Refusal {
            status: None,
            why: "the answer has no number".to_owned(),
        })
    }

    pub(crate) async fn cancel(&self, build: u64) -> Result<(), Refusal> {
        let path = path::build_cancel(&self.project, build);
        self.ask(Method::POST, &path, None, ANSWERED_WITHIN).await.map(drop)
    }

    pub(crate) async fn build(&self, number: u64) -> anyhow::Result<Value> {
        self.json(&path::build(&self.project, number)).await
    }

    /// All builds, as summaries.
    pub(crate) async fn builds(&self) -> anyhow::Result<Vec<Value>> {
        let mut all = Vec::new();
        let mut query = String::new();
        loop {
            let page = self
                .json(&format!("{}?limit=100{query}", path::builds(&self.project)))
                .await?;
            all.extend(page["builds"].as_array().context("builds")?.iter().cloned());
            match page["next_before"].as_u64() {
                Some(before) => query = format!("&before={before}"),
                None => return Ok(all),
            }
        }
    }

    /// The indexes of an array that have begun.
    pub(crate) async fn indexes(&self, build: u64, job: &JobName) -> anyhow::Result<Vec<Value>> {
        let page = self.json(&path::job_indexes(&self.project, build, job)).await?;
        if page["next_first"].is_u64() {
            bail!("the array {job} has more indexes than a page");
        }
        Ok(page["jobs"].as_array().context("jobs")?.clone())
    }

    /// A log as it is kept: one item a line.
    pub(crate) async fn log(&self, build: u64, job: &JobName) -> anyhow::Result<Vec<Value>> {
        let path = path::job_log(&self.project, build, job);
        let bytes = self.ask(Method::GET, &path, None, DOWNLOADED_WITHIN).await?;
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| Ok(serde_json::from_slice(line)?)).collect()
    }

    /// A file of an output.
    pub(crate) async fn download(&self, build: u64, job: &JobName, file: &str) -> Result<Vec<u8>, Refusal> {
        let path = path::job_output_file(&self.project, build, job, file.as_bytes());
        self.ask(Method::GET, &path, None, DOWNLOADED_WITHIN).await
    }
}
