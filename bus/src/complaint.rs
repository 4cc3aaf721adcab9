//! A warning that others may bring about as often as they like, and that is said once a second.

use std::time::{Duration, Instant};

/// How often it is said.
const EVERY: Duration = Duration::from_secs(1);

/// When it was said last, and how often it was not said since.
#[derive(Debug, Default)]
pub(crate) struct Complaint {
    said: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    /// There is a reason again: `Some` when it is to be said, with how many there were since the last time.
    pub(crate) fn again(&mut self, now: Instant) -> Option<u64> {
        self.unsaid += 1;
        if self.said.is_some_and(|said| now - said < EVERY) {
            return None;
        }
        self.said = Some(now);
        Some(std::mem::take(&mut self.unsaid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_once_a_second() {
        let (mut complaint, begun) = (Complaint::default(), Instant::now());
        assert_eq!(complaint.again(begun), Some(1));
        assert_eq!(complaint.again(begun), None);
        assert_eq!(complaint.again(begun + EVERY / 2), None);
        assert_eq!(complaint.again(begun + EVERY), Some(3));
    }
}
