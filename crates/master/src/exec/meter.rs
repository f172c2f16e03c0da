//! What is on its way in one direction of a session.

use tombolo_api::exec::WINDOW_BYTES;

/// Counts the bytes that were sent and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Meter {
    outstanding: u32,
    total: u64,
}

/// More was sent than may be on its way, or more was taken than was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Meter {
    /// So many bytes were sent.
    pub(super) fn sent(&mut self, bytes: usize) -> Result<(), Broken> {
        let outstanding = u32::try_from(bytes)
            .ok()
            .and_then(|bytes| self.outstanding.checked_add(bytes));
        self.outstanding = outstanding.filter(|bytes| *bytes <= WINDOW_BYTES).ok_or(Broken)?;
        self.total += bytes as u64;
        Ok(())
    }

    /// So many bytes were taken.
    pub(super) fn taken(&mut self, bytes: u32) -> Result<(), Broken> {
        self.outstanding = self.outstanding.checked_sub(bytes).ok_or(Broken)?;
        Ok(())
    }

    /// All bytes that were sent.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_sends_more_than_the_window_nor_takes_more_than_was_sent() {
        let mut meter = Meter::default();
        meter.sent(WINDOW_BYTES as usize).unwrap();
        assert_eq!(meter.sent(1), Err(Broken));
        meter.taken(10).unwrap();
        meter.sent(10).unwrap();
        assert_eq!(meter.sent(usize::MAX), Err(Broken));
        meter.taken(WINDOW_BYTES).unwrap();
        assert_eq!(meter.taken(1), Err(Broken));
        assert_eq!(meter.total(), u64::from(WINDOW_BYTES) + 10);
    }
}
