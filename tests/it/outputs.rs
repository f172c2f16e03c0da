//! Outputs for people: looked at, read and downloaded by the user's commands, and checked with the tools of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::world::World;

const ODD_NAMES: &str = r#"
version: 1
jobs:
  - name: only
    type: docker-image
    image: busybox
    command:
      - sh
      - -c
      - |
        cd $TOMBOLO_OUTPUT && mkdir -p deep/er empty && printf 'all is well\n' > deep/report.txt
        head -c 7000000 /dev/urandom > deep/er/noise && chmod 750 deep/er/noise && : > nothing
        printf 1 > 'back\slash' && printf 2 > "line
        feed" && printf 3 > ' space *' && ln -s deep/report.txt link
"#;

/// Checks a list with coreutils, and says how many files it names.
#[track_caller]
fn check(list: &Path, folder: &Path) -> usize {
    let mut command = Command::new("sha256sum");
    command.args(["--check", "--strict"]).arg(list).current_dir(folder);
    let checked = command.output().expect("coreutils are there");
    assert!(checked.status.success(), "{checked:?}");
    checked
        .stdout
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count()
}

#[test]
fn people_look_at_read_and_check_outputs() {
    let world = World::start();
    assert_eq!(world.run(ODD_NAMES)["state"], "finished");
    looked_at(&world);
    read(&world);
    downloaded(&world);
}

fn looked_at(world: &World) {
    let all = world
        .tombolo(&["outputs", "ls", "1", "only", "-o", "json"])
        .succeeded()
        .json();
    assert_eq!(all["files"], 6);
    let below = world
        .tombolo(&["outputs", "ls", "1", "only", "deep", "-o", "json"])
        .succeeded()
        .json();
    let paths: Vec<&str> = below["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["path"].as_str())
        .collect();
    assert_eq!(paths, ["deep", "deep/er", "deep/er/noise", "deep/report.txt"]);
    assert_eq!(below["bytes"], 7_000_012);
    let wide = world
        .tombolo(&["outputs", "ls", "1", "only", "deep/er", "-o", "wide"])
        .succeeded();
    assert!(
        wide.output.contains("-rwxr-x---   7.0 MB   7000000   deep/er/noise"),
        "{wide:?}"
    );
    let gone = world.tombolo(&["outputs", "ls", "1", "only", "deeq"]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert!(gone.error.contains("did you mean `deep`?"), "{gone:?}");
}

fn read(world: &World) {
    let cat = |path: &str| world.tombolo(&["outputs", "cat", "1", "only", path]);
    assert_eq!(cat("deep/report.txt").succeeded().output, "all is well\n");
    assert_eq!(cat("./deep/report.txt").succeeded().output, "all is well\n");
    assert_eq!(cat("nothing").succeeded().output, "");
    for (path, words) in [
        ("deep", "is a folder, not a file"),
        ("link", "is a symbolic link to `deep/report.txt`"),
        ("report.txt", "did you mean `deep/report.txt`?"),
    ] {
        let refused = cat(path);
        assert_eq!((refused.code, refused.output.as_str()), (1, ""), "{refused:?}");
        assert!(refused.error.contains(words), "{refused:?}");
    }
    let json = world.tombolo(&["outputs", "cat", "1", "only", "nothing", "-o", "json"]);
    assert_eq!(json.code, 2, "{json:?}");
}

fn downloaded(world: &World) {
    let get = |arguments: &[&str]| world.tombolo(&[&["outputs", "get", "1", "only"], arguments].concat());
    get(&["--to", "all", "--sums", "own.sums"]).succeeded();
    assert_eq!(check(&world.path("own.sums"), &world.path("all")), 6);
    let mut printing = world.command(&["outputs", "sums", "1", "only"]);
    let list = fs::File::create(world.path("SHA256SUMS")).expect("writable");
    assert!(printing.stdout(list).status().expect("it runs").success());
    assert_eq!(check(&world.path("SHA256SUMS"), &world.path("all")), 6);

    get(&["deep", "--to", "some", "--sums", "some.sums"]).succeeded();
    assert_eq!(check(&world.path("some.sums"), &world.path("some")), 2);
    assert!(world.path("some/er/noise").exists());
    get(&["deep/er/noise", "--sums", "noise.sums"]).succeeded();
    assert_eq!(check(&world.path("noise.sums"), &world.path("")), 1);
    let mode = fs::metadata(world.path("noise"))
        .expect("it is there")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o750);
    for (to, words) in [
        ("new/", "there is no folder new/"),
        ("new/report.txt", "there is no folder new\n"),
    ] {
        let refused = get(&["deep/report.txt", "--to", to]);
        assert!(refused.code == 2 && refused.error.contains(words), "{refused:?}");
    }
    assert!(!world.path("new").exists());
    let printed = get(&["deep", "--to", "other", "--sums", "-"]).succeeded().output;
    assert_eq!(
        printed,
        fs::read_to_string(world.path("some.sums")).expect("it is there")
    );
    get(&["deep/report.txt", "--to", "some/er"]).succeeded();
    assert_eq!(
        fs::read(world.path("some/er/report.txt")).expect("it is there"),
        b"all is well\n"
    );
    let again = get(&["deep/report.txt", "--to", "some/er"]);
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.error.contains("exists already"), "{again:?}");
    assert_eq!(
        get(&["deep/report.txt", "--to", "-"]).succeeded().output,
        "all is well\n"
    );

    let mut archive = world.command(&["outputs", "get", "1", "only", "deep", "--to", "-"]);
    let mut archive = archive.stdout(Stdio::piped()).spawn().expect("it runs");
    let mut tar = Command::new("tar");
    let listed = tar.arg("t").stdin(archive.stdout.take().expect("it is piped")).output();
    let listed = listed.expect("tar runs");
    assert!(archive.wait().expect("it ran").success());
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "er/\ner/noise\nreport.txt\n");
}
