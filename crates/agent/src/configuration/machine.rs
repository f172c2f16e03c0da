//! What this machine, or the control group that this process is in, has.

use std::fs::read_to_string;

/// How many processors this process may use.
pub(super) fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// How much memory this process may use, in bytes; none if the system does not say.
pub(super) fn memory_bytes() -> Option<u64> {
    let machine = read_to_string("/proc/meminfo").ok().and_then(|text| total(&text))?;
    // In a container its limit is here; elsewhere there is no such file, or it says `max`.
    let limit = read_to_string("/sys/fs/cgroup/memory.max").ok();
    let limit = limit.and_then(|text| text.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |limit| limit.min(machine)))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table() {
        for (text, expected) in [
            ("MemTotal:       16384 kB\nMemFree: 1 kB\n", Some(16 * 1024 * 1024)),
            ("MemFree: 1 kB\n", None),
            ("MemTotal: many kB\n", None),
            ("MemTotal: 18446744073709551615 kB\n", None),
        ] {
            assert_eq!(total(text), expected, "{text}");
        }
    }
}
