//! Test results that a job leaves in `upload/testresult`: whether a test failed.

use std::fs::{self, File};
use std::io::{self, BufReader, Read};
use std::path::Path;

use quick_xml::Reader;
use quick_xml::events::Event;
use serde::{Deserialize, Serialize};

/// The largest file that is read, in bytes.
const FILE_LIMIT: u64 = 16 * 1024 * 1024;

/// The most files that are read.
const FILES_LIMIT: usize = 1000;

/// What the files say, all together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Results {
    /// How many test cases there are.
    pub tests: u64,
    /// How many of them failed or ended in an error.
    pub failed: u64,
    /// Files that say nothing, and why. Whether a test failed cannot be known then.
    pub unreadable: Vec<String>,
}

impl Results {
    /// In one line, why a job whose command ended well is unstable all the same; none if it is not.
    pub fn complaint(&self) -> Option<String> {
        match (self.failed, self.unreadable.first()) {
            (0, None) => None,
            (0, Some(first)) => Some(format!("a test result cannot be read: {first}")),
            (failed, _) => Some(format!("{failed} of {} tests failed", self.tests)),
        }
    }
}

/// Reads all `*.xml` files directly in `folder`.
///
/// # Errors
/// If the folder cannot be listed.
pub fn read_folder(folder: &Path) -> io::Result<Results> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        // Not what a link points to: the agent may read what the job may not.
        if path.extension().is_some_and(|extension| extension == "xml") && entry.file_type()?.is_file() {
            names.push(path);
        }
    }
    names.sort();
    let mut results = Results::default();
    if names.len() > FILES_LIMIT {
        let reason = format!("there are {} files, at most {FILES_LIMIT} are read", names.len());
        results.unreadable.push(reason);
    }
    for path in names.iter().take(FILES_LIMIT) {
        if let Err(reason) = read_file(path, &mut results) {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            results.unreadable.push(format!("`testresult/{name}`: {reason}"));
        }
    }
    Ok(results)
}

fn read_file(path: &Path, results: &mut Results) -> Result<(), String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let size = file.metadata().map_err(|error| error.to_string())?.len();
    if size > FILE_LIMIT {
        return Err(format!("it has {size} bytes, at most {FILE_LIMIT} are read"));
    }
    read_report(BufReader::new(file.take(FILE_LIMIT)), results)
}

/// Counts `testcase` elements, and those with a `failure` or `error` directly below.
fn read_report(text: impl io::BufRead, results: &mut Results) -> Result<(), String> {
    let mut reader = Reader::from_reader(text);
    let mut buffer = Vec::new();
    let (mut depth, mut case_depth, mut elements) = (0_u32, None, 0_u64);
    loop {
        let event = reader.read_event_into(&mut buffer);
        let event = event.map_err(|error| format!("at byte {}: {error}", reader.error_position()))?;
        match event {
            Event::Start(element) => {
                depth += 1;
                elements += 1;
                match element.local_name().as_ref() {
                    b"testcase" => {
                        results.tests += 1;
                        case_depth = Some((depth, false));
                    }
                    b"failure" | b"error" => count_failure(depth, &mut case_depth, results),
                    _ => {}
                }
            }
            Event::Empty(element) => {
                elements += 1;
                match element.local_name().as_ref() {
                    b"testcase" => results.tests += 1,
                    b"failure" | b"error" => count_failure(depth + 1, &mut case_depth, results),
                    _ => {}
                }
            }
            Event::End(_) => {
                if case_depth.is_some_and(|(case, _)| case == depth) {
                    case_depth = None;
                }
                depth = depth.saturating_sub(1);
            }
            Event::Eof if depth > 0 => return Err("it ends in the middle".to_owned()),
            Event::Eof if elements == 0 => return Err("it is not XML".to_owned()),
            Event::Eof => return Ok(()),
            _ => {}
        }
        buffer.clear();
    }
}

/// A test case fails once, however many failures it lists.
fn count_failure(depth: u32, case: &mut Option<(u32, bool)>, results: &mut Results) {
    if let Some((case_depth, counted)) = case
        && depth == *case_depth + 1
        && !*counted
    {
        *counted = true;
        results.failed += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_counted_once_for_each_test() {
        for (text, tests, failed) in [
            ("<testsuite/>", 0, 0),
            (
                "<testsuites><testsuite><testcase name='a'/></testsuite></testsuites>",
                1,
                0,
            ),
            (
                "<testsuite><testcase><failure/></testcase><testcase/></testsuite>",
                2,
                1,
            ),
            (
                "<testsuite><testcase><error>x</error><failure>y</failure></testcase></testsuite>",
                1,
                1,
            ),
            ("<testsuite><testcase><skipped/></testcase></testsuite>", 1, 0),
            (
                "<testsuite><testcase><system-out><failure/></system-out></testcase></testsuite>",
                1,
                0,
            ),
            (
                "<testsuite><error/><testcase><![CDATA[<failure/>]]></testcase></testsuite>",
                1,
                0,
            ),
            (
                "<?xml version='1.0'?><x:testcase xmlns:x='u'><x:failure/></x:testcase>",
                1,
                1,
            ),
        ] {
            let mut results = Results::default();
            read_report(text.as_bytes(), &mut results).unwrap();
            assert_eq!((results.tests, results.failed), (tests, failed), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_makes_a_complaint() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(read_folder(folder.path()).unwrap().complaint(), None);
        fs::write(folder.path().join("notes.txt"), "no test result").unwrap();
        std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link.xml")).unwrap();
        fs::write(folder.path().join("a.xml"), "<testsuite><testcase/></testsuite>").unwrap();
        assert_eq!(read_folder(folder.path()).unwrap().complaint(), None);
        for (text, words) in [
            ("", "`testresult/b.xml`: it is not XML"),
            ("hello", "it is not XML"),
            ("<testsuite><testcase>", "it ends in the middle"),
            ("<a></b>", "`testresult/b.xml`: at byte"),
            ("\0\0", "it is not XML"),
        ] {
            fs::write(folder.path().join("b.xml"), text).unwrap();
            let complaint = read_folder(folder.path()).unwrap().complaint().unwrap();
            assert!(complaint.contains(words), "{text:?}: {complaint}");
        }
        let large = File::create(folder.path().join("b.xml")).unwrap();
        large.set_len(FILE_LIMIT + 1).unwrap();
        let complaint = read_folder(folder.path()).unwrap().complaint().unwrap();
        assert!(complaint.contains("at most 16777216 are read"), "{complaint}");
    }
}
