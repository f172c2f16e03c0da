//! The shape of the house: which crate may see which, and what lies at the top.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use cargo_metadata::{DependencyKind, MetadataCommand};

/// What each crate may depend on, of ours. Tests (`dev-dependencies`) are free.
const ALLOWED: [(&str, &[&str]); 13] = [
    ("core", &[]),
    ("runtime", &[]),
    ("xtask", &[]),
    ("api", &["core"]),
    ("artifact", &["core"]),
    ("identity", &["core"]),
    ("jobfile", &["core"]),
    ("proto", &["core"]),
    ("store", &["core"]),
    ("transfer", &["artifact", "core", "identity", "proto"]),
    (
        "agent",
        &[
            "artifact", "core", "identity", "jobfile", "proto", "runtime", "transfer",
        ],
    ),
    (
        "master",
        &[
            "api", "artifact", "core", "identity", "jobfile", "proto", "runtime", "store", "transfer",
        ],
    ),
    (
        "cli",
        &[
            "agent", "api", "artifact", "core", "identity", "jobfile", "master", "runtime",
        ],
    ),
];

/// Libraries that a crate must not link, by the crate that must not.
const FORBIDDEN: [(&str, &[&str]); 6] = [
    ("core", &["tokio", "tonic", "rusqlite", "rand", "futures"]),
    ("store", &["tonic", "prost"]),
    ("agent", &["rusqlite", "tokio-postgres"]),
    ("master", &["rusqlite", "tokio-postgres"]),
    ("jobfile", &["tokio", "tonic"]),
    ("artifact", &["tokio", "tonic", "object_store"]),
];

fn direct_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let packages = metadata.packages.iter().map(|package| {
        let dependencies = package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind == DependencyKind::Normal)
            .map(|dependency| dependency.name.clone());
        (package.name.to_string(), dependencies.collect())
    });
    packages.collect()
}

#[test]
fn dependencies_point_down() {
    let packages = direct_dependencies();
    let allowed = BTreeMap::from(ALLOWED);
    for (package, dependencies) in packages {
        let Some(name) = package.strip_prefix("tombolo-").filter(|name| *name != "tests") else {
            continue;
        };
        let Some(allowed) = allowed.get(name) else {
            panic!("crate {name} is new: say here what it may depend on");
        };
        for ours in dependencies
            .iter()
            .filter_map(|dependency| dependency.strip_prefix("tombolo-"))
        {
            assert!(allowed.contains(&ours), "{name} must not depend on {ours}");
        }
    }
}

#[test]
fn libraries_stay_where_they_belong() {
    let packages = direct_dependencies();
    for (name, forbidden) in FORBIDDEN {
        let dependencies = &packages[&format!("tombolo-{name}")];
        for library in forbidden {
            assert!(!dependencies.contains(*library), "{name} must not link {library}");
        }
    }
}

#[test]
fn top_level_is_as_agreed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folders: BTreeSet<String> = fs::read_dir(root)
        .expect("the repository is readable")
        .filter_map(Result::ok)
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    let expected = ["config", "crates", "docs", "helm", "proto", "tests"].map(str::to_owned);
    assert_eq!(folders, BTreeSet::from(expected));
}
