//! The job file that a command leaves in its output folder, of jobs to be added to the build.

mod workflows;

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use serde::{Deserialize, Serialize};
use tombolo_core::attempt::{Assignment, GeneratedFile};

use crate::clone;

/// Where a clone that failed says why, in the sandbox.
const REASON: &str = "upload/clone-failure";

/// Where the job file of an attempt is looked for, and the files of its workflows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Looked {
    /// Directly in the output. Workflows are in the build's source, which the master has.
    #[default]
    InOutput,
    /// Directly in the output. Workflows are in the attempt's source, a clone, which only its cluster has.
    OnClone,
    /// In the output, which is a clone, with its workflows. It has to be there.
    InClone {
        /// From the top of the clone; the first of the usual names if none.
        file: Option<String>,
    },
}

impl Looked {
    /// For whoever runs the attempt.
    pub(crate) fn of(assignment: &Assignment) -> Self {
        let job = &assignment.job;
        if let Some(repository) = &job.repository {
            let file = repository.file.clone();
            return Self::InClone { file };
        }
        let says = job.extensions.as_deref();
        match says.and_then(|says| says.source()) {
            Some(_) => Self::OnClone,
            None => Self::InOutput,
        }
    }

    /// Whether nothing special is to be done.
    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::InOutput
    }

    /// The job file that is in the sandbox; none if there is none.
    pub(crate) fn read(&self, sandbox: &Path) -> Option<GeneratedFile> {
        let output = sandbox.join("output");
        let file = match self {
            Self::InOutput => return first_of(&output),
            Self::OnClone => {
                let file = first_of(&output)?;
                return Some(workflows::taken_along(file, &sandbox.join("context")));
            }
            Self::InClone { .. } if sandbox.join(REASON).exists() => {
                let reason = read(&sandbox.join(REASON), clone::MAX_REASON_BYTES);
                let reason = reason.and_then(Result::ok).unwrap_or_else(|| "see its log".to_owned());
                return Some(obstacle(GeneratedFile::NAMES[0], reason));
            }
            Self::InClone { file: None } => first_of(&output).unwrap_or_else(|| {
                let names = GeneratedFile::NAMES.join("`, `");
                let reason = format!(
                    "the repository has no job file: none of `{names}` is at its top; name it with `infrabox_file`"
                );
                obstacle(GeneratedFile::NAMES[0], reason)
            }),
            Self::InClone { file: Some(path) } => named(&output, path),
        };
        Some(workflows::taken_along(file, &output))
    }
}

/// The first of the files that are looked for directly in `folder`; none if there is none.
fn first_of(folder: &Path) -> Option<GeneratedFile> {
    GeneratedFile::NAMES.into_iter().find_map(|name| {
        let text = read(&folder.join(name), GeneratedFile::MAX_BYTES)?;
        let name = name.to_owned();
        Some(GeneratedFile {
            name,
            text,
            workflows: Vec::new(),
        })
    })
}

/// The file that has to be there.
fn named(folder: &Path, path: &str) -> GeneratedFile {
    let text = read_below(folder, path, GeneratedFile::MAX_BYTES);
    let text = text.unwrap_or_else(|| Err(format!("the repository has no file `{path}` (`infrabox_file`)")));
    GeneratedFile {
        name: path.to_owned(),
        text,
        workflows: Vec::new(),
    }
}

fn obstacle(name: &str, reason: String) -> GeneratedFile {
    GeneratedFile {
        name: name.to_owned(),
        text: Err(reason),
        workflows: Vec::new(),
    }
}

/// As [`read`], of a path below `folder`, on which no link is followed.
fn read_below(folder: &Path, path: &str, limit: usize) -> Option<Result<String, String>> {
    let mut place = folder.to_owned();
    let (folders, _) = path.rsplit_once('/').unwrap_or(("", path));
    for part in folders.split('/').filter(|part| !part.is_empty()) {
        place.push(part);
        match fs::symlink_metadata(&place) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) => return Some(Err(format!("`{part}` on its way is not a folder"))),
            Err(_) => return None,
        }
    }
    read(&folder.join(path), limit)
}

/// The text of a file, or why it cannot be taken; none if it is not there.
fn read(path: &Path, limit: usize) -> Option<Result<String, String>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return None,
        Err(error) => return Some(Err(error.to_string())),
        Ok(metadata) => metadata,
    };
    // Not what a link points to: the agent may read what the job may not.
    if !metadata.is_file() {
        return Some(Err("it is not a regular file".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limit as u64 + 1).read_to_end(&mut bytes));
    Some(match read {
        Err(error) => Err(error.to_string()),
        Ok(_) if bytes.len() > limit => Err(format!("it is larger than {} KiB", limit / 1024)),
        Ok(_) => String::from_utf8(bytes).map_err(|_| "it is not valid UTF-8".to_owned()),
    })
}

/// Also if the job has put something else where its output folder was.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_the_known_names_is_taken_if_it_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        assert_eq!(first_of(folder.path()), None);
        assert_eq!(first_of(&path("gone")), None);
        fs::write(path("other.json"), "{}").unwrap();
        assert_eq!(first_of(folder.path()), None);

        let found = |name: &str, text: Result<&str, &str>| {
            let text = text.map(str::to_owned).map_err(str::to_owned);
            Some(GeneratedFile {
                name: name.to_owned(),
                text,
                workflows: Vec::new(),
            })
        };
        std::os::unix::fs::symlink("/etc/passwd", path("infrabox.yaml")).unwrap();
        assert_eq!(
            first_of(folder.path()),
            found("infrabox.yaml", Err("it is not a regular file"))
        );
        fs::write(path("infrabox.json"), [0xff]).unwrap();
        assert_eq!(
            first_of(folder.path()),
            found("infrabox.json", Err("it is not valid UTF-8"))
        );
        let large = File::create(path("tombolo.json")).unwrap();
        large.set_len(GeneratedFile::MAX_BYTES as u64 + 1).unwrap();
        assert_eq!(
            first_of(folder.path()),
            found("tombolo.json", Err("it is larger than 512 KiB"))
        );
        fs::write(path("tombolo.yaml"), "version: 1").unwrap();
        assert_eq!(first_of(folder.path()), found("tombolo.yaml", Ok("version: 1")));
        assert_eq!(first_of(&path("tombolo.yaml")), None);
    }

    #[test]
    fn a_clone_has_its_job_file_where_it_is_said_and_its_workflows_beside_it() {
        let sandbox = tempfile::tempdir().unwrap();
        let output = sandbox.path().join("output");
        fs::create_dir_all(output.join("ci/parts")).unwrap();
        let workflow = |file: &str| {
            format!(r#"{{"version": 1, "jobs": [{{"type": "workflow", "name": "w", "infrabox_file": "{file}"}}]}}"#)
        };
        fs::write(output.join("ci/infrabox.json"), workflow("parts/a.json")).unwrap();
        fs::write(output.join("ci/parts/a.json"), workflow("../../gone.json")).unwrap();
        fs::write(output.join("ci/parts/other.json"), "{}").unwrap();
        std::os::unix::fs::symlink("ci", output.join("link")).unwrap();

        let at = |file: &str| {
            let file = Some(file.to_owned());
            Looked::InClone { file }.read(sandbox.path()).unwrap()
        };
        let found = at("ci/infrabox.json");
        assert_eq!(found.name, "ci/infrabox.json");
        assert!(found.text.is_ok());
        let workflows: Vec<(&str, bool)> = found
            .workflows
            .iter()
            .map(|file| (file.path.as_str(), file.text.is_ok()))
            .collect();
        assert_eq!(workflows, [("ci/parts/a.json", true), ("gone.json", false)]);

        for (file, reason) in [
            (
                "ci/gone.json",
                "the repository has no file `ci/gone.json` (`infrabox_file`)",
            ),
            ("link/infrabox.json", "`link` on its way is not a folder"),
            ("ci", "it is not a regular file"),
        ] {
            assert_eq!(at(file).text, Err(reason.to_owned()));
        }
        let usual = Looked::InClone { file: None }.read(sandbox.path()).unwrap();
        assert!(usual.text.unwrap_err().contains("no job file"));
    }

    #[test]
    fn a_job_on_a_clone_takes_workflows_out_of_its_source() {
        let sandbox = tempfile::tempdir().unwrap();
        for folder in ["output", "context"] {
            fs::create_dir(sandbox.path().join(folder)).unwrap();
        }
        assert_eq!(Looked::OnClone.read(sandbox.path()), None);
        let text = r#"{"version": 1, "jobs": [{"type": "workflow", "name": "w", "infrabox_file": "w.json"}]}"#;
        fs::write(sandbox.path().join("output/infrabox.json"), text).unwrap();
        fs::write(sandbox.path().join("context/w.json"), "{}").unwrap();
        let found = Looked::OnClone.read(sandbox.path()).unwrap();
        assert_eq!(found.workflows.len(), 1);
        assert_eq!(found.workflows[0].text, Ok("{}".to_owned()));
        // The master has the source of other jobs.
        assert!(Looked::InOutput.read(sandbox.path()).unwrap().workflows.is_empty());
    }
}
