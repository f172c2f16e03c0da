//! What retention would remove.

use bytesize::ByteSize;
use clap::Subcommand;
use tombolo_api::{RetentionPlan, path};
use tombolo_core::name::ProjectName;

use super::project::describe;
use crate::Session;
use crate::failure::Failure;
use crate::render::{self, Format};

#[derive(Debug, Subcommand)]
pub(crate) enum Retention {
    /// Says which builds' outputs would go now, and how many bytes they have. Nothing is changed.
    Plan {
        /// The project; the context's if none is named.
        project: Option<ProjectName>,
    },
}

/// Says what would go.
pub(crate) async fn retention(command: &Retention, session: &Session) -> Result<(), Failure> {
    let Retention::Plan { project } = command;
    let project = project.as_ref().unwrap_or(&session.project);
    let plan: RetentionPlan = session.client.get(&path::retention_plan(project)).await?;
    match session.format {
        Format::Json | Format::Yaml => return render::print_value(session.format, &plan),
        Format::Name => {}
        Format::Table | Format::Wide => {
            render::line(&format!(
                "Outputs of `{project}` are kept: {}",
                describe(Some(plan.retention))
            ))?;
        }
    }
    for build in &plan.builds {
        match session.format {
            Format::Name => render::line(&build.number.to_string())?,
            _ => render::line(&format!("build {}: {} would go", build.number, ByteSize(build.bytes)))?,
        }
    }
    if plan.builds.is_empty() && session.format != Format::Name {
        render::line("Nothing would go.")?;
    }
    Ok(())
}
