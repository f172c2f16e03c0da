//! Where worlds have their files.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::{env, fs, process};

/// What all that is made there begins with; the number of its process follows.
const PREFIX: &str = "tombolo-turmoil-";

/// What this process makes there begins so.
pub(crate) fn prefix() -> String {
    format!("{PREFIX}{}-", process::id())
}

/// Where files cost nothing, if there is such a place with room that this process may use.
pub(crate) fn memory() -> &'static Path {
    static PLACE: OnceLock<PathBuf> = OnceLock::new();
    PLACE.get_or_init(|| first_usable(Path::new("/dev/shm"), env::temp_dir()))
}

/// `wanted`, unless no folder can be made there or it is almost full.
fn first_usable(wanted: &Path, otherwise: PathBuf) -> PathBuf {
    let tried = tempfile::Builder::new().prefix(&prefix()).tempdir_in(wanted);
    match tried {
        Ok(_) if has_room(wanted) => wanted.to_owned(),
        _ => otherwise,
    }
}

/// Far more than the worlds of all processors need, of which each has less than a megabyte.
const ROOM_BYTES: u64 = 16 << 20;

fn has_room(place: &Path) -> bool {
    rustix::fs::statvfs(place).is_ok_and(|says| says.f_bavail.saturating_mul(says.f_frsize) >= ROOM_BYTES)
}

/// Removes what processes have left there that were killed.
pub(crate) fn clear() {
    clear_in(memory(), is_running);
}

fn clear_in(place: &Path, is_running: impl Fn(u32) -> bool) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(owner);
        if owner.is_none_or(&is_running) {
            continue;
        }
        // Another process may do the same, or it is another user's.
        let path = entry.path();
        let _ = if path.is_dir() {
            fs::remove_dir_all(path)
        } else {
            fs::remove_file(path)
        };
    }
}

/// The process whose thing it is, if it is a world's.
fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// Whether there is such a process. Where that cannot be known, there is.
fn is_running(process: u32) -> bool {
    let all = Path::new("/proc");
    !all.join("self").exists() || all.join(process.to_string()).exists()
}

#[test]
fn what_killed_worlds_have_left_is_removed_and_nothing_else() {
    let place = tempfile::tempdir().expect("there is room");
    let names = [
        "tombolo-turmoil-7-abc",
        "tombolo-turmoil-8-abc",
        "tombolo-turmoil-mine",
        "other-7-abc",
    ];
    for name in names {
        fs::create_dir_all(place.path().join(name).join("attempts")).expect("there is room");
    }
    fs::write(place.path().join("tombolo-turmoil-7-3-None.txt"), "report").expect("there is room");
    clear_in(place.path(), |process| process == 8);
    let mut left: Vec<String> = fs::read_dir(place.path())
        .expect("it is a folder")
        .map(|entry| {
            entry
                .expect("it can be read")
                .file_name()
                .into_string()
                .expect("it is a text")
        })
        .collect();
    left.sort();
    assert_eq!(left, ["other-7-abc", "tombolo-turmoil-8-abc", "tombolo-turmoil-mine"]);
    assert!(is_running(process::id()));
}

#[test]
fn files_are_elsewhere_if_the_place_in_memory_cannot_be_used() {
    let place = tempfile::tempdir().expect("there is room");
    let file = place.path().join("file");
    fs::write(&file, "").expect("there is room");
    assert_eq!(first_usable(&file, PathBuf::from("elsewhere")), Path::new("elsewhere"));
    assert_eq!(
        first_usable(&place.path().join("missing"), PathBuf::from("elsewhere")),
        Path::new("elsewhere")
    );
    if has_room(place.path()) {
        assert_eq!(first_usable(place.path(), PathBuf::from("elsewhere")), place.path());
    }
    let left = fs::read_dir(place.path()).expect("it is a folder").count();
    assert_eq!(left, 1, "what was tried is removed");
}
