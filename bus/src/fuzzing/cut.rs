//! Cutting a stream where two bytes of the input say.

/// Cuts a stream into pieces of random lengths, short ones more often.
pub(super) fn pieces<'a>(stream: &'a [u8], dice: &mut Dice) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = stream;
    while !rest.is_empty() {
        let most = if dice.roll().is_multiple_of(4) {
            200
        } else {
            9
        };
        let (head, tail) = rest.split_at(dice.below(most).min(rest.len()));
        pieces.push(head);
        rest = tail;
    }
    pieces
}

/// Randomness that a byte of the input decides.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(bytes: [u8; 2]) -> Self {
        Dice(u64::from(u16::from_le_bytes(bytes)) | 1 << 16)
    }

    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// From 0 to `most`.
    fn below(&mut self, most: u64) -> usize {
        usize::try_from(self.roll() % (most + 1)).unwrap_or(0)
    }
}
