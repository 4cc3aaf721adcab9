//! The system calls that no safe wrapper exists for: the only `unsafe` code of the platform.
//!
//! Each function does one thing, checks its result, and is safe to call.

#![expect(
    unsafe_code,
    reason = "raw system calls; every block says why it is sound"
)]

mod credentials;
mod loopdev;
mod mounts;
mod process;
mod tree;
mod userns;

pub(crate) use credentials::{drop_bounding, filter_syscalls, keep_capabilities, lock_privileges};
pub(crate) use loopdev::attach_loop;
pub(crate) use mounts::{TreeFlags, clone_tree, place_tree};
pub(crate) use process::{
    Forked, close_from, fork, kill, kill_key, new_namespaces, pidfd_of, set_cloexec_from,
    signal_pidfd, wait_gone,
};
pub(crate) use tree::{open_beneath, remove_tree};
pub(crate) use userns::mapped_users;

use std::io;

/// The result of a raw system call as a `Result`.
fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// Takes over a descriptor that the kernel has just handed to this process in a message.
pub(crate) fn adopt(raw: std::os::fd::RawFd) -> std::os::fd::OwnedFd {
    use std::os::fd::FromRawFd as _;
    // SAFETY: only called on descriptors fresh out of `recvmsg`, which nobody else knows.
    unsafe { std::os::fd::OwnedFd::from_raw_fd(raw) }
}

/// Sets what a signal does, to the default or to nothing.
pub(crate) fn set_signal(
    signal: nix::sys::signal::Signal,
    action: &nix::sys::signal::SigAction,
) -> io::Result<()> {
    debug_assert!(!matches!(
        action.handler(),
        nix::sys::signal::SigHandler::Handler(_)
    ));
    // SAFETY: no handler function is installed, so nothing runs in a signal's context.
    unsafe { nix::sys::signal::sigaction(signal, action) }.map_err(io::Error::from)?;
    Ok(())
}

/// Closes a descriptor for good and for all: in a forked child, which owns copies of everything,
/// whoever holds the value there will never use it again.
pub(crate) fn close(fd: &impl std::os::fd::AsRawFd) {
    // SAFETY: only called in a child that never returns to the code that owns the value.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Waits where the kernel offers nothing to wait for.
#[expect(
    clippy::disallowed_methods,
    reason = "never called on a runtime's thread: see `aio`"
)]
pub(crate) fn pause(duration: std::time::Duration) {
    std::thread::sleep(duration);
}
