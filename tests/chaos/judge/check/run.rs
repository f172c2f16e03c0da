//! The history, by what it is asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::history::{Asked, Entry, Fact, FinalJob, Log, Maker, Said};
use crate::judge::plan::{Event, Kind};

/// A job: the tag of its build, and its name.
pub(crate) type JobKey<'history> = (&'history str, &'history str);

/// A job as a user saw it: when, in which state, and with which attempt.
pub(crate) type Look<'history> = (u64, &'history str, u32);

/// What commands said of one attempt.
#[derive(Debug, Default)]
pub(crate) struct Attempt<'history> {
    /// Where it was heard of: one cluster, or something is wrong.
    pub(crate) clusters: BTreeSet<&'history str>,
    pub(crate) begins: Vec<u64>,
    /// When it last said anything.
    pub(crate) last: u64,
    pub(crate) reads: Vec<Read<'history>>,
    /// When, with which digest and which code.
    pub(crate) ends: Option<(u64, &'history str, i32)>,
}

/// An input as a command found it.
#[derive(Debug)]
pub(crate) struct Read<'history> {
    pub(crate) parent: &'history str,
    pub(crate) digest: &'history str,
    pub(crate) made_by: Option<&'history Maker>,
}

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Run<'history> {
    pub(crate) seed: u64,
    pub(crate) replay: Option<&'history str>,
    pub(crate) planted: Option<&'history str>,
    pub(crate) labels: BTreeMap<&'history str, &'history BTreeSet<String>>,
    pub(crate) kubernetes: BTreeSet<&'history str>,
    pub(crate) asked: BTreeMap<&'history str, &'history [Asked]>,
    pub(crate) acknowledged: BTreeMap<&'history str, u64>,
    pub(crate) not_acknowledged: usize,
    /// Tags, with what was said.
    pub(crate) refused: Vec<(&'history str, &'history str)>,
    /// By number, with tag and state.
    pub(crate) builds: BTreeMap<u64, (&'history str, &'history str)>,
    pub(crate) jobs: BTreeMap<(u64, &'history str), &'history FinalJob>,
    pub(crate) logs: BTreeMap<(u64, &'history str), &'history Log>,
    /// States as they were seen, in their order.
    pub(crate) seen: BTreeMap<(u64, &'history str), Vec<Look<'history>>>,
    pub(crate) attempts: BTreeMap<JobKey<'history>, BTreeMap<u32, Attempt<'history>>>,
    pub(crate) cancel_asked: BTreeSet<u64>,
    /// When that was acknowledged.
    pub(crate) cancelled: BTreeMap<u64, u64>,
    pub(crate) events: Vec<&'history Event>,
    pub(crate) mended: BTreeSet<u32>,
    pub(crate) all_mended: Option<u64>,
    pub(crate) all_over: Option<u64>,
    /// How long nobody led, by what had befallen the one that did.
    pub(crate) takeovers: Vec<(Kind, u64)>,
    /// By part: the most that was seen, and the bound.
    pub(crate) memory: BTreeMap<&'history str, (u64, u64)>,
    pub(crate) fell: Vec<(&'history str, &'history str)>,
    /// Where it was looked for what is left, and why that could not be.
    pub(crate) looked: BTreeMap<&'history str, Option<&'history str>>,
    pub(crate) left: Vec<&'history str>,
    pub(crate) cries: Vec<(&'history str, &'history str)>,
}

/// Whether a job in this state is over.
pub(crate) fn is_terminal(state: &str) -> bool {
    ["finished", "failure", "error", "unstable", "killed", "skipped"].contains(&state)
}

impl<'history> Run<'history> {
    pub(crate) fn of(history: &'history [Entry]) -> Self {
        let mut run = Self::default();
        let mut without_leader = None;
        for Entry { at, fact } in history {
            match fact {
                Fact::Broken(event) => {
                    run.events.push(event);
                    if let Some(master) = leader_lost(event) {
                        without_leader = Some((*at, event.kind, master));
                    }
                }
                Fact::Leads { master } => {
                    if let Some((since, kind, lost)) = without_leader.take_if(|(_, _, lost)| lost != master) {
                        debug_assert_ne!(lost, *master);
                        run.takeovers.push((kind, at.saturating_sub(since)));
                    }
                }
                Fact::Witness {
                    tag,
                    job,
                    epoch,
                    cluster,
                    says,
                } => {
                    let attempts = run.attempts.entry((tag, job)).or_default();
                    attempts.entry(*epoch).or_default().hear(*at, cluster, says);
                }
                _ => run.take(*at, fact),
            }
        }
        run
    }

    fn take(&mut self, at: u64, fact: &'history Fact) {
        match fact {
            Fact::Began {
                seed,
                replay,
                planted,
                labels,
                kubernetes,
            } => {
                (self.seed, self.replay, self.planted) = (*seed, Some(replay.as_str()), planted.as_deref());
                let labels = labels.iter().map(|(name, labels)| (name.as_str(), labels));
                self.labels.extend(labels);
                self.kubernetes.extend(kubernetes.iter().map(String::as_str));
            }
            Fact::Submitted { tag, jobs } => {
                self.asked.insert(tag, jobs);
            }
            Fact::Acknowledged { tag, build } => {
                self.acknowledged.insert(tag, *build);
            }
            Fact::NotAcknowledged { .. } => self.not_acknowledged += 1,
            Fact::Refused { tag, why } => self.refused.push((tag, why)),
            Fact::CancelAsked { build } => {
                self.cancel_asked.insert(*build);
            }
            Fact::Cancelled { build } => {
                self.cancelled.entry(*build).or_insert(at);
            }
            Fact::Seen {
                build,
                job,
                state,
                epoch,
            } => {
                let seen = self.seen.entry((*build, job)).or_default();
                seen.push((at, state, *epoch));
            }
            Fact::Mended { number } => {
                self.mended.insert(*number);
            }
            Fact::AllMended => self.all_mended = Some(at),
            Fact::AllOver => self.all_over = Some(at),
            Fact::Fell { part, status } => self.fell.push((part, status)),
            Fact::Memory { part, bytes, bound } => {
                let most = self.memory.entry(part).or_insert((0, *bound));
                most.0 = most.0.max(*bytes);
            }
            Fact::Final { tag, build, state } => {
                self.builds.insert(*build, (tag, state));
            }
            Fact::FinalJob(job) => {
                self.jobs.insert((job.build, &job.job), job);
            }
            Fact::Log(log) => {
                self.logs.insert((log.build, &log.job), log);
            }
            Fact::Looked { place, why_not } => {
                self.looked.insert(place, why_not.as_deref());
            }
            Fact::Left { what } => self.left.push(what),
            Fact::Cried { part, line } => self.cries.push((part, line)),
            Fact::Broken(_) | Fact::Leads { .. } | Fact::Witness { .. } => {}
        }
    }

    /// What a user asked for by a job's name, which may be that of an index.
    pub(crate) fn asked_for(&self, tag: &str, job: &str) -> Option<&'history Asked> {
        let jobs = self.asked.get(tag)?;
        let array = job.rsplit_once('/').map_or(job, |(array, _)| array);
        let named = |name: &str| jobs.iter().find(|asked| asked.name == name);
        named(job).or_else(|| named(array))
    }

    /// Whether that is an array itself, which has no command, and not one of its indexes.
    pub(crate) fn is_array(&self, job: &FinalJob) -> bool {
        let tag = self.builds.get(&job.build).map(|(tag, _)| *tag).unwrap_or_default();
        self.asked_for(tag, &job.job)
            .is_some_and(|asked| asked.count > 0 && asked.name == job.job)
    }

    /// A job at the end with what commands said of it.
    pub(crate) fn attempts_of<'run>(&'run self, job: &'run FinalJob) -> Option<&'run BTreeMap<u32, Attempt<'history>>> {
        let (tag, _) = self.builds.get(&job.build)?;
        self.attempts.get(&(*tag, job.job.as_str()))
    }

    /// The job of a build at the end.
    pub(crate) fn job_of(&self, tag: &str, job: &str) -> Option<&'history FinalJob> {
        let (build, _) = self.builds.iter().find(|(_, (of, _))| *of == tag)?;
        self.jobs.get(&(*build, job)).copied()
    }

    /// Whether somebody saw that a job was over with this attempt.
    pub(crate) fn was_over_with(&self, build: u64, job: &str, epoch: u32) -> bool {
        let seen = self.seen.get(&(build, job)).into_iter().flatten();
        seen.into_iter()
            .any(|(_, state, of)| is_terminal(state) && *of == epoch)
    }
}

impl<'history> Attempt<'history> {
    fn hear(&mut self, at: u64, cluster: &'history str, says: &'history Said) {
        self.clusters.insert(cluster);
        self.last = self.last.max(at);
        match says {
            Said::Begins => self.begins.push(at),
            Said::Lives => {}
            Said::Reads {
                parent,
                digest,
                made_by,
            } => self.reads.push(Read {
                parent,
                digest,
                made_by: made_by.as_ref(),
            }),
            Said::Ends { digest, code } => self.ends = Some((at, digest, *code)),
        }
    }
}

fn leader_lost(event: &Event) -> Option<usize> {
    let kinds = [
        Kind::LeaderKilled,
        Kind::LeaderPaused,
        Kind::LeaderTold,
        Kind::DatabaseCut,
    ];
    let master = event.target.strip_prefix("master-")?.parse().ok()?;
    kinds.contains(&event.kind).then_some(master)
}
