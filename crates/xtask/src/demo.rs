//! The main job on one machine: what a newcomer sees first.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::Args;
use xshell::{Shell, cmd};

use crate::{plain, program};

/// How long `tombolo dev` may take until both clusters have joined.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How long `tombolo dev` may take to end all that it started.
const STOPPED_WITHIN: Duration = Duration::from_secs(30);

#[derive(Args, Default)]
pub(crate) struct Options {
    /// Leaves everything running afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// Lets the two agents reach each other, so that outputs do not go through the master.
    #[arg(long)]
    direct: bool,
    /// Where everything is kept; a fresh folder under `target` by default.
    #[arg(long)]
    state: Option<PathBuf>,
}

pub(crate) fn run(shell: &Shell, options: &Options) -> anyhow::Result<()> {
    let program = program::release(shell)?;
    let started = Instant::now();
    let target = target_folder(shell)?;
    let state = match &options.state {
        Some(state) => state.clone(),
        None => fresh_state(&target)?,
    };

    let mut arguments = vec!["dev".to_owned(), "--state".to_owned(), state.display().to_string()];
    if options.direct {
        arguments.push("--direct".to_owned());
    }
    let mut clusters = Clusters::start(&program, &arguments, &state)?;
    clusters.wait_until_ready()?;

    let tombolo = |arguments: &[&str]| -> anyhow::Result<ExitStatus> {
        println!("\n$ tombolo {}", arguments.join(" "));
        let mut command = Command::new(&program);
        command.args(arguments).env("TOMBOLO_CONFIG", state.join("cli.toml"));
        command
            .status()
            .with_context(|| format!("cannot run {}", program.display()))
    };
    ensure!(
        tombolo(&["cluster", "list"])?.success(),
        "`tombolo cluster list` failed"
    );
    let build = tombolo(&["run", "docs/examples/demo/tombolo.yaml", "--source", ".", "--watch"])?;
    ensure!(build.success(), "the build failed; its state is in {}", state.display());
    ensure!(
        tombolo(&["outputs", "ls", "1", "test"])?.success(),
        "`tombolo outputs ls` failed"
    );
    println!(
        "\nThe demo took {:.1} s after the build of the program.",
        started.elapsed().as_secs_f64()
    );

    if options.keep {
        println!("\nEverything goes on until Ctrl-C. In another terminal:");
        println!("  export TOMBOLO_CONFIG={}", state.join("cli.toml").display());
        println!("  {} builds", program.display());
        clusters.wait()
    } else {
        clusters.stop()
    }
}

/// Where cargo puts what it builds.
pub(crate) fn target_folder(shell: &Shell) -> anyhow::Result<PathBuf> {
    let metadata = plain(cmd!(shell, "cargo metadata --format-version 1 --no-deps"))
        .quiet()
        .read()?;
    let (_, rest) = metadata
        .rsplit_once("\"target_directory\":\"")
        .context("cargo metadata names no target folder")?;
    let (folder, _) = rest.split_once('"').context("cargo metadata names no target folder")?;
    Ok(PathBuf::from(folder))
}

fn fresh_state(target: &Path) -> anyhow::Result<PathBuf> {
    let state = target.join("demo");
    if state.exists() {
        fs::remove_dir_all(&state).with_context(|| format!("cannot clear {}", state.display()))?;
    }
    Ok(state)
}

/// `tombolo dev` and all that it starts; ended with this value, whatever happens.
struct Clusters {
    child: Child,
    lines: mpsc::Receiver<String>,
}

impl Clusters {
    fn start(program: &Path, arguments: &[String], state: &Path) -> anyhow::Result<Self> {
        println!("\n$ tombolo {}", arguments.join(" "));
        let mut child = Command::new(program)
            .args(arguments)
            // The contexts of whoever runs the demo stay as they are.
            .env("TOMBOLO_CONFIG", state.join("cli.toml"))
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let output = child.stdout.take().context("standard output was piped")?;
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                println!("{line}");
                // After the wait for readiness nobody listens any more: the lines are still printed.
                drop(sender.send(line));
            }
        });
        Ok(Self { child, lines })
    }

    fn wait_until_ready(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            match self
                .lines
                .recv_timeout(deadline.saturating_duration_since(Instant::now()))
            {
                Ok(line) if line.starts_with("Ready") => return Ok(()),
                Ok(_) => {}
                Err(mpsc::RecvTimeoutError::Timeout) => bail!("the clusters were not ready within {READY_WITHIN:?}"),
                Err(mpsc::RecvTimeoutError::Disconnected) => bail!("`tombolo dev` ended before it was ready"),
            }
        }
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let status = self.child.wait()?;
        ensure!(status.success(), "`tombolo dev` ended with {status}");
        Ok(())
    }

    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = self.child.id().to_string();
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .context("cannot run `kill`")?;
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "`tombolo dev` ended with {status}");
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        bail!("`tombolo dev` did not end within {STOPPED_WITHIN:?} of Ctrl-C")
    }
}

impl Drop for Clusters {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            drop(self.stop());
            drop(self.child.kill());
            drop(self.child.wait());
        }
    }
}
