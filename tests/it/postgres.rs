//! A master whose database is a real Postgres server.

use std::time::Duration;

use crate::world::{World, job};

#[path = "../../crates/store/src/postgres/tests/server.rs"]
pub(crate) mod server;

use server::{PASSWORD, Server};

const CROSSING: &str = r#"
version: 1
jobs:
  - name: build
    type: docker-image
    image: b
    command: [sh, -c, "for i in 1 2 3 4 5 6 7 8; do echo line $i; sleep 0.5; done; head -c 2000000 /dev/urandom > $TOMBOLO_OUTPUT/noise"]
    cluster: {selector: [AWS]}
  - name: test
    type: docker-image
    image: b
    command: [sh, -c, "test $(stat -c %s $TOMBOLO_INPUTS/build/noise) = 2000000"]
    depends_on: [build]
    cluster: {selector: [GCP]}
"#;

fn server() -> Server {
    let server = Server::start(&[]);
    server.sql("postgres", "CREATE DATABASE builds");
    server
}

/// A world whose master uses the server, over TCP and with a password from a file.
fn world(server: &Server) -> World {
    let password = server.path("password-for-master");
    std::fs::write(&password, format!("{PASSWORD}\n")).expect("the folder is writable");
    World::start_set(&[
        ("TOMBOLO_MASTER_DATABASE__URL", server.tcp_url("builds").leak()),
        (
            "TOMBOLO_MASTER_DATABASE__PASSWORD__FILE",
            password.display().to_string().leak(),
        ),
    ])
}

/// Master and server die and come back while a build crosses two clusters: nothing is lost, and nothing runs twice.
#[test]
fn a_build_outlives_the_master_and_its_database() {
    let server = server();
    let world = world(&server);
    let number = world.submit(CROSSING);
    world.wait_for_state(number, "build", "running");
    world.kill("master");
    server.kill();
    std::thread::sleep(Duration::from_millis(700));
    server.start_again();
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "build")["epoch"], 1, "it was started again: {build:#}");
    let input = &job(&build, "test")["inputs"][0];
    assert_eq!((&input["from"], &input["route"]), (&"east".into(), &"relay".into()));
    let log = world.log(number, "build");
    let lines: Vec<_> = log.iter().filter(|line| line.starts_with("line ")).collect();
    assert_eq!(lines.len(), 8, "{log:#?}");

    // The server alone, while the master lives.
    let number = world.submit(CROSSING);
    world.wait_for_state(number, "build", "running");
    let master = world.process("master");
    server.kill();
    std::thread::sleep(Duration::from_secs(2));
    server.start_again();
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "build")["epoch"], 1, "it was started again: {build:#}");
    assert_eq!(world.process("master"), master, "the master went on");
    let stored = server.sql("builds", "SELECT state, count(*) FROM builds GROUP BY state");
    assert_eq!(stored, "finished|2");
    assert!(!world.path("master/tombolo.sqlite").exists());
}

/// Whoever starts a second master on the same database is told so, and the first goes on: also one of another installation, as with
/// a copied configuration.
#[test]
fn a_second_master_is_refused() {
    let server = server();
    let world = world(&server);
    let settings = format!(
        "data_folder = {:?}\nagents.listen = '127.0.0.1:0'\nusers.listen = '127.0.0.1:0'\n",
        world.path("second")
    );
    let configuration = world.write("second.toml", &settings).display().to_string();
    let url = server.url("builds");
    let arguments = ["master", "--config", &configuration, "--database", &url];
    let second = world.tombolo(&arguments);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.error.contains("belongs to another installation"), "{second:?}");
    let second = world.tombolo_with(&arguments, &[("TOMBOLO_MASTER_DATABASE__ADOPT", "true")]);
    assert_eq!(second.code, 1, "{second:?}");
    assert!(second.error.contains("another master uses"), "{second:?}");
    assert_eq!(world.run(CROSSING)["state"], "finished");
}

#[test]
fn a_password_as_an_argument_is_refused_and_not_repeated() {
    let world = World::start();
    let url = "postgres://tombolo:hunter2@db.example.com/builds";
    let printed = world.tombolo(&["master", "--config", "master.toml", "--database", url]);
    assert_eq!(printed.code, 2, "{printed:?}");
    assert!(printed.error.contains("database.password"), "{printed:?}");
    assert!(!format!("{printed:?}").contains("hunter2"), "{printed:?}");
}
