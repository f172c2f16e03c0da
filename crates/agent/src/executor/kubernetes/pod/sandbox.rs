//! The volume that a job works in: on its node's disk, or, where its inputs would fill that, a claim of its own.
//!
//! It owns the choice and the size. A claim belongs to the pod (a generic ephemeral volume) and is removed with it, whoever has
//! crashed; it is never shared, and never outlives its attempt.

use k8s_openapi::api::core::v1::{
    EmptyDirVolumeSource, EphemeralVolumeSource, PersistentVolumeClaimSpec, PersistentVolumeClaimTemplate, Volume,
    VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tombolo_core::attempt::Assignment;
use tombolo_core::volume::VolumeSet;

use super::containers::bytes;
use super::{Error, Facts, SANDBOX};
use crate::executor::kubernetes::names;
use crate::executor::kubernetes::settings::{JobSettings, Settings};

/// Claims are whole multiples of this: some storage takes no others.
const UNIT_BYTES: u64 = 1024 * 1024;
/// The group of a claim's files where the job's user is not known or root: otherwise they are the user's own group's.
const OWN_GROUP: i64 = 65532;

/// Where a job works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sandbox {
    /// What the job may write on its node's disk.
    pub(super) node_bytes: u64,
    /// The size of its claim, if it has one.
    pub(super) claim_bytes: Option<u64>,
}

impl Sandbox {
    /// Where the job works if it starts from its cache, or without that where there is no room for it.
    pub(super) fn new(settings: &Settings, job: &JobSettings, assignment: &Assignment) -> Result<Self, Error> {
        Self::with_cache(settings, job, assignment).or_else(|_| Self::of(settings, job, inputs_bytes(assignment)))
    }

    /// Where the job works if it starts from its cache, which lies beside its inputs.
    pub(super) fn with_cache(settings: &Settings, job: &JobSettings, assignment: &Assignment) -> Result<Self, Error> {
        let start = assignment.cache.as_ref().and_then(|cache| cache.start.as_ref());
        let cache_bytes = start.map_or(0, |start| start.content.output.bytes);
        Self::of(settings, job, inputs_bytes(assignment).saturating_add(cache_bytes))
    }

    /// A job whose inputs leave it half of what it may write works on its node's disk. Others get a claim that has room for
    /// the inputs and as much again as they may write, where the settings allow claims.
    fn of(settings: &Settings, job: &JobSettings, inputs_bytes: u64) -> Result<Self, Error> {
        let limit_bytes = settings.ephemeral_storage_limit_bytes;
        let asked = job.ephemeral_storage_bytes.filter(|asked| *asked > 0);
        let own_bytes = asked.unwrap_or(limit_bytes);
        let on_node = Self {
            node_bytes: own_bytes.min(limit_bytes),
            claim_bytes: None,
        };
        let too_much = |asked_bytes, limit_bytes| Error::TooMuchStorage {
            asked_bytes,
            inputs_bytes,
            limit_bytes,
        };
        if own_bytes <= limit_bytes && inputs_bytes <= own_bytes / 2 {
            return Ok(on_node);
        }
        let Some(volume) = &settings.sandbox_volume else {
            return if own_bytes <= limit_bytes && inputs_bytes < own_bytes {
                Ok(on_node)
            } else {
                Err(too_much(own_bytes.max(inputs_bytes), limit_bytes))
            };
        };
        let needed = inputs_bytes.saturating_add(own_bytes);
        match needed.checked_next_multiple_of(UNIT_BYTES) {
            Some(claim) if claim <= volume.maximum_bytes => Ok(Self {
                claim_bytes: Some(claim),
                ..on_node
            }),
            _ => Err(too_much(needed, volume.maximum_bytes)),
        }
    }

    /// The group that the files of claims belong to, so that the job's user can write there; none without claims. That of volumes is
    /// one for all jobs, whoever their users are.
    pub(super) fn group(&self, user: Option<i64>, volumes: &VolumeSet) -> Option<i64> {
        if !volumes.is_empty() {
            return Some(OWN_GROUP);
        }
        self.claim_bytes?;
        Some(user.filter(|user| *user != 0).unwrap_or(OWN_GROUP))
    }

    /// The volume, as a pod has it.
    pub(super) fn volume(&self, settings: &Settings, facts: &Facts<'_>) -> Volume {
        let (empty_dir, ephemeral) = match self.claim_bytes {
            None => (Some(empty(self.node_bytes)), None),
            Some(bytes) => (None, Some(claim(bytes, settings, facts))),
        };
        Volume {
            name: SANDBOX.to_owned(),
            empty_dir,
            ephemeral,
            ..Volume::default()
        }
    }
}

fn inputs_bytes(assignment: &Assignment) -> u64 {
    let inputs = assignment.inputs.iter();
    inputs.fold(0, |sum, input| sum.saturating_add(input.output.bytes))
}

/// A folder on the node's disk.
pub(super) fn empty(size_bytes: u64) -> EmptyDirVolumeSource {
    EmptyDirVolumeSource {
        size_limit: Some(bytes(size_bytes)),
        ..EmptyDirVolumeSource::default()
    }
}

fn claim(size_bytes: u64, settings: &Settings, facts: &Facts<'_>) -> EphemeralVolumeSource {
    let class = settings.sandbox_volume.as_ref();
    let request = [("storage".to_owned(), bytes(size_bytes))];
    EphemeralVolumeSource {
        volume_claim_template: Some(PersistentVolumeClaimTemplate {
            metadata: Some(ObjectMeta {
                labels: Some(names::labels(facts.cluster, facts.assignment)),
                ..ObjectMeta::default()
            }),
            spec: PersistentVolumeClaimSpec {
                access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
                storage_class_name: class.and_then(|volume| volume.storage_class.clone()),
                resources: Some(VolumeResourceRequirements {
                    requests: Some(request.into()),
                    limits: None,
                }),
                ..PersistentVolumeClaimSpec::default()
            },
        }),
    }
}
