//! What the pod's first container does: it leaves this program in the shared volume.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::Places;

/// Why the program could not be installed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", .path.display())]
pub struct Error {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// Puts `program` where the user's container finds it, whole or not at all, and makes the attempt's folder. All users may use both:
/// the containers of a pod run as different ones.
///
/// # Errors
/// Those of the volume.
pub fn install(program: &Path, places: &Places) -> Result<(), Error> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| Error { action, path, source }
    };
    let folder = places.attempt().path().to_owned();
    match fs::create_dir(&folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed("make", &folder)(error)),
        _ => {}
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o777)).map_err(failed("open to all users", &folder))?;
    let target = places.program();
    let temporary = target.with_extension("new");
    fs::copy(program, &temporary).map_err(failed("write", &temporary))?;
    fs::set_permissions(&temporary, Permissions::from_mode(0o755)).map_err(failed("open to all users", &temporary))?;
    fs::rename(&temporary, &target).map_err(failed("write", &target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_there_for_all_and_again() {
        let volume = tempfile::tempdir().unwrap();
        let places = Places {
            system: volume.path().to_owned(),
            ..Places::default()
        };
        let program = volume.path().join("original");
        for text in ["one", "two"] {
            fs::write(&program, text).unwrap();
            install(&program, &places).unwrap();
            assert_eq!(fs::read_to_string(places.program()).unwrap(), text);
        }
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&places.program()), mode(places.attempt().path())), (0o755, 0o777));
        let missing = install(&volume.path().join("nothing"), &places)
            .unwrap_err()
            .to_string();
        assert!(
            missing.starts_with("cannot write ") && missing.contains("tombolo.new"),
            "{missing}"
        );
    }
}
