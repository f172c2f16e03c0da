//! What is on its way in one direction of a session.

use tombolo_api::exec::{WINDOW_BYTES, cost};

/// Counts what was sent and not yet taken.
#[derive(Debug, Default)]
pub(super) struct Meter {
    outstanding: u32,
    total: u64,
}

/// More was sent than may be on its way, or more was taken than was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Broken;

impl Meter {
    /// A piece of so many bytes was sent.
    pub(super) fn sent(&mut self, bytes: usize) -> Result<(), Broken> {
        let outstanding = self.outstanding.checked_add(cost(bytes));
        self.outstanding = outstanding.filter(|cost| *cost <= WINDOW_BYTES).ok_or(Broken)?;
        self.total += bytes as u64;
        Ok(())
    }

    /// What cost so much was taken.
    pub(super) fn taken(&mut self, cost: u32) -> Result<(), Broken> {
        self.outstanding = self.outstanding.checked_sub(cost).ok_or(Broken)?;
        Ok(())
    }

    /// All bytes that were sent.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use tombolo_api::exec::{LEAST_COST, PIECE_BYTES};

    use super::*;

    #[test]
    fn nobody_sends_more_than_the_window_nor_takes_more_than_was_sent() {
        let mut meter = Meter::default();
        let mut pieces = 0;
        while meter.sent(PIECE_BYTES).is_ok() {
            pieces += 1;
        }
        assert_eq!(pieces, WINDOW_BYTES / PIECE_BYTES as u32);
        assert_eq!(meter.sent(1), Err(Broken));
        meter.taken(2 * LEAST_COST).unwrap();
        // Small ones count too.
        for bytes in [1, LEAST_COST as usize] {
            meter.sent(bytes).unwrap();
        }
        assert_eq!(meter.sent(1), Err(Broken));
        meter.taken(WINDOW_BYTES).unwrap();
        assert_eq!(meter.taken(1), Err(Broken));
        assert_eq!(meter.total(), u64::from(WINDOW_BYTES + 1 + LEAST_COST));
    }
}
