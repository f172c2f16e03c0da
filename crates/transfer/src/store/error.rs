//! What can go wrong with a store.

use std::time::Duration;

use tombolo_artifact::ChunkReference;
use tombolo_core::digest::Digest;
use tombolo_core::id::ProjectId;

use crate::flow::Interrupted;

/// Why a store did not do what was asked. Says which operation, and the store's own reason.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The store is not described in a way that it could be opened.
    #[error("the store cannot be opened: {0}")]
    Configuration(String),
    /// Somebody else keeps chunks there.
    #[error("the store at {place} belongs to {member} of {trust_domain}: give each member a place of its own")]
    Owned {
        /// The store.
        place: String,
        /// The owner's trust domain.
        trust_domain: String,
        /// The owner's name there.
        member: String,
    },
    /// It was tried again and again, in vain.
    #[error("the store at {place} cannot {operation} (tried for {} s): {reason}", .waited.as_secs())]
    Unreachable {
        /// The store.
        place: String,
        /// What was asked of it.
        operation: &'static str,
        /// What the last attempt said.
        reason: String,
        /// How long it was tried.
        waited: Duration,
    },
    /// The store says no, and would say so again.
    #[error("the store at {place} refuses to {operation}: {reason}")]
    Refused {
        /// The store.
        place: String,
        /// What was asked of it.
        operation: &'static str,
        /// What it said.
        reason: String,
        /// The HTTP status that it said it with, or that would say so.
        status: Option<u16>,
    },
    /// There is no such chunk or manifest.
    #[error("the store at {place} has no {what} {digest}")]
    Missing {
        /// The store.
        place: String,
        /// `chunk` or `manifest`.
        what: &'static str,
        /// Which.
        digest: Digest,
    },
    /// What is stored is not what its name says. A damaged chunk is marked, and heals when it is uploaded again.
    #[error("the store at {place} has a damaged {what} {digest}: {reason}")]
    Damaged {
        /// The store.
        place: String,
        /// `chunk` or `manifest`.
        what: &'static str,
        /// Which.
        digest: Digest,
        /// How it was found out.
        reason: String,
    },
    /// The chunk is as its name says, but not as long as the one who asks says: a manifest lies.
    #[error("chunk {} has another length than the {} bytes that the manifest says", .0.digest, .0.length)]
    WrongLength(ChunkReference),
    /// Nobody says what of a project is still needed: nothing of it goes.
    #[error("it cannot be said what of project {project} is still needed: {reason}")]
    Undecided {
        /// The project.
        project: ProjectId,
        /// Why.
        reason: String,
    },
    /// The folder cannot be packed.
    #[error(transparent)]
    Pack(#[from] tombolo_artifact::pack::Error),
    /// The artifact cannot be unpacked.
    #[error(transparent)]
    Unpack(#[from] tombolo_artifact::unpack::Error),
    /// Packing or unpacking was ended by a fault of this program, or by its end.
    #[error("{0} was interrupted")]
    Interrupted(&'static str),
}

impl From<Interrupted> for Error {
    fn from(Interrupted(what): Interrupted) -> Self {
        Self::Interrupted(what)
    }
}
