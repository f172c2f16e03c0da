//! What is wrong with fields that InfraBox does not have.

use super::field::{check_fields, with_field};
use super::{check, refuse};

#[test]
fn files_that_follow_infrabox_have_none_of_them() {
    for (field, what) in [
        ("timeouts: {run: 5}", "field `timeouts`"),
        ("matrix: {a: [b]}", "field `matrix`"),
        ("count: 2", "field `count`"),
        ("priority: 1", "field `priority`"),
        ("retry: 1", "field `retry`"),
        ("on_disconnect: wait", "field `on_disconnect`"),
        ("exclusive: true", "field `exclusive`"),
        ("inputs: {b: false}", "field `inputs`"),
        ("outputs: {keep: 1}", "field `outputs`"),
        ("volumes: [shared]", "field `volumes`"),
        ("kubernetes: {}", "field `kubernetes`"),
        ("cluster: {spread: zone}", "field `spread`"),
        ("cluster: {same_as: b}", "field `same_as`"),
        ("cluster: {prefer: [{selector: a}]}", "preferences with weights"),
    ] {
        let faults = refuse("infrabox.yaml", with_field(field).as_bytes()).faults;
        let [fault] = faults.as_slice() else {
            panic!("{field}: {faults:?}");
        };
        assert_eq!(fault.message, format!("InfraBox's job files have no {what}"));
        let hint = fault.hint.as_deref().unwrap_or_default();
        assert!(hint.starts_with("rename the file, to `tombolo.yaml`"), "{hint}");
    }
}

#[test]
fn retries() {
    check_fields(&[
        (
            "retry: 0",
            "3:8 jobs[0].retry: expected a whole number of further attempts from 1 to 10, found 0",
        ),
        (
            "retry: '3'",
            "3:8 jobs[0].retry: expected a whole number or an object with `count`, `states` and `backoff`, found the text `3`",
        ),
        (
            "retry: {states: [failure]}",
            "3:8 jobs[0].retry.count: the field is missing",
        ),
        (
            "retry: {count: 1, states: []}",
            "3:27 jobs[0].retry.states: the list is empty",
        ),
        (
            "retry: {count: 1, states: [killed]}",
            "3:28 jobs[0].retry.states[0]: no attempt can follow the state `killed`",
        ),
        (
            "retry: {count: 1, backoff: {initial: 10}}",
            "3:38 jobs[0].retry.backoff.initial: expected text: a span of time such as `90s`, found the number 10",
        ),
        (
            "retry: {count: 1, backoff: {initial: 10x}}",
            "3:38 jobs[0].retry.backoff.initial: `10x` is not a span of time",
        ),
        (
            "retry: {count: 1, backoff: {initial: 25h}}",
            "3:38 jobs[0].retry.backoff.initial: expected a span of time from `0s` to `1d`, found `25h`",
        ),
        (
            "retry: {count: 1, backoff: {factor: 0.5}}",
            "3:37 jobs[0].retry.backoff.factor: expected a number from 1 to 10, found 0.5",
        ),
        (
            "retry: {count: 1, backoff: {initial: 1m, max: 59s}}",
            "3:42 jobs[0].retry.backoff.max: the longest wait is shorter than the first one",
        ),
    ]);
}

#[test]
fn what_becomes_of_a_job_without_its_cluster() {
    check_fields(&[
        (
            "on_disconnect: replaced",
            "3:16 jobs[0].on_disconnect: `replaced` is nothing that can become of a job",
        ),
        (
            "exclusive: 1",
            "3:12 jobs[0].exclusive: expected `true` or `false`, found the number 1",
        ),
        (
            "exclusive: true, on_disconnect: wait",
            "3:18 jobs[0].on_disconnect: an `exclusive` job is stopped when its cluster is not heard of, so nothing is there to wait for",
        ),
    ]);
}

#[test]
fn arrays() {
    check_fields(&[
        (
            "count: 0",
            "3:8 jobs[0].count: expected a whole number from 1 to 100000, found 0",
        ),
        (
            "count: -3",
            "3:8 jobs[0].count: expected a whole number from 1 to 100000, found -3",
        ),
        (
            "count: 100001",
            "3:8 jobs[0].count: expected a whole number from 1 to 100000, found 100001",
        ),
        (
            "count: '7'",
            "3:8 jobs[0].count: expected a whole number, found the text `7`",
        ),
        (
            "count: 2.5",
            "3:8 jobs[0].count: expected a whole number, found the number 2.5",
        ),
        ("count: [1]", "3:8 jobs[0].count: expected a whole number, found a list"),
        (
            "parallel: 3",
            "3:1 jobs[0].parallel: `parallel` is given without `count`",
        ),
    ]);
}

#[test]
fn what_is_taken_of_arrays() {
    let two = |first: &str, second: &str| {
        format!(
            "{{version: 1, jobs: [\n{{type: docker-image, name: a, image: i, {first}}},\n{{type: docker-image, name: b, image: i, depends_on: [a], {second}}}]}}"
        )
    };
    for (first, second, expected) in [
        (
            "count: 3",
            "count: 4, inputs: {a: {index: same}}",
            "3:54 jobs[1].depends_on[0]: each index is to take the output of the same index of `a`, and this job has 4 indexes, `a` 3 indexes",
        ),
        (
            "count: 3",
            "inputs: {a: {index: same}}",
            "3:54 jobs[1].depends_on[0]: each index is to take the output of the same index of `a`, and this job has none, `a` 3 indexes",
        ),
        (
            "count: 3",
            "count: 3, inputs: {a: {index: 2}}",
            "3:88 jobs[1].inputs.a.index: expected text: `same`, found the number 2",
        ),
        (
            "count: 3",
            "inputs: {a: {index: all}}",
            "3:78 jobs[1].inputs.a.index: `all` says no index",
        ),
        (
            "count: 10001",
            "timeout: 5",
            "3:54 jobs[1].depends_on[0]: with those of `a`, the job takes the outputs of 10001 indexes: 10000 are the most",
        ),
        (
            "count: 3",
            "cluster: {same_as: a}",
            "3:77 jobs[1].cluster.same_as: `a` is an array, whose indexes run wherever there is room",
        ),
    ] {
        check("tombolo.yaml", &two(first, second), &[expected]);
    }
}

#[test]
fn arrays_of_what_runs_nothing() {
    for kind in ["type: wait, name: a", "type: workflow, name: a, infrabox_file: x"] {
        let text = format!("{{version: 1, jobs: [\n{{{kind}, count: 3}}]}}");
        let faults = crate::parse("tombolo.yaml", text.as_bytes()).unwrap_err().faults;
        assert!(
            faults
                .iter()
                .any(|fault| fault.path == "jobs[0].count" && fault.line == 2),
            "{kind}: {faults:?}"
        );
    }
}

#[test]
fn limits_of_phases() {
    check_fields(&[
        (
            "timeouts: 5",
            "3:11 jobs[0].timeouts: expected an object with `queue`, `start`, `run` and `transfer`, found the number 5",
        ),
        (
            "timeouts: {run: 5}",
            "3:17 jobs[0].timeouts.run: expected text: a span of time such as `90s`, found the number 5",
        ),
        (
            "timeouts: {start: 999ms}",
            "3:19 jobs[0].timeouts.start: expected a span of time from `1s` to `365d`, found `999ms`",
        ),
        (
            "timeouts: {stop: 1s}",
            "3:12 jobs[0].timeouts.stop: unknown field `stop`",
        ),
        (
            "timeout: 1, timeouts: {run: 1s}",
            "3:24 jobs[0].timeouts: `run` is given, and so is the field `timeout`, which says the same",
        ),
    ]);
}

#[test]
fn matrices() {
    check_fields(&[
        (
            "matrix: [a]",
            "3:9 jobs[0].matrix: expected an object of names and lists of values, found a list",
        ),
        ("matrix: {}", "3:9 jobs[0].matrix: the matrix has no values"),
        (
            "matrix: {Os: [a]}",
            "3:10 jobs[0].matrix.Os: `Os` is not a valid key of a matrix",
        ),
        ("matrix: {os: []}", "3:14 jobs[0].matrix.os: the list is empty"),
        (
            "matrix: {os: [a, a]}",
            "3:18 jobs[0].matrix.os[1]: `a` is there already",
        ),
        (
            "matrix: {v: [1.10]}",
            "3:14 jobs[0].matrix.v[0]: expected text or a whole number, found the number 1.1",
        ),
        (
            "matrix: {v: [a], exclude: [{w: a}]}",
            "3:28 jobs[0].matrix: the matrix has no `w`",
        ),
        (
            "matrix: {v: [a], exclude: [{v: a}]}",
            "3:9 jobs[0].matrix: no combination of the matrix is left",
        ),
        (
            "matrix: {v: [a], w: [b], include: [{v: c}]}",
            "3:36 jobs[0].matrix: the key `w` is missing",
        ),
        (
            "matrix: {v: [a], include: [{v: a}]}",
            "3:28 jobs[0].matrix: this combination is there already",
        ),
        (
            "matrix: {v: ['1.2', '1_2']}",
            "3:1 jobs[0].matrix: two combinations would both be named `a/1_2`",
        ),
        (
            "matrix: {v: [a]}, command: ['${{ matrix.w }}']",
            "3:19 jobs[0].command: the matrix has no `w`",
        ),
    ]);
}

#[test]
fn wishes_of_clusters() {
    check_fields(&[
        (
            "cluster: {prefer: 1}",
            "3:19 jobs[0].cluster.prefer: expected text (a cluster's name) or a list of objects with `selector` and `weight`, found the number 1",
        ),
        (
            "cluster: {prefer: [{weight: 1}]}",
            "3:20 jobs[0].cluster.prefer[0].selector: the field is missing",
        ),
        (
            "cluster: {prefer: [{selector: a, weight: 0}]}",
            "3:42 jobs[0].cluster.prefer[0].weight: expected a weight from 1 to 1000, found 0",
        ),
        (
            "cluster: {spread: zone=a}",
            "3:19 jobs[0].cluster.spread: `zone=a` is not the key of a label",
        ),
        (
            "cluster: {same_as: b}",
            "3:20 jobs[0].cluster.same_as: the job does not follow `b`, so that it is not known where that runs",
        ),
        (
            "cluster: {selector: ['os=${{ matrix.os }}']}",
            "3:22 jobs[0].cluster: expected the end, found `$` at character 4 of `os=${{ matrix.os }}`",
        ),
    ]);
    let text = "{version: 1, jobs: [{type: wait, name: w}, {type: docker-image, name: a, image: i, depends_on: [w],\ncluster: {same_as: w}}]}";
    check(
        "tombolo.yaml",
        text,
        &["2:20 jobs[1].cluster.same_as: `w` runs on no cluster itself"],
    );
}

#[test]
fn inputs_and_outputs() {
    check_fields(&[
        (
            "inputs: [a]",
            "3:9 jobs[0].inputs: expected an object of the names of jobs, found a list",
        ),
        ("inputs: {b: false}", "3:10 jobs[0].inputs: the job does not follow `b`"),
        (
            "outputs: {size: 0}",
            "3:17 jobs[0].outputs.size: expected a whole number of MiB from 1 to 67108864, found 0",
        ),
        ("outputs: {kept: 3}", "3:11 jobs[0].outputs.kept: unknown field `kept`"),
        (
            "outputs: {keep: 7d}",
            "3:17 jobs[0].outputs.keep: expected a whole number of days, found the text `7d`",
        ),
    ]);
    for (rule, expected) in [
        (
            "1",
            "2:20 jobs[1].inputs.b: expected `true`, `false`, or an object with `paths`, `as` and `index`, found the number 1",
        ),
        ("{path: [a]}", "2:21 jobs[1].inputs.b.path: unknown field `path`"),
        ("{paths: []}", "2:28 jobs[1].inputs.b.paths: the list is empty"),
        (
            "{paths: ['[']}",
            "2:29 jobs[1].inputs.b.paths[0]: `[` is not a pattern: unclosed character class; missing ']'",
        ),
        (
            "{paths: [/etc]}",
            "2:29 jobs[1].inputs.b.paths[0]: `/etc` is not a pattern of paths in an output",
        ),
        (
            "{paths: [a/../b]}",
            "2:29 jobs[1].inputs.b.paths[0]: `a/../b` is not a pattern of paths in an output",
        ),
        (
            "{as: a/b}",
            "2:25 jobs[1].inputs.b.as: `a/b` is not a valid name of a folder here",
        ),
        (
            "{as: ..}",
            "2:25 jobs[1].inputs.b.as: `..` is not a valid name of a folder here",
        ),
    ] {
        let text = format!(
            "{{version: 1, jobs: [{{type: wait, name: b}}, {{type: docker-image, name: a, image: i, depends_on: [b],\n    inputs: {{   b: {rule}}}}}]}}"
        );
        check("tombolo.yaml", &text, &[expected]);
    }
}
