//! Arrays and their indexes.

use std::sync::Arc;

use axum::Json as Answer;
use axum::extract::State;
use serde::Deserialize;
use tombolo_api::problem::Code;
use tombolo_api::{Array, IndexList, JobState, limit};
use tombolo_core::build;
use tombolo_core::build::array::Counts;
use tombolo_core::control::record::{JobNode, JobStatus};
use tombolo_core::name::JobName;
use tombolo_core::rerun::Indexes;
use tombolo_store::Store;

use super::authorization::{InProject, Viewer};
use super::build::{find_build, read_jobs, waiting_reasons};
use super::error::Problems;
use super::extract::{Path, Query};
use super::job::JobPath;
use super::losses::note_losses;
use super::{Application, Error, view};

/// How many indexes are read from the store at once.
const PAGE: u32 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    first: Option<u32>,
    limit: Option<u32>,
    state: Option<String>,
}

/// The indexes of an array
///
/// Each is a job: what is asked of jobs can be asked of it by its name, `array/index`.
#[utoipa::path(
    get, path = "/api/v1/projects/{project}/builds/{number}/jobs/{job}/indexes", tag = "jobs", security(("token" = [])),
    extensions(("x-tombolo-role" = json!("viewer")), ("x-tombolo-reach" = json!("project"))),
    params(
        ("project" = String, Path, description = "The project's name"),
        ("number" = u64, Path, description = "The build's number"),
        ("job" = String, Path, description = "The array's name, with `/` written as `%2F`"),
        ("first" = Option<u32>, Query, description = "The index to begin with; 0 by default"),
        ("limit" = Option<u32>, Query, description = "How many, 1 to 1,000; 100 by default"),
        ("state" = Option<String>, Query, description = "Only those in this state"),
    ),
    responses((status = 200, body = IndexList), Problems)
)]
pub(super) async fn list_indexes(
    State(state): State<Arc<Application>>,
    access: InProject<Viewer>,
    Path(path): Path<JobPath>,
    Query(page): Query<Page>,
) -> Result<Answer<IndexList>, Error> {
    let limit = page.limit.unwrap_or(limit::INDEXES_PAGE_DEFAULT);
    if limit == 0 || limit > limit::INDEXES_PAGE {
        let detail = format!("query: `limit` is {limit}; 1 to {} are allowed", limit::INDEXES_PAGE);
        return Err(Error::new(Code::InvalidRequest, detail));
    }
    let wanted = page.state.as_deref().map(known_state).transpose()?;
    let build = find_build(&state, &access.project, path.number).await?;
    let jobs = read_jobs(&state, build.id).await?;
    let found = jobs.iter().find(|(node, _)| node.name.as_str() == path.job);
    let number = build.number;
    let Some((node, status)) = found else {
        let Some((index, _)) = find_index(&state, &jobs, &path.job).await? else {
            return Err(path.unknown(&build, &access.project));
        };
        let (name, found) = (&index.name, index.name.array_and_index());
        let (array, place) = found.unwrap_or((&path.job, 0));
        let hint = format!("`tombolo jobs {number} {array} --first {place} -n 1` lists it");
        let detail = format_args!("`{name}` is one index of the array `{array}`");
        return Err(Error::new(Code::NotFound, detail).with_hint(hint));
    };
    let Some(array) = node.array() else {
        let job = &node.name;
        let detail = format_args!("job `{job}` is no array: it has no indexes");
        let hint = format!("`tombolo jobs {number}` lists the jobs of the build, with `{job}`");
        return Err(Error::new(Code::NotFound, detail).with_hint(hint));
    };
    let names: Vec<&JobName> = jobs.iter().map(|(node, _)| &node.name).collect();
    let counts = counts(&state, node, status).await?;
    let (indexes, next_first) = read_page(&state, (node, status), page.first.unwrap_or(0), limit, wanted).await?;
    let now = state.clock.now().wall;
    let mut shown: Vec<_> = indexes
        .iter()
        .filter_map(|status| {
            let (_, index) = status.id.array_and_index()?;
            Some(view::job(&build, &node.of_index(index)?, status, &names, now))
        })
        .collect();
    // Each of them has a name, or its array would have been refused.
    note_losses(&state, &build, &mut shown, indexes.iter()).await?;
    for (id, reason) in waiting_reasons(&state, &shown).await? {
        if let Some(job) = shown.iter_mut().find(|job| job.id == id) {
            job.waiting = reason;
        }
    }
    Ok(Answer(IndexList {
        array: Array::new(array, &counts),
        jobs: shown,
        next_first,
    }))
}

fn known_state(text: &str) -> Result<build::JobState, Error> {
    let known = Counts::STATES.into_iter().find(|state| state.as_str() == text);
    known.ok_or_else(|| {
        let text: String = text.chars().take(100).collect();
        let names: Vec<&str> = JobState::ALL.into_iter().map(JobState::as_str).collect();
        let detail = format!("query: `state` is `{text}`, which is no state of a job");
        Error::new(Code::InvalidRequest, detail).with_hint(format!("there are {}", names.join(", ")))
    })
}

/// Indexes from `first` on, with those that have not begun, and where the next page begins.
async fn read_page(
    state: &Application,
    (node, status): (&JobNode, &JobStatus),
    first: u32,
    limit: u32,
    wanted: Option<build::JobState>,
) -> Result<(Vec<JobStatus>, Option<u32>), Error> {
    let count = node.array().map_or(0, |array| array.count);
    let of_unbegun = |index: u32| status.of_unbegun(node.id.of_index(index));
    let takes_unbegun = wanted.is_none_or(|wanted| of_unbegun(0).state == wanted);
    if !takes_unbegun {
        let found = state
            .store
            .indexes(node.id, first, limit.saturating_add(1), wanted)
            .await?;
        let index = |status: &JobStatus| status.id.array_and_index().map(|(_, index)| index);
        let next = found.get(limit as usize).and_then(index);
        return Ok((found.into_iter().take(limit as usize).collect(), next));
    }
    // Those that have not begun are between the others, and have no records.
    let mut page = Vec::new();
    let mut next = first;
    while next < count && page.len() < limit as usize {
        let begun = state.store.indexes(node.id, next, limit, None).await?;
        let end = match begun.last().and_then(|last| last.id.array_and_index()) {
            Some((_, last)) if begun.len() == limit as usize => last.saturating_add(1),
            _ => count,
        };
        let mut begun = begun.into_iter().peekable();
        while next < end && page.len() < limit as usize {
            let id = node.id.of_index(next);
            let found = begun.next_if(|status| status.id == id);
            let index = found.unwrap_or_else(|| of_unbegun(next));
            page.extend((wanted.is_none_or(|wanted| wanted == index.state)).then_some(index));
            next += 1;
        }
    }
    Ok((page, (next < count).then_some(next)))
}

/// How many indexes of an array are in which state.
async fn counts(state: &Application, node: &JobNode, status: &JobStatus) -> Result<Counts, Error> {
    let mut counts = state.store.index_counts(node.id).await?;
    let count = node.array().map_or(0, |array| array.count);
    counts.add(status.of_unbegun(node.id).state, count.saturating_sub(counts.total()));
    Ok(counts)
}

/// Adds to the jobs of a build that are arrays what their indexes do.
pub(super) async fn count_indexes(
    state: &Application,
    jobs: &[(JobNode, JobStatus)],
    shown: &mut [tombolo_api::Job],
) -> Result<(), Error> {
    for ((node, status), job) in jobs.iter().zip(shown) {
        if let Some(array) = node.array() {
            job.array = Some(Array::new(array, &counts(state, node, status).await?));
        }
    }
    Ok(())
}

/// The index of an array that a name says, with where it stands.
pub(super) async fn find_index(
    state: &Application,
    jobs: &[(JobNode, JobStatus)],
    name: &str,
) -> Result<Option<(JobNode, JobStatus)>, Error> {
    let Some((array, index)) = JobName::new(name).ok().and_then(|name| {
        let (array, index) = name.array_and_index()?;
        Some((array.to_owned(), index))
    }) else {
        return Ok(None);
    };
    let found = jobs
        .iter()
        .find(|(node, _)| node.name.as_str() == array && node.array().is_some());
    let Some((node, _)) = found else { return Ok(None) };
    let record = state.store.job(node.id.of_index(index)).await?;
    Ok(record.map(|record| (record.node, record.status)))
}

/// All indexes of the arrays of a build that have begun.
pub(super) async fn read_indexes(state: &Application, jobs: &[(JobNode, JobStatus)]) -> Result<Indexes, Error> {
    let mut indexes = Indexes::default();
    for (node, _) in jobs.iter().filter(|(node, _)| node.array().is_some()) {
        let (mut all, mut next) = (Vec::new(), Some(0));
        while let Some(first) = next {
            let page = state.store.indexes(node.id, first, PAGE, None).await?;
            let last = page.last().and_then(|last| last.id.array_and_index());
            next = last
                .filter(|_| page.len() == PAGE as usize)
                .map(|(_, last)| last.saturating_add(1));
            all.extend(page);
        }
        indexes.insert(node.id, all);
    }
    Ok(indexes)
}
