//! Git's protocol as far as fetching goes: version 2, and the older one with servers that know no other.

use std::io::Read;

use gix_packetline::PacketLineRef;
use gix_packetline::blocking_io::{StreamingPeekableIter, encode};

use super::failure::{Failure, out_of, words};
use super::http::{AGENT, Body, Server};
use super::limited::Limited;

/// The most that is read of what a server has: some hundred thousand branches and tags.
const MAX_LISTING_BYTES: u64 = 64 * 1024 * 1024;

/// A name and what it stands for; of a tag that has an object of its own, the commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reference {
    pub(super) name: String,
    pub(super) id: String,
}

/// What a server can do.
enum Version {
    /// The older protocol, which says at once what there is.
    First {
        references: Vec<Reference>,
        capabilities: Vec<String>,
    },
    Second {
        /// It sends commits without those before them.
        is_shallow: bool,
    },
}

/// A server that has said what it can do.
pub(super) struct Session<'server> {
    server: &'server Server,
    version: Version,
}

/// The lines of an answer.
pub(super) type Lines<'server> = StreamingPeekableIter<Limited<Body<'server>>>;

impl<'server> Session<'server> {
    pub(super) fn open(server: &'server mut Server) -> Result<Self, Failure> {
        let host = server.host();
        let lines = {
            let body = Limited::new(server.advertisement()?, MAX_LISTING_BYTES);
            let mut lines = StreamingPeekableIter::new(body, &[], false);
            read_advertisement(&mut lines, &host)?
        };
        let version = understand(&lines, &host)?;
        Ok(Self { server, version })
    }

    pub(super) fn host(&self) -> String {
        self.server.host()
    }

    /// The references that have one of these names.
    pub(super) fn references(&self, names: &[String]) -> Result<Vec<Reference>, Failure> {
        if let Version::First { references, .. } = &self.version {
            let named = references.iter().filter(|reference| names.contains(&reference.name));
            return Ok(named.cloned().collect());
        }
        let mut request = self.command("ls-refs")?;
        line(&mut request, "peel")?;
        for name in names {
            line(&mut request, &format!("ref-prefix {name}"))?;
        }
        flush(&mut request)?;
        let host = self.host();
        let body = Limited::new(self.server.ask(request)?, MAX_LISTING_BYTES);
        let mut lines = StreamingPeekableIter::new(body, &[PacketLineRef::Flush], false);
        let mut references = Vec::new();
        while let Some(text) = next_text(&mut lines, &host)? {
            let reference = listed(&text).ok_or_else(|| not_git(&host, &text))?;
            references.extend(Some(reference).filter(|reference| names.contains(&reference.name)));
        }
        Ok(references)
    }

    /// Whether the server gives a commit out that no branch or tag stands for.
    pub(super) fn gives_any_commit(&self) -> bool {
        match &self.version {
            Version::First { capabilities, .. } => {
                let allows = ["allow-reachable-sha1-in-want", "allow-any-sha1-in-want"];
                capabilities.iter().any(|can| allows.contains(&can.as_str()))
            }
            Version::Second { .. } => true,
        }
    }

    /// All branches, if the server has said which there are.
    pub(super) fn advertised(&self) -> &[Reference] {
        match &self.version {
            Version::First { references, .. } => references,
            Version::Second { .. } => &[],
        }
    }

    /// Asks for a commit, and for all before it too if `whole`. The lines that come are those of the pack.
    pub(super) fn fetch(&self, id: &str, whole: bool) -> Result<Lines<'server>, Failure> {
        let host = self.host();
        let (request, sections) = match &self.version {
            Version::First { capabilities, .. } => first_request(id, whole, capabilities)?,
            Version::Second { is_shallow } => {
                let mut request = self.command("fetch")?;
                line(&mut request, "ofs-delta")?;
                line(&mut request, "no-progress")?;
                if !whole && *is_shallow {
                    line(&mut request, "deepen 1")?;
                }
                line(&mut request, &format!("want {id}"))?;
                line(&mut request, "done")?;
                flush(&mut request)?;
                (request, Sections::Named)
            }
        };
        let body = Limited::new(self.server.ask(request)?, u64::MAX);
        let mut lines = StreamingPeekableIter::new(body, &[], false);
        sections.pass(&mut lines, &host)?;
        Ok(lines)
    }

    fn command(&self, name: &str) -> Result<Vec<u8>, Failure> {
        let mut request = Vec::new();
        line(&mut request, &format!("command={name}"))?;
        line(&mut request, &format!("agent={AGENT}"))?;
        line(&mut request, "object-format=sha1")?;
        encode::delim_to_write(&mut request).map_err(Failure::system("write a request"))?;
        Ok(request)
    }
}

/// What comes before the pack.
enum Sections {
    /// Each has its name, the pack too.
    Named,
    /// That the server has nothing in common with us; before it what it has cut off, if it was to cut.
    Bare { is_cut: bool },
}

impl Sections {
    fn pass(&self, lines: &mut Lines<'_>, host: &str) -> Result<(), Failure> {
        match self {
            Self::Named => loop {
                match next(lines, host)? {
                    Some(Line::Text(text)) if text == "packfile" => return Ok(()),
                    Some(_) => {}
                    None => return Err(not_git(host, "no pack")),
                }
            },
            Self::Bare { is_cut } => {
                let mut is_cut = *is_cut;
                loop {
                    match next(lines, host)? {
                        Some(Line::Mark) if is_cut => is_cut = false,
                        Some(Line::Text(text)) if is_cut && text.starts_with("shallow ") => {}
                        Some(Line::Text(text)) if text == "NAK" => return Ok(()),
                        Some(Line::Text(text)) => return Err(not_git(host, &text)),
                        _ => return Err(not_git(host, "no pack")),
                    }
                }
            }
        }
    }
}

fn first_request(id: &str, whole: bool, capabilities: &[String]) -> Result<(Vec<u8>, Sections), Failure> {
    let can = |name: &str| capabilities.iter().any(|capability| capability == name);
    let is_cut = !whole && can("shallow");
    let mut asked = vec!["side-band-64k", "ofs-delta", "no-progress"];
    asked.retain(|name| can(name));
    if is_cut {
        asked.push("shallow");
    }
    let mut request = Vec::new();
    line(&mut request, &format!("want {id} {} agent={AGENT}", asked.join(" ")))?;
    if is_cut {
        line(&mut request, "deepen 1")?;
    }
    flush(&mut request)?;
    line(&mut request, "done")?;
    Ok((request, Sections::Bare { is_cut }))
}

fn line(request: &mut Vec<u8>, text: &str) -> Result<(), Failure> {
    let written = encode::text_to_write(text.as_bytes(), request);
    written.map(drop).map_err(Failure::system("write a request"))
}

fn flush(request: &mut Vec<u8>) -> Result<(), Failure> {
    let written = encode::flush_to_write(request);
    written.map(drop).map_err(Failure::system("write a request"))
}

/// A line of an answer.
enum Line {
    Text(String),
    /// The end of a part.
    Mark,
}

/// The next line; none at the end.
fn next<R: Read>(lines: &mut StreamingPeekableIter<R>, host: &str) -> Result<Option<Line>, Failure> {
    let broken = |reason: String| Failure::NotGit {
        host: host.to_owned(),
        reason: words(&reason),
    };
    let read = match lines.read_line() {
        None => return Ok(None),
        Some(Err(error)) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        Some(Err(error)) => return Err(out_of(error, broken)),
        Some(Ok(Err(error))) => return Err(broken(error.to_string())),
        Some(Ok(Ok(line))) => line,
    };
    let Some(bytes) = read.as_slice() else {
        return Ok(Some(Line::Mark));
    };
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\n');
    match text.strip_prefix("ERR ") {
        Some(refusal) => Err(Failure::Refused {
            host: host.to_owned(),
            words: words(refusal),
        }),
        None => Ok(Some(Line::Text(text.to_owned()))),
    }
}

fn next_text<R: Read>(lines: &mut StreamingPeekableIter<R>, host: &str) -> Result<Option<String>, Failure> {
    match next(lines, host)? {
        Some(Line::Text(text)) => Ok(Some(text)),
        Some(Line::Mark) | None => Ok(None),
    }
}

/// The lines of what a server can do, without the one that says which service answers.
fn read_advertisement<R: Read>(lines: &mut StreamingPeekableIter<R>, host: &str) -> Result<Vec<String>, Failure> {
    let mut texts = Vec::new();
    let mut is_first = true;
    loop {
        match next(lines, host)? {
            Some(Line::Text(text)) if is_first && text.starts_with("# service=") => {
                // The end of its part follows.
                next(lines, host)?;
            }
            Some(Line::Text(text)) => texts.push(text),
            Some(Line::Mark) | None => return Ok(texts),
        }
        is_first = false;
    }
}

fn understand(lines: &[String], host: &str) -> Result<Version, Failure> {
    let Some((first, rest)) = lines.split_first() else {
        return Err(not_git(host, "nothing"));
    };
    if first == "version 2" {
        let value = |name: &str| rest.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        check_format(value("object-format"), host)?;
        let is_shallow = value("fetch").is_some_and(|can| can.split(' ').any(|can| can == "shallow"));
        return Ok(Version::Second { is_shallow });
    }
    // A line that says the version is left out by those who speak the very first one.
    let listing = if first == "version 1" { rest } else { lines };
    let capabilities = listing.first().and_then(|line| line.split_once('\0'));
    let capabilities = capabilities.map_or("", |(_, capabilities)| capabilities).split(' ');
    let capabilities: Vec<String> = capabilities.map(str::to_owned).collect();
    check_format(
        capabilities.iter().find_map(|can| can.strip_prefix("object-format=")),
        host,
    )?;
    let mut references: Vec<Reference> = Vec::new();
    for line in listing {
        let line = line.split('\0').next().unwrap_or_default();
        let reference = listed(line).ok_or_else(|| not_git(host, line))?;
        match reference.name.strip_suffix("^{}") {
            // What a tag stands for comes right after it.
            Some(name) => {
                let of = references.last_mut().filter(|earlier| earlier.name == name);
                of.into_iter().for_each(|of| of.id.clone_from(&reference.id));
            }
            None => references.push(reference),
        }
    }
    Ok(Version::First {
        references,
        capabilities,
    })
}

fn check_format(format: Option<&str>, host: &str) -> Result<(), Failure> {
    match format {
        None | Some("sha1") => Ok(()),
        Some(other) => Err(Failure::NotGit {
            host: host.to_owned(),
            reason: format!(
                "the repository names its objects by `{}`, and only `sha1` is read here",
                words(other)
            ),
        }),
    }
}

/// `<id> <name>`, and after it `peeled:<id>`, perhaps.
fn listed(line: &str) -> Option<Reference> {
    let mut parts = line.split(' ');
    let (id, name) = (parts.next()?, parts.next()?);
    let id = parts.find_map(|part| part.strip_prefix("peeled:")).unwrap_or(id);
    is_id(id).then(|| Reference {
        name: name.to_owned(),
        id: id.to_owned(),
    })
}

/// Whether it is the whole id of an object.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn not_git(host: &str, said: &str) -> Failure {
    Failure::NotGit {
        host: host.to_owned(),
        reason: format!("it said `{}`", words(said)),
    }
}
