//! Histories in which builds are not what was asked for, or end otherwise than follows.

use super::good::{BUILD, event, good, last};
use super::{Bad, changed, of_job, with, without};
use crate::judge::history::{Asked, Fact, FinalJob};
use crate::judge::plan::Kind;

const AS_ASKED: &str = "jobs that were asked for";
const ERRORS: &str = "trouble explains them";

pub(super) fn bad() -> Vec<Bad> {
    let is_last = |fact: &Fact, name: &str| matches!(fact, Fact::FinalJob(job) if job.job == name);
    let skipped = |facts: Vec<Fact>, name: &str| ends_as(facts, name, "skipped", "");
    vec![
        (AS_ASKED, without(|fact| is_last(fact, "read"))),
        (AS_ASKED, with(20, last("more", 1, "d4"))),
        (AS_ASKED, with(2, nobody_asked())),
        (AS_ASKED, changed(|fact| ends_otherwise(fact, "failure"))),
        (AS_ASKED, skipped(good(), "read")),
        (AS_ASKED, ends_as(good(), "read", "failure", "exit code 1")),
        (AS_ASKED, ends_as(good(), "read", "unstable", "")),
        // Its parent did not finish.
        (
            AS_ASKED,
            ends_as(good(), "make", "error", "the store at x cannot read (tried for 9 s)"),
        ),
        (AS_ASKED, array(&["finished"], "finished")),
        (AS_ASKED, array(&["finished", "error"], "finished")),
        (AS_ASKED, array(&["finished", "finished"], "error")),
        (ERRORS, ends_as(good(), "read", "error", "because")),
        // No store was in trouble.
        (
            ERRORS,
            ends_as(good(), "read", "error", "the store at x cannot read (tried for 9 s)"),
        ),
        (
            ERRORS,
            troubled("the store at x has a damaged chunk d2 (tried for 9 s)"),
        ),
        (
            ERRORS,
            troubled("given up after 21 attempts; the store at x cannot read (tried for 9 s)"),
        ),
        (
            ERRORS,
            troubled("cannot get the output of `make`: cluster `east` does not have it any more"),
        ),
        (ERRORS, array(&["finished", "finished"], "error")),
        (ERRORS, many_errors()),
    ]
}

#[test]
fn errors_that_trouble_explains_are_none() {
    for message in [
        "the output cannot be stored: the store at x cannot write a chunk (tried for 21 s): 503",
        "cannot get the output of `make`: nobody answers",
        "the output of its parent `make` is lost: cluster `east`, which had it, was not heard of for 14s",
    ] {
        assert_eq!(super::violated(troubled(message)), Vec::<String>::new(), "{message}");
    }
    // Its indexes have no commands here, which others notice.
    let violated = super::violated(array(&["finished", "finished"], "finished"));
    let of_these = violated
        .iter()
        .filter(|said| said.contains(AS_ASKED) || said.contains(ERRORS));
    assert_eq!(of_these.count(), 0, "{violated:?}");
}

/// A job ends otherwise, and the build as follows from it.
pub(super) fn ends_as(mut facts: Vec<Fact>, name: &str, state: &str, message: &str) -> Vec<Fact> {
    for fact in &mut facts {
        of_job(fact, |job| {
            if job.job == name {
                state.clone_into(&mut job.state);
                message.clone_into(&mut job.message);
                job.output = None;
            }
        });
        if state != "skipped" {
            ends_otherwise(fact, state);
        }
    }
    facts
}

fn ends_otherwise(fact: &mut Fact, ends: &str) -> bool {
    let Fact::Final { state, .. } = fact else { return false };
    ends.clone_into(state);
    true
}

fn nobody_asked() -> Fact {
    Fact::Final {
        tag: "nobody".to_owned(),
        build: 2,
        state: "finished".to_owned(),
    }
}

/// `read` is an error after a store was in trouble.
fn troubled(message: &str) -> Vec<Fact> {
    let mut facts = ends_as(good(), "read", "error", message);
    let mut trouble = event(Kind::StoreCut);
    trouble.number = 2;
    facts.insert(4, Fact::Broken(trouble));
    facts.insert(5, Fact::Mended { number: 2 });
    facts
}

/// An array of two beside the others, and those of its indexes that are there.
fn array(indexes: &[&str], ends: &str) -> Vec<Fact> {
    let mut facts = good();
    if let Some(Fact::Submitted { jobs, .. }) = facts.get_mut(1) {
        jobs.push(Asked {
            name: "part".to_owned(),
            count: 2,
            ..Asked::default()
        });
    }
    let job = |name: &str, state: &str| {
        Fact::FinalJob(FinalJob {
            build: BUILD,
            job: name.to_owned(),
            state: state.to_owned(),
            ..FinalJob::default()
        })
    };
    facts.push(job("part", ends));
    for (index, state) in indexes.iter().enumerate() {
        facts.push(job(&format!("part/{index}"), state));
    }
    for fact in &mut facts {
        ends_otherwise(fact, ends);
    }
    facts
}

/// More of them than a run may have, each of which is explained.
fn many_errors() -> Vec<Fact> {
    let message = "the store at x cannot read (tried for 9 s)";
    let mut facts = troubled(message);
    for build in 10..20 {
        let job = FinalJob {
            build,
            job: "read".to_owned(),
            state: "error".to_owned(),
            message: message.to_owned(),
            ..FinalJob::default()
        };
        facts.push(Fact::FinalJob(job));
    }
    facts
}
