use std::fmt;

/// A setting of a store that cannot be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which, from the kind of store on: `s3.bucket`.
    pub key: String,
    /// Why, and what to do.
    pub reason: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "`{}`: {}", self.key, self.reason)
    }
}

/// The faults of one kind of store's settings.
pub(super) struct Faults {
    section: &'static str,
    found: Vec<Fault>,
}

impl Faults {
    pub(super) const fn of(section: &'static str) -> Self {
        Self {
            section,
            found: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, key: &str, reason: impl Into<String>) {
        self.found.push(Fault {
            key: format!("{}.{key}", self.section),
            reason: reason.into(),
        });
    }

    /// Notes what is wrong, if anything.
    pub(super) fn note(&mut self, key: &str, reason: Option<String>) {
        if let Some(reason) = reason {
            self.add(key, reason);
        }
    }

    pub(super) fn finish(self) -> Vec<Fault> {
        self.found
    }
}
