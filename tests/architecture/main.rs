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

/// Mistakes are planted by a feature that somebody has to ask for: nothing has it by default or because of something else, and the commands that build
/// programs do not ask.
#[test]
fn nothing_is_planted_unless_somebody_asks_for_it() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../Cargo.toml");
    let metadata = MetadataCommand::new()
        .manifest_path(manifest)
        .no_deps()
        .exec()
        .expect("cargo metadata runs");
    let is_planted = |feature: &String| feature == "planted" || feature.ends_with("/planted");
    let mut crates = 0;
    for package in &metadata.packages {
        let name = &package.name;
        crates += usize::from(package.features.contains_key("planted"));
        for (feature, implied) in package.features.iter().filter(|(feature, _)| *feature != "planted") {
            assert!(
                !implied.iter().any(is_planted),
                "feature {feature} of {name} plants mistakes"
            );
        }
        for dependency in &package.dependencies {
            let asked = dependency.features.iter().any(is_planted);
            assert!(!asked, "{name} asks for mistakes of {}", dependency.name);
        }
    }
    assert!(crates > 1, "the feature has another name by now");
    // These search for faults, and build apart from everything else where they plant one.
    let searches = ["sim.rs", "chaos.rs"];
    let commands = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/xtask/src");
    for entry in fs::read_dir(commands).expect("the commands are there") {
        let path = entry.expect("the folder is readable").path();
        let asks = path.is_file() && fs::read_to_string(&path).expect("it is text").contains("/planted");
        assert!(
            !asks || searches.iter().any(|search| path.ends_with(search)),
            "{} builds with mistakes",
            path.display()
        );
    }
}

/// The document says which test holds which promise: `file: name`.
#[test]
fn every_promise_names_tests_that_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let document = fs::read_to_string(root.join("docs/guide/promises.md")).expect("the document is there");
    let spans = document.split('`').skip(1).step_by(2);
    let named = spans.filter_map(|span| span.split_once(".rs: "));
    let mut found = 0;
    for (file, name) in named {
        let file = format!("{file}.rs");
        let text = fs::read_to_string(root.join(&file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        // Tests are functions; the simulation's checkers and the model's properties have names in words.
        let named = match ["tests/src/check.rs", "tests/model/main.rs"].contains(&file.as_str()) {
            true => format!("\"{name}\""),
            false => format!("fn {name}("),
        };
        assert!(text.contains(&named), "{file} has no `{name}`");
        found += 1;
    }
    assert!(found > 20, "the document names tests in another way by now");
    for section in document.split("\n## ").skip(1) {
        let (title, rest) = section.split_once('\n').unwrap_or((section, ""));
        let is_kept = rest.contains("Held by `") || rest.contains("cargo xtask bench");
        assert!(is_kept, "nothing holds: {title}");
    }
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
