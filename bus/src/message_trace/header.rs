//! Reading a header block: one value by a quick search, or all of them.

use std::collections::BTreeMap;

/// The value of a header, if it is there under exactly this name and not empty.
pub(super) fn value<'a>(block: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut from = 0;
    while let Some(at) = memchr::memmem::find(&block[from..], name.as_bytes()) {
        let start = from + at;
        let end = start + name.len();
        if block[..start].ends_with(b"\r\n") && block.get(end) == Some(&b':') {
            let rest = &block[end + 1..];
            let line = memchr::memchr(b'\r', rest).map_or(rest, |end| &rest[..end]);
            return Some(line.trim_ascii()).filter(|value| !value.is_empty());
        }
        from = end;
    }
    None
}

/// Whether a `traceparent` header says that the message is sampled (W3C Trace Context, level 1).
pub(super) fn is_sampled(block: &[u8]) -> bool {
    let mut lines = block.split(|byte| *byte == b'\n').skip(1);
    lines.any(|line| {
        let Some(at) = memchr::memchr(b':', line) else {
            return false;
        };
        if !line[..at].eq_ignore_ascii_case(b"traceparent") {
            return false;
        }
        let context = line[at + 1..].trim_ascii();
        let mut parts = context.split(|byte| *byte == b'-').skip(3);
        let (flags, rest) = (parts.next(), parts.next());
        // As nats-server reads them: two digits, the highest bit unset.
        flags.is_some_and(|flags| flags.len() == 2 && rest.is_none() && is_odd(flags))
    })
}

fn is_odd(hex: &[u8]) -> bool {
    let text = std::str::from_utf8(hex).unwrap_or_default();
    i8::from_str_radix(text, 16).is_ok_and(|flags| flags & 1 == 1)
}

/// All headers of a block, with the values of each in order; lines that are none, or say nothing, are left
/// out.
pub(super) fn all(block: &[u8]) -> BTreeMap<String, Vec<String>> {
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for line in String::from_utf8_lossy(block).split("\r\n").skip(1) {
        if let Some((name, value)) = line.split_once(':')
            && !name.trim().is_empty()
            && !value.trim().is_empty()
        {
            let values = headers.entry(name.trim().to_owned()).or_default();
            values.push(value.trim().to_owned());
        }
    }
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &[u8] = b"NATS/1.0\r\nX-Nats-Trace-Dest: no\r\nNats-Trace-Destiny: no\r\n\
        a:1\r\nNats-Trace-Dest:   here \r\na: 2:3\r\nNats-Trace-Dest: second\r\nrubbish\r\nEmpty:\r\n\r\n";

    #[test]
    fn one_value_by_its_exact_name() {
        assert_eq!(value(BLOCK, "Nats-Trace-Dest"), Some(&b"here"[..]));
        assert_eq!(value(BLOCK, "nats-trace-dest"), None);
        assert_eq!(value(BLOCK, "Empty"), None);
        assert_eq!(
            value(b"NATS/1.0\r\nNats-Trace-Dest", "Nats-Trace-Dest"),
            None
        );
        assert_eq!(
            value(b"NATS/1.0\r\nNats-Trace-Dest:x", "Nats-Trace-Dest"),
            Some(&b"x"[..])
        );
    }

    #[test]
    fn sampled_is_what_a_trace_context_says() {
        for (context, sampled) in [
            ("traceparent: 00-4bf9-00f0-01", true),
            ("TraceParent:01-4bf9-00f0-03 ", true),
            ("traceparent: 00-4bf9-00f0-00", false),
            ("traceparent: 00-4bf9-00f0-1", false),
            ("traceparent: 00-4bf9-00f0-ff", false),
            ("traceparent: 00-4bf9-00f0-01-x", false),
            ("traceparent: 00-4bf9-01", false),
            ("x-traceparent: 00-4bf9-00f0-01", false),
            ("traceparent", false),
            ("traceparent: none\r\ntraceparent: 00-4bf9-00f0-01", true),
        ] {
            let block = format!("NATS/1.0\r\nA: b\r\n{context}\r\n\r\n");
            assert_eq!(is_sampled(block.as_bytes()), sampled, "{context}");
        }
    }

    #[test]
    fn all_values_in_order() {
        let headers = all(BLOCK);
        assert_eq!(headers["a"], ["1", "2:3"]);
        assert_eq!(headers["Nats-Trace-Dest"], ["here", "second"]);
        assert_eq!(headers.len(), 4, "{headers:?}");
    }
}
