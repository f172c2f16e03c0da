//! Projects.

mod share;

use clap::{ArgGroup, Args, Subcommand};
use reqwest::Method;
use tombolo_api::{ChangeProject, ClusterList, CreateProject, Project as Described, ProjectList, Retention, path};
use tombolo_core::name::ProjectName;

use crate::failure::Failure;
use crate::render::{self, Changed, Format, Rows, Wide};
use crate::{Session, number};

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Makes a project.
    Create {
        /// Its name.
        name: ProjectName,
    },
    /// Lists the projects that you may see.
    List,
    /// Shows a project, and what is kept of its outputs.
    Show {
        /// Its name.
        name: ProjectName,
    },
    /// Says what is kept of a project's outputs, and what it may have of the clusters. What is not named stays as it is.
    #[command(group = ArgGroup::new("change").required(true).multiple(true))]
    Set {
        /// Its name.
        name: ProjectName,
        #[command(flatten)]
        keep: Keep,
        #[command(flatten)]
        share: share::Share,
    },
    /// Deletes a project with all its builds, logs and tokens. Refused while one of its builds runs.
    Delete {
        /// Its name.
        name: ProjectName,
        /// Says that all of it may go.
        #[arg(long)]
        yes: bool,
    },
}

/// Limits of what is kept.
#[derive(Debug, Args)]
#[group(multiple = true)]
pub(crate) struct Keep {
    /// Keeps the outputs of so many builds, the newest; `all` for no such limit.
    #[arg(long, group = "change", value_name = "N", allow_negative_numbers = true, value_parser = |text: &str| limit(text, number::kept))]
    keep_builds: Option<Limit<u32>>,
    /// Keeps outputs for so many days after the end of their build; `all` for no such limit.
    #[arg(long, group = "change", value_name = "D", allow_negative_numbers = true, value_parser = |text: &str| limit(text, number::kept))]
    keep_days: Option<Limit<u32>>,
    /// Keeps so many bytes of outputs, such as `500GB`; `all` for no such limit.
    #[arg(long, group = "change", value_name = "SIZE", allow_negative_numbers = true, value_parser = |text: &str| limit(text, number::size))]
    keep_bytes: Option<Limit<u64>>,
    /// Keeps what the installation keeps by default.
    #[arg(long, group = "change", conflicts_with_all = ["keep_builds", "keep_days", "keep_bytes"])]
    keep_default: bool,
}

/// A limit, or the word that there is none.
#[derive(Debug, Clone, Copy)]
struct Limit<T>(Option<T>);

fn limit<T>(text: &str, read: fn(&str) -> Result<T, String>) -> Result<Limit<T>, String> {
    if text == "all" {
        return Ok(Limit(None));
    }
    let limit = read(text).map_err(|error| format!("{error}; `all` lifts the limit"))?;
    Ok(Limit(Some(limit)))
}

impl Keep {
    fn is_given(&self) -> bool {
        self.keep_default || self.keep_builds.is_some() || self.keep_days.is_some() || self.keep_bytes.is_some()
    }

    fn over(&self, now: Option<Retention>) -> Option<Retention> {
        if self.keep_default {
            return None;
        }
        let now = now.unwrap_or_default();
        Some(Retention {
            builds: self.keep_builds.map_or(now.builds, |limit| limit.0),
            days: self.keep_days.map_or(now.days, |limit| limit.0),
            bytes: self.keep_bytes.map_or(now.bytes, |limit| limit.0),
        })
    }
}

/// What is kept, for people.
pub(crate) fn describe(retention: Option<Retention>) -> String {
    let Some(Retention { builds, days, bytes }) = retention else {
        return "as the installation says".to_owned();
    };
    let limits = [
        builds.map(|builds| render::count(builds.into(), "build")),
        days.map(|days| render::count(days.into(), "day")),
        bytes.map(render::bytes),
    ];
    let limits: Vec<String> = limits.into_iter().flatten().collect();
    if limits.is_empty() {
        "for ever".to_owned()
    } else {
        limits.join(", ")
    }
}

impl Rows for ProjectList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["name", "builds", "age"];
        if wide == Wide::Yes {
            header.push("id");
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |project: &Described| {
            let mut row = vec![
                project.name.to_string(),
                project.last_build.to_string(),
                render::age(project.created_at),
            ];
            if wide == Wide::Yes {
                row.push(project.id.to_string());
            }
            row
        };
        self.projects.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.projects.iter().map(|project| project.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no projects that you may see."
    }
}

fn show(format: Format, project: &Described) -> Result<(), Failure> {
    match format {
        Format::Table | Format::Wide => {
            let workspace = project.workspace.as_ref().map_or("none", |cluster| cluster.as_str());
            render::line(&format!(
                "Project `{}` ({}), {}.",
                project.name,
                project.id,
                render::count(project.last_build, "build")
            ))?;
            render::line(&format!("Outputs are kept: {}", describe(project.retention)))?;
            render::line(&format!("Workspace: {workspace}"))?;
            render::line(&format!("Weight beside other projects: {}", project.share.weight))?;
            render::line(&format!(
                "All its jobs at once: {}",
                share::describe(&project.share.limits)
            ))?;
            render::line(&format!(
                "Those of each build: {}",
                share::describe(&project.share.build_limits)
            ))?;
            let clusters = match project.share.clusters.as_slice() {
                [] => "any".to_owned(),
                requirements => requirements.join(", "),
            };
            render::line(&format!("Clusters that may run its jobs: {clusters}"))
        }
        Format::Name => render::line(project.name.as_str()),
        Format::Json | Format::Yaml => render::print_value(format, project),
    }
}

/// Says so if no cluster meets what the project requires now: that may be meant, since one may join.
async fn warn_if_nowhere(project: &Described, session: &Session) {
    // Who may not see the clusters is told nothing of them.
    let Ok(list) = session.client.get::<ClusterList>(&path::clusters()).await else {
        return;
    };
    let labels = list
        .clusters
        .into_iter()
        .map(|cluster| cluster.labels)
        .collect::<Vec<_>>();
    if let Some(warning) = share::warning(&project.share.clusters, &labels) {
        anstream::eprintln!("{warning}");
    }
}

/// Makes, lists, changes and deletes projects.
pub(crate) async fn project(command: &Project, session: &Session) -> Result<(), Failure> {
    match command {
        Project::Create { name } => {
            let request = CreateProject { name: name.clone() };
            let project: Described = session.client.post(&path::projects(), &request).await?;
            match session.format {
                Format::Table | Format::Wide => render::line(&format!("Project `{}` was made.", project.name)),
                Format::Name => render::line(project.name.as_str()),
                Format::Json | Format::Yaml => render::print_value(session.format, &project),
            }
        }
        Project::List => {
            let list: ProjectList = session.client.get(&path::projects()).await?;
            render::print(session.format, &list)
        }
        Project::Show { name } => {
            let project: Described = session.client.get(&path::project(name)).await?;
            show(session.format, &project)
        }
        Project::Set { name, keep, share } => {
            share.check()?;
            let mut project: Described = session.client.get(&path::project(name)).await?;
            if let Some(share) = share.over(&project.share) {
                project = session.client.put(&path::project_share(name), &share).await?;
            }
            if keep.is_given() {
                let retention = keep.over(project.retention);
                let change = ChangeProject { retention };
                project = session.client.patch(&path::project(name), &change).await?;
            }
            show(session.format, &project)?;
            if share.confines() {
                warn_if_nowhere(&project, session).await;
            }
            Ok(())
        }
        Project::Delete { name, yes: false } => Err(Failure::usage(format!(
            "this would delete `{name}` with all its builds, logs and tokens"
        ))
        .hint("if that is meant, say `--yes`")),
        Project::Delete { name, yes: true } => {
            session.client.act(Method::DELETE, &path::project(name)).await?;
            let (kind, name, change) = ("project", name.as_str(), "deleted");
            render::changed(session.format, &Changed { kind, name, change })
        }
    }
}
