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

    /// The hash of `bytes` under this seed: folded multiplications over words of eight.
    #[inline]
    pub(crate) fn hash(self, bytes: &[u8]) -> u64 {
        let mut state = self.0 ^ (bytes.len() as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut chunks = bytes.chunks_exact(8);
        for chunk in &mut chunks {
            let mut word = [0u8; 8];
            word.copy_from_slice(chunk);
            state = fold(state ^ u64::from_le_bytes(word), self.1);
        }
        let rest = chunks.remainder();
        if !rest.is_empty() {
            let mut word = [0u8; 8];
            word[..rest.len()].copy_from_slice(rest);
            state = fold(state ^ u64::from_le_bytes(word), self.1);
        }
        fold(state, 0xD6E8_FEB8_6659_FD93 ^ self.1)
    }
}

#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "folding keeps both halves of the product"
)]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a).wrapping_mul(u128::from(b));
    (product as u64) ^ ((product >> 64) as u64)
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
