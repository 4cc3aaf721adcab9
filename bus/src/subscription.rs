//! One subscription of one client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

use crate::auth::Identity;
use crate::client::Client;
use crate::sublist::Member;

/// The client's name for a subscription, in place when it is short (it nearly always is).
#[derive(Clone, Debug)]
pub(crate) enum Sid {
    Short { len: u8, bytes: [u8; 22] },
    Long(Box<[u8]>),
}

/// One subscription. `max`, `delivered` and `gone` change under the lock of its client's queue only.
#[derive(Debug)]
pub(crate) struct Subscription {
    pub(crate) client: Arc<Client>,
    pub(crate) sid: Sid,
    subject: Arc<[u8]>,
    slot: AtomicU32,
    /// What most subscriptions do not have.
    pub(crate) special: Option<Box<Special>>,
    max: AtomicU64,
    delivered: AtomicU64,
    gone: AtomicBool,
}

/// The rare properties of a subscription, apart so that the many pay nothing for them.
#[derive(Debug, Default)]
pub(crate) struct Special {
    /// Its queue group.
    pub(crate) queue: Option<Arc<[u8]>>,
    /// Set when deliveries must be checked against what its user is denied.
    pub(crate) filter: Option<Arc<Identity>>,
}

/// Whether a subscription takes one more message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Yes,
    /// Yes, and none after it.
    Last,
    No,
}

// === impl Subscription ===

impl Subscription {
    pub(crate) fn new(client: Arc<Client>, subject: &[u8], sid: &[u8], special: Special) -> Self {
        let special = (!special.is_plain()).then(|| Box::new(special));
        Subscription {
            client,
            sid: Sid::new(sid),
            subject: subject.into(),
            slot: AtomicU32::new(0),
            special,
            max: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            gone: AtomicBool::new(false),
        }
    }

    /// Counts a delivery that is about to be queued.
    #[inline]
    pub(crate) fn admit(&self) -> Admission {
        if self.gone.load(Ordering::Relaxed) {
            return Admission::No;
        }
        let delivered = self.delivered.load(Ordering::Relaxed) + 1;
        self.delivered.store(delivered, Ordering::Relaxed);
        let max = self.max.load(Ordering::Relaxed);
        if max != 0 && delivered >= max {
            self.gone.store(true, Ordering::Relaxed);
            return Admission::Last;
        }
        Admission::Yes
    }

    /// Ends it after `max` deliveries from its start; `false` when that many have been made.
    pub(crate) fn end_after(&self, max: u64) -> bool {
        if max == 0 || self.delivered.load(Ordering::Relaxed) >= max {
            self.gone.store(true, Ordering::Relaxed);
            return false;
        }
        self.max.store(max, Ordering::Relaxed);
        true
    }
}

impl Member for Subscription {
    fn shared_subject(&self) -> &Arc<[u8]> {
        &self.subject
    }

    fn queue(&self) -> Option<&Arc<[u8]>> {
        self.special.as_ref()?.queue.as_ref()
    }

    fn slot(&self) -> &AtomicU32 {
        &self.slot
    }
}

// === impl Special ===

impl Special {
    fn is_plain(&self) -> bool {
        self.queue.is_none() && self.filter.is_none()
    }
}

// === impl Sid ===

impl Sid {
    fn new(text: &[u8]) -> Self {
        let mut bytes = [0; 22];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(len)) => {
                place.copy_from_slice(text);
                Sid::Short { len, bytes }
            }
            _ => Sid::Long(text.into()),
        }
    }

    #[inline]
    pub(crate) fn as_bytes(&self) -> &[u8] {
        match self {
            Sid::Short { len, bytes } => &bytes[..usize::from(*len)],
            Sid::Long(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sids_of_any_length_come_back() {
        for len in [0, 1, 21, 22, 23, 300] {
            let text = vec![b'7'; len];
            assert_eq!(Sid::new(&text).as_bytes(), text);
        }
    }
}
