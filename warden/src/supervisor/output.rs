//! What processes say: taken from their pipes, kept in their rings.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    time::Instant,
};

use nix::errno::Errno;

use super::{Supervisor, client::Client, complain, ring::Ring};
use crate::{ContainerState, Exit, ProcessId, ProcessInfo, Stream};

/// A process inside.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) name: String,
    pub(super) main: bool,
    out: Option<OwnedFd>,
    err: Option<OwnedFd>,
    pub(super) ring: Ring,
    /// How it went; its last output may still be in the pipes.
    pub(super) exit: Option<Exit>,
    /// Whether everything about it is known and can be told.
    pub(super) done: bool,
}

/// How much is read from a pipe before others get their turn.
const TURN: usize = 64 * 1024;
/// How many finished processes are remembered with their output.
const FINISHED_KEPT: usize = 16;

// === impl Process ===

impl Process {
    pub(super) fn new(name: String, main: bool, buffer: u32, out: OwnedFd, err: OwnedFd) -> Self {
        let ring = Ring::new(usize::try_from(buffer).unwrap_or(usize::MAX));
        Self {
            name,
            main,
            out: Some(out),
            err: Some(err),
            ring,
            exit: None,
            done: false,
        }
    }

    pub(super) fn info(&self, number: u32) -> ProcessInfo {
        ProcessInfo {
            id: ProcessId(number),
            name: self.name.clone(),
            main: self.main,
            exit: self.exit.filter(|_| self.done),
            written: self.ring.end(),
        }
    }

    pub(super) fn pipes(&self) -> impl Iterator<Item = (Stream, BorrowedFd<'_>)> {
        let both = [(Stream::Out, &self.out), (Stream::Err, &self.err)];
        both.into_iter()
            .filter_map(|(stream, fd)| fd.as_ref().map(|fd| (stream, fd.as_fd())))
    }

    /// How much may be read now. Clients that keep up slow a process down rather than lose its
    /// output; one that makes no progress does not.
    pub(super) fn room(&self, number: u32, clients: &[Client], now: Instant) -> usize {
        clients
            .iter()
            .filter(|client| !client.is_stalled(now))
            .filter_map(|client| client.position(number))
            .map(|position| self.ring.room_before(position))
            .min()
            .unwrap_or(TURN)
    }

    fn pipe(&mut self, stream: Stream) -> &mut Option<OwnedFd> {
        match stream {
            Stream::Out => &mut self.out,
            Stream::Err => &mut self.err,
        }
    }

    /// Reads at most `room` bytes; returns how many old ones were dropped for it.
    fn take(&mut self, stream: Stream, room: usize) -> usize {
        let mut buffer = [0; 16 * 1024];
        let (mut left, mut dropped) = (room.min(TURN), 0);
        while left > 0 {
            let Some(pipe) = self.pipe(stream) else { break };
            let want = left.min(buffer.len());
            match nix::unistd::read(&*pipe, &mut buffer[..want]) {
                Ok(0) => *self.pipe(stream) = None,
                Ok(count) => {
                    dropped += self.ring.push(stream, &buffer[..count]);
                    left -= count;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    // Somebody else still holds the other end of a pipe of a process that is gone.
                    if self.exit.is_some() {
                        *self.pipe(stream) = None;
                    }
                    break;
                }
                Err(errno) => {
                    complain(&format!("cannot read output: {errno}"));
                    *self.pipe(stream) = None;
                }
            }
        }
        dropped
    }
}

// === impl Supervisor ===

impl Supervisor {
    pub(super) fn take_output(&mut self, number: u32, stream: Stream) {
        let now = Instant::now();
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        let room = process.room(number, &self.clients, now);
        self.dropped_bytes += process.take(stream, room) as u64;
    }

    /// Takes the last output of what has ended, and says that it is done when that is all.
    pub(super) fn finish_processes(&mut self) {
        let all_ended = self.state == ContainerState::Ended;
        let now = Instant::now();
        for (number, process) in &mut self.processes {
            if process.exit.is_none() || process.done {
                continue;
            }
            for stream in [Stream::Out, Stream::Err] {
                let room = process.room(*number, &self.clients, now);
                self.dropped_bytes += process.take(stream, room) as u64;
            }
            // The main process is done when everything that came with it is gone too.
            let settled = all_ended || !process.main;
            process.done = settled && process.pipes().next().is_none();
        }
        self.forget_oldest();
    }

    fn forget_oldest(&mut self) {
        let followed = |number: u32| self.clients.iter().any(|c| c.position(number).is_some());
        let finished: Vec<u32> = self
            .processes
            .iter()
            .filter(|(number, process)| process.done && !process.main && !followed(**number))
            .map(|(number, _)| *number)
            .collect();
        for number in finished.iter().rev().skip(FINISHED_KEPT) {
            self.processes.remove(number);
        }
    }
}
