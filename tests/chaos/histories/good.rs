//! A history in which all is well, and what such histories are made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::judge::history::{Asked, Fact, FinalJob, Log, Maker, Output, PROCESSES, Said};
use crate::judge::plan::{Event, Kind};

pub(super) const TAG: &str = "user0-0";
pub(super) const BUILD: u64 = 1;

pub(super) fn says(job: &str, epoch: u32, cluster: &str, says: Said) -> Fact {
    Fact::Witness {
        tag: TAG.to_owned(),
        job: job.to_owned(),
        epoch,
        cluster: cluster.to_owned(),
        says,
    }
}

pub(super) fn maker(job: &str, epoch: u32) -> Maker {
    Maker {
        tag: TAG.to_owned(),
        job: job.to_owned(),
        epoch,
    }
}

pub(super) fn reads(parent: &str, digest: &str, epoch: u32) -> Said {
    Said::Reads {
        parent: parent.to_owned(),
        digest: digest.to_owned(),
        made_by: Some(maker(parent, epoch)),
    }
}

pub(super) fn ends(digest: &str) -> Said {
    Said::Ends {
        digest: digest.to_owned(),
        code: 0,
    }
}

pub(super) fn seen(job: &str, state: &str, epoch: u32) -> Fact {
    Fact::Seen {
        build: BUILD,
        job: job.to_owned(),
        state: state.to_owned(),
        epoch,
    }
}

pub(super) fn last(job: &str, epoch: u32, digest: &str) -> Fact {
    let output = Output::Downloaded {
        digest: digest.to_owned(),
        made_by: Some(maker(job, epoch)),
    };
    Fact::FinalJob(FinalJob {
        build: BUILD,
        job: job.to_owned(),
        state: "finished".to_owned(),
        epoch,
        output: Some(output),
        ..FinalJob::default()
    })
}

pub(super) fn log(job: &str, epoch: u32) -> Fact {
    Fact::Log(Log {
        build: BUILD,
        job: job.to_owned(),
        epoch,
        numbers: vec![0, 1, 2],
        written: vec![(1, epoch), (2, epoch)],
        missing: 0,
        is_whole: true,
    })
}

fn memory(part: &str) -> Fact {
    Fact::Memory {
        part: part.to_owned(),
        bytes: 1,
        bound: 2,
    }
}

fn looked(place: &str) -> Fact {
    Fact::Looked {
        place: place.to_owned(),
        why_not: None,
    }
}

pub(super) fn event(kind: Kind) -> Event {
    Event {
        number: 1,
        kind,
        target: "master-0".to_owned(),
        begins: 10,
        ends: 20,
        chance: 0,
    }
}

/// `make` is exclusive and was lost once; `read` takes what it left.
pub(super) fn good() -> Vec<Fact> {
    let asked = |name: &str, parents: &[&str], exclusive| Asked {
        name: name.to_owned(),
        selector: vec!["zone=east".to_owned()],
        parents: parents.iter().map(|parent| (*parent).to_owned()).collect(),
        lines: 2,
        exclusive,
        ..Asked::default()
    };
    let labels = BTreeMap::from([("east".to_owned(), BTreeSet::from(["zone=east".to_owned()]))]);
    vec![
        Fact::Began {
            seed: 1,
            replay: String::new(),
            planted: None,
            labels,
            kubernetes: BTreeSet::new(),
        },
        Fact::Submitted {
            tag: TAG.to_owned(),
            jobs: vec![asked("make", &[], true), asked("read", &["make"], false)],
        },
        Fact::Acknowledged {
            tag: TAG.to_owned(),
            build: BUILD,
        },
        Fact::Broken(event(Kind::LeaderKilled)),
        says("make", 1, "east", Said::Begins),
        says("make", 1, "east", Said::Lives),
        Fact::Leads { master: 1 },
        says("make", 2, "east", Said::Begins),
        says("make", 2, "east", ends("d2")),
        seen("make", "finished", 2),
        says("read", 1, "east", Said::Begins),
        says("read", 1, "east", reads("make", "d2", 2)),
        says("read", 1, "east", ends("d3")),
        Fact::Mended { number: 1 },
        Fact::AllMended,
        memory("master-0"),
        memory("master-1"),
        memory("east"),
        Fact::AllOver,
        Fact::Final {
            tag: TAG.to_owned(),
            build: BUILD,
            state: "finished".to_owned(),
        },
        last("make", 2, "d2"),
        last("read", 1, "d3"),
        log("make", 2),
        log("read", 1),
        looked("east"),
        looked(PROCESSES),
    ]
}
