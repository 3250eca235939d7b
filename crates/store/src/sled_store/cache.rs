//! How much memory the cache of rows may take where nobody says it.

use std::path::Path;

/// Small machines have at least this, and large ones no more than that without being told.
const LEAST: u64 = 128 << 20;
const MOST: u64 = 1 << 30;

/// Where Linux says what a container may take: version 2 of its control groups, and version 1.
const LIMITS: [&str; 2] = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// A quarter of the memory that the process may have, from 128 MiB to 1 GiB.
pub(super) fn default_bytes() -> u64 {
    let machine = machine_bytes().unwrap_or(0);
    let limit = LIMITS.iter().find_map(|file| limit_in(Path::new(file)));
    share_of(limit.map_or(machine, |limit| limit.min(machine)))
}

fn share_of(memory: u64) -> u64 {
    (memory / 4).clamp(LEAST, MOST)
}

/// `max` (no limit) is no number, and version 1 writes a very large one.
fn limit_in(file: &Path) -> Option<u64> {
    std::fs::read_to_string(file).ok()?.trim().parse().ok()
}

/// What Linux says of the machine's memory; elsewhere there is no such file.
fn machine_bytes() -> Option<u64> {
    total_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn total_in(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = total.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_memory_is_the_cache_s_within_bounds() {
        for (memory, cache) in
            [(0, LEAST), (256 << 20, LEAST), (2 << 30, 512 << 20), (4 << 30, MOST), (u64::MAX, MOST)]
        {
            assert_eq!(share_of(memory), cache, "of {memory}");
        }
        assert!((LEAST..=MOST).contains(&default_bytes()));
    }

    #[test]
    fn the_machine_s_memory_is_read_in_kibibytes() {
        assert_eq!(
            total_in("MemTotal:       24634372 kB\nMemFree:        13123456 kB\n"),
            Some(24_634_372 << 10)
        );
        assert_eq!(total_in("MemFree: 1 kB\nMemTotal: much\n"), None);
    }

    #[test]
    fn a_limit_is_a_number_in_a_file_or_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("memory.max");
        assert_eq!(limit_in(&file), None);
        for (text, limit) in [("max\n", None), ("536870912\n", Some(536_870_912))] {
            std::fs::write(&file, text).unwrap();
            assert_eq!(limit_in(&file), limit);
        }
    }
}
