//! Mounts that exist before they have a place.

use std::{
    ffi::CString,
    io,
    os::{
        fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use super::check;

/// What a cloned tree may do. All are nosuid and nodev.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TreeFlags {
    pub(crate) read_only: bool,
    pub(crate) no_exec: bool,
}

/// The kernel's `struct mount_attr`.
#[repr(C)]
struct MountAttr {
    set: u64,
    clear: u64,
    propagation: u64,
    userns_fd: u64,
}

const ATTR_RDONLY: u64 = 0x1;
const ATTR_NOSUID: u64 = 0x2;
const ATTR_NODEV: u64 = 0x4;
const ATTR_NOEXEC: u64 = 0x8;
const ATTR_IDMAP: u64 = 0x10_0000;
const OPEN_TREE_CLONE: u32 = 1;
const MOVE_MOUNT_F_EMPTY_PATH: u32 = 0x4;
const AT_RECURSIVE: u32 = 0x8000;

/// A copy of the mounts at and below `path`, private, with the flags on every one of them. With
/// `owners`, files belong to whom that user namespace says.
pub(crate) fn clone_tree(
    path: &Path,
    flags: TreeFlags,
    owners: Option<BorrowedFd<'_>>,
) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let how = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC.cast_unsigned();
    // SAFETY: the path is a C string that lives across the call.
    let fd =
        check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), how) })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: a new descriptor which nobody else knows.
    let tree = unsafe { OwnedFd::from_raw_fd(fd) };
    let mut set = ATTR_NOSUID | ATTR_NODEV;
    if flags.read_only {
        set |= ATTR_RDONLY;
    }
    if flags.no_exec {
        set |= ATTR_NOEXEC;
    }
    let mut userns_fd = 0;
    if let Some(owners) = owners {
        set |= ATTR_IDMAP;
        userns_fd = u64::from(owners.as_raw_fd().unsigned_abs());
    }
    let attr = MountAttr {
        set,
        clear: 0,
        propagation: libc::MS_PRIVATE,
        userns_fd,
    };
    let how = AT_RECURSIVE | libc::AT_EMPTY_PATH.cast_unsigned();
    // SAFETY: an empty C string, and a struct of the size that is passed.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            c"".as_ptr(),
            how,
            &raw const attr,
            size_of::<MountAttr>(),
        )
    })?;
    Ok(tree)
}

/// Puts a cloned tree where `target` (an `O_PATH` descriptor) is.
pub(crate) fn place_tree(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> io::Result<()> {
    const MOVE_MOUNT_T_EMPTY_PATH: u32 = 0x40;
    let empty = c"".as_ptr();
    let how = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    // SAFETY: two descriptors and empty C strings.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            tree.as_raw_fd(),
            empty,
            target.as_raw_fd(),
            empty,
            how,
        )
    })
    .map(drop)
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path"))
}
