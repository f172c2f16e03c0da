//! Waits until a cluster can go.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tombolo_api::{Cluster, Drain, path};

use super::show_change;
use crate::Session;
use crate::failure::{ExitCode, Failure};
use crate::render;

/// How often the master is asked.
const PAUSE: Duration = Duration::from_secs(1);

/// Whether nothing is left there.
pub(super) fn is_over(cluster: &Cluster) -> bool {
    cluster.drain.as_ref().is_some_and(|drain| drain.drained)
}

/// What is left on a cluster that is being drained, for people.
pub(super) fn left(cluster: &Cluster) -> String {
    let Some(drain) = &cluster.drain else {
        return "it is not known what is left".to_owned();
    };
    let mut left = Vec::new();
    if drain.attempts > 0 {
        let verb = if drain.attempts == 1 { "goes" } else { "go" };
        left.push(format!("{} {verb} on there", render::count(drain.attempts, "job")));
    }
    if drain.bound_jobs > 0 {
        let jobs = render::count(drain.bound_jobs, "job");
        left.push(format!("{jobs} of builds that can end nowhere else will run there"));
    }
    if drain.outputs > 0 {
        left.push(outputs(drain));
    }
    match left.is_empty() {
        true if drain.drained => "nothing is left there that a job needs".to_owned(),
        true => "what is left there is not counted yet".to_owned(),
        false => left.join("; "),
    }
}

fn outputs(drain: &Drain) -> String {
    let (verb, are) = match drain.outputs {
        1 => ("waits", "is"),
        _ => ("wait", "are"),
    };
    let (outputs, size) = (
        render::count(drain.outputs, "output"),
        render::bytes(drain.output_bytes),
    );
    let obstacle = match &drain.obstacle {
        Some(obstacle) => format!(" ({obstacle})"),
        None => String::new(),
    };
    let moving = match drain.moving {
        0 => String::new(),
        moving => format!(" ({moving} under way)"),
    };
    format!("{outputs} ({size}) that jobs need {are} there only, and {verb} to be copied elsewhere{moving}{obstacle}")
}

/// Waits until nothing is left on a cluster that is being drained, and shows what is meanwhile.
pub(super) async fn wait(session: &Session, mut cluster: Cluster, timeout: Option<Duration>) -> Result<(), Failure> {
    let began = Instant::now();
    let mut view = View::new(session);
    while !is_over(&cluster) {
        let name = cluster.name.clone();
        if cluster.drain.is_none() {
            view.end();
            let words = format!(
                "cluster `{name}` is not being drained any more: it is {}",
                cluster.availability.as_str()
            );
            return Err(Failure::new(ExitCode::Failed, words));
        }
        view.show(&cluster)?;
        if let Some(timeout) = timeout.filter(|timeout| began.elapsed() >= *timeout) {
            view.end();
            let (waited, left) = (render::duration(timeout), left(&cluster));
            let words = format!("cluster `{name}` is not drained after {waited}: {left}");
            let hint = format!("the draining goes on; `tombolo cluster drain {name} --wait` waits for it again");
            return Err(Failure::new(ExitCode::Failed, words).hint(hint));
        }
        tokio::time::sleep(PAUSE).await;
        match session.client.get(&path::cluster(&name)).await {
            Ok(now) => cluster = now,
            // A master that restarts goes on with it.
            Err(failure) if failure.is_passing() => view.note(&failure.message)?,
            Err(failure) => {
                view.end();
                return Err(failure);
            }
        }
    }
    view.end();
    show_change(session, &cluster)
}

/// Shows people what is left: a bar on a terminal, and a line for each change elsewhere.
struct View {
    is_shown: bool,
    bar: Option<ProgressBar>,
    /// The most outputs that were left at once.
    most: u64,
    last: String,
}

impl View {
    fn new(session: &Session) -> Self {
        let is_shown = session.format.is_for_people();
        let is_terminal = is_shown && io::stdout().is_terminal();
        let bar = is_terminal.then(|| {
            let bar = ProgressBar::new(0);
            let template = "{spinner:.cyan} [{bar:24.cyan}] {wide_msg} {elapsed:.dim}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.progress_chars("=> "));
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self {
            is_shown,
            bar,
            most: 0,
            last: String::new(),
        }
    }

    fn show(&mut self, cluster: &Cluster) -> Result<(), Failure> {
        let outputs = cluster.drain.as_ref().map_or(0, |drain| drain.outputs);
        self.most = self.most.max(outputs);
        if let Some(bar) = &self.bar {
            bar.set_length(self.most);
            bar.set_position(self.most.saturating_sub(outputs));
        }
        self.note(&left(cluster))
    }

    fn note(&mut self, text: &str) -> Result<(), Failure> {
        if let Some(bar) = &self.bar {
            bar.set_message(text.to_owned());
        } else if self.is_shown && text != self.last {
            render::line(text)?;
            text.clone_into(&mut self.last);
        }
        Ok(())
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn cluster(drain: serde_json::Value) -> Cluster {
        let cluster = json!({
            "name": "east", "labels": {}, "availability": "draining", "connected": true, "joined_at": "2026-01-01T00:00:00Z",
            "version": null, "capacity": null, "nodes": null, "used": null, "free": null, "slots": 4, "attempts": 0, "peer_address": null,
            "drain": drain,
        });
        serde_json::from_value(cluster).unwrap()
    }

    #[test]
    fn what_is_left_is_said_in_words() {
        for (attempts, bound_jobs, outputs, moving, obstacle, drained, expected) in [
            (0, 0, 0, 0, None, true, "nothing is left there that a job needs"),
            (0, 0, 0, 0, None, false, "what is left there is not counted yet"),
            (1, 0, 0, 0, None, false, "1 job goes on there"),
            (
                2,
                1,
                0,
                0,
                None,
                false,
                "2 jobs go on there; 1 job of builds that can end nowhere else will run there",
            ),
            (
                0,
                0,
                3,
                2,
                None,
                false,
                "3 outputs (1.5 MB) that jobs need are there only, and wait to be copied elsewhere (2 under way)",
            ),
            (
                0,
                0,
                1,
                0,
                Some("no other"),
                false,
                "1 output (1.5 MB) that jobs need is there only, and waits to be copied elsewhere (no other)",
            ),
        ] {
            let drain = json!({
                "attempts": attempts, "bound_jobs": bound_jobs, "outputs": outputs, "output_bytes": 1_500_000, "moving": moving,
                "obstacle": obstacle, "drained": drained,
            });
            let cluster = cluster(drain);
            assert_eq!(left(&cluster), expected);
            assert_eq!(is_over(&cluster), drained);
        }
    }
}
