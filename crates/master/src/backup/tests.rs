use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use tombolo_core::time::Timestamp;
use tombolo_identity::authority::Authority;
use tombolo_identity::member::TrustDomain;
use tombolo_store::sqlite::Execution;
use tombolo_store::{Sqlite, Store};

use super::archive::Archive;
use super::*;

const CHUNK: &str = "sources/projects/p/chunks/aa/aabb.0";

fn header() -> Header {
    Header {
        format: FORMAT,
        program: "9.9.9".to_owned(),
        created_at: Timestamp(1_700_000_000_000),
        trust_domain: "tombolo.internal".to_owned(),
        authority: "pin".to_owned(),
        public_url: "https://master.example.com".to_owned(),
        agents: vec!["master.example.com:7443".to_owned()],
        database: Kept::Here(Sqlite::VERSION),
        sources: Kept::Here(()),
    }
}

/// Certificates and key of a new authority.
fn made_authority() -> [String; 2] {
    let folder = tempfile::tempdir().unwrap();
    let made = Authority::create(TrustDomain::default(), Timestamp(1_700_000_000_000)).unwrap();
    made.save(folder.path()).unwrap();
    let (certificates, key) = Authority::files(folder.path());
    [certificates, key].map(|path| fs::read_to_string(path).unwrap())
}

/// What is in a key's file: an authority in the first two, in the others their names.
fn content(name: &str) -> &str {
    static AUTHORITY: LazyLock<[String; 2]> = LazyLock::new(made_authority);
    match KEYS.iter().position(|key| *key == name) {
        Some(place @ 0..2) => &AUTHORITY[place],
        _ => name,
    }
}

#[test]
fn a_backup_whose_authority_has_anothers_key_or_none_is_refused() {
    let place = Place::new();
    let [certificates, key] = made_authority();
    let [_, foreign] = made_authority();
    let made = |files: &[(&str, &str)]| {
        let mut archive = begun(&header());
        for (name, content) in files {
            add(&mut archive, name, content.as_bytes());
        }
        place.write(&archive.finish().unwrap())
    };
    check(&made(&[(KEYS[0], &certificates), (KEYS[1], &key)])).unwrap();
    let unfit = check(&made(&[(KEYS[0], &certificates), (KEYS[1], &foreign)])).unwrap_err();
    assert!(unfit.to_string().contains("does not belong"), "{unfit}");
    let without = check(&made(&[(KEYS[0], &certificates)])).unwrap_err();
    assert!(without.to_string().contains("is not there"), "{without}");
}

/// The beginning of a backup.
fn begun(header: &Header) -> Archive<Vec<u8>> {
    let mut archive = Archive::new(Vec::new()).unwrap();
    let text = serde_json::to_vec(header).unwrap();
    archive.add(HEADER, &mut &*text, text.len() as u64).unwrap();
    archive
}

fn add(archive: &mut Archive<Vec<u8>>, name: &str, content: &[u8]) {
    archive.add(name, &mut &*content, content.len() as u64).unwrap();
}

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A backup with some of everything.
    async fn backup(&self) -> Vec<u8> {
        let database = self.path("before.sqlite");
        let store = Sqlite::open(&database, Execution::Threads).unwrap();
        store.acquire().await.unwrap();
        let copy = self.path("copy.sqlite");
        store.copy_to(&copy, || true).unwrap();
        let mut archive = begun(&header());
        archive.add_file(DATABASE, &copy).unwrap();
        for name in KEYS {
            add(&mut archive, name, content(name).as_bytes());
        }
        let noise: Vec<u8> = (0..100_000_u32)
            .map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect();
        add(&mut archive, CHUNK, &noise);
        archive.finish().unwrap()
    }

    fn write(&self, bytes: &[u8]) -> PathBuf {
        let path = self.path("backup.tar.zst");
        fs::write(&path, bytes).unwrap();
        path
    }

    /// Restores these bytes into a new folder, which is not there if that fails.
    async fn refused(&self, bytes: &[u8]) -> Error {
        let folder = self.path("new");
        let error = restore(&self.write(bytes), &folder).await.unwrap_err();
        assert!(!folder.exists(), "nothing is written: {error}");
        error
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn a_whole_backup_makes_a_data_folder_that_knows_that_it_was_restored() {
    let place = Place::new();
    let file = place.write(&place.backup().await);
    let report = check(&file).unwrap();
    assert_eq!((report.files, &report.header), (7, &header()));
    let folder = place.path("new");
    // A new disk.
    fs::create_dir_all(folder.join("lost+found")).unwrap();
    assert_eq!(restore(&file, &folder).await.unwrap(), report);
    for name in KEYS {
        let path = folder.join(name);
        assert_eq!(
            (fs::read_to_string(&path).unwrap().as_str(), mode(&path)),
            (content(name), 0o600)
        );
    }
    assert_eq!(fs::metadata(folder.join(CHUNK)).unwrap().len(), 100_000);
    assert_eq!(mode(&folder.join("authority")), 0o700);
    let mut names: Vec<_> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort_unstable();
    let expected = [
        "admin.token",
        "authority",
        "lost+found",
        "secrets.key",
        "sources",
        DATABASE,
    ];
    assert_eq!(names, expected);
    let store = Sqlite::open(&folder.join(DATABASE), Execution::Threads).unwrap();
    let restored = store.load().await.unwrap().live.restoration.unwrap();
    assert!(restored.at > header().created_at);
    // A second one is refused, and changes nothing.
    let again = restore(&file, &folder).await.unwrap_err();
    assert!(matches!(&again, Error::Occupied(_)), "{again}");
    assert_eq!(store.load().await.unwrap().live.restoration, Some(restored));
}

#[tokio::test]
async fn what_an_interrupted_restoration_has_left_is_cleared() {
    let place = Place::new();
    let file = place.write(&place.backup().await);
    let folder = place.path("new");
    fs::create_dir_all(folder.join(".restoring/authority")).unwrap();
    fs::write(folder.join(".restoring/authority/ca.pem"), "half").unwrap();
    restore(&file, &folder).await.unwrap();
    assert_eq!(fs::read_to_string(folder.join(KEYS[0])).unwrap(), content(KEYS[0]));
    assert!(!folder.join(".restoring").exists());
}

#[tokio::test]
async fn a_backup_that_is_cut_off_anywhere_is_refused() {
    let place = Place::new();
    let whole = place.backup().await;
    for cut in (0..whole.len()).step_by(997).chain(whole.len() - 40..whole.len()) {
        let error = place.refused(&whole[..cut]).await;
        let is_told = matches!(error, Error::CutOff(_) | Error::Foreign(_));
        assert!(is_told, "cut at {cut} of {}: {error}", whole.len());
    }
}

#[tokio::test]
async fn a_backup_with_any_byte_changed_is_refused() {
    let place = Place::new();
    let whole = place.backup().await;
    for position in (0..whole.len()).step_by(1009) {
        let mut changed = whole.clone();
        changed[position] ^= 0x10;
        place.refused(&changed).await;
    }
}

#[tokio::test]
async fn other_files_and_newer_backups_are_refused_with_a_reason() {
    let place = Place::new();
    let newer_format = Header {
        format: FORMAT + 1,
        ..header()
    };
    let newer_tables = Header {
        database: Kept::Here(Sqlite::VERSION + 1),
        ..header()
    };
    let mut other = Archive::new(Vec::new()).unwrap();
    add(&mut other, "README", b"an archive");
    let mut stopped = begun(&header());
    add(&mut stopped, "secrets.key", b"key");
    let stopped = stopped.give_up(&io::Error::other("the disk is full")).unwrap();
    let described = |text: &[u8]| {
        let mut archive = Archive::new(Vec::new()).unwrap();
        add(&mut archive, HEADER, text);
        archive.finish().unwrap()
    };
    for (bytes, expected) in [
        (
            described(b"{\"format\": "),
            "this is not a backup of Tombolo: `backup.json`, with which it begins, is damaged, or of another program",
        ),
        (
            described(b"{\"format\": 1, \"program\": \"1\"}"),
            "this is not a backup of Tombolo: `backup.json`, with which it begins, does not say what the description of a backup says",
        ),
        (b"a text".to_vec(), "not a backup of Tombolo"),
        (Vec::new(), "not a backup of Tombolo"),
        (other.finish().unwrap(), "does not begin with `backup.json`"),
        (begun(&newer_format).finish().unwrap(), "version 9.9.9 of Tombolo"),
        (
            begun(&newer_tables).finish().unwrap(),
            "the tables of its database are newer",
        ),
        (stopped, "could not finish this backup: the disk is full"),
    ] {
        let error = place.refused(&bytes).await.to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test]
async fn nothing_is_written_outside_the_folder() {
    let place = Place::new();
    for name in [
        "sources/../../evil",
        "/etc/evil",
        "authority/other.pem",
        "sources/",
        "sources//a",
        "evil",
    ] {
        let mut archive = begun(&header());
        // The library refuses some of these names; whoever wants harm does not use it.
        let mut entry = tar::Header::new_gnu();
        entry.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        archive.append_as(entry, b"harm");
        let error = place.refused(&archive.finish().unwrap()).await;
        assert!(matches!(error, Error::Damaged(_)), "{name}: {error}");
    }
    assert!(!place.path("evil").exists());
}

#[tokio::test]
async fn a_database_that_is_damaged_inside_is_refused() {
    let place = Place::new();
    let mut archive = begun(&header());
    add(
        &mut archive,
        DATABASE,
        &b"not a database, and long enough to have a page ".repeat(200),
    );
    for name in KEYS {
        add(&mut archive, name, content(name).as_bytes());
    }
    let folder = place.path("new");
    let file = place.write(&archive.finish().unwrap());
    let error = restore(&file, &folder).await.unwrap_err();
    assert!(matches!(error, Error::Database(_)), "{error}");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is left");
}

#[test]
fn a_disk_without_room_is_no_damage_of_the_backup() {
    let content = [7_u8; 3 * 64 * 1024];
    let full = Path::new("/dev/full");
    let mut file = fs::OpenOptions::new().write(true).open(full).unwrap();
    let untaken = restore::copy(&mut content.as_slice(), &mut file, full).unwrap_err();
    let check::Untaken::Unwritten(error @ Error::Full { .. }) = untaken else {
        panic!("{untaken:?}");
    };
    let expected = "there is no room: cannot write `/dev/full`: No space left on device (os error 28)";
    assert_eq!(error.to_string(), expected);
    // What cannot be read is the other side's.
    let mut broken = io::Read::chain(content.as_slice(), Broken);
    let mut file = tempfile::tempfile().unwrap();
    let untaken = restore::copy(&mut broken, &mut file, full).unwrap_err();
    assert!(matches!(untaken, check::Untaken::Unread(_)), "{untaken:?}");
}

struct Broken;

impl io::Read for Broken {
    fn read(&mut self, _buffer: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}
