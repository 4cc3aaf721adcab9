//! Paths that cannot be led astray.

use std::{
    ffi::{CStr, CString, OsStr},
    io,
    os::{
        fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
};

use nix::{dir::Dir, errno::Errno, fcntl::OFlag, sys::stat::Mode, unistd::UnlinkatFlags};

use super::check;

/// The kernel's `struct open_how`.
#[repr(C)]
struct OpenHow {
    flags: u64,
    mode: u64,
    resolve: u64,
}

const RESOLVE_NO_MAGICLINKS: u64 = 0x02;
const RESOLVE_BENEATH: u64 = 0x08;

/// Opens `path` below `dir`; no component may leave it, by `..`, by a link or by a magic link.
pub(crate) fn open_beneath(
    dir: BorrowedFd<'_>,
    path: &OsStr,
    flags: OFlag,
    mode: u32,
) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_bytes())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a path"))?;
    let flags = (flags | OFlag::O_CLOEXEC).bits().cast_unsigned();
    let how = OpenHow {
        flags: flags.into(),
        mode: mode.into(),
        resolve: RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    // SAFETY: a C string and a struct of the size that is passed, both alive across the call.
    let fd = check(unsafe {
        libc::syscall(
            libc::SYS_openat2,
            dir.as_raw_fd(),
            path.as_ptr(),
            &raw const how,
            size_of::<OpenHow>(),
        )
    })?;
    let fd = RawFd::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    // SAFETY: a new descriptor which nobody else knows.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Removes a file or a folder with everything in it, however deep it was made: a folder that is
/// found deep inside is moved up before it is emptied, so neither stack nor descriptors run out.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let parent = nix::fcntl::open(parent, flags, Mode::empty())?;
    let name = CString::new(name.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut pending = vec![name];
    let mut serial = 0u64;
    while let Some(name) = pending.pop() {
        match nix::unistd::unlinkat(&parent, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Err(Errno::EISDIR | Errno::EPERM) => {
                empty(parent.as_fd(), &name, &mut pending, &mut serial)?;
                let dir = UnlinkatFlags::RemoveDir;
                nix::unistd::unlinkat(&parent, name.as_c_str(), dir)?;
            }
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    Ok(())
}

/// Removes the files of a folder and moves its folders beside it.
fn empty(
    parent: BorrowedFd<'_>,
    name: &CStr,
    pending: &mut Vec<CString>,
    serial: &mut u64,
) -> io::Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let mut dir = Dir::openat(parent, name, flags, Mode::empty())?;
    loop {
        let names: Vec<CString> = dir
            .iter()
            .filter_map(Result::ok)
            .map(|entry| entry.file_name().to_owned())
            .filter(|name| !matches!(name.to_bytes(), b"." | b".."))
            .take(4096)
            .collect();
        if names.is_empty() {
            return Ok(());
        }
        for inner in names {
            match nix::unistd::unlinkat(&dir, inner.as_c_str(), UnlinkatFlags::NoRemoveDir) {
                Err(Errno::EISDIR | Errno::EPERM) => {
                    *serial += 1;
                    let aside = CString::new(format!(".rm-{}-{serial}", std::process::id()))
                        .map_err(|_| io::ErrorKind::InvalidInput)?;
                    nix::fcntl::renameat(&dir, inner.as_c_str(), parent, aside.as_c_str())?;
                    pending.push(aside);
                }
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}
