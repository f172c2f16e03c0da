//! Caches: what a job has left in its cache folder, for the next run of the same job.
//!
//! A cache is an artifact that there is a record of: project, job, branch and cluster. The record is replaced whole, and what it
//! does not name any more nobody needs to keep. All that is decided about caches is decided here, without state.

use std::collections::HashSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::attempt::OutputReference;
use crate::id::ProjectId;
use crate::name::{ClusterName, JobName};
use crate::time::Timestamp;

/// What a cache is for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct CacheKey {
    /// The project.
    pub project: ProjectId,
    /// The job.
    pub job: JobName,
    /// The branch; empty for builds that name none.
    pub branch: String,
    /// The cluster that has it.
    pub cluster: ClusterName,
}

/// The record of a cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cache {
    /// What it is for, and where it is.
    pub key: CacheKey,
    /// What is in it.
    pub content: OutputReference,
    /// The number of the build that has left it.
    pub build: u64,
    /// When it was left.
    pub saved_at: Timestamp,
    /// When it was left, or last given to a job.
    pub used_at: Timestamp,
}

/// From which clusters a job may get a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Only from its own.
    Local,
    /// From its own, else from the one that has the newest.
    #[default]
    Federated,
}

/// How much is kept, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The bytes of the files of one cache. Larger ones are not kept.
    pub cache_bytes: u64,
    /// How long one is kept that nobody uses.
    pub unused: Duration,
    /// The bytes of all caches of a project.
    pub project_bytes: u64,
    /// How many caches a project has.
    pub project_caches: usize,
}

/// How caches are treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// From which clusters a job may get one.
    pub policy: Policy,
    /// The branches whose caches serve others that have none yet, the best first.
    pub default_branches: Vec<String>,
    /// How much is kept.
    pub limits: Limits,
}

impl Default for Settings {
    fn default() -> Self {
        const GIBIBYTE: u64 = 1 << 30;
        Self {
            policy: Policy::default(),
            default_branches: vec!["main".to_owned(), "master".to_owned()],
            limits: Limits {
                cache_bytes: 5 * GIBIBYTE,
                unused: Duration::from_secs(30 * 24 * 60 * 60),
                project_bytes: 50 * GIBIBYTE,
                project_caches: 1000,
            },
        }
    }
}

/// The cache that a job on a cluster starts from, out of those of its project and name: that of its own branch, else that of a
/// default branch; of these the cluster's own, else the newest of another that `is_reachable`.
pub fn choose<'a>(
    settings: &Settings,
    caches: &'a [Cache],
    branch: &str,
    cluster: &ClusterName,
    is_reachable: impl Fn(&ClusterName) -> bool,
) -> Option<&'a Cache> {
    let defaults = settings.default_branches.iter().map(String::as_str);
    std::iter::once(branch).chain(defaults).find_map(|branch| {
        let of_branch = || caches.iter().filter(move |cache| cache.key.branch == branch);
        let own = of_branch().find(|cache| cache.key.cluster == *cluster);
        let others =
            of_branch().filter(|cache| settings.policy == Policy::Federated && is_reachable(&cache.key.cluster));
        own.or_else(|| others.max_by_key(|cache| (cache.saved_at, &cache.key.cluster)))
    })
}

/// Those of a project's caches that go: those that nobody has used for too long, and of the others those that have waited longest
/// for somebody to use them, until the rest is within the limits. What is the same in a cluster counts once.
pub fn excess<'a>(limits: &Limits, caches: impl IntoIterator<Item = &'a Cache>, now: Timestamp) -> Vec<CacheKey> {
    let unused = u64::try_from(limits.unused.as_millis()).unwrap_or(u64::MAX);
    let mut caches: Vec<&Cache> = caches.into_iter().collect();
    caches.sort_by_key(|cache| (std::cmp::Reverse(cache.used_at), &cache.key));
    let mut counted = HashSet::new();
    let (mut bytes, mut count) = (0_u64, 0_usize);
    let mut is_full = false;
    let goes = caches.into_iter().filter(|cache| {
        count += 1;
        if counted.insert((&cache.key.cluster, cache.content.manifest)) {
            bytes = bytes.saturating_add(cache.content.bytes);
        }
        is_full = is_full || bytes > limits.project_bytes || count > limits.project_caches;
        is_full || now.0.saturating_sub(cache.used_at.0) > unused
    });
    goes.map(|cache| cache.key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    fn cache(branch: &str, cluster: &str, manifest: u8, bytes: u64, used_at: u64) -> Cache {
        Cache {
            key: CacheKey {
                project: ProjectId::from_u128(1),
                job: JobName::new("build").unwrap(),
                branch: branch.to_owned(),
                cluster: ClusterName::new(cluster).unwrap(),
            },
            content: OutputReference {
                manifest: Digest::new([manifest; 32]),
                bytes,
                files: 1,
            },
            build: 1,
            saved_at: Timestamp(used_at),
            used_at: Timestamp(used_at),
        }
    }

    #[test]
    fn a_job_gets_the_nearest_cache() {
        let caches = [
            cache("main", "east", 1, 1, 1),
            cache("main", "west", 2, 1, 9),
            cache("master", "west", 3, 1, 5),
            cache("topic", "west", 4, 1, 2),
            cache("topic", "north", 5, 1, 3),
            cache("", "north", 6, 1, 3),
            cache("old", "south", 7, 1, 3),
        ];
        use Policy::{Federated, Local};
        for (policy, branch, cluster, wanted) in [
            (Federated, "main", "east", Some(1)),
            (Federated, "main", "north", Some(2)),
            (Federated, "topic", "west", Some(4)),
            (Federated, "topic", "east", Some(5)),
            (Federated, "unknown", "east", Some(1)),
            (Federated, "", "east", Some(6)),
            // What cannot be reached is not offered, and the next best is.
            (Federated, "old", "east", Some(1)),
            (Federated, "old", "north", Some(2)),
            (Local, "topic", "east", Some(1)),
            (Local, "topic", "west", Some(4)),
            (Local, "unknown", "north", None),
            (Local, "unknown", "west", Some(2)),
        ] {
            let settings = Settings {
                policy,
                ..Settings::default()
            };
            let cluster = ClusterName::new(cluster).unwrap();
            let chosen = choose(&settings, &caches, branch, &cluster, |name| name.as_str() != "south");
            let chosen = chosen.map(|cache| cache.content.manifest);
            let wanted = wanted.map(|manifest| Digest::new([manifest; 32]));
            assert_eq!(chosen, wanted, "{policy:?} {branch} on {cluster}");
        }
    }

    #[test]
    fn what_is_too_much_or_too_old_goes() {
        let limits = Limits {
            cache_bytes: 100,
            unused: Duration::from_secs(1),
            project_bytes: 100,
            project_caches: 3,
        };
        let goes = |caches: &[Cache], now| -> Vec<String> {
            let excess = excess(&limits, caches, Timestamp(now));
            excess.into_iter().map(|key| key.branch).collect()
        };
        let [a, b, c] = [("a", 1, 10), ("b", 2, 20), ("c", 3, 30)]
            .map(|(branch, manifest, used_at)| cache(branch, "east", manifest, 40, used_at));
        let none: [&str; 0] = [];
        assert_eq!(goes(&[], 0), none);
        assert_eq!(
            goes(&[a.clone(), b.clone()], 1010),
            none,
            "80 bytes, both are young enough"
        );
        assert_eq!(
            goes(&[a.clone(), b.clone()], 1011),
            ["a"],
            "nobody has used it for a second"
        );
        assert_eq!(goes(&[a.clone(), b.clone(), c.clone()], 30), ["a"], "120 bytes");
        let same = [
            a.clone(),
            Cache {
                content: a.content,
                ..b.clone()
            },
            c.clone(),
        ];
        assert_eq!(goes(&same, 30), none, "the same content counts once");
        let elsewhere = [
            a.clone(),
            Cache {
                content: a.content,
                ..cache("b", "west", 1, 40, 20)
            },
            c.clone(),
        ];
        assert_eq!(goes(&elsewhere, 30), ["a"], "but once in each cluster");
        let many = ["d", "e", "f", "g"].map(|branch| cache(branch, "east", 9, 1, 50));
        assert_eq!(goes(&many, 50), ["g"], "more than three");
        let huge = [cache("h", "east", 1, 101, 50), cache("i", "east", 2, 1, 40)];
        assert_eq!(
            goes(&huge, 50),
            ["h", "i"],
            "what is newer than the rest is not kept at its expense"
        );
    }
}
