//! What the system says of this process.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Readings closer together than this say nothing about the load.
const SHORTEST: Duration = Duration::from_millis(250);
/// Linux counts processor time in hundredths of a second for its readers, whatever its own tick.
const TICKS: f64 = 100.0;

/// Measures the share of the processor between two readings.
#[derive(Debug, Default)]
pub(crate) struct Load(Mutex<Option<Reading>>);

#[derive(Clone, Copy, Debug)]
struct Reading {
    at: Instant,
    ticks: u64,
    percent: f64,
}

impl Load {
    /// Processor time since the last reading, in percent of one core; 0 at first.
    pub(crate) fn percent(&self) -> f64 {
        let Some(ticks) = processor_ticks() else {
            return 0.0;
        };
        self.read(Instant::now(), ticks)
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of the processor needs no more than 53 bits"
    )]
    fn read(&self, at: Instant, ticks: u64) -> f64 {
        let mut last = self.0.lock();
        let percent = match *last {
            None => 0.0,
            Some(before) => {
                let past = at.saturating_duration_since(before.at);
                if past < SHORTEST {
                    return before.percent;
                }
                let used = ticks.saturating_sub(before.ticks) as f64 / TICKS;
                (used / past.as_secs_f64() * 1000.0).round() / 10.0
            }
        };
        *last = Some(Reading { at, ticks, percent });
        percent
    }
}

/// Processor time of this process so far, in seconds.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds need no more than 53 bits"
)]
pub(crate) fn cpu_seconds() -> Option<f64> {
    processor_ticks().map(|ticks| ticks as f64 / TICKS)
}

/// User and system time so far.
fn processor_ticks() -> Option<u64> {
    ticks_in(&std::fs::read_to_string("/proc/self/stat").ok()?)
}

/// The name of the program comes second, in parentheses, and may contain anything.
fn ticks_in(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// What the process holds in memory; 0 where the system does not say.
pub(crate) fn resident_bytes() -> u64 {
    let read = || -> Option<u64> {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    read().unwrap_or(0) * 1024
}

/// Cores this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_and_processor_are_known_here() {
        assert!(resident_bytes() > 0);
        assert!(processor_ticks().is_some());
        assert!(cores() > 0);
    }

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 25 17 0 0";
        assert_eq!(ticks_in(stat), Some(42));
        assert_eq!(ticks_in("nonsense"), None);
    }

    #[test]
    fn the_load_is_measured_between_readings() {
        let load = Load::default();
        let start = Instant::now();
        assert!(load.read(start, 100).abs() < f64::EPSILON);
        let half = load.read(start + Duration::from_secs(2), 200);
        assert!((half - 50.0).abs() < 0.01);
        // Too soon for news.
        let again = load.read(start + Duration::from_millis(2100), 210);
        assert!((again - 50.0).abs() < 0.01);
    }
}
