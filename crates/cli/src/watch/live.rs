//! A line for each job that is under way, and a bar for each input on its way.

use std::collections::BTreeMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tombolo_api::{Job, JobState, Progress};
use tombolo_core::name::JobName;

use super::plain::{amount, pace, state_line, way};
use super::{View, summary};
use crate::command::builds::why;
use crate::command::indexes;
use crate::failure::Failure;

/// How many jobs have a line of their own at once; a build of thousands does not fit on a screen.
const MAX_LINES: usize = 20;

/// The view for terminals.
#[derive(Default)]
pub(crate) struct Live {
    screen: MultiProgress,
    jobs: BTreeMap<JobName, ProgressBar>,
    transfers: BTreeMap<(JobName, Option<JobName>), ProgressBar>,
}

impl Live {
    fn print(&self, text: &str) -> Result<(), Failure> {
        Ok(self.screen.println(text)?)
    }

    fn end_transfers(&mut self, job: &JobName) {
        self.transfers.retain(|(of, _), bar| {
            if of == job {
                bar.finish_and_clear();
            }
            of != job
        });
    }
}

impl View for Live {
    fn job(&mut self, job: &Job, before: Option<&Job>) -> Result<(), Failure> {
        if job.state != JobState::Preparing {
            self.end_transfers(&job.name);
        }
        let known = before.map_or(0, |before| before.inputs.len());
        for input in job.inputs.iter().skip(known) {
            self.print(&format!("{:<12}   {}", job.name, summary::edge(input)))?;
        }
        if job.state.is_terminal() {
            if let Some(bar) = self.jobs.remove(&job.name) {
                bar.finish_and_clear();
            }
            let same = |before: &Job| before.state == job.state && why(before) == why(job);
            return if before.is_some_and(same) || indexes::are_behind(job) {
                Ok(())
            } else {
                self.print(&state_line(job))
            };
        }
        if !self.jobs.contains_key(&job.name) && self.jobs.len() < MAX_LINES {
            let bar = self.screen.add(ProgressBar::new_spinner());
            if let Ok(style) = ProgressStyle::with_template("{spinner:.cyan} {msg} {elapsed:.dim}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            self.jobs.insert(job.name.clone(), bar);
        }
        if let Some(bar) = self.jobs.get(&job.name) {
            bar.set_message(state_line(job));
        }
        Ok(())
    }

    fn progress(&mut self, progress: &Progress) -> Result<(), Failure> {
        let key = (progress.job.clone(), progress.parent.clone());
        if progress.done_bytes >= progress.bytes {
            if let Some(bar) = self.transfers.remove(&key) {
                bar.finish_and_clear();
            }
            return Ok(());
        }
        let bar = self.transfers.entry(key).or_insert_with(|| {
            let bar = self.screen.add(ProgressBar::new(progress.bytes));
            let template = "  {msg:<28} [{bar:24.cyan}] {prefix}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar
        });
        bar.set_message(way(progress));
        bar.set_prefix(format!("{}, {}", amount(progress), pace(progress)));
        bar.set_position(progress.done_bytes);
        Ok(())
    }

    fn note(&mut self, text: &str) -> Result<(), Failure> {
        self.print(text)
    }

    fn finish(&mut self) {
        self.jobs
            .values()
            .chain(self.transfers.values())
            .for_each(ProgressBar::finish_and_clear);
        self.jobs.clear();
        self.transfers.clear();
    }
}
