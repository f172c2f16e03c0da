use super::check;

/// A job whose other fields are sound, with `field` on line 3.
pub(super) fn with_field(field: &str) -> String {
    format!("{{version: 1,\njobs: [{{type: docker-image, name: a, image: i,\n{field}}}]}}")
}

/// Checks fields and the only fault of each.
pub(super) fn check_fields(table: &[(&str, &str)]) {
    for (field, expected) in table {
        check("tombolo.yaml", &with_field(field), &[expected]);
    }
}

#[test]
fn fields_that_do_not_belong_there() {
    check_fields(&[
        ("nmae: b", "3:1 jobs[0].nmae: unknown field `nmae`"),
        ("name: b", "3:1 jobs[0].name: the field `name` is given twice"),
        (
            "docker_file: Dockerfile",
            "3:1 jobs[0].docker_file: the field `docker_file` belongs to jobs of type `docker`, and this one is of type `docker-image`",
        ),
        (
            "enable_docker_build_kit: true",
            "3:1 jobs[0].enable_docker_build_kit: the field `enable_docker_build_kit` belongs to jobs of type `docker` and \
             `docker-compose`, and this one is of type `docker-image`",
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
            "cache: {image: 1}",
            "3:16 jobs[0].cache.image: expected `true` or `false`, found the number 1",
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
            "environment: {A: {$secret: 1}}",
            "3:28 jobs[0].environment.A[\"$secret\"]: expected text: a name, found the number 1",
        ),
        (
            "environment: {A: {}}",
            "3:18 jobs[0].environment.A[\"$secret\"]: the field is missing",
        ),
        (
            "environment: {A: {$secret: a-b}}",
            "3:28 jobs[0].environment.A[\"$secret\"]: `a-b` is not a valid name of a secret",
        ),
        (
            "environment: {A: {$vault: v, $vault_secret_path: p}}",
            "3:18 jobs[0].environment.A[\"$vault_secret_key\"]: the field is missing",
        ),
        (
            "environment: {A: {$secret: s, $vault: v}}",
            "3:18 jobs[0].environment.A: a secret of the project and one of a vault at once",
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
fn what_infrabox_can_say_of_images_and_registries() {
    check_fields(&[
        (
            "repository: {clone: 1}",
            "3:21 jobs[0].repository.clone: expected `true` or `false`, found the number 1",
        ),
        (
            "repository: {depth: 1}",
            "3:14 jobs[0].repository.depth: unknown field `depth`",
        ),
        (
            "run: 'no'",
            "3:6 jobs[0].run: expected `true` or `false`, found the text `no`",
        ),
        (
            "build_context: ../other",
            "3:16 jobs[0].build_context: `../other` leads out of the source",
        ),
        (
            "build_context: /etc",
            "3:16 jobs[0].build_context: `/etc` is not a relative path with `/` between its parts",
        ),
        (
            "security_context: {privileged: 1}",
            "3:32 jobs[0].security_context.privileged: expected `true` or `false`, found the number 1",
        ),
        (
            "security_context: {capabilities: []}",
            "3:20 jobs[0].security_context.capabilities: unknown field `capabilities`",
        ),
        (
            "registries: [{host: h}]",
            "3:14 jobs[0].registries[0].type: the field is missing",
        ),
        (
            "registries: [{type: ecs, host: h}]",
            "3:21 jobs[0].registries[0].type: unknown type of registry `ecs`",
        ),
        (
            "registries: [{type: docker-registry, host: h, password: plain}]",
            "3:57 jobs[0].registries[0].password: expected an object with `$secret`, or with `$vault` and its path and key, \
             found the text `plain`",
        ),
        (
            "registries: [{type: gcr, host: h, more: {a: b}}]",
            "3:14 jobs[0].registries[0].service_account: the field is missing, which `gcr` needs",
        ),
        (
            "deployments: [{type: docker-registry, host: h, more: 1}]",
            "3:48 jobs[0].deployments[0].more: unknown field `more`",
        ),
        (
            "services: [{apiVersion: v1, kind: K, metadata: {}}]",
            "3:48 jobs[0].services[0].metadata.name: the field is missing",
        ),
        (
            "services: [{kind: K, metadata: {name: s}}]",
            "3:12 jobs[0].services[0].apiVersion: the field is missing",
        ),
        (
            "services: [{apiVersion: v1, kind: K, metadata: {name: s}}, {apiVersion: v1, kind: K, metadata: {name: s, x: y}, spec: {a: {b: c}}}]",
            "3:60 jobs[0].services[1]: another service is named `s` already",
        ),
    ]);
}

#[test]
fn fields_of_other_types() {
    for (job, expected) in [
        (
            "{type: docker, name: a, docker_file: D, build_only: 1}",
            "2:60 jobs[0].build_only: expected `true` or `false`, found the number 1",
        ),
        (
            "{type: docker, name: a, docker_file: D, build_arguments: {A: ''}}",
            "2:69 jobs[0].build_arguments.A: expected text: the argument's value, found an empty one",
        ),
        (
            "{type: docker, name: a, docker_file: D, target: ''}",
            "2:56 jobs[0].target: expected text: a stage of the docker file, found an empty one",
        ),
        (
            "{type: docker, name: a, docker_file: ../D}",
            "2:45 jobs[0].docker_file: `../D` leads out of the source",
        ),
        (
            "{type: docker-compose, name: a, docker_compose_file: c.yml, stop_timeout: -1}",
            "2:82 jobs[0].stop_timeout: expected a whole number of seconds from 0 to 86400, found -1",
        ),
        (
            "{type: docker-compose, name: a, docker_compose_file: c.yml, compose_profiles: [1]}",
            "2:87 jobs[0].compose_profiles[0]: expected text: a profile, found the number 1",
        ),
        (
            "{type: docker-compose, name: a, docker_compose_file: c.yml, command: [a]}",
            "2:68 jobs[0].command: the field `command` belongs to jobs of type `docker` and `docker-image`, and this one is of \
             type `docker-compose`",
        ),
        (
            "{type: git, name: a, clone_url: 'http://h/u', commit: ''}",
            "2:62 jobs[0].commit: expected text: a commit, branch or tag, found an empty one",
        ),
        (
            "{type: git, name: a, clone_url: 'http://h/u', commit: c, cache: true}",
            "2:65 jobs[0].cache: the field `cache` belongs to jobs of type `docker`, `docker-image` and `docker-compose`, \
             and this one is of type `git`",
        ),
    ] {
        check("tombolo.yaml", &format!("version: 1\njobs: [{job}]"), &[expected]);
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
