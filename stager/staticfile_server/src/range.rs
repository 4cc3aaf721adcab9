//! The `Range` header: one stretch of a file.

/// What of a file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// All of it: there is no range, or one that we need not honour.
    All,
    /// From the first offset up to, not including, the second.
    Part(u64, u64),
    /// Nothing that the file has.
    Nothing,
}

/// Reads a `Range` header for a file of `length` bytes.
///
/// Several ranges, other units and syntax errors mean "all of it", as RFC 9110 §14.2 allows.
#[must_use]
pub fn parse(header: &str, length: u64) -> Wanted {
    let Some((unit, set)) = header.split_once('=') else {
        return Wanted::All;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return Wanted::All;
    }
    let Some((first, last)) = set.trim().split_once('-') else {
        return Wanted::All;
    };
    let (first, last) = (first.trim(), last.trim());
    match (number(first), number(last)) {
        (Some(from), _) if last.is_empty() => part(from, length, length),
        (Some(from), Some(to)) if from <= to => part(from, to.saturating_add(1), length),
        (None, Some(tail)) if first.is_empty() => match tail {
            0 => Wanted::Nothing,
            _ => part(length.saturating_sub(tail), length, length),
        },
        _ => Wanted::All,
    }
}

fn part(from: u64, to: u64, length: u64) -> Wanted {
    if from < length {
        Wanted::Part(from, to.min(length))
    } else {
        Wanted::Nothing
    }
}

/// Digits alone; too many of them are simply very far out.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Wanted::{All, Nothing, Part};

    #[test]
    fn one_range_is_cut_to_the_file() {
        for (header, wanted) in [
            ("bytes=0-", Part(0, 10)),
            ("bytes=0-0", Part(0, 1)),
            ("bytes=3-5", Part(3, 6)),
            ("Bytes = 3 - 5", Part(3, 6)),
            ("bytes=9-99", Part(9, 10)),
            ("bytes=-3", Part(7, 10)),
            ("bytes=-99", Part(0, 10)),
            ("bytes=0-18446744073709551616", Part(0, 10)),
        ] {
            assert_eq!(parse(header, 10), wanted, "{header}");
        }
    }

    #[test]
    fn ranges_beyond_the_file_select_nothing() {
        for header in [
            "bytes=10-",
            "bytes=10-20",
            "bytes=-0",
            "bytes=99999999999999999999-",
        ] {
            assert_eq!(parse(header, 10), Nothing, "{header}");
        }
        assert_eq!(parse("bytes=0-", 0), Nothing);
    }

    #[test]
    fn what_is_not_understood_selects_everything() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(parse(header, 10), All, "{header}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_part_always_lies_within_the_file(header in "(bytes=)?[0-9 ,a-]{0,24}", length in 0u64..1000) {
            if let Part(from, to) = parse(&header, length) {
                proptest::prop_assert!(from < to && to <= length);
            }
        }
    }
}
