//! Which web pages may connect: the `Origin` that browsers send.

/// `scheme://host:port`, in lower case, its port always there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Origin {
    secure: bool,
    host: String,
    port: u16,
}

// === impl Origin ===

impl Origin {
    /// Reads `https://host[:port]`; `None` when it is nothing of the kind.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.trim().split_once("://")?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        Self::of_host(host, secure)
    }

    /// What a page of this server would have: the `Host` it was asked by.
    pub(super) fn of_host(host: &str, secure: bool) -> Option<Self> {
        let usual = if secure { 443 } else { 80 };
        let (host, port) = match host.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']')?;
                (host, port.strip_prefix(':'))
            }
            None => match host.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (host, None),
            },
        };
        let port = port.map_or(Some(usual), |port| port.parse().ok())?;
        (!host.is_empty()).then(|| Origin {
            secure,
            host: host.to_ascii_lowercase(),
            port,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_may_be_left_out() {
        let origin = Origin::parse("https://App.example");
        assert_eq!(origin, Origin::parse("https://app.example:443/page"));
        assert_eq!(origin, Origin::of_host("app.example", true));
        assert_ne!(origin, Origin::parse("http://app.example"));
        assert_ne!(origin, Origin::parse("https://app.example:444"));
        assert_eq!(
            Origin::parse("http://[::1]:80"),
            Origin::of_host("[::1]", false)
        );
    }

    #[test]
    fn what_is_no_origin() {
        for text in [
            "",
            "null",
            "app.example",
            "ftp://a",
            "http://",
            "http://a:b",
            "http://[::1",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }
}
