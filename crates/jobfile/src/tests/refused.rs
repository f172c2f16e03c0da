mod contradiction;
mod empty;
mod field;
mod sharing;
mod superset;

use super::*;

/// The faults as `line:column path: message`.
fn faults(file: &str, bytes: &[u8]) -> Vec<String> {
    let Faults { faults, .. } = refuse(file, bytes);
    faults
        .iter()
        .map(|fault| format!("{}:{} {}: {}", fault.line, fault.column, fault.path, fault.message))
        .collect()
}

pub(super) fn check(file: &str, text: &str, expected: &[&str]) {
    assert_eq!(faults(file, text.as_bytes()), expected, "{text}");
}

#[test]
fn files_that_are_no_job_file() {
    for (file, text, expected) in [
        ("infrabox.json", "", "1:1 : the file is empty"),
        ("infrabox.json", " \n ", "2:2 : the file is empty"),
        ("infrabox.yaml", "", "1:1 : the file is empty"),
        ("infrabox.yaml", "# only this\n", "2:1 : the file is empty"),
        (
            "infrabox.json",
            "[]",
            "1:1 : expected an object with `version` and `jobs`, found a list",
        ),
        (
            "infrabox.yaml",
            "hello",
            "1:1 : expected an object with `version` and `jobs`, found the text `hello`",
        ),
        (
            "infrabox.json",
            "null",
            "1:1 : expected an object with `version` and `jobs`, found nothing (null)",
        ),
        (
            "infrabox.txt",
            "",
            "1:1 : the name `infrabox.txt` does not say how the file is written",
        ),
        (
            "infrabox.json",
            "{\"version\": 1, \"jobs\": []} {}",
            "1:28 : more than one document",
        ),
        (
            "infrabox.yaml",
            "version: 1\njobs: []\n---\nversion: 1\njobs: []\n",
            "3:1 : more than one document",
        ),
        (
            "infrabox.json",
            "{\"version\": 1, \"jobs\": [\0]}",
            "1:25 : a NUL byte, which no text may have",
        ),
        (
            "infrabox.yaml",
            "version: 1\n# \0",
            "2:3 : a NUL byte, which no text may have",
        ),
    ] {
        check(file, text, &[expected]);
    }
    assert_eq!(faults("a.json", b"{\n \xff}"), ["2:2 : the file is not valid UTF-8"]);
    assert_eq!(faults("a.yaml", b"a: \xc3"), ["1:4 : the file is not valid UTF-8"]);
}

#[test]
fn json_is_read_strictly() {
    for (text, expected) in [
        (
            "{",
            "1:2 : expected a field's name in double quotes, found the end of the file",
        ),
        ("{\"version\" 1}", "1:12 : expected `:`, found `1`"),
        (
            "{\"version\": 1 \"jobs\": []}",
            "1:15 : expected `,` or `}`, found `\"`",
        ),
        (
            "{\"version\": 1,}",
            "1:15 : expected a field's name in double quotes, found `}`",
        ),
        (
            "{'version': 1}",
            "1:2 : expected a field's name in double quotes, found `'`",
        ),
        ("{\"jobs\": [1}", "1:12 : expected `,` or `]`, found `}`"),
        ("{\"jobs\": [", "1:11 : expected a value, found the end of the file"),
        ("{\"jobs\": [,]}", "1:11 : expected a value, found `,`"),
        (
            "{\"version\": one}",
            "1:13 : expected a value (texts stand in double quotes), found `o`",
        ),
        ("{\"version\": 01}", "1:13 : `01` is not a number"),
        ("{\"version\": 1.}", "1:13 : `1.` is not a number"),
        ("{\"version\": -}", "1:13 : `-` is not a number"),
        ("{\"version\": 1e999}", "1:13 : `1e999` is not a number"),
        (
            "{\"version\": \"a\nb\"}",
            "1:15 : a line break, tab or control character inside of a text, not escaped",
        ),
        ("{\"version\": \"\\x\"}", "1:14 : an escape that JSON does not have"),
        ("{\"version\": \"\\ud800\"}", "1:14 : an escape that JSON does not have"),
        ("{\"version\": \"\\u12", "1:14 : an escape that JSON does not have"),
        ("{\"version\": \"abc", "1:17 : the file ends inside of a text"),
        (
            "{ // comment\n}",
            "1:3 : expected a field's name in double quotes, found `/`",
        ),
    ] {
        let found = faults("infrabox.json", text.as_bytes());
        assert_eq!(
            found.last().map(|fault| fault.split_once(' ').map(|(at, rest)| {
                let (_, message) = rest.split_once(": ").expect("a path");
                format!("{at} : {message}")
            })),
            Some(Some(expected.to_owned())),
            "{text}"
        );
    }
}

#[test]
fn yaml_that_is_broken_or_too_clever() {
    for (text, line, expected) in [
        ("version: 1\njobs:\n\t- a\n", 3, "not valid YAML"),
        ("version: [1\n", 2, "not valid YAML"),
        ("version: 'a\n", 1, "not valid YAML"),
        ("version: 1\njobs: *nowhere\n", 2, "not valid YAML"),
        ("version: &v 1\njobs: *v\n", 2, "an alias"),
        ("version: !!binary aGVsbG8=\n", 1, "a tag"),
        ("version: 1\njobs: !set {}\n", 2, "a tag"),
        ("version: .inf\n", 1, "an infinite number"),
        ("version: 1e999\n", 1, "too large"),
        ("? [version]\n: 1\n", 1, "expected a field's name, found a list"),
    ] {
        let faults = refuse("infrabox.yaml", text.as_bytes());
        let found = faults
            .faults
            .iter()
            .any(|fault| fault.line == line && fault.message.contains(expected));
        assert!(found, "{text:?}: {faults}");
    }
}

#[test]
fn lines_of_yaml_that_stand_wrong_come_with_a_hint() {
    for text in [
        "version: 1\njobs:\n- name: a\n  type docker\n  image: b\n",
        "version: 1\njobs:\n  - name: a\n image: b\n",
    ] {
        let faults = refuse("infrabox.yaml", text.as_bytes());
        let mut hints = faults.faults.iter().filter_map(|fault| fault.hint.as_deref());
        assert!(
            hints.any(|hint| hint.contains("in the same column")),
            "{text:?}: {faults}"
        );
    }
}

#[test]
fn the_outermost_object() {
    for (text, expected) in [
        (
            "{}",
            &["1:1 version: the field is missing", "1:1 jobs: the field is missing"][..],
        ),
        (
            "{version: 2, jobs: []}",
            &["1:11 version: expected the version 1, found the number 2"],
        ),
        (
            "{version: '1', jobs: []}",
            &["1:11 version: expected the version 1, found the text `1`"],
        ),
        (
            "{version: 1.0, jobs: []}",
            &["1:11 version: expected the version 1, found the number 1"],
        ),
        (
            "{version: true, jobs: []}",
            &["1:11 version: expected the version 1, found the boolean true"],
        ),
        (
            "{version: 1, jobs: {}}",
            &["1:20 jobs: expected a list of jobs, found an object"],
        ),
        (
            "{version: 1, jobs: }",
            &["1:18 jobs: expected a list of jobs, found nothing (null)"],
        ),
        (
            "{version: 1, jobs: [a]}",
            &["1:21 jobs[0]: expected an object that describes a job, found the text `a`"],
        ),
        ("{version: 1, jobs: [], job: []}", &["1:24 job: unknown field `job`"]),
        (
            "{version: 1, version: 1, jobs: []}",
            &["1:14 version: the field `version` is given twice"],
        ),
        (
            "{version: 1, jobs: [], 'a b': 1}",
            &["1:24 [\"a b\"]: unknown field `a b`"],
        ),
    ] {
        check("infrabox.yaml", text, expected);
    }
}

#[test]
fn states_are_those_of_the_dialect() {
    let job = "{version: 1,\njobs: [\n{type: docker-image, name: a, image: i},\n{type: docker-image, name: b, image: i, depends_on: [{job: a,\non: ON}]}]}";
    let place = "jobs[1].depends_on[0].on";
    for (file, on, expected) in [
        ("infrabox.yaml", "[]", "5:5 PLACE: the list is empty"),
        (
            "infrabox.yaml",
            "finished",
            "5:5 PLACE: expected a list of states, found the text `finished`",
        ),
        ("infrabox.yaml", "[finish]", "5:6 PLACE[0]: unknown state `finish`"),
        (
            "infrabox.yaml",
            "[error, skipped]",
            "5:13 PLACE[1]: the state `skipped` can be named in files of Tombolo's own only",
        ),
        (
            "infrabox.yaml",
            "[killed]",
            "5:6 PLACE[0]: the state `killed` can be named in files of Tombolo's own only",
        ),
        ("tombolo.yaml", "[failed]", "5:6 PLACE[0]: unknown state `failed`"),
    ] {
        check(file, &job.replace("ON", on), &[&expected.replace("PLACE", place)]);
    }
}

#[test]
fn types_and_names() {
    for (job, expected) in [
        ("{name: a, image: i}", "2:8 jobs[0].type: the field is missing"),
        (
            "{type: docker-image, name: a}",
            "2:8 jobs[0].image: the field is missing",
        ),
        (
            "{type: docker-image, image: i}",
            "2:8 jobs[0].name: the field is missing",
        ),
        (
            "{type: docker-imge, name: a, image: i}",
            "2:15 jobs[0].type: unknown type of job `docker-imge`",
        ),
        (
            "{type: 1, name: a, image: i}",
            "2:15 jobs[0].type: expected text: the job's type, found the number 1",
        ),
        (
            "{type: docker, name: a}",
            "2:8 jobs[0].docker_file: the field is missing",
        ),
        (
            "{type: docker-compose, name: a}",
            "2:8 jobs[0].docker_compose_file: the field is missing",
        ),
        (
            "{type: git, name: a, commit: main}",
            "2:8 jobs[0].clone_url: the field is missing",
        ),
        (
            "{type: workflow, name: a}",
            "2:8 jobs[0].infrabox_file: the field is missing",
        ),
        (
            "{type: wait, name: a, image: i}",
            "2:30 jobs[0].image: the field `image` belongs to jobs of type `docker-image`, and this one is of type `wait`",
        ),
        (
            "{type: docker-image, name: A, image: i}",
            "2:35 jobs[0].name: `A` is not a valid name of a job",
        ),
        (
            "{type: docker-image, name: a/b, image: i}",
            "2:35 jobs[0].name: `a/b` is not a valid name of a job",
        ),
        (
            "{type: docker-image, name: '', image: i}",
            "2:35 jobs[0].name: `` is not a valid name of a job",
        ),
        (
            "{type: docker-image, name: 1, image: i}",
            "2:35 jobs[0].name: expected text: the job's name, found the number 1",
        ),
        (
            "{type: docker-image, name: a, image: ''}",
            "2:45 jobs[0].image: expected text: an image's name, found an empty one",
        ),
        (
            "{type: docker-image, name: a, image: a b}",
            "2:45 jobs[0].image: `a b` is not the name of an image",
        ),
    ] {
        check("infrabox.yaml", &format!("version: 1\njobs: [{job}]"), &[expected]);
    }
}

#[test]
fn the_graph_is_checked_where_it_is_written() {
    let file = r#"{
  "version": 1,
  "jobs": [
    {"type": "docker-image", "name": "a", "image": "i", "depends_on": ["c"]},
    {"type": "docker-image", "name": "b", "image": "i", "depends_on": ["a"]},
    {"type": "docker-image", "name": "c", "image": "i", "depends_on": ["b", "biuld", "b"]},
    {"type": "docker-image", "name": "b", "image": "i"},
    {"type": "docker", "name": "build"}
  ]
}"#;
    check(
        "infrabox.json",
        file,
        &[
            "4:72 jobs[0].depends_on[0]: the jobs depend on each other in a cycle: a -> c -> b -> a",
            "6:77 jobs[2].depends_on[1]: no job is named `biuld`",
            "6:86 jobs[2].depends_on[2]: the dependency on `b` is given twice",
            "7:38 jobs[3].name: another job is named `b` already",
            "8:5 jobs[4].docker_file: the field is missing",
        ],
    );
    let hints: Vec<_> = refuse("infrabox.json", file.as_bytes())
        .faults
        .into_iter()
        .map(|fault| fault.hint)
        .collect();
    assert_eq!(hints[1].as_deref(), Some("did you mean `build`?"));
    assert_eq!(hints[3].as_deref(), Some("the other one is jobs[1] on line 5"));
}

#[test]
fn all_faults_come_at_once_and_in_order() {
    let file = "version: 2\njobs:\n- type: docker-image\n  name: Bad Name\n  timeout: 0\n  colour: red\n- name: b\n  type: docker-image\n  image: i\n  depends_on: [c]\n";
    check(
        "tombolo.yaml",
        file,
        &[
            "1:10 version: expected the version 1, found the number 2",
            "3:3 jobs[0].image: the field is missing",
            "4:9 jobs[0].name: `Bad Name` is not a valid name of a job",
            "5:12 jobs[0].timeout: expected a whole number of seconds from 1 to 31536000, found 0",
            "6:3 jobs[0].colour: unknown field `colour`",
            "10:16 jobs[1].depends_on[0]: no job is named `c`",
        ],
    );
}

#[test]
fn faults_before_a_broken_place_are_told_too() {
    let found = faults("a.json", b"{\"version\": 2,\n\"jobs\": [{\"name\": }]}");
    assert_eq!(
        found,
        [
            "1:13 version: expected the version 1, found the number 2",
            "2:19 jobs[0]: expected a value, found `}`",
        ]
    );
}

#[test]
fn reports_are_for_people_and_programs() {
    let text = "version: 1\njobs:\n- {type: docker-image, name: a, imgae: \"\\e[31m\", image: i}\n";
    let result = parse("dir/tombolo.yaml", text.as_bytes());
    let faults = result.as_ref().expect_err("a faulty file");
    assert_eq!(
        faults.to_string(),
        "dir/tombolo.yaml:3:33: jobs[0].imgae: unknown field `imgae`\n    hint: did you mean `image`?"
    );
    let report = report::Report::new("dir/tombolo.yaml", &result);
    assert_eq!(
        serde_json::to_value(&report).expect("a report is JSON"),
        serde_json::json!({
            "file": "dir/tombolo.yaml",
            "valid": false,
            "faults": [{
                "path": "jobs[0].imgae",
                "line": 3,
                "column": 33,
                "message": "unknown field `imgae`",
                "hint": "did you mean `image`?",
            }],
            "omitted": 0,
        })
    );
    let valid = report::Report::new("a.yaml", &parse("a.yaml", b"version: 1\njobs: []\n"));
    assert_eq!(
        serde_json::to_value(&valid).expect("a report is JSON"),
        serde_json::json!({"file": "a.yaml", "valid": true, "jobs": 0, "faults": [], "omitted": 0})
    );
}
