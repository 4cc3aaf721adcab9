//! Two words that make a host name nobody else has.

use crate::chance;

const QUALITIES: [&str; 40] = [
    "able", "amber", "bold", "brave", "brisk", "calm", "clear", "clever", "cosy", "crisp", "eager",
    "early", "fair", "fond", "fresh", "gentle", "glad", "golden", "grand", "happy", "honest",
    "jolly", "keen", "kind", "lively", "lucky", "mellow", "merry", "mild", "neat", "noble",
    "patient", "proud", "quick", "quiet", "rapid", "silver", "sunny", "warm", "wise",
];
const THINGS: [&str; 40] = [
    "anvil", "badger", "beacon", "bellows", "birch", "bridge", "brook", "casting", "cedar",
    "crane", "crucible", "ember", "falcon", "ferry", "finch", "flint", "forge", "furnace", "gable",
    "harbor", "hazel", "heron", "ingot", "iron", "kiln", "ladle", "lantern", "linden", "maple",
    "meadow", "mill", "otter", "rook", "sparrow", "spruce", "tongs", "tower", "valley", "wharf",
    "willow",
];

/// `quality-thing` and three digits, so that one and a half million names are equally likely.
pub(crate) fn random_suffix() -> String {
    let quality = chance::one_of(&QUALITIES).copied().unwrap_or("calm");
    let thing = chance::one_of(&THINGS).copied().unwrap_or("forge");
    let number = chance::below(1000);
    format!("{quality}-{thing}-{number:03}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suffixes_are_host_names_and_differ() {
        let suffixes: std::collections::BTreeSet<_> = (0..100).map(|_| random_suffix()).collect();
        assert!(suffixes.len() > 90);
        assert!(
            suffixes
                .iter()
                .all(|s| s.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))
        );
    }
}
