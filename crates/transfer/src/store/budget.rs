//! The memory that chunks on their way may take.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The content of chunks that one packing, unpacking or pull holds in memory at once, in bytes, before compression: six average
/// ones, enough to keep a store busy. With the packer's buffer (16 MiB), the compressed forms and what the allocator keeps,
/// a process stays well below the 160 MiB that it may take (`tests/memory.rs` measures it).
const BUDGET_BYTES: u32 = 24 << 20;

/// Shares of [`BUDGET_BYTES`], in order of arrival.
#[derive(Clone)]
pub(crate) struct Budget {
    bytes: u32,
    free: Arc<Semaphore>,
}

/// Memory that is accounted for until this is dropped.
pub(crate) type Share = OwnedSemaphorePermit;

/// The budget was closed: what the share was for has ended.
pub(crate) struct Closed;

impl Budget {
    pub(crate) fn new() -> Self {
        Self::of(BUDGET_BYTES)
    }

    /// A budget of another size. A chunk that is larger takes all of it.
    pub(crate) fn of(bytes: u32) -> Self {
        Self {
            bytes,
            free: Arc::new(Semaphore::new(bytes as usize)),
        }
    }

    /// Waits until `bytes` fit.
    pub(crate) async fn take(&self, bytes: u32) -> Result<Share, Closed> {
        let share = Arc::clone(&self.free).acquire_many_owned(bytes.min(self.bytes)).await;
        share.map_err(|_| Closed)
    }

    /// Ends all waiting.
    pub(crate) fn close(&self) {
        self.free.close();
    }
}
