//! Clones from real and from hostile servers, by the program that jobs of the type `git` run.

#![allow(clippy::panic, reason = "a test that cannot go on says why")]

mod server;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use server::{Manner, Repository, Server};
use tombolo_agent::clone::Order;
use tombolo_core::build::repository::Repository as Wanted;

const LIMIT: u64 = 64 * 1024 * 1024;

/// What a clone has come to.
struct Cloned {
    folder: tempfile::TempDir,
    code: Option<i32>,
    log: String,
}

impl Cloned {
    fn output(&self) -> PathBuf {
        self.folder.path().join("output")
    }

    /// The files that were written, by their paths, with what is in them.
    fn files(&self) -> BTreeMap<String, String> {
        let mut files = BTreeMap::new();
        collect(&self.output(), &self.output(), &mut files);
        files
    }

    /// Why nothing was cloned.
    fn reason(&self) -> String {
        assert_eq!(self.code, Some(1), "{}", self.log);
        assert!(self.files().is_empty(), "something is left: {:?}", self.files());
        let reason = fs::read_to_string(self.folder.path().join("upload/clone-failure")).expect("a reason");
        assert!(self.log.contains(&reason), "{}", self.log);
        reason
    }

    #[track_caller]
    fn failed_with(&self, words: &str) {
        let reason = self.reason();
        assert!(reason.contains(words), "`{words}` is not in `{reason}`");
    }

    #[track_caller]
    fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.log);
        self
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("it is a folder") {
        let path = entry.expect("an entry").path();
        let metadata = fs::symlink_metadata(&path).expect("it is there");
        let name = path.strip_prefix(root).expect("it is below").display().to_string();
        if metadata.is_symlink() {
            let target = fs::read_link(&path).expect("a link");
            files.insert(name, format!("-> {}", target.display()));
        } else if metadata.is_dir() {
            files.insert(format!("{name}/"), String::new());
            collect(root, &path, files);
        } else {
            files.insert(name, fs::read_to_string(&path).expect("a text"));
        }
    }
}

fn wanted(url: &str, commit: &str) -> Wanted {
    Wanted {
        url: url.to_owned(),
        commit: commit.to_owned(),
        branch: None,
        file: None,
        username: None,
    }
}

fn run(repository: Wanted, limit_bytes: u64, password: Option<&str>) -> Cloned {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["output", "context", "upload"] {
        fs::create_dir(folder.path().join(name)).expect("folders can be made");
    }
    let order = Order {
        repository,
        limit_bytes,
        silence: Duration::from_secs(2),
    };
    let order = serde_json::to_string(&order).expect("it is a text");
    let mut command = Command::new(env!("CARGO_BIN_EXE_supervise-for-tests"));
    command
        .args(["clone", &order])
        .env_clear()
        .env("TOMBOLO_OUTPUT", folder.path().join("output"))
        .env("TOMBOLO_CONTEXT", folder.path().join("context"))
        .env("TOMBOLO_UPLOAD", folder.path().join("upload"));
    if let Some(password) = password {
        command.env(Wanted::PASSWORD, password);
    }
    let output = command.output().expect("the program runs");
    let mut log = String::from_utf8_lossy(&output.stdout).into_owned();
    log.push_str(&String::from_utf8_lossy(&output.stderr));
    Cloned {
        folder,
        code: output.status.code(),
        log,
    }
}

fn clone(server: &Server, commit: &str) -> Cloned {
    run(wanted(&server.url, commit), LIMIT, None)
}

/// A repository with two commits, a tag, and of everything something.
fn sample() -> (Repository, String, String) {
    let repository = Repository::new();
    let first = repository.commit(
        "main",
        &[("a", "one"), ("folder/b", "two"), ("100755 run", "#!/bin/sh\n")],
    );
    repository.git(&["tag", "-a", "-m", "x", "v1", &first], b"");
    let second = repository.commit(
        "main",
        &[
            ("a", "another"),
            ("120000 folder/link", "../a"),
            ("120000 passwd", "/etc/passwd"),
            ("120000 up", "folder/../../x"),
            // Each alone stays within, and the second one leads out by the first.
            ("120000 top", "."),
            ("120000 with-another", "folder/link-up/.."),
            ("120000 folder/link-up", "../top"),
            ("160000 module", &first),
        ],
    );
    repository.commit("other", &[("only", "here")]);
    (repository, first, second)
}

fn files(expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = expected
        .iter()
        .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    owned.collect()
}

#[test]
fn a_commit_is_cloned_by_its_id_its_branch_and_its_tag() {
    let (repository, first, second) = sample();
    let before = files(&[
        ("a", "one"),
        ("folder/", ""),
        ("folder/b", "two"),
        ("run", "#!/bin/sh\n"),
    ]);
    let mut after = before.clone();
    after.insert("a".to_owned(), "another".to_owned());
    after.insert("folder/link".to_owned(), "-> ../a".to_owned());
    after.insert("folder/link-up".to_owned(), "-> ../top".to_owned());
    after.insert("top".to_owned(), "-> .".to_owned());
    after.insert("module/".to_owned(), String::new());
    for old in [false, true] {
        let manner = Manner {
            old,
            ..Manner::default()
        };
        let server = Server::start(&repository, manner);
        for (commit, expected) in [
            (first.as_str(), &before),
            ("v1", &before),
            ("refs/tags/v1", &before),
            (second.as_str(), &after),
            ("main", &after),
        ] {
            let cloned = clone(&server, commit).succeeded();
            assert_eq!(&cloned.files(), expected, "{commit} {old}\n{}", cloned.log);
        }
        let cloned = clone(&server, "main").succeeded();
        let mode = fs::metadata(cloned.output().join("run"))
            .expect("it is there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111);
        for words in [
            "`passwd` leads out",
            "`up` leads out",
            "`with-another` leads out",
            "the submodule `module` is not cloned",
        ] {
            assert!(cloned.log.contains(words), "{}", cloned.log);
        }
        let other = clone(&server, "other").succeeded();
        assert_eq!(other.files(), files(&[("only", "here")]));
    }
}

#[test]
fn what_there_is_not_is_named() {
    let (repository, first, _) = sample();
    let absent = "0123456789012345678901234567890123456789";
    for old in [false, true] {
        let manner = Manner {
            old,
            ..Manner::default()
        };
        let server = Server::start(&repository, manner);
        clone(&server, "gone").failed_with("no branch and no tag `gone`");
        clone(&server, &first[..12]).failed_with("a commit is named by its whole id");
        clone(&server, absent).failed_with(&format!("the repository has no commit {absent}"));
        let branch = Wanted {
            branch: Some("gone".to_owned()),
            ..wanted(&server.url, &first)
        };
        run(branch, LIMIT, None).failed_with("the repository has no branch `gone`");
        let elsewhere = wanted(&server.url.replace("shop", "other"), "main");
        run(elsewhere, LIMIT, None).failed_with("has no repository there (status 404)");
    }
}

#[test]
fn a_server_that_asks_for_a_password_gets_it_and_nobody_else_sees_it() {
    let (repository, ..) = sample();
    // robot:hunter2
    let manner = Manner {
        login: Some("cm9ib3Q6aHVudGVyMg==".to_owned()),
        ..Manner::default()
    };
    let server = Server::start(&repository, manner);
    clone(&server, "main").failed_with("asks for a user and a password");
    let as_robot = || Wanted {
        username: Some("robot".to_owned()),
        ..wanted(&server.url, "main")
    };
    let denied = run(as_robot(), LIMIT, Some("hunter3"));
    denied.failed_with("does not take the user and the password");
    let cloned = run(as_robot(), LIMIT, Some("hunter2")).succeeded();
    assert!(cloned.files().contains_key("a"));
    for log in [denied.log, cloned.log] {
        assert!(!log.contains("hunter"), "{log}");
    }
    let elsewhere = Wanted {
        url: "http://git.invalid/x".to_owned(),
        ..as_robot()
    };
    run(elsewhere, LIMIT, Some("hunter2")).failed_with("no password is sent to `git.invalid` without TLS");
}

#[test]
fn a_server_that_is_silent_or_away_is_given_up() {
    let (repository, ..) = sample();
    let silent = Server::start(
        &repository,
        Manner {
            silent: true,
            ..Manner::default()
        },
    );
    let began = Instant::now();
    clone(&silent, "main").failed_with("has said nothing for 2s");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let away = wanted("http://127.0.0.1:1/x", "main");
    run(away, LIMIT, None).failed_with("cannot reach 127.0.0.1:1");
}

fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n").into_bytes();
    answer.extend_from_slice(body);
    answer
}

#[test]
fn a_server_that_says_rubbish_is_an_error_in_words() {
    let (repository, ..) = sample();
    let kind = "Content-Type: application/x-git-upload-pack-advertisement\r\n";
    let led = |to: &str| answer("302 Found", &format!("Location: {to}\r\n"), b"");
    for (says, words) in [
        (
            answer("200 OK", "Content-Type: text/html\r\n", b"<html>"),
            "does not answer as a git server does",
        ),
        (answer("200 OK", kind, b""), "does not answer as a git server does"),
        (
            answer("200 OK", kind, b"zzzzrubbish"),
            "does not answer as a git server does",
        ),
        (
            answer("200 OK", kind, b"fff0short"),
            "does not answer as a git server does",
        ),
        (
            answer("200 OK", kind, b"0009lies\n0000"),
            "does not answer as a git server does",
        ),
        (
            answer("200 OK", kind, b"0018ERR the disk is full"),
            "refuses: the disk is full",
        ),
        (
            answer("200 OK", kind, b"000eversion 2\n0019object-format=sha256\n0000"),
            "names its objects by `sha256`",
        ),
        (answer("500 Oh", "", b""), "answered with the status 500"),
        (b"rubbish\r\n\r\n".to_vec(), "cannot reach"),
        (
            led("http://elsewhere.invalid/x/info/refs"),
            "leads on to http://elsewhere.invalid",
        ),
        (led("file:///etc/passwd/info/refs"), "leads on to file:///etc/passwd"),
        (led("ssh://git@127.0.0.1/info/refs"), "leads on to ssh://"),
        (led("/team/shop.git/info/refs"), "leads on to place after place"),
    ] {
        let manner = Manner {
            says: Some(says),
            ..Manner::default()
        };
        let server = Server::start(&repository, manner);
        clone(&server, "main").failed_with(words);
    }
}

/// A line of an answer.
fn packet(bytes: &[u8]) -> Vec<u8> {
    let mut packet = format!("{:04x}", bytes.len() + 4).into_bytes();
    packet.extend_from_slice(bytes);
    packet
}

/// An answer with this as its pack.
fn with_pack(pack: &[u8]) -> Vec<u8> {
    let mut band = vec![1];
    band.extend_from_slice(pack);
    [packet(b"packfile\n"), packet(&band), b"0000".to_vec()].concat()
}

#[test]
fn a_pack_that_is_rubbish_or_lies_is_an_error_in_words() {
    let (repository, ..) = sample();
    let head = |objects: u32| {
        [
            b"PACK".to_vec(),
            2_u32.to_be_bytes().to_vec(),
            objects.to_be_bytes().to_vec(),
        ]
        .concat()
    };
    // A file of 2^60 bytes, if its own head is to be believed.
    let huge = [
        head(1),
        vec![0xb0, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10],
        vec![0x78, 0x9c, 3, 0],
    ]
    .concat();
    let mut fatal = vec![3];
    fatal.extend_from_slice(b"no memory here");
    for (pack, words) in [
        (b"".to_vec(), "no pack"),
        (
            with_pack(b"rubbish, and some more of it"),
            "damaged, or its server sends rubbish",
        ),
        (with_pack(&head(3)), "damaged, or its server sends rubbish"),
        (with_pack(&head(u32::MAX)), "4294967295 objects"),
        (with_pack(&huge), "damaged, or its server sends rubbish"),
        (
            [packet(b"packfile\n"), packet(&fatal)].concat(),
            "refuses: no memory here",
        ),
    ] {
        let manner = Manner {
            pack: Some(pack.clone()),
            ..Manner::default()
        };
        let server = Server::start(&repository, manner);
        let began = Instant::now();
        clone(&server, "main").failed_with(words);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

fn blob(repository: &Repository, content: &[u8]) -> String {
    repository.git(&["hash-object", "-w", "--stdin"], content)
}

/// Commits a folder with these entries (`mode name`, id) on a branch, whatever they are called.
fn commit_raw(repository: &Repository, branch: &str, entries: &[(&str, &str)]) -> String {
    let mut tree = Vec::new();
    for (name, id) in entries {
        tree.extend_from_slice(name.as_bytes());
        tree.push(0);
        let bytes = (0..20).map(|at| u8::from_str_radix(&id[2 * at..2 * at + 2], 16).expect("hexadecimal"));
        tree.extend(bytes);
    }
    let tree = repository.git(&["hash-object", "-t", "tree", "-w", "--stdin", "--literally"], &tree);
    let commit = repository.git(&["commit-tree", "-m", "x", &tree], b"");
    repository.git(&["update-ref", &format!("refs/heads/{branch}"), &commit], b"");
    commit
}

#[test]
fn what_is_too_large_is_given_up_on_the_way_or_when_it_is_written() {
    let repository = Repository::new();
    let noise: String = (0_u64..60_000)
        .map(|at| format!("{:x}", at.wrapping_mul(0x9e37_79b9_7f4a_7c15)))
        .collect();
    repository.commit("noise", &[("noise", &noise)]);
    repository.commit("zeros", &[("zeros", &"0".repeat(10_000_000))]);
    // Ten folders deep, each with ten times the one below it: 10^10 files.
    let mut id = blob(&repository, b"x");
    let mut mode = "100644";
    for _ in 0..10 {
        let names: Vec<String> = (0..10).map(|at| format!("{mode} {at}")).collect();
        let entries: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), id.as_str())).collect();
        let commit = commit_raw(&repository, "bomb", &entries);
        id = repository.git(&["rev-parse", &format!("{commit}^{{tree}}")], b"");
        mode = "40000";
    }
    let server = Server::start(&repository, Manner::default());
    let limited = |commit: &str| run(wanted(&server.url, commit), 100_000, None);
    limited("noise").failed_with("too large: more than 100.0 kB come of it");
    limited("zeros").failed_with("too large: its files have more than 100.0 kB");
    let began = Instant::now();
    let few = run(wanted(&server.url, "bomb"), 10_000, None);
    few.failed_with("too large: ");
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let repository = Repository::new();
    let link = blob(&repository, b"b");
    let blob = blob(&repository, b"x");
    let folder = repository.git(&["mktree"], b"");
    for (at, entries) in [
        vec![("100644 ..", blob.as_str())],
        vec![("100644 .git", &blob)],
        vec![("100644 .GIT", &blob)],
        vec![("100644 a/b", &blob)],
        vec![("100644 /etc/x", &blob)],
        vec![("100644 a", &blob), ("100644 a", &blob)],
        vec![("120000 a", &link), ("40000 a", &folder)],
    ]
    .into_iter()
    .enumerate()
    {
        let branch = format!("hostile-{at}");
        commit_raw(&repository, &branch, &entries);
        let server = Server::start(&repository, Manner::default());
        clone(&server, &branch).failed_with("damaged, or its server sends rubbish");
    }
}
