//! Network cables, by talking to the kernel directly: a message and an acknowledgement each.

use std::{
    fs, io,
    net::Ipv4Addr,
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd},
};

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, send,
    setsockopt, socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;

/// A conversation with the kernel's routing subsystem, in the network namespace it was opened in.
#[derive(Debug)]
pub(crate) struct Netlink {
    socket: OwnedFd,
    serial: u32,
}

/// A message being put together.
struct Message(Vec<u8>);

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const NLM_F_REQUEST: u16 = 0x1;
const NLM_F_ACK: u16 = 0x4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const IFF_UP: u32 = 1;
/// Length of a netlink message's head.
const HEAD: usize = 16;
/// Length of `struct ifinfomsg`.
const LINK: usize = 16;

// === impl Netlink ===

impl Netlink {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(5, 0))?;
        Ok(Self { socket, serial: 0 })
    }

    /// Makes a cable: one end here, the other in the namespace `there`.
    pub(crate) fn add_cable(
        &mut self,
        here: &str,
        peer: &str,
        there: BorrowedFd<'_>,
    ) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        message.raw(&[0; LINK]);
        message.text(IFLA_IFNAME, here);
        message.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |end| {
                    end.raw(&[0; LINK]);
                    end.text(IFLA_IFNAME, peer);
                    end.attribute(IFLA_NET_NS_FD, &there.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    /// Switches an interface on.
    pub(crate) fn set_up(&mut self, index: u32) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, 0);
        message.link(index, IFF_UP, IFF_UP);
        self.ask(message)
    }

    /// Removes an interface; a cable's other end goes with it.
    pub(crate) fn delete(&mut self, index: u32) -> io::Result<()> {
        let mut message = Message::new(RTM_DELLINK, 0);
        message.link(index, 0, 0);
        self.ask(message)
    }

    /// Gives an interface an address.
    pub(crate) fn add_address(
        &mut self,
        index: u32,
        address: Ipv4Addr,
        prefix: u8,
    ) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        message.raw(&[inet(), prefix, 0, 0]);
        message.raw(&index.to_ne_bytes());
        message.attribute(IFA_LOCAL, &address.octets());
        message.attribute(IFA_ADDRESS, &address.octets());
        self.ask(message)
    }

    /// Sends everything that has no better way through an interface to a gateway.
    pub(crate) fn add_default_route(&mut self, index: u32, gateway: Ipv4Addr) -> io::Result<()> {
        const TABLE_MAIN: u8 = 254;
        const BY_BOOT: u8 = 3;
        const UNICAST: u8 = 1;
        let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
        message.raw(&[inet(), 0, 0, 0, TABLE_MAIN, BY_BOOT, 0, UNICAST]);
        message.raw(&[0; 4]);
        message.attribute(RTA_GATEWAY, &gateway.octets());
        message.attribute(RTA_OIF, &index.to_ne_bytes());
        self.ask(message)
    }

    /// Sends a message and waits for the kernel's word on it.
    fn ask(&mut self, message: Message) -> io::Result<()> {
        self.serial += 1;
        let bytes = message.finish(self.serial)?;
        send(self.socket.as_raw_fd(), &bytes, MsgFlags::empty())?;
        let mut buffer = [0; 4096];
        loop {
            let length = recv(self.socket.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
            if let Some(code) = acknowledgement(&buffer[..length], self.serial) {
                return match code {
                    0 => Ok(()),
                    code => Err(io::Error::from_raw_os_error(-code)),
                };
            }
        }
    }
}

// === impl Message ===

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 4];
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.extend_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | flags).to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]);
        Self(bytes)
    }

    fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn link(&mut self, index: u32, flags: u32, change: u32) {
        self.raw(&[0; 4]);
        self.raw(&index.to_ne_bytes());
        self.raw(&flags.to_ne_bytes());
        self.raw(&change.to_ne_bytes());
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |inner| inner.raw(value));
    }

    fn text(&mut self, kind: u16, value: &str) {
        self.nest(kind, |inner| {
            inner.raw(value.as_bytes());
            inner.raw(&[0]);
        });
    }

    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let at = self.0.len();
        self.raw(&[0; 2]);
        self.raw(&kind.to_ne_bytes());
        fill(self);
        // Names and nests of ours are far below 64 KiB; `finish` refuses what is not.
        let length = u16::try_from(self.0.len() - at).unwrap_or(u16::MAX);
        self.0[at..at + 2].copy_from_slice(&length.to_ne_bytes());
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    fn finish(mut self, serial: u32) -> io::Result<Vec<u8>> {
        let length = u16::try_from(self.0.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
        self.0[..4].copy_from_slice(&u32::from(length).to_ne_bytes());
        self.0[8..12].copy_from_slice(&serial.to_ne_bytes());
        Ok(self.0)
    }
}

/// The code of the kernel's answer to message `serial`: 0 or a negative error number.
fn acknowledgement(bytes: &[u8], serial: u32) -> Option<i32> {
    let head = bytes.get(..HEAD)?;
    let kind = u16::from_ne_bytes([head[4], head[5]]);
    let answers = u32::from_ne_bytes([head[8], head[9], head[10], head[11]]);
    if kind != NLMSG_ERROR || answers != serial {
        return None;
    }
    bytes
        .get(HEAD..HEAD + 4)
        .and_then(|code| code.try_into().ok())
        .map(i32::from_ne_bytes)
}

fn inet() -> u8 {
    u8::try_from(nix::libc::AF_INET).unwrap_or(2)
}

/// The kernel's number of an interface in this network namespace.
pub(crate) fn index_of(name: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(name)?)
}

/// Removes a cable of this namespace; fine when there is none.
pub(crate) fn delete_link(name: &str) -> io::Result<()> {
    let Ok(index) = index_of(name) else {
        return Ok(());
    };
    match Netlink::open()?.delete(index) {
        Err(error) if error.raw_os_error() != Some(nix::libc::ENODEV) => Err(error),
        _ => Ok(()),
    }
}

/// Names of interfaces of this namespace that begin with `prefix`.
pub(crate) fn link_names(prefix: &str) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
    table
        .lines()
        .filter_map(|line| Some(line.split_once(':')?.0.trim()))
        .filter(|name| name.starts_with(prefix))
        .map(str::to_owned)
        .collect()
}

/// Bytes that went through an interface of this namespace: received and sent.
pub(crate) fn traffic(name: &str) -> (u64, u64) {
    let count = |which: &str| {
        let file = format!("/sys/class/net/{name}/statistics/{which}_bytes");
        fs::read_to_string(file)
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(0)
    };
    (count("rx"), count("tx"))
}
