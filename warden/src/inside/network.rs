//! The cable between a container and the host.

use std::{
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{errno::Errno, fcntl::OFlag, sys::stat::Mode};

use super::{Step as _, StepError};
use crate::{launch::Cable, netlink::Netlink};

/// What the cable is called inside.
const INSIDE: &str = "eth0";
/// Two usable addresses.
const CABLE_PREFIX: u8 = 30;
/// Loopback is always the first interface of a network namespace.
const LOOPBACK: u32 = 1;

/// Where the kernel keeps IPv6 settings of this network namespace, held open because `/proc/sys`
/// will be read-only by the time the cable is there; `None` on a kernel without IPv6.
#[derive(Debug)]
pub(super) struct Ipv6Settings(Option<OwnedFd>);

// === impl Ipv6Settings ===

impl Ipv6Settings {
    pub(super) fn open() -> Result<Self, StepError> {
        let path = "/proc/sys/net/ipv6/conf";
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        match nix::fcntl::open(path, flags, Mode::empty()) {
            Ok(dir) => Ok(Self(Some(dir))),
            Err(Errno::ENOENT) => Ok(Self(None)),
            Err(errno) => Err(errno).step(format!("open {path}")),
        }
    }

    /// An interface without IPv6: nothing would filter what comes and goes by it.
    fn forbid(&self, interface: &str) -> Result<(), StepError> {
        let Some(dir) = &self.0 else { return Ok(()) };
        let step = || format!("switch IPv6 off on {interface}");
        let file = format!("{interface}/disable_ipv6");
        let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
        let file = nix::fcntl::openat(dir, file.as_str(), flags, Mode::empty()).step(step())?;
        nix::unistd::write(&file, b"1").step(step()).map(drop)
    }
}

/// Switches loopback on, and the cable with its address and the way out.
pub(super) fn connect(cable: Option<&Cable>, ipv6: &Ipv6Settings) -> Result<(), StepError> {
    let mut netlink = Netlink::open().step("open netlink inside")?;
    netlink.set_up(LOOPBACK).step("switch loopback on")?;
    if let Some(cable) = cable {
        let index = crate::netlink::index_of(INSIDE).step("find the cable inside")?;
        ipv6.forbid(INSIDE)?;
        netlink
            .add_address(index, cable.inside, CABLE_PREFIX)
            .step("set the address inside")?;
        netlink.set_up(index).step("switch the cable on inside")?;
        let way_out = "set the default route inside";
        netlink
            .add_default_route(index, cable.outside)
            .step(way_out)?;
    }
    Ok(())
}

/// Makes the cable and switches the host's end on; in the host's network namespace.
pub(crate) fn plug_in(cable: &Cable, init: i32) -> Result<(), StepError> {
    let there = File::open(format!("/proc/{init}/ns/net")).step("open the network namespace")?;
    let mut netlink = Netlink::open().step("open netlink")?;
    match netlink.add_cable(&cable.name, INSIDE, there.as_fd()) {
        // What the place's last container had is still being taken away.
        Err(error) if error.raw_os_error() == Some(Errno::EEXIST as i32) => {
            crate::netlink::delete_link(&cable.name).step("remove the old cable")?;
            netlink
                .add_cable(&cable.name, INSIDE, there.as_fd())
                .step("make the cable")?;
        }
        result => result.step("make the cable")?,
    }
    let index = crate::netlink::index_of(&cable.name).step("find the cable")?;
    Ipv6Settings::open()?.forbid(&cable.name)?;
    // Whatever the host forwards between its other networks, nothing that comes by this cable.
    let forwarding = format!("/proc/sys/net/ipv4/conf/{}/forwarding", cable.name);
    std::fs::write(&forwarding, "0").step(format!("write {forwarding}"))?;
    netlink
        .add_address(index, cable.outside, CABLE_PREFIX)
        .step("set the host's address")?;
    netlink.set_up(index).step("switch the cable on")
}
