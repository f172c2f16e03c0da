//! What there is at the end: states, logs, outputs, and what should be gone.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::stream::{self, StreamExt as _};
use serde_json::Value;
use tombolo_core::name::JobName;

use crate::api::Api;
use crate::judge::history::{Fact, FinalJob, Log, Output, PROCESSES, maker};
use crate::judge::plan::{CLUSTERS, MASTERS};
use crate::parts::Parts;
use crate::record::Recorder;

/// Requests under way at once.
const AT_ONCE: usize = 4;
/// How often something is asked for that did not come.
const TRIES: usize = 5;
/// How long an output is asked for: its cluster may have come back a moment ago.
const HAD_WITHIN: Duration = Duration::from_secs(20);
/// How long agents may take to tidy up.
const TIDY_WITHIN: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(500);

/// Waits until all builds that there are are over; not for ever.
pub(crate) async fn wait_for_ends(api: &Api, until: Instant) -> bool {
    while Instant::now() < until {
        if let Ok(builds) = api.builds().await
            && builds.iter().all(|build| build["state"] != "running")
        {
            return true;
        }
        tokio::time::sleep(LOOK).await;
    }
    false
}

/// Notes all builds, jobs, logs and outputs.
pub(crate) async fn gather(api: &Arc<Api>, recorder: &Recorder) -> anyhow::Result<()> {
    let builds = again(|| api.builds()).await?;
    let gathered = stream::iter(builds)
        .map(|build| of_build(api, build))
        .buffer_unordered(AT_ONCE);
    let mut gathered = std::pin::pin!(gathered);
    while let Some(facts) = gathered.next().await {
        for fact in facts? {
            recorder.note(fact);
        }
    }
    Ok(())
}

async fn again<T, F: Future<Output = anyhow::Result<T>>>(ask: impl Fn() -> F) -> anyhow::Result<T> {
    let mut tries = 1;
    loop {
        match ask().await {
            Err(_) if tries < TRIES => tokio::time::sleep(LOOK).await,
            answer => return answer,
        }
        tries += 1;
    }
}

async fn of_build(api: &Arc<Api>, summary: Value) -> anyhow::Result<Vec<Fact>> {
    let number = summary["number"].as_u64().context("a build has a number")?;
    let build = again(|| api.build(number)).await?;
    let tag = build["revision"]["commit"].as_str().unwrap_or_default().to_owned();
    let state = build["state"].as_str().unwrap_or_default().to_owned();
    let mut facts = vec![Fact::Final {
        tag,
        build: number,
        state,
    }];
    let mut jobs = build["jobs"].as_array().context("a build has jobs")?.clone();
    for array in build["jobs"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|job| job["array"].is_object())
    {
        let name = JobName::from_str(array["name"].as_str().unwrap_or_default())?;
        jobs.extend(again(|| api.indexes(number, &name)).await?);
    }
    for job in jobs {
        let name = job["name"].as_str().context("a job has a name")?.to_owned();
        let job_name = JobName::from_str(&name)?;
        let text = |key: &str| job[key].as_str().unwrap_or_default().to_owned();
        let count = |key: &str| {
            job[key]
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0)
        };
        let mut last = FinalJob {
            build: number,
            job: name.clone(),
            state: text("state"),
            epoch: count("epoch"),
            message: text("message"),
            replacements: count("replacements"),
            output_lost: job["output_lost"].as_str().map(str::to_owned),
            output: None,
        };
        // Whether there is one is not the master's to say: each command that ends well leaves one.
        if last.state == "finished" && !job["array"].is_object() && last.output_lost.is_none() {
            last.output = Some(output(api, number, &job_name).await);
        }
        if last.epoch > 0 && last.state != "skipped" {
            let items = again(|| api.log(number, &job_name)).await;
            let items = items.with_context(|| format!("the log of {name} of build {number}"))?;
            facts.push(Fact::Log(log(number, name, &items)));
        }
        facts.push(Fact::FinalJob(last));
    }
    Ok(facts)
}

async fn output(api: &Api, build: u64, job: &JobName) -> Output {
    let began = Instant::now();
    loop {
        match api.download(build, job, "data").await {
            Ok(bytes) => {
                let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
                let first = String::from_utf8_lossy(first);
                let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
                return Output::Downloaded {
                    digest: digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect(),
                    made_by: maker(&first.split(' ').collect::<Vec<_>>()),
                };
            }
            Err(refusal) if began.elapsed() > HAD_WITHIN => {
                return Output::Refused {
                    why: refusal.to_string(),
                };
            }
            Err(_) => tokio::time::sleep(LOOK).await,
        }
    }
}

fn log(build: u64, job: String, items: &[Value]) -> Log {
    let mut log = Log {
        build,
        job,
        ..Log::default()
    };
    for item in items {
        let number = |key: &str| item[key].as_u64().unwrap_or(0);
        match item["type"].as_str() {
            Some("attempt") => log.epoch = u32::try_from(number("epoch")).unwrap_or(0),
            Some("line") => {
                log.numbers.push(number("number"));
                log.written.extend(written(item["text"].as_str().unwrap_or_default()));
            }
            Some("gap") => log.missing += number("to") - number("from"),
            Some("end") => log.is_whole = number("lines") == log.numbers.len() as u64,
            _ => {}
        }
    }
    log
}

/// Which line of its own a command wrote, and in which attempt.
fn written(text: &str) -> Option<(u64, u32)> {
    let (line, epoch) = text.strip_prefix("line ")?.split_once(" of attempt ")?;
    Some((line.parse().ok()?, epoch.parse().ok()?))
}

/// What is left, and which places could be looked at.
#[derive(Default)]
struct Look {
    left: Vec<String>,
    places: BTreeMap<String, Option<String>>,
}

impl Look {
    fn at(&mut self, place: &str, found: std::io::Result<Vec<String>>) {
        let why_not = match found {
            Ok(found) => {
                self.left.extend(found);
                None
            }
            Err(error) => Some(error.to_string()),
        };
        self.places.insert(place.to_owned(), why_not);
    }

    fn is_clean(&self) -> bool {
        self.left.is_empty() && self.places.values().all(Option::is_none)
    }
}

/// Waits for what is left of jobs to go, and notes what does not.
pub(crate) fn leftovers(parts: &Parts, recorder: &Recorder) {
    let began = Instant::now();
    let mut look = look(parts);
    while !look.is_clean() && began.elapsed() < TIDY_WITHIN {
        std::thread::sleep(LOOK);
        look = self::look(parts);
    }
    for (place, why_not) in look.places {
        recorder.note(Fact::Looked { place, why_not });
    }
    for what in look.left {
        recorder.note(Fact::Left { what });
    }
    for part in MASTERS.iter().chain(&CLUSTERS) {
        let log = parts.with(|installation| installation.log(part));
        for line in log.lines().filter(|line| line.contains("panicked at")) {
            recorder.note(Fact::Cried {
                part: (*part).to_owned(),
                line: line.to_owned(),
            });
        }
    }
}

fn look(parts: &Parts) -> Look {
    let mut look = Look::default();
    for name in CLUSTERS {
        if let Ok(cluster) = parts.cluster(name) {
            look.at(name, cluster.left());
            continue;
        }
        let folder = parts.with(|installation| installation.path(&format!("{name}/attempts")));
        let sandbox = |entry: fs::DirEntry| format!("{name}: the sandbox {}", entry.file_name().display());
        let sandboxes = fs::read_dir(folder).and_then(|entries| entries.map(|entry| entry.map(sandbox)).collect());
        look.at(name, sandboxes);
    }
    let own: Vec<u32> = parts.processes().into_iter().map(|(_, process)| process).collect();
    let folder = parts.with(|installation| installation.path(""));
    look.at(PROCESSES, processes(&folder, &own));
    look
}

/// The processes that name a folder, or were begun by a command that does, but for some.
fn processes(folder: &Path, but: &[u32]) -> std::io::Result<Vec<String>> {
    let folder = folder.display().to_string();
    let witness = format!("WORK_WITNESS={folder}");
    // One that has ended meanwhile has neither, and another user's is none of ours.
    let words = |process: u32, of: &str| {
        let words = fs::read(format!("/proc/{process}/{of}")).unwrap_or_default();
        String::from_utf8_lossy(&words).replace('\0', " ")
    };
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(process) = entry?.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if but.contains(&process) {
            continue;
        }
        let line = words(process, "cmdline");
        if line.contains(&folder) || words(process, "environ").contains(&witness) {
            found.push(format!("the process {process}: {line}"));
        }
    }
    Ok(found)
}
