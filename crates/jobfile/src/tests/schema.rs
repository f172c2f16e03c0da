//! The published schema says what the reader says.

use serde_json::Value;

use super::*;
use crate::schema::{FIELDS, JobType};

const GUIDES: [(&str, &str); 3] = [
    ("job-files.md", include_str!("../../../../docs/guide/job-files.md")),
    (
        "from-infrabox.md",
        include_str!("../../../../docs/guide/from-infrabox.md"),
    ),
    ("first-steps.md", include_str!("../../../../docs/guide/first-steps.md")),
];

fn schema() -> Value {
    serde_json::from_str(SCHEMA).expect("the schema is JSON")
}

fn validator() -> jsonschema::Validator {
    jsonschema::validator_for(&schema()).expect("the schema is one")
}

/// The names in a list of the schema.
fn names(value: &Value) -> Vec<&str> {
    let list = value.as_array().expect("a list");
    list.iter().map(|name| name.as_str().expect("a name")).collect()
}

fn read(language: &str, text: &str) -> Value {
    match language {
        "json" => serde_json::from_str(text).expect("JSON"),
        _ => serde_yaml_ng::from_str(text).expect("YAML"),
    }
}

#[test]
fn every_type_has_the_fields_that_the_reader_knows() {
    let schema = schema();
    let job = &schema["$defs"]["job"];
    let properties: Vec<&String> = job["properties"].as_object().expect("an object").keys().collect();
    for (name, _) in FIELDS {
        assert!(
            properties.iter().any(|property| *property == name),
            "the schema has `{name}`"
        );
    }
    assert_eq!(properties.len(), FIELDS.len(), "and no others");
    assert_eq!(
        names(&job["properties"]["type"]["enum"]),
        JobType::ALL.map(JobType::as_str)
    );
    for (of, rule) in JobType::ALL.into_iter().zip(job["allOf"].as_array().expect("a list")) {
        assert_eq!(rule["if"]["properties"]["type"]["const"], of.as_str());
        let mut allowed = names(&rule["then"]["propertyNames"]["enum"]);
        let mut known: Vec<&str> = FIELDS
            .iter()
            .filter(|(_, types)| types.contains(&of))
            .map(|(name, _)| *name)
            .collect();
        allowed.sort_unstable();
        known.sort_unstable();
        assert_eq!(allowed, known, "{of}");
        let required: Vec<&str> = of.required().iter().map(|(name, _)| *name).collect();
        assert_eq!(names(&rule["then"]["required"]), required, "{of}");
    }
}

/// The files of the workflows that the guides name.
struct Workflows;

impl Files for Workflows {
    fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
        Ok(br#"{"version": 1, "jobs": [{"type": "docker-image", "name": "unit", "image": "tester:2"}]}"#.to_vec())
    }
}

/// Each whole job file that the guides show is taken by both.
#[test]
fn documented_examples_are_valid_by_schema_and_reader() {
    let validator = validator();
    let mut examples = 0;
    for (guide, text) in GUIDES {
        for language in ["json", "yaml"] {
            for block in text.split(&format!("```{language}\n")).skip(1) {
                let (example, _) = block.split_once("```").expect("a block of code ends");
                if !example.contains("version") {
                    continue;
                }
                let read_by = parse_with(&format!("tombolo.{language}"), example.as_bytes(), &mut Workflows);
                assert!(read_by.is_ok(), "{guide}: {example}: {read_by:?}");
                let faults: Vec<String> = validator
                    .iter_errors(&read(language, example))
                    .map(|error| error.to_string())
                    .collect();
                assert_eq!(faults, Vec::<String>::new(), "{guide}: {example}");
                examples += 1;
            }
        }
    }
    assert!(examples > 15, "the guides show job files, found {examples}");
}

#[test]
fn files_of_infrabox_are_valid_by_schema() {
    let validator = validator();
    for text in [
        include_str!("every_type.json"),
        include_str!("../../../../docs/examples/infrabox/infrabox.json"),
    ] {
        let faults: Vec<String> = validator
            .iter_errors(&read("json", text))
            .map(|error| error.to_string())
            .collect();
        assert_eq!(faults, Vec::<String>::new());
    }
}

#[test]
fn every_documented_field_has_an_example() {
    let examples: String = GUIDES
        .iter()
        .flat_map(|(_, text)| text.split("```").skip(1).step_by(2))
        .collect();
    let of_others = [
        "docker_file",
        "build_only",
        "build_arguments",
        "target",
        "enable_docker_build_kit",
        "docker_compose_file",
    ];
    let missing: Vec<&str> = FIELDS
        .iter()
        .filter(|(name, types)| types.contains(&JobType::Image) && !of_others.contains(name))
        .map(|(name, _)| *name)
        .filter(|name| !examples.contains(&format!("{name}:")))
        .collect();
    assert_eq!(
        missing,
        Vec::<&str>::new(),
        "fields of `docker-image` without an example"
    );
}

/// What the reader refuses for the shape of one field, the schema refuses as well.
#[test]
fn wrong_fields_are_refused_by_schema_and_reader() {
    let validator = validator();
    for field in [
        "nmae: b",
        "docker_file: Dockerfile",
        "timeout: 0",
        "timeout: 5, timeouts: {run: 5s}",
        "timeouts: {start: 10}",
        "retry: 11",
        "retry: {states: [error]}",
        "retry: {count: 1, states: [killed]}",
        "retry: {count: 1, backoff: {factor: 0.5}}",
        "priority: 101",
        "cluster: {prefer: [{weight: 1}]}",
        "cluster: {selector: []}",
        "matrix: {}",
        "matrix: {v: []}",
        "matrix: {V: [a]}",
        "inputs: {a: 1}",
        "outputs: {size: 0}",
        "volumes: [share]",
        "cache: 1",
        "resources: {limits: {cpu: 1}}",
        "command: []",
        "depends_on: [{on: [finished]}]",
        "depends_on: [{job: a, on: [done]}]",
        "kubernetes: {storage: 0}",
        "environment: {A: 1}",
    ] {
        let text = format!("{{version: 1, jobs: [{{type: docker-image, name: x, image: i, {field}}}]}}");
        refuse("tombolo.yaml", text.as_bytes());
        assert!(!validator.is_valid(&read("yaml", &text)), "{field}");
    }
}
