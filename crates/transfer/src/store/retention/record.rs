//! The rounds of a project, as they are kept in the store.

use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use tombolo_core::id::ProjectId;

use super::Inner;
use crate::store::Error;
use crate::store::object::Fetched;

/// The longest record, in bytes; ours have about 50.
pub(super) const MAXIMUM_BYTES: u64 = 64 << 10;

/// How far a sweep is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// Nothing is condemned.
    #[default]
    Idle,
    /// Marks are being made.
    Condemning,
    /// All marks were made before this round began.
    Settling,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// Uploads of earlier rounds may rely on what is condemned.
    pub(super) round: u64,
    pub(super) stage: Stage,
}

impl Inner {
    /// The round that an upload begins in.
    pub(super) async fn round(&self, project: ProjectId) -> Result<u64, Error> {
        let known = self.retention.rounds().get(&project).copied();
        match known {
            Some(round) => Ok(round),
            None => Ok(self.read_record(project).await?.round),
        }
    }

    /// The record, also for those who ask for the round alone.
    pub(super) async fn read_record(&self, project: ProjectId) -> Result<Record, Error> {
        const OPERATION: &str = "read the round of a project";
        let unreadable = |reason: String| self.refused(OPERATION, format!("its record {reason}"));
        let path = self.round_path(project);
        let record: Record = match self.get(OPERATION, &path, MAXIMUM_BYTES).await? {
            Fetched::Missing => Record::default(),
            Fetched::TooLarge(size) => return Err(unreadable(format!("has {size} bytes"))),
            Fetched::Bytes(bytes) => {
                serde_json::from_slice(&bytes).map_err(|error| unreadable(format!("is not one of ours ({error})")))?
            }
        };
        // A sweep may have ended the round meanwhile: it never goes back.
        let mut rounds = self.retention.rounds();
        let round = rounds.entry(project).or_default();
        *round = record.round.max(*round);
        Ok(record)
    }

    /// From now on, marks are made.
    pub(super) async fn begin_round(&self, project: ProjectId) -> Result<(), Error> {
        let round = self.read_record(project).await?.round;
        let stage = Stage::Condemning;
        self.write_record(project, Record { round, stage }).await
    }

    /// All marks were made: uploads that begin from now on see them.
    pub(super) async fn end_round(&self, project: ProjectId) -> Result<Record, Error> {
        let last = self.read_record(project).await?.round;
        // A record that got lost must not make a round begin twice.
        let under_way = self.uploads_under_way(project).await?;
        let last = under_way.iter().map(|upload| upload.round).max().unwrap_or(0).max(last);
        let record = Record {
            round: last + 1,
            stage: Stage::Settling,
        };
        self.write_record(project, record).await?;
        self.retention.rounds().insert(project, record.round);
        self.retention.epoch.fetch_add(1, Ordering::SeqCst);
        Ok(record)
    }

    /// Nothing is condemned any more.
    pub(super) async fn settled(&self, project: ProjectId, round: u64) -> Result<(), Error> {
        let stage = Stage::Idle;
        self.write_record(project, Record { round, stage }).await
    }

    async fn write_record(&self, project: ProjectId, record: Record) -> Result<(), Error> {
        let encoded = serde_json::to_vec(&record).expect("a number and a word are valid JSON");
        let path = self.round_path(project);
        self.put("write the round of a project", &path, encoded.into()).await
    }
}
