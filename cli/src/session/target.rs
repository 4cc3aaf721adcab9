//! The platform a person works with: what `/v2/info` told about it.

use serde::{Deserialize, Serialize};
use url::Url;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    pub(crate) api: Url,
    pub(crate) api_version: String,
    /// Base of the login server.
    pub(crate) login: Url,
    /// Base of UAA proper, for accounts.
    pub(crate) uaa: Url,
    /// `ws` or `wss`; a platform without it has no log stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) doppler: Option<Url>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) apps_url: Option<AppsUrl>,
    #[serde(default)]
    pub(crate) skip_ssl_validation: bool,
}

/// How apps are reached when their routers do not listen on port 80 or 443.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AppsUrl {
    pub(crate) scheme: String,
    pub(crate) port: u16,
}

// === impl Target ===

impl Target {
    /// `host[:port]`, for an app's host; the port only where a browser would not guess it.
    pub(crate) fn app_address(&self, host_and_path: &str) -> String {
        let Some(port) = self.apps_url.as_ref().and_then(AppsUrl::unusual_port) else {
            return host_and_path.to_owned();
        };
        match host_and_path.split_once('/') {
            Some((host, path)) => format!("{host}:{port}/{path}"),
            None => format!("{host_and_path}:{port}"),
        }
    }

    /// The address with its scheme, where the platform told it.
    pub(crate) fn app_url(&self, host_and_path: &str) -> Option<String> {
        let scheme = &self.apps_url.as_ref()?.scheme;
        Some(format!("{scheme}://{}", self.app_address(host_and_path)))
    }
}

impl AppsUrl {
    fn unusual_port(&self) -> Option<u16> {
        let usual = if self.scheme == "https" { 443 } else { 80 };
        (self.port != usual).then_some(self.port)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    fn target(apps_url: Option<AppsUrl>) -> Target {
        let api: Url = "http://127.0.0.1:8080/".parse().unwrap();
        Target {
            login: api.clone(),
            uaa: api.clone(),
            api,
            api_version: "2.142.0".into(),
            doppler: None,
            apps_url,
            skip_ssl_validation: false,
        }
    }

    #[test]
    fn an_app_is_addressed_with_the_port_a_browser_would_not_guess() {
        let odd = target(Some(AppsUrl {
            scheme: "http".into(),
            port: 8090,
        }));
        assert_eq!(odd.app_address("a.example.com"), "a.example.com:8090");
        assert_eq!(
            odd.app_address("a.example.com/p/q"),
            "a.example.com:8090/p/q"
        );
        assert_eq!(odd.app_url("a.b").as_deref(), Some("http://a.b:8090"));
        let usual = target(Some(AppsUrl {
            scheme: "https".into(),
            port: 443,
        }));
        assert_eq!(usual.app_url("a.b").as_deref(), Some("https://a.b"));
        assert_eq!(target(None).app_address("a.b"), "a.b");
        assert_eq!(target(None).app_url("a.b"), None);
    }
}
