//! The files of the workflows that a job file names, out of a clone that the master does not have.

use std::path::Path;

use tombolo_core::attempt::{GeneratedFile, WorkflowFile};
use tombolo_jobfile::Files;

use super::read_below;

/// The job file with the files of its workflows, which are in `folder`. What is wrong with them the master says.
pub(super) fn taken_along(file: GeneratedFile, folder: &Path) -> GeneratedFile {
    let Ok(text) = &file.text else { return file };
    let mut collector = Collector {
        folder,
        left: GeneratedFile::MAX_BYTES.saturating_sub(text.len()),
        files: Vec::new(),
    };
    // Whatever is wrong with the jobs, all files that they name have been asked for.
    drop(tombolo_jobfile::parse_with(&file.name, text.as_bytes(), &mut collector));
    GeneratedFile {
        workflows: collector.files,
        ..file
    }
}

/// Notes which files are asked for, and what is in them.
struct Collector<'folder> {
    folder: &'folder Path,
    /// How many bytes there is room for.
    left: usize,
    files: Vec<WorkflowFile>,
}

impl Files for Collector<'_> {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        if let Some(known) = self.files.iter().find(|file| file.path == path) {
            return known.text.clone().map(String::into_bytes);
        }
        let too_much = || {
            let limit = GeneratedFile::MAX_BYTES / 1024;
            Err(format!("with its workflows, the job file is larger than {limit} KiB"))
        };
        let mut text = match read_below(self.folder, path, self.left) {
            _ if self.files.len() >= GeneratedFile::MAX_WORKFLOWS => return too_much().map(String::into_bytes),
            Some(Err(reason)) if reason.starts_with("it is larger") => too_much(),
            Some(text) => text,
            None => Err("the repository has no such file".to_owned()),
        };
        let bytes = |text: &Result<String, String>| {
            let (Ok(words) | Err(words)) = text;
            path.len() + words.len()
        };
        if bytes(&text) > self.left {
            text = too_much();
        }
        if bytes(&text) > self.left {
            return text.map(String::into_bytes);
        }
        self.left -= bytes(&text);
        self.files.push(WorkflowFile {
            path: path.to_owned(),
            text: text.clone(),
        });
        text.map(String::into_bytes)
    }
}
