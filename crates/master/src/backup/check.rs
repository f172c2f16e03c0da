//! Reads a backup, all of it, and says whether it is whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;
use tombolo_identity::authority::Authority;
use tombolo_store::Sqlite;

use super::archive::Summing;
use super::{
    DATABASE, Error, FAILURE, FORMAT, HEADER, Header, KEYS, Kept, Line, MANIFEST, SOURCES, TEXT_BYTES_MAX, failed,
};

/// What must fit each other.
const AUTHORITY: [&str; 2] = [KEYS[0], KEYS[1]];

/// Why a file of a backup was not taken.
#[derive(Debug)]
pub(super) enum Untaken {
    /// It cannot be read.
    Unread(io::Error),
    /// There is nowhere to put it: nothing is wrong with the backup.
    Unwritten(Error),
}

impl From<io::Error> for Untaken {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// What a backup has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What it is a backup of.
    pub header: Header,
    /// How many files there are in it, this description apart.
    pub files: u64,
    /// Their sizes together.
    pub bytes: u64,
}

/// Reads the backup in `file`, compares all of it with its sums, and tries whether the authority's key is that of its certificate.
///
/// # Errors
/// If it is not whole, or this program cannot read it.
pub fn check(file: &Path) -> Result<Report, Error> {
    let mut pair = AUTHORITY.map(|_| None::<Zeroizing<String>>);
    let report = read(file, |name, content| {
        if let Some(place) = AUTHORITY.iter().position(|one| *one == name) {
            let mut text = Zeroizing::new(String::new());
            (&mut *content).take(TEXT_BYTES_MAX).read_to_string(&mut text)?;
            pair[place] = Some(text);
        }
        io::copy(content, &mut io::sink())?;
        Ok(())
    })?;
    let unfit = |reason: String| Error::Damaged(format!("its certificate authority cannot be used: {reason}"));
    match pair {
        [Some(certificates), Some(key)] => {
            let key = SecretString::from(key.as_str());
            let loaded = Authority::load(&certificates, &key);
            loaded.map_err(|error| unfit(error.to_string()))?;
        }
        _ => return Err(unfit("its certificate or its key is not there".to_owned())),
    }
    Ok(report)
}

/// Reads the backup in `file`: hands each file to `take`, which has only been checked when this returns.
pub(super) fn read(file: &Path, take: impl FnMut(&str, &mut dyn Read) -> Result<(), Untaken>) -> Result<Report, Error> {
    let opened = File::open(file).map_err(failed("read", file))?;
    let decoder = zstd::Decoder::new(opened).map_err(foreign)?;
    let mut archive = tar::Archive::new(decoder);
    let report = read_entries(archive.entries().map_err(foreign)?, take)?;
    // To the end, where the compression has a sum of its own.
    match io::copy(&mut archive.into_inner(), &mut io::sink()) {
        Ok(_) => Ok(report),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(Error::CutOff(MANIFEST.to_owned())),
        Err(error) => Err(Error::Damaged(error.to_string())),
    }
}

fn foreign(error: io::Error) -> Error {
    Error::Foreign(error.to_string())
}

fn read_entries<R: Read>(
    mut entries: tar::Entries<'_, R>,
    mut take: impl FnMut(&str, &mut dyn Read) -> Result<(), Untaken>,
) -> Result<Report, Error> {
    let mut seen = Seen::new()?;
    let header = read_header(&mut entries, &mut seen)?;
    let mut position = Position::after(HEADER);
    for entry in entries {
        let mut entry = entry.map_err(|error| position.broken(&error))?;
        let name = name_of(&entry).map_err(|error| position.broken(&error))?;
        match name.as_str() {
            MANIFEST => {
                seen.compare(&mut entry, &position)?;
                return Ok(position.report(header));
            }
            FAILURE => {
                let mut text = String::new();
                let reason = entry.take(TEXT_BYTES_MAX).read_to_string(&mut text);
                reason.map_err(|error| position.broken(&error))?;
                return Err(Error::Unfinished(text));
            }
            _ => {}
        }
        if entry.header().entry_type() != tar::EntryType::Regular || !belongs(&name) {
            return Err(Error::Damaged(format!("`{name}` does not belong into a backup")));
        }
        let mut content = Summing::new(&mut entry);
        take(&name, &mut content).map_err(|reason| match reason {
            Untaken::Unread(error) => position.broken(&error),
            Untaken::Unwritten(error) => error,
        })?;
        let size = seen.note(&content, &name)?;
        position.pass(name, size);
    }
    Err(Error::CutOff(position.last))
}

fn read_header<R: Read>(entries: &mut tar::Entries<'_, R>, seen: &mut Seen) -> Result<Header, Error> {
    let first = entries.next().ok_or_else(|| Error::Foreign("it is empty".to_owned()))?;
    let mut first = first.map_err(foreign)?;
    if name_of(&first).map_err(foreign)? != HEADER {
        return Err(Error::Foreign(format!("it does not begin with `{HEADER}`")));
    }
    let mut text = Vec::new();
    let mut content = Summing::new(&mut first);
    let reading = content.by_ref().take(TEXT_BYTES_MAX).read_to_end(&mut text);
    reading.map_err(foreign)?;
    seen.note(&content, HEADER)?;
    understood(&text)
}

/// How far it was read.
struct Position {
    last: String,
    files: u64,
    bytes: u64,
}

impl Position {
    fn after(name: &str) -> Self {
        Self {
            last: name.to_owned(),
            files: 0,
            bytes: 0,
        }
    }

    fn pass(&mut self, name: String, size: u64) {
        self.last = name;
        self.files += 1;
        self.bytes += size;
    }

    fn report(&self, header: Header) -> Report {
        Report {
            header,
            files: self.files,
            bytes: self.bytes,
        }
    }

    fn broken(&self, error: &io::Error) -> Error {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::CutOff(self.last.clone()),
            _ => Error::Damaged(format!("after `{}`: {error}", self.last)),
        }
    }
}

/// The manifest as it should be, on the disk.
struct Seen(BufWriter<File>);

impl Seen {
    fn new() -> Result<Self, Error> {
        let file = tempfile::tempfile().map_err(failed("write into", &std::env::temp_dir()))?;
        Ok(Self(BufWriter::new(file)))
    }

    /// The size of what was noted.
    fn note<R: Read>(&mut self, content: &Summing<R>, name: &str) -> Result<u64, Error> {
        let line = content.line(name);
        let written = serde_json::to_writer(&mut self.0, &line)
            .map_err(io::Error::from)
            .and_then(|()| self.0.write_all(b"\n"));
        written.map_err(failed("write into", &std::env::temp_dir()))?;
        Ok(line.size)
    }

    /// Compares it with the one in the backup, line by line.
    fn compare(mut self, manifest: &mut dyn Read, position: &Position) -> Result<(), Error> {
        let rewound = self.0.flush().and_then(|()| self.0.get_mut().rewind());
        rewound.map_err(failed("read in", &std::env::temp_dir()))?;
        let mut expected = BufReader::new(self.0.get_ref());
        let mut written = BufReader::new(manifest);
        loop {
            let mut lines = [String::new(), String::new()];
            let [left, right] = &mut lines;
            line(&mut expected, left).map_err(failed("read in", &std::env::temp_dir()))?;
            line(&mut written, right).map_err(|error| position.broken(&error))?;
            if left != right {
                return Err(Error::Damaged(differs(left, right)));
            }
            if left.is_empty() {
                return Ok(());
            }
        }
    }
}

/// What to say of two lines that should be the same: what was read, and what the list says.
fn differs(read: &str, listed: &str) -> String {
    let name = |line: &str| serde_json::from_str::<Line>(line).ok().map(|line| line.name);
    match (name(read), name(listed)) {
        (Some(read), Some(listed)) if read == listed => format!("`{read}` is not what its list of sums says"),
        (Some(read), None) if listed.is_empty() => format!("`{read}` is not in its list of sums"),
        (_, Some(listed)) => format!("its list of sums has `{listed}`, which is not in its place"),
        (_, None) => "its list of sums cannot be understood".to_owned(),
    }
}

fn line(from: &mut impl BufRead, to: &mut String) -> io::Result<()> {
    from.take(TEXT_BYTES_MAX).read_line(to).map(drop)
}

fn name_of<R: Read>(entry: &tar::Entry<'_, R>) -> io::Result<String> {
    Ok(entry.path()?.to_string_lossy().into_owned())
}

/// Whether a file of this name is one that backups have. Nothing else is ever written anywhere.
fn belongs(name: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    name == DATABASE
        || KEYS.contains(&name)
        || name
            .strip_prefix(SOURCES)
            .is_some_and(|rest| !rest.contains('\0') && rest.split('/').all(is_plain))
}

fn understood(text: &[u8]) -> Result<Header, Error> {
    /// What all versions of the format have.
    #[derive(serde::Deserialize)]
    struct Version {
        format: u32,
        program: String,
    }
    let unclear = |error: serde_json::Error| {
        let what = match error.classify() {
            serde_json::error::Category::Data => "does not say what the description of a backup says",
            _ => "is damaged, or of another program",
        };
        Error::Foreign(format!("`{HEADER}`, with which it begins, {what}"))
    };
    let Version { format, program } = serde_json::from_slice(text).map_err(unclear)?;
    if format > FORMAT {
        let what = "its format is newer";
        return Err(Error::Newer { program, what });
    }
    let header: Header = serde_json::from_slice(text).map_err(unclear)?;
    if matches!(header.database, Kept::Here(version) if version > Sqlite::VERSION) {
        let what = "the tables of its database are newer";
        return Err(Error::Newer { program, what });
    }
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_list_of_sums_is_said_in_words() {
        let line = |name: &str, size: u64| format!("{{\"name\":\"{name}\",\"size\":{size},\"blake3\":\"00\"}}\n");
        let (key, other) = (line("secrets.key", 3), line("authority/key.pem", 3));
        for (read, listed, expected) in [
            (
                &key,
                line("secrets.key", 4).as_str(),
                "`secrets.key` is not what its list of sums says",
            ),
            (&key, "", "`secrets.key` is not in its list of sums"),
            (
                &key,
                other.as_str(),
                "its list of sums has `authority/key.pem`, which is not in its place",
            ),
            (&key, "{\"name\":\n", "its list of sums cannot be understood"),
        ] {
            assert_eq!(differs(read, listed), expected);
        }
    }
}
