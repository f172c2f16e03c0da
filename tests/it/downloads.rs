//! Downloads that do not go well: connections that break, and outputs that are damaged.

use std::fs;
use std::io::{self, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use crate::damage::chunks;
use crate::world::{World, job};

const NOISE: &str = r#"
version: 1
jobs:
  - name: noise
    type: docker-image
    image: b
    command:
      - sh
      - -c
      - |
        cd $TOMBOLO_OUTPUT && mkdir -p a/b && echo first > a/first
        for number in 1 2 3 4 5 6; do head -c 5000000 /dev/urandom > a/b/$number; done
"#;

/// Stands before a server, and cuts its answers each time that so many bytes of them have gone by.
struct Scissors {
    port: u16,
    cuts: Arc<AtomicU64>,
}

impl Scissors {
    fn before(server: String, every: u64) -> Self {
        let listener = TcpListener::bind("localhost:0").expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let cuts = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&cuts);
        // It ends with the test's process.
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let far = TcpStream::connect(&server).expect("the server is there");
                let counted = Arc::clone(&counted);
                thread::spawn(move || pass_on(&near, &far, every, &counted));
            }
        });
        Self { port, cuts }
    }
}

fn pass_on(near: &TcpStream, far: &TcpStream, until: u64, cuts: &AtomicU64) {
    thread::scope(|scope| {
        scope.spawn(|| {
            let _ = io::copy(&mut &*near, &mut &*far);
            let _ = far.shutdown(Shutdown::Both);
        });
        let passed = io::copy(&mut far.take(until), &mut &*near).unwrap_or_default();
        if passed == until {
            cuts.fetch_add(1, Ordering::Relaxed);
        }
        for side in [near, far] {
            let _ = side.shutdown(Shutdown::Both);
        }
    });
}

/// The contexts of the world's user, whose master is at another port.
fn contexts_at(world: &World, port: u16) -> (String, PathBuf) {
    let contexts = fs::read_to_string(world.path("cli.toml")).expect("somebody has logged in");
    let (before, after) = contexts.split_once("https://localhost:").expect("a server");
    let end = after
        .find(|letter: char| !letter.is_ascii_digit())
        .unwrap_or(after.len());
    let moved = format!("{before}https://localhost:{port}{}", &after[end..]);
    (format!("localhost:{}", &after[..end]), world.write("cut.toml", &moved))
}

fn sums(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("readable") {
        let path = entry.expect("readable").path();
        if path.is_dir() {
            found.extend(sums(&path));
        } else {
            let bytes = fs::read(&path).expect("readable");
            let name = path.file_name().expect("a name").into();
            found.push((name, bytes.iter().map(|byte| u64::from(*byte)).sum()));
        }
    }
    found.sort();
    found
}

#[test]
fn a_folder_goes_on_where_the_connection_broke() {
    let world = World::start();
    assert_eq!(world.run(NOISE)["state"], "finished");
    let (server, _) = contexts_at(&world, 1);
    let scissors = Scissors::before(server, 8_000_000);
    let (_, contexts) = contexts_at(&world, scissors.port);
    let contexts = contexts.to_str().expect("a plain name");
    let get = |to: &str, more: &[(&str, &str)]| world.tombolo_with(&["outputs", "get", "1", "noise", "--to", to], more);
    get("cut", &[("TOMBOLO_CONFIG", contexts)]).succeeded();
    let cuts = scissors.cuts.load(Ordering::Relaxed);
    assert!(cuts >= 3, "30 MB passed with {cuts} cuts");
    get("whole", &[]).succeeded();
    assert_eq!(sums(&world.path("cut")), sums(&world.path("whole")));
}

#[test]
fn damage_in_the_middle_of_a_folder_is_told_and_leaves_nothing() {
    let world = World::start();
    let build = world.run(NOISE);
    assert_eq!(build["state"], "finished");
    let store = match job(&build, "noise")["cluster"].as_str() {
        Some("east") => world.path("east/store"),
        _ => world.path("s3"),
    };
    let mut stored = Vec::new();
    chunks(&store, &mut stored);
    stored.retain(|path| path.extension().is_some_and(|extension| extension == "0"));
    assert!(stored.len() > 4, "{stored:?}");
    // Names tell nothing of the order: wherever the download begins, it meets one of these.
    for path in stored.iter().step_by(2) {
        let mut bytes = fs::read(path).expect("readable");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(path, bytes).expect("writable");
    }
    let got = world.tombolo(&["outputs", "get", "1", "noise", "--to", "target"]);
    assert_eq!(got.code, 1, "{got:?}");
    assert!(got.error.contains("damaged"), "{got:?}");
    assert!(!world.path("target").exists());
    let left = fs::read_dir(world.path("")).expect("readable").filter_map(Result::ok);
    let left: Vec<_> = left
        .filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b".tombolo-"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}
