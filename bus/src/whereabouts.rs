//! Where clients find this server, and the other servers of its cluster.

use std::net::Ipv6Addr;

use parking_lot::RwLock;

/// What one kind of clients, plain ones or those on websockets, is told of where to go.
#[derive(Debug, Default)]
pub(crate) struct Whereabouts(RwLock<Known>);

#[derive(Debug, Default)]
struct Known {
    peers: Vec<String>,
    /// Whether there has ever been another server to go to.
    in_company: bool,
}

/// An address that clients or servers are to use instead of the one listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) host: String,
    /// The one listened on, when it is not said.
    port: Option<u16>,
}

/// A setting that is not `host` or `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("{setting} is {text:?}, which is not of the form host or host:port")]
pub struct BadAdvertised {
    setting: &'static str,
    text: String,
}

// === impl Whereabouts ===

impl Whereabouts {
    /// Takes what the other servers say; returns whether that is news.
    pub(crate) fn learn(&self, peers: Vec<String>) -> bool {
        let mut known = self.0.write();
        let news = known.peers != peers;
        known.in_company |= news;
        known.peers = peers;
        news
    }

    /// All addresses, those of this server first. None at all as long as it has always been alone: who is
    /// here knows where that is. Afterwards even the last one left is told, as clients drop from their
    /// lists who is not on this one, and keep them when it is missing.
    pub(crate) fn all(&self, own: impl FnOnce() -> Vec<String>) -> Vec<String> {
        let known = self.0.read();
        if !known.in_company {
            return Vec::new();
        }
        let mut all = own();
        all.extend_from_slice(&known.peers);
        all
    }
}

// === impl Advertised ===

impl Advertised {
    /// The port, for a server that listens on this one.
    pub(crate) fn port(&self, listening: u16) -> u16 {
        self.port.unwrap_or(listening)
    }

    /// As in a list of addresses.
    pub(crate) fn url(&self, listening: u16) -> String {
        let port = self.port(listening);
        if self.host.contains(':') {
            return format!("[{}]:{port}", self.host);
        }
        format!("{}:{port}", self.host)
    }

    /// What a setting of this name says, if anything: `host`, `host:port` or `[v6]:port`. The ports 0 and -1
    /// stand for the one listened on.
    ///
    /// # Errors
    /// It says something else.
    pub(crate) fn read(
        setting: &'static str,
        text: Option<&str>,
    ) -> Result<Option<Self>, BadAdvertised> {
        let Some(text) = text else { return Ok(None) };
        let bad = || BadAdvertised {
            setting,
            text: text.to_owned(),
        };
        Advertised::parse(text).ok_or_else(bad).map(Some)
    }

    fn parse(text: &str) -> Option<Self> {
        let is_v6 = |text: &str| text.parse::<Ipv6Addr>().is_ok();
        let unwrapped = |text: &str| {
            let inner = text.strip_prefix('[')?.strip_suffix(']')?;
            is_v6(inner).then(|| inner.to_owned())
        };
        if is_v6(text) {
            return Some(Advertised {
                host: text.to_owned(),
                port: None,
            });
        }
        if let Some(host) = unwrapped(text) {
            return Some(Advertised { host, port: None });
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, "-1")) => (host, None),
            Some((host, port)) => (host, Some(port.parse().ok()?)),
            None => (text, None),
        };
        let odd = |char: char| char.is_whitespace() || "[]:/@".contains(char);
        let host = match unwrapped(host) {
            Some(host) => host,
            None if host.is_empty() || host.contains(odd) => return None,
            None => host.to_owned(),
        };
        Some(Advertised {
            host,
            port: port.filter(|port| *port != 0),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn who_was_in_company_is_told_even_when_alone_again() {
        let whereabouts = Whereabouts::default();
        let own = || vec!["a:1".to_owned()];
        assert!(!whereabouts.learn(Vec::new()));
        assert!(whereabouts.all(own).is_empty());
        assert!(whereabouts.learn(vec!["b:1".to_owned()]));
        assert!(!whereabouts.learn(vec!["b:1".to_owned()]));
        assert_eq!(whereabouts.all(own), ["a:1", "b:1"]);
        assert!(whereabouts.learn(Vec::new()));
        assert_eq!(whereabouts.all(own), ["a:1"]);
    }

    #[test]
    fn an_advertised_port_may_be_left_out() {
        for (text, url) in [
            ("bus.example.com:4000", "bus.example.com:4000"),
            ("bus.example.com", "bus.example.com:4222"),
            ("bus.example.com:0", "bus.example.com:4222"),
            ("bus.example.com:-1", "bus.example.com:4222"),
            ("10.0.0.1:4000", "10.0.0.1:4000"),
            ("[fe80::1]:4000", "[fe80::1]:4000"),
            ("fe80::1", "[fe80::1]:4222"),
            ("[fe80::1]", "[fe80::1]:4222"),
        ] {
            assert_eq!(Advertised::parse(text).unwrap().url(4222), url);
        }
        for text in [
            "",
            ":4000",
            "bus:many",
            "bus:70000",
            "two words",
            "nats://bus",
            "nats://bus:4000",
            "a:b:1",
            "[bus]:1",
            "user@bus:1",
        ] {
            let error = Advertised::read("advertise", Some(text)).unwrap_err();
            let told = format!("advertise is {text:?}, which is not of the form host or host:port");
            assert_eq!(error.to_string(), told);
        }
    }
}
