use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tombolo_runtime::configuration::{Error, load_from};

use tombolo_transfer::store::location::Kind;
use tombolo_transfer::store::{DirectAccess, DirectMode};

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

/// Only one can be given, so that each is tried by itself.
#[test]
fn every_kind_of_store_in_the_example_is_valid() {
    let text = std::fs::read_to_string(example()).unwrap();
    let mut kinds = Vec::new();
    for block in text.split("\n\n") {
        let bare: Vec<_> = block.lines().filter_map(|line| line.strip_prefix("# ")).collect();
        let Some(begin) = bare.iter().position(|line| line.starts_with("[store.")) else {
            continue;
        };
        let store = bare[begin..].join("\n");
        let configuration = load(&format!("data_folder = '/data'\n{store}\n"), &[]);
        let configuration = configuration.unwrap_or_else(|error| panic!("{store}\n{error}"));
        configuration.validate().unwrap();
        kinds.push(configuration.store.location.kind());
    }
    assert_eq!(kinds, [Kind::S3, Kind::Azure, Kind::Gcs]);
}

#[test]
fn variables_override_and_the_machine_fills_in() {
    let configuration = load(
        LEAST,
        &[
            ("TOMBOLO_AGENT_MASTER", "master:7443, standby:7443"),
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
    let masters: Vec<String> = checked.master.iter().map(ToString::to_string).collect();
    assert_eq!(masters, ["master:7443", "standby:7443"]);
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
        assert_eq!(configuration.validate().unwrap_err().all()[0].key, key);
    }
}

#[test]
fn all_settings_that_cannot_be_are_told_at_once() {
    let mut configuration = load(LEAST, &[]).unwrap();
    configuration.master = Some("master".to_owned());
    configuration.invite = Some("hello".into());
    configuration.slots = Some(0);
    let faults = configuration.validate().unwrap_err();
    let keys: Vec<_> = faults.all().iter().map(|fault| &*fault.key).collect();
    assert_eq!(keys, ["master", "invite", "slots"]);
}

#[test]
fn the_store_is_one_place_and_says_how_pods_reach_it() {
    const S3: &str = "[store.s3]\nbucket = 'b'\naccess_key_id = 'k'\nsecret_access_key.value = 's'\n";
    let load = |text: &str, variables: &[(&str, &str)]| load(&format!("data_folder = '/data'\n{text}"), variables);
    let store = load(LEAST.split_once('\n').unwrap().1, &[]).unwrap().store;
    assert_eq!(store.access, DirectAccess::default());
    // As the chart writes it: keys first, then what its user has written.
    let text = format!(
        "store.direct = 'never'\nstore.direct_endpoint = 'https://store:8333'\n\
         store.signed_endpoint = 'https://bucket.example'\n{S3}"
    );
    let expected = DirectAccess {
        mode: DirectMode::Never,
        endpoint: Some("https://store:8333".to_owned()),
        members: DirectMode::Auto,
        members_endpoint: Some("https://bucket.example".to_owned()),
    };
    assert_eq!(load(&text, &[]).unwrap().store.access, expected);
    let variables = [
        ("TOMBOLO_AGENT_STORE__DIRECT", "never"),
        ("TOMBOLO_AGENT_STORE__DIRECT_ENDPOINT", "https://store:8333"),
        ("TOMBOLO_AGENT_STORE__SIGNED_ENDPOINT", "https://bucket.example"),
    ];
    assert_eq!(load(S3, &variables).unwrap().store.access, expected);
    for (text, words) in [
        ("[store]\ndirect = 'auto'\n".to_owned(), "has no place"),
        (format!("store.local.path = '/s'\n{S3}"), "more than one place"),
        (format!("store.direct = 'sometimes'\n{S3}"), "sometimes"),
        (format!("store.directly = 'auto'\n{S3}"), "directly"),
    ] {
        let error = load(&text, &[]).unwrap_err().to_string();
        assert!(error.contains(words), "{text}: {error}");
    }
    for (text, words) in [
        (
            "store.direct_endpoint = 'https://s'\nstore.local.path = '/s'\n".to_owned(),
            "can reach a folder",
        ),
        (format!("store.direct_endpoint = 'http://s'\n{S3}"), "no TLS"),
    ] {
        let faults = load(&text, &[]).unwrap().validate().unwrap_err();
        assert_eq!(faults.all()[0].key, "store.direct_endpoint");
        assert!(faults.to_string().contains(words), "{text}: {faults}");
    }
}

#[test]
fn faults_of_the_store_are_told_with_all_others() {
    let text =
        "data_folder = '/data'\nslots = 0\n[store]\ndirect_endpoint = 'http://s'\n[store.azure]\ncontainer = 'c'\n";
    let faults = load(text, &[]).unwrap().validate().unwrap_err();
    let keys: Vec<_> = faults.all().iter().map(|fault| &*fault.key).collect();
    let expected = [
        "store.azure.account",
        "store.azure.credentials",
        "store.direct_endpoint",
        "slots",
    ];
    assert_eq!(keys, expected);
    assert!(faults.to_string().contains("`access_key`"), "{faults}");
}
