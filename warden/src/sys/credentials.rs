//! Giving up privileges.

use std::io;

use super::check;

/// A program for the kernel's packet filter, as it is laid out for `SECCOMP_SET_MODE_FILTER`.
pub(crate) type Filter = [libc::sock_filter];

/// The kernel's `struct __user_cap_header_struct`.
#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

/// The kernel's `struct __user_cap_data_struct`; two of them make 64 bits.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Half {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

const VERSION_3: u32 = 0x2008_0522;

/// Keeps only the given capabilities (bit numbers as a mask); none are inheritable or ambient.
pub(crate) fn keep_capabilities(mask: u64) -> io::Result<()> {
    let header = Header {
        version: VERSION_3,
        pid: 0,
    };
    let half = |shift: u32| {
        let bits = u32::try_from((mask >> shift) & u64::from(u32::MAX)).unwrap_or(0);
        Half {
            effective: bits,
            permitted: bits,
            inheritable: 0,
        }
    };
    let halves = [half(0), half(32)];
    // SAFETY: version 3 takes exactly these two structs and only reads them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, halves.as_ptr()) })?;
    prctl(
        libc::PR_CAP_AMBIENT,
        libc::PR_CAP_AMBIENT_CLEAR_ALL.cast_unsigned().into(),
        0,
    )
}

/// Drops every capability that is not in the mask from what exec could ever give back.
pub(crate) fn drop_bounding(keep: u64) -> io::Result<()> {
    for capability in 0..64u32 {
        // Beyond the last one the kernel says EINVAL.
        match prctl(libc::PR_CAPBSET_READ, capability.into(), 0) {
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            result => result?,
        }
        if keep & (1 << capability) == 0 {
            prctl(libc::PR_CAPBSET_DROP, capability.into(), 0)?;
        }
    }
    Ok(())
}

/// No exec will ever give privileges again, and nobody of the same uid may look inside.
pub(crate) fn lock_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0)
}

/// Installs a filter for this process and all that come from it. Needs [`lock_privileges`].
pub(crate) fn filter_syscalls(filter: &Filter) -> io::Result<()> {
    let len =
        u16::try_from(filter.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // The kernel only reads through the pointer, whatever its type says.
    let program = libc::sock_fprog {
        len,
        filter: filter.as_ptr().cast_mut(),
    };
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program points at `len` instructions that live across the call.
    check(unsafe { libc::syscall(libc::SYS_seccomp, mode, 0, &raw const program) }).map(drop)
}

fn prctl(option: i32, a: libc::c_ulong, b: libc::c_ulong) -> io::Result<()> {
    let zero: libc::c_ulong = 0;
    // SAFETY: all options used here take plain numbers.
    check(unsafe { libc::prctl(option, a, b, zero, zero) }.into()).map(drop)
}
