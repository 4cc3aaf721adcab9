//! Distinguished names: read from text as RFC 4514 writes them, compared as RFC 4517 does.

/// A name, the most particular part first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dn(pub(super) Vec<Rdn>);

/// One part: usually one attribute, sometimes several at once (`CN=a+UID=b`).
pub(super) type Rdn = Vec<Attribute>;

/// A type, by its short name, and a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attribute {
    pub(super) kind: String,
    pub(super) value: String,
}

// === impl Dn ===

impl Dn {
    /// Reads `CN=joe,OU=a\,b+L=c,O=d`; `None` when it is no such name.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut dn = Dn::default();
        let mut rdn = Rdn::new();
        let mut kind: Option<String> = None;
        let mut word = Word::default();
        let mut bytes = text.bytes().peekable();
        while let Some(byte) = bytes.next() {
            match byte {
                b'\\' => word.push(escaped(&mut bytes)?),
                b'=' if kind.is_none() => {
                    kind = Some(word.take()?);
                    // A value in BER; nobody writes it by hand.
                    if bytes.peek() == Some(&b'#') {
                        return None;
                    }
                }
                b',' | b'+' => {
                    rdn.push(attribute(kind.take(), &mut word)?);
                    if byte == b',' {
                        dn.0.push(std::mem::take(&mut rdn));
                    }
                }
                b' ' => word.blank(),
                byte => word.push(byte),
            }
        }
        rdn.push(attribute(kind, &mut word)?);
        dn.0.push(rdn);
        Some(dn)
    }

    /// Whether both have the same parts in the same order.
    pub(crate) fn matches(&self, other: &Dn) -> bool {
        self.0.len() == other.0.len()
            && self.0.iter().zip(&other.0).all(|(one, two)| same(one, two))
    }

    /// Whether both have the same parts in any order.
    pub(crate) fn matches_in_any_order(&self, other: &Dn) -> bool {
        let mut left: Vec<&Rdn> = other.0.iter().collect();
        self.0.len() == left.len()
            && self.0.iter().all(|rdn| {
                let place = left.iter().position(|other| same(rdn, other));
                place.map(|place| left.swap_remove(place)).is_some()
            })
    }
}

/// The value of a type ends; both must be there.
fn attribute(kind: Option<String>, word: &mut Word) -> Option<Attribute> {
    let kind = kind.filter(|kind| !kind.is_empty())?;
    let value = word.take()?;
    Some(Attribute { kind, value })
}

/// Types in any case, values exactly, in any order.
fn same(one: &Rdn, two: &Rdn) -> bool {
    let within = |some: &Rdn, all: &Rdn| {
        some.iter().all(|wanted| {
            all.iter().any(|found| {
                found.kind.eq_ignore_ascii_case(&wanted.kind) && found.value == wanted.value
            })
        })
    };
    one.len() == two.len() && within(one, two) && within(two, one)
}

/// What follows a backslash: a special character, or two hexadecimal digits.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    if b" \"#+,;<=>\\".contains(&first) {
        return Some(first);
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let value = digit(first)? * 16 + digit(bytes.next()?)?;
    u8::try_from(value).ok()
}

/// A type or value being read, without the blanks around it.
#[derive(Default)]
struct Word {
    bytes: Vec<u8>,
    blanks: usize,
}

impl Word {
    fn push(&mut self, byte: u8) {
        self.bytes
            .extend(std::iter::repeat_n(b' ', std::mem::take(&mut self.blanks)));
        self.bytes.push(byte);
    }

    fn blank(&mut self) {
        if !self.bytes.is_empty() {
            self.blanks += 1;
        }
    }

    fn take(&mut self) -> Option<String> {
        self.blanks = 0;
        String::from_utf8(std::mem::take(&mut self.bytes)).ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn names_are_read_and_compared() {
        let dn = Dn::parse("CN=www.nats.io, OU=NATS.io ,OU=Engineering").unwrap();
        assert_eq!(dn.0.len(), 3);
        assert_eq!(dn.0[1][0].value, "NATS.io");
        assert!(dn.matches(&Dn::parse("cn=www.nats.io,ou=NATS.io,ou=Engineering").unwrap()));
        let other = Dn::parse("OU=Engineering,CN=www.nats.io,OU=NATS.io").unwrap();
        assert!(!dn.matches(&other) && dn.matches_in_any_order(&other));
        assert!(!dn.matches(&Dn::parse("CN=www.nats.io,OU=nats.io,OU=Engineering").unwrap()));
        assert!(!dn.matches_in_any_order(&Dn::parse("CN=a,CN=a,CN=a").unwrap()));
    }

    #[test]
    fn escapes_and_several_attributes_at_once() {
        let dn = Dn::parse(r"CN=a\,b\2B\C3\A4+UID=7,O=x = y").unwrap();
        assert_eq!(dn.0[0][0].value, "a,b+ä");
        assert_eq!(dn.0[1][0].value, "x = y");
        assert!(dn.matches(&Dn::parse(r"UID=7+CN=a\2cb\+\c3\a4,O=x = y").unwrap()));
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "", "joe", "CN", "CN=a,", "CN=a,b", "=a", r"CN=\", r"CN=\zz", "CN=#04",
        ] {
            assert_eq!(Dn::parse(text), None, "{text}");
        }
    }
}
