//! What the driver tells of itself to whoever answers for it when it cannot.

use std::fmt;
use std::sync::Arc;

use tombolo_core::time::Timestamp;

/// How a driver stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It does nothing until then: leases may last that its database does not know of.
    Waits(Timestamp),
    /// It is about to begin.
    Begins,
    /// The database does not take what it has to write: nobody is answered.
    Stalls,
    /// The database takes it.
    Works,
}

/// Who is told. Nobody, unless it is said.
#[derive(Clone)]
pub struct Reports(Arc<dyn Fn(Report) + Send + Sync>);

impl Reports {
    /// To `listener`, which must be quick, and hears the same again and again.
    pub fn to(listener: impl Fn(Report) + Send + Sync + 'static) -> Self {
        Self(Arc::new(listener))
    }

    pub(super) fn tell(&self, report: Report) {
        (self.0)(report);
    }
}

impl Default for Reports {
    fn default() -> Self {
        Self::to(|_| {})
    }
}

impl fmt::Debug for Reports {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Reports")
    }
}
