//! Conditional requests (RFC 9110 §13): what a client has already.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::HeaderMap;
use http::header::{
    HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
};

/// What identifies one version of a file.
///
/// A droplet is unpacked with the time of its staging on every file, so that the time and the size
/// name a version, the same one on every instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The strong entity tag, quotes included.
    pub etag: String,
    /// When it was last changed, in whole seconds.
    pub modified: SystemTime,
}

/// What the conditions of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Answer as if there were none.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412: it is not what the client thinks it is.
    Failed,
}

// === impl Version ===

impl Version {
    /// The version of a file of `length` bytes, changed `modified_seconds` after 1970.
    #[must_use]
    pub fn new(length: u64, modified_seconds: i64) -> Self {
        let seconds = u64::try_from(modified_seconds).unwrap_or(0);
        Self {
            etag: format!("\"{seconds:x}-{length:x}\""),
            modified: UNIX_EPOCH + Duration::from_secs(seconds),
        }
    }

    /// Judges the conditions in `headers`, in the order of RFC 9110 §13.2.2.
    #[must_use]
    pub fn judge(&self, headers: &HeaderMap) -> Verdict {
        if let Some(tags) = text(headers, &IF_MATCH) {
            if !self.is_among(&tags, false) {
                return Verdict::Failed;
            }
        } else if let Some(since) = date(headers, &IF_UNMODIFIED_SINCE)
            && self.modified > since
        {
            return Verdict::Failed;
        }
        if let Some(tags) = text(headers, &IF_NONE_MATCH) {
            if self.is_among(&tags, true) {
                return Verdict::NotModified;
            }
        } else if let Some(since) = date(headers, &IF_MODIFIED_SINCE)
            && self.modified <= since
        {
            return Verdict::NotModified;
        }
        Verdict::Proceed
    }

    /// Whether a `Range` may be honoured: `If-Range` is absent or names this version.
    #[must_use]
    pub fn allows_range(&self, headers: &HeaderMap) -> bool {
        match text(headers, &IF_RANGE) {
            None => true,
            Some(given) if given.contains('"') => given.trim() == self.etag,
            Some(given) => httpdate::parse_http_date(&given).is_ok_and(|at| at == self.modified),
        }
    }

    fn is_among(&self, tags: &str, weak_is_enough: bool) -> bool {
        tags.split(',')
            .map(str::trim)
            .any(|tag| match tag.strip_prefix("W/") {
                Some(weak) => weak_is_enough && weak == self.etag,
                None => tag == "*" || tag == self.etag,
            })
    }
}

/// All values of a header as one list.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let values: Vec<&str> = headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .collect();
    (!values.is_empty()).then(|| values.join(","))
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    const AT: i64 = 1_700_000_000; // Tue, 14 Nov 2023 22:13:20 GMT

    fn judge(pairs: &[(HeaderName, &str)]) -> Verdict {
        let headers = pairs
            .iter()
            .map(|(n, v)| (n.clone(), v.parse().unwrap()))
            .collect();
        Version::new(10, AT).judge(&headers)
    }

    #[test]
    fn tags_win_over_dates_and_the_client_gets_304_for_what_it_has() {
        let etag = Version::new(10, AT).etag;
        let weak = format!("\"x\", W/{etag}");
        assert_eq!(judge(&[]), Verdict::Proceed);
        assert_eq!(judge(&[(IF_NONE_MATCH, &etag)]), Verdict::NotModified);
        assert_eq!(judge(&[(IF_NONE_MATCH, &weak)]), Verdict::NotModified);
        assert_eq!(judge(&[(IF_NONE_MATCH, "*")]), Verdict::NotModified);
        let later = "Wed, 15 Nov 2023 00:00:00 GMT";
        let earlier = "Tue, 14 Nov 2023 22:13:19 GMT";
        let exactly = "Tue, 14 Nov 2023 22:13:20 GMT";
        assert_eq!(
            judge(&[(IF_NONE_MATCH, "\"x\""), (IF_MODIFIED_SINCE, later)]),
            Verdict::Proceed
        );
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, exactly)]), Verdict::NotModified);
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, earlier)]), Verdict::Proceed);
        assert_eq!(judge(&[(IF_MODIFIED_SINCE, "yesterday")]), Verdict::Proceed);
        assert_eq!(judge(&[(IF_MATCH, "\"x\"")]), Verdict::Failed);
        assert_eq!(judge(&[(IF_MATCH, &etag)]), Verdict::Proceed);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, earlier)]), Verdict::Failed);
        assert_eq!(judge(&[(IF_UNMODIFIED_SINCE, exactly)]), Verdict::Proceed);
    }

    #[test]
    fn a_range_of_another_version_is_not_honoured() {
        let version = Version::new(10, AT);
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(IF_RANGE, value.parse().unwrap());
            version.allows_range(&headers)
        };
        assert!(version.allows_range(&HeaderMap::new()));
        assert!(with(&version.etag));
        assert!(with("Tue, 14 Nov 2023 22:13:20 GMT"));
        assert!(!with(&format!("W/{}", version.etag)));
        assert!(!with("\"other\""));
        assert!(!with("Tue, 14 Nov 2023 22:13:21 GMT"));
    }
}
