//! The supervisor of one container: the process that owns it.
//!
//! It makes the limits and the cable, forks pid 1 into the namespaces, and then serves: starts what
//! clients ask for, keeps the last output, tells when something ends, holds the limits that the
//! kernel does not, and writes down how it all ended. One thread, one loop, no state elsewhere.

mod birth;
mod client;
mod disk;
mod output;
mod requests;
mod ring;

use std::{
    collections::BTreeMap,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixListener,
    },
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::wait::waitpid,
    unistd::Pid,
};

use crate::{
    ContainerState, EndReason, Ended, Exit, Stats, Stream,
    cgroup::{Group, OomWatch},
    inside::{Channel, Order, Word},
    launch::{self, Durable, Launch},
    sys,
    wire::Answer,
};
use client::{Client, Waiting};
use disk::DiskWatch;
use output::Process;

/// A container and everything that is known about it.
struct Supervisor {
    launch: Launch,
    group: Group,
    channel: Channel,
    /// Whether pid 1 is at the other end.
    channel_open: bool,
    init: Pid,
    /// Readable when pid 1, and with it everything inside, has ended.
    init_fd: OwnedFd,
    oom: Option<OomWatch>,
    listener: UnixListener,
    disk: DiskWatch,
    nofile: u64,

    state: ContainerState,
    reason: Option<EndReason>,
    ended: Option<Ended>,
    /// What was used in the end: there is nothing to ask any more.
    last_stats: Option<Stats>,
    out_of_memory: bool,
    over_disk: Option<(u64, u64)>,

    processes: BTreeMap<u32, Process>,
    next_process: u32,
    clients: Vec<Client>,
    dropped_bytes: u64,

    /// When what ignored TERM is killed.
    kill_at: Option<Instant>,
    /// Until when the kernel may take to tell whether an OOM event killed something.
    oom_check_until: Option<Instant>,
    /// When an ended container that nobody fetched is given up.
    linger_until: Option<Instant>,
    /// Somebody asked for the end of it all.
    leaving: bool,
}

/// What can wake the loop.
#[derive(Clone, Copy, Debug)]
enum Source {
    Listener,
    Channel,
    Init,
    Oom,
    Output(u32, Stream),
    Client(usize),
}

/// How many conversations at once.
const CLIENTS_MAX: usize = 64;
/// The kernel signals an OOM before it kills: how long its count may lag, and how often to look.
const OOM_CHECK: Duration = Duration::from_secs(2);
const OOM_CHECK_EVERY: Duration = Duration::from_millis(10);

/// Runs a supervisor; its folder is the working folder, its creator listens on standard input.
#[must_use]
pub fn supervise() -> ExitCode {
    match birth::be_born() {
        Some(mut supervisor) => match supervisor.serve() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("giving up: {error}"));
                // Pid 1 dies with this process, and with it everything inside.
                ExitCode::FAILURE
            }
        },
        None => ExitCode::FAILURE,
    }
}

/// `cupola-warden probe`: what this machine can do, as JSON on standard output.
#[must_use]
pub fn probe(args: impl Iterator<Item = std::ffi::OsString>) -> ExitCode {
    crate::probe::trials::run(args)
}

/// Writes a line to the container's log of last resort.
fn complain(line: &str) {
    use std::io::Write as _;
    // There is nobody to tell when even this fails.
    let _ = writeln!(io::stderr(), "{line}");
}

// === impl Supervisor ===

impl Supervisor {
    fn serve(&mut self) -> io::Result<()> {
        while !self.may_leave() {
            for (source, ready) in self.wait()? {
                match source {
                    Source::Listener => self.accept(),
                    Source::Channel => self.hear_init()?,
                    Source::Init => self.take_note_of_the_end(),
                    Source::Oom => self.oom_signalled(),
                    Source::Output(process, stream) => self.take_output(process, stream),
                    Source::Client(index) => self.serve_client(index, ready),
                }
            }
            self.keep_time();
            self.finish_processes();
            self.feed_clients();
        }
        Ok(())
    }

    /// Waits until something happens or time has come for something.
    fn wait(&self) -> io::Result<Vec<(Source, PollFlags)>> {
        let mut sources = vec![Source::Listener];
        let mut fds = vec![PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
        if self.ended.is_none() {
            if self.channel_open {
                sources.push(Source::Channel);
                fds.push(PollFd::new(self.channel.as_fd(), PollFlags::POLLIN));
            }
            sources.push(Source::Init);
            fds.push(PollFd::new(self.init_fd.as_fd(), PollFlags::POLLIN));
            if let Some(oom) = &self.oom {
                sources.push(Source::Oom);
                fds.push(PollFd::new(oom.as_fd(), oom.interest()));
            }
        }
        let now = Instant::now();
        for (number, process) in &self.processes {
            if process.room(*number, &self.clients, now) == 0 {
                continue;
            }
            for (stream, fd) in process.pipes() {
                sources.push(Source::Output(*number, stream));
                fds.push(PollFd::new(fd, PollFlags::POLLIN));
            }
        }
        for (index, client) in self.clients.iter().enumerate() {
            sources.push(Source::Client(index));
            fds.push(PollFd::new(client.stream.as_fd(), client.interest()));
        }
        loop {
            match poll(&mut fds, self.timeout(now)) {
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
                Ok(_) => break,
            }
        }
        let ready = fds
            .iter()
            .map(|fd| fd.revents().unwrap_or(PollFlags::POLLERR));
        Ok(sources
            .into_iter()
            .zip(ready)
            .filter(|(_, ready)| !ready.is_empty())
            .collect())
    }

    fn timeout(&self, now: Instant) -> PollTimeout {
        let stalled = self
            .clients
            .iter()
            .filter_map(|client| client.stalls_at(now));
        let next = [self.kill_at, self.linger_until, self.disk.next_at()]
            .into_iter()
            .flatten()
            .chain(self.oom_check_until.map(|_| now + OOM_CHECK_EVERY))
            .chain(stalled)
            .min();
        match next {
            None => PollTimeout::NONE,
            // Rounded up, so that the time has come when the wait is over.
            Some(at) => {
                let millis = at.saturating_duration_since(now).as_micros().div_ceil(1000);
                PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX)
            }
        }
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = Instant::now();
        if self.kill_at.is_some_and(|at| at <= now) {
            self.kill_at = None;
            self.kill_all();
        }
        if let Some(until) = self.oom_check_until
            && (self.check_oom() || until <= now)
        {
            self.oom_check_until = None;
        }
        if self.state == ContainerState::Active
            && let Some(over) = self.disk.look(now)
        {
            self.over_disk = Some(over);
            self.end(EndReason::OutOfDisk);
        }
        if self.linger_until.is_some_and(|at| at <= now) {
            self.leaving = true;
        }
    }

    fn may_leave(&self) -> bool {
        let told = self
            .clients
            .iter()
            .all(|client| client.waiting != Some(Waiting::Destroy));
        self.leaving && self.ended.is_some() && told
    }

    fn hear_init(&mut self) -> io::Result<()> {
        let Some((word, _)) = self.channel.receive::<Word>()? else {
            // It is on its way out. That it has arrived there is for its pidfd to say: waiting for
            // it here could take as long as something inside takes to die.
            self.channel_open = false;
            self.kill_all();
            return Ok(());
        };
        match word {
            Word::Spawned { process } => self.answer_start(process, Ok(())),
            Word::NotSpawned {
                process,
                step,
                message,
            } => {
                self.processes.remove(&process);
                self.answer_start(process, Err((step, message)));
            }
            Word::Signalled { process, reached } => self.answer_signal(process, reached),
            Word::Exited {
                process,
                code,
                signal,
            } => self.process_exited(process, code, signal),
            Word::Ready | Word::Failed { .. } => {}
        }
        Ok(())
    }

    fn process_exited(&mut self, number: u32, code: Option<i32>, signal: Option<i32>) {
        if signal == Some(nix::libc::SIGKILL) {
            // The event may still be on its way.
            self.check_oom();
        }
        let oom = self.out_of_memory;
        let Some(process) = self.processes.get_mut(&number) else {
            return;
        };
        process.exit = Some(Exit { code, signal, oom });
        if process.main {
            self.end(EndReason::Exited);
        } else if self.state == ContainerState::Stopping && !self.anything_runs() {
            self.kill_all();
        }
    }

    fn anything_runs(&self) -> bool {
        self.processes
            .values()
            .any(|process| process.exit.is_none())
    }

    fn oom_signalled(&mut self) {
        if let Some(oom) = &self.oom
            && let Err(error) = oom.acknowledge()
        {
            complain(&format!("cannot read the memory event: {error}"));
            self.oom = None;
        }
        if !self.check_oom() {
            self.oom_check_until = Some(Instant::now() + OOM_CHECK);
        }
    }

    /// Whether the kernel has killed something inside for lack of memory; if so, all ends.
    fn check_oom(&mut self) -> bool {
        if !self.out_of_memory && self.ended.is_none() && self.group.oom_kills() > 0 {
            self.out_of_memory = true;
            self.end(EndReason::OutOfMemory);
        }
        self.out_of_memory
    }

    /// TERM to everything, KILL after the grace.
    fn stop(&mut self, grace: Duration) {
        if self.state == ContainerState::Active {
            self.move_to(ContainerState::Stopping);
            self.reason.get_or_insert(EndReason::Stopped);
            self.kill_at = Some(Instant::now() + grace);
            let term = Order::SignalAll {
                signal: nix::libc::SIGTERM,
            };
            if !self.anything_runs() || self.channel.send(&term, &[]).is_err() {
                self.kill_all();
            }
        } else if let Some(at) = &mut self.kill_at {
            // Another one may be in more of a hurry.
            *at = (*at).min(Instant::now() + grace);
        }
    }

    /// Ends everything at once; the first reason stays.
    fn end(&mut self, reason: EndReason) {
        self.reason.get_or_insert(reason);
        if self.state == ContainerState::Active {
            self.move_to(ContainerState::Stopping);
        }
        self.kill_all();
    }

    /// The kernel kills everything in a pid namespace whose pid 1 is killed.
    fn kill_all(&mut self) {
        if self.ended.is_none()
            && let Err(error) = sys::signal_pidfd(self.init_fd.as_fd(), nix::libc::SIGKILL)
        {
            complain(&format!("cannot kill pid 1: {error}"));
        }
    }

    fn move_to(&mut self, next: ContainerState) {
        debug_assert!(self.state.allows(next), "{:?} to {next:?}", self.state);
        self.state = next;
    }

    /// Pid 1 is gone, and the kernel has ended everything else before it let it go.
    fn take_note_of_the_end(&mut self) {
        if self.ended.is_some() {
            return;
        }
        let _ = waitpid(self.init, None);
        if !self.out_of_memory && self.group.oom_kills() > 0 {
            self.out_of_memory = true;
            if self.reason != Some(EndReason::Stopped) {
                self.reason = Some(EndReason::OutOfMemory);
            }
        }
        let killed = Exit {
            code: None,
            signal: Some(nix::libc::SIGKILL),
            oom: self.out_of_memory,
        };
        for process in self.processes.values_mut() {
            process.exit.get_or_insert(killed);
        }
        let main = self.processes.values().find(|process| process.main);
        let ended = Ended {
            reason: self.reason.unwrap_or(EndReason::Killed),
            main: main.and_then(|process| process.exit),
            at_ms: launch::now_ms(),
        };
        // Who asked for the end of everything will not ask what it used.
        self.last_stats = Some(if self.leaving {
            Stats::default()
        } else {
            self.stats()
        });
        self.move_to(ContainerState::Ended);
        self.ended = Some(ended.clone());
        self.kill_at = None;
        self.oom = None;
        self.oom_check_until = None;
        self.disk.stop();
        let linger = Duration::from_secs(self.launch.spec.linger_seconds.into());
        self.linger_until = Some(Instant::now() + linger);
        self.answer_ended(&ended);
        // Those who listen come first; the file is for those who come later, if it is to be kept.
        self.finish_processes();
        self.feed_clients();
        let file = std::path::Path::new(launch::EXIT);
        if !self.leaving
            && let Err(error) = launch::write_json(file, &ended, Durable::Yes)
        {
            complain(&error.to_string());
        }
        if let Err(error) = self.group.remove() {
            complain(&format!(
                "cannot remove {}: {}",
                error.path.display(),
                error.source
            ));
        }
        self.answer_destroyed();
    }

    fn stats(&self) -> Stats {
        if let Some(stats) = self.last_stats {
            return stats;
        }
        let mut stats = self.group.stats();
        (stats.disk_bytes, stats.disk_inodes) = self.disk.used();
        if let Some(cable) = &self.launch.cable {
            // What the host's end receives is what the container sent.
            (stats.net_tx_bytes, stats.net_rx_bytes) = crate::netlink::traffic(&cable.name);
        }
        stats
    }

    fn refuse(client: &mut Client, step: &str, message: impl ToString) {
        let (step, message) = (step.to_owned(), message.to_string());
        client.say(&Answer::Failed { step, message });
    }
}
