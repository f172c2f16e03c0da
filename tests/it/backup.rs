//! Backups: made while the master works, and restored into another one that its clusters take for the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use crate::postgres::server::{PASSWORD, Server};
use crate::world::{World, job};

/// A restored master waits for a lease first.
const LEASES: [(&str, &str); 3] = [
    ("TOMBOLO_MASTER_LEASES__HANDOVER", "6s"),
    ("TOMBOLO_MASTER_LEASES__LEASE", "6s"),
    ("TOMBOLO_MASTER_LEASES__HEARTBEAT", "1s"),
];

/// The epochs that a restored master gives.
const RESTORED: u64 = 1_700_000_000;

const VALUE: &str = "correct-horse-battery";

/// `long` runs for as long as there is no file `go`. `late` begins when there is a file `gate`, writes each of its attempts into the diary, and
/// goes on until there is a file `go`.
const FILE: &str = r#"
version: 1
jobs:
  - name: long
    type: docker-image
    image: b
    environment: {TOKEN: {$secret: token}}
    command: [sh, -c, "i=0; while ! test -e PLACE/go; do i=$((i+1)); echo line $i; sleep 0.05; done; test $TOKEN = VALUE && echo survived > $TOMBOLO_OUTPUT/word"]
  - name: gate
    type: docker-image
    image: b
    command: [sh, -c, "while ! test -e PLACE/gate; do sleep 0.05; done"]
  - name: late
    type: docker-image
    image: b
    depends_on: [gate]
    command: [sh, -c, "echo $TOMBOLO_ATTEMPT_EPOCH >> PLACE/diary; while ! test -e PLACE/go; do sleep 0.05; done; echo $TOMBOLO_ATTEMPT_EPOCH > $TOMBOLO_OUTPUT/epoch"]
"#;

const TINY: &str = "version: 1\njobs: [{name: a, type: docker-image, image: b, command: ['true']}]\n";

fn file(world: &World) -> String {
    let place = world.path("").display().to_string();
    FILE.replace("PLACE", place.trim_end_matches('/'))
        .replace("VALUE", VALUE)
}

fn diary(world: &World) -> Vec<u64> {
    let text = fs::read_to_string(world.path("diary")).unwrap_or_default();
    text.lines().map(|line| line.parse().expect("an epoch")).collect()
}

fn set_secret(world: &World) {
    let value = world.write("value", VALUE).display().to_string();
    world
        .tombolo(&["secret", "set", "token", "--from-file", &value])
        .succeeded();
}

/// Pushes a folder, and returns the number of its build.
fn push(world: &World) -> String {
    let folder = world.path("app");
    fs::create_dir(&folder).expect("writable");
    fs::write(folder.join("word"), "from the source").expect("writable");
    let file = "version: 1\njobs: [{name: read, type: docker-image, image: b, command: [sh, -c, 'cat $TOMBOLO_CONTEXT/word']}]\n";
    fs::write(folder.join("tombolo.yaml"), file).expect("writable");
    let pushed = world
        .tombolo(&["push", &folder.display().to_string(), "-o", "name"])
        .succeeded();
    let number = pushed.output.trim().to_owned();
    assert_eq!(world.finish(number.parse().expect("a number"))["state"], "finished");
    number
}

/// A token of a developer, made before the backup.
fn token(world: &World) -> String {
    let made = ["token", "create", "ci", "--role", "developer", "-o", "json"];
    let made = world.tombolo(&made).succeeded().json();
    made["secret"].as_str().expect("a secret").to_owned()
}

/// Makes a backup while builds are submitted all the time.
fn back_up_under_load(world: &World) -> String {
    let backup = world.path("backup.tar.zst").display().to_string();
    let mut command = world.command(&["backup", &backup]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let mut builds = 0;
    while builds < 5 || child.try_wait().expect("a child").is_none() {
        world.submit(TINY);
        builds += 1;
    }
    let printed: crate::world::Printed = child.wait_with_output().expect("it runs").into();
    let printed = printed.succeeded();
    assert!(
        printed.output.contains("whole") && printed.output.contains("Whoever has this file"),
        "{printed:?}"
    );
    let mode = fs::metadata(&backup).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    backup
}

#[test]
fn a_restored_master_goes_on_with_its_clusters_and_takes_nothing_that_it_did_not_give() {
    let world = World::start_set(&LEASES);
    set_secret(&world);
    let token = token(&world);
    let pushed = push(&world);
    let number = world.submit(&file(&world));
    world.wait_for_state(number, "long", "running");
    world.wait_for_state(number, "gate", "running");
    let backup = back_up_under_load(&world);

    // What the backup does not know.
    fs::write(world.path("gate"), "").expect("writable");
    world.wait_for_state(number, "late", "running");
    world.wait_for("the command to run", || (diary(&world) == [1]).then_some(()));
    let unknown = world.submit(TINY);
    world.finish(unknown);

    let configuration = fs::read_to_string(world.path("master.toml")).expect("it is there");
    world.bury("master");
    fs::remove_dir_all(world.path("master")).expect("nobody uses it");
    let folder = world.path("restored").display().to_string();
    let restored = world.tombolo(&["restore", &backup, "--data-dir", &folder]).succeeded();
    assert!(
        restored.output.contains("leads when all leases are over"),
        "{restored:?}"
    );
    let again = world.tombolo(&["restore", &backup, "--data-dir", &folder]);
    assert!(again.code == 1 && again.error.contains("is not empty"), "{again:?}");
    // Its own folder, at the addresses of before.
    let old = world.path("master").display().to_string();
    assert!(configuration.contains(&old), "{configuration}");
    world.write("master.toml", &configuration.replace(&old, &folder));

    // Nobody joins anew, and nothing is started again that the backup knows and that still runs.
    world.wait_for("both clusters to be back", || {
        let listed = world.tombolo(&["cluster", "list", "-o", "json"]);
        let clusters = (listed.code == 0).then(|| listed.json())?;
        let clusters = clusters["clusters"].as_array()?.clone();
        let connected = clusters.iter().filter(|cluster| cluster["connected"] == true);
        (connected.count() == 2).then_some(())
    });
    world.wait_for("another attempt of `late`", || (diary(&world).len() == 2).then_some(()));
    assert!(diary(&world)[1] > RESTORED, "{:?}", diary(&world));
    fs::write(world.path("go"), "").expect("writable");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "long")["epoch"], 1, "it went on: {build:#}");
    let epoch = |name: &str| job(&build, name)["epoch"].as_u64().expect("a number");
    assert!(epoch("gate") > RESTORED && epoch("late") > RESTORED, "{build:#}");
    let read = |name: &str, file: &str| {
        let shown = ["outputs", "cat", &number.to_string(), name, file];
        world.tombolo(&shown).succeeded().output.trim().to_owned()
    };
    assert_eq!(read("long", "word"), "survived");
    assert_eq!(read("late", "epoch"), epoch("late").to_string());

    // Also what was printed, and acknowledged, between the backup and the loss.
    let log = world.log(number, "long");
    let lines: Vec<&String> = log.iter().filter(|line| line.starts_with("line ")).collect();
    let whole = (1..=lines.len()).map(|number| format!("line {number}"));
    assert!(lines.into_iter().cloned().eq(whole), "{log:#?}");

    // Secrets open, tokens are good, sources are there, and numbers of builds are not given twice.
    let listed = world.tombolo_with(&["builds", "-o", "name"], &[("TOMBOLO_TOKEN", &token)]);
    listed.succeeded();
    let rerun = world.tombolo(&["rerun", &pushed, "-o", "name"]).succeeded();
    let rerun: u64 = rerun.output.trim().parse().expect("a number");
    assert!(rerun > unknown + 500, "{rerun} after {unknown}");
    assert_eq!(world.finish(rerun)["state"], "finished");
    assert!(world.log(rerun, "read").contains(&"from the source".to_owned()));
    let gone = world.tombolo(&["jobs", &unknown.to_string()]);
    assert_eq!(gone.code, 1, "the backup does not know it: {gone:?}");
}

#[test]
fn backups_that_are_not_whole_and_people_who_may_not_are_refused() {
    let world = World::start();
    let backup = world.path("backup.tar.zst").display().to_string();
    let developer = token(&world);
    let refused = world.tombolo_with(&["backup", &backup], &[("TOMBOLO_TOKEN", &developer)]);
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(!world.path("backup.tar.zst").exists());
    world.tombolo(&["backup", &backup]).succeeded();
    let twice = world.tombolo(&["backup", &backup]);
    assert!(twice.code == 2 && twice.error.contains("exists already"), "{twice:?}");
    let checked = world
        .tombolo(&["restore", "--check", &backup, "-o", "json"])
        .succeeded();
    assert_eq!(checked.json()["database"], "here", "{checked:?}");
    let streamed = world.command(&["backup", "-"]).output().expect("it runs");
    fs::write(world.path("streamed"), &streamed.stdout).expect("writable");
    world
        .tombolo(&["restore", "--check", &world.path("streamed").display().to_string()])
        .succeeded();
    // Nothing is left in the master's folder, or beside the file.
    for folder in ["master", ""] {
        let names = fs::read_dir(world.path(folder)).expect("it is there");
        let names = names
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        let left: Vec<_> = names.filter(|name| name.contains("backup-")).collect();
        assert!(left.is_empty(), "{left:?}");
    }
    // A data folder that works is not restored into; what is cut off is restored nowhere.
    let own = world.path("master").display().to_string();
    let refused = world.tombolo(&["restore", &backup, "--data-dir", &own]);
    assert!(
        refused.code == 1 && refused.error.contains("is not empty"),
        "{refused:?}"
    );
    let bytes = fs::read(&backup).expect("it is there");
    fs::write(world.path("cut"), &bytes[..bytes.len() / 2]).expect("writable");
    let (cut, new) = (
        world.path("cut").display().to_string(),
        world.path("new").display().to_string(),
    );
    let refused = world.tombolo(&["restore", &cut, "--data-dir", &new]);
    assert!(
        refused.code == 1 && refused.error.contains("the backup is cut off"),
        "{refused:?}"
    );
    assert!(!world.path("new").exists());
}

/// The database is restored by the server's own tools, as here from a copy that was made earlier.
#[test]
fn a_postgres_database_that_went_back_gives_no_epoch_twice() {
    let server = Server::start(&[]);
    server.sql("postgres", "CREATE DATABASE builds");
    let password = server.path("password-for-master");
    fs::write(&password, format!("{PASSWORD}\n")).expect("the folder is writable");
    let password = password.display().to_string();
    let database: [(&'static str, &'static str); 2] = [
        ("TOMBOLO_MASTER_DATABASE__URL", server.tcp_url("builds").leak()),
        ("TOMBOLO_MASTER_DATABASE__PASSWORD__FILE", password.leak()),
    ];
    let world = World::start_set(&[&database[..], &LEASES[..]].concat());
    set_secret(&world);
    let number = world.submit(&file(&world));
    world.wait_for_state(number, "long", "running");
    world.wait_for_state(number, "gate", "running");
    let backup = world.path("backup.tar.zst").display().to_string();
    let printed = world.tombolo(&["backup", &backup]).succeeded();
    assert!(printed.output.contains("The database is not in it"), "{printed:?}");
    let went_back = ["restore", "--database-went-back", "--config", "master.toml"];
    let refused = world.tombolo_with(&went_back, &database);
    assert!(
        refused.code == 1 && refused.error.contains("another master uses"),
        "{refused:?}"
    );
    let configuration = fs::read_to_string(world.path("master.toml")).expect("it is there");
    world.bury("master");
    // Its sessions end with it, a moment later.
    world.wait_for("a copy of the database", || {
        let free = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'builds'";
        (server.sql("postgres", free) == "0").then_some(())
    });
    server.sql("postgres", "CREATE DATABASE earlier TEMPLATE builds");
    world.write("master.toml", &configuration);
    world.wait_for_state(number, "gate", "running");
    fs::write(world.path("gate"), "").expect("writable");
    world.wait_for("the command to run", || (diary(&world) == [1]).then_some(()));
    world.bury("master");
    world.wait_for("the database to be free", || {
        let free = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'builds'";
        (server.sql("postgres", free) == "0").then_some(())
    });
    server.sql("postgres", "DROP DATABASE builds");
    server.sql("postgres", "ALTER DATABASE earlier RENAME TO builds");
    let noted = world.write("noted.toml", &configuration).display().to_string();
    let noted = ["restore", "--database-went-back", "--config", &noted];
    let noted = world.tombolo_with(&noted, &database).succeeded();
    assert!(noted.output.contains("Noted"), "{noted:?}");
    world.write("master.toml", &configuration);
    world.wait_for("another attempt of `late`", || (diary(&world).len() == 2).then_some(()));
    assert!(diary(&world)[1] > RESTORED, "{:?}", diary(&world));
    fs::write(world.path("go"), "").expect("writable");
    let build = world.finish(number);
    assert_eq!(build["state"], "finished", "{build:#}");
    assert_eq!(job(&build, "long")["epoch"], 1, "it went on: {build:#}");
}
