//! Waiting on conditions.

use std::time::{Duration, Instant};

const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Looks until `look` gives something, for at most `within`.
pub fn until<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() > deadline {
            return None;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Looks until `look` says yes.
///
/// # Panics
/// When it does not within `within`.
pub fn eventually(what: &str, within: Duration, mut look: impl FnMut() -> bool) {
    assert!(
        until(within, || look().then_some(())).is_some(),
        "not within {within:?}: {what}"
    );
}
