use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tombolo_runtime::configuration::{Error, load_from};

use super::*;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/agent.toml")
}

fn load(text: &str, variables: &[(&str, &str)]) -> Result<Configuration, Error> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: HashMap<_, _> = variables.iter().map(own).collect();
    load_from(Some(file.path()), ENVIRONMENT_PREFIX, variables)
}

const LEAST: &str = "data_folder = '/data'\nstore.local.path = '/store'\n";

#[test]
fn the_example_shows_the_defaults() {
    let shown = load(&std::fs::read_to_string(example()).unwrap(), &[]).unwrap();
    shown.validate().unwrap();
    let least = "data_folder = '/var/lib/tombolo-agent'\nstore.local.path = '/var/lib/tombolo-agent/store'\n";
    let mut expected = load(least, &[]).unwrap();
    expected.master.clone_from(&shown.master);
    assert_eq!(format!("{shown:?}"), format!("{expected:?}"));
}

#[test]
fn every_commented_line_of_the_example_is_valid_too() {
    let text = std::fs::read_to_string(example()).unwrap();
    let bare = |line: &str| line.strip_prefix("#: ").unwrap_or(line).to_owned();
    let shown = text.lines().map(bare).collect::<Vec<_>>().join("\n");
    let whole = load(&shown, &[]).unwrap();
    assert!(whole.peer.is_some() && whole.slots.is_some() && whole.capacity.memory_bytes.is_some());
    let kubernetes = whole.validate().unwrap().kubernetes.unwrap();
    assert!(kubernetes.dedicated_nodes.is_some() && kubernetes.affinity.is_some() && kubernetes.projects.len() == 1);
}

#[test]
fn variables_override_and_the_machine_fills_in() {
    let configuration = load(
        LEAST,
        &[
            ("TOMBOLO_AGENT_MASTER", "master:7443"),
            ("TOMBOLO_AGENT_INVITE", " "),
            ("TOMBOLO_AGENT_PEER__LISTEN", "127.0.0.1:7445"),
            ("TOMBOLO_AGENT_PEER__ADVERTISE", "here:7445"),
            ("TOMBOLO_AGENT_IMAGES", "refuse"),
            ("TOMBOLO_AGENT_CAPACITY__CPU_MILLI", "1500"),
        ],
    )
    .unwrap();
    assert_eq!(configuration.images, Images::Refuse);
    let checked = configuration.validate().unwrap();
    assert_eq!(checked.master.unwrap().to_string(), "master:7443");
    assert!(checked.invite.is_none() && checked.slots > 0);
    assert_eq!(checked.capacity.cpu_milli, 1500);
    assert!(checked.capacity.memory_bytes > 64 * 1024 * 1024);
}

#[test]
fn faults_name_the_setting() {
    for (text, words) in [
        ("", &["data_folder"][..]),
        ("data_folder = '/data'\n", &["store"]),
        ("data_folder = '/data'\nstore.ftp.path = 'x'\n", &["ftp", "store"]),
        ("slot = 3\ndata_folder = '/data'\nstore.local.path = '/s'\n", &["slot"]),
        (
            "images = 'pull'\ndata_folder = '/data'\nstore.local.path = '/s'\n",
            &["pull", "images"],
        ),
        (
            "data_folder = '/data'\nstore.local.path = '/s'\npeer.listen = '127.0.0.1:1'\n",
            &["advertise"],
        ),
        (
            "data_folder = '/data'\nstore.local.path = '/s'\nstop_grace = 'soon'\n",
            &["soon"],
        ),
    ] {
        let message = load(text, &[]).unwrap_err().to_string();
        for word in words {
            assert!(message.contains(word), "{text}: {message:?} lacks {word:?}");
        }
    }
    type Change = fn(&mut Configuration);
    let cases: [(&str, Change); 9] = [
        ("kubernetes", |configuration| {
            let section = serde_json::json!({ "image": "a", "courier_address": "nowhere", "namespace": "jobs" });
            configuration.kubernetes = Some(serde_json::from_value(section).unwrap());
        }),
        ("data_folder", |configuration| {
            configuration.data_folder = PathBuf::new()
        }),
        ("master", |configuration| {
            configuration.master = Some("master".to_owned())
        }),
        ("invite", |configuration| configuration.invite = Some("hello".into())),
        ("slots", |configuration| configuration.slots = Some(0)),
        ("capacity.cpu_milli", |configuration| {
            configuration.capacity.cpu_milli = Some(0)
        }),
        ("log_limit_bytes", |configuration| configuration.log_limit_bytes = 0),
        ("store_deadline", |configuration| {
            configuration.store_deadline = Duration::ZERO
        }),
        ("peer.advertise", |configuration| {
            configuration.peer = Some(Peer {
                listen: "127.0.0.1:1".parse().unwrap(),
                advertise: "nowhere".to_owned(),
            });
        }),
    ];
    for (key, change) in cases {
        let mut configuration = load(LEAST, &[]).unwrap();
        configuration.validate().unwrap();
        change(&mut configuration);
        assert_eq!(configuration.validate().unwrap_err().key, key);
    }
}
