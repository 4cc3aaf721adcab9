//! Subjects: dot-separated tokens, with `*` for one whole token and `>` for one or more at the end.

/// The wildcard that stands for exactly one token.
pub const ONE: &[u8] = b"*";
/// The wildcard that stands for one or more tokens at the end.
pub const REST: &[u8] = b">";

/// What the subjects of gateways begin with.
const GATEWAYS: [&[u8]; 2] = [b"_GR_.", b"$GR."];
/// What the subjects begin with by which JetStream hears that a message has been taken.
const ACKS: &[u8] = b"$JS.ACK.";

/// The tokens of a subject, in order.
pub fn tokens(subject: &[u8]) -> impl Iterator<Item = &[u8]> {
    subject.split(|byte| *byte == b'.')
}

/// The first token of a subject, by which the wildcard subscriptions are sharded.
pub fn first_token(subject: &[u8]) -> &[u8] {
    match memchr::memchr(b'.', subject) {
        Some(end) => &subject[..end],
        None => subject,
    }
}

/// Whether one may subscribe to this: no empty token, no blank, `>` only as the last token.
pub fn is_valid(subject: &[u8]) -> bool {
    let mut ended = false;
    for token in tokens(subject) {
        if ended || token.is_empty() || token.iter().any(|byte| byte.is_ascii_whitespace()) {
            return false;
        }
        ended = token == REST;
    }
    true
}

/// Whether a whole token is a wildcard. `foo*` and `foo.b>` are ordinary.
pub fn has_wildcard(subject: &[u8]) -> bool {
    memchr::memchr2(b'*', b'>', subject).is_some()
        && tokens(subject).any(|token| token == ONE || token == REST)
}

/// Whether no token is empty. Messages to other subjects reach nobody.
pub fn is_routable(subject: &[u8]) -> bool {
    !subject.is_empty()
        && subject[0] != b'.'
        && subject[subject.len() - 1] != b'.'
        && memchr::memmem::find(subject, b"..").is_none()
}

/// Whether this is a subject one may publish to when pedantic: valid and without wildcards.
pub fn is_literal(subject: &[u8]) -> bool {
    is_valid(subject) && !has_wildcard(subject)
}

/// Whether it is one of those by which gateways of nats-server route answers; nobody may publish there.
#[inline]
pub(crate) fn is_of_gateways(subject: &[u8]) -> bool {
    matches!(subject, [b'_' | b'$', b'G', b'R', ..])
        && GATEWAYS
            .iter()
            .any(|prefix| subject.len() > prefix.len() && subject.starts_with(prefix))
}

/// Whether a server would take an answer sent there for one to a request of its own: to name it as a reply
/// subject would be to answer in the place of others.
#[inline]
pub(crate) fn is_reserved_reply(reply: &[u8]) -> bool {
    match reply {
        [b'_', b'R', b'_', b'.', ..] => true,
        [b'$', b'J', ..] => reply.len() > ACKS.len() && reply.starts_with(ACKS),
        _ => is_of_gateways(reply),
    }
}

/// Whether `pattern` matches the subject of one message.
///
/// A wildcard inside `subject` is an ordinary token here, which only a wildcard matches.
pub fn matches(pattern: &[u8], subject: &[u8]) -> bool {
    let mut pattern = tokens(pattern);
    let mut subject = tokens(subject);
    loop {
        match (pattern.next(), subject.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) => return true,
            (Some(ONE), Some(_)) => {}
            (Some(wanted), Some(token)) if wanted == token && token != ONE && token != REST => {}
            _ => return false,
        }
    }
}

/// Whether every subject that `narrow` matches is matched by `wide` too.
pub fn covers(wide: &[u8], narrow: &[u8]) -> bool {
    let mut wide = tokens(wide);
    let mut narrow = tokens(narrow);
    loop {
        match (wide.next(), narrow.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) => return true,
            (Some(ONE), Some(token)) if token != REST => {}
            (Some(wanted), Some(token)) if wanted == token => {}
            _ => return false,
        }
    }
}

/// Whether some subject is matched by both patterns.
pub fn overlaps(one: &[u8], other: &[u8]) -> bool {
    let mut one = tokens(one);
    let mut other = tokens(other);
    loop {
        match (one.next(), other.next()) {
            (None, None) => return true,
            (Some(REST), Some(_)) | (Some(_), Some(REST)) => return true,
            (Some(a), Some(b)) if a == ONE || b == ONE || a == b => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec(prop_oneof![3 => "[ab]", 1 => Just("*".to_owned())], 1..5)
            .prop_flat_map(|tokens| {
                any::<bool>().prop_map(move |open| {
                    let mut tokens = tokens.clone();
                    if open {
                        tokens.push(">".to_owned());
                    }
                    tokens.join(".").into_bytes()
                })
            })
    }

    fn literal() -> impl Strategy<Value = Vec<u8>> {
        proptest::collection::vec("[ab]", 1..6).prop_map(|tokens| tokens.join(".").into_bytes())
    }

    #[test]
    fn tells_valid_from_invalid() {
        for good in ["a", "a.b", "*", ">", "a.*", "a.>", "foo*", "a.b>", "a.>b.c"] {
            assert!(is_valid(good.as_bytes()), "{good}");
        }
        for bad in [
            "", ".", "a.", ".a", "a..b", ">.a", "a.>.b", "a b", "a\t", "a.\r",
        ] {
            assert!(!is_valid(bad.as_bytes()), "{bad}");
        }
        assert!(has_wildcard(b"a.*") && has_wildcard(b">") && !has_wildcard(b"foo*.b>"));
    }

    #[test]
    fn the_open_end_needs_a_token() {
        assert!(!matches(b"a.>", b"a"));
        assert!(matches(b"a.>", b"a.b.c"));
        assert!(!covers(b"a.*", b"a.>"));
        assert!(covers(b"a.>", b"a.*.b"));
    }

    proptest! {
        #[test]
        fn what_is_covered_is_matched(wide in pattern(), narrow in pattern(), subject in literal()) {
            if covers(&wide, &narrow) && matches(&narrow, &subject) {
                prop_assert!(matches(&wide, &subject));
            }
        }

        #[test]
        fn what_both_match_overlaps(one in pattern(), other in pattern(), subject in literal()) {
            if matches(&one, &subject) && matches(&other, &subject) {
                prop_assert!(overlaps(&one, &other));
            }
        }

        #[test]
        fn a_literal_matches_itself_alone(one in literal(), other in literal()) {
            prop_assert_eq!(matches(&one, &other), one == other);
        }
    }
}
