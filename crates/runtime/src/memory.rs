//! Memory that a process has no use for while it is idle.
//!
//! A program's code becomes resident as it is run, sixteen pages around each that is touched, and stays so where memory is not short: what
//! only the start or a busy hour needed is counted for as long as the process lives. [`give_back_when_idle`] takes the program's
//! own unchanged pages off the process's tables; what is needed again is mapped again, from the system's cache of the file.

use std::ops::Range;
use std::path::Path;
use std::time::Duration;
use std::{fs, io};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether the process is idle.
const PAUSE: Duration = Duration::from_secs(15);
/// What an idle process takes of a processor between two looks at the most.
const IDLE: Duration = Duration::from_millis(75);
/// How much a process must have worked since the last time: then something is worth giving back.
const WORKED: Duration = Duration::from_millis(100);

/// Gives back what the process has no use for, each time that it has become idle, until `stop`.
pub async fn give_back_when_idle(stop: CancellationToken) {
    let looking = async {
        let (mut last, mut given_back) = (Duration::ZERO, Duration::ZERO);
        loop {
            let now = processor_time();
            if now.saturating_sub(last) < IDLE && now.saturating_sub(given_back) > WORKED {
                given_back = now;
                match give_back() {
                    Ok(bytes) => tracing::debug!(bytes, "gave back the code that is not needed while idle"),
                    Err(error) => tracing::debug!(%error, "the code that is not needed while idle stays resident"),
                }
            }
            last = now;
            tokio::time::sleep(PAUSE).await;
        }
    };
    let _: Option<()> = stop.run_until_cancelled(looking).await;
}

/// What all threads of this process have taken of processors.
fn processor_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}

/// Takes the pages of this program's file that nobody has changed off the process's tables. Returns how many bytes they may be.
fn give_back() -> io::Result<usize> {
    let program = fs::read_link("/proc/self/exe")?;
    let unchanged = unchanged(&fs::read_to_string("/proc/self/smaps")?, &program);
    unchanged.iter().try_fold(0, |sum, range| {
        drop_pages(range)?;
        Ok(sum + range.len())
    })
}

#[allow(
    unsafe_code,
    reason = "the advice is only unsound for pages that differ from their file"
)]
fn drop_pages(range: &Range<usize>) -> io::Result<()> {
    use nix::sys::mman::{MmapAdvise, madvise};

    let start = std::ptr::NonNull::new(range.start as *mut std::ffi::c_void)
        .ok_or_else(|| io::Error::other("a mapping begins at 0"))?;
    // SAFETY: the range is a mapping of this program's file that cannot be written to and of which no page is anonymous, so that every
    // page reads the same when it is mapped anew. Mappings of the program's file stay for as long as the process lives.
    unsafe { madvise(start, range.len(), MmapAdvise::MADV_DONTNEED) }.map_err(io::Error::from)
}

/// The mappings of `program` that cannot be written to, and of which no page has been either (as those with addresses have, before
/// they become read-only), from what the kernel says in `smaps` (see proc(5)).
fn unchanged(smaps: &str, program: &Path) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut candidate = None;
    for line in smaps.lines() {
        if let Some(anonymous) = line.strip_prefix("Anonymous:") {
            found.extend(candidate.take().filter(|_| anonymous.trim() == "0 kB"));
        } else if let Some(header) = header(line) {
            let (range, rights, path) = header;
            candidate = (path == program && !rights.contains('w')).then_some(range);
        }
    }
    found
}

/// The first line of a mapping: where it is, what may be done there, and the file.
fn header(line: &str) -> Option<(Range<usize>, &str, &Path)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let range = usize::from_str_radix(start, 16).ok()?..usize::from_str_radix(end, 16).ok()?;
    let rights = fields.next()?;
    // Offset, device and inode lie between.
    let path = fields.nth(3).unwrap_or_default();
    Some((range, rights, Path::new(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
55d0c0000000-55d0c0100000 r--p 00000000 fe:00 1234                       /tombolo
Rss:                1024 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0c0100000-55d0c0900000 r-xp 00100000 fe:00 1234                       /tombolo
Rss:                4096 kB
Anonymous:             0 kB
55d0c0900000-55d0c0a00000 r--p 00900000 fe:00 1234                       /tombolo
Anonymous:           512 kB
55d0c0a00000-55d0c0b00000 rw-p 00a00000 fe:00 1234                       /tombolo
Anonymous:             0 kB
55d0c0b00000-55d0c0c00000 r--p 00000000 fe:00 99                         /other
Anonymous:             0 kB
7ffd00000000-7ffd00021000 rw-p 00000000 00:00 0                          [stack]
Anonymous:            12 kB
7f0000000000-7f0000001000 r--p 00000000 00:00 0
Anonymous:             0 kB
";

    #[test]
    fn only_what_nobody_has_changed() {
        assert_eq!(
            unchanged(SMAPS, Path::new("/tombolo")),
            [0x55d0_c000_0000..0x55d0_c010_0000, 0x55d0_c010_0000..0x55d0_c090_0000]
        );
        for other in ["", "no smaps", "zz-zz r--p", "Anonymous: 0 kB"] {
            assert!(unchanged(other, Path::new("/tombolo")).is_empty(), "{other}");
        }
    }

    fn resident_file_kilobytes() -> u64 {
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    #[test]
    fn the_program_goes_on_with_less() {
        let before = resident_file_kilobytes();
        assert!(give_back().unwrap() > 0);
        let after = resident_file_kilobytes();
        assert!(after < before, "{before} KiB, then {after}");
        // Everything is still there.
        let sorted: Vec<u64> = std::collections::BTreeSet::from([3, 1, 2]).into_iter().collect();
        assert_eq!(sorted, [1, 2, 3]);
        assert!(std::panic::catch_unwind(|| panic!("unwinding reads tables")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_it_is_to() {
        let stop = CancellationToken::new();
        let task = tokio::spawn(give_back_when_idle(stop.clone()));
        tokio::time::sleep(10 * PAUSE).await;
        stop.cancel();
        task.await.unwrap();
    }
}
