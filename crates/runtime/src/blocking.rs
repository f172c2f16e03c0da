//! Calls that may have to wait for a disk, and where they are made.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

static IN_PLACE: AtomicBool = AtomicBool::new(false);

/// Has all such calls of this process made in place, for good: for one that is a simulation, whose one thread decides what happens in which
/// order.
pub fn in_place() {
    IN_PLACE.store(true, Ordering::Relaxed);
}

/// Makes a call that may block where it holds nobody up: on the runtime's threads for that.
///
/// # Errors
/// Those of `work`, or that it panicked.
pub async fn run<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    if IN_PLACE.load(Ordering::Relaxed) {
        return work();
    }
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test]
    async fn calls_are_made_elsewhere_and_what_goes_wrong_is_told() {
        let here = thread::current().id();
        let there = run(|| Ok(thread::current().id())).await.unwrap();
        assert_ne!(here, there);
        let refused = run(|| Err::<(), _>(io::ErrorKind::StorageFull.into())).await;
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert!(run(|| -> io::Result<()> { panic!("a bug") }).await.is_err());
    }
}
