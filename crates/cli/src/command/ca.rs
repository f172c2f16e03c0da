//! Another certificate authority in the place of the present one, while clusters stay connected.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::{Args, Subcommand};
use serde::Serialize;
use tombolo_api::{Authority as Status, CertificateState, ClusterCertificate, path};
use tombolo_core::time::Timestamp;
use tombolo_identity::authority::{self, Authority, Error};

use crate::command::server::{Service, load_master};
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format, Rows, Wide};
use crate::{Session, Shared};

#[derive(Debug, Subcommand)]
pub(crate) enum Ca {
    /// Shows the authority, and which clusters still need the one that it takes the place of.
    Status,
    /// Makes a new authority, for which the present one vouches. The files are the master's, which is to be started again then.
    Rotate(Files),
    /// Leaves the authority that does not sign out of the files, if no cluster needs it. The master is to be started again then.
    Finish {
        #[command(flatten)]
        files: Files,
        /// Does not ask the master: clusters that have not come along are cut off, and have to join again.
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
            crate::wait(show(&session), None)
        }
        Ca::Rotate(files) => rotate(files, shared.output),
        Ca::Finish { files, force } => {
            let opened = Opened::read(files)?;
            let finished = opened.authority.without_others().map_err(|error| failed(&error))?;
            if !force {
                let session = Session::open(shared)?;
                crate::wait(check(&session, &opened.authority), None)?;
            }
            opened.replace(&finished)?;
            tell(
                shared.output,
                &opened,
                &finished,
                "The authority that does not sign is left out.",
                &[
                    "Next: start the master again (each of them, with the same two files); whoever has a certificate of the one that was left out is refused then.",
                    "Open invites that were made under it are of no use then: `tombolo cluster invites` lists them, `tombolo cluster uninvite` and `invite` make them anew.",
                    USERS,
                ],
            )
        }
    }
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

#[derive(Serialize)]
struct Shown(Status);

impl Rows for Shown {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["cluster", "connected", "agent", "certificate", "ends"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |cluster: &ClusterCertificate| {
            vec![
                cluster.cluster.to_string(),
                if cluster.connected { "yes" } else { "no" }.to_owned(),
                cluster.version.clone().unwrap_or_default(),
                cluster.state.as_str().to_owned(),
                cluster.expires_at.map_or_else(String::new, render::until),
            ]
        };
        self.0.clusters.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        left_behind(&self.0)
    }

    fn empty(&self) -> &'static str {
        "No cluster has joined."
    }
}

/// The clusters that would be cut off without the authority that does not sign.
fn left_behind(status: &Status) -> Vec<String> {
    let behind = status.clusters.iter().filter(|cluster| !cluster.state.has_come_along());
    behind.map(|cluster| cluster.cluster.to_string()).collect()
}

/// What there is to do, for people.
fn verdict(status: &Status) -> String {
    let others = status.roots.iter().filter(|root| !root.signs).count();
    let behind = left_behind(status);
    match (others, behind.as_slice()) {
        (0, []) => format!("There is one authority. `tombolo ca rotate` makes another one. {USERS}"),
        (0, names) => format!(
            "There is one authority. No certificate of it has been seen since the master started from: {}. Those that have one still come back by \
             themselves; those that were away when it took the place of another one have to join again (`tombolo cluster remove NAME --force`, \
             `tombolo cluster invite NAME`). {USERS}",
            names.join(", ")
        ),
        (_, []) => {
            format!("No cluster needs the one that does not sign any more: `tombolo ca finish` leaves it out. {USERS}")
        }
        (_, names) => format!(
            "Without the one that does not sign these are cut off, and have to join again: {}. Those that are connected come along by themselves.",
            names.join(", ")
        ),
    }
}

async fn show(session: &Session) -> Result<(), Failure> {
    let status: Status = session.client.get(&path::authority()).await?;
    if session.format.is_for_people() {
        for root in &status.roots {
            let what = if root.signs {
                "signs"
            } else {
                "does not sign, and is still trusted"
            };
            render::line(&format!("{} {what}; it ends {}", root.pin, root.expires_at))?;
        }
    }
    let verdict = verdict(&status);
    render::print(session.format, &Shown(status))?;
    if session.format.is_for_people() {
        render::line(&verdict)?;
    }
    Ok(())
}

/// Refuses to finish while a cluster needs the authority that does not sign.
async fn check(session: &Session, authority: &Authority) -> Result<(), Failure> {
    let status: Status = session.client.get(&path::authority()).await?;
    let pins: Vec<String> = status.roots.iter().map(|root| root.pin.clone()).collect();
    if pins != authority.pins() {
        let failure = Failure::new(
            ExitCode::Failed,
            "the master has another authority than the one in these files, so that it cannot know who needs the one that does not sign",
        );
        return Err(failure.hint("start the master again with these files first, and see `tombolo ca status`"));
    }
    let behind = left_behind(&status);
    if behind.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(
        ExitCode::Failed,
        format!(
            "these clusters would be cut off, and would have to join again: {}",
            behind.join(", ")
        ),
    );
    Err(failure.hint(hint(&status)))
}

/// What to do with those that have not come along.
fn hint(status: &Status) -> &'static str {
    let is_connected = |cluster: &ClusterCertificate| cluster.connected && cluster.state == CertificateState::Older;
    if status.clusters.iter().any(is_connected) {
        "connected ones come along within seconds; agents of an older version within 16 hours, and show it when the master was started again. \
         `--force` leaves them behind"
    } else {
        "connect them, or remove those that do not come back (`tombolo cluster remove NAME`). `--force` leaves them behind"
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::Path;

    use tombolo_api::AuthorityRoot;
    use tombolo_core::name::ClusterName;
    use tombolo_identity::member::TrustDomain;

    use super::*;

    fn status(roots: usize, clusters: &[(&str, bool, CertificateState)]) -> Status {
        let root = |index| AuthorityRoot {
            pin: format!("pin {index}"),
            signs: index == 0,
            expires_at: Timestamp(0).into(),
        };
        let cluster = |(name, connected, state): &(&str, bool, CertificateState)| ClusterCertificate {
            cluster: ClusterName::new(name).unwrap(),
            connected: *connected,
            version: None,
            state: *state,
            expires_at: None,
        };
        Status {
            trust_domain: "tombolo.internal".to_owned(),
            edition: "e".to_owned(),
            roots: (0..roots).map(root).collect(),
            clusters: clusters.iter().map(cluster).collect(),
        }
    }

    #[test]
    fn those_that_would_be_cut_off_are_named() {
        use CertificateState::{Behind, Current, Older, Unseen};
        let all = [
            ("a", true, Current),
            ("b", true, Behind),
            ("c", true, Older),
            ("d", false, Unseen),
            ("e", false, Older),
        ];
        let mixed = status(2, &all);
        assert_eq!(left_behind(&mixed), ["c", "d", "e"]);
        assert!(verdict(&mixed).contains("c, d, e"), "{}", verdict(&mixed));
        assert!(hint(&mixed).contains("16 hours"));
        assert!(hint(&status(2, &all[3..])).contains("cluster remove"));
        let ready = status(2, &all[..2]);
        assert!(verdict(&ready).contains("ca finish"), "{}", verdict(&ready));
    }

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

    #[test]
    fn with_one_authority_those_that_have_not_shown_a_certificate_of_it_are_named() {
        use CertificateState::{Behind, Current, Unseen};
        let all = [("a", true, Current), ("b", true, Behind), ("d", false, Unseen)];
        let whole = verdict(&status(1, &all[..2]));
        assert!(whole.contains("ca rotate") && whole.contains("master trust"), "{whole}");
        let forced = verdict(&status(1, &all));
        assert!(forced.contains("from: d.") && forced.contains("join again"), "{forced}");
    }
}
