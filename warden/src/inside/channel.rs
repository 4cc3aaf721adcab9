//! The words between a supervisor and its pid 1: whole messages, with descriptors beside them.

use std::{
    io::{self, IoSlice, IoSliceMut},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd},
};

use nix::{
    errno::Errno,
    sys::socket::{
        AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg,
        sendmsg, socketpair,
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// What a supervisor orders.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Order {
    /// The cable is plugged in: go on.
    Go,
    /// Start something; descriptors: its description (JSON), stdout, stderr, and an archive or not.
    Spawn { process: u32 },
    /// Send a signal to a process and its group.
    Signal { process: u32, signal: i32 },
    /// Send a signal to everything but pid 1.
    SignalAll { signal: i32 },
}

/// What pid 1 answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Word {
    /// The house stands. A descriptor of the writable layer's file system comes along.
    Ready,
    /// It does not; pid 1 exits.
    Failed { step: String, message: String },
    /// A process runs.
    Spawned { process: u32 },
    /// A process could not be started.
    NotSpawned {
        process: u32,
        step: String,
        message: String,
    },
    /// A process has ended.
    Exited {
        process: u32,
        code: Option<i32>,
        signal: Option<i32>,
    },
    /// A signal was sent, or there was nobody to send it to.
    Signalled { process: u32, reached: bool },
}

/// One end of the conversation.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// No message is longer; what may be long is passed as a file.
const MESSAGE_MAX: usize = 16 * 1024;
/// No message has more descriptors.
const FDS_MAX: usize = 4;

// === impl Channel ===

impl Channel {
    /// The two ends.
    pub(crate) fn pair() -> io::Result<(Self, Self)> {
        let kind = (
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
        );
        let (one, two) = socketpair(kind.0, kind.1, None, kind.2)?;
        Ok((Self(one), Self(two)))
    }

    /// Sends a message; waits when the other side is behind.
    pub(crate) fn send<T: Serialize>(&self, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let rights = [ControlMessage::ScmRights(&raw)];
        let beside: &[_] = if raw.is_empty() { &[] } else { &rights };
        let slice = [IoSlice::new(&bytes)];
        loop {
            let flags = MsgFlags::MSG_NOSIGNAL;
            match sendmsg::<()>(self.0.as_raw_fd(), &slice, beside, flags, None) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Receives a message, waiting for it; `None` when the other side is gone.
    pub(crate) fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
        let mut buffer = vec![0; MESSAGE_MAX];
        let mut space = nix::cmsg_space!([i32; FDS_MAX]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let received = loop {
            let flags = MsgFlags::MSG_CMSG_CLOEXEC;
            match recvmsg::<()>(self.0.as_raw_fd(), &mut slices, Some(&mut space), flags) {
                Ok(received) => break received,
                // A reset tells that the other side left without hearing all; what it said last is
                // still to be read.
                Err(Errno::EINTR | Errno::ECONNRESET) => {}
                Err(errno) => return Err(errno.into()),
            }
        };
        let mut fds = Vec::new();
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(raw) = message {
                fds.extend(raw.into_iter().map(crate::sys::adopt));
            }
        }
        let length = received.bytes;
        if length == 0 {
            return Ok(None);
        }
        Ok(Some((serde_json::from_slice(&buffer[..length])?, fds)))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
