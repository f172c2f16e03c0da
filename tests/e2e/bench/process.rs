//! The agent's process, which runs on this machine.

use std::fs;

use crate::cluster::{Cluster, NAMESPACE};

/// A process of this machine.
pub(crate) struct Process(u32);

impl Process {
    /// The agent of a cluster: the one whose control group is its container's.
    pub(crate) fn of_agent(cluster: &Cluster) -> Self {
        let label = "app.kubernetes.io/name=tombolo-agent";
        let pods = cluster.kubectl(&["get", "pods", "--namespace", NAMESPACE, "-l", label, "-o", "json"]);
        let pods = pods.succeeded().json();
        let id = pods["items"][0]["status"]["containerStatuses"][0]["containerID"]
            .as_str()
            .expect("it runs")
            .to_owned();
        let id = id.rsplit('/').next().expect("an id");
        let is_container = |process: &u32| {
            let groups = fs::read_to_string(format!("/proc/{process}/cgroup"));
            groups.is_ok_and(|groups| groups.contains(id))
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let mut processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Self(processes.find(is_container).expect("the cluster is of this machine"))
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{name}", self.0)).expect("it lives")
    }

    /// What it holds of memory now.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = self.read("status");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .expect("Linux says so");
        line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
    }

    /// The time of processors that it has used.
    pub(crate) fn processor_seconds(&self) -> f64 {
        let stat = self.read("stat");
        let after = stat.rsplit(") ").next().expect("Linux says so");
        let fields: Vec<&str> = after.split(' ').collect();
        let ticks: f64 = fields[11..=12]
            .iter()
            .map(|ticks| ticks.parse::<f64>().expect("a number"))
            .sum();
        // A hundred a second, whatever the kernel's own clock is.
        ticks / 100.0
    }
}
