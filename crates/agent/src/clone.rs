//! `tombolo clone`: brings one commit of a repository into the output folder of its attempt.
//!
//! It is the command of a job of the type `git`: a process under the supervisor as any other command, in the sandbox of its attempt, with its
//! timeout and its log, and without anything of the agent's. No program is started and nothing of the repository is run: no hooks, no filters, no
//! submodules. What the server says is read within limits, and what it names is written below one folder.

mod checkout;
mod failure;
mod http;
mod limited;
mod pack;
mod protocol;
mod refs;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use tombolo_core::build::repository::Repository;

pub use self::failure::Failure;

/// What the program is called with.
pub const WORD: &str = "clone";

/// The file in the folder of reports that says why nothing was cloned.
const REASON: &str = "clone-failure";

/// The most that the reason may have, in bytes.
pub(crate) const MAX_REASON_BYTES: usize = 4096;

/// What is to be cloned. It is an argument, so that nothing of it is secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Which repository, and which commit of it.
    pub repository: Repository,
    /// The most that comes over the network, and the most that is written.
    pub limit_bytes: u64,
    /// How long the server may say nothing.
    pub silence: Duration,
}

/// Where the program works.
struct Places {
    /// What is cloned comes here.
    output: PathBuf,
    /// A folder for what is needed in between.
    scratch: PathBuf,
    /// Where the reason of a failure is left.
    reason: PathBuf,
}

impl Places {
    /// Those of an attempt, which its supervisor has named.
    fn of_attempt() -> Option<Self> {
        let folder = |name| std::env::var_os(name).map(PathBuf::from);
        Some(Self {
            output: folder("TOMBOLO_OUTPUT")?,
            scratch: folder("TOMBOLO_CONTEXT")?,
            reason: folder("TOMBOLO_UPLOAD")?.join(REASON),
        })
    }
}

/// Carries out what `argument` says, an [`Order`] as JSON, and returns the exit code. What happens is told on the standard output, which is the
/// log of the job.
pub fn main(argument: &str) -> u8 {
    let Some(places) = Places::of_attempt() else {
        say("this is started by the supervisor of a job of the type `git`, and by nobody else");
        return 2;
    };
    let order: Order = match serde_json::from_str(argument) {
        Ok(order) => order,
        Err(error) => {
            say(&format!("what to clone cannot be read: {error}"));
            return 2;
        }
    };
    let password = std::env::var(Repository::PASSWORD).ok().map(SecretString::from);
    match clone(&order, password, &places) {
        Ok(()) => 0,
        Err(failure) => {
            give_up(&failure, &places);
            1
        }
    }
}

fn clone(order: &Order, password: Option<SecretString>, places: &Places) -> Result<(), Failure> {
    let repository = &order.repository;
    say(&format!("cloning {}, commit `{}`", repository.url, repository.commit));
    let login = http::Login::new(repository.username.clone(), password);
    let mut server = http::Server::new(&repository.url, login, order.silence)?;
    let mut session = protocol::Session::open(&mut server)?;
    let wanted = refs::find(&mut session, repository)?;
    say(&format!("it is {}", wanted.id));
    let scratch = places.scratch.join("pack");
    fs::create_dir_all(&scratch).map_err(Failure::system("make a folder for the pack"))?;
    let bundle = pack::fetch(&mut session, &wanted, &scratch, order.limit_bytes)?;
    let written = checkout::check_out(&bundle, &wanted, &places.output, order.limit_bytes)?;
    written.notes.iter().for_each(|note| say(note));
    say(&format!("{} files with {} bytes", written.files, written.bytes));
    drop(bundle);
    // It only takes room: the folder goes with the sandbox.
    drop(fs::remove_dir_all(&scratch));
    Ok(())
}

/// Nothing is left of what was not cloned whole.
fn give_up(failure: &Failure, places: &Places) {
    let words: String = failure.to_string().chars().take(MAX_REASON_BYTES / 4).collect();
    say(&words);
    if let Err(error) = empty(&places.output) {
        say(&format!("what was written cannot be removed: {error}"));
    }
    // Without it the message says less; the log has it.
    drop(fs::write(&places.reason, words));
}

fn empty(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        match fs::symlink_metadata(&path)?.is_dir() {
            true => tombolo_artifact::remove_tree(&path)?,
            false => fs::remove_file(&path)?,
        }
    }
    Ok(())
}

/// Nobody is left to hear of a log that cannot be written.
fn say(words: &str) {
    drop(writeln!(io::stdout(), "{words}"));
}
