//! Another certificate authority in the place of the present one, while clusters stay connected.

mod standing;

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{self, Authority, Error};

use crate::command::server::{Service, load_master};
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format};
use crate::{Session, Shared};

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Shows the authority, and which clusters and open invites still need the one that it takes the place of.
    Status,
    /// Makes a new authority, for which the present one vouches. The files are the master's, which is to be started again then.
    Rotate(Files),
    /// Leaves the authority that does not sign out of the files, if no cluster and no open invite needs it. The master is to be started again then.
    Finish {
        #[command(flatten)]
        files: Files,
        /// Does not ask the master: clusters that have not come along are cut off, and have to join again; invites of before are of no use.
        #[arg(long)]
        force: bool,
    },
}

/// Where the authority is.
#[derive(Debug, Args)]
pub(crate) struct Files {
    #[command(flatten)]
    service: Service,
    /// The file with the authority's certificates (PEM), instead of the one that the master's configuration says.
    #[arg(long, value_name = "FILE", requires = "key", conflicts_with = "config")]
    certificate: Option<PathBuf>,
    /// The file with its key (PEM).
    #[arg(long, value_name = "FILE", requires = "certificate")]
    key: Option<PathBuf>,
}

impl Files {
    fn places(&self) -> Result<(PathBuf, PathBuf), Failure> {
        if let (Some(certificate), Some(key)) = (&self.certificate, &self.key) {
            return Ok((certificate.clone(), key.clone()));
        }
        let configuration = load_master(&self.service)?;
        Ok(tombolo_master::bootstrap::authority_files(&configuration))
    }
}

/// The authority in its files, which nobody else changes as long as this lives.
struct Opened {
    files: authority::Files,
    authority: Authority,
}

impl Opened {
    fn read(files: &Files) -> Result<Self, Failure> {
        let (certificates, key) = files.places()?;
        let files = authority::Files::lock(&certificates, &key).map_err(|error| failed(&error))?;
        let authority = files.read().map_err(|error| failed(&error))?;
        Ok(Self { files, authority })
    }

    /// Writes another authority into the files.
    fn replace(&self, authority: &Authority) -> Result<(), Failure> {
        self.files.replace(authority).map_err(|error| failed(&error))
    }
}

fn failed(error: &Error) -> Failure {
    let failure = Failure::new(ExitCode::Failed, error);
    let Error::File(file) = error else {
        return failure;
    };
    match file.source.kind() {
        ErrorKind::NotFound => failure.hint(
            "the files are on the master's machine, or in its Secret: give `--config FILE`, or `--certificate FILE --key FILE`",
        ),
        ErrorKind::PermissionDenied => failure.hint("run this as the user whose files they are, or as root"),
        _ => failure,
    }
}

/// What was written.
#[derive(Serialize)]
struct Written {
    /// The pin of the root that signs.
    pin: String,
    /// The pins of the roots that are trusted beside it.
    older: Vec<String>,
    certificate_file: PathBuf,
    key_file: PathBuf,
}

/// Carries out a command.
pub(crate) fn ca(command: &Ca, shared: &Shared) -> Result<(), Failure> {
    match command {
        Ca::Status => {
            let session = Session::open(shared)?;
            crate::wait(standing::show(&session), None)
        }
        Ca::Rotate(files) => rotate(files, shared.output),
        Ca::Finish { files, force } => {
            let opened = Opened::read(files)?;
            let finished = opened.authority.without_others().map_err(|error| failed(&error))?;
            if !force {
                let session = Session::open(shared)?;
                crate::wait(standing::check(&session, &opened.authority), None)?;
            }
            opened.replace(&finished)?;
            tell(
                shared.output,
                &opened,
                &finished,
                "The authority that does not sign is left out.",
                &after_finish(*force),
            )
        }
    }
}

/// What is to be done after the other one was left out; nobody was asked if that was forced.
fn after_finish(force: bool) -> Vec<&'static str> {
    let mut next = vec![
        "Next: start the master again (each of them, with the same two files); whoever has a certificate of the one that was left out is refused then.",
    ];
    if force {
        next.push(
            "Open invites that were made under it are of no use then: `tombolo ca status` names them, `tombolo cluster uninvite` and `invite` make them anew.",
        );
    }
    next.push(USERS);
    next
}

fn rotate(files: &Files, format: Format) -> Result<(), Failure> {
    let opened = Opened::read(files)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now = Timestamp(u64::try_from(now.as_millis()).unwrap_or(u64::MAX));
    let successor = opened.authority.successor(now).map_err(|error| failed(&error))?;
    opened.replace(&successor)?;
    tell(
        format,
        &opened,
        &successor,
        "Made a new certificate authority, for which the present one vouches. Its key is in the place of the old key, which is gone.",
        &after_rotation(&opened.authority),
    )
}

/// What is to be done, and who is cut off, after `before` was replaced.
fn after_rotation(before: &Authority) -> Vec<&'static str> {
    let mut next = vec![
        "Next: start the master again (each of them, with the same two files), wait until `tombolo ca status` says that the other one can go, then `tombolo ca finish`.",
        USERS,
    ];
    if before.is_successor() {
        next.push(CUT_OFF);
    }
    next
}

/// An authority is vouched for by the one before it only.
const USERS: &str = "Before the next `tombolo ca rotate`, every user and operator has to have the new trust (`tombolo master trust > trust.pem`, \
                     `tombolo login URL --certificate-authority trust.pem`): who has only that of two authorities ago is cut off.";
/// To be said when that has come to pass.
const CUT_OFF: &str = "This authority has been replaced before. Whoever still has the trust.pem of before that is cut off by the next start of the \
                       master, until they have fetched today's and logged in with it.";

fn tell(format: Format, opened: &Opened, authority: &Authority, done: &str, next: &[&str]) -> Result<(), Failure> {
    let mut pins = authority.pins().into_iter();
    let written = Written {
        pin: pins.next().unwrap_or_default(),
        older: pins.collect(),
        certificate_file: opened.files.certificates().to_owned(),
        key_file: opened.files.key().to_owned(),
    };
    match format {
        Format::Table | Format::Wide => {
            render::line(done)?;
            render::line(&format!("Its pin is {}.", written.pin))?;
            next.iter().try_for_each(|line| render::line(line))
        }
        Format::Name => render::line(&written.pin),
        Format::Json | Format::Yaml => render::print_value(format, &written),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use tombolo_identity::member::TrustDomain;

    use super::*;

    fn given(certificate: &Path, key: &Path) -> Files {
        #[derive(clap::Parser)]
        struct Given {
            #[command(flatten)]
            files: Files,
        }
        let given = [
            OsStr::new("rotate"),
            "--certificate".as_ref(),
            certificate.as_ref(),
            "--key".as_ref(),
            key.as_ref(),
        ];
        <Given as clap::Parser>::try_parse_from(given).unwrap().files
    }

    #[test]
    fn a_second_rotation_says_who_is_cut_off_by_it_and_one_that_comes_between_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = Authority::create(TrustDomain::default(), Timestamp(1_700_000_000_000)).unwrap();
        first.save(folder.path()).unwrap();
        let (certificate, key) = Authority::files(folder.path());
        let files = given(&certificate, &key);
        assert!(!after_rotation(&first).contains(&CUT_OFF));
        let held = Opened::read(&files).unwrap();
        let refused = rotate(&files, Format::Name).unwrap_err();
        assert!(refused.message.contains("somebody else"), "{}", refused.message);
        drop(held);
        rotate(&files, Format::Name).unwrap();
        let second = Authority::open(folder.path()).unwrap().unwrap();
        assert_ne!(second.pin(), first.pin());
        assert!(after_rotation(&second).contains(&CUT_OFF));
        assert!(after_rotation(&second).contains(&USERS));
    }
}
