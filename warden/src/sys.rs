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

pub(crate) use credentials::{drop_bounding, filter_syscalls, keep_capabilities, lock_privileges};
pub(crate) use loopdev::attach_loop;
pub(crate) use mounts::{TreeFlags, clone_tree, place_tree};
pub(crate) use process::{
    Forked, close_from, fork, kill, kill_key, new_namespaces, pidfd_of, set_cloexec_from,
    signal_pidfd, wait_gone,
};
pub(crate) use tree::{open_beneath, remove_tree};

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
