//! Quantities that carry their unit in their type.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Text that should have been a size such as `256M` or `1G` is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a size: write a whole number with M, MB, G or GB, such as 256M or 1G")]
pub struct ParseSizeError {
    text: String,
}

fn parse_mb(text: &str) -> Result<u32, ParseSizeError> {
    let fail = || ParseSizeError {
        text: text.to_owned(),
    };
    let upper = text.trim().to_ascii_uppercase();
    let unit_at = upper.find(|c: char| !c.is_ascii_digit()).ok_or_else(fail)?;
    let (digits, unit) = upper.split_at(unit_at);
    let factor = match unit {
        "M" | "MB" => 1,
        "G" | "GB" => 1024,
        "T" | "TB" => 1024 * 1024,
        _ => return Err(fail()),
    };
    digits
        .parse::<u32>()
        .ok()
        .and_then(|n| n.checked_mul(factor))
        .ok_or_else(fail)
}

macro_rules! megabytes {
    ($($(#[$doc:meta])* $name:ident;)+) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u32);

        impl $name {
            /// The same amount in bytes.
            #[must_use]
            pub fn bytes(self) -> u64 {
                u64::from(self.0) * 1024 * 1024
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                if self.0 > 0 && self.0.is_multiple_of(1024) {
                    write!(f, "{}G", self.0 / 1024)
                } else {
                    write!(f, "{}M", self.0)
                }
            }
        }

        impl FromStr for $name {
            type Err = ParseSizeError;

            fn from_str(text: &str) -> Result<Self, ParseSizeError> {
                parse_mb(text).map(Self)
            }
        }
    )+};
}

megabytes! {
    /// Memory in MiB, the unit of `memory` in the API and of `mem` on the bus.
    MemoryMb;
    /// Disk in MiB, the unit of `disk_quota` in the API and of `disk` on the bus.
    DiskMb;
}

/// Which of an app's wanted copies an instance is, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct InstanceIndex(pub u32);

impl fmt::Display for InstanceIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!("256M".parse::<MemoryMb>().unwrap(), MemoryMb(256));
        assert_eq!("1g".parse::<MemoryMb>().unwrap(), MemoryMb(1024));
        assert_eq!("2GB".parse::<DiskMb>().unwrap(), DiskMb(2048));
        for bad in ["", "256", "M", "-1M", "1.5G", "5000000000G", "12X"] {
            assert!(bad.parse::<MemoryMb>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_whole_unit() {
        assert_eq!(MemoryMb(1024).to_string(), "1G");
        assert_eq!(MemoryMb(1536).to_string(), "1536M");
        assert_eq!(DiskMb(0).to_string(), "0M");
    }
}
