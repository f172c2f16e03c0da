//! The guide has an example of everything that a job file may say, and each is planned as it says.

use std::collections::BTreeSet;

use serde_json::Value;

use tombolo_core::capability::Capability;
use tombolo_core::control::record::Invite;
use tombolo_core::control::{Command, Control, Refusal, Settings};
use tombolo_core::digest::Digest;
use tombolo_core::id::{InviteId, ProjectId, SessionId};
use tombolo_core::label::Labels;
use tombolo_core::name::{ClusterName, ProjectName};

use tombolo_core::resources::Resources;
use tombolo_core::secret::{SealedSecret, SealedValue, Secret};
use tombolo_core::session::Hello;
use tombolo_core::time::{Now, Timestamp};

use super::*;

const GUIDE: &str = include_str!("../../../../docs/guide/job-files.md");

/// How the sentence begins by which a build is refused.
const REFUSED: &str = "no cluster here has what the build needs";

/// What executors of this version can do, processes and pods together.
const CAPABILITIES: [Capability; 6] = [
    Capability::Images,
    Capability::Exec,
    Capability::Volumes,
    Capability::Secrets,
    Capability::Git,
    Capability::Exclusive,
];

const PROJECT: ProjectId = ProjectId::from_u128(1);

/// A block of code: its language, and what is in it.
fn blocks() -> Vec<(&'static str, &'static str)> {
    let blocks = GUIDE.split("```").skip(1).step_by(2);
    blocks.filter_map(|block| block.split_once('\n')).collect()
}

fn is_job_file(language: &str) -> bool {
    ["json", "yaml"].contains(&language)
}

/// The workflows that the guide names.
struct Workflows;

impl Files for Workflows {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(br#"{"version": 1, "jobs": [{"type": "docker-image", "name": "unit", "image": "tester:2"}]}"#.to_vec())
    }
}

fn definition(language: &str, text: &str) -> BuildDefinition {
    let read = parse_with(&format!("tombolo.{language}"), text.as_bytes(), &mut Workflows);
    read.unwrap_or_else(|faults| panic!("{faults}\n{text}"))
}

/// A master with one cluster that is connected, and a project.
fn control() -> Control {
    let mut control = Control::new(Settings::default());
    let cluster = ClusterName::new("east").unwrap();
    let (secret, key) = (Digest::new([1; 32]), Digest::new([2; 32]));
    let invite = Invite {
        id: InviteId::from_u128(2),
        secret,
        cluster: cluster.clone(),
        labels: Labels::new(),
        expires_at: Timestamp(1000),
        used_by: None,
        pin: None,
    };
    let hello = Hello {
        version: "1".to_owned(),
        capacity: Resources {
            cpu_milli: 64_000,
            memory_bytes: 1 << 38,
        },
        slots: 100,
        capabilities: CAPABILITIES.to_vec(),
        facts: Labels::new(),
        peer_address: None,
        volumes: Vec::new(),
        attempts: Vec::new(),
    };
    let name = ProjectName::new("demo").unwrap();
    for command in [
        Command::CreateProject { id: PROJECT, name },
        Command::Invite(invite),
        Command::Join { secret, key },
        Command::Connect {
            cluster,
            session: SessionId(1),
            hello: Box::new(hello),
        },
    ] {
        let effects = control.apply(Now::default(), command);
        assert!(effects.reply.is_ok(), "{:?}", effects.reply);
    }
    control
}

/// Plans a build in a project that has the secrets which it names. How many jobs were planned, or why it is refused.
fn plan(definition: BuildDefinition) -> Result<usize, String> {
    let mut control = control();
    for name in definition.jobs.iter().flat_map(|job| job.secrets.values()) {
        let secret = Secret {
            project: PROJECT,
            name: name.clone(),
            updated_at: Timestamp(0),
        };
        let value = SealedValue {
            key: "k".to_owned(),
            bytes: Vec::new(),
        };
        let effects = control.apply(Now::default(), Command::SetSecret(SealedSecret { secret, value }));
        assert!(effects.reply.is_ok(), "{:?}", effects.reply);
    }
    match control.plan(PROJECT, definition) {
        Ok(jobs) => Ok(jobs.len()),
        Err(Refusal::Unsupported(sentence)) => Err(sentence),
        Err(other) => panic!("refused otherwise: {other}"),
    }
}

#[test]
fn every_example_is_planned_or_refused_by_the_sentence_below_it() {
    let blocks = blocks();
    let (mut planned, mut refused) = (0, 0);
    for (index, (language, text)) in blocks.iter().enumerate() {
        if !is_job_file(language) {
            continue;
        }
        let below = blocks.get(index + 1).map(|(_, text)| text.trim());
        let sentence = below.filter(|text| text.starts_with(REFUSED));
        match (plan(definition(language, text)), sentence) {
            (Ok(jobs), None) => {
                assert!(jobs > 0, "{text}");
                planned += 1;
            }
            (Err(said), Some(sentence)) => {
                assert_eq!(said, sentence, "{text}");
                refused += 1;
            }
            (said, sentence) => panic!("{said:?} is not {sentence:?}: {text}"),
        }
    }
    assert!(planned > 15 && refused >= 5, "{planned} planned, {refused} refused");
}

/// Where something stands in a file: names of fields, and `*` for names that the user gives.
type Path = Vec<String>;

/// The fields that a part of the schema knows.
fn known(schema: &Value, part: &Value, path: &Path, fields: &mut BTreeSet<Path>) {
    let part = match part["$ref"].as_str() {
        // The lists of hooks hold what `jobs` does.
        Some(_) if path.first().is_some_and(|first| first != "jobs") => return,
        Some(reference) => schema
            .pointer(reference.trim_start_matches('#'))
            .expect("a reference leads somewhere"),
        None => part,
    };
    let mut add = |name: &str, inner: &Value| {
        let mut path = path.clone();
        path.push(name.to_owned());
        known(schema, inner, &path, fields);
        fields.insert(path);
    };
    for (name, inner) in part["properties"].as_object().into_iter().flatten() {
        add(name, inner);
    }
    if part["additionalProperties"].is_object() {
        add("*", &part["additionalProperties"]);
    }
    if part["items"].is_object() {
        known(schema, &part["items"], path, fields);
    }
    for choice in part["anyOf"].as_array().into_iter().flatten() {
        known(schema, choice, path, fields);
    }
}

/// The fields that an example has.
fn shown(value: &Value, path: &Path, known: &BTreeSet<Path>, fields: &mut BTreeSet<Path>) {
    for item in value.as_array().into_iter().flatten() {
        shown(item, path, known, fields);
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let under = |name: &str| {
            let mut path = path.clone();
            path.push(name.to_owned());
            path
        };
        let named = Some(under(name)).filter(|path| known.contains(path));
        let path = named.unwrap_or_else(|| under("*"));
        shown(inner, &path, known, fields);
        fields.insert(path);
    }
}

#[test]
fn every_field_of_the_schema_is_in_a_whole_example() {
    let schema: Value = serde_json::from_str(SCHEMA).expect("the schema is JSON");
    let mut fields = BTreeSet::new();
    known(&schema, &schema, &Path::new(), &mut fields);
    assert!(fields.len() > 100, "{fields:?}");
    let mut found = BTreeSet::new();
    for (language, text) in blocks() {
        if !is_job_file(language) {
            continue;
        }
        definition(language, text);
        let value: Value = match language {
            "json" => serde_json::from_str(text).expect("JSON"),
            _ => serde_yaml_ng::from_str(text).expect("YAML"),
        };
        shown(&value, &Path::new(), &fields, &mut found);
    }
    let missing: Vec<String> = fields.difference(&found).map(|path| path.join(".")).collect();
    assert_eq!(missing, Vec::<String>::new(), "fields without an example");
}
