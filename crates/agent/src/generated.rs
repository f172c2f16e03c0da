//! The job file that a command leaves in its output folder, of jobs to be added to the build.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use tombolo_core::attempt::GeneratedFile;

/// The first of the files that are looked for directly in `folder`; none if there is none.
pub(crate) fn read_folder(folder: &Path) -> Option<GeneratedFile> {
    GeneratedFile::NAMES.into_iter().find_map(|name| {
        let text = read(&folder.join(name))?;
        let name = name.to_owned();
        Some(GeneratedFile { name, text })
    })
}

/// The text of a file, or why it cannot be taken; none if it is not there.
fn read(path: &Path) -> Option<Result<String, String>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if is_absent(&error) => return None,
        Err(error) => return Some(Err(error.to_string())),
        Ok(metadata) => metadata,
    };
    // Not what a link points to: the agent may read what the job may not.
    if !metadata.is_file() {
        return Some(Err("it is not a regular file".to_owned()));
    }
    let limit = GeneratedFile::MAX_BYTES;
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
        assert_eq!(read_folder(folder.path()), None);
        assert_eq!(read_folder(&path("gone")), None);
        fs::write(path("other.json"), "{}").unwrap();
        assert_eq!(read_folder(folder.path()), None);

        let found = |name: &str, text: Result<&str, &str>| {
            let text = text.map(str::to_owned).map_err(str::to_owned);
            Some(GeneratedFile {
                name: name.to_owned(),
                text,
            })
        };
        std::os::unix::fs::symlink("/etc/passwd", path("infrabox.yaml")).unwrap();
        assert_eq!(
            read_folder(folder.path()),
            found("infrabox.yaml", Err("it is not a regular file"))
        );
        fs::write(path("infrabox.json"), [0xff]).unwrap();
        assert_eq!(
            read_folder(folder.path()),
            found("infrabox.json", Err("it is not valid UTF-8"))
        );
        let large = File::create(path("tombolo.json")).unwrap();
        large.set_len(GeneratedFile::MAX_BYTES as u64 + 1).unwrap();
        assert_eq!(
            read_folder(folder.path()),
            found("tombolo.json", Err("it is larger than 512 KiB"))
        );
        fs::write(path("tombolo.yaml"), "version: 1").unwrap();
        assert_eq!(read_folder(folder.path()), found("tombolo.yaml", Ok("version: 1")));
        assert_eq!(read_folder(&path("tombolo.yaml")), None);
    }
}
