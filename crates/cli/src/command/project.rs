//! Projects.

use clap::Subcommand;
use reqwest::Method;
use tombolo_api::{CreateProject, Project as Described, ProjectList, path};
use tombolo_core::name::ProjectName;

use crate::Session;
use crate::failure::Failure;
use crate::render::{self, Changed, Format, Rows, Wide};

#[derive(Debug, Subcommand)]
pub(crate) enum Project {
    /// Makes a project.
    Create {
        /// Its name.
        name: ProjectName,
    },
    /// Lists the projects that you may see.
    List,
    /// Deletes a project with all its builds, logs and tokens. Refused while one of its builds runs.
    Delete {
        /// Its name.
        name: ProjectName,
        /// Says that all of it may go.
        #[arg(long)]
        yes: bool,
    },
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

/// Makes, lists and deletes projects.
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
