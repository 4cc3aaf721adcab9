//! The latest lines of an app, in one multipart answer.

use anyhow::Context as _;
use cupola_types::AppGuid;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderValue};

use super::{LogLine, base};
use crate::client::{Client, Request, join};

/// Oldest first.
pub(crate) async fn recent(client: &Client, app: &AppGuid) -> anyhow::Result<Vec<LogLine>> {
    let url = join(&base(client)?, &format!("/apps/{app}/recentlogs"))?;
    let request = Request::new(Method::GET, url).header(ACCEPT, HeaderValue::from_static("*/*"));
    let answer = client.send(&request).await?;
    let boundary = answer
        .headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(boundary)
        .context("the log server's answer is no multipart message")?;
    let mut lines: Vec<LogLine> = parts(&answer.body, &boundary)
        .into_iter()
        .filter_map(LogLine::read)
        .collect();
    lines.sort_by_key(|line| line.timestamp);
    Ok(lines)
}

/// The `boundary` of `multipart/x-protobuf; boundary=…`.
fn boundary(content_type: &str) -> Option<String> {
    let mut fields = content_type.split(';').map(str::trim);
    if !fields
        .next()?
        .to_ascii_lowercase()
        .starts_with("multipart/")
    {
        return None;
    }
    fields.find_map(|field| {
        let (name, value) = field.split_once('=')?;
        let value = value.trim().trim_matches('"');
        (name.trim().eq_ignore_ascii_case("boundary") && !value.is_empty())
            .then(|| value.to_owned())
    })
}

/// The bodies between the boundaries; part headers end at the first empty line.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Vec<&'a [u8]> {
    let delimiter = format!("\r\n--{boundary}").into_bytes();
    let mut parts = Vec::new();
    let mut rest = if is_delimiter(body, &delimiter[2..]) {
        &body[delimiter.len() - 2..]
    } else {
        match find_delimiter(body, &delimiter) {
            Some(at) => &body[at + delimiter.len()..],
            None => return parts,
        }
    };
    while !rest.starts_with(b"--") {
        let Some(end) = find_delimiter(rest, &delimiter) else {
            break;
        };
        if let Some(part) = without_headers(&rest[..end]) {
            parts.push(part);
        }
        rest = &rest[end + delimiter.len()..];
    }
    parts
}

/// A delimiter stands at the start of a line and ends it, so that the bytes of a message that look
/// similar do no harm.
fn is_delimiter(bytes: &[u8], delimiter: &[u8]) -> bool {
    bytes
        .strip_prefix(delimiter)
        .is_some_and(|rest| rest.starts_with(b"\r\n") || rest.starts_with(b"--"))
}

fn find_delimiter(bytes: &[u8], delimiter: &[u8]) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + find(bytes.get(from..)?, delimiter)?;
        if is_delimiter(&bytes[at..], delimiter) {
            return Some(at);
        }
        from = at + 1;
    }
}

/// `CRLF (header CRLF)* CRLF bytes`.
fn without_headers(part: &[u8]) -> Option<&[u8]> {
    let part = part.strip_prefix(b"\r\n")?;
    match part.strip_prefix(b"\r\n") {
        Some(bytes) => Some(bytes),
        None => find(part, b"\r\n\r\n").map(|at| &part[at + 4..]),
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack
        .windows(needle.len())
        .position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use proptest::prelude::*;

    use super::*;

    fn framed(bodies: &[Vec<u8>], boundary: &str, headers: &str) -> Vec<u8> {
        let mut message = Vec::new();
        for body in bodies {
            message.extend_from_slice(format!("--{boundary}\r\n{headers}\r\n").as_bytes());
            message.extend_from_slice(body);
            message.extend_from_slice(b"\r\n");
        }
        message.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        message
    }

    #[test]
    fn parts_come_with_or_without_headers() {
        let bodies = vec![
            b"one".to_vec(),
            Vec::new(),
            b"--B in the middle\r\n".to_vec(),
        ];
        assert_eq!(parts(&framed(&bodies, "B", ""), "B"), bodies);
        assert_eq!(
            parts(&framed(&bodies, "B", "Content-Type: x/y\r\n"), "B"),
            bodies
        );
        assert!(parts(b"--B--", "B").is_empty());
        assert!(parts(b"", "B").is_empty());
        assert!(parts(b"--B\r\n\r\nnever closed", "B").is_empty());
    }

    #[test]
    fn boundaries_are_found_in_the_content_type() {
        let found = |text| boundary(text);
        assert_eq!(
            found("multipart/x-protobuf; boundary=abc").as_deref(),
            Some("abc")
        );
        assert_eq!(
            found("Multipart/X-Protobuf;Boundary=\"a b\"").as_deref(),
            Some("a b")
        );
        assert_eq!(found("application/json"), None);
        assert_eq!(found("multipart/x-protobuf"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_survive_framing(bodies in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 0..6)) {
            let boundary = "d8f0a1b2c3";
            let message = framed(&bodies, boundary, "");
            prop_assert_eq!(parts(&message, boundary), bodies);
        }

        #[test]
        fn garbage_does_not_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parts(&bytes, "-");
            let _ = LogLine::read(&bytes);
        }
    }
}
