//! Real programs under faults, with a verdict.

mod kubernetes;

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{demo, plain, tools};

/// How many things go wrong, if nobody says otherwise.
const EVENTS: u32 = 200;

#[derive(Args)]
pub(crate) struct Options {
    /// How many things go wrong.
    #[arg(long, default_value_t = EVENTS, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    events: u32,
    /// How long that takes, in minutes; 6.6 s for each event if this is not given.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1_440))]
    minutes: Option<u32>,
    /// Has the same things go wrong at the same times as another run with this seed.
    #[arg(long)]
    seed: Option<u64>,
    /// Where the page with the verdict goes; `target/chaos/verdict.html` if this is not given.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Judges the history of a run that was, and runs nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["minutes", "seed", "planted"])]
    history: Option<PathBuf>,
    /// Plants a mistake in the program, and fails if it is not found.
    #[arg(long, value_name = "NAME")]
    planted: Option<String>,
    /// Has jobs of two of the clusters run as pods, on Kubernetes clusters of this machine, and breaks those as well.
    #[arg(long, conflicts_with = "history")]
    kubernetes: bool,
    /// Leaves the Kubernetes clusters and what is installed on them.
    #[arg(long, requires = "kubernetes")]
    keep: bool,
    /// Takes the image as it is on the Kubernetes clusters.
    #[arg(long, requires = "kubernetes")]
    no_image: bool,
}

pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    if !options.kubernetes {
        return run_with(shell, options, &[]);
    }
    ensure!(
        options.planted.is_none(),
        "`--planted` and `--kubernetes` do not go together: pods run the image, which is made without mistakes\nhint: leave one of them out"
    );
    let clusters = kubernetes::Clusters::ready(shell, options.no_image)?;
    let ran = run_with(shell, options, &clusters.variables(shell)?);
    let cleaned = match options.keep {
        true => {
            println!("The clusters and what is installed on them were kept: `cargo xtask cluster down` ends them.");
            Ok(())
        }
        false => clusters.clean(shell),
    };
    ran?;
    cleaned
}

fn run_with(shell: &Shell, options: &Options, variables: &[(&str, PathBuf)]) -> anyhow::Result<()> {
    let (postgres, weed) = (tools::postgres(shell)?, tools::weed(shell)?);
    let target = demo::target_folder(shell)?;
    let folder = target.join("chaos");
    // What is planted is kept apart from what is built for everything else.
    let features = match &options.planted {
        Some(_) => {
            let apart = target.join("planted").display().to_string();
            ["--features", "tombolo-cli/planted", "--target-dir", &apart]
                .map(str::to_owned)
                .to_vec()
        }
        None => Vec::new(),
    };
    let mut command = plain(cmd!(shell, "cargo test --workspace --test chaos {features...}"))
        .env("TOMBOLO_POSTGRES", postgres)
        .env("TOMBOLO_WEED", weed)
        .env("TOMBOLO_CHAOS_FOLDER", &folder)
        .env("TOMBOLO_CHAOS_EVENTS", options.events.to_string())
        .envs(variables.iter().map(|(name, value)| (name, value)));
    match tools::faketime(shell) {
        Ok(library) => command = command.env("TOMBOLO_CHAOS_CALENDARS", library),
        Err(error) => eprintln!("no calendar goes wrong, since libfaketime cannot be had: {error:#}"),
    }
    if let Some(minutes) = options.minutes {
        command = command.env("TOMBOLO_CHAOS_MINUTES", minutes.to_string());
    }
    if let Some(seed) = options.seed {
        command = command.env("TOMBOLO_CHAOS_SEED", seed.to_string());
    }
    for (name, path) in [("REPORT", &options.report), ("HISTORY", &options.history)] {
        if let Some(path) = path {
            // The command runs elsewhere.
            let path = std::path::absolute(path).with_context(|| format!("{} is no path", path.display()))?;
            command = command.env(format!("TOMBOLO_CHAOS_{name}"), path);
        }
    }
    if let Some(planted) = &options.planted {
        command = command.env("TOMBOLO_PLANTED", planted);
    }
    command.run()?;
    Ok(())
}
