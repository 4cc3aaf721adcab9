//! Subscriptions that reach into other accounts: what is imported there arrives under its local name.

use std::sync::Arc;

use crate::account::Account;
use crate::subject::{self, ONE, REST};
use crate::subscription::Subscription;

use super::{Exchange, StreamImport};

/// What makes a subscription a shadow of another one.
#[derive(Debug)]
pub(crate) struct Shadow {
    /// The subscription the client made. Deliveries count as its own.
    pub(crate) of: Arc<Subscription>,
    /// Where that one is listed.
    pub(crate) account: Arc<Account>,
    pub(crate) import: Arc<StreamImport>,
}

/// What a subscription to `subject` must be listed as in other accounts, since it is imported from there.
///
/// One step only: what an account imports it does not export again, as with nats-server.
pub(crate) fn places<'a>(
    exchange: &'a Exchange,
    subject: &'a [u8],
) -> impl Iterator<Item = (&'a Arc<StreamImport>, Vec<u8>)> {
    exchange.streams.iter().filter_map(move |import| {
        let local = intersect(subject, &import.pairing.local)?;
        let remote = import.pairing.to_remote(&local).unwrap_or(local);
        Some((import, remote))
    })
}

/// The pattern that matches exactly what both patterns match, if they have anything in common.
pub(crate) fn intersect(one: &[u8], other: &[u8]) -> Option<Vec<u8>> {
    let (mut one, mut other) = (subject::tokens(one), subject::tokens(other));
    let mut common: Vec<u8> = Vec::new();
    let mut push = |token: &[u8]| {
        if !common.is_empty() {
            common.push(b'.');
        }
        common.extend_from_slice(token);
    };
    loop {
        match (one.next(), other.next()) {
            (None, None) => return Some(common),
            (Some(REST), Some(token)) => {
                push(token);
                other.for_each(push);
                return Some(common);
            }
            (Some(token), Some(REST)) => {
                push(token);
                one.for_each(push);
                return Some(common);
            }
            (Some(ONE), Some(token)) | (Some(token), Some(ONE)) => push(token),
            (Some(a), Some(b)) if a == b => push(a),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = String> {
        (
            proptest::collection::vec(prop_oneof![2 => "[ab]", 1 => Just("*".to_owned())], 1..5),
            any::<bool>(),
        )
            .prop_map(|(mut tokens, open)| {
                if open {
                    tokens.push(">".to_owned());
                }
                tokens.join(".")
            })
    }

    #[test]
    fn what_two_patterns_have_in_common() {
        for (one, other, common) in [
            ("a", "a", Some("a")),
            ("a.*", "*.b", Some("a.b")),
            ("a.>", "*.b.*", Some("a.b.*")),
            ("a.>", "a.*.>", Some("a.*.>")),
            (">", "a", Some("a")),
            (">", ">", Some(">")),
            ("a.>", "a", None),
            ("a.b", "a.c", None),
            ("a.*", "a.b.c", None),
        ] {
            let found = intersect(one.as_bytes(), other.as_bytes());
            assert_eq!(found.as_deref(), common.map(str::as_bytes), "{one} {other}");
        }
    }

    proptest! {
        #[test]
        fn exactly_what_both_match_is_common(
            one in pattern(),
            other in pattern(),
            subject in proptest::collection::vec("[ab]", 1..6),
        ) {
            let (one, other, subject) = (one.as_bytes(), other.as_bytes(), subject.join("."));
            let both = subject::matches(one, subject.as_bytes()) && subject::matches(other, subject.as_bytes());
            let common = intersect(one, other);
            prop_assert_eq!(both, common.is_some_and(|common| subject::matches(&common, subject.as_bytes())));
        }
    }
}
