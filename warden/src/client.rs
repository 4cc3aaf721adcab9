//! One blocking conversation with a supervisor.

use std::{
    io::{self, IoSlice, Read as _},
    os::{
        fd::{AsRawFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};

use crate::{
    ContainerId, Result, WardenError,
    wire::{Answer, Frames, Heard, Request, put_json},
};

/// The socket's name in a container's folder.
pub(crate) const SOCKET: &str = "ctl.sock";
/// How long a supervisor may take to accept what is written to it.
const SEND_WITHIN: Duration = Duration::from_secs(5);

/// A conversation: knows whom it is with, so that errors can say so.
#[derive(Debug)]
pub(crate) struct Conversation {
    id: ContainerId,
    stream: UnixStream,
    frames: Frames,
}

// === impl Conversation ===

impl Conversation {
    /// Connects to the supervisor that listens in `dir`.
    pub(crate) fn open(id: &ContainerId, dir: &Path) -> Result<Self> {
        let stream = connect(dir).map_err(lost(id, "connect"))?;
        Ok(Self {
            id: id.clone(),
            stream,
            frames: Frames::default(),
        })
    }

    /// Sends a request and, beside it, descriptors.
    pub(crate) fn send(&mut self, request: &Request, fds: &[BorrowedFd<'_>]) -> Result<()> {
        let mut frame = Vec::new();
        put_json(&mut frame, request).map_err(lost(&self.id, "encode"))?;
        if frame.len() > crate::spec::REQUEST_MAX {
            return Err(WardenError::bad_spec(
                "request",
                "more than 2 MiB with its environment",
            ));
        }
        self.stream
            .set_write_timeout(Some(SEND_WITHIN))
            .map_err(lost(&self.id, "send"))?;
        let raw: Vec<_> = fds.iter().map(|fd| fd.as_raw_fd()).collect();
        let mut sent = 0;
        while sent < frame.len() {
            let rights = [ControlMessage::ScmRights(&raw)];
            let beside: &[_] = if sent == 0 && !raw.is_empty() {
                &rights
            } else {
                &[]
            };
            let slice = [IoSlice::new(&frame[sent..])];
            let result = sendmsg::<()>(
                self.stream.as_raw_fd(),
                &slice,
                beside,
                MsgFlags::MSG_NOSIGNAL,
                None,
            );
            match result {
                Ok(count) => sent += count,
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(lost(&self.id, "send")(errno.into())),
            }
        }
        Ok(())
    }

    /// The next word, waited for until `deadline`.
    pub(crate) fn hear(&mut self, operation: &'static str, within: Duration) -> Result<Heard> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(heard) = self
                .frames
                .next_heard()
                .map_err(|error| self.broken(&error))?
            {
                return Ok(heard);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(self.late(operation, within));
            }
            self.stream
                .set_read_timeout(Some(left))
                .map_err(lost(&self.id, operation))?;
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => {
                    return Err(lost(&self.id, operation)(
                        io::ErrorKind::UnexpectedEof.into(),
                    ));
                }
                Ok(count) => self.frames.feed(&buffer[..count]),
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(self.late(operation, within));
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(lost(&self.id, operation)(error)),
                },
            }
        }
    }

    /// The answer to a request; a refusal becomes an error.
    pub(crate) fn answer(&mut self, operation: &'static str, within: Duration) -> Result<Answer> {
        match self.hear(operation, within)? {
            Heard::Answer(Answer::Failed { step, message }) => Err(WardenError::Refused {
                id: self.id.clone(),
                operation,
                step,
                message,
            }),
            Heard::Answer(answer) => Ok(answer),
            Heard::Output { .. } => Err(self.unexpected("output")),
        }
    }

    /// A request and its answer.
    pub(crate) fn ask(
        id: &ContainerId,
        dir: &Path,
        operation: &'static str,
        request: &Request,
        within: Duration,
    ) -> Result<Answer> {
        let mut talk = Self::open(id, dir)?;
        talk.send(request, &[])?;
        talk.answer(operation, within)
    }

    pub(crate) fn unexpected(&self, what: &str) -> WardenError {
        WardenError::Protocol {
            id: self.id.clone(),
            what: format!("unexpected {what}"),
        }
    }

    /// Takes the conversation apart, to be continued by other means.
    #[cfg(feature = "tokio")]
    pub(crate) fn into_parts(self) -> (ContainerId, UnixStream, Frames) {
        (self.id, self.stream, self.frames)
    }

    fn broken(&self, error: &io::Error) -> WardenError {
        WardenError::Protocol {
            id: self.id.clone(),
            what: error.to_string(),
        }
    }

    fn late(&self, operation: &'static str, after: Duration) -> WardenError {
        WardenError::Deadline {
            id: self.id.clone(),
            operation,
            after,
        }
    }
}

/// Connects to the socket in `dir` through a descriptor of the folder, so that a long path cannot
/// exceed what a socket address holds.
fn connect(dir: &Path) -> io::Result<UnixStream> {
    use nix::{fcntl::OFlag, sys::stat::Mode};
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let dir: OwnedFd = nix::fcntl::open(dir, flags, Mode::empty())?;
    UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", dir.as_raw_fd()))
}

pub(crate) fn lost(
    id: &ContainerId,
    while_doing: &'static str,
) -> impl FnOnce(io::Error) -> WardenError {
    let id = id.clone();
    move |source| WardenError::Lost {
        id,
        while_doing,
        source,
    }
}
