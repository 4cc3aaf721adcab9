//! Memory as the kernel accounts it.

use std::fs;

/// Proportional set size of a process in MiB: its private pages, and its share of those that it has
/// in common with others.
pub(crate) fn pss_mib(pid: i32) -> f64 {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    let kib: f64 = line
        .and_then(|l| l.split_whitespace().next())
        .and_then(|n| n.parse().ok())
        .unwrap_or(0.0);
    kib / 1_024.0
}
