//! Where clients find this server, and the other servers of its cluster.

use std::str::FromStr;

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

/// An address that clients are to use instead of the one listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Advertised {
    pub(crate) host: String,
    /// The one listened on, when it is not said.
    port: Option<u16>,
}

/// Not `host` or `host:port`.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address to advertise")]
pub struct BadAdvertised(String);

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
}

impl FromStr for Advertised {
    type Err = BadAdvertised;

    fn from_str(text: &str) -> Result<Self, BadAdvertised> {
        let bad = || BadAdvertised(text.to_owned());
        let (host, port) = match text.rsplit_once(':') {
            // An IPv6 address has colons of its own.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                (host, Some(port.parse().map_err(|_| bad())?))
            }
            _ => (text, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains(char::is_whitespace) {
            return Err(bad());
        }
        Ok(Advertised {
            host: host.to_owned(),
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
            ("10.0.0.1:4000", "10.0.0.1:4000"),
            ("[fe80::1]:4000", "[fe80::1]:4000"),
            ("fe80::1", "[fe80::1]:4222"),
        ] {
            assert_eq!(text.parse::<Advertised>().unwrap().url(4222), url);
        }
        for text in ["", ":4000", "bus:many", "bus:70000", "two words"] {
            assert!(text.parse::<Advertised>().is_err(), "{text:?}");
        }
    }
}
