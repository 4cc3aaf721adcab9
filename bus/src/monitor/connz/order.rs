//! In which order connections are listed.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::SystemTime;

use crate::monitor::sample::Sample;

/// An order of connections. What is equal in it stays in the order of the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Cid,
    Start,
    Subscriptions,
    Pending,
    OutMsgs,
    InMsgs,
    OutBytes,
    InBytes,
    Last,
    Idle,
    Uptime,
    Rtt,
    Stop,
    Reason,
}

/// Their names.
const NAMES: [(&str, Order); 14] = [
    ("cid", Order::Cid),
    ("start", Order::Start),
    ("subs", Order::Subscriptions),
    ("pending", Order::Pending),
    ("msgs_to", Order::OutMsgs),
    ("msgs_from", Order::InMsgs),
    ("bytes_to", Order::OutBytes),
    ("bytes_from", Order::InBytes),
    ("last", Order::Last),
    ("idle", Order::Idle),
    ("uptime", Order::Uptime),
    ("rtt", Order::Rtt),
    ("stop", Order::Stop),
    ("reason", Order::Reason),
];

impl Order {
    /// The order of this name; by number when it is empty.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if name.is_empty() {
            return Some(Order::Cid);
        }
        NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, order)| *order)
    }

    /// Its name, if only closed connections have what it goes by.
    pub(crate) fn needs_closed(self) -> Option<&'static str> {
        match self {
            Order::Stop => Some("stop"),
            Order::Reason => Some("reason"),
            _ => None,
        }
    }

    /// Sorts: big numbers first, young before old, idle longest first.
    pub(crate) fn sort(self, samples: &mut [Arc<Sample>], now: SystemTime) {
        samples.sort_unstable_by_key(|sample| sample.cid);
        match self {
            Order::Cid | Order::Start => {}
            Order::Subscriptions => samples.sort_by_key(|sample| Reverse(sample.subscriptions)),
            Order::Pending => samples.sort_by_key(|sample| Reverse(sample.pending)),
            Order::OutMsgs => samples.sort_by_key(|sample| Reverse(sample.traffic.out_msgs)),
            Order::InMsgs => samples.sort_by_key(|sample| Reverse(sample.traffic.in_msgs)),
            Order::OutBytes => samples.sort_by_key(|sample| Reverse(sample.traffic.out_bytes)),
            Order::InBytes => samples.sort_by_key(|sample| Reverse(sample.traffic.in_bytes)),
            Order::Last => samples.sort_by_key(|sample| Reverse(sample.last)),
            Order::Idle => samples.sort_by_key(|sample| sample.last),
            Order::Uptime => samples.sort_by_key(|sample| sample.uptime(now)),
            Order::Rtt => samples.sort_by_key(|sample| Reverse(sample.rtt)),
            Order::Stop => samples.sort_by_key(|sample| Reverse(sample.stop)),
            Order::Reason => samples.sort_by_key(|sample| sample.stop.map(|(_, reason)| reason)),
        }
    }
}
