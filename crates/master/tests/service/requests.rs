//! Bad input, and what it gets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::Method;
use serde_json::{Value, json};
use tokio_stream::StreamExt;
use tombolo_api::{BuildList, Code, ProjectList, Version, path};
use tombolo_core::name::ProjectName;

use crate::setting::{DEADLINE, Master, problem};

#[tokio::test]
#[allow(clippy::too_many_lines)] // a table
async fn bad_requests_are_told_what_is_wrong() {
    let master = Master::start().await;
    let post = |path: &'static str, body: Value| (Method::POST, path, Some(body));
    let job_file = json!({"name": "tombolo.yaml", "text": "jobs: []\n"});
    let builds = "/api/v1/projects/default/builds";
    let cases = [
        (
            post("/api/v1/projects", json!({"name": "p", "colour": 1})),
            Code::InvalidRequest,
            "unknown field `colour`",
        ),
        (
            post("/api/v1/projects", json!({})),
            Code::InvalidRequest,
            "missing field `name`",
        ),
        (
            post("/api/v1/projects", json!({"name": 7})),
            Code::InvalidRequest,
            "invalid type",
        ),
        (
            post("/api/v1/projects", json!({"name": "No!"})),
            Code::InvalidRequest,
            "`No!` is not a valid project name",
        ),
        (
            post("/api/v1/projects", json!({"name": "default"})),
            Code::Exists,
            "project `default` exists already",
        ),
        (
            post("/api/v1/tokens", json!({"name": "a\u{0}", "role": "viewer"})),
            Code::InvalidRequest,
            "at `name` contains a NUL",
        ),
        (
            post("/api/v1/tokens", json!({"name": "", "role": "viewer"})),
            Code::InvalidRequest,
            "`name` is empty",
        ),
        (
            post("/api/v1/tokens", json!({"name": "a", "role": "root"})),
            Code::InvalidRequest,
            "unknown variant `root`",
        ),
        (
            post(
                "/api/v1/tokens",
                json!({"name": "a", "role": "viewer", "ttl_seconds": 0}),
            ),
            Code::InvalidRequest,
            "ttl_seconds",
        ),
        (
            post(
                "/api/v1/tokens",
                json!({"name": "a", "role": "viewer", "project": "gone"}),
            ),
            Code::NotFound,
            "project `gone`",
        ),
        (
            post("/api/v1/invites", json!({"name": "e", "labels": ["a b"]})),
            Code::InvalidRequest,
            "label",
        ),
        (
            post("/api/v1/invites", json!({"name": "e", "labels": ["cluster=w"]})),
            Code::InvalidRequest,
            "reserved",
        ),
        (
            post("/api/v1/invites", json!({"name": "e", "ttl_seconds": 90_000})),
            Code::InvalidRequest,
            "ttl_seconds",
        ),
        (
            post(builds, json!({"job_file": job_file, "source": "12"})),
            Code::InvalidRequest,
            "64 lower-case",
        ),
        (
            post(builds, json!({"job_file": job_file, "revision": {"tag": "\n"}})),
            Code::InvalidRequest,
            "`revision.tag`",
        ),
        (
            post(builds, json!({"job_file": {"name": "x.txt", "text": ""}})),
            Code::InvalidJobFile,
            "x.txt",
        ),
        (
            (Method::GET, "/api/v1/projects/default/builds/x", None),
            Code::InvalidRequest,
            "path: `number` is `x`, and must be a whole number",
        ),
        (
            (Method::GET, "/api/v1/projects/default/builds?limit=x", None),
            Code::InvalidRequest,
            "query: limit: it must be a whole number",
        ),
        (
            (
                Method::PATCH,
                "/api/v1/projects/default",
                Some(json!({"retention": {"days": 7, "bytes": 0}})),
            ),
            Code::InvalidRequest,
            "`retention.bytes` is 0",
        ),
        (
            (Method::GET, "/api/v1/projects/default/builds?limit=0", None),
            Code::InvalidRequest,
            "`limit` is 0",
        ),
        (
            (Method::GET, "/api/v1/projects/default/builds?page=1", None),
            Code::InvalidRequest,
            "unknown field `page`",
        ),
        (
            (Method::GET, "/api/v1/projects/default/builds/7", None),
            Code::NotFound,
            "build 7 does not exist",
        ),
        (
            (Method::GET, "/api/v1/projects/a%00b", None),
            Code::InvalidRequest,
            "NUL",
        ),
        (
            (Method::GET, "/api/v1/projects/No!", None),
            Code::NotFound,
            "does not exist",
        ),
        (
            (Method::GET, "/api/v1/clusters/gone", None),
            Code::NotFound,
            "cluster `gone`",
        ),
        (
            (Method::DELETE, "/api/v1/clusters/gone", None),
            Code::NotFound,
            "cluster `gone`",
        ),
        (
            (Method::DELETE, "/api/v1/tokens/no-id", None),
            Code::NotFound,
            "token `no-id`",
        ),
        ((Method::GET, "/api/v2", None), Code::NotFound, "no route"),
        (
            (Method::PATCH, "/api/v1/projects", None),
            Code::MethodNotAllowed,
            "PATCH",
        ),
    ];
    for ((method, path, body), code, words) in cases {
        let shown = format!("{method} {path} {}", body.clone().unwrap_or_default());
        let problem = master.user.refused(method, path, body).await;
        assert_eq!(problem.code, code, "{shown}: {}", problem.detail);
        assert!(
            problem.detail.contains(words),
            "{shown}: {:?} lacks {words:?}",
            problem.detail
        );
    }
    let projects: ProjectList = master.user.get("/api/v1/projects").await;
    assert_eq!(projects.projects.len(), 1, "nothing was made");
}

#[tokio::test]
async fn bodies_are_bounded_and_of_the_right_kind() {
    let master = Master::start().await;
    let send = |body: Vec<u8>, media_type: &'static str| {
        let request = master.user.request(Method::POST, "/api/v1/projects");
        request.header("content-type", media_type).body(body).send()
    };
    let large = format!("{{\"name\":\"{}\"}}", "a".repeat(5 << 20)).into_bytes();
    for (body, media_type, code) in [
        (b"{".to_vec(), "application/json", Code::InvalidRequest),
        (b"{}".to_vec(), "text/plain", Code::UnsupportedMediaType),
        (large, "application/json", Code::TooLarge),
        (b"\xff\xfe".to_vec(), "application/json", Code::InvalidRequest),
        (b"[[[[[[".repeat(1000), "application/json", Code::InvalidRequest),
    ] {
        let size = body.len();
        let found = problem(send(body, media_type).await.unwrap()).await;
        assert_eq!(found.code, code, "{size} bytes of {media_type}: {}", found.detail);
    }
    let long = format!("/api/v1/{}", "a".repeat(20_000));
    assert_eq!(master.user.refused(Method::GET, &long, None).await.code, Code::TooLarge);
}

#[tokio::test]
async fn all_faults_of_a_job_file_come_at_once() {
    let master = Master::start().await;
    let text = "jobs:\n  - name: a\n    type: docker-image\n    image: i\n    timeout: 0\n    colour: red\n    depends_on: [b]\n";
    let request = json!({"job_file": {"name": "tombolo.yaml", "text": text}});
    let problem = master
        .user
        .refused(Method::POST, "/api/v1/projects/default/builds", Some(request))
        .await;
    assert_eq!(problem.code, Code::InvalidJobFile);
    assert!(problem.faults.len() >= 3, "{problem:?}");
    assert!(
        problem
            .faults
            .iter()
            .all(|fault| fault.line.is_some() && !fault.message.is_empty())
    );
    let builds: BuildList = master.user.get("/api/v1/projects/default/builds").await;
    assert_eq!(builds.builds, []);
}

#[tokio::test]
async fn who_lives_and_what_answers() {
    let master = Master::start().await;
    let stranger = master.user.with_token(None);
    for probe in [path::HEALTH, path::READY] {
        assert_eq!(stranger.send(Method::GET, probe, None).await.status(), 200);
    }
    let version: Version = master.user.get(&path::version()).await;
    assert_eq!(version.version, env!("CARGO_PKG_VERSION"));
    let response = master.user.send(Method::GET, &path::whoami(), None).await;
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.headers()["cache-control"], "no-store");
}

#[tokio::test]
async fn what_was_made_is_there_after_a_restart() {
    let master = Master::start().await;
    let _: Value = master.user.post("/api/v1/projects", json!({"name": "kept"})).await;
    let viewer = master.user_with("viewer", Some("kept")).await;
    let token = std::fs::read(master.configuration.data_folder.join("admin.token")).unwrap();
    let trust = std::fs::read(master.configuration.data_folder.join("trust.pem")).unwrap();
    let (secret, builds) = (viewer, path::builds(&ProjectName::new("kept").unwrap()));
    let _: BuildList = secret.get(&builds).await;
    let master = master.restart().await;
    assert_eq!(
        std::fs::read(master.configuration.data_folder.join("admin.token")).unwrap(),
        token
    );
    assert_eq!(
        std::fs::read(master.configuration.data_folder.join("trust.pem")).unwrap(),
        trust
    );
    let projects: ProjectList = master.user.get("/api/v1/projects").await;
    let names: Vec<_> = projects.projects.iter().map(|project| project.name.as_str()).collect();
    assert_eq!(names, ["default", "kept"]);
}

#[tokio::test]
async fn secrets_are_for_the_owner_only() {
    use std::os::unix::fs::PermissionsExt;
    let master = Master::start().await;
    let data = &master.configuration.data_folder;
    let mode = |path: &str| std::fs::metadata(data.join(path)).unwrap().permissions().mode() & 0o777;
    for (path, expected) in [
        ("", 0o700),
        ("admin.token", 0o600),
        ("authority/ca.key.pem", 0o600),
        ("authority/grant.key.pem", 0o600),
        ("trust.pem", 0o644),
    ] {
        assert_eq!(mode(path), expected, "{path}");
    }
}

#[tokio::test]
async fn the_addresses_that_jobs_know_lead_to_words_without_data() {
    let master = Master::start().await;
    let stranger = master.user.with_token(None);
    for (path, command) in [
        ("/projects/default/builds/7", "tombolo jobs 7 -p default"),
        ("/projects/default/builds/7/jobs/a%2Fb", "tombolo logs 7 a/b -p default"),
        // Nobody learns what there is: any project will do.
        ("/projects/nobodys/builds/7", "tombolo jobs 7 -p nobodys"),
    ] {
        let response = stranger.send(Method::GET, path, None).await;
        assert_eq!(response.status(), 200, "{path}");
        assert_eq!(response.headers()["content-type"], "text/plain; charset=utf-8");
        let text = response.text().await.unwrap();
        assert!(text.contains(command), "{text}");
    }
    for path in ["/projects/default/builds/x", "/projects/%3Cb%3E/builds/7"] {
        let refused = stranger.refused(Method::GET, path, None).await;
        assert_eq!(refused.code, Code::NotFound, "{path}");
    }
}

/// A request's body of more than 10 MiB that tells how much of it was sent when nobody sends any more of it.
fn large_body() -> (reqwest::Body, impl Future<Output = (usize, usize)>) {
    let text = "x".repeat(10 * 1024 * 1024);
    let body = json!({"job_file": {"name": "tombolo.yaml", "text": text}}).to_string();
    let whole = body.len();
    let pieces: Vec<Vec<u8>> = body.as_bytes().chunks(64 * 1024).map(<[u8]>::to_vec).collect();
    let sent = Arc::new(AtomicUsize::new(0));
    let (sending, over) = tokio::sync::oneshot::channel::<()>();
    let counter = sent.clone();
    let pieces = tokio_stream::iter(pieces).map(move |piece| {
        let _ends_with_the_body = &sending;
        counter.fetch_add(piece.len(), Ordering::Relaxed);
        Ok::<_, std::io::Error>(piece)
    });
    let told = async move {
        let _dropped = over.await;
        (sent.load(Ordering::Relaxed), whole)
    };
    (reqwest::Body::wrap_stream(pieces), told)
}

/// Over HTTP/2 the stream was reset while the client still sent, and some clients show that in place of the answer.
#[tokio::test]
async fn whoever_is_refused_before_the_body_is_read_has_an_answer_over_http2() {
    let master = Master::start().await;
    let stranger = master.user.with_token(None);
    let viewer = master.user_with("viewer", None).await;
    let builds = "/api/v1/projects/default/builds";
    let long = format!("/api/v1/{}", "a".repeat(20_000));
    let (post, json) = (Method::POST, "application/json");
    for (user, method, path, media_type, code) in [
        (&stranger, &post, builds, json, Code::Unauthenticated),
        (&viewer, &post, builds, json, Code::Forbidden),
        (&master.user, &post, "/api/v1/nowhere", json, Code::NotFound),
        (&master.user, &Method::PUT, builds, json, Code::MethodNotAllowed),
        (&master.user, &post, builds, "text/plain", Code::UnsupportedMediaType),
        (&master.user, &post, long.as_str(), json, Code::TooLarge),
        (&master.user, &post, builds, json, Code::TooLarge),
    ] {
        let (body, told) = large_body();
        let request = user.request(method.clone(), path);
        let request = request.header("content-type", media_type).body(body);
        let response = request.send().await.unwrap();
        assert_eq!(response.version(), http::Version::HTTP_2);
        let problem = problem(response).await;
        assert_eq!(problem.code, code, "{problem:?}");
        let (sent, whole) = told.await;
        assert_eq!(sent, whole, "{code:?}: the stream was reset");
    }
    // The connection goes on.
    let _: Version = master.user.get(&path::version()).await;
}

/// Also where the length is said before.
#[tokio::test]
async fn a_body_that_is_too_large_has_an_answer_over_http2() {
    let master = Master::start().await;
    let text = "x".repeat(10 * 1024 * 1024);
    let body = json!({"job_file": {"name": "tombolo.yaml", "text": text}}).to_string();
    let request = master.user.request(Method::POST, "/api/v1/projects/default/builds");
    let request = request.header("content-type", "application/json").body(body);
    let response = request.send().await.unwrap();
    assert_eq!(response.version(), http::Version::HTTP_2);
    let problem = problem(response).await;
    assert_eq!(problem.code, Code::TooLarge, "{problem:?}");
}

#[tokio::test]
async fn connections_that_say_nothing_keep_nobody_out() {
    let master = Master::start_changed(|configuration| configuration.users.connections = 2).await;
    let request = master.user.request(Method::GET, path::READY);
    let port = request.try_clone().unwrap().build().unwrap().url().port().unwrap();
    let mut silent = Vec::new();
    // Also more than handshakes may go on at once.
    for _ in 0..300 {
        silent.push(tokio::net::TcpStream::connect(("127.0.0.1", port)).await.unwrap());
    }
    let answer = tokio::time::timeout(DEADLINE, request.send()).await.unwrap().unwrap();
    assert!(answer.status().is_success(), "{answer:?}");
    drop(silent);
}
