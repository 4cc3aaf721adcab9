//! Being told when a container runs out of memory.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
};

use nix::{
    poll::PollFlags,
    sys::eventfd::{EfdFlags, EventFd},
};

use super::{Controller, Group, Place};

/// Something to poll on. Version 1 signals an eventfd, version 2 the events file itself.
#[derive(Debug)]
pub(crate) enum OomWatch {
    V1 { event: EventFd, _control: File },
    V2 { events: File },
}

// === impl OomWatch ===

impl OomWatch {
    /// Registers; `None` when the machine cannot limit memory.
    pub(crate) fn new(group: &Group) -> io::Result<Option<Self>> {
        match group.place(Controller::Memory) {
            Some(Place::V1(dir)) => {
                let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
                let control = File::open(dir.join("memory.oom_control"))?;
                let line = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
                fs::write(dir.join("cgroup.event_control"), line)?;
                Ok(Some(Self::V1 {
                    event,
                    _control: control,
                }))
            }
            Some(Place::V2(dir)) => Ok(Some(Self::V2 {
                events: File::open(dir.join("memory.events"))?,
            })),
            None => Ok(None),
        }
    }

    /// What to poll it for.
    pub(crate) fn interest(&self) -> PollFlags {
        match self {
            Self::V1 { .. } => PollFlags::POLLIN,
            Self::V2 { .. } => PollFlags::POLLPRI,
        }
    }

    /// Forgets the signal that woke us, so that the next one wakes us again.
    pub(crate) fn acknowledge(&self) -> io::Result<()> {
        match self {
            Self::V1 { event, .. } => match event.read() {
                Ok(_) | Err(nix::errno::Errno::EAGAIN) => Ok(()),
                Err(errno) => Err(errno.into()),
            },
            Self::V2 { events } => {
                use std::os::unix::fs::FileExt as _;
                events.read_at(&mut [0; 256], 0).map(drop)
            }
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::V1 { event, .. } => event.as_fd(),
            Self::V2 { events } => events.as_fd(),
        }
    }
}
