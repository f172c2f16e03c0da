//! A small disk, which can be full.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

/// How large it is.
const BYTES: u64 = 768 << 20;

/// A disk at a place that only those see who enter the namespaces of a process, which ends with this.
pub(crate) struct Disk {
    folder: PathBuf,
    holder: Child,
}

impl Disk {
    pub(super) fn hold(folder: &Path) -> anyhow::Result<Self> {
        std::fs::create_dir_all(folder)?;
        let holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
            .arg(r#"mount -t tmpfs -o "size=$1" tmpfs "$2" && echo ready && exec cat"#)
            .args(["sh", &BYTES.to_string()])
            .arg(folder)
            // It ends with the one who holds the other end.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot run `unshare`")?;
        let mut disk = Self {
            folder: folder.to_owned(),
            holder,
        };
        let mut ready = [0; 6];
        let output = disk.holder.stdout.as_mut();
        let said = output.map(|output| std::io::Read::read_exact(output, &mut ready));
        ensure!(
            matches!(said, Some(Ok(()))) && &ready == b"ready\n",
            "cannot make a small disk\nhint: user namespaces must be allowed on this machine"
        );
        Ok(disk)
    }

    /// What enters the place where it is.
    pub(super) fn entrance(&self) -> Vec<String> {
        let enter = ["nsenter", "--preserve-credentials", "--user", "--mount", "--target"];
        let enter = enter.map(str::to_owned).into_iter();
        enter.chain([self.holder.id().to_string()]).collect()
    }

    /// What takes all room.
    fn filler(&self) -> String {
        format!("/proc/{}/root{}/filler", self.holder.id(), self.folder.display())
    }

    /// Leaves no room.
    pub(crate) fn fill(&self) -> anyhow::Result<()> {
        let filler = self.filler();
        let zeros = std::fs::File::open("/dev/zero")?;
        let mut file = std::fs::File::create(&filler).with_context(|| format!("cannot make {filler}"))?;
        let written = std::io::copy(&mut std::io::Read::take(zeros, 2 * BYTES), &mut file);
        ensure!(written.is_err(), "the disk has more room than it is large");
        Ok(())
    }

    /// Makes room again.
    pub(crate) fn empty(&self) -> anyhow::Result<()> {
        let filler = self.filler();
        std::fs::remove_file(&filler).with_context(|| format!("cannot remove {filler}"))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}
