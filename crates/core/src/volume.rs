//! Volumes: folders that outlive an attempt, for the jobs that ask for them.
//!
//! A volume lies in one cluster, and the jobs that use it run there. Which cluster that is follows from where the first of them
//! was placed (`control::volumes`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{BuildId, ParseIdError, ProjectId};

/// What a job can ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VolumeKind {
    /// One for the jobs of a build; gone with the build.
    Shared,
    /// One for the jobs of a project; gone with the project.
    Workspace,
}

impl VolumeKind {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Shared, Self::Workspace];

    /// The name in job files, and of the folder below `/tombolo`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Workspace => "workspace",
        }
    }
}

impl fmt::Display for VolumeKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

impl FromStr for VolumeKind {
    type Err = UnknownVolume;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = Self::ALL.into_iter().find(|kind| kind.as_str() == text);
        kind.ok_or_else(|| UnknownVolume(text.to_owned()))
    }
}

/// A text that names no kind of volume.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no kind of volume")]
pub struct UnknownVolume(pub String);

/// A set of kinds of volumes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<VolumeKind>", into = "Vec<VolumeKind>")]
pub struct VolumeSet(u8);

impl VolumeSet {
    /// The set of the given kinds.
    pub const fn of(kinds: &[VolumeKind]) -> Self {
        let (mut set, mut index) = (0, 0);
        while index < kinds.len() {
            set |= 1 << kinds[index] as u8;
            index += 1;
        }
        Self(set)
    }

    /// Whether nothing is in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether `kind` is in it.
    pub const fn contains(self, kind: VolumeKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }

    /// Adds `kind`.
    pub const fn insert(&mut self, kind: VolumeKind) {
        self.0 |= 1 << kind as u8;
    }

    /// What is in either.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The kinds in it.
    pub fn iter(self) -> impl Iterator<Item = VolumeKind> {
        VolumeKind::ALL.into_iter().filter(move |kind| self.contains(*kind))
    }
}

impl From<Vec<VolumeKind>> for VolumeSet {
    fn from(kinds: Vec<VolumeKind>) -> Self {
        Self::of(&kinds)
    }
}

impl From<VolumeSet> for Vec<VolumeKind> {
    fn from(set: VolumeSet) -> Self {
        set.iter().collect()
    }
}

/// One volume. Written `shared-<build>` or `workspace-<project>`; folders and claims carry this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum VolumeId {
    /// That of a build.
    Shared(BuildId),
    /// That of a project.
    Workspace(ProjectId),
}

impl VolumeId {
    /// The volume of this kind that a job of the build uses.
    pub const fn of(kind: VolumeKind, project: ProjectId, build: BuildId) -> Self {
        match kind {
            VolumeKind::Shared => Self::Shared(build),
            VolumeKind::Workspace => Self::Workspace(project),
        }
    }

    /// What it is.
    pub const fn kind(self) -> VolumeKind {
        match self {
            Self::Shared(_) => VolumeKind::Shared,
            Self::Workspace(_) => VolumeKind::Workspace,
        }
    }
}

impl fmt::Display for VolumeId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Shared(build) => write!(formatter, "{kind}-{build}"),
            Self::Workspace(project) => write!(formatter, "{kind}-{project}"),
        }
    }
}

impl FromStr for VolumeId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = || ParseIdError {
            kind: "volume",
            text: text.to_owned(),
        };
        let (kind, owner) = text.split_once('-').ok_or_else(invalid)?;
        let kind: VolumeKind = kind.parse().map_err(|_| invalid())?;
        Ok(match kind {
            VolumeKind::Shared => Self::Shared(owner.parse().map_err(|_| invalid())?),
            VolumeKind::Workspace => Self::Workspace(owner.parse().map_err(|_| invalid())?),
        })
    }
}

impl From<VolumeId> for String {
    fn from(volume: VolumeId) -> Self {
        volume.to_string()
    }
}

impl TryFrom<String> for VolumeId {
    type Error = ParseIdError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let shared = VolumeId::Shared(BuildId::from_u128(7));
        let workspace = VolumeId::Workspace(ProjectId::from_u128(8));
        assert_eq!(shared.to_string(), "shared-00000000-0000-0000-0000-000000000007");
        for volume in [shared, workspace] {
            assert_eq!(volume.to_string().parse(), Ok(volume));
            let text = serde_json::to_string(&volume).unwrap();
            assert_eq!(serde_json::from_str::<VolumeId>(&text).unwrap(), volume);
        }
        for text in [
            "",
            "shared",
            "shared-",
            "cache-00000000-0000-0000-0000-000000000007",
            "workspace-7",
        ] {
            assert!(text.parse::<VolumeId>().is_err(), "{text}");
        }
    }

    #[test]
    fn sets_hold_what_was_put_in() {
        let mut set = VolumeSet::default();
        assert!(set.is_empty() && set.iter().next().is_none());
        set.insert(VolumeKind::Workspace);
        assert!(set.contains(VolumeKind::Workspace) && !set.contains(VolumeKind::Shared));
        assert_eq!(serde_json::to_string(&set).unwrap(), r#"["workspace"]"#);
        let both = set.union(VolumeSet::of(&[VolumeKind::Shared]));
        assert_eq!(both, VolumeSet::of(&VolumeKind::ALL));
        assert_eq!(
            serde_json::from_str::<VolumeSet>(r#"["shared","workspace"]"#).unwrap(),
            both
        );
    }
}
