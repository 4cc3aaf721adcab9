//! The container's end of its cable.

use std::{fs, net::Ipv4Addr};

use super::{Step as _, StepError};
use crate::{launch::Cable, netlink::Netlink};

/// What the cable is called inside.
pub(crate) const INSIDE: &str = "eth0";
/// Two usable addresses.
pub(crate) const CABLE_PREFIX: u8 = 30;
/// Loopback is always the first interface of a network namespace.
const LOOPBACK: u32 = 1;

/// Before the cable is plugged in: new interfaces get no IPv6 address, which nothing would filter.
pub(super) fn forbid_ipv6() -> Result<(), StepError> {
    let file = "/proc/sys/net/ipv6/conf/default/disable_ipv6";
    match fs::write(file, "1") {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).step(file),
        // A kernel without IPv6 needs no forbidding.
        _ => Ok(()),
    }
}

/// Switches loopback on, and the cable with its address and the way out.
pub(super) fn connect(cable: Option<&Cable>) -> Result<(), StepError> {
    let mut netlink = Netlink::open().step("netlink")?;
    netlink.set_up(LOOPBACK).step("switch loopback on")?;
    if let Some(cable) = cable {
        let index = crate::netlink::index_of(INSIDE).step("find the cable inside")?;
        netlink.add_address(index, cable.inside, CABLE_PREFIX).step("set the address inside")?;
        netlink.set_up(index).step("switch the cable on inside")?;
        gateway(&mut netlink, index, cable.outside)?;
    }
    Ok(())
}

fn gateway(netlink: &mut Netlink, index: u32, outside: Ipv4Addr) -> Result<(), StepError> {
    netlink.add_default_route(index, outside).step("set the default route inside")
}
