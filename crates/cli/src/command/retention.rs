//! What retention would remove.

use clap::Subcommand;
use serde::Serialize;
use tombolo_api::{GoingBuild, RetentionPlan, path};
use tombolo_core::name::ProjectName;

use super::project::describe;
use crate::Session;
use crate::failure::Failure;
use crate::render::{self, Format, Rows, Wide};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Says which builds' outputs would go now, and how many bytes they have. Nothing is changed.
    Plan {
        /// The project; the context's if none is named.
        project: Option<ProjectName>,
    },
}

/// The builds whose outputs would go.
#[derive(Serialize)]
struct Going(Vec<GoingBuild>);

impl Rows for Going {
    fn header(&self, _: Wide) -> Vec<&'static str> {
        vec!["build", "ended", "outputs"]
    }

    fn rows(&self, _: Wide) -> Vec<Vec<String>> {
        let row = |build: &GoingBuild| {
            let ended = build.ended_at.map(|at| format!("{} ago", render::age(at)));
            vec![
                build.number.to_string(),
                ended.unwrap_or_default(),
                render::bytes(build.bytes),
            ]
        };
        self.0.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.0.iter().map(|build| build.number.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "Nothing would go."
    }
}

/// Says what would go.
pub(crate) async fn retention(command: &Retention, session: &Session) -> Result<(), Failure> {
    let Retention::Plan { project } = command;
    let project = project.as_ref().unwrap_or(&session.project);
    let plan: RetentionPlan = session.client.get(&path::retention_plan(project)).await?;
    if matches!(session.format, Format::Json | Format::Yaml) {
        return render::print_value(session.format, &plan);
    }
    let with_outputs = plan.builds.into_iter().filter(|build| build.bytes > 0);
    let going = Going(with_outputs.collect());
    if !session.format.is_for_people() {
        return render::print(session.format, &going);
    }
    let kept = describe(Some(plan.retention));
    render::line(&format!("Outputs of `{project}` are kept: {kept}\n"))?;
    render::print(session.format, &going)?;
    if !going.0.is_empty() {
        let builds = u64::try_from(going.0.len()).unwrap_or(u64::MAX);
        let (builds, bytes) = (render::count(builds, "build"), render::bytes(plan.bytes));
        render::line(&format!("\nThe outputs of {builds} would go: {bytes}."))?;
    }
    Ok(())
}
