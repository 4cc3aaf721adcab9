//! A fast hash for short byte strings (subjects, sids), seeded so that outsiders cannot aim at it.

use rand::Rng as _;

/// The secret of one table: two random words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u64, u64);

impl Seed {
    /// A seed nobody can guess.
    pub(crate) fn random() -> Self {
        let mut rng = rand::rng();
        Seed(rng.random(), rng.random::<u64>() | 1)
    }

    /// The hash of `bytes` under this seed: folded multiplications over words of eight. Words may
    /// overlap, so that no length needs a loop over single bytes.
    #[inline]
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = self.0;
        let mut rest = bytes;
        while rest.len() > 16 {
            let (head, tail) = rest.split_at(16);
            state = fold(state ^ first(head), self.1 ^ last(head));
            rest = tail;
        }
        // The last sixteen bytes, or all when there are fewer.
        let (low, high) = match bytes.len() {
            0 => (0, 0),
            1..4 => (triple(bytes), 0),
            4..8 => halves(bytes),
            8..16 => (first(bytes), last(bytes)),
            len => {
                let end = &bytes[len - 16..];
                (first(end), last(end))
            }
        };
        let product = u128::from(state ^ low).wrapping_mul(u128::from(self.1 ^ high));
        let (low, high) = parts(product);
        fold(low ^ bytes.len() as u64 ^ MIX, high ^ self.1)
    }
}

const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

#[inline]
fn first(bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

#[inline]
fn last(bytes: &[u8]) -> u64 {
    bytes
        .last_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// The first and the last four of four to eight bytes.
#[inline]
fn halves(bytes: &[u8]) -> (u64, u64) {
    let half = |word: Option<&[u8; 4]>| word.map_or(0, |word| u32::from_le_bytes(*word));
    (
        half(bytes.first_chunk()).into(),
        half(bytes.last_chunk()).into(),
    )
}

/// One to three bytes.
#[inline]
fn triple(bytes: &[u8]) -> u64 {
    let byte = |at: usize| u64::from(bytes.get(at).copied().unwrap_or(0));
    byte(0) | byte(bytes.len() / 2) << 8 | byte(bytes.len() - 1) << 16
}

/// Whether both are the same. In place for what subjects and sids usually are, which a call to the
/// system's comparison would cost more than.
#[inline]
pub(crate) fn equal(a: &[u8], b: &[u8]) -> bool {
    let len = a.len();
    if len != b.len() {
        return false;
    }
    match len {
        8..=16 => first(a) == first(b) && last(a) == last(b),
        17..=32 => {
            let (a_end, b_end) = (&a[len - 16..], &b[len - 16..]);
            first(a) == first(b)
                && first(&a[8..]) == first(&b[8..])
                && first(a_end) == first(b_end)
                && last(a) == last(b)
        }
        4..8 => halves(a) == halves(b),
        _ => a == b,
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "both halves of the product are kept"
)]
fn parts(product: u128) -> (u64, u64) {
    (product as u64, (product >> 64) as u64)
}

#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let (low, high) = parts(u128::from(a).wrapping_mul(u128::from(b)));
    low ^ high
}

/// A small, fast generator for choices that need no secrecy (which queue member is next).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    /// Starts at a random point.
    pub(crate) fn random() -> Self {
        Dice(rand::rng().random::<u64>() | 1)
    }

    /// A number below `bound` (0 when `bound` is 0).
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the product's upper half is below bound"
    )]
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        ((u128::from(self.0) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn spreads_numbered_subjects() {
        let seed = Seed::random();
        let mut low = HashSet::new();
        let mut all = HashSet::new();
        for n in 0..10_000 {
            let hash = seed.hash(format!("some.subject.{n}").as_bytes());
            all.insert(hash);
            low.insert(hash & 0xff);
        }
        assert_eq!(all.len(), 10_000);
        assert_eq!(low.len(), 256);
    }

    #[test]
    fn every_byte_counts() {
        let seed = Seed::random();
        for len in 0..70 {
            let text = vec![7u8; len];
            assert!(equal(&text, &text.clone()));
            for at in 0..len {
                let mut other = text.clone();
                other[at] ^= 1;
                assert_ne!(seed.hash(&text), seed.hash(&other), "byte {at} of {len}");
                assert!(!equal(&text, &other), "byte {at} of {len}");
            }
            assert_ne!(seed.hash(&text), seed.hash(&vec![7u8; len + 1]));
        }
    }

    #[test]
    fn dice_reach_every_side_and_no_other() {
        let mut dice = Dice::random();
        let mut seen = [0u32; 4];
        for _ in 0..4000 {
            seen[dice.below(4)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 800), "{seen:?}");
        assert_eq!(dice.below(0), 0);
    }
}
