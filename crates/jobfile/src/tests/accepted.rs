use std::time::Duration;

use tombolo_core::build::{Dependency, JobKind, JobSpec, PodNeeds, StateSet, TerminalState};
use tombolo_core::capability::Capability;
use tombolo_core::label::Selector;
use tombolo_core::name::{ClusterName, JobName};
use tombolo_core::resources::Resources;
use tombolo_core::volume::{VolumeKind, VolumeSet};

use super::*;

#[test]
fn infraboxs_own_example_is_accepted() {
    let bytes = include_bytes!("../../../../docs/examples/infrabox/infrabox.json");
    let definition = parse("infrabox.json", bytes).unwrap_or_else(|faults| panic!("{faults}"));
    let [job] = definition.jobs.as_slice() else {
        panic!("one job, not {}", definition.jobs.len())
    };
    assert_eq!(job.selector.to_string(), "GCP");
}

#[test]
fn the_demos_file_is_accepted() {
    let definition = accept(
        "tombolo.yaml",
        include_str!("../../../../docs/examples/demo/tombolo.yaml"),
    );
    assert!(
        definition.jobs.iter().any(|job| !job.dependencies.is_empty()),
        "its jobs hand something on"
    );
}

#[test]
fn the_guides_examples_are_accepted() {
    let guide = concat!(
        include_str!("../../../../docs/guide/job-files.md"),
        include_str!("../../../../docs/guide/secrets.md")
    );
    let mut examples = 0;
    for language in ["json", "yaml"] {
        for block in guide.split(&format!("```{language}\n")).skip(1) {
            let (text, _) = block.split_once("```").expect("a block of code ends");
            if text.contains("version") {
                accept(&format!("tombolo.{language}"), text);
                examples += 1;
            }
        }
    }
    assert!(
        examples >= 2,
        "the guide shows whole job files in YAML and JSON, found {examples}"
    );
}

const EVERY_FIELD: &str = "
# A comment.
version: 1
jobs:
- type: docker-image
  name: build
  image: registry.example.com/tool:$INFRABOX_BUILD_NUMBER
  timeout: 60
  resources: {limits: {cpu: 0.5, memory: 256}}
- name: test_all-1
  type: docker-image
  image: \"tool\"
  command: [sh, -c, 'echo \"$X\"', '']
  environment:
    X: some text
    EMPTY: \"\"
    NUMBER: '8080'
  resources:
    limits:
      cpu: 2
      memory: 1024
  depends_on:
  - job: build
    on: [finished, unstable]
  cluster:
    selector:
    - GCP
    - region in (eu, us)
    - gpu>0
    prefer: west
  priority: -100
  volumes: [workspace, shared]
  cache: {data: true, image: false}
  kubernetes:
    storage: 20480
    node_selector: {disk: fast, example.org/gpu: 'true'}
    run_as_user: 0
    architecture: arm64
- type: docker-image
  name: report
  image: tool
  depends_on: [build, {job: test_all-1, on: ['*']}]
";

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn every_field_is_read() {
    let name = |name| JobName::new(name).expect("a valid name");
    let text = str::to_owned;
    let resources = |cpu_milli, mebibytes: u64| Resources {
        cpu_milli,
        memory_bytes: mebibytes << 20,
    };
    let build = JobSpec {
        name: name("build"),
        image: text("registry.example.com/tool:$INFRABOX_BUILD_NUMBER"),
        command: None,
        environment: [].into(),
        secrets: Default::default(),
        timeout: Duration::from_secs(60),
        resources: resources(500, 256),
        dependencies: vec![],
        selector: Selector::default(),
        prefer: None,
        priority: 0,
        volumes: VolumeSet::default(),
        cache: false,
        pod: None,
        kind: Default::default(),
        source: true,
        needs: Default::default(),
        passes_on: Default::default(),
        confined_to: Default::default(),
        repository: None,
        extensions: None,
    };
    let test = JobSpec {
        name: name("test_all-1"),
        image: text("tool"),
        command: Some(["sh", "-c", "echo \"$X\"", ""].map(str::to_owned).into()),
        environment: [("X", "some text"), ("EMPTY", ""), ("NUMBER", "8080")]
            .map(|(key, value)| (text(key), text(value)))
            .into(),
        timeout: Duration::from_secs(3600),
        resources: resources(2000, 1024),
        dependencies: vec![Dependency {
            job: name("build"),
            on: StateSet::of(&[TerminalState::Finished, TerminalState::Unstable]),
        }],
        selector: Selector::parse("GCP, region in (eu, us), gpu>0").expect("a valid selector"),
        prefer: Some(ClusterName::new("west").expect("a valid name")),
        priority: -100,
        volumes: VolumeSet::of(&VolumeKind::ALL),
        cache: true,
        pod: Some(Box::new(PodNeeds {
            storage_bytes: Some(20 << 30),
            node_selector: [("disk", "fast"), ("example.org/gpu", "true")]
                .map(|(key, value)| (text(key), text(value)))
                .into(),
            run_as_user: Some(0),
            architecture: Some(text("arm64")),
        })),
        ..build.clone()
    };
    let report = JobSpec {
        name: name("report"),
        dependencies: vec![
            Dependency {
                job: name("build"),
                on: StateSet::of(&[TerminalState::Finished]),
            },
            Dependency {
                job: name("test_all-1"),
                on: StateSet::ALL,
            },
        ],
        image: text("tool"),
        timeout: Duration::from_secs(3600),
        ..build.clone()
    };
    assert_eq!(accept("tombolo.yaml", EVERY_FIELD).jobs, [build, test, report]);
}

#[test]
fn secrets_are_referred_to_by_name_and_are_no_texts() {
    let text = "version: 1\njobs:\n- {name: a, type: docker-image, image: b, environment: {A: plain, B: {$secret: of_B}, C: {$secret: X9}}}\n";
    let definition = accept("infrabox.yaml", text);
    let job = &definition.jobs[0];
    let secrets: Vec<_> = job
        .secrets
        .iter()
        .map(|(variable, name)| (variable.as_str(), name.as_str()))
        .collect();
    assert_eq!(secrets, [("B", "of_B"), ("C", "X9")]);
    assert_eq!(job.environment.keys().collect::<Vec<_>>(), ["A"]);
    assert_eq!(job.needs.iter().collect::<Vec<_>>(), [Capability::Secrets]);
}

#[test]
fn caches_are_asked_for_in_several_ways() {
    for (field, wanted) in [
        ("cache: true", true),
        ("cache: false", false),
        ("cache: {}", true),
        ("cache: {data: true}", true),
        ("cache: {data: false}", false),
        ("cache: {data: false, image: false}", false),
        ("timeout: 1", false),
    ] {
        let text = format!("{{version: 1, jobs: [{{type: docker-image, name: a, image: i, {field}}}]}}");
        assert_eq!(accept("infrabox.yaml", &text).jobs[0].cache, wanted, "{field}");
    }
}

#[test]
fn json_may_be_indented_by_tabs() {
    let json = "{\n\t\"version\": 1,\r\n\t\"jobs\": [\n\t\t{\n\t\t\t\"type\":\t\"docker-image\",\n\t\t\t\"name\": \"a\",\n\t\t\t\"image\": \"i\"\n\t\t}\n\t]\n}\n";
    assert_eq!(accept("infrabox.json", json).jobs.len(), 1);
}

#[test]
fn escapes_and_other_scripts_are_read() {
    let json = r#"{"version": 1, "jobs": [{"type": "docker-image", "name": "a", "image": "i",
        "command": ["\u00fc \ud83d\ude00 \" \\ \/ \b\f\n\r\t", "ü 😀"]}]}"#;
    let yaml = "version: 1\njobs:\n- type: docker-image\n  name: a\n  image: i\n  command:\n  - \"\\u00fc \\U0001F600 \\\" \\\\ / \\b\\f\\n\\r\\t\"\n  - ü 😀\n";
    let expected = vec!["ü 😀 \" \\ / \u{8}\u{c}\n\r\t".to_owned(), "ü 😀".to_owned()];
    assert_eq!(accept("a.json", json).jobs[0].command, Some(expected.clone()));
    assert_eq!(accept("a.yaml", yaml).jobs[0].command, Some(expected));
}

#[test]
fn small_liberties_are_allowed() {
    for (file, text, jobs) in [
        ("infrabox.json", r#"{"version": 1, "jobs": []}"#, 0),
        ("infrabox.json", "\u{feff}{\"version\": 1, \"jobs\": []}", 0),
        ("infrabox.yaml", "\u{feff}version: 1\njobs: []\n", 0),
        ("infrabox.yaml", "---\nversion: 1\njobs: []\n...\n", 0),
        ("infrabox.yml", "%YAML 1.2\n---\n{\"version\": 1, \"jobs\": []}", 0),
        (
            "x/tombolo.yaml",
            "version: 0x1\njobs: [{type: docker-image, name: 'a', image: !!str 1}]",
            1,
        ),
        // An anchor that nobody refers to does no harm, and `on` is no boolean in YAML 1.2.
        (
            "tombolo.yaml",
            "version: 1\njobs: &all\n- {type: docker-image, name: a, image: i}\n- {type: docker-image, name: b, image: i, depends_on: [{job: a, on: [skipped, killed]}]}\n",
            2,
        ),
    ] {
        assert_eq!(accept(file, text).jobs.len(), jobs, "{text}");
    }
}

/// Every type with every field of InfraBox's, and what each job asks of an executor.
#[test]
fn every_type_of_infrabox_is_accepted() {
    const FILE: &str = include_str!("every_type.json");
    let jobs = accept("infrabox.json", FILE).jobs;
    let needs = |name: &str| {
        let job = jobs.iter().find(|job| job.name.as_str() == name);
        let job = job.unwrap_or_else(|| panic!("a job `{name}`"));
        let needs: Vec<&str> = job.needs.iter().map(Capability::as_str).collect();
        (job.kind, job.source, needs.join(" "))
    };
    let run = |source, needs: &str| (JobKind::Run, source, needs.to_owned());
    for (name, expected) in [
        ("plain", run(true, "")),
        ("sourceless", run(false, "")),
        ("moderate", run(true, "")),
        ("image", run(true, "services deployments registries privileged secrets")),
        ("push", run(true, "deployments")),
        ("vault", run(true, "vault")),
        (
            "built",
            run(true, "docker services deployments registries privileged secrets"),
        ),
        ("compose", run(true, "docker-compose registries")),
        ("cloned", run(false, "secrets git")),
        ("gate", (JobKind::Wait, true, String::new())),
    ] {
        assert_eq!(needs(name), expected, "{name}");
    }
}
