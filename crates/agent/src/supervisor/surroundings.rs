//! What the command finds when it starts: its paths, the variables beneath the job's, its memory.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, access};

use super::confinement::Paths;
use super::memory::MemoryGroup;

/// Where the command runs.
pub(super) struct Surroundings {
    pub(super) paths: Paths,
    /// Beneath those of the system and the job.
    pub(super) variables: Vec<(OsString, OsString)>,
    pub(super) home: PathBuf,
    /// If it has a limit of memory of its own.
    pub(super) memory: Option<MemoryGroup>,
}

impl Surroundings {
    /// On the agent's own system, of whose variables the command gets none.
    pub(super) fn bare(paths: Paths) -> Self {
        Self {
            home: paths.tombolo.join("home"),
            paths,
            variables: Vec::new(),
            memory: None,
        }
    }

    /// In the container of the job's image, whose variables it keeps; `variables` are this process's own.
    pub(super) fn container(
        paths: Paths,
        variables: impl Iterator<Item = (OsString, OsString)>,
        groups: &Path,
    ) -> Self {
        let variables = of_image(variables.collect());
        let home = variables.iter().find(|(name, _)| name == "HOME");
        Self {
            home: home
                .map(|(_, path)| PathBuf::from(path))
                .filter(|path| is_home(path))
                .unwrap_or_else(|| paths.tombolo.join("home")),
            paths,
            variables,
            memory: MemoryGroup::find(groups),
        }
    }
}

/// A user whom the image does not know has `/` as home.
fn is_home(path: &Path) -> bool {
    path.parent().is_some() && path.is_dir() && access(path, Access::WRITE_OK).is_ok()
}

/// Without what Kubernetes adds: its own address, and those of the services of the namespace, whose names nobody foresaw.
fn of_image(variables: Vec<(OsString, OsString)>) -> Vec<(OsString, OsString)> {
    let values: HashMap<&OsStr, &OsStr> = variables.iter().map(|(name, value)| (&**name, &**value)).collect();
    let is_service = |prefix: &str| {
        let port = values
            .get(OsStr::new(&format!("{prefix}_PORT")))
            .and_then(|port| port.to_str());
        values.contains_key(OsStr::new(&format!("{prefix}_SERVICE_HOST")))
            && values.contains_key(OsStr::new(&format!("{prefix}_SERVICE_PORT")))
            && port.is_some_and(|port| {
                ["tcp://", "udp://", "sctp://"]
                    .iter()
                    .any(|scheme| port.starts_with(scheme))
            })
    };
    let added = |name: &OsStr| {
        name.to_str().is_some_and(|name| {
            let mut ends = name.match_indices("_SERVICE_").chain(name.match_indices("_PORT"));
            name.starts_with("KUBERNETES_") || ends.any(|(end, _)| is_service(&name[..end]))
        })
    };
    let kept: Vec<bool> = variables.iter().map(|(name, _)| !added(name)).collect();
    let mut kept = kept.into_iter();
    variables.into_iter().filter(|_| kept.next().unwrap_or(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths() -> Paths {
        Paths {
            tombolo: "/tombolo".into(),
            infrabox: "/infrabox".into(),
        }
    }

    fn container(variables: &[(&str, &str)]) -> Surroundings {
        let variables = variables.iter().map(|(name, value)| (name.into(), value.into()));
        Surroundings::container(paths(), variables, Path::new("/nowhere"))
    }

    #[test]
    fn the_image_s_variables_stay_and_the_cluster_s_go() {
        let surroundings = container(&[
            ("PATH", "/opt/bin:/bin"),
            ("KUBERNETES_SERVICE_HOST", "10.0.0.1"),
            ("KUBERNETES_PORT_443_TCP", "tcp://10.0.0.1:443"),
            ("MY_DB_SERVICE_HOST", "10.0.0.2"),
            ("MY_DB_SERVICE_PORT", "5432"),
            ("MY_DB_SERVICE_PORT_SQL", "5432"),
            ("MY_DB_PORT", "tcp://10.0.0.2:5432"),
            ("MY_DB_PORT_5432_TCP_ADDR", "10.0.0.2"),
            ("APP_SERVICE_HOST", "example.org"),
            ("APP_PORT", "8080"),
        ]);
        let names: Vec<_> = surroundings
            .variables
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert_eq!(names, ["PATH", "APP_SERVICE_HOST", "APP_PORT"]);
    }

    #[test]
    fn a_home_that_can_be_used_is_kept() {
        let home = tempfile::tempdir().unwrap();
        let usable = home.path().to_str().unwrap();
        for (variables, expected) in [
            (&[("HOME", usable)][..], usable),
            (&[("HOME", "/")], "/tombolo/home"),
            (&[("HOME", "/nowhere")], "/tombolo/home"),
            (&[], "/tombolo/home"),
        ] {
            assert_eq!(container(variables).home, Path::new(expected), "{variables:?}");
        }
        assert_eq!(Surroundings::bare(paths()).home, Path::new("/tombolo/home"));
    }
}
