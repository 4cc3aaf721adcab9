//! File descriptors. The last ones are not for clients: an operator must still be able to look, another
//! server to come, a log to be opened again.

use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit};

/// So many of the last ones are kept back, or an eighth where there are few.
const KEPT: u64 = 64;

/// Who may have one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum For {
    /// Whoever connects: not of the last ones.
    Clients,
    /// Other servers, and who says to be one: half of the last ones.
    Routes,
    /// Monitors: three quarters of the last ones.
    Monitors,
}

/// Whether a socket that has just come took one of those that are kept from its kind. The system gives out
/// the lowest that is free, so a high one tells how many are used.
pub(crate) fn is_kept(socket: &impl AsRawFd, from: For) -> bool {
    let Ok((limit, _)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return false;
    };
    u64::try_from(socket.as_raw_fd()).is_ok_and(|own| own >= limit - kept(limit, from))
}

fn kept(limit: u64, from: For) -> u64 {
    let all = KEPT.min(limit / 8);
    match from {
        For::Clients => all,
        For::Routes => all / 2,
        For::Monitors => all / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_ones_are_kept() {
        assert_eq!(kept(1024, For::Clients), 64);
        assert_eq!(kept(1024, For::Routes), 32);
        assert_eq!(kept(1024, For::Monitors), 16);
        assert_eq!(kept(100, For::Clients), 12);
        assert_eq!(kept(4, For::Clients), 0);
        assert!(!is_kept(&std::io::stdin(), For::Clients));
    }
}
