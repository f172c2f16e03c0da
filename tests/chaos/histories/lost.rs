//! Histories in which an output is said to be lost.

use super::good::event;
use super::{changed, of_job, violated};
use crate::judge::history::Fact;
use crate::judge::plan::Kind;

/// Something had befallen `east`, and no master.
pub(super) fn lost(reason: &str) -> Vec<Fact> {
    let mut facts = changed(|fact| {
        of_job(fact, |job| {
            job.output = None;
            job.output_lost = Some(reason.to_owned());
        })
    });
    let mut trouble = event(Kind::AgentPaused);
    (trouble.number, trouble.target) = (2, "east".to_owned());
    facts.splice(4..4, [Fact::Broken(trouble), Fact::Mended { number: 2 }]);
    // What befalls masters silences all clusters.
    facts.retain(|fact| !matches!(fact, Fact::Broken(event) if event.number == 1));
    facts
}

#[test]
fn an_output_may_be_given_up_while_its_cluster_is_silent() {
    let facts =
        lost("cluster `east`, which had it, was not heard of for 14s; an attempt to make it again ended as `error`");
    assert_eq!(violated(facts), Vec::<String>::new());
}
