//! The connections that read: a few, each for one read at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use tokio::sync::{Semaphore, SemaphorePermit};

use super::connection::Connection;
use super::target::Target;
use crate::port::Error;

/// How many reads run at once at the most.
pub(super) const READERS_MAX: usize = 4;

/// How long one read may take: less than a minute by the server's clock, but for the state at a start.
const READ_MAX: Duration = Duration::from_secs(660);

/// What the server's list of sessions shows.
const NAME: &str = "tombolo reader";

/// The connections that read.
#[derive(Debug)]
pub(super) struct Readers {
    target: Target,
    idle: Mutex<Vec<Arc<Connection>>>,
    permits: Semaphore,
}

impl Readers {
    pub(super) fn new(target: Target) -> Self {
        Self {
            target,
            idle: Mutex::default(),
            permits: Semaphore::new(READERS_MAX),
        }
    }

    /// Reads. What fails because the server was away for a moment is tried again, soon and not often.
    pub(super) async fn read<T, Reading>(&self, work: impl Fn(Arc<Connection>) -> Reading) -> Result<T, Error>
    where
        Reading: Future<Output = Result<T, Error>>,
    {
        let _permit = self.permit().await?;
        let backoff = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(20))
            .with_factor(5.0)
            .with_max_times(3)
            .with_jitter();
        (|| self.attempt(&work))
            .retry(backoff)
            .when(|error| matches!(error, Error::Unavailable(_)))
            .await
    }

    async fn permit(&self) -> Result<SemaphorePermit<'_>, Error> {
        let waiting = tokio::time::timeout(READ_MAX, self.permits.acquire());
        let busy = || Error::Unavailable("all connections that read are busy".to_owned());
        Ok(waiting
            .await
            .map_err(|_| busy())?
            .expect("the semaphore is never closed"))
    }

    async fn attempt<T, Reading>(&self, work: &impl Fn(Arc<Connection>) -> Reading) -> Result<T, Error>
    where
        Reading: Future<Output = Result<T, Error>>,
    {
        let pooled = self.pooled();
        let connection = match pooled {
            Some(connection) => connection,
            None => {
                let opened = Connection::open(&self.target, NAME).await;
                Arc::new(opened.map_err(|error| Error::Unavailable(error.reason))?)
            }
        };
        let read = tokio::time::timeout(READ_MAX, work(Arc::clone(&connection))).await;
        // A connection that failed is not used again.
        let read = read.unwrap_or_else(|_| Err(Error::Unavailable("the read took too long".to_owned())))?;
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(connection);
        Ok(read)
    }

    /// A connection that is still open; those that are not are forgotten.
    fn pooled(&self) -> Option<Arc<Connection>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|connection| !connection.is_closed());
        idle.pop()
    }
}
