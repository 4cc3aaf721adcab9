//! The key of a route: a host name, perhaps a wildcard, perhaps with a path.

use std::fmt;

/// Longest host name that is taken.
const MAX_HOST_BYTES: usize = 255;
/// Longest path that is taken.
const MAX_PATH_BYTES: usize = 1024;

/// A `host[/path]` as it is written in a registration, normalised: host and path lower-cased, query
/// cut, one trailing slash cut.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Route {
    host: Box<str>,
    path: Box<str>,
    /// The path as it was written, for the `Path` of the sticky cookie.
    context_path: Box<str>,
}

/// A uri that cannot be a route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteError {
    /// Nothing before the path.
    #[error("route {0:?} has no host")]
    NoHost(String),
    /// The host is too long or has a byte that no host name has.
    #[error("route {0:?} has a malformed host")]
    Host(String),
    /// The path is too long or has a byte that no request target has.
    #[error("route {0:?} has a malformed path")]
    Path(String),
}

// === impl Route ===

impl Route {
    /// Reads `host[/path]`.
    ///
    /// # Errors
    /// When there is no host, or host or path could never match a request.
    pub fn parse(uri: &str) -> Result<Self, RouteError> {
        let shown = || uri.chars().take(100).collect::<String>();
        let plain = uri.trim();
        let plain = plain.split_once('?').map_or(plain, |(before, _)| before);
        let plain = plain.strip_suffix('/').unwrap_or(plain);
        let (host, path) = match plain.find('/') {
            Some(at) => plain.split_at(at),
            None => (plain, ""),
        };
        if host.is_empty() {
            return Err(RouteError::NoHost(shown()));
        }
        if !valid_host(host) {
            return Err(RouteError::Host(shown()));
        }
        if path.len() > MAX_PATH_BYTES || !path.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(RouteError::Path(shown()));
        }
        Ok(Self {
            host: host.to_ascii_lowercase().into(),
            path: path.to_ascii_lowercase().into(),
            context_path: if path.is_empty() { "/" } else { path }.into(),
        })
    }

    /// The host, lower case; `*.` in front of it when it is a wildcard.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The path, lower case, beginning with a slash; empty for the whole host.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The path as it was written, `/` for the whole host.
    #[must_use]
    pub fn context_path(&self) -> &str {
        &self.context_path
    }

    /// Whether a request for `path` belongs to this route: by whole path segments, any case.
    #[must_use]
    pub fn covers(&self, path: &str) -> bool {
        let own = self.path.as_bytes();
        let asked = path.as_bytes();
        if own.is_empty() {
            return true;
        }
        asked.len() >= own.len()
            && asked[..own.len()].eq_ignore_ascii_case(own)
            && asked
                .get(own.len())
                .is_none_or(|next| matches!(next, b'/' | b'?'))
    }

    /// Whether `self` and `other` are the same key (the spelling of the path may differ).
    #[must_use]
    pub fn same_key(&self, other: &Self) -> bool {
        self.host == other.host && self.path == other.path
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.host, self.path)
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Route({self})")
    }
}

/// Whether `host` could stand in a `Host` header; a wildcard only as the whole left-most label.
fn valid_host(host: &str) -> bool {
    let labels = host.strip_prefix("*.").unwrap_or(host);
    host.len() <= MAX_HOST_BYTES
        && !labels.is_empty()
        && labels
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn normalises_what_a_registration_says() {
        let route = Route::parse("Shop.Example.Test/Cart/?a=b").unwrap();
        assert_eq!(route.host(), "shop.example.test");
        assert_eq!(route.path(), "/cart");
        assert_eq!(route.context_path(), "/Cart");
        assert_eq!(Route::parse("a.test/").unwrap().context_path(), "/");
    }

    #[test]
    fn refuses_what_no_request_could_ask_for() {
        assert!(matches!(Route::parse("/x"), Err(RouteError::NoHost(_))));
        assert!(matches!(Route::parse("*"), Err(RouteError::Host(_))));
        assert!(matches!(Route::parse("*."), Err(RouteError::Host(_))));
        assert!(matches!(Route::parse("a.*.test"), Err(RouteError::Host(_))));
        assert!(matches!(Route::parse("a b.test"), Err(RouteError::Host(_))));
        assert!(matches!(
            Route::parse("a.test:80"),
            Err(RouteError::Host(_))
        ));
        assert!(matches!(
            Route::parse("a.test/x y"),
            Err(RouteError::Path(_))
        ));
        assert!(Route::parse("*.a.test").is_ok());
    }

    #[test]
    fn covers_whole_segments_only() {
        let route = Route::parse("a.test/api").unwrap();
        for path in ["/api", "/API", "/api/", "/api/v1", "/api?x=1"] {
            assert!(route.covers(path), "{path}");
        }
        for path in ["/", "/apiary", "/ap", "/x/api"] {
            assert!(!route.covers(path), "{path}");
        }
    }
}
