//! Jobs that clone a repository.

use tombolo_core::build::JobSpec;
use tombolo_core::build::repository::Repository;
use tombolo_core::capability::Capability;
use tombolo_core::name::SecretName;

use super::refused::check;
use super::*;

fn read(name: &str, fields: &str) -> JobSpec {
    let text = format!("{{version: 1, jobs: [{{type: git, name: a, {fields}}}]}}");
    let [job] = <[_; 1]>::try_from(accept(name, &text).jobs).expect("one job");
    job
}

#[test]
fn what_is_cloned_is_in_the_specification_and_the_password_is_not() {
    let plain = Repository {
        url: "https://git.example/shop".to_owned(),
        commit: "main".to_owned(),
        branch: None,
        file: None,
        username: None,
    };
    let job = read("infrabox.yaml", "clone_url: 'https://git.example/shop', commit: main");
    assert_eq!(job.repository.as_deref(), Some(&plain));
    assert!(!job.source && job.needs.contains(Capability::Git) && !job.needs.contains(Capability::Secrets));

    let job = read(
        // The path begins at the top of the repository, wherever this file is.
        "ci/tombolo.yaml",
        "clone_url: 'https://robot@git.example/shop', commit: v1, branch: main, infrabox_file: x/../ci/infrabox.json, \
         credentials: {password: {$secret: of_git}}, environment: {A: b}, timeout: 60",
    );
    let expected = Repository {
        commit: "v1".to_owned(),
        branch: Some("main".to_owned()),
        file: Some("ci/infrabox.json".to_owned()),
        username: Some("robot".to_owned()),
        ..plain
    };
    assert_eq!(job.repository.as_deref(), Some(&expected));
    let of_git = SecretName::new("of_git").unwrap();
    assert_eq!(job.secrets, [(Repository::PASSWORD.to_owned(), of_git)].into());
    assert!(job.needs.contains(Capability::Secrets));
    assert_eq!(job.environment["A"], "b");
    assert_eq!(job.timeout.as_secs(), 60);
}

#[test]
fn what_cannot_be_cloned_is_refused_with_its_place() {
    for (fields, expected) in [
        (
            "clone_url: 'git@git.example:shop.git', commit: a",
            "2:40 jobs[0].clone_url: `git@git.example:shop.git` cannot be cloned: only `https` and `http` are spoken",
        ),
        (
            "clone_url: 'https://a:b@git.example/shop', commit: a",
            "2:40 jobs[0].clone_url: the address has a password in it, which everybody sees who sees the job file",
        ),
        (
            "clone_url: 'https://git.example', commit: a",
            "2:40 jobs[0].clone_url: `https://git.example` is not the address of a repository",
        ),
        (
            "clone_url: 'https://git.example/a', commit: a b",
            "2:73 jobs[0].commit: `a b` is not the name of a commit, branch or tag",
        ),
        (
            "clone_url: 'https://git.example/a', commit: a, infrabox_file: ../x",
            "2:91 jobs[0].infrabox_file: `../x` leads out of the source",
        ),
        (
            "clone_url: 'https://git.example/a', commit: a, credentials: {username: a}",
            "2:89 jobs[0].credentials.password: the field is missing",
        ),
        (
            "clone_url: 'https://git.example/a', commit: a, credentials: {password: hunter2}",
            "2:100 jobs[0].credentials.password: the password is not a secret of the project",
        ),
        (
            "clone_url: 'http://git.example:8080/a', commit: a, credentials: {password: {$secret: P}}",
            "2:40 jobs[0].clone_url: the password would go to `git.example:8080` in the clear",
        ),
        (
            "credentials: {password: {$secret: P}}, commit: a, clone_url: 'http://10.0.0.1/a'",
            "2:90 jobs[0].clone_url: the password would go to `10.0.0.1` in the clear",
        ),
    ] {
        let text = format!("version: 1\njobs: [{{type: git, name: a, {fields}}}]");
        check("tombolo.yaml", &text, &[expected]);
    }
}

#[test]
fn a_password_may_go_to_the_machine_itself_in_the_clear() {
    for url in [
        "http://127.0.0.1:8080/a",
        "http://localhost/a",
        "http://[::1]:1/a",
        "https://git.example/a",
    ] {
        read(
            "tombolo.yaml",
            &format!("clone_url: '{url}', commit: a, credentials: {{password: {{$secret: P}}}}"),
        );
    }
    read("tombolo.yaml", "clone_url: 'http://git.example/a', commit: a");
}
