//! Pid 1 of a container.
//!
//! It builds the house, then does three things for the rest of its life: start what the supervisor
//! orders, reap what ends, pass signals on. It keeps the capabilities these need and no others; it
//! dies with its supervisor, and with it, by the kernel's doing, everything inside.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
};

use nix::{
    errno::Errno,
    libc::sock_filter,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
    sys::{
        signal::{SigSet, SigmaskHow, Signal, kill, sigprocmask},
        signalfd::{SfdFlags, SignalFd},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, sethostname},
};

use super::{
    Channel, Disk, Order, Step as _, StepError, Word, house, network,
    spawn::{self, Task},
};
use crate::{NetworkMode, cgroup::Doors, launch::Launch, sys};

/// What pid 1 is given by the supervisor it was forked from.
#[derive(Debug)]
pub(crate) struct Birthright<'a> {
    pub(crate) launch: &'a Launch,
    pub(crate) channel: Channel,
    /// The container's cgroups, to be entered before anything else.
    pub(crate) doors: Doors,
    pub(crate) disk: Disk,
    /// To whom the files of extra layers belong.
    pub(crate) owners: Option<OwnedFd>,
    pub(crate) filter: Vec<sock_filter>,
    pub(crate) nofile: u64,
}

/// What it is while it lives.
struct Init<'a> {
    launch: &'a Launch,
    channel: Channel,
    filter: Vec<sock_filter>,
    nofile: u64,
    null: File,
    /// Processes that run, by pid: their numbers.
    running: BTreeMap<i32, u32>,
}

const CAP_KILL: u64 = 5;
const CAP_SETGID: u64 = 6;
const CAP_SETUID: u64 = 7;
const CAP_SETPCAP: u64 = 8;
/// To signal the app, to start processes as it, to take even these away from them.
const KEPT: u64 = 1 << CAP_KILL | 1 << CAP_SETGID | 1 << CAP_SETUID | 1 << CAP_SETPCAP;
/// Signals that reach pid 1 from inside are ignored; these are read instead of handled.
const WATCHED: [Signal; 1] = [Signal::SIGCHLD];

/// The life of pid 1; the caller exits with the result.
pub(crate) fn run(birthright: Birthright<'_>) -> i32 {
    match Init::be_born(birthright) {
        Ok(mut init) => match init.live() {
            Ok(()) => 0,
            Err(_) => 1,
        },
        Err(()) => 1,
    }
}

// === impl Init ===

impl<'a> Init<'a> {
    /// Builds the house and says how that went.
    fn be_born(birthright: Birthright<'a>) -> Result<Self, ()> {
        let Birthright {
            launch,
            channel,
            doors,
            disk,
            owners,
            filter,
            nofile,
        } = birthright;
        let built = prepare(launch, &channel, doors, &disk, owners);
        match built {
            Ok((null, upper)) => {
                channel.send(&Word::Ready, &[upper.as_fd()]).map_err(drop)?;
                Ok(Self {
                    launch,
                    channel,
                    filter,
                    nofile,
                    null,
                    running: BTreeMap::new(),
                })
            }
            Err(StepError { step, source }) => {
                let message = source.to_string();
                let _ = channel.send(&Word::Failed { step, message }, &[]);
                Err(())
            }
        }
    }

    /// Serves until the supervisor is gone.
    fn live(&mut self) -> io::Result<()> {
        let watched = WATCHED.into_iter().collect::<SigSet>();
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&watched, flags)?;
        loop {
            let mut fds = [
                PollFd::new(self.channel.as_fd(), PollFlags::POLLIN),
                PollFd::new(signals.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut fds, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                result => result?,
            };
            let ready = |fd: &PollFd<'_>| fd.any().unwrap_or(true);
            let (ordered, ended) = (ready(&fds[0]), ready(&fds[1]));
            if ended {
                while signals.read_signal()?.is_some() {}
                self.reap()?;
            }
            if ordered {
                let Some((order, fds)) = self.channel.receive()? else {
                    return Ok(());
                };
                self.obey(order, fds)?;
            }
        }
    }

    fn obey(&mut self, order: Order, fds: Vec<OwnedFd>) -> io::Result<()> {
        match order {
            Order::Go => Ok(()),
            Order::Spawn { process } => self.spawn(process, fds),
            Order::Signal { process, signal } => {
                let reached = self.signal(process, signal);
                self.channel
                    .send(&Word::Signalled { process, reached }, &[])
            }
            Order::SignalAll { signal } => {
                sys::kill(-1, signal);
                Ok(())
            }
        }
    }

    fn spawn(&mut self, process: u32, fds: Vec<OwnedFd>) -> io::Result<()> {
        let task = Task {
            launch: self.launch,
            filter: &self.filter,
            nofile: self.nofile,
            null: &self.null,
        };
        match spawn::start(&task, fds) {
            Ok(pid) => {
                self.running.insert(pid.as_raw(), process);
                self.channel.send(&Word::Spawned { process }, &[])
            }
            Err(StepError { step, source }) => {
                let message = source.to_string();
                self.channel.send(
                    &Word::NotSpawned {
                        process,
                        step,
                        message,
                    },
                    &[],
                )
            }
        }
    }

    /// Every process leads a session, and with it a group, of its own.
    fn signal(&self, process: u32, signal: i32) -> bool {
        let pid = self
            .running
            .iter()
            .find(|(_, number)| **number == process)
            .map(|(pid, _)| *pid);
        let signal = Signal::try_from(signal).ok();
        match pid.zip(signal) {
            Some((pid, signal)) => {
                let group = kill(Pid::from_raw(-pid), signal);
                // In the moment between fork and setsid there is no group yet.
                group.or_else(|_| kill(Pid::from_raw(pid), signal)).is_ok()
            }
            None => false,
        }
    }

    fn reap(&mut self) -> io::Result<()> {
        loop {
            let (pid, code, signal) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, Some(code), None),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, None, Some(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return Ok(()),
                Ok(_) | Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            // Others are orphans that pid 1 inherited.
            if let Some(process) = self.running.remove(&pid.as_raw()) {
                self.channel.send(
                    &Word::Exited {
                        process,
                        code,
                        signal,
                    },
                    &[],
                )?;
            }
        }
    }
}

/// From the fork to a house that stands.
fn prepare(
    launch: &Launch,
    channel: &Channel,
    doors: Doors,
    disk: &Disk,
    owners: Option<OwnedFd>,
) -> Result<(File, File), StepError> {
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("die with the supervisor")?;
    enter(doors.first)?;
    sigprocmask(
        SigmaskHow::SIG_SETMASK,
        Some(&WATCHED.into_iter().collect()),
        None,
    )
    .step("block signals")?;
    sethostname(&launch.spec.hostname).step("set the host name")?;
    let own_network = launch.spec.network != NetworkMode::Host;
    let ipv6 = network::Ipv6Settings::open()?;
    let upper = house::build(launch, disk, owners)?;
    enter(doors.last)?;
    // Only now: the namespace's root is the cgroup the process is in at this moment.
    unshare(CloneFlags::CLONE_NEWCGROUP).step("make the cgroup namespace")?;
    match channel.receive::<Order>().step("wait for the cable")? {
        Some((Order::Go, _)) => {}
        other => {
            let what = format!("{:?} instead of go", other.map(|(order, _)| order));
            return Err(io::Error::other(what)).step("wait for the cable");
        }
    }
    if own_network {
        network::connect(launch.cable.as_ref(), &ipv6)?;
    }
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .step("open /dev/null")?;
    give_up_privileges()?;
    Ok((null, upper))
}

fn enter(doors: Vec<File>) -> Result<(), StepError> {
    doors
        .into_iter()
        .try_for_each(|mut door| door.write_all(b"0"))
        .step("enter the cgroup")
}

fn give_up_privileges() -> Result<(), StepError> {
    sys::drop_bounding(KEPT).step("drop capabilities for good")?;
    sys::keep_capabilities(KEPT).step("drop capabilities")?;
    sys::lock_privileges().step("lock privileges")?;
    nix::sys::prctl::set_dumpable(false).step("hide from tracers")?;
    // The kernel forgets this wish when credentials change.
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).step("die with the supervisor")
}
