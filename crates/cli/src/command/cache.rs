//! What jobs keep between builds.

use clap::Subcommand;
use tombolo_api::{Cache as Described, CacheList, path};
use tombolo_core::name::JobName;

use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render::{self, Format, Rows, Wide};

/// How many caches are named to somebody who has named none that there is.
const NAMES: usize = 8;

#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    /// Lists the caches of the project.
    List,
    /// Clears the caches of the project: the jobs begin with empty ones.
    Clear {
        /// Only those of this job.
        job: Option<JobName>,
        /// Only those of this branch; empty for those of builds that name none.
        #[arg(long)]
        branch: Option<String>,
    },
}

impl Rows for CacheList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["job", "branch", "cluster", "size", "used", "build"];
        if wide == Wide::Yes {
            header.extend(["files", "age", "digest"]);
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |cache: &Described| {
            let mut row = vec![
                cache.job.to_string(),
                cache.branch.clone(),
                cache.cluster.to_string(),
                render::bytes(cache.bytes),
                render::age(cache.used_at),
                cache.build.to_string(),
            ];
            if wide == Wide::Yes {
                row.extend([
                    cache.files.to_string(),
                    render::age(cache.saved_at),
                    cache.digest.short(),
                ]);
            }
            row
        };
        self.caches.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        let name = |cache: &Described| format!("{}:{}:{}", cache.job, cache.branch, cache.cluster);
        self.caches.iter().map(name).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no caches: jobs with `cache: true` leave some when they finish."
    }
}

/// A name that no cache has is a slip rather than a wish that is met.
fn nothing_cleared(there: &CacheList) -> Failure {
    let failure = Failure::new(
        ExitCode::Failed,
        "no cache is of this job and branch, so that none was cleared",
    );
    if there.caches.is_empty() {
        return failure.hint("the project has no caches");
    }
    let mut names: Vec<String> = there.caches.iter().map(name).collect();
    names.dedup();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    failure.hint(format!("there are those of {}{more}", names.join(", ")))
}

/// What a cache is of, as the arguments name it.
fn name(cache: &Described) -> String {
    if cache.branch.is_empty() {
        return format!("`{}` without a branch", cache.job);
    }
    format!("`{} --branch {}`", cache.job, render::printable(&cache.branch))
}

/// Lists and clears caches.
pub(crate) async fn cache(command: &Cache, session: &Session) -> Result<(), Failure> {
    let all = path::caches(&session.project);
    match command {
        Cache::List => {
            let list: CacheList = session.client.get(&all).await?;
            render::print(session.format, &list)
        }
        Cache::Clear { job, branch } => {
            let job = job.as_ref().map(|job| format!("job={}", path::encode(job.as_str())));
            let branch = branch.as_ref().map(|branch| format!("branch={}", path::encode(branch)));
            let query: Vec<String> = job.into_iter().chain(branch).collect();
            let cleared: CacheList = session.client.delete(&format!("{all}?{}", query.join("&"))).await?;
            if cleared.caches.is_empty() && !query.is_empty() {
                let there: CacheList = session.client.get(&all).await?;
                return Err(nothing_cleared(&there));
            }
            match session.format {
                Format::Table | Format::Wide => {
                    let count = u64::try_from(cleared.caches.len()).unwrap_or(u64::MAX);
                    let bytes = cleared
                        .caches
                        .iter()
                        .fold(0_u64, |sum, cache| sum.saturating_add(cache.bytes));
                    let (count, bytes) = (render::count(count, "cache"), render::bytes(bytes));
                    render::line(&format!("{count} cleared ({bytes})."))
                }
                format => render::print(format, &cleared),
            }
        }
    }
}
