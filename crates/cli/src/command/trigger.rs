//! Builds by a schedule, or by whoever calls.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use reqwest::Method;
use tombolo_api::trigger::{CatchUp, Overlap, Schedule};
use tombolo_api::{BuildSummary, CreateTrigger, Revision, RunTrigger, Trigger as Described, TriggerList, path};
use tombolo_core::name::TriggerName;

use super::{run, validate};
use crate::failure::Failure;
use crate::render::{self, Changed, Format, Rows, Wide};
use crate::{Session, source, watch};

#[derive(Debug, Subcommand)]
pub(crate) enum Trigger {
    /// Makes a trigger: a job file that is submitted by a schedule, or by `trigger run`.
    Create(Box<Create>),
    /// Lists the triggers of the project.
    List,
    /// Shows a trigger.
    Show {
        /// Its name.
        name: TriggerName,
    },
    /// Deletes a trigger. Its builds stay.
    Delete {
        /// Its name.
        name: TriggerName,
    },
    /// Submits the build of a trigger now.
    Run {
        /// Its name.
        name: TriggerName,
        /// A variable for all jobs of the build; it outranks the trigger's.
        #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
        environment: Vec<(String, String)>,
        /// Follows the build until it is over; fails if it fails.
        #[arg(long, short)]
        watch: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Its name.
    name: TriggerName,
    /// The job file; by default the `tombolo.yaml` or `infrabox.json` in the folder of the source. One of the two has to be named.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// A folder to upload as the source of its builds, as it is now.
    #[arg(long, short, value_name = "FOLDER")]
    source: Option<PathBuf>,
    /// When it fires by itself: minute, hour, day of the month, month and day of the week, such as `0 3 * * *`.
    #[arg(long, value_name = "FIELDS")]
    cron: Option<String>,
    /// Whose clock `--cron` is of, such as `Europe/Berlin`.
    #[arg(long, value_name = "NAME", default_value = "UTC", requires = "cron")]
    timezone: String,
    /// A variable for all jobs of its builds; it outranks the job file's.
    #[arg(long, short, value_name = "NAME=VALUE", value_parser = variable)]
    environment: Vec<(String, String)>,
    /// What happens while its last build runs.
    #[arg(long, value_enum, default_value_t)]
    overlap: OverlapName,
    /// What happens to times at which no master was there.
    #[arg(long, value_enum, default_value_t)]
    catch_up: CatchUpName,
    /// The branch that is built.
    #[arg(long)]
    branch: Option<String>,
    /// The commit that is built.
    #[arg(long)]
    commit: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum OverlapName {
    /// Another build is submitted.
    #[default]
    Allow,
    /// The time passes without a build.
    Skip,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum CatchUpName {
    /// The last of them is made up for, once.
    #[default]
    Once,
    /// They have passed.
    Never,
}

fn variable(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("a variable is given as `NAME=VALUE`".to_owned()),
    }
}

impl Rows for TriggerList {
    fn header(&self, wide: Wide) -> Vec<&'static str> {
        let mut header = vec!["name", "schedule", "next", "last build", "obstacle"];
        if wide == Wide::Yes {
            header.extend(["overlap", "catch up", "by", "age"]);
        }
        header
    }

    fn rows(&self, wide: Wide) -> Vec<Vec<String>> {
        let row = |trigger: &Described| {
            let schedule = trigger.schedule.as_ref();
            let last = trigger.last_build.map(|number| number.to_string());
            let mut row = vec![
                trigger.name.to_string(),
                schedule.map_or_else(
                    || "by hand".to_owned(),
                    |when| format!("{} {}", when.cron, when.timezone),
                ),
                trigger.next_at.map(|at| at.to_string()).unwrap_or_default(),
                last.unwrap_or_default(),
                trigger.obstacle.clone().unwrap_or_default(),
            ];
            if wide == Wide::Yes {
                row.extend([
                    format!("{:?}", trigger.overlap).to_lowercase(),
                    format!("{:?}", trigger.catch_up).to_lowercase(),
                    trigger.created_by.clone(),
                    render::age(trigger.created_at),
                ]);
            }
            row
        };
        self.triggers.iter().map(row).collect()
    }

    fn names(&self) -> Vec<String> {
        self.triggers.iter().map(|trigger| trigger.name.to_string()).collect()
    }

    fn empty(&self) -> &'static str {
        "There are no triggers: `tombolo trigger create NAME --file FILE` makes one."
    }
}

/// Makes, lists, shows, deletes and runs triggers.
pub(crate) async fn trigger(command: &Trigger, session: &Session) -> Result<(), Failure> {
    let project = &session.project;
    match command {
        Trigger::Create(create) => {
            let made = make(create, session).await?;
            match session.format {
                Format::Table | Format::Wide => render::line(&sentence(&made)),
                format => render::print(format, &TriggerList { triggers: vec![made] }),
            }
        }
        Trigger::List => {
            let list: TriggerList = session.client.get(&path::triggers(project)).await?;
            render::print(session.format, &list)
        }
        Trigger::Show { name } => {
            let shown: Described = session.client.get(&path::trigger(project, name)).await?;
            match session.format {
                Format::Json => render::print_value(session.format, &shown),
                // It has lists and maps, which no row has room for.
                Format::Yaml | Format::Table | Format::Wide => render::print_value(Format::Yaml, &shown),
                Format::Name => render::line(shown.name.as_str()),
            }
        }
        Trigger::Delete { name } => {
            let gone = path::trigger(project, name);
            session.client.act(Method::DELETE, &gone).await?;
            let (kind, change, name) = ("trigger", "deleted", name.as_str());
            render::changed(session.format, &Changed { kind, name, change })
        }
        Trigger::Run {
            name,
            environment,
            watch,
        } => {
            let request = RunTrigger {
                environment: environment.iter().cloned().collect(),
            };
            let path = format!("{}/run", path::trigger(project, name));
            let build: BuildSummary = session.client.post(&path, &request).await?;
            if *watch {
                let build = watch::follow(session, build.number).await?;
                return watch::conclude(session, &build).await;
            }
            match session.format {
                Format::Name => render::line(&build.number.to_string()),
                Format::Json | Format::Yaml => render::print_value(session.format, &build),
                Format::Table | Format::Wide => render::line(&format!(
                    "Build {} of project {} was submitted.\nFollow it: tombolo watch {}",
                    build.number, build.project, build.number
                )),
            }
        }
    }
}

async fn make(create: &Create, session: &Session) -> Result<Described, Failure> {
    let file = match (&create.file, &create.source) {
        (Some(file), _) => file.clone(),
        (None, Some(folder)) => run::job_file(folder)?,
        (None, None) => {
            let hint = "name one with `--file FILE`, or, with the source of its builds, the folder that it is in with `--source FOLDER`";
            return Err(Failure::usage("there is no job file for the trigger").hint(hint));
        }
    };
    let text = validate::read(&file)?;
    let uploaded = match &create.source {
        Some(folder) => Some(source::upload(session, folder).await?),
        None => None,
    };
    let name = run::file_name(create.source.as_deref(), &file);
    let environment: BTreeMap<String, String> = create.environment.iter().cloned().collect();
    let schedule = create.cron.as_ref().map(|cron| Schedule {
        cron: cron.clone(),
        timezone: create.timezone.clone(),
    });
    let request = CreateTrigger {
        name: create.name.clone(),
        job_file: run::as_sent(&file, name, text)?,
        source: uploaded,
        revision: Revision {
            branch: create.branch.clone(),
            commit: create.commit.clone(),
            tag: None,
        },
        schedule,
        environment,
        overlap: match create.overlap {
            OverlapName::Allow => Overlap::Allow,
            OverlapName::Skip => Overlap::Skip,
        },
        catch_up: match create.catch_up {
            CatchUpName::Once => CatchUp::Once,
            CatchUpName::Never => CatchUp::Never,
        },
    };
    session.client.post(&path::triggers(&session.project), &request).await
}

fn sentence(trigger: &Described) -> String {
    match trigger.next_at {
        Some(next) => format!("Trigger {} was made; it fires first at {next}.", trigger.name),
        None => format!(
            "Trigger {} was made; `tombolo trigger run {}` submits its build.",
            trigger.name, trigger.name
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_have_a_name_and_any_value() {
        assert_eq!(variable("A=b=c"), Ok(("A".to_owned(), "b=c".to_owned())));
        assert_eq!(variable("A="), Ok(("A".to_owned(), String::new())));
        assert!(variable("A").is_err() && variable("=b").is_err());
    }
}
