//! A master and two agents on two clusters, installed by their charts.

use std::process::Command;
use std::sync::LazyLock;

use crate::cluster::{Cluster, Printed, variable};
use crate::install;

static WORLD: LazyLock<World> = LazyLock::new(install::install);

/// The one installation.
pub(crate) struct World {
    pub(crate) east: Cluster,
    pub(crate) west: Cluster,
    /// The user's configuration.
    pub(crate) folder: tempfile::TempDir,
}

impl World {
    pub(crate) fn get() -> &'static Self {
        &WORLD
    }

    /// Runs a user's command.
    pub(crate) fn tombolo(&self, arguments: &[&str]) -> Printed {
        let mut command = Command::new(variable("TOMBOLO_PROGRAM"));
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env("TOMBOLO_CONFIG", self.folder.path().join("cli.toml"))
            .env_remove("TOMBOLO_TOKEN");
        Printed::of(&mut command)
    }

    /// The cluster of this name.
    pub(crate) fn cluster(&self, name: &str) -> &Cluster {
        match name {
            "east" => &self.east,
            _ => &self.west,
        }
    }
}
