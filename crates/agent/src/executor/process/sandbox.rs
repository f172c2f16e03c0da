//! The folders that a command finds.

use std::fs;
use std::io;

use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;

use crate::executor::contract;
use crate::folder::AttemptFolder;

pub(super) fn make(folder: &AttemptFolder, assignment: &Assignment, cluster: &ClusterName) -> io::Result<()> {
    let sandbox = folder.sandbox();
    match tombolo_artifact::remove_tree(&sandbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&sandbox)?;
    crate::sandbox::make_folders(&sandbox)?;
    fs::write(sandbox.join("job.json"), contract::job_file(assignment, cluster))
}
