use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Texts that could be taken for something else. Without the three line breaks that YAML 1.1 had and 1.2 has not (U+0085, U+2028,
/// U+2029): the emitter is of version 1.1.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        "[\\x01-\\x1f\u{7f}-\u{84}\u{86}-\u{a0}ü😀\u{feff}]{0,4}",
        prop::sample::select(vec![
            "", "null", "~", "true", "yes", "1", "-1.5e3", "0x10", ".inf", "- a", "a: b", "#", "*a", "&a", "!x", "|",
            "'"
        ])
        .prop_map(str::to_owned),
    ]
}

fn states() -> impl Strategy<Value = Value> {
    prop::collection::vec(
        prop::sample::select(vec!["finished", "error", "failure", "unstable", "*"]),
        1..4,
    )
    .prop_map(|states| json!(states))
}

/// A sound job that depends on some of the jobs before it.
fn job(index: usize) -> impl Strategy<Value = Value> {
    let parents = prop::collection::btree_map(0..index.max(1), prop::option::of(states()), 0..3);
    let limits = (301_u32..9000, 256_u32..9000);
    (
        parents,
        prop::option::of(prop::collection::vec(text(), 1..4)),
        prop::collection::btree_map("[A-Z_]{1,6}", text(), 0..4),
        prop::option::of(1_u32..100_000),
        prop::option::of(limits),
        prop::option::of(prop::sample::subsequence(
            vec!["GCP", "!spot", "region in (eu, us)", "gpu>0", "a!=b"],
            1..4,
        )),
    )
        .prop_map(move |(parents, command, environment, timeout, limits, selector)| {
            let mut job = json!({"type": "docker-image", "name": format!("job-{index}"), "image": "i"});
            let dependencies: Vec<Value> = parents
                .into_iter()
                .filter(|(parent, _)| *parent < index)
                .map(|(parent, on)| match on {
                    None => json!(format!("job-{parent}")),
                    Some(on) => json!({"job": format!("job-{parent}"), "on": on}),
                })
                .collect();
            if !dependencies.is_empty() {
                job["depends_on"] = json!(dependencies);
            }
            if let Some(arguments) = command {
                job["command"] = [vec!["program".to_owned()], arguments].concat().into();
            }
            job["environment"] = json!(environment);
            if let Some(timeout) = timeout {
                job["timeout"] = timeout.into();
            }
            if let Some((cpu, memory)) = limits {
                job["resources"] = json!({"limits": {"cpu": f64::from(cpu) / 1000.0, "memory": memory}});
            }
            if let Some(selector) = selector {
                job["cluster"] = json!({"selector": selector, "prefer": "west"});
            }
            job
        })
}

fn document() -> impl Strategy<Value = Value> {
    (0_usize..6)
        .prop_flat_map(|count| (0..count).map(job).collect::<Vec<_>>())
        .prop_map(|jobs| json!({"version": 1, "jobs": jobs}))
}

/// Pieces of job files in any order: far more often nearly right than arbitrary bytes are.
fn soup() -> impl Strategy<Value = String> {
    let pieces = vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ": ",
        ",",
        "\n",
        "\n  ",
        "\n- ",
        "- ",
        "? ",
        "\"",
        "'",
        "\\",
        "\\u00",
        "\\ud83d",
        "#",
        " #",
        "&a ",
        "*a",
        "!",
        "!!str ",
        "|",
        ">",
        "|-\n",
        "%",
        "---\n",
        "...\n",
        "\t",
        "\0",
        "\u{feff}",
        "\r",
        "ü",
        "~",
        "null",
        "true",
        "1",
        "-1",
        "0.5",
        "1e9",
        "version",
        "\"version\": 1",
        "jobs",
        "\"jobs\": [",
        "name",
        "type",
        "docker-image",
        "depends_on",
        "on",
        "a",
        "b",
        "<<",
        "cluster",
        "selector",
        "timeout",
        "resources",
        "limits",
        "environment",
        "command",
    ];
    prop::collection::vec(prop::sample::select(pieces), 0..40).prop_map(|pieces| pieces.concat())
}

/// Accepted or refused; if refused, then with places that are in the file.
fn survives(file: &str, bytes: &[u8]) {
    if let Err(faults) = parse(file, bytes) {
        assert!(!faults.faults.is_empty());
        let lines =
            u32::try_from(bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() + 1).expect("a short text");
        for fault in &faults.faults {
            assert!(
                fault.line >= 1 && fault.column >= 1 && fault.line <= lines + 1,
                "{fault:?}"
            );
            assert!(!fault.message.chars().any(char::is_control), "{fault:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn json_and_yaml_of_the_same_document_say_the_same(document in document()) {
        let json = serde_json::to_vec_pretty(&document).expect("a value is JSON");
        let yaml = serde_yaml_ng::to_string(&document).expect("a value is YAML");
        let from_json = parse("infrabox.json", &json).unwrap_or_else(|faults| panic!("{faults}"));
        let from_yaml = parse("infrabox.yaml", yaml.as_bytes()).unwrap_or_else(|faults| panic!("{faults}\n{yaml}"));
        prop_assert_eq!(&from_json, &from_yaml);
        let jobs = document["jobs"].as_array().map(Vec::len);
        prop_assert_eq!(Some(from_json.jobs.len()), jobs);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        survives("infrabox.json", &bytes);
        survives("infrabox.yaml", &bytes);
    }

    #[test]
    fn nearly_right_files_never_panic(text in soup()) {
        survives("infrabox.json", text.as_bytes());
        survives("tombolo.yaml", text.as_bytes());
    }

    /// A cut or changed file is refused or means something, but never panics.
    #[test]
    fn damaged_files_never_panic(document in document(), at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let json = serde_json::to_vec(&document).expect("a value is JSON");
        let yaml = serde_yaml_ng::to_string(&document).expect("a value is YAML").into_bytes();
        for (file, mut bytes) in [("a.json", json), ("a.yaml", yaml)] {
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            survives(file, &bytes);
        }
    }

    /// What is JSON to serde_json is JSON here, and nothing else.
    #[test]
    fn json_is_what_serde_takes_for_json(text in "[\\[\\]{}:,\"\\\\0-9a-cefnlrstu.+\\- \n]{0,16}") {
        let faults = refuse("a.json", format!("[{text}]").as_bytes());
        let expected = serde_json::from_str::<serde::de::IgnoredAny>(&format!("[{text}]")).is_ok();
        let found = faults.faults.len() == 1 && faults.faults[0].message.starts_with("expected an object with");
        prop_assert_eq!(found, expected, "{}", faults);
    }
}
