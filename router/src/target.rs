//! What a request asks for: host, path, and perhaps one instance.

use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, Version};

use crate::failure::Failure;
use crate::headers::names;

/// Checks that the head of a request means one thing only, and makes it what is sent on: the target in
/// origin form, the `Host` that was looked up. Returns the host without port.
///
/// # Errors
/// A [`Failure`] that is the client's fault.
pub(crate) fn normalise(parts: &mut Parts) -> Result<String, Failure> {
    if parts.method == Method::CONNECT {
        return Err(Failure::Connect);
    }
    check_framing(&parts.headers)?;
    if parts.headers.get_all(HOST).iter().nth(1).is_some() {
        return Err(Failure::Malformed("several Host headers"));
    }
    if let Some(authority) = parts.uri.authority() {
        // RFC 9112 §3.2.2: the absolute form outranks the header.
        let host = HeaderValue::from_str(authority.as_str())
            .map_err(|_| Failure::Malformed("authority"))?;
        parts.headers.insert(HOST, host);
        let target = parts.uri.path_and_query().cloned();
        parts.uri = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    }
    let Some(host) = parts.headers.get(HOST) else {
        return Err(Failure::EmptyHost);
    };
    let host = host
        .to_str()
        .map_err(|_| Failure::Malformed("Host header"))?;
    let name = without_port(host.trim());
    if name.is_empty() {
        return Err(Failure::EmptyHost);
    }
    if name.len() > 255 || !name.bytes().all(is_host_byte) {
        return Err(Failure::Malformed("Host header"));
    }
    Ok(name.to_owned())
}

/// The one instance that `X-CF-App-Instance` asks for, as app guid and index.
///
/// # Errors
/// [`Failure::BadInstanceHeader`].
pub(crate) fn instance(headers: &HeaderMap) -> Result<Option<(String, String)>, Failure> {
    let mut values = headers.get_all(&names::APP_INSTANCE).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let bad = || Failure::BadInstanceHeader;
    if values.next().is_some() {
        return Err(bad());
    }
    let (app, index) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(':'))
        .ok_or_else(bad)?;
    let is_index = (1..=9).contains(&index.len()) && index.bytes().all(|b| b.is_ascii_digit());
    if is_guid(app) && is_index {
        Ok(Some((app.to_owned(), index.to_owned())))
    } else {
        Err(bad())
    }
}

/// Whether the method says that doing it twice is doing it once, or the client says so itself.
pub(crate) fn is_idempotent<B>(request: &Request<B>) -> bool {
    matches!(
        *request.method(),
        Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE
    ) || request.headers().contains_key(&names::IDEMPOTENCY_KEY)
        || request.headers().contains_key(&names::X_IDEMPOTENCY_KEY)
}

/// Whether the answer's head leaves no doubt where its body ends.
pub(crate) fn is_framed_once(headers: &HeaderMap, version: Version) -> bool {
    let coded = headers.get_all(TRANSFER_ENCODING).iter().count();
    let chunked = headers.get(TRANSFER_ENCODING).is_none_or(|value| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    });
    let doubled = coded > 0 && headers.contains_key(CONTENT_LENGTH);
    coded <= 1 && chunked && !doubled && !(coded > 0 && version == Version::HTTP_10)
}

/// The engine refuses most of it; what it is lenient about is refused here.
fn check_framing(headers: &HeaderMap) -> Result<(), Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next() {
        let plain = coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked");
        if !plain || codings.next().is_some() || headers.contains_key(CONTENT_LENGTH) {
            return Err(Failure::Malformed("Transfer-Encoding"));
        }
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    if let Some(length) = lengths.next() {
        let digits = length.as_bytes();
        let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        if !plain || lengths.next().is_some() {
            return Err(Failure::Malformed("Content-Length"));
        }
    }
    Ok(())
}

fn without_port(host: &str) -> &str {
    if host.starts_with('[') {
        return host.find(']').map_or(host, |end| &host[..=end]);
    }
    host.split_once(':').map_or(host, |(name, _)| name)
}

fn is_host_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'[' | b']' | b':' | b'*')
}

/// Lower-case hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn is_guid(text: &str) -> bool {
    let mut groups = text.split('-');
    let fits = |group: Option<&str>, length: usize| {
        group.is_some_and(|group| {
            group.len() == length
                && group
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        })
    };
    [8, 4, 4, 4, 12]
        .into_iter()
        .all(|length| fits(groups.next(), length))
        && groups.next().is_none()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    fn host(uri: &str, headers: &[(&str, &str)]) -> Result<String, Failure> {
        normalise(&mut parts(uri, headers))
    }

    #[test]
    fn the_host_is_cut_at_the_port_and_the_absolute_form_outranks_it() {
        assert_eq!(host("/x", &[("host", "a.test:8080")]).unwrap(), "a.test");
        assert_eq!(host("/x", &[("host", "[::1]:8080")]).unwrap(), "[::1]");
        let mut absolute = parts("http://b.test:81/p?q", &[("host", "a.test")]);
        assert_eq!(normalise(&mut absolute).unwrap(), "b.test");
        assert_eq!(absolute.headers[HOST], "b.test:81");
        assert_eq!(absolute.uri, "/p?q");
    }

    #[test]
    fn a_target_is_sent_on_as_it_came() {
        for target in ["//x/y", "/a%2Fb;c=d", "/a?", "/%7Euser/%00", "*"] {
            let mut request = parts(target, &[("host", "a.test")]);
            normalise(&mut request).unwrap();
            assert_eq!(request.uri.to_string(), target);
        }
    }

    #[test]
    fn a_head_that_means_two_things_is_refused() {
        assert_eq!(host("/", &[]), Err(Failure::EmptyHost));
        assert_eq!(host("/", &[("host", ":80")]), Err(Failure::EmptyHost));
        for headers in [
            vec![("host", "a.test"), ("host", "b.test")],
            vec![("host", "a.test/x")],
            vec![("host", "a test")],
            vec![("host", "<script>")],
            vec![("host", "a"), ("transfer-encoding", "gzip, chunked")],
            vec![
                ("host", "a"),
                ("transfer-encoding", "chunked"),
                ("content-length", "1"),
            ],
            vec![
                ("host", "a"),
                ("transfer-encoding", "chunked"),
                ("transfer-encoding", "chunked"),
            ],
            vec![("host", "a"), ("content-length", "+1")],
            vec![
                ("host", "a"),
                ("content-length", "1"),
                ("content-length", "1"),
            ],
        ] {
            assert!(
                matches!(host("/", &headers), Err(Failure::Malformed(_))),
                "{headers:?}"
            );
        }
    }

    #[test]
    fn the_instance_header_is_read_strictly() {
        let asked = |value: &str| instance(&parts("/", &[("x-cf-app-instance", value)]).headers);
        let guid = "01234567-89ab-cdef-0123-456789abcdef";
        assert_eq!(
            asked(&format!("{guid}:3")),
            Ok(Some((guid.to_owned(), "3".to_owned())))
        );
        for bad in [
            "",
            "x:0",
            guid,
            &format!("{guid}:"),
            &format!("{guid}:-1"),
            ":1",
        ] {
            assert_eq!(asked(bad), Err(Failure::BadInstanceHeader), "{bad}");
        }
        assert_eq!(
            asked(&format!("{}:1", guid.to_uppercase())),
            Err(Failure::BadInstanceHeader)
        );
        assert_eq!(instance(&HeaderMap::new()), Ok(None));
    }
}
