//! User namespaces, as far as mounts need them: as a table of who owns what.

use std::{
    fs::{self, File},
    io,
    os::fd::{AsFd as _, OwnedFd},
};

use nix::sys::{signal::Signal, wait::waitpid};

use super::process::{Forked, new_namespaces, signal_pidfd};

/// A user namespace in which root is the given user of the host. It is made by a process that is
/// gone when this returns; the descriptor keeps it.
pub(crate) fn mapped_users(uid: u32) -> io::Result<OwnedFd> {
    match new_namespaces(libc::CLONE_NEWUSER)? {
        Forked::Child => {
            let waits = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
            while waits.is_ok() {
                nix::unistd::pause();
            }
            std::process::exit(1)
        }
        Forked::Parent((pid, pidfd)) => {
            let map = |file: &str| fs::write(format!("/proc/{pid}/{file}"), format!("0 {uid} 1"));
            let mapped = map("uid_map").and_then(|()| map("gid_map"));
            let namespace = mapped.and_then(|()| File::open(format!("/proc/{pid}/ns/user")));
            // It ends whatever happened, and is waited for.
            let killed = signal_pidfd(pidfd.as_fd(), libc::SIGKILL);
            let waited = waitpid(pid, None);
            let namespace = namespace?;
            killed?;
            waited?;
            Ok(namespace.into())
        }
    }
}
