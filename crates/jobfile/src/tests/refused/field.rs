use super::{check, faults};

/// A job whose other fields are sound, with `field` on line 3.
fn with_field(field: &str) -> String {
    format!("{{version: 1,\njobs: [{{type: docker-image, name: a, image: i,\n{field}}}]}}")
}

/// Checks fields and the only fault of each.
fn check_fields(table: &[(&str, &str)]) {
    for (field, expected) in table {
        check("infrabox.yaml", &with_field(field), &[expected]);
    }
}

#[test]
fn fields_that_do_not_belong_there() {
    check_fields(&[
        ("nmae: b", "3:1 jobs[0].nmae: unknown field `nmae`"),
        ("name: b", "3:1 jobs[0].name: the field `name` is given twice"),
        (
            "services: []",
            "3:1 jobs[0].services: the field `services` is known, but this version does not support it yet",
        ),
        (
            "docker_file: Dockerfile",
            "3:1 jobs[0].docker_file: the field `docker_file` is known, but belongs to jobs of type `docker`, which this \
             version does not run yet",
        ),
    ]);
}

#[test]
fn caches() {
    check_fields(&[
        (
            "cache: 1",
            "3:8 jobs[0].cache: expected `true`, `false`, or an object with `data`, found the number 1",
        ),
        (
            "cache: {data: 'true'}",
            "3:15 jobs[0].cache.data: expected `true` or `false`, found the text `true`",
        ),
        (
            "cache: {image: true}",
            "3:16 jobs[0].cache.image: caches of images are known, but this version does not support them yet",
        ),
        ("cache: {date: true}", "3:9 jobs[0].cache.date: unknown field `date`"),
    ]);
}

#[test]
fn priorities() {
    check_fields(&[
        (
            "priority: 101",
            "3:11 jobs[0].priority: expected a whole number from -100 to 100, found 101",
        ),
        (
            "priority: -101",
            "3:11 jobs[0].priority: expected a whole number from -100 to 100, found -101",
        ),
        (
            "priority: high",
            "3:11 jobs[0].priority: expected a whole number, found the text `high`",
        ),
        (
            "priority: 0.5",
            "3:11 jobs[0].priority: expected a whole number, found the number 0.5",
        ),
    ]);
}

#[test]
fn timeouts() {
    check_fields(&[
        (
            "timeout: 0",
            "3:10 jobs[0].timeout: expected a whole number of seconds from 1 to 31536000, found 0",
        ),
        (
            "timeout: -1",
            "3:10 jobs[0].timeout: expected a whole number of seconds from 1 to 31536000, found -1",
        ),
        (
            "timeout: true",
            "3:10 jobs[0].timeout: expected a whole number of seconds, found the boolean true",
        ),
        (
            "timeout: '60'",
            "3:10 jobs[0].timeout: expected a whole number of seconds, found the text `60`",
        ),
        (
            "timeout: 60.5",
            "3:10 jobs[0].timeout: expected a whole number of seconds, found the number 60.5",
        ),
        (
            "timeout: 1h",
            "3:10 jobs[0].timeout: expected a whole number of seconds, found the text `1h`",
        ),
    ]);
}

#[test]
fn commands() {
    check_fields(&[
        ("command: []", "3:10 jobs[0].command: the list is empty"),
        (
            "command: ls",
            "3:10 jobs[0].command: expected a list of texts: the program and its arguments, found the text `ls`",
        ),
        (
            "command: ['']",
            "3:11 jobs[0].command[0]: expected text: the program, found an empty one",
        ),
        (
            "command: [sleep, 1]",
            "3:18 jobs[0].command[1]: expected text: an argument, found the number 1",
        ),
        (
            "command: [\"a\\0b\"]",
            "3:11 jobs[0].command[0]: a NUL character, which no text may have",
        ),
    ]);
}

#[test]
fn environments() {
    check_fields(&[
        (
            "environment: {A: 1}",
            "3:18 jobs[0].environment.A: expected text, found the number 1",
        ),
        (
            "environment: {A: }",
            "3:16 jobs[0].environment.A: expected text, found nothing (null)",
        ),
        (
            "environment: {A=B: c}",
            "3:15 jobs[0].environment[\"A=B\"]: `A=B` is not a valid name of a variable",
        ),
        (
            "environment: {\"A\\0\": c}",
            "3:15 jobs[0].environment[\"A\\0\"]: `A\\u{0}` is not a valid name of a variable",
        ),
        (
            "environment: [A]",
            "3:14 jobs[0].environment: expected an object of names and texts, found a list",
        ),
        (
            "environment: {A: {$secret: x}}",
            "3:18 jobs[0].environment.A: values from secrets (`$secret`, `$vault`) are known, but this version does not \
             support them yet",
        ),
    ]);
}

#[test]
fn resources() {
    check_fields(&[
        ("resources: {}", "3:12 jobs[0].resources.limits: the field is missing"),
        (
            "resources: {requests: {}, limits: {cpu: 1, memory: 512}}",
            "3:13 jobs[0].resources.requests: unknown field `requests`",
        ),
        (
            "resources: {limits: {memory: 512}}",
            "3:21 jobs[0].resources.limits.cpu: the field is missing",
        ),
        (
            "resources: {limits: {cpu: 1}}",
            "3:21 jobs[0].resources.limits.memory: the field is missing",
        ),
        (
            "resources: {limits: {cpu: 0.3, memory: 512}}",
            "3:27 jobs[0].resources.limits.cpu: expected a number of processors above 0.3 and up to 10000, found 0.3",
        ),
        (
            "resources: {limits: {cpu: '1', memory: 512}}",
            "3:27 jobs[0].resources.limits.cpu: expected a number of processors, found the text `1`",
        ),
        (
            "resources: {limits: {cpu: 1, memory: 255}}",
            "3:38 jobs[0].resources.limits.memory: expected a whole number of MiB from 256 to 67108864, found 255",
        ),
        (
            "resources: {limits: {cpu: 1, memory: 512.5}}",
            "3:38 jobs[0].resources.limits.memory: expected a whole number of MiB, found the number 512.5",
        ),
    ]);
}

#[test]
fn clusters() {
    check_fields(&[
        (
            "cluster: {selector: []}",
            "3:21 jobs[0].cluster.selector: the list is empty",
        ),
        (
            "cluster: {selector: GCP}",
            "3:21 jobs[0].cluster.selector: expected a list of requirements, found the text `GCP`",
        ),
        (
            "cluster: {selector: [GCP, 'region eu']}",
            "3:27 jobs[0].cluster.selector[1]: expected an operator (`=`, `==`, `!=`, `in`, `notin`, `>`, `<`), found \
             `e` at character 8 of `region eu`",
        ),
        (
            "cluster: {prefer: West}",
            "3:19 jobs[0].cluster.prefer: `West` is not a valid name of a cluster",
        ),
        (
            "cluster: {prefered: west}",
            "3:11 jobs[0].cluster.prefered: unknown field `prefered`",
        ),
    ]);
}

#[test]
fn dependencies() {
    check_fields(&[
        ("depends_on: []", "3:13 jobs[0].depends_on: the list is empty"),
        (
            "depends_on: b",
            "3:13 jobs[0].depends_on: expected a list of jobs, found the text `b`",
        ),
        ("depends_on: [b]", "3:14 jobs[0].depends_on[0]: no job is named `b`"),
        (
            "depends_on: [a]",
            "3:14 jobs[0].depends_on[0]: job `a` depends on itself",
        ),
        (
            "depends_on: [B]",
            "3:14 jobs[0].depends_on[0]: `B` is not a valid name of a job",
        ),
        (
            "depends_on: [1]",
            "3:14 jobs[0].depends_on[0]: expected text (a job's name) or an object with `job` and `on`, found the number 1",
        ),
        (
            "depends_on: [{on: [finished]}]",
            "3:14 jobs[0].depends_on[0].job: the field is missing",
        ),
    ]);
}

#[test]
fn fields_that_are_known_but_not_supported() {
    for field in [
        "repository",
        "registries",
        "deployments",
        "services",
        "security_context",
        "build_context",
        "run",
    ] {
        let found = faults("infrabox.yaml", with_field(&format!("{field}: [{{a: b}}]")).as_bytes());
        let expected = "is known, but this version does not support it yet";
        assert_eq!(found, [format!("3:1 jobs[0].{field}: the field `{field}` {expected}")]);
    }
}

#[test]
fn volumes() {
    check_fields(&[
        (
            "volumes: shared",
            "3:10 jobs[0].volumes: expected a list of volumes, found the text `shared`",
        ),
        (
            "volumes: [share]",
            "3:11 jobs[0].volumes[0]: there is no volume `share`",
        ),
        (
            "volumes: [shared, shared]",
            "3:19 jobs[0].volumes[1]: `shared` is there already",
        ),
        (
            "volumes: [shared, workspace, shared]",
            "3:30 jobs[0].volumes: more than 2 items",
        ),
    ]);
}

#[test]
fn what_pods_are_asked() {
    check_fields(&[
        (
            "kubernetes: {privileged: true}",
            "3:14 jobs[0].kubernetes.privileged: unknown field `privileged`",
        ),
        (
            "kubernetes: {storage: 0}",
            "3:23 jobs[0].kubernetes.storage: expected a whole number of MiB from 1 to 67108864, found 0",
        ),
        (
            "kubernetes: {run_as_user: -1}",
            "3:27 jobs[0].kubernetes.run_as_user: expected the number of a user from 0 to 4294967294, found -1",
        ),
        (
            "kubernetes: {node_selector: {'a b': c}}",
            "3:30 jobs[0].kubernetes.node_selector[\"a b\"]: `a b` is not the key of a node's label",
        ),
        (
            "kubernetes: {architecture: a/b}",
            "3:28 jobs[0].kubernetes.architecture: `a/b` is not the value of a node's label",
        ),
    ]);
}
