//! The connections that ended last.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;

use super::sample::Sample;

/// A bounded memory of closed connections: the oldest goes when a new one comes.
#[derive(Debug)]
pub(crate) struct Closed {
    ring: Mutex<VecDeque<Arc<Sample>>>,
    most: usize,
}

impl Closed {
    /// Remembers at most `most`.
    pub(crate) fn new(most: usize) -> Self {
        Closed {
            ring: Mutex::default(),
            most,
        }
    }

    pub(crate) fn add(&self, sample: Arc<Sample>) {
        if self.most == 0 {
            return;
        }
        // Dropped after the lock.
        let _oldest = {
            let mut ring = self.ring.lock();
            let oldest = if ring.len() >= self.most {
                ring.pop_front()
            } else {
                None
            };
            ring.push_back(sample);
            oldest
        };
    }

    /// All of them, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Sample>> {
        self.ring.lock().iter().cloned().collect()
    }
}
