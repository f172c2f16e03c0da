//! Volumes, as settings.

use bytesize::ByteSize;
use serde::Deserialize;
use tombolo_core::volume::VolumeKind;

/// Volumes for jobs whose inputs would fill their node's disk, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VolumeSection {
    /// Their class; the cluster's default if it is not given.
    #[serde(default)]
    pub storage_class: Option<String>,
    /// The largest.
    #[serde(default = "default_volume_maximum")]
    pub maximum: ByteSize,
}

/// Volumes for jobs whose inputs would fill their node's disk, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `VolumeSection`")]
pub struct SandboxVolume {
    pub storage_class: Option<String>,
    pub maximum_bytes: u64,
}

/// The volumes that jobs may share, as it is written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VolumesSection {
    /// Those of builds.
    pub shared: ClaimSection,
    /// Those of projects.
    pub workspace: ClaimSection,
}

/// The claims for one kind of volume, as it is written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimSection {
    /// How much each holds.
    pub size: ByteSize,
    /// Their class; the cluster's default if it is not given.
    pub storage_class: Option<String>,
    /// Who can mount them at once.
    pub access_mode: AccessMode,
}

impl Default for ClaimSection {
    fn default() -> Self {
        Self {
            size: ByteSize::gib(10),
            storage_class: None,
            access_mode: AccessMode::default(),
        }
    }
}

/// Who can mount a volume at once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessMode {
    /// The pods of one node: all jobs that use the volume at once run there.
    #[default]
    ReadWriteOnce,
    /// Pods of all nodes.
    ReadWriteMany,
}

impl AccessMode {
    /// The name that Kubernetes gives it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ReadWriteOnce => "ReadWriteOnce",
            Self::ReadWriteMany => "ReadWriteMany",
        }
    }
}

/// The volumes that jobs may share, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `VolumesSection`")]
pub struct SharedVolumes {
    pub shared: ClaimSettings,
    pub workspace: ClaimSettings,
}

/// The claims for one kind of volume, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields of `ClaimSection`")]
pub struct ClaimSettings {
    pub size_bytes: u64,
    pub storage_class: Option<String>,
    pub access_mode: AccessMode,
}

impl SharedVolumes {
    /// The claims for a kind of volume.
    pub const fn of(&self, kind: VolumeKind) -> &ClaimSettings {
        match kind {
            VolumeKind::Shared => &self.shared,
            VolumeKind::Workspace => &self.workspace,
        }
    }
}

impl From<&VolumesSection> for SharedVolumes {
    fn from(section: &VolumesSection) -> Self {
        Self {
            shared: (&section.shared).into(),
            workspace: (&section.workspace).into(),
        }
    }
}

impl From<&ClaimSection> for ClaimSettings {
    fn from(section: &ClaimSection) -> Self {
        Self {
            size_bytes: section.size.0,
            storage_class: section.storage_class.clone(),
            access_mode: section.access_mode,
        }
    }
}

const fn default_volume_maximum() -> ByteSize {
    ByteSize::gib(100)
}
