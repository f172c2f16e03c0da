//! Which source to ask, and how each has behaved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout};
use tombolo_artifact::Manifest;
use tombolo_core::attempt::RouteKind;
use tombolo_core::digest::Digest;

use super::{ChunkSource, Error, Patience, Progress, Source, SourceError};

/// The first pause after a source could not be reached; doubled with each further failure.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause: a source that is back is used again soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// How often a source may send the wrong bytes for one chunk before it is not asked for that chunk again.
const MAXIMUM_DAMAGED: u32 = 2;

pub(super) struct Sources {
    artifact: Digest,
    sources: Vec<Source>,
    patience: Patience,
    record: Mutex<Record>,
}

struct Record {
    last_arrival: Instant,
    moved_bytes: u64,
    health: Vec<Health>,
}

#[derive(Default)]
struct Health {
    refused: bool,
    failures: u32,
    not_before: Option<Instant>,
    last_error: Option<String>,
    moved_bytes: u64,
}

enum Choice {
    Ask(usize),
    WaitUntil(Instant),
    Nobody,
}

impl Sources {
    pub(super) fn new(artifact: Digest, sources: Vec<Source>, patience: Patience) -> Self {
        let health = sources.iter().map(|_| Health::default()).collect();
        let record = Mutex::new(Record {
            last_arrival: Instant::now(),
            moved_bytes: 0,
            health,
        });
        Self {
            artifact,
            sources,
            patience,
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
                Err(Error::Unobtainable {
                    manifest,
                    what,
                    reasons,
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
            let answer = timeout(limit, question(Arc::clone(&self.sources[index].chunks)))
                .await
                .unwrap_or_else(|_| {
                    Err(SourceError::Unreachable(format!(
                        "no answer within {} s",
                        limit.as_secs_f32()
                    )))
                });
            match answer {
                Ok((value, moved)) => {
                    self.arrived(index, moved);
                    return Ok(value);
                }
                Err(error) => {
                    damaged[index] += match &error {
                        SourceError::Missing(_) => MAXIMUM_DAMAGED,
                        SourceError::Damaged(_) => 1,
                        SourceError::Unreachable(_) | SourceError::Refused(_) => 0,
                    };
                    self.failed(index, &error);
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

    fn arrived(&self, index: usize, moved: u64) {
        let mut record = self.record();
        record.last_arrival = Instant::now();
        record.moved_bytes += moved;
        let health = &mut record.health[index];
        health.failures = 0;
        health.not_before = None;
        health.moved_bytes += moved;
    }

    fn failed(&self, index: usize, error: &SourceError) {
        let name = self.name(index);
        tracing::warn!(artifact = %self.artifact, source = name, %error, "a source did not give what it was asked for");
        let mut record = self.record();
        let health = &mut record.health[index];
        health.last_error = Some(error.to_string());
        match error {
            SourceError::Refused(_) => health.refused = true,
            SourceError::Missing(_) | SourceError::Damaged(_) => {}
            SourceError::Unreachable(_) => {
                let now = Instant::now();
                // What was under way at once fails at once, and counts once.
                if health.not_before.is_none_or(|moment| moment <= now) {
                    let pause = FIRST_PAUSE
                        .saturating_mul(1 << health.failures.min(16))
                        .min(LONGEST_PAUSE);
                    health.failures += 1;
                    health.not_before = Some(now + pause);
                }
            }
        }
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
