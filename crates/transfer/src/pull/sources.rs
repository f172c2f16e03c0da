//! Which source to ask, and how each has behaved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tombolo_artifact::Manifest;
use tombolo_core::attempt::{RouteKind, RouteReport};
use tombolo_core::digest::Digest;

use super::record::{Health, Record};
use super::{ChunkSource, Error, Patience, Progress, SoFar, Source, SourceError};

/// How often a source may send the wrong bytes for one chunk before it is not asked for that chunk again.
const MAXIMUM_DAMAGED: u32 = 2;

pub(super) struct Sources {
    artifact: Digest,
    sources: Vec<Source>,
    patience: Patience,
    began: Instant,
    record: Mutex<Record>,
}

enum Choice {
    Ask(usize),
    WaitUntil(Instant),
    Nobody,
}

impl Sources {
    pub(super) fn new(artifact: Digest, sources: Vec<Source>, patience: Patience) -> Self {
        let record = Mutex::new(Record::new(sources.len()));
        Self {
            artifact,
            sources,
            patience,
            began: Instant::now(),
            record,
        }
    }

    /// The manifest, checked.
    pub(super) async fn manifest(&self) -> Result<Manifest, Error> {
        let artifact = self.artifact;
        self.ask(
            || "the manifest".to_owned(),
            |source| async move {
                let encoded = source.manifest().await?;
                let moved = encoded.len() as u64;
                let manifest = Manifest::decode(encoded).map_err(|error| SourceError::Damaged(error.to_string()))?;
                if manifest.digest() != artifact {
                    return Err(SourceError::Damaged(format!("it sent manifest {}", manifest.digest())));
                }
                Ok((manifest, moved))
            },
        )
        .await
    }

    /// Asks the sources, best first, until one answers well or none is left or nothing has arrived for too long. The answer
    /// comes with the number of bytes that crossed the link.
    pub(super) async fn ask<T, Answer>(
        &self,
        what: impl Fn() -> String,
        question: impl Fn(Arc<dyn ChunkSource>) -> Answer,
    ) -> Result<T, Error>
    where
        Answer: Future<Output = Result<(T, u64), SourceError>>,
    {
        let began = Instant::now();
        let mut damaged = vec![0; self.sources.len()];
        loop {
            let unobtainable = || {
                let (manifest, what, reasons) = (self.artifact, what(), self.reasons());
                let answers = Box::new(self.record().answers(&self.sources));
                Err(Error::Unobtainable {
                    manifest,
                    what,
                    reasons,
                    answers,
                    so_far: Box::new(self.so_far(self.progress(0, 0, self.began.elapsed()))),
                })
            };
            let deadline = self.record().last_arrival.max(began) + self.patience.stalled;
            let index = match self.choose(&damaged) {
                Choice::Ask(index) if Instant::now() < deadline => index,
                Choice::WaitUntil(moment) if moment < deadline => {
                    sleep_until(moment).await;
                    continue;
                }
                Choice::Ask(_) | Choice::WaitUntil(_) | Choice::Nobody => return unobtainable(),
            };
            let limit = self.patience.request;
            self.record().asked(index);
            let answer = timeout(limit, question(Arc::clone(&self.sources[index].chunks)))
                .await
                .unwrap_or_else(|_| {
                    Err(SourceError::Unreachable(format!(
                        "no answer within {} s",
                        limit.as_secs_f32()
                    )))
                });
            self.record().answered(index);
            match answer {
                Ok((value, moved)) => {
                    self.record().arrived(index, moved);
                    return Ok(value);
                }
                Err(error) => {
                    damaged[index] += match &error {
                        SourceError::Missing(_) => MAXIMUM_DAMAGED,
                        SourceError::Damaged(_) => 1,
                        SourceError::Unreachable(_) | SourceError::Refused(_) | SourceError::NotOffered(_) => 0,
                    };
                    self.failed(index, &error);
                    if damaged[index] >= MAXIMUM_DAMAGED {
                        self.record().health[index].lacks = true;
                    }
                }
            }
        }
    }

    /// How far the pull is, if `done_bytes` of `bytes` are there.
    pub(super) fn progress(&self, bytes: u64, done_bytes: u64, elapsed: Duration) -> Progress {
        let record = self.record();
        let best = self
            .sources
            .iter()
            .zip(&record.health)
            .max_by_key(|(_, health)| health.moved_bytes);
        let (route, from) = match best {
            Some((source, health)) if health.moved_bytes > 0 => (source.route, source.cluster.clone()),
            _ => (RouteKind::Local, None),
        };
        Progress {
            bytes,
            done_bytes,
            moved_bytes: record.moved_bytes,
            route,
            from,
            elapsed,
        }
    }

    fn choose(&self, damaged: &[u32]) -> Choice {
        let record = self.record();
        let now = Instant::now();
        let mut earliest = None;
        for (index, health) in record.health.iter().enumerate() {
            if health.refused || damaged[index] >= MAXIMUM_DAMAGED {
                continue;
            }
            match health.not_before {
                Some(moment) if moment > now => {
                    earliest = Some(earliest.map_or(moment, |earliest: Instant| earliest.min(moment)));
                }
                _ => return Choice::Ask(index),
            }
        }
        earliest.map_or(Choice::Nobody, Choice::WaitUntil)
    }

    fn failed(&self, index: usize, error: &SourceError) {
        let name = self.name(index);
        tracing::warn!(artifact = %self.artifact, source = name, %error, "a source did not give what it was asked for");
        self.record().failed(index, error);
    }

    /// What is known when it has failed.
    pub(super) fn so_far(&self, progress: Progress) -> SoFar {
        let routes = self.reports();
        SoFar { progress, routes }
    }

    /// What became of each way.
    pub(super) fn reports(&self) -> Vec<RouteReport> {
        self.record().reports(&self.sources)
    }

    fn reasons(&self) -> Vec<String> {
        let record = self.record();
        let reason = |(index, health): (usize, &Health)| {
            let error = health.last_error.as_deref().unwrap_or("not asked yet");
            format!("{}: {error}", self.name(index))
        };
        record.health.iter().enumerate().map(reason).collect()
    }

    fn name(&self, index: usize) -> String {
        let Source { cluster, route, .. } = &self.sources[index];
        match cluster {
            Some(cluster) => format!("{cluster} by {}", route.as_str()),
            None => route.as_str().to_owned(),
        }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        // Counters only: whatever a panicking thread left is good enough.
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// However the pull ends, what was learnt is told.
impl Drop for Sources {
    fn drop(&mut self) {
        let record = self.record();
        for (source, health) in self.sources.iter().zip(&record.health) {
            if let Some(observer) = &source.observer {
                observer.observe(health.behaviour());
            }
        }
    }
}
