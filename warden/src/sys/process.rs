//! Making, finding and ending processes.

use std::{
    io,
    os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout},
    unistd::Pid,
};

use super::check;
use crate::launch::ProcessKey;

/// Which side of a fork this is.
#[derive(Debug)]
pub(crate) enum Forked<T> {
    /// The new process.
    Child,
    /// The old one, and how it knows the new one.
    Parent(T),
}

/// The kernel's `struct clone_args`.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// Forks into new namespaces (`libc::CLONE_NEW*`); the parent gets pid and pidfd.
///
/// Only for single-threaded programs: another thread's lock would stay locked in the child.
pub(crate) fn new_namespaces(flags: i32) -> io::Result<Forked<(Pid, OwnedFd)>> {
    single_threaded()?;
    let mut pidfd: RawFd = -1;
    let mut args = CloneArgs {
        flags: u64::from((flags | libc::CLONE_PIDFD).cast_unsigned()),
        pidfd: (&raw mut pidfd) as u64,
        exit_signal: u64::from(libc::SIGCHLD.cast_unsigned()),
        ..CloneArgs::default()
    };
    // SAFETY: the arguments live across the call and have the size that is passed. Without CLONE_VM
    // the child has its own copy of memory and stack, and as there is one thread it is consistent.
    let pid =
        check(unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<CloneArgs>()) })?;
    if pid == 0 {
        return Ok(Forked::Child);
    }
    let pid = i32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: the kernel stored a new descriptor there, which nobody else knows.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    Ok(Forked::Parent((Pid::from_raw(pid), pidfd)))
}

/// Forks. Only for single-threaded programs.
pub(crate) fn fork() -> io::Result<Forked<Pid>> {
    single_threaded()?;
    // SAFETY: there is one thread, so the child's copy of memory is consistent and it may go on
    // with ordinary code.
    match unsafe { nix::unistd::fork() }? {
        nix::unistd::ForkResult::Child => Ok(Forked::Child),
        nix::unistd::ForkResult::Parent { child } => Ok(Forked::Parent(child)),
    }
}

/// The promise the two calls above rest on is checked rather than hoped for.
fn single_threaded() -> io::Result<()> {
    // SAFETY: `unshare(0)` and this call have no memory effects; a raw number is returned.
    let own = check(unsafe { libc::syscall(libc::SYS_gettid) })?;
    // SAFETY: as above.
    let group = check(unsafe { libc::syscall(libc::SYS_getpid) })?;
    if own == group && only_thread() {
        Ok(())
    } else {
        Err(io::Error::other("more than one thread"))
    }
}

/// Whether this process has one thread. Inside a fresh pid namespace /proc may show another one's
/// processes; a missing entry then counts as yes, for a forked process has one thread by nature.
fn only_thread() -> bool {
    std::fs::read_dir("/proc/self/task").map_or(true, |tasks| tasks.take(2).count() < 2)
}

/// Closes every descriptor from `first` on.
pub(crate) fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: used at the start of a program, before it owns any descriptor from `first` on.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0u32) }).map(drop)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn set_cloexec_from(first: u32) -> io::Result<()> {
    let flag = libc::CLOSE_RANGE_CLOEXEC;
    // SAFETY: only sets a flag on descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, flag) }).map(drop)
}

/// A descriptor of a process, readable when it ends.
pub(crate) fn pidfd_of(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0u32) })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: a new descriptor which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sends a signal to exactly that process.
pub(crate) fn signal_pidfd(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let none = std::ptr::null::<libc::siginfo_t>();
    let fd = pidfd.as_raw_fd();
    // SAFETY: a null siginfo means "as kill would"; no other memory is passed.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd, signal, none, 0u32) }).map(drop)
}

/// Sends a signal; a process that is gone is no error worth telling.
pub(crate) fn kill(pid: i32, signal: i32) {
    let Ok(signal) = nix::sys::signal::Signal::try_from(signal) else {
        return;
    };
    let _ = nix::sys::signal::kill(Pid::from_raw(pid), signal);
}

/// Kills a process if it still is the one that was meant.
pub(crate) fn kill_key(key: &ProcessKey) {
    // The descriptor pins the process; only then is the identity checked.
    if let Ok(pidfd) = pidfd_of(key.pid)
        && key.is_alive()
    {
        let _ = signal_pidfd(pidfd.as_fd(), libc::SIGKILL);
    }
}

/// Waits until a process has ended; whether it has.
pub(crate) fn wait_gone(key: &ProcessKey, within: Duration) -> bool {
    let deadline = Instant::now() + within;
    let Ok(pidfd) = pidfd_of(key.pid) else {
        return true;
    };
    if !key.is_alive() {
        return true;
    }
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match nix::poll::poll(&mut fds, timeout) {
            Ok(0) if left.is_zero() => return false,
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return true,
            Err(_) => return !key.is_alive(),
        }
    }
}
