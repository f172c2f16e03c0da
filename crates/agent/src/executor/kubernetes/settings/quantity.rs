//! Amounts in words.

use bytesize::ByteSize;
use tombolo_core::resources::Resources;

pub(super) fn words(resources: &Resources) -> String {
    let cpus = resources.cpu_milli / 1000;
    let milli = resources.cpu_milli % 1000;
    let cpus = match milli {
        0 => cpus.to_string(),
        _ => format!("{cpus}.{milli:03}").trim_end_matches('0').to_owned(),
    };
    let memory = ByteSize::b(resources.memory_bytes).display().iec();
    format!("{cpus} processors and {memory} of memory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_processors_and_binary_units() {
        for (cpu_milli, memory_bytes, expected) in [
            (1000, 1 << 30, "1 processors and 1.0 GiB of memory"),
            (1250, 3 << 29, "1.25 processors and 1.5 GiB of memory"),
            (5, 512, "0.005 processors and 512 B of memory"),
        ] {
            let resources = Resources {
                cpu_milli,
                memory_bytes,
            };
            assert_eq!(words(&resources), expected);
        }
    }
}
