//! A cluster's name, number and places. Everything else follows from these.

use std::fs;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, bail};

/// How many clusters one machine has networks for.
pub(super) const MAXIMUM_CLUSTERS: u8 = 10;

/// A cluster's name: a letter, then letters, digits and hyphens, ten at most (the kernel bounds the names of interfaces).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let inner = |character: char| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-';
        let fits = text.len() <= 10
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && text.chars().all(inner);
        match fits {
            true => Ok(Self(text.to_owned())),
            false => Err(
                "a cluster's name is a letter, then letters, digits and hyphens, ten at most, like `east`".to_owned(),
            ),
        }
    }
}

impl std::fmt::Display for Name {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.pad(&self.0)
    }
}

/// One cluster: which it is, and where its things are.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    pub(super) name: Name,
    /// From 0 to 9; picks its networks.
    pub(super) index: u8,
    pub(super) folder: PathBuf,
}

impl Cluster {
    /// The cluster of this name that has been started here, running or not.
    pub(super) fn find(state: &Path, name: &Name) -> anyhow::Result<Option<Self>> {
        let folder = state.join(name.to_string());
        let path = folder.join("index");
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let index = text
            .trim()
            .parse()
            .with_context(|| format!("{} holds no number", path.display()))?;
        Ok(Some(Self {
            name: name.clone(),
            index,
            folder,
        }))
    }

    /// [`Self::find`] for a cluster that has to be there.
    pub(super) fn require(state: &Path, name: &Name) -> anyhow::Result<Self> {
        match Self::find(state, name)? {
            Some(cluster) => Ok(cluster),
            None => bail!(
                "there is no cluster `{name}` in {}\nhint: `cargo xtask cluster list` shows those that are, `cargo xtask cluster up {name}` starts it",
                state.display()
            ),
        }
    }

    /// All clusters that have been started here, by name.
    pub(super) fn all(state: &Path) -> anyhow::Result<Vec<Self>> {
        let entries = match fs::read_dir(state) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", state.display())),
        };
        let mut clusters = Vec::new();
        for entry in entries {
            if let Ok(name) = entry?.file_name().to_string_lossy().parse() {
                clusters.extend(Self::find(state, &name)?);
            }
        }
        clusters.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(clusters)
    }

    /// The node's address, at which the API server and NodePorts answer.
    pub(super) fn address(&self) -> String {
        format!("10.200.{}.2", self.index)
    }

    /// The machine's address as the cluster sees it.
    pub(super) fn gateway(&self) -> String {
        format!("10.200.{}.1", self.index)
    }

    pub(super) fn pod_network(&self) -> String {
        format!("10.{}.0.0/24", 240 + u16::from(self.index))
    }

    /// The name of its network namespace, and of its cgroups.
    pub(super) fn namespace(&self) -> String {
        format!("tombolo-{}", self.name)
    }

    pub(super) fn namespace_file(&self) -> PathBuf {
        Path::new("/run/netns").join(self.namespace())
    }

    /// The machine's end of the cable to it.
    pub(super) fn interface(&self) -> String {
        interface(&self.name)
    }

    pub(super) fn kubeconfig(&self) -> PathBuf {
        self.folder.join("kubeconfig")
    }

    pub(super) fn containerd_socket(&self) -> PathBuf {
        self.folder.join("containerd/run/containerd.sock")
    }

    pub(super) fn path(&self, entry: &str) -> PathBuf {
        self.folder.join(entry)
    }

    /// The same as text, for files of configuration.
    pub(super) fn text(&self, entry: &str) -> String {
        self.path(entry).display().to_string()
    }

    /// Tells a person what goes on, with the cluster's name before it: several come up at once.
    pub(super) fn say(&self, what: &str) {
        println!("[{}] {what}", self.name);
    }
}

/// The machine's end of the cable to a cluster.
pub(super) fn interface(name: &Name) -> String {
    format!("tb-{name}")
}

#[cfg(test)]
mod tests {
    use super::{Cluster, Name};

    #[test]
    fn names_fit_the_kernels_interfaces() {
        for (text, fits) in [
            ("east", true),
            ("e", true),
            ("east-2", true),
            ("a123456789", true),
            ("a1234567890", false),
            ("", false),
            ("2nd", false),
            ("east-", false),
            ("East", false),
            ("../east", false),
        ] {
            assert_eq!(text.parse::<Name>().is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn clusters_are_found_by_what_they_left() {
        let state = tempfile::tempdir().unwrap();
        assert!(Cluster::all(&state.path().join("nowhere")).unwrap().is_empty());
        for (name, index) in [("west", "1"), ("east", "0\n")] {
            std::fs::create_dir(state.path().join(name)).unwrap();
            std::fs::write(state.path().join(name).join("index"), index).unwrap();
        }
        std::fs::create_dir(state.path().join("half")).unwrap();

        let clusters = Cluster::all(state.path()).unwrap();
        let facts: Vec<_> = clusters
            .iter()
            .map(|cluster| format!("{} {} {}", cluster.name, cluster.address(), cluster.pod_network()))
            .collect();
        assert_eq!(
            facts,
            ["east 10.200.0.2 10.240.0.0/24", "west 10.200.1.2 10.241.0.0/24"]
        );

        let error = Cluster::require(state.path(), &"half".parse().unwrap()).unwrap_err();
        assert!(error.to_string().contains("cluster up half"), "{error:#}");
    }
}
