//! What somebody else sends, up to a limit.

use std::io::{self, Read};

use super::failure::{Failure, through_reader};

/// Reads no more than so many bytes: to have more is a failure, and no end.
pub(super) struct Limited<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R> Limited<R> {
    pub(super) const fn new(inner: R, limit: u64) -> Self {
        let left = limit;
        Self { inner, limit, left }
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // One more than is left says whether there is more.
        let most = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX);
        let end = buffer.len().min(most);
        let read = self.inner.read(buffer.get_mut(..end).unwrap_or_default())?;
        match self.left.checked_sub(read as u64) {
            Some(left) => self.left = left,
            None => {
                let limit = bytesize::ByteSize::b(self.limit).display().iec();
                let words = format!("its branches and tags take more than {limit}");
                return Err(through_reader(Failure::TooLarge(words)));
            }
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clone::failure::out_of;

    #[test]
    fn what_is_longer_is_a_failure_and_not_cut_off() {
        for (length, limit, whole) in [(0, 0, true), (5, 5, true), (4, 5, true), (6, 5, false), (100, 5, false)] {
            let content = vec![7; length];
            let mut read = Vec::new();
            let result = Limited::new(content.as_slice(), limit).read_to_end(&mut read);
            assert_eq!(result.is_ok(), whole, "{length} of {limit}");
            if whole {
                assert_eq!(read, content);
            } else {
                let failure = out_of(result.unwrap_err(), Failure::Damaged);
                assert_eq!(
                    failure.to_string(),
                    "the repository is too large: its branches and tags take more than 5 B"
                );
            }
        }
    }
}
