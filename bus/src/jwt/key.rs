//! Public nkeys by what they belong to.

use nkeys::{KeyPair, from_public_key};

/// What a key belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyKind {
    Operator,
    Account,
    User,
}

/// What a public key belongs to; `None` for anything else.
///
/// By the prefix itself: the library takes prefixes it does not know for operators.
pub(super) fn kind(text: &str) -> Option<KeyKind> {
    let (prefix, _) = from_public_key(text).ok()?;
    match prefix >> 3 {
        0 if prefix == 0 => Some(KeyKind::Account),
        14 => Some(KeyKind::Operator),
        20 => Some(KeyKind::User),
        _ => None,
    }
}

/// Whether the holder of the key signed these bytes.
pub(super) fn is_signed(key: &str, text: &[u8], signature: &[u8]) -> bool {
    signature.len() == 64
        && KeyPair::from_public_key(key).is_ok_and(|key| key.verify(text, signature).is_ok())
}
