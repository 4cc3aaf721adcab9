//! A route as a person writes it.

use super::UsageError;

/// Longest path of a route that the API takes.
const LONGEST_PATH: usize = 128;

/// Host, domain and path; the domain is known by name only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RouteWish {
    pub(crate) domain: String,
    /// Empty for the domain itself.
    pub(crate) host: String,
    /// Empty, or with its leading `/`.
    pub(crate) path: String,
}

// === impl RouteWish ===

impl RouteWish {
    pub(crate) fn new(
        domain: String,
        host: Option<String>,
        path: Option<String>,
    ) -> Result<Self, UsageError> {
        Ok(Self {
            domain: domain.to_ascii_lowercase(),
            host: host.unwrap_or_default().to_ascii_lowercase(),
            path: route_path(path.as_deref().unwrap_or_default())?,
        })
    }
}

impl std::fmt::Display for RouteWish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::cc::route_address(
            &self.host,
            &self.domain,
            &self.path,
        ))
    }
}

/// `shop` and `/shop` are the same path.
pub(super) fn route_path(path: &str) -> Result<String, UsageError> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    let path = format!("/{path}");
    if path.contains(['?', '#']) || path.len() > LONGEST_PATH {
        let words = format!("{path:?} is no path: at most {LONGEST_PATH} bytes without ? and #");
        return Err(UsageError::new(words));
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn paths_get_their_slash_and_hosts_lose_their_case() {
        let wish = RouteWish::new(
            "Example.COM".into(),
            Some("WWW".into()),
            Some("shop/".into()),
        )
        .unwrap();
        assert_eq!(wish.to_string(), "www.example.com/shop");
        let bare = RouteWish::new("example.com".into(), None, Some("/".into())).unwrap();
        assert_eq!(bare.to_string(), "example.com");
        assert!(RouteWish::new("a.b".into(), None, Some("x?y".into())).is_err());
    }
}
