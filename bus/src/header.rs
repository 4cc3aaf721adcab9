//! The header block of a message: `NATS/1.0`, then `Key: value` lines, then an empty one.

/// The first line of every block.
const VERSION: &[u8] = b"NATS/1.0";

/// The value of a header, whatever the case of its name; the first of several. `None` when it is no text.
pub(crate) fn value<'a>(block: &'a [u8], name: &str) -> Option<&'a str> {
    let (_, value) = lines(block).find(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()))?;
    std::str::from_utf8(value).ok()
}

/// A block with one header set and all others as they were; `block` may be empty.
pub(crate) fn with(block: &[u8], name: &str, value: &str) -> Vec<u8> {
    let mut made = Vec::with_capacity(block.len() + name.len() + value.len() + 16);
    let first = memchr::memmem::find(block, b"\r\n").unwrap_or(0);
    made.extend_from_slice(if first == 0 { VERSION } else { &block[..first] });
    made.extend_from_slice(b"\r\n");
    for (key, value) in lines(block) {
        if !key.eq_ignore_ascii_case(name.as_bytes()) {
            line(&mut made, key, value);
        }
    }
    line(&mut made, name.as_bytes(), value.as_bytes());
    made.extend_from_slice(b"\r\n");
    made
}

fn line(to: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    to.extend_from_slice(key);
    to.extend_from_slice(b": ");
    to.extend_from_slice(value);
    to.extend_from_slice(b"\r\n");
}

/// Names and values in order, without the blanks around them.
fn lines(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    block
        .split(|byte| *byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let at = memchr::memchr(b':', line)?;
            Some((line[..at].trim_ascii(), line[at + 1..].trim_ascii()))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_and_set() {
        let block = b"NATS/1.0 100 Idle\r\nA: 1\r\nb:2\r\na: 3\r\n\r\n";
        assert_eq!(
            (value(block, "a"), value(block, "B"), value(block, "c")),
            (Some("1"), Some("2"), None)
        );
        assert_eq!(
            with(block, "B", "x"),
            b"NATS/1.0 100 Idle\r\nA: 1\r\na: 3\r\nB: x\r\n\r\n"
        );
        assert_eq!(with(b"", "B", "x"), b"NATS/1.0\r\nB: x\r\n\r\n");
        assert_eq!(value(&[0xff, b'\n', b'a', b':', 0xff], "a"), None);
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_a_block(block in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            let made = with(&block, "X", "y");
            proptest::prop_assert_eq!(value(&made, "X"), Some("y"));
        }
    }
}
