//! What InfraBox's files cannot say.

use std::time::Duration;

use tombolo_core::build::extensions::{Extensions, OnDisconnect};
use tombolo_core::build::retry::{Backoff, Retry};
use tombolo_core::build::{JobKind, JobSpec, StateSet, TerminalState};
use tombolo_core::capability::Capability;

use super::*;

/// What a job with this field says beyond InfraBox's.
fn extensions(field: &str) -> Extensions {
    let text = format!("{{version: 1, jobs: [{{type: docker-image, name: a, image: i, {field}}}]}}");
    let [job] = <[_; 1]>::try_from(accept("tombolo.yaml", &text).jobs).expect("one job");
    job.extensions.map(|extensions| *extensions).unwrap_or_default()
}

#[test]
fn retries_are_a_number_or_an_object() {
    let plain = |count| Retry {
        count,
        states: StateSet::of(&[TerminalState::Failure, TerminalState::Error]),
        backoff: Backoff::default(),
    };
    let backoff = |initial, factor_percent, max| Backoff {
        initial: Duration::from_millis(initial),
        factor_percent,
        max: Duration::from_millis(max),
    };
    for (field, expected) in [
        ("timeout: 5", None),
        ("retry: 3", Some(plain(3))),
        ("retry: {count: 2}", Some(plain(2))),
        (
            "retry: {count: 1, states: [unstable, error]}",
            Some(Retry {
                states: StateSet::of(&[TerminalState::Error, TerminalState::Unstable]),
                ..plain(1)
            }),
        ),
        (
            "retry: {count: 10, backoff: {initial: 250ms, factor: 1.5, max: 1h}}",
            Some(Retry {
                backoff: backoff(250, 150, 3_600_000),
                ..plain(10)
            }),
        ),
        // Without a bound of its own the first wait is one.
        (
            "retry: {count: 1, backoff: {initial: 1h}}",
            Some(Retry {
                backoff: backoff(3_600_000, 200, 3_600_000),
                ..plain(1)
            }),
        ),
    ] {
        assert_eq!(extensions(field).retry, expected, "{field}");
    }
}

#[test]
fn phases_have_limits_of_their_own() {
    let limits = extensions("timeouts: {queue: 1h, start: 90s, transfer: 10m}").limits;
    let seconds = |limit: Option<Duration>| limit.map(|limit| limit.as_secs());
    let all = (seconds(limits.queue), seconds(limits.start), seconds(limits.transfer));
    assert_eq!(all, (Some(3600), Some(90), Some(600)));
    let text = "{version: 1, jobs: [{type: docker-image, name: a, image: i, timeouts: {run: 2h}}]}";
    let job = &accept("tombolo.yaml", text).jobs[0];
    assert_eq!((job.timeout, &job.extensions), (Duration::from_secs(7200), &None));
}

#[test]
fn what_becomes_of_a_job_without_its_cluster_is_read() {
    assert_eq!(extensions("on_disconnect: wait").on_disconnect, OnDisconnect::Wait);
    let text = "{version: 1, jobs: [{type: docker-image, name: a, image: i, exclusive: true, on_disconnect: replace}]}";
    let job = &accept("tombolo.yaml", text).jobs[0];
    let says = job.extensions.as_ref().unwrap();
    assert_eq!((says.exclusive, says.on_disconnect), (true, OnDisconnect::Replace));
    assert!(job.needs.contains(Capability::Exclusive));
    let text = "{version: 1, jobs: [{type: docker-image, name: a, image: i, exclusive: false}]}";
    let job = &accept("tombolo.yaml", text).jobs[0];
    assert_eq!((&job.extensions, job.needs.is_empty()), (&None, true));
}

#[test]
fn wishes_of_clusters_are_read() {
    let says = extensions("cluster: {prefer: [{selector: 'gpu>0', weight: 10}, {selector: region=eu}], spread: zone}");
    let preferences: Vec<(String, u32)> = says
        .preferences
        .iter()
        .map(|preference| (preference.selector.to_string(), preference.weight))
        .collect();
    assert_eq!(preferences, [("gpu>0".to_owned(), 10), ("region=eu".to_owned(), 1)]);
    assert_eq!((says.spread.as_deref(), says.same_as), (Some("zone"), None));
}

/// A job with a matrix, and one that follows it.
fn matrix(fields: &str) -> Vec<JobSpec> {
    let text = format!(
        "{{version: 1, jobs: [{{type: docker-image, name: test, image: i, {fields}}}, \
         {{type: docker-image, name: next, image: i, depends_on: [test]}}]}}"
    );
    accept("tombolo.yaml", &text).jobs
}

fn names(jobs: &[JobSpec]) -> Vec<&str> {
    jobs.iter().map(|job| job.name.as_str()).collect()
}

#[test]
fn an_array_is_one_job() {
    let text = "{version: 1, jobs: [{type: docker-image, name: a, image: i, count: 10000, parallel: 50}, \
        {type: docker-image, name: b, image: i, count: 10000, depends_on: [a], inputs: {a: {index: same, as: mine}}}, \
        {type: docker-image, name: c, image: i, depends_on: [a]}]}";
    let jobs = accept("tombolo.yaml", text).jobs;
    assert_eq!(names(&jobs), ["a", "b", "c"]);
    let array = jobs[0].array().expect("it is an array");
    assert_eq!((array.count, array.parallel), (10_000, Some(50)));
    let says = jobs[1].extensions.as_ref().expect("it says something");
    assert!(says.inputs[0].same_index);
    assert_eq!(jobs[2].array(), None);
    let of_index = jobs[0].of_index(17).expect("the name fits");
    assert_eq!(of_index.name.as_str(), "a/17");
    assert_eq!(of_index.environment["TOMBOLO_ARRAY_INDEX"], "17");
    assert_eq!(of_index.environment["INFRABOX_ARRAY_COUNT"], "10000");
}

#[test]
fn each_combination_of_a_matrix_is_an_array_if_its_job_is() {
    let jobs = matrix("matrix: {os: [linux, mac]}, count: 3");
    assert_eq!(names(&jobs), ["test/linux", "test/mac", "test", "next"]);
    let counts: Vec<Option<u32>> = jobs.iter().map(|job| job.array().map(|array| array.count)).collect();
    assert_eq!(counts, [Some(3), Some(3), None, None]);
}

#[test]
fn a_matrix_makes_a_job_of_each_combination_and_one_that_ends_as_they_do() {
    let jobs = matrix("matrix: {os: [linux, Mac OS], version: [1, '3.12']}, retry: 1");
    let expected = [
        "test/linux-1",
        "test/linux-3_12",
        "test/mac_os-1",
        "test/mac_os-3_12",
        "test",
        "next",
    ];
    assert_eq!(names(&jobs), expected);
    let whole = &jobs[4];
    assert_eq!((whole.kind, whole.dependencies.len()), (JobKind::Workflow, 4));
    assert!(
        whole
            .dependencies
            .iter()
            .all(|dependency| dependency.on == StateSet::ALL)
    );
    assert_eq!(whole.extensions, None);
    assert!(
        jobs[..4]
            .iter()
            .all(|job| job.extensions.is_some() && job.dependencies.is_empty())
    );
    let environment: Vec<_> = jobs[3]
        .environment
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    assert_eq!(environment, ["MATRIX_OS=Mac OS", "MATRIX_VERSION=3.12"]);
}

#[test]
fn combinations_can_be_left_out_and_added() {
    for (matrix_field, expected) in [
        (
            "{a: [x, y], b: [1, 2], exclude: [{a: x, b: 1}]}",
            &["test/x-2", "test/y-1", "test/y-2"][..],
        ),
        ("{a: [x, y], b: [1, 2], exclude: [{a: x}]}", &["test/y-1", "test/y-2"]),
        (
            "{a: [x, y], b: [1, 2], exclude: [{a: x}], include: [{a: x, b: 9}]}",
            &["test/y-1", "test/y-2", "test/x-9"],
        ),
        ("{include: [{b: 9, a: x}], a: [y], b: [1]}", &["test/y-1", "test/x-9"]),
    ] {
        let jobs = matrix(&format!("matrix: {matrix_field}"));
        assert_eq!(&names(&jobs)[..expected.len()], expected, "{matrix_field}");
    }
}

#[test]
fn values_stand_in_texts_and_selectors() {
    let jobs = matrix(
        "command: [sh, -c, 'echo ${{matrix.os}} ${{ other }}'], environment: {X: 'a-${{ matrix.os }}', MATRIX_OS: own}, \
         cluster: {selector: [fast, 'os=${{ matrix.os }}']}, matrix: {os: [linux]}",
    );
    assert_eq!(jobs[0].command.as_ref().unwrap()[2], "echo linux ${{ other }}");
    assert_eq!(jobs[0].environment["X"], "a-linux");
    assert_eq!(
        jobs[0].environment["MATRIX_OS"], "own",
        "what the job says itself stays"
    );
    assert_eq!(jobs[0].selector.to_string(), "fast, os=linux");
    let text =
        "{version: 1, jobs: [{type: docker-image, name: a, image: 'ci:${{ matrix.v }}-slim', matrix: {v: ['3.12']}}]}";
    assert_eq!(accept("tombolo.yaml", text).jobs[0].image, "ci:3.12-slim");
    // Without a matrix, nothing is put in.
    let text = "{version: 1, jobs: [{type: docker-image, name: a, image: i, command: ['${{ matrix.v }}']}]}";
    assert_eq!(
        accept("tombolo.yaml", text).jobs[0].command.as_ref().unwrap()[0],
        "${{ matrix.v }}"
    );
}

#[test]
fn matrices_within_workflows_keep_their_names() {
    struct One;
    impl Files for One {
        fn read(&mut self, _: &str) -> Result<Vec<u8>, String> {
            let text = "{version: 1, jobs: [{type: docker-image, name: test, image: i, matrix: {v: [1, 2]}}]}";
            Ok(text.as_bytes().to_vec())
        }
    }
    let text = "{version: 1, jobs: [{type: workflow, name: flow, infrabox_file: a.yaml}]}";
    let jobs = parse_with("tombolo.yaml", text.as_bytes(), &mut One).unwrap().jobs;
    assert_eq!(names(&jobs), ["flow/test/1", "flow/test/2", "flow/test", "flow"]);
    let parents: Vec<&str> = jobs[3].dependencies.iter().map(|parent| parent.job.as_str()).collect();
    assert_eq!(parents, ["flow/test"]);
}

#[test]
fn hostile_matrices_end_soon() {
    let job = |fields: &str| format!("{{version: 1, jobs: [{{type: docker-image, name: a, image: i, {fields}}}]}}");
    let values: Vec<String> = (0..16).map(|value| value.to_string()).collect();
    let axis = values.join(",");
    let many_axes: Vec<String> = (0..17).map(|axis| format!("k{axis}: [1]")).collect();
    let text = "x".repeat(100 * 1024);
    for (fields, expected) in [
        (
            format!("matrix: {{a: [{axis}], b: [{axis}], c: [1, 2]}}"),
            "3 keys and 512 combinations",
        ),
        (
            format!("matrix: {{{}}}", many_axes.join(", ")),
            "17 keys and 1 combinations",
        ),
        (
            format!("matrix: {{a: [{axis}], b: [{axis}]}}, command: ['{text}']"),
            "more than 16 MiB of text",
        ),
    ] {
        let faults = refuse("tombolo.yaml", job(&fields).as_bytes());
        assert!(faults.faults[0].message.contains(expected), "{faults}");
    }
    let one = format!("{{type: docker-image, name: NAME, image: i, matrix: {{a: [{axis}], b: [{axis}]}}}}");
    let jobs: Vec<String> = (0..500)
        .map(|index| one.replace("NAME", &format!("j{index}")))
        .collect();
    let faults = refuse(
        "tombolo.yaml",
        format!("{{version: 1, jobs: [{}]}}", jobs.join(",")).as_bytes(),
    );
    assert_eq!(faults.faults.len(), 1);
    assert!(faults.faults[0].message.contains("more than 100000 jobs"), "{faults}");
}

#[test]
fn inputs_are_chosen_renamed_or_left_out() {
    let text = "{version: 1, jobs: [{type: docker-image, name: one, image: i}, {type: docker-image, name: two, image: i}, \
                {type: docker-image, name: a, image: i, depends_on: [one, two], \
                 inputs: {one: {paths: ['dist/**', '*.txt'], as: lib}, two: false}, outputs: {size: 512, keep: 0}}]}";
    let jobs = accept("tombolo.yaml", text).jobs;
    let says = jobs[2].extensions.as_deref().unwrap();
    let folder = |name| tombolo_core::build::extensions::input_folder(Some(says), name).map(str::to_owned);
    assert_eq!(
        (folder(&jobs[0].name).as_deref(), folder(&jobs[1].name)),
        (Some("lib"), None)
    );
    assert_eq!(says.inputs[0].paths, ["dist/**", "*.txt"]);
    assert_eq!(says.output_limit_bytes, Some(512 << 20));
    assert_eq!(says.output_keep_days, Some(0));
}

#[test]
fn folders_of_inputs_collide_unless_one_is_renamed_or_left_out() {
    // Both matrices make a job of the same last name.
    let file = |inputs: &str| {
        format!(
            "{{version: 1, jobs: [{{type: docker-image, name: one, image: i, matrix: {{v: [1]}}}}, \
             {{type: docker-image, name: two, image: i, matrix: {{v: [1]}}}}, \
             {{type: docker-image, name: a, image: i, depends_on: [one/1, two/1]{inputs}}}]}}"
        )
    };
    let faults = refuse("tombolo.yaml", file("").as_bytes());
    assert_eq!(
        faults.faults[0].message,
        "the outputs of `one/1` and `two/1` would both come to `inputs/1`"
    );
    assert!(
        faults.faults[0]
            .hint
            .as_ref()
            .unwrap()
            .contains("`inputs: {PARENT: {as: other}}`")
    );
    for inputs in [", inputs: {one/1: {as: first}}", ", inputs: {two/1: false}"] {
        accept("tombolo.yaml", &file(inputs));
    }
    let faults = refuse(
        "tombolo.yaml",
        file(", inputs: {one/1: {as: x}, two/1: {as: x}}").as_bytes(),
    );
    assert_eq!(
        faults.faults[0].message,
        "the outputs of `one/1` and `two/1` would both come to `inputs/x`"
    );
}
