//! From what a job file calls a commit to its id.

use gix_hash::ObjectId;
use tombolo_core::build::repository::Repository;

use super::failure::Failure;
use super::protocol::{Session, is_id};

/// What is to be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The commit.
    pub(super) id: ObjectId,
    /// The tip to ask for with all that comes before it, if the server does not give the commit itself.
    pub(super) tip: Option<String>,
}

/// Finds the commit, as far as the server says without sending it.
pub(super) fn find(session: &mut Session<'_>, repository: &Repository) -> Result<Wanted, Failure> {
    let commit = repository.commit.as_str();
    let of_branch = |name: &str| format!("refs/heads/{name}");
    let branch = match &repository.branch {
        Some(name) => {
            let found = session.references(&[of_branch(name)])?.into_iter().next();
            Some(found.ok_or_else(|| Failure::NoBranch(name.clone()))?)
        }
        None => None,
    };
    if !is_id(commit) {
        let names = [of_branch(commit), format!("refs/tags/{commit}"), commit.to_owned()];
        let found = session.references(&names)?;
        // In this order, as git has it where both are there.
        let found = names
            .iter()
            .find_map(|name| found.iter().find(|reference| reference.name == *name));
        let found = found.ok_or_else(|| Failure::NoName(commit.to_owned()))?;
        let id = object_id(&found.id)?;
        return Ok(Wanted { id, tip: None });
    }
    let id = object_id(commit)?;
    let is_tip = session.advertised().iter().any(|reference| reference.id == commit);
    if session.gives_any_commit() || is_tip {
        return Ok(Wanted { id, tip: None });
    }
    let head = || session.advertised().iter().find(|reference| reference.name == "HEAD");
    let tip = branch.as_ref().or_else(head).map(|reference| reference.id.clone());
    let tip = tip.ok_or_else(|| Failure::NoCommit(commit.to_owned()))?;
    Ok(Wanted { id, tip: Some(tip) })
}

fn object_id(text: &str) -> Result<ObjectId, Failure> {
    ObjectId::from_hex(text.to_ascii_lowercase().as_bytes()).map_err(Failure::damaged)
}
