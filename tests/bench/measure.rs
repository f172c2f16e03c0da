//! What processes of this machine take.

#![allow(dead_code, reason = "not every benchmark that includes this file needs all of it")]

use std::fs;
use std::process::{Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

/// A process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Process(u32);

/// What a process has taken.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    /// The time of processors, in seconds.
    pub(crate) processor_seconds: f64,
    /// The most memory at once, in bytes.
    pub(crate) peak_bytes: u64,
}

impl Process {
    pub(crate) fn of(child: &Child) -> Self {
        Self(child.id())
    }

    /// This one.
    pub(crate) fn own() -> Self {
        Self(std::process::id())
    }

    /// The one that was started with this word.
    pub(crate) fn with_argument(word: &str) -> Option<Self> {
        let entries = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
        let mut processes = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        let is_it = |process: &u32| {
            let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
            line.split(|byte| *byte == 0)
                .any(|argument| argument == word.as_bytes())
        };
        processes.find(is_it).map(Self)
    }

    /// What it has taken so far; none if it is gone.
    pub(crate) fn taken(self) -> Option<Taken> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?;
        let fields: Vec<&str> = stat.rsplit(") ").next()?.split(' ').collect();
        let ticks: u64 = fields
            .get(11..=12)?
            .iter()
            .filter_map(|ticks| ticks.parse::<u64>().ok())
            .sum();
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().ok()?;
        Some(Taken {
            // A hundred a second, whatever the kernel's own clock is.
            processor_seconds: ticks as f64 / 100.0,
            peak_bytes: peak * 1024,
        })
    }

    /// What it holds now, in bytes.
    pub(crate) fn resident_bytes(self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes: u64 = line.context("no VmRSS")?.trim().trim_end_matches(" kB").parse()?;
        Ok(kibibytes * 1024)
    }

    /// What it holds now counts as the most from here on.
    pub(crate) fn forget_peak(self) -> anyhow::Result<()> {
        let path = format!("/proc/{}/clear_refs", self.0);
        fs::write(&path, "5").with_context(|| format!("cannot write {path}"))
    }
}

/// Waits for a program to end, and says how long it took, what it took, and how it ended.
pub(crate) fn wait(mut child: Child, patience: Duration) -> anyhow::Result<(f64, Taken, ExitStatus)> {
    let (began, process) = (Instant::now(), Process::of(&child));
    let mut taken = Taken::default();
    loop {
        taken = process.taken().filter(|now| now.peak_bytes > 0).unwrap_or(taken);
        if let Some(status) = child.try_wait()? {
            return Ok((began.elapsed().as_secs_f64(), taken, status));
        }
        if began.elapsed() > patience {
            child.kill()?;
            child.wait()?;
            bail!("it does not end within {} s", patience.as_secs());
        }
        thread::sleep(Duration::from_millis(10));
    }
}
