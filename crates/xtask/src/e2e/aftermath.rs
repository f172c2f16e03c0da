//! What is seen on the clusters after a test has failed, before they are cleaned: the reason is often not in the test's own words.

use std::path::Path;

use xshell::{Shell, cmd};

use super::{Clusters, NAMESPACES};

/// Lines of each log.
const LINES: &str = "--tail=60";

/// Prints it. What cannot be had is left out.
pub(super) fn show(shell: &Shell, kubectl: &Path, clusters: &Clusters) {
    for (name, kubeconfig) in [("east", &clusters.east), ("west", &clusters.west)] {
        let ask = |arguments: &[&str]| {
            let asked = cmd!(
                shell,
                "{kubectl} --kubeconfig {kubeconfig} --request-timeout 20s {arguments...}"
            );
            let answer = asked.quiet().ignore_status().ignore_stderr().read().unwrap_or_default();
            if !answer.is_empty() {
                println!("{name}$ kubectl {}\n{answer}\n", arguments.join(" "));
            }
        };
        ask(&["get", "nodes", "-o", "wide"]);
        ask(&["get", "pods", "--all-namespaces", "-o", "wide"]);
        let namespace = NAMESPACES[0];
        ask(&["get", "events", "--namespace", namespace, "--sort-by=.lastTimestamp"]);
        for workload in ["statefulset/tombolo", "deployment/tombolo-agent"] {
            for which in ["--previous=true", "--previous=false"] {
                ask(&["logs", "--namespace", namespace, workload, LINES, which]);
            }
        }
    }
}
