//! By which promises planted mistakes are found.

use tombolo_core::planted::Bug;

use super::{changed, good, history, not_found};
use crate::judge::check::{Promise, Verdict, judge};
use crate::judge::history::Fact;
use crate::judge::planted::{NEVER_COUNTED, Trace, found, trace};

#[test]
fn each_mistake_breaks_a_promise_that_is_its_own_or_says_why_none() {
    for bug in Bug::ALL {
        match trace(bug) {
            Trace::Breaks(promises) => {
                assert!(!promises.is_empty(), "{bug:?} is to break something");
                let counted = promises.iter().all(|promise| !NEVER_COUNTED.contains(promise));
                assert!(counted, "{bug:?} is found by {promises:?}");
            }
            Trace::Nothing(why) => assert!(!why.is_empty(), "{bug:?} is not for chaos, and nobody knows why"),
        }
    }
    let seen = [
        (Bug::InputLeftOut, Promise::InputsThere),
        (Bug::SelectorForgotten, Promise::SelectorsHold),
        (Bug::LastLogLineLost, Promise::LogsWhole),
    ];
    for (bug, promise) in seen {
        let Trace::Breaks(promises) = trace(bug) else {
            unreachable!("{bug:?} was seen")
        };
        assert_eq!(promises, [promise], "{bug:?} was seen to break that");
    }
}

fn verdicts(facts: Vec<Fact>) -> Vec<Verdict> {
    judge(&history(facts), 1)
}

#[test]
fn a_mistake_is_found_by_the_promise_that_it_breaks_alone() {
    let without_input = verdicts(changed(not_found));
    assert_eq!(found(Bug::InputLeftOut, &without_input), [Promise::InputsThere]);
    assert_eq!(found(Bug::SelectorForgotten, &without_input), []);
    assert_eq!(found(Bug::LiveChunkSwept, &without_input), []);
    assert_eq!(found(Bug::InputLeftOut, &verdicts(good())), []);
}

#[test]
fn what_is_violated_besides_finds_no_mistake() {
    let mut facts = good();
    facts.retain(|fact| !matches!(fact, Fact::AllOver | Fact::Mended { .. } | Fact::Broken(_)));
    facts.push(Fact::Cried {
        part: "east".to_owned(),
        line: "panicked at".to_owned(),
    });
    facts.push(Fact::Memory {
        part: "east".to_owned(),
        bytes: 3,
        bound: 2,
    });
    let verdicts = verdicts(facts);
    let broken: Vec<Promise> = verdicts
        .iter()
        .filter(|verdict| !verdict.holds())
        .map(|verdict| verdict.promise)
        .collect();
    for promise in NEVER_COUNTED {
        assert!(broken.contains(&promise), "{promise:?} is broken: {broken:?}");
    }
    for bug in Bug::ALL {
        assert_eq!(found(bug, &verdicts), [], "{bug:?}");
    }
}
