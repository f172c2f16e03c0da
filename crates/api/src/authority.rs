//! The certificate authority, and how clusters come along when another one takes its place.

use serde::{Deserialize, Serialize};
use tombolo_core::name::ClusterName;
use utoipa::ToSchema;

use crate::time::DateTime;

/// The certificate authority of the master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Authority {
    /// The trust domain of all certificates.
    pub trust_domain: String,
    /// A digest of who signs and of what clusters are to believe. Certificates say of which edition they are.
    pub edition: String,
    /// The roots that are trusted: the one that signs, and older ones whose place it takes.
    pub roots: Vec<AuthorityRoot>,
    /// How the clusters stand, by name.
    pub clusters: Vec<ClusterCertificate>,
    /// The invites that are open, oldest first.
    #[serde(default)]
    pub invites: Vec<OpenInvite>,
}

/// A root certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuthorityRoot {
    /// The SHA-256 of its public key.
    pub pin: String,
    /// Whether certificates are signed by it.
    pub signs: bool,
    /// When it ends.
    pub expires_at: DateTime,
}

/// Which certificate a cluster has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClusterCertificate {
    /// The cluster's name.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// Whether its agent is connected.
    pub connected: bool,
    /// The version of its agent, if it has connected since the master started.
    pub version: Option<String>,
    /// Where it stands.
    pub state: CertificateState,
    /// When the certificate ends that it has shown last.
    pub expires_at: Option<DateTime>,
}

/// An invite that nobody has used yet. Its text names the root that signed when it was made, and who joins with it believes a master with that root alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenInvite {
    /// The name that the cluster will have.
    #[schema(value_type = String)]
    pub cluster: ClusterName,
    /// When it ends.
    pub expires_at: DateTime,
    /// Which root it names.
    pub root: InviteRoot,
}

/// Which root an invite names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum InviteRoot {
    /// The one that signs.
    Current,
    /// An older one that is still trusted: without that the invite is of no use.
    Older,
    /// One that is not trusted any more: the invite is of no use.
    Gone,
    /// It was made by a version of the master that did not note it.
    Unknown,
}

impl InviteRoot {
    /// Whether a cluster can join with the invite when the older roots are left out.
    pub const fn stays(self) -> bool {
        matches!(self, Self::Current)
    }
}

/// Where a cluster stands with the authority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum CertificateState {
    /// Its certificate is of this edition.
    Current,
    /// Its certificate is of the root that signs. It has not been told yet what has changed besides, and asks by itself.
    Behind,
    /// Its certificate is of an older root: without that it is cut off.
    Older,
    /// It has shown none since the master started to lead.
    Unseen,
}

impl CertificateState {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Behind => "behind",
            Self::Older => "older",
            Self::Unseen => "unseen",
        }
    }

    /// Whether the cluster goes on when the older roots are left out.
    pub const fn has_come_along(self) -> bool {
        matches!(self, Self::Current | Self::Behind)
    }
}
