//! What the log says, once more on the standard output: `kubectl logs` shows it.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long a reader that takes nothing holds the command up, all in all. After that it misses lines until it reads again.
const PATIENCE: Duration = Duration::from_secs(2);

/// Repeats lines on a descriptor whose reader may be slow, or gone.
pub(super) struct Echo<Output> {
    output: Output,
    line: Vec<u8>,
    patience: Duration,
}

impl Echo<io::Stdout> {
    /// Repeats on this process's standard output.
    pub(super) fn on_stdout() -> Self {
        Self::new(io::stdout())
    }
}

impl<Output: AsFd> Echo<Output> {
    fn new(output: Output) -> Self {
        // Where that is not possible, writes wait; containers' runtimes read all the time.
        let _ = rustix::io::ioctl_fionbio(&output, true);
        Self {
            output,
            line: Vec::new(),
            patience: PATIENCE,
        }
    }

    /// Writes a line, or what of it finds a reader in time.
    pub(super) fn line(&mut self, text: &[u8]) {
        self.line.clear();
        self.line.extend_from_slice(text);
        self.line.push(b'\n');
        let mut rest = self.line.as_slice();
        while !rest.is_empty() {
            match rustix::io::write(&self.output, rest) {
                Ok(count) => rest = &rest[count..],
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) if !self.patience.is_zero() => {
                    let began = Instant::now();
                    let mut descriptors = [PollFd::new(&self.output, PollFlags::OUT)];
                    let timeout = Timespec::try_from(self.patience).ok();
                    let _ = poll(&mut descriptors, timeout.as_ref());
                    self.patience = self.patience.saturating_sub(began.elapsed());
                }
                Err(_) => return,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn lines_are_repeated_and_a_reader_that_stalls_holds_nobody_up_for_long() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut echo = Echo::new(writer);
        echo.line(b"first");
        let began = Instant::now();
        for _ in 0..100 {
            echo.line(&[b'x'; 64 * 1024]);
        }
        assert!(began.elapsed() < PATIENCE * 3, "{:?}", began.elapsed());
        drop(echo);
        let mut text = Vec::new();
        reader.read_to_end(&mut text).unwrap();
        assert!(text.starts_with(b"first\nxxx"));
    }
}
