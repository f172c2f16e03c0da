//! Small histories, of which one is good and each of the others bad in one way.

mod asked;
mod good;
mod kubernetes;
mod lost;
mod plans;
mod planted;

use crate::judge::check::{Run, Verdict, all_hold, judge};
use crate::judge::history::{Entry, Fact, FinalJob, Log, Output, Said, witness};
use crate::judge::page::{Heading, page};
use crate::judge::plan::Kind;
use good::{BUILD, TAG, ends, good, maker, reads, says, seen};
use lost::lost;

/// At each hundredth of a second something happens.
fn history(facts: Vec<Fact>) -> Vec<Entry> {
    (0..)
        .map(|at| at * 10)
        .zip(facts)
        .map(|(at, fact)| Entry { at, fact })
        .collect()
}

fn violated(facts: Vec<Fact>) -> Vec<String> {
    let verdicts = judge(&history(facts), 1);
    let violated = verdicts.iter().filter(|verdict| !verdict.holds());
    violated
        .map(|verdict| format!("{}: {}", verdict.promise.words(), verdict.faults.join("; ")))
        .collect()
}

/// Changes the first fact that the change is for.
fn changed(change: impl Fn(&mut Fact) -> bool) -> Vec<Fact> {
    let mut facts = good();
    assert!(facts.iter_mut().any(change), "nothing was changed");
    facts
}

fn with(at: usize, fact: Fact) -> Vec<Fact> {
    let mut facts = good();
    facts.insert(at, fact);
    facts
}

fn without(which: impl Fn(&Fact) -> bool) -> Vec<Fact> {
    let mut facts = good();
    let place = facts.iter().position(which).unwrap();
    facts.remove(place);
    facts
}

fn of_log(fact: &mut Fact, change: impl Fn(&mut Log)) -> bool {
    let Fact::Log(log) = fact else { return false };
    change(log);
    true
}

fn of_job(fact: &mut Fact, change: impl Fn(&mut FinalJob)) -> bool {
    let Fact::FinalJob(job) = fact else { return false };
    change(job);
    true
}

fn place(wanted: &Fact) -> usize {
    good().iter().position(|fact| fact == wanted).unwrap()
}

#[test]
fn a_good_history_holds() {
    assert_eq!(violated(good()), Vec::<String>::new());
}

/// A promise, and a history that does not keep it.
type Bad = (&'static str, Vec<Fact>);

fn last_build(build: u64, tag: &str, state: &str) -> Fact {
    Fact::Final {
        tag: tag.to_owned(),
        build,
        state: state.to_owned(),
    }
}

fn refused() -> Fact {
    Fact::Refused {
        tag: "user1-0".to_owned(),
        why: "422 Unprocessable Entity".to_owned(),
    }
}

fn bad_ends() -> Vec<Bad> {
    let (lost, stays) = ("is there, and ends", "stays over");
    let after_make = place(&seen("make", "finished", 2)) + 1;
    vec![
        (lost, without(|fact| matches!(fact, Fact::Final { .. }))),
        ("within a minute", without(|fact| matches!(fact, Fact::AllOver))),
        (lost, with(20, last_build(2, TAG, "finished"))),
        (lost, with(3, refused())),
        (lost, with(20, last_build(2, "user1-0", "running"))),
        (stays, with(after_make, seen("make", "running", 3))),
        (
            stays,
            changed(|fact| of_job(fact, |job| "killed".clone_into(&mut job.state))),
        ),
        (stays, cancelled_in_time()),
    ]
}

fn bad_effects() -> Vec<Bad> {
    let (effect, alone) = ("takes effect", "never runs twice at once");
    let before_read = place(&says("read", 1, "east", Said::Begins));
    vec![
        (effect, with(before_read, says("make", 2, "east", Said::Begins))),
        (effect, without(|fact| *fact == says("read", 1, "east", ends("d3")))),
        (effect, changed(ran_elsewhere)),
        (alone, with(before_read, says("make", 1, "east", Said::Lives))),
        ("selector allows", changed(ran_elsewhere)),
    ]
}

fn bad_outputs() -> Vec<Bad> {
    let (left, inputs) = ("as they were left", "with all its inputs");
    let refused = |job: &mut FinalJob| job.output = Some(Output::Refused { why: "gone".to_owned() });
    let reads = |fact: &Fact| {
        matches!(
            fact,
            Fact::Witness {
                says: Said::Reads { .. },
                ..
            }
        )
    };
    vec![
        (left, changed(|fact| read_instead(fact, "d9", 2))),
        (left, changed(|fact| read_instead(fact, "d2", 1))),
        (left, changed(|fact| downloaded_instead(fact, "d9", 2))),
        (left, changed(|fact| downloaded_instead(fact, "d2", 1))),
        (left, changed(|fact| of_job(fact, refused))),
        (left, changed(|fact| of_job(fact, |job| job.output = None))),
        (left, lost("cluster `east`, which had it, does not have it any more")),
        // Nothing had befallen it.
        (left, lost("cluster `north`, which had it, was not heard of for 14s")),
        (inputs, changed(not_found)),
        (inputs, without(reads)),
    ]
}

fn bad_logs() -> Vec<Bad> {
    let promise = "No line of a log";
    let log = |change: fn(&mut Log)| (promise, changed(|fact| of_log(fact, change)));
    vec![
        log(|log| log.written.truncate(1)),
        log(|log| log.numbers = vec![0, 2, 3]),
        log(|log| log.written = vec![(1, 2), (1, 2)]),
        log(|log| log.written[0].1 = 1),
        log(|log| log.is_whole = false),
        log(|log| log.missing = 1),
        (promise, without(|fact| matches!(fact, Fact::Log(_)))),
    ]
}

fn bad_leftovers() -> Vec<Bad> {
    let memory = Fact::Memory {
        part: "east".to_owned(),
        bytes: 3,
        bound: 2,
    };
    let left = Fact::Left {
        what: "a sandbox".to_owned(),
    };
    let cried = Fact::Cried {
        part: "east".to_owned(),
        line: "panicked at".to_owned(),
    };
    vec![
        ("Memory", with(20, memory)),
        (
            "Memory",
            without(|fact| matches!(fact, Fact::Memory { part, .. } if part == "east")),
        ),
        (
            "Memory",
            without(|fact| matches!(fact, Fact::Memory { part, .. } if part == "master-1")),
        ),
        ("gone at the end", with(20, left)),
        ("gone at the end", changed(not_looked)),
        (
            "gone at the end",
            without(|fact| matches!(fact, Fact::Looked { place, .. } if place == "east")),
        ),
        (
            "gone at the end",
            without(|fact| matches!(fact, Fact::Looked { place, .. } if place == "processes")),
        ),
        ("No part panics", with(20, cried)),
        ("says something", without(|fact| matches!(fact, Fact::Mended { .. }))),
        ("says something", without(|fact| matches!(fact, Fact::Broken(_)))),
    ]
}

#[test]
fn each_bad_history_violates_what_it_should() {
    let all = [
        bad_ends(),
        asked::bad(),
        bad_effects(),
        bad_outputs(),
        bad_logs(),
        bad_leftovers(),
    ];
    for (number, (promise, facts)) in all.into_iter().flatten().enumerate() {
        let violated = violated(facts);
        assert!(
            violated.iter().any(|said| said.contains(promise)),
            "history {number} is to violate `{promise}`, and violates {violated:?}"
        );
    }
}

/// It ends later than a tenth of a second after that, and is said to have finished.
fn cancelled_in_time() -> Vec<Fact> {
    let mut facts = good();
    let cancelled = [Fact::CancelAsked { build: BUILD }, Fact::Cancelled { build: BUILD }];
    let idle = (0..30).map(|_| says("make", 2, "east", Said::Lives));
    let place = place(&says("make", 2, "east", ends("d2")));
    facts.splice(place..place, cancelled.into_iter().chain(idle));
    facts
}

fn not_looked(fact: &mut Fact) -> bool {
    let Fact::Looked { why_not, .. } = fact else {
        return false;
    };
    *why_not = Some("no permission".to_owned());
    true
}

fn read_instead(fact: &mut Fact, digest: &str, epoch: u32) -> bool {
    let Fact::Witness { says, .. } = fact else { return false };
    let is_it = matches!(says, Said::Reads { .. });
    if is_it {
        *says = reads("make", digest, epoch);
    }
    is_it
}

fn not_found(fact: &mut Fact) -> bool {
    let Fact::Witness {
        says: Said::Reads { made_by, .. },
        ..
    } = fact
    else {
        return false;
    };
    *made_by = None;
    true
}

fn downloaded_instead(fact: &mut Fact, digest: &str, epoch: u32) -> bool {
    let output = Output::Downloaded {
        digest: digest.to_owned(),
        made_by: Some(maker("make", epoch)),
    };
    of_job(fact, |job| job.output = Some(output.clone()))
}

fn ran_elsewhere(fact: &mut Fact) -> bool {
    let Fact::Witness { cluster, .. } = fact else {
        return false;
    };
    *cluster = "west".to_owned();
    true
}

#[test]
fn a_takeover_is_measured_from_what_befell_the_leader() {
    let history = history(good());
    let run = Run::of(&history);
    assert_eq!(run.takeovers, [(Kind::LeaderKilled, 30)]);
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let history = history(good());
    for entry in &history {
        let line = serde_json::to_string(entry).unwrap();
        assert_eq!(serde_json::from_str::<Entry>(&line).unwrap(), *entry, "{line}");
    }
}

#[test]
fn words_of_commands_are_read_and_others_are_not() {
    let read = |line| witness(line, 10.0).map(|entry| (entry.at, entry.fact));
    assert_eq!(
        read("10.50 user0-0 make 2 east begins"),
        Some((500, says("make", 2, "east", Said::Begins)))
    );
    assert_eq!(
        read("10.50 user0-0 make 2 east ends d2 0"),
        Some((500, says("make", 2, "east", ends("d2"))))
    );
    let words = "11.00 user0-0 read 1 east reads make d2 user0-0 make 2";
    assert_eq!(
        read(words),
        Some((1000, says("read", 1, "east", reads("make", "d2", 2))))
    );
    let Some((
        _,
        Fact::Witness {
            says: Said::Reads { made_by, .. },
            ..
        },
    )) = read("11.00 user0-0 read 1 east reads make missing")
    else {
        unreachable!("it is read")
    };
    assert_eq!(made_by, None);
    for bad in [
        "",
        "10.5 user0-0 make",
        "x user0-0 make 2 east begins",
        "10.5 user0-0 make 2 east dances",
    ] {
        assert_eq!(read(bad), None, "{bad}");
    }
}

fn heading() -> Heading {
    Heading {
        replay: "cargo xtask chaos --seed 7".to_owned(),
        history: "history.jsonl".to_owned(),
        minutes: 1.0,
    }
}

#[test]
fn the_page_says_the_verdict_and_needs_nothing_else() {
    let mut facts = with(
        20,
        Fact::Left {
            what: "<script>".to_owned(),
        },
    );
    if let Some(Fact::Began { planted, .. }) = facts.first_mut() {
        *planted = Some("<b>".to_owned());
    }
    let history = history(facts);
    let verdicts: Vec<Verdict> = judge(&history, 1);
    assert!(!all_hold(&verdicts));
    let page = page(&heading(), &Run::of(&history), &verdicts);
    for wanted in [
        "Violated",
        "&lt;script&gt; is left",
        "cargo xtask chaos --seed 7",
        "leader killed",
        "&lt;b&gt;",
        "<svg",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
    for unwanted in ["<script", "http://", "https://", "url("] {
        assert!(!page.contains(unwanted), "{unwanted}");
    }
}
