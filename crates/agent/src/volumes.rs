//! The volumes that this cluster keeps for jobs: which there are, who uses them, and which are to go.
//!
//! It owns the records, one file for each volume, written before the volume is made and removed after it is gone: an agent that
//! comes back knows what it has. A volume that was released goes when the last attempt that uses it is gone, not before, and
//! nobody gets it meanwhile. What the volumes are made of is the executor's.

mod removal;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, mpsc};
use tombolo_core::attempt::Assignment;
use tombolo_core::id::AttemptId;
use tombolo_core::volume::VolumeId;
use tombolo_runtime::blocking;

use crate::folder::{Durability, read_record, write_record};
use crate::seam::Notice;

/// What the name of a record ends with; the rest is the volume's.
const SUFFIX: &str = ".json";

/// Cheap to clone; clones are one.
#[derive(Clone)]
pub struct Volumes {
    shared: Arc<Shared>,
}

struct Shared {
    folder: PathBuf,
    notices: mpsc::Sender<Notice>,
    volumes: Mutex<BTreeMap<VolumeId, Volume>>,
    /// Held while a record is written: many jobs of a build may take its volume at once.
    writing: tokio::sync::Mutex<()>,
    /// Something was released, let go or removed.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Volume {
    /// It has a record.
    recorded: bool,
    released: bool,
    users: BTreeSet<AttemptId>,
}

/// What is on the disk of a volume.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Record {
    released: bool,
}

/// The volumes that the attempt works with.
pub(crate) fn of(assignment: &Assignment) -> impl Iterator<Item = VolumeId> {
    let (project, build) = (assignment.build.project, assignment.build.build);
    let wanted = assignment.job.volumes.iter();
    wanted.map(move |kind| VolumeId::of(kind, project, build))
}

impl Volumes {
    /// Reads the records in `folder`, which is made if it does not exist. What happens is told to `notices`.
    ///
    /// # Errors
    /// Those of reading.
    pub fn open(folder: &Path, notices: mpsc::Sender<Notice>) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut volumes = BTreeMap::new();
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let Some(volume) = name.strip_suffix(SUFFIX).and_then(|name| name.parse::<VolumeId>().ok()) else {
                continue;
            };
            if let Some(Record { released }) = read_record(&path)? {
                let users = BTreeSet::new();
                let recorded = true;
                volumes.insert(
                    volume,
                    Volume {
                        recorded,
                        released,
                        users,
                    },
                );
            }
        }
        Ok(Self {
            shared: Arc::new(Shared {
                folder: folder.to_owned(),
                notices,
                volumes: Mutex::new(volumes),
                writing: tokio::sync::Mutex::new(()),
                changed: Notify::new(),
            }),
        })
    }

    /// Those that nobody has released: what a hello says.
    pub fn held(&self) -> Vec<VolumeId> {
        let volumes = self.lock();
        let held = volumes.iter().filter(|(_, volume)| !volume.released);
        held.map(|(id, _)| *id).collect()
    }

    /// Notes that the attempt, which an earlier agent has begun, may use its volumes. One that was not `prepared` has not seen those that
    /// are released, and waits for fresh ones.
    pub(crate) fn adopt(&self, assignment: &Assignment, prepared: bool) {
        let mut volumes = self.lock();
        for id in of(assignment) {
            if let Some(volume) = volumes.get_mut(&id).filter(|volume| prepared || !volume.released) {
                volume.users.insert(assignment.attempt);
            }
        }
    }

    /// Records that the attempt uses a volume, which is to be made after that. One that is about to be removed is waited for.
    ///
    /// # Errors
    /// Those of writing.
    pub(crate) async fn take(&self, id: VolumeId, attempt: AttemptId) -> io::Result<()> {
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if self.join(id, attempt) {
                break;
            }
            tracing::info!(%attempt, volume = %id, "waits until what is left of the volume is removed");
            changed.await;
        }
        if self.make_record(id).await? {
            self.tell(Notice::Holds(id)).await;
        }
        Ok(())
    }

    /// False if the volume is about to be removed.
    fn join(&self, id: VolumeId, attempt: AttemptId) -> bool {
        let mut volumes = self.lock();
        let volume = volumes.entry(id).or_default();
        if !volume.released {
            volume.users.insert(attempt);
        }
        !volume.released
    }

    /// The attempt is gone.
    pub(crate) fn let_go(&self, attempt: AttemptId) {
        let mut volumes = self.lock();
        let mut any = false;
        for volume in volumes.values_mut() {
            any |= volume.users.remove(&attempt);
        }
        drop(volumes);
        if any {
            self.shared.changed.notify_waiters();
        }
    }

    /// Notes a volume that was found and has no record, such as one of an agent that lost its disk. The master says what is to
    /// become of it.
    async fn found(&self, id: VolumeId) -> io::Result<()> {
        if self.lock().contains_key(&id) {
            return Ok(());
        }
        self.lock().entry(id).or_default();
        if self.make_record(id).await? {
            self.tell(Notice::Holds(id)).await;
        }
        Ok(())
    }

    /// Writes the record of a volume that has none. Whether it had none.
    async fn make_record(&self, id: VolumeId) -> io::Result<bool> {
        let _writing = self.shared.writing.lock().await;
        if self.lock().get(&id).is_none_or(|volume| volume.recorded) {
            return Ok(false);
        }
        self.write(id, false).await?;
        if let Some(volume) = self.lock().get_mut(&id) {
            volume.recorded = true;
        }
        Ok(true)
    }

    /// Only while `writing` is held.
    async fn write(&self, id: VolumeId, released: bool) -> io::Result<()> {
        let path = self.record(id);
        blocking::run(move || write_record(&path, &Record { released }, Durability::Synced)).await
    }

    fn record(&self, id: VolumeId) -> PathBuf {
        self.shared.folder.join(format!("{id}{SUFFIX}"))
    }

    /// Nobody listens when the agent is stopping; the next one tells.
    async fn tell(&self, notice: Notice) {
        let _ = self.shared.notices.send(notice).await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<VolumeId, Volume>> {
        self.shared
            .volumes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
