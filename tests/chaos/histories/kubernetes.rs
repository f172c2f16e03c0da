//! Histories of Kubernetes clusters.

use super::asked::ends_as;
use super::good::{event, good};
use super::{heading, history, violated};
use crate::judge::check::{Run, judge};
use crate::judge::history::Fact;
use crate::judge::page::page;
use crate::judge::plan::Kind;

const REMOVED: &str = "the job's pod was removed from the node `east` by somebody else: by hand, or because the node was drained; run \
                       the job again";

/// `read`, which ran on `east`, is an error after this had befallen a cluster.
fn after(kind: Kind, cluster: &str, message: &str) -> Vec<Fact> {
    let mut facts = ends_as(good(), "read", "error", message);
    let mut trouble = event(kind);
    (trouble.number, trouble.target) = (2, cluster.to_owned());
    facts.splice(4..4, [Fact::Broken(trouble), Fact::Mended { number: 2 }]);
    facts
}

#[test]
fn a_job_whose_pod_was_deleted_may_be_an_error_where_it_ran() {
    let died = "the supervisor of the command died (killed by signal 9); run the job again";
    let asked = "the pod was asked to end from outside: it was deleted by hand, or its node is drained";
    for (kind, cluster, message, holds) in [
        (Kind::JobPodDeleted, "east", REMOVED, true),
        (Kind::JobPodDeleted, "west", REMOVED, false),
        (Kind::JobPodDeleted, "east", asked, true),
        (Kind::RuntimePaused, "east", asked, false),
        (Kind::AgentPodDeleted, "east", REMOVED, false),
        (Kind::KubeletPaused, "east", REMOVED, false),
        (Kind::SupervisorKilled, "east", died, true),
        (Kind::SupervisorKilled, "west", died, false),
        (Kind::JobPodDeleted, "east", died, false),
    ] {
        let violated = violated(after(kind, cluster, message));
        assert_eq!(
            violated.is_empty(),
            holds,
            "{kind:?} in {cluster}, {message}: {violated:?}"
        );
    }
}

#[test]
fn the_page_names_the_clusters_and_says_which_are_kubernetes() {
    let mut facts = after(Kind::ApiServerPaused, "east", REMOVED);
    let said = |facts: Vec<Fact>| {
        let history = history(facts);
        page(&heading(), &Run::of(&history), &judge(&history, 1))
    };
    assert!(said(facts.clone()).contains("jobs are processes"));
    if let Some(Fact::Began { kubernetes, .. }) = facts.first_mut() {
        kubernetes.insert("east".to_owned());
    }
    let page = said(facts);
    for wanted in [
        "a Kubernetes cluster: jobs are pods",
        "Kubernetes east",
        "zone=east",
        "API server stopped",
    ] {
        assert!(page.contains(wanted), "{wanted}: {page}");
    }
}
