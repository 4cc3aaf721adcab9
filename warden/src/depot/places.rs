//! Places of a depot: each stands for a uid and an address.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::WardenError;

/// A range of addresses, written `10.254.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    /// The first address.
    pub base: Ipv4Addr,
    /// How many leading bits are fixed.
    pub prefix: u8,
}

/// Which places are taken. A place is re-used as late as possible, so that a stale address points
/// at nothing for a while rather than at somebody else.
#[derive(Debug)]
pub(super) struct Places {
    taken: Vec<bool>,
    next: usize,
}

/// A container's cable has four addresses: network, host's end, container's end, broadcast.
const PER_CONTAINER: u32 = 4;

// === impl Subnet ===

impl Subnet {
    /// How many blocks for `containers` each it has.
    pub(crate) fn blocks(self, containers: u32) -> u32 {
        let addresses = 1u64 << (32 - u32::from(self.prefix));
        let block = u64::from(containers) * u64::from(PER_CONTAINER);
        u32::try_from(addresses / block).unwrap_or(u32::MAX)
    }

    /// A block of it.
    pub(crate) fn block(self, slot: u32, containers: u32) -> Self {
        let size = containers * PER_CONTAINER;
        let bits = size.trailing_zeros();
        Self {
            base: Ipv4Addr::from_bits(self.base.to_bits() + slot * size),
            prefix: u8::try_from(32 - bits).unwrap_or(32),
        }
    }

    /// The host's and the container's end of a cable in this block.
    pub(crate) fn cable(self, index: u32) -> (Ipv4Addr, Ipv4Addr) {
        let network = self.base.to_bits() + index * PER_CONTAINER;
        (
            Ipv4Addr::from_bits(network + 1),
            Ipv4Addr::from_bits(network + 2),
        )
    }

    /// Whether an address range of the host has an address in common with it.
    pub(crate) fn overlaps(self, network: u32, mask: u32) -> bool {
        let own = u32::MAX
            .checked_shl(32 - u32::from(self.prefix))
            .unwrap_or(0);
        let both = own & mask;
        self.base.to_bits() & both == network & both
    }
}

impl FromStr for Subnet {
    type Err = WardenError;

    fn from_str(text: &str) -> Result<Self, WardenError> {
        let parse = || {
            let (base, prefix) = text.split_once('/')?;
            let (base, prefix): (Ipv4Addr, u8) = (base.parse().ok()?, prefix.parse().ok()?);
            let within = (8..=30).contains(&prefix);
            let aligned = within && base.to_bits() << prefix == 0;
            aligned.then_some(Self { base, prefix })
        };
        parse().ok_or_else(|| {
            WardenError::bad_spec("subnet", format!("{text:?} is not like 10.254.0.0/16"))
        })
    }
}

impl TryFrom<String> for Subnet {
    type Error = WardenError;
    fn try_from(text: String) -> Result<Self, WardenError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

// === impl Places ===

impl Places {
    pub(super) fn new(count: u32) -> Self {
        Self {
            taken: vec![false; count as usize],
            next: 0,
        }
    }

    /// Marks a place as taken by a container that was there before us.
    pub(super) fn keep(&mut self, index: u32) {
        if let Some(place) = self.taken.get_mut(index as usize) {
            *place = true;
            self.next = self.next.max(index as usize + 1);
        }
    }

    /// The free place that has been free for longest.
    pub(super) fn take(&mut self) -> Option<u32> {
        let count = self.taken.len();
        let free = (0..count)
            .map(|i| (self.next + i) % count)
            .find(|i| !self.taken[*i])?;
        self.taken[free] = true;
        self.next = (free + 1) % count;
        u32::try_from(free).ok()
    }

    pub(super) fn release(&mut self, index: u32) {
        if let Some(place) = self.taken.get_mut(index as usize) {
            *place = false;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn blocks_do_not_touch_each_other() {
        let pool: Subnet = "10.254.0.0/16".parse().unwrap();
        assert_eq!(pool.blocks(256), 64);
        let last = pool.block(63, 256);
        assert_eq!(last.to_string(), "10.254.252.0/22");
        let (outside, inside) = last.cable(255);
        assert_eq!(outside, Ipv4Addr::new(10, 254, 255, 253));
        assert_eq!(inside, Ipv4Addr::new(10, 254, 255, 254));
    }

    #[test]
    fn an_overlap_is_seen_from_both_sides() {
        let block: Subnet = "10.254.4.0/22".parse().unwrap();
        let range = |text: &str| {
            let (base, prefix) = text.split_once('/').unwrap();
            let bits = u32::MAX
                .checked_shl(32 - prefix.parse::<u32>().unwrap())
                .unwrap_or(0);
            (base.parse::<Ipv4Addr>().unwrap().to_bits(), bits)
        };
        for (other, expected) in [
            ("10.0.0.0/8", true),
            ("10.254.5.0/24", true),
            ("10.254.8.0/22", false),
        ] {
            let (network, mask) = range(other);
            assert_eq!(block.overlaps(network, mask), expected, "{other}");
        }
    }

    #[test]
    fn odd_subnets_are_refused() {
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.1/16",
            "10.0.0.0/33",
            "10.0.0.0/31",
            "x/8",
            "::/8",
        ] {
            assert!(bad.parse::<Subnet>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_place_comes_back_last() {
        let mut places = Places::new(4);
        places.keep(1);
        let order: Vec<_> = std::iter::from_fn(|| places.take()).collect();
        assert_eq!(order, [2, 3, 0]);
        places.release(2);
        places.release(0);
        assert_eq!(places.take(), Some(2));
        assert_eq!(places.take(), Some(0));
        assert_eq!(places.take(), None);
    }
}
