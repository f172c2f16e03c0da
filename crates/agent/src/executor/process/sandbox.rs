//! The folders that a command finds.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use tombolo_core::attempt::Assignment;
use tombolo_core::name::ClusterName;
use tombolo_core::volume::VolumeId;

use crate::executor::contract;
use crate::folder::AttemptFolder;

/// The volumes that are in `folder`.
pub(super) fn volumes(folder: &Path) -> io::Result<Vec<VolumeId>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse::<VolumeId>().ok()),
            );
        }
    }
    Ok(found)
}

/// Makes a fresh sandbox. The volumes that the job works with are in `volumes`; the sandbox has links to them.
pub(super) fn make(
    folder: &AttemptFolder,
    assignment: &Assignment,
    cluster: &ClusterName,
    volumes: &Path,
) -> io::Result<()> {
    let sandbox = folder.sandbox();
    match tombolo_artifact::remove_tree(&sandbox) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir(&sandbox)?;
    // The sandbox is seen under other names too: only a whole path leads there from all of them.
    let volumes = std::path::absolute(volumes)?;
    for volume in crate::volumes::of(assignment) {
        symlink(volumes.join(volume.to_string()), sandbox.join(volume.kind().as_str()))?;
    }
    crate::sandbox::make_folders(&sandbox)?;
    fs::write(sandbox.join("job.json"), contract::job_file(assignment, cluster))
}
