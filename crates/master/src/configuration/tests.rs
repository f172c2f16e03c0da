use std::collections::HashMap;
use std::path::{Path, PathBuf};

use tombolo_runtime::configuration::load_from;

use tombolo_core::name::ClusterName;
use tombolo_core::route::{Carriage, Cost};

use super::*;

fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config/master.toml")
}

fn read(path: &Path) -> Configuration {
    load_from(Some(path), ENVIRONMENT_PREFIX, HashMap::new()).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn the_example_shows_the_defaults() {
    let shown = read(&example());
    shown.validate().unwrap();
    let mut expected = Configuration::in_folder("/var/lib/tombolo");
    expected.agents.addresses = shown.agents.addresses.clone();
    assert_eq!(format!("{shown:?}"), format!("{expected:?}"));
}

#[test]
fn every_commented_line_of_the_example_is_valid_too() {
    let text = std::fs::read_to_string(example()).unwrap();
    let setting = |line: &str| {
        let bare = line.strip_prefix("#: ")?;
        Some(bare.to_owned())
    };
    let whole: Vec<String> = text
        .lines()
        .map(|line| setting(line).unwrap_or_else(|| line.to_owned()))
        .collect();
    assert!(
        whole.len() > 20 && text.contains("#: "),
        "the example has settings that are commented out"
    );
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), whole.join("\n")).unwrap();
    read(file.path()).validate().unwrap();
}

fn cost(from: &str, per_gigabyte: f64) -> CostSection {
    CostSection {
        from: Some(from.to_owned()),
        to: None,
        way: Some(CarriageSection::Relay),
        per_gigabyte,
    }
}

#[test]
fn costs_are_read_in_millionths() {
    let mut configuration = Configuration::in_folder("/var/lib/tombolo");
    configuration.transfers.waiting_per_hour = 2.5;
    configuration.transfers.costs = vec![cost("east", 0.09)];
    let costs = configuration.validate().unwrap().costs;
    let [east, west] = ["east", "west"].map(|name| ClusterName::new(name).unwrap());
    assert_eq!(costs.waiting_per_hour, Cost(2_500_000));
    assert_eq!(costs.per_gigabyte(&east, &west, Carriage::Relay), Cost(90_000));
    assert_eq!(costs.per_gigabyte(&east, &west, Carriage::Direct), Cost(0));
}

#[test]
fn settings_that_cannot_be_are_named() {
    type Change = fn(&mut Configuration);
    let cases: [(&str, Change); 15] = [
        ("exec.idle", |configuration| configuration.exec.idle = Duration::ZERO),
        ("exec.sessions_per_build", |configuration| {
            configuration.exec.sessions_per_build = 0
        }),
        ("data_folder", |configuration| {
            configuration.data_folder = PathBuf::new()
        }),
        ("trust_domain", |configuration| {
            configuration.trust_domain = "No Domain".to_owned()
        }),
        ("public_url", |configuration| {
            configuration.public_url = "http://localhost".parse().unwrap()
        }),
        ("public_url", |configuration| {
            configuration.public_url = "https://localhost/?a=b".parse().unwrap()
        }),
        ("agents.addresses", |configuration| {
            configuration.agents.addresses = vec!["here".to_owned()]
        }),
        ("users.certificate_file", |configuration| {
            configuration.users.key_file = Some(PathBuf::from("key.pem"))
        }),
        ("authority.certificate_file", |configuration| {
            configuration.authority.certificate_file = Some(PathBuf::from("ca.pem"));
        }),
        ("leases.handover", |configuration| {
            configuration.leases.handover = Duration::from_secs(3601)
        }),
        ("leases.heartbeat", |configuration| {
            configuration.leases.heartbeat = Duration::from_secs(11)
        }),
        ("limits.live_jobs", |configuration| configuration.limits.live_jobs = 0),
        ("transfers.waiting_per_hour", |configuration| {
            configuration.transfers.waiting_per_hour = f64::NAN
        }),
        ("transfers.costs.per_gigabyte", |configuration| {
            configuration.transfers.costs.push(cost("east", -0.1))
        }),
        ("transfers.costs.from", |configuration| {
            configuration.transfers.costs.push(cost("East!", 0.1))
        }),
    ];
    for (key, change) in cases {
        let mut configuration = Configuration::in_folder("/var/lib/tombolo");
        configuration.validate().unwrap();
        change(&mut configuration);
        assert_eq!(configuration.validate().unwrap_err().all()[0].key, key);
    }
    let mut nowhere = Configuration::in_folder("/data");
    let place = serde_json::json!({ "gcs": { "endpoint": "s" } });
    nowhere.sources = Some(serde_json::from_value(place).unwrap());
    let faults = nowhere.validate().unwrap_err();
    let keys: Vec<_> = faults.all().iter().map(|fault| &*fault.key).collect();
    assert_eq!(
        keys,
        ["sources.gcs.bucket", "sources.gcs.endpoint", "sources.gcs.credentials"]
    );
    let mut several = Configuration::in_folder("");
    several.limits.live_jobs = 0;
    several.users.key_file = Some(PathBuf::from("key.pem"));
    let faults = several.validate().unwrap_err();
    let keys: Vec<_> = faults.all().iter().map(|fault| &*fault.key).collect();
    assert_eq!(keys, ["data_folder", "users.certificate_file", "limits.live_jobs"]);
}

#[test]
fn retention_that_keeps_nothing_is_refused() {
    let mut configuration = Configuration::in_folder("/var/lib/tombolo");
    configuration.retention = Retention {
        builds: Some(0),
        days: Some(0),
        bytes: Some(0),
        every: Duration::ZERO,
    };
    let faults = configuration.validate().unwrap_err();
    let keys: Vec<_> = faults.all().iter().map(|fault| &*fault.key).collect();
    let expected = [
        "retention.builds",
        "retention.days",
        "retention.bytes",
        "retention.every",
    ];
    assert_eq!(keys, expected);
}

/// Masters that make for themselves what they must have in common would refuse each other's agents, secrets and sources.
#[test]
fn several_masters_have_in_common_what_each_would_make_for_itself() {
    let faults = |configuration: &Configuration| match configuration.validate() {
        Ok(_) => Vec::new(),
        Err(faults) => faults
            .all()
            .iter()
            .map(|fault| fault.key.to_string())
            .collect::<Vec<_>>(),
    };
    let mut configuration = Configuration::in_folder("/var/lib/tombolo");
    configuration.leadership.agents = Some("10.0.0.5:7443".to_owned());
    assert_eq!(
        faults(&configuration),
        [
            "leadership.users",
            "database.url",
            "authority.certificate_file",
            "authority.grant_key_file",
            "secrets.key_file",
            "sources",
        ]
    );
    configuration.leadership.users = Some("10.0.0.5".to_owned());
    configuration.leadership.lease = Duration::from_millis(500);
    configuration.database.url = Some("postgres://tombolo@db/builds".into());
    configuration.authority.certificate_file = Some(PathBuf::from("ca.pem"));
    configuration.authority.key_file = Some(PathBuf::from("ca.key.pem"));
    configuration.authority.grant_key_file = Some(PathBuf::from("grant.key.pem"));
    configuration.secrets.key_file = Some(PathBuf::from("secrets.key"));
    configuration.sources = Some(StoreLocation::local("/mnt/sources"));
    assert_eq!(faults(&configuration), ["leadership.lease", "leadership.users"]);
    configuration.leadership = Leadership {
        agents: Some("10.0.0.5:7443".to_owned()),
        users: Some("master-0.masters:8443".to_owned()),
        ..Leadership::default()
    };
    assert_eq!(faults(&configuration), Vec::<String>::new());
}
