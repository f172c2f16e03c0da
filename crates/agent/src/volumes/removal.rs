//! How volumes go.

use std::io;
use std::time::Duration;

use futures::StreamExt;
use tokio_util::sync::CancellationToken;
use tombolo_core::volume::VolumeId;

use super::Volumes;
use crate::executor::Executor;
use crate::pauses::Pauses;
use crate::seam::Notice;

/// How long to wait before what the disk or the system refused is tried again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(60));
/// Volumes that are being removed at once.
const REMOVALS_AT_ONCE: usize = 16;
/// How often volumes without a record are looked for.
const SWEEP: Duration = Duration::from_secs(15 * 60);

impl Volumes {
    /// Records that nobody will use the volume any more, and tells so, however often that has to be tried.
    pub(crate) async fn release(self, id: VolumeId) {
        let mut pauses = Pauses::new(PAUSES);
        while let Err(error) = self.mark(id).await {
            tracing::error!(volume = %id, %error, "cannot record that a volume is to be removed; trying again");
            tokio::time::sleep(pauses.next()).await;
        }
        self.tell(Notice::Released(id)).await;
    }

    async fn mark(&self, id: VolumeId) -> io::Result<()> {
        let _writing = self.shared.writing.lock().await;
        if !self.lock().contains_key(&id) {
            return Ok(());
        }
        self.write(id, true).await?;
        if let Some(volume) = self.lock().get_mut(&id) {
            volume.recorded = true;
            volume.released = true;
        }
        self.shared.changed.notify_waiters();
        Ok(())
    }

    /// Removes what was released when nobody uses it any more, and looks for volumes that have no record, until `stop`.
    ///
    /// # Errors
    /// None at present: what fails is tried again.
    pub async fn look_after<E: Executor>(self, executor: E, stop: CancellationToken) -> anyhow::Result<()> {
        tokio::select! {
            () = self.remove(&executor) => {}
            () = self.sweep(&executor) => {}
            () = stop.cancelled() => {}
        }
        Ok(())
    }

    async fn remove<E: Executor>(&self, executor: &E) {
        let mut pauses = Pauses::new(PAUSES);
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            // One that something uses still takes minutes: the others do not wait for it.
            let removals = futures::stream::iter(self.removable()).map(|id| async move {
                let removed = self.remove_one(executor, id).await;
                removed
                    .inspect_err(|error| tracing::warn!(volume = %id, %error, "cannot remove a volume; trying again"))
                    .is_err()
            });
            let failed = removals
                .buffer_unordered(REMOVALS_AT_ONCE)
                .fold(false, |any, failed| async move { any || failed });
            if failed.await {
                tokio::time::sleep(pauses.next()).await;
            } else {
                pauses.reset();
                changed.await;
            }
        }
    }

    pub(super) fn removable(&self) -> Vec<VolumeId> {
        let volumes = self.lock();
        let ripe = volumes
            .iter()
            .filter(|(_, volume)| volume.released && volume.users.is_empty());
        ripe.map(|(id, _)| *id).collect()
    }

    async fn remove_one<E: Executor>(&self, executor: &E, id: VolumeId) -> anyhow::Result<()> {
        executor.remove_volume(id).await?;
        self.removed(id)?;
        tracing::info!(volume = %id, "the volume is removed");
        Ok(())
    }

    /// Forgets a volume that is gone.
    pub(super) fn removed(&self, id: VolumeId) -> io::Result<()> {
        match std::fs::remove_file(self.record(id)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.lock().remove(&id);
        self.shared.changed.notify_waiters();
        Ok(())
    }

    async fn sweep<E: Executor>(&self, executor: &E) {
        loop {
            match executor.find_volumes().await {
                Ok(volumes) => {
                    for id in volumes {
                        if let Err(error) = self.found(id).await {
                            tracing::warn!(volume = %id, %error, "cannot record a volume that was found");
                        }
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot look for volumes"),
            }
            tokio::time::sleep(SWEEP).await;
        }
    }
}
