//! Sizes as people read them.

const UNITS: [(u64, &str); 4] = [
    (1 << 40, "T"),
    (1 << 30, "G"),
    (1 << 20, "M"),
    (1 << 10, "K"),
];

/// `1G`, `64M`, `4.1M`, `12B`: one decimal, and that only where it says something.
pub(crate) fn bytes(amount: u64) -> String {
    let Some((unit, letter)) = UNITS.into_iter().find(|(unit, _)| amount >= *unit) else {
        return if amount == 0 {
            "0".to_owned()
        } else {
            format!("{amount}B")
        };
    };
    // In tenths, rounded half up, without ever leaving the integers.
    let tenths = (u128::from(amount) * 10 + u128::from(unit) / 2) / u128::from(unit);
    match tenths % 10 {
        0 => format!("{}{letter}", tenths / 10),
        tenth => format!("{}.{tenth}{letter}", tenths / 10),
    }
}

/// The API counts memory and disk in MiB.
pub(crate) fn megabytes(amount: u32) -> String {
    if amount == 0 {
        "0".to_owned()
    } else {
        bytes(u64::from(amount) << 20)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_carry_one_decimal_at_most() {
        for (amount, text) in [
            (0, "0"),
            (12, "12B"),
            (1024, "1K"),
            (1536, "1.5K"),
            (4_299_161, "4.1M"),
            (64 << 20, "64M"),
            (1 << 30, "1G"),
            (3 << 40, "3T"),
            (u64::MAX, "16777216T"),
        ] {
            assert_eq!(bytes(amount), text);
        }
        assert_eq!(megabytes(1536), "1.5G");
        assert_eq!(megabytes(256), "256M");
    }
}
