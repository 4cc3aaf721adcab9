//! Where clients reach this server and the others, and which URL a peer is dialled by.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::info::RouteInfo;
use crate::config::RouteUrl;
use crate::machine;

/// URLs taken from one peer, and how long each may be.
const PER_PEER: usize = 64;
const LONGEST: usize = 256;

/// What each peer says of where it serves clients.
#[derive(Debug, Default)]
pub(super) struct PeerUrls(BTreeMap<Box<str>, (Vec<String>, Vec<String>)>);

// === impl PeerUrls ===

impl PeerUrls {
    /// Takes what a peer says; nothing once it is about to go.
    pub(super) fn learn(&mut self, info: &RouteInfo) {
        let sound = |urls: &[String]| -> Vec<String> {
            let short = urls.iter().filter(|url| url.len() <= LONGEST);
            short.take(PER_PEER).cloned().collect()
        };
        if info.ldm {
            self.forget(&info.server_id);
            return;
        }
        let urls = (sound(&info.connect_urls), sound(&info.ws_connect_urls));
        self.0.insert(info.server_id.as_str().into(), urls);
    }

    pub(super) fn forget(&mut self, peer: &str) {
        self.0.remove(peer);
    }

    /// All of them, for clients and for websocket clients; each once.
    pub(super) fn all(&self) -> (Vec<String>, Vec<String>) {
        let mut both = (Vec::new(), Vec::new());
        for (clients, websockets) in self.0.values() {
            both.0.extend_from_slice(clients);
            both.1.extend_from_slice(websockets);
        }
        for urls in [&mut both.0, &mut both.1] {
            urls.sort_unstable();
            urls.dedup();
        }
        both
    }
}

/// Where a listener is reached: its own address, or those of the machine when it listens on all.
pub(super) fn of_listener(address: SocketAddr) -> Vec<String> {
    if !address.ip().is_unspecified() {
        return vec![address.to_string()];
    }
    of_machine(machine::addresses().into_iter(), address.port())
}

/// Where a listener on all addresses is reached, of either kind.
fn of_machine(ips: impl Iterator<Item = IpAddr>, port: u16) -> Vec<String> {
    let mut urls: Vec<String> = ips
        .filter(|ip| is_reachable(*ip))
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect();
    urls.sort_unstable();
    urls.dedup();
    urls
}

/// Whether others may reach it by this address.
fn is_reachable(ip: IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    };
    !(local || ip.is_loopback() || ip.is_unspecified() || ip.is_multicast())
}

/// The route URL of a peer, from what it says and where it comes from.
pub(super) fn of_peer(info: &RouteInfo, from: SocketAddr) -> String {
    if !info.ip.is_empty() {
        return info.ip.clone();
    }
    format!("nats-route://{}/", SocketAddr::new(from.ip(), info.port))
}

/// Whether a peer is one of the configured ones, by the address it listens on or comes from.
pub(super) fn is_configured(info: &RouteInfo, routes: &[RouteUrl]) -> bool {
    let dialled: Option<RouteUrl> = info.ip.parse().ok();
    routes.iter().any(|route| {
        let same = |host: &str| host.eq_ignore_ascii_case(&route.host);
        route.port == info.port
            && (same(&info.host) || dialled.as_ref().is_some_and(|url| same(&url.host)))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn info(json: serde_json::Value) -> RouteInfo {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn each_url_is_told_once_and_none_of_who_leaves() {
        let mut urls = PeerUrls::default();
        urls.learn(&info(
            serde_json::json!({ "server_id": "B", "connect_urls": ["b:1", "x:1"] }),
        ));
        urls.learn(&info(
            serde_json::json!({ "server_id": "C", "connect_urls": ["x:1", "c:1"] }),
        ));
        assert_eq!(urls.all().0, ["b:1", "c:1", "x:1"]);
        urls.learn(&info(
            serde_json::json!({ "server_id": "C", "connect_urls": ["c:1"], "ldm": true }),
        ));
        assert_eq!(urls.all().0, ["b:1", "x:1"]);
        urls.forget("B");
        assert!(urls.all().0.is_empty());
    }

    #[test]
    fn a_peer_cannot_flood_the_clients() {
        let mut urls = PeerUrls::default();
        let many: Vec<String> = (0..500).map(|n| format!("h:{n}")).collect();
        urls.learn(&info(
            serde_json::json!({ "server_id": "B", "connect_urls": many }),
        ));
        assert_eq!(urls.all().0.len(), PER_PEER);
    }

    #[test]
    fn a_peer_is_dialled_by_what_it_says_or_where_it_comes_from() {
        let from: SocketAddr = "10.0.0.7:41234".parse().unwrap();
        let plain = info(serde_json::json!({ "host": "0.0.0.0", "port": 6222 }));
        assert_eq!(of_peer(&plain, from), "nats-route://10.0.0.7:6222/");
        let told = info(serde_json::json!({ "port": 6222, "ip": "nats-route://pub:7000/" }));
        assert_eq!(of_peer(&told, from), "nats-route://pub:7000/");
    }

    #[test]
    fn configured_peers_are_known_by_either_address() {
        let routes = ["nats://10.0.0.7:6222", "nats://db:6222"].map(|url| url.parse().unwrap());
        let heard = |host: &str, ip: &str| {
            info(serde_json::json!({ "host": host, "port": 6222, "ip": ip }))
        };
        assert!(is_configured(&heard("DB", ""), &routes));
        assert!(is_configured(
            &heard("0.0.0.0", "nats-route://10.0.0.7:6222/"),
            &routes
        ));
        assert!(!is_configured(
            &heard("0.0.0.0", "nats-route://10.0.0.8:6222/"),
            &routes
        ));
    }

    #[test]
    fn a_listener_on_one_address_is_reached_there() {
        assert_eq!(
            of_listener("127.0.0.1:4222".parse().unwrap()),
            ["127.0.0.1:4222"]
        );
        for url in of_listener("0.0.0.0:4222".parse().unwrap()) {
            assert!(url.ends_with(":4222") && !url.starts_with("127."), "{url}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_by_those_of_both_kinds() {
        let ips = ["127.0.0.1", "::1", "fe80::1", "192.0.2.1", "2001:db8::1"];
        let urls = of_machine(ips.iter().map(|ip| ip.parse().unwrap()), 4222);
        assert_eq!(urls, ["192.0.2.1:4222", "[2001:db8::1]:4222"]);
    }
}
