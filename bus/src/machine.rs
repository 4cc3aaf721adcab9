//! The addresses of this machine.

use std::net::{IpAddr, SocketAddr};

use nix::ifaddrs::InterfaceAddress;

/// Where a listener can be dialled from here: its own address, or each of the machine's, loopback and
/// link-local ones included, when it listens on all. They stand as nats-server lists them: interface by
/// interface, as the system has them, IPv4 before IPv6.
#[must_use]
pub fn dialable(address: SocketAddr) -> Vec<SocketAddr> {
    if !address.ip().is_unspecified() {
        return vec![address];
    }
    let on_port = |ip| SocketAddr::new(ip, address.port());
    addresses().into_iter().map(on_port).collect()
}

/// All addresses, those of an interface together.
pub(crate) fn addresses() -> Vec<IpAddr> {
    let found = nix::ifaddrs::getifaddrs().into_iter().flatten();
    by_interface(found.filter_map(|it| Some((it.interface_name.clone(), ip(&it)?))))
}

/// The system lists one kind of address after the other.
fn by_interface(found: impl Iterator<Item = (String, IpAddr)>) -> Vec<IpAddr> {
    let mut interfaces: Vec<(String, Vec<IpAddr>)> = Vec::new();
    for (name, ip) in found {
        match interfaces.iter_mut().find(|(known, _)| *known == name) {
            Some((_, ips)) => ips.push(ip),
            None => interfaces.push((name, vec![ip])),
        }
    }
    interfaces.into_iter().flat_map(|(_, ips)| ips).collect()
}

fn ip(interface: &InterfaceAddress) -> Option<IpAddr> {
    let address = interface.address?;
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn addresses_of_an_interface_stand_together() {
        let found = [
            ("lo", "127.0.0.1"),
            ("eth0", "192.0.2.7"),
            ("lo", "::1"),
            ("eth0", "fe80::1"),
        ];
        let found = found.map(|(name, ip)| (name.to_owned(), ip.parse().unwrap()));
        let listed: Vec<String> = by_interface(found.into_iter())
            .iter()
            .map(IpAddr::to_string)
            .collect();
        assert_eq!(listed, ["127.0.0.1", "::1", "192.0.2.7", "fe80::1"]);
    }

    #[test]
    fn a_listener_on_one_address_has_that_one() {
        let one: SocketAddr = "[::1]:4222".parse().unwrap();
        assert_eq!(dialable(one), [one]);
    }
}
