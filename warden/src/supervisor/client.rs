//! One conversation, on the supervisor's side: what came in, what goes out, what it waits for.

use std::{
    io::{self, IoSliceMut, Write as _},
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::PollFlags,
    sys::socket::{ControlMessageOwned, MsgFlags, recvmsg},
};

use super::{Supervisor, output::Process};
use crate::wire::{Answer, CHUNK_MAX, Frames, Request, put_json, put_output};

/// A client.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) stream: UnixStream,
    frames: Frames,
    /// Descriptors that came beside a request and were not taken yet.
    fds: Vec<OwnedFd>,
    out: Vec<u8>,
    sent: usize,
    blocked: bool,
    pub(super) waiting: Option<Waiting>,
    following: Option<Following>,
    /// When it last took something, or had nothing to take.
    progress: Instant,
    /// To be closed when everything is sent.
    closing: bool,
    pub(super) gone: bool,
}

/// What an answer depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Start(u32),
    Signal(u32),
    Stop,
    Destroy,
}

/// A process that a client follows.
#[derive(Clone, Copy, Debug)]
struct Following {
    process: u32,
    /// The next byte it wants.
    position: u64,
    told_oom: bool,
    told_over_disk: bool,
}

/// A client that takes nothing for this long does not hold a process back any more.
const PATIENCE: Duration = Duration::from_secs(1);
/// No request needs more.
const FDS_MAX: usize = 1;

// === impl Client ===

impl Client {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream,
            frames: Frames::default(),
            fds: Vec::new(),
            out: Vec::new(),
            sent: 0,
            blocked: false,
            waiting: None,
            following: None,
            progress: Instant::now(),
            closing: false,
            gone: false,
        }
    }

    pub(super) fn interest(&self) -> PollFlags {
        if self.blocked {
            PollFlags::POLLIN | PollFlags::POLLOUT
        } else {
            PollFlags::POLLIN
        }
    }

    /// The next byte it wants of a process, if it follows it.
    pub(super) fn position(&self, process: u32) -> Option<u64> {
        self.following
            .filter(|f| f.process == process)
            .map(|f| f.position)
    }

    pub(super) fn is_stalled(&self, now: Instant) -> bool {
        self.blocked && now.saturating_duration_since(self.progress) >= PATIENCE
    }

    /// When it will be taken for stalled, if nothing happens.
    pub(super) fn stalls_at(&self, now: Instant) -> Option<Instant> {
        (self.blocked && !self.is_stalled(now)).then(|| self.progress + PATIENCE)
    }

    /// Reads what is there and gives the next request, with its descriptor.
    pub(super) fn hear(&mut self) -> io::Result<Option<(Request, Option<OwnedFd>)>> {
        let mut buffer = [0; 16 * 1024];
        let mut space = nix::cmsg_space!([i32; FDS_MAX]);
        let mut slices = [IoSliceMut::new(&mut buffer)];
        let flags = MsgFlags::MSG_CMSG_CLOEXEC | MsgFlags::MSG_DONTWAIT;
        match recvmsg::<()>(
            self.stream.as_raw_fd(),
            &mut slices,
            Some(&mut space),
            flags,
        ) {
            Ok(received) => {
                for message in received.cmsgs()? {
                    if let ControlMessageOwned::ScmRights(raw) = message {
                        self.fds.extend(raw.into_iter().map(crate::sys::adopt));
                    }
                }
                let count = received.bytes;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if self.fds.len() > FDS_MAX {
                    return Err(io::Error::other("too many descriptors"));
                }
                self.frames.feed(&buffer[..count]);
            }
            Err(Errno::EAGAIN | Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let request = self.frames.next_request()?;
        Ok(request.map(|request| (request, self.fds.pop())))
    }

    /// Whether it waits for an answer or follows a process: one thing at a time.
    pub(super) fn is_busy(&self) -> bool {
        self.waiting.is_some() || self.following.is_some()
    }

    pub(super) fn follow(&mut self, process: u32, position: u64) {
        self.following = Some(Following {
            process,
            position,
            told_oom: false,
            told_over_disk: false,
        });
    }

    pub(super) fn say(&mut self, answer: &Answer) {
        if let Err(error) = put_json(&mut self.out, answer) {
            super::complain(&format!("cannot encode an answer: {error}"));
            self.gone = true;
        }
    }

    /// Sends what is to be sent, as far as the socket takes it.
    pub(super) fn flush(&mut self) {
        while self.sent < self.out.len() {
            match self.stream.write(&self.out[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.progress = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.out.clear();
        // A burst must not keep its memory for ever.
        self.out.shrink_to(2 * CHUNK_MAX);
        self.sent = 0;
        self.blocked = false;
        self.gone |= self.closing;
    }

    /// The next piece for a follower; false when there is none now.
    fn next_piece(&mut self, supervisor: &View<'_>) -> bool {
        let Some(mut following) = self.following else {
            return false;
        };
        let Some(process) = supervisor.processes.get(&following.process) else {
            self.gone = true;
            return false;
        };
        let ring = &process.ring;
        let answer = if supervisor.out_of_memory && !following.told_oom {
            following.told_oom = true;
            Answer::Oom
        } else if let (Some((used, limit)), false) =
            (supervisor.over_disk, following.told_over_disk)
        {
            following.told_over_disk = true;
            Answer::OverDisk { used, limit }
        } else if following.position < ring.first() {
            let (from, to) = (following.position, ring.first());
            following.position = to;
            Answer::Gap { from, to }
        } else if let Some((stream, parts)) = ring.read(following.position, CHUNK_MAX) {
            if put_output(&mut self.out, following.position, stream, parts).is_err() {
                self.gone = true;
            }
            following.position += (parts.0.len() + parts.1.len()) as u64;
            self.following = Some(following);
            return true;
        } else if let (true, Some(exit)) = (process.done, process.exit) {
            self.following = None;
            self.closing = true;
            self.say(&Answer::Exited(exit));
            return true;
        } else {
            // It has everything: that is progress too.
            self.progress = Instant::now();
            return false;
        };
        self.following = Some(following);
        self.say(&answer);
        true
    }
}

/// What a follower is told from.
struct View<'a> {
    processes: &'a std::collections::BTreeMap<u32, Process>,
    out_of_memory: bool,
    over_disk: Option<(u64, u64)>,
}

// === impl Supervisor ===

impl Supervisor {
    /// Gives every client what there is for it, as far as its socket takes it.
    pub(super) fn feed_clients(&mut self) {
        let view = View {
            processes: &self.processes,
            out_of_memory: self.out_of_memory,
            over_disk: self.over_disk,
        };
        for client in &mut self.clients {
            client.flush();
            while !client.blocked && !client.gone && client.next_piece(&view) {
                client.flush();
            }
        }
        self.clients.retain(|client| !client.gone);
    }
}
