//! What happened, as lines of JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::plan::Event;

/// Where it is looked for processes that are left, as [`Fact::Looked`] names it.
pub(crate) const PROCESSES: &str = "processes";

/// A line of the history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// Milliseconds from the begin of the run, by the clock that goes on in every process alike.
    pub(crate) at: u64,
    #[serde(flatten)]
    pub(crate) fact: Fact,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub(crate) enum Fact {
    /// The run began: with which clusters, and their labels.
    Began {
        seed: u64,
        /// The command that has the same things go wrong.
        replay: String,
        planted: Option<String>,
        labels: BTreeMap<String, BTreeSet<String>>,
        /// The clusters that are Kubernetes clusters.
        #[serde(default)]
        kubernetes: BTreeSet<String>,
    },
    /// A user is about to ask for a build, which bears this tag.
    Submitted { tag: String, jobs: Vec<Asked> },
    /// A master said that it has the build.
    Acknowledged { tag: String, build: u64 },
    /// A user does not know whether there is a build.
    NotAcknowledged { tag: String, why: String },
    /// A master said that there can be no such build.
    Refused { tag: String, why: String },
    /// A user is about to ask for the end of a build.
    CancelAsked { build: u64 },
    /// A master said that the build is cancelled.
    Cancelled { build: u64 },
    /// What a user saw of a job, if it was not the same as before.
    Seen {
        build: u64,
        job: String,
        state: String,
        epoch: u32,
    },
    /// What a command said in the file of witnesses.
    Witness {
        tag: String,
        job: String,
        epoch: u32,
        cluster: String,
        says: Said,
    },
    /// Something goes wrong.
    Broken(Event),
    /// It is mended.
    Mended { number: u32 },
    /// The last one was mended.
    AllMended,
    /// All builds that there are were seen to be over.
    AllOver,
    /// A master began to say that it leads.
    Leads { master: usize },
    /// A part ended although nobody had told it to.
    Fell { part: String, status: String },
    /// The most memory that a part was seen to have of its own.
    Memory { part: String, bytes: u64, bound: u64 },
    /// A build at the end.
    Final { tag: String, build: u64, state: String },
    /// A job at the end.
    FinalJob(FinalJob),
    /// The log of a job at the end.
    Log(Log),
    /// It was looked at what is left in a place, or why that could not be.
    Looked { place: String, why_not: Option<String> },
    /// Something is there at the end that should be gone.
    Left { what: String },
    /// A part said something that it should never say.
    Cried { part: String, line: String },
}

/// A job as a user asked for it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) name: String,
    pub(crate) selector: Vec<String>,
    /// Those whose output it reads, indexes of arrays one by one.
    pub(crate) parents: Vec<String>,
    /// How many lines each attempt writes.
    pub(crate) lines: u64,
    pub(crate) exclusive: bool,
    /// Up to this attempt the command fails by itself.
    pub(crate) fails_until: u32,
    /// How many of it there are, if it is an array.
    pub(crate) count: u32,
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "says", rename_all = "snake_case")]
pub(crate) enum Said {
    Begins,
    /// The digest of an input, and who made it; none if it was not there.
    Reads {
        parent: String,
        digest: String,
        made_by: Option<Maker>,
    },
    /// It is still there.
    Lives,
    /// It is about to end, with the digest of its output.
    Ends {
        digest: String,
        code: i32,
    },
}

/// Who made an output, as its first line says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Maker {
    pub(crate) tag: String,
    pub(crate) job: String,
    pub(crate) epoch: u32,
}

/// A job at the end; an index of an array is one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FinalJob {
    pub(crate) build: u64,
    pub(crate) job: String,
    pub(crate) state: String,
    pub(crate) epoch: u32,
    pub(crate) message: String,
    pub(crate) replacements: u32,
    /// Why there is no output any more, if it was lost.
    pub(crate) output_lost: Option<String>,
    /// What a user got who asked for the output.
    pub(crate) output: Option<Output>,
}

/// An output that a user asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "output", rename_all = "snake_case")]
pub(crate) enum Output {
    Downloaded { digest: String, made_by: Option<Maker> },
    Refused { why: String },
}

/// A log at the end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) build: u64,
    pub(crate) job: String,
    /// Whose it says that it is.
    pub(crate) epoch: u32,
    /// The numbers of its lines, and those that the command itself wrote: which of its own, and in which attempt.
    pub(crate) numbers: Vec<u64>,
    pub(crate) written: Vec<(u64, u32)>,
    /// How many lines it says that are not there.
    pub(crate) missing: u64,
    pub(crate) is_whole: bool,
}

/// A line of the file of witnesses: seconds, tag, job, epoch, cluster, and what is said.
pub(crate) fn witness(line: &str, began_seconds: f64) -> Option<Entry> {
    let mut words = line.split(' ');
    let mut word = || words.next();
    let seconds: f64 = word()?.parse().ok()?;
    let (tag, job) = (word()?.to_owned(), word()?.to_owned());
    let (epoch, cluster) = (word()?.parse().ok()?, word()?.to_owned());
    let says = match word()? {
        "begins" => Said::Begins,
        "lives" => Said::Lives,
        "ends" => Said::Ends {
            digest: word()?.to_owned(),
            code: word()?.parse().ok()?,
        },
        "reads" => Said::Reads {
            parent: word()?.to_owned(),
            digest: word()?.to_owned(),
            made_by: maker(&words.collect::<Vec<_>>()),
        },
        _ => return None,
    };
    let at = ((seconds - began_seconds).max(0.0) * 1000.0) as u64;
    let fact = Fact::Witness {
        tag,
        job,
        epoch,
        cluster,
        says,
    };
    Some(Entry { at, fact })
}

/// Who made an output, by the words of its first line.
pub(crate) fn maker(words: &[&str]) -> Option<Maker> {
    let [tag, job, epoch] = words else { return None };
    Some(Maker {
        tag: (*tag).to_owned(),
        job: (*job).to_owned(),
        epoch: epoch.parse().ok()?,
    })
}
