//! Randomness for what only has to differ: pauses and host names. Nothing secret comes from here,
//! so the seeds of the standard library's hash maps are good enough.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

/// A number from 0 to `end` - 1; 0 where `end` is 0.
pub(crate) fn below(end: u64) -> u64 {
    // Every state has keys of its own, and hashing nothing shows them.
    RandomState::new()
        .build_hasher()
        .finish()
        .checked_rem(end)
        .unwrap_or(0)
}

/// One of some; nothing only where there are none.
pub(crate) fn one_of<T>(choices: &[T]) -> Option<&T> {
    let index = below(choices.len() as u64);
    choices.get(usize::try_from(index).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_choice_comes_up() {
        let seen: BTreeSet<u64> = (0..1000).map(|_| below(6)).collect();
        assert_eq!(seen, (0..6).collect());
        assert_eq!(below(0), 0);
        assert_eq!(one_of::<u8>(&[]), None);
        assert_eq!(one_of(&[7]), Some(&7));
    }
}
