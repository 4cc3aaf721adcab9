//! A tar archive, plain or gzip'd, into a folder.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufRead as _, BufReader, Read, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Component, Path, PathBuf},
};

use flate2::bufread::MultiGzDecoder;
use nix::{
    errno::Errno,
    fcntl::{AtFlags, OFlag},
    sys::{
        stat::{Mode, futimens},
        time::TimeSpec,
    },
    unistd::UnlinkatFlags,
};
use tar::EntryType;

use super::ArchiveError;
use crate::{Links, Unpack, UnpackReport, sys};

/// The state of an unpacking.
struct Unpacker<'a> {
    order: &'a Unpack,
    root: OwnedFd,
    report: UnpackReport,
    /// The folder the last entry went to; the next one mostly goes there too.
    last: Option<(PathBuf, OwnedFd)>,
}

type Outcome<T> = Result<T, ArchiveError>;

const GZIP: [u8; 2] = [0x1f, 0x8b];
/// No sensible name is longer; the kernel's limit is 4096.
const NAME_MAX: usize = 4000;

/// Unpacks `archive`; entries are placed in order, the first bad one ends it.
pub(crate) fn unpack(archive: impl Read, order: &Unpack) -> Outcome<UnpackReport> {
    let mut archive = BufReader::with_capacity(64 * 1024, archive);
    let head = archive
        .fill_buf()
        .map_err(|e| ArchiveError::io("read the archive", "", e))?;
    if head.starts_with(&GZIP) {
        unpack_tar(MultiGzDecoder::new(archive), order)
    } else {
        unpack_tar(archive, order)
    }
}

fn unpack_tar(archive: impl Read, order: &Unpack) -> Outcome<UnpackReport> {
    let target = order.target.to_string_lossy().into_owned();
    fs::create_dir_all(&order.target).map_err(|e| ArchiveError::io("make", &target, e))?;
    let root = File::open(&order.target).map_err(|e| ArchiveError::io("open", &target, e))?;
    let mut unpacker = Unpacker {
        order,
        root: root.into(),
        report: UnpackReport::default(),
        last: None,
    };
    let mut archive = tar::Archive::new(archive);
    let bad = |e| ArchiveError::io("read the archive", "", e);
    for entry in archive.entries().map_err(bad)? {
        unpacker.place(entry.map_err(bad)?)?;
    }
    Ok(unpacker.report)
}

// === impl Unpacker ===

impl Unpacker<'_> {
    fn place<R: Read>(&mut self, mut entry: tar::Entry<'_, R>) -> Outcome<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(());
        }
        let shown = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        self.report.entries += 1;
        if self.report.entries > self.order.entries_max {
            let why = format!(
                "more than {} entries, the first too many is",
                self.order.entries_max
            );
            return Err(ArchiveError::refused(shown, why));
        }
        let path = inner_path(&entry.path_bytes(), &shown)?;
        let Some((parent, name)) = split(&path) else {
            // The folder itself.
            return Ok(());
        };
        match kind {
            EntryType::Directory => self.folder(&path, mode_of(&entry, &shown)?, &shown),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                let parent = self.parent(parent, &shown)?;
                self.file(&parent, name, &mut entry, &shown)
            }
            EntryType::Symlink => {
                let target = link_name(&entry, &shown)?;
                if self.order.links == Links::Within && !stays_within(parent, &target) {
                    return Err(ArchiveError::refused(
                        shown,
                        "a link that leaves the folder",
                    ));
                }
                let parent = self.parent(parent, &shown)?;
                replace(&parent, name, &shown)?;
                nix::unistd::symlinkat(Path::new(&target), &parent, name)
                    .map_err(|e| ArchiveError::io("make the link", shown, e.into()))
            }
            EntryType::Link => {
                let target = inner_path(link_name(&entry, &shown)?.as_bytes(), &shown)?;
                self.hard_link(&target, parent, name, &shown)
            }
            other => Err(ArchiveError::refused(
                shown,
                format!("an entry of kind {other:?} is refused"),
            )),
        }
    }

    fn folder(&mut self, path: &Path, mode: u32, shown: &str) -> Outcome<()> {
        let dir = self.parent(path, shown)?;
        // Whatever the archive says, what comes after must find a way in.
        let mode = Mode::from_bits_truncate(mode | 0o700);
        nix::sys::stat::fchmod(&dir, mode)
            .map_err(|e| ArchiveError::io("set the mode of", shown, e.into()))
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        entry: &mut tar::Entry<'_, R>,
        shown: &str,
    ) -> Outcome<()> {
        replace(parent, name, shown)?;
        let mode = mode_of(entry, shown)?;
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let fail = |what, e| ArchiveError::io(what, shown, e);
        let file = sys::open_beneath(parent.as_fd(), name, flags, 0o600)
            .map_err(|e| fail("make the file", e))?;
        let mut file = File::from(file);
        let room = self.order.bytes_max - self.report.bytes;
        let mut buffer = vec![0; 64 * 1024];
        let mut written = 0u64;
        loop {
            let count = match entry.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(fail("read the contents of", e)),
            };
            written += count as u64;
            if written > room {
                let why = format!("more than {} bytes, reached in", self.order.bytes_max);
                return Err(ArchiveError::refused(shown, why));
            }
            file.write_all(&buffer[..count])
                .map_err(|e| fail("write", e))?;
        }
        self.report.bytes += written;
        nix::sys::stat::fchmod(&file, Mode::from_bits_truncate(mode))
            .map_err(|e| fail("set the mode of", e.into()))?;
        if let Ok(seconds) = entry.header().mtime().map(i64::try_from)
            && let Ok(seconds) = seconds
        {
            let time = TimeSpec::new(seconds, 0);
            futimens(&file, &time, &time).map_err(|e| fail("set the time of", e.into()))?;
        }
        Ok(())
    }

    fn hard_link(
        &mut self,
        target: &Path,
        parent: &Path,
        name: &OsStr,
        shown: &str,
    ) -> Outcome<()> {
        let Some((from, from_name)) = split(target) else {
            return Err(ArchiveError::refused(shown, "a link to the folder itself"));
        };
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        let from = match from.as_os_str().is_empty() {
            true => self.root.try_clone(),
            false => sys::open_beneath(self.root.as_fd(), from.as_os_str(), flags, 0),
        };
        let from = from.map_err(|e| ArchiveError::io("find what is linked to by", shown, e))?;
        if target == parent.join(name) {
            // Replacing a file by a link to itself would lose it.
            return Err(ArchiveError::refused(shown, "a link to itself"));
        }
        let parent = self.parent(parent, shown)?;
        replace(&parent, name, shown)?;
        nix::unistd::linkat(&from, from_name, &parent, name, AtFlags::empty())
            .map_err(|e| ArchiveError::io("make the link", shown, e.into()))
    }

    /// A folder beneath the target, made when it does not exist.
    fn parent(&mut self, path: &Path, shown: &str) -> Outcome<OwnedFd> {
        let fail = |e| ArchiveError::io("enter the folder of", shown, e);
        if let Some((known, dir)) = &self.last
            && known == path
        {
            return dir.try_clone().map_err(fail);
        }
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY;
        let open = |path: &Path| match path.as_os_str().is_empty() {
            true => self.root.try_clone(),
            false => sys::open_beneath(self.root.as_fd(), path.as_os_str(), flags, 0),
        };
        let dir = match open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                let mut at = open(Path::new("")).map_err(fail)?;
                let mut so_far = PathBuf::new();
                for part in path.components() {
                    so_far.push(part);
                    let mode = Mode::from_bits_truncate(0o755);
                    match nix::sys::stat::mkdirat(&at, part.as_os_str(), mode) {
                        Err(Errno::EEXIST) | Ok(()) => {}
                        Err(errno) => return Err(fail(errno.into())),
                    }
                    at = open(&so_far).map_err(fail)?;
                }
                at
            }
            result => result.map_err(fail)?,
        };
        let kept = dir.try_clone().map_err(fail)?;
        self.last = Some((path.to_owned(), kept));
        Ok(dir)
    }
}

/// An entry's name as a path that cannot leave: no root, no `..`.
fn inner_path(bytes: &[u8], shown: &str) -> Outcome<PathBuf> {
    if bytes.len() > NAME_MAX {
        return Err(ArchiveError::refused(
            &shown[..shown.floor_char_boundary(80)],
            "a name too long",
        ));
    }
    let mut path = PathBuf::new();
    for component in Path::new(OsStr::from_bytes(bytes)).components() {
        match component {
            Component::Normal(part) => path.push(part),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => {
                return Err(ArchiveError::refused(shown, "an absolute name"));
            }
            Component::ParentDir => {
                return Err(ArchiveError::refused(shown, "a name with .. in it"));
            }
        }
    }
    Ok(path)
}

fn split(path: &Path) -> Option<(&Path, &OsStr)> {
    Some((path.parent()?, path.file_name()?))
}

fn link_name<R: Read>(entry: &tar::Entry<'_, R>, shown: &str) -> Outcome<OsString> {
    match entry.link_name_bytes() {
        Some(target) if !target.is_empty() && target.len() <= NAME_MAX => {
            Ok(OsString::from_vec(target.into_owned()))
        }
        _ => Err(ArchiveError::refused(shown, "a link to nothing")),
    }
}

/// Whether a link in the folder `parent` (beneath the root) leads nowhere above the root.
fn stays_within(parent: &Path, target: &OsStr) -> bool {
    let mut depth = parent.components().count();
    for component in Path::new(target).components() {
        match component {
            Component::Normal(_) => depth += 1,
            Component::CurDir => {}
            Component::ParentDir if depth > 0 => depth -= 1,
            _ => return false,
        }
    }
    true
}

fn mode_of<R: Read>(entry: &tar::Entry<'_, R>, shown: &str) -> Outcome<u32> {
    // No set-id, no sticky: what an archive brings never gives rights.
    let mode = entry.header().mode();
    mode.map(|mode| mode & 0o777)
        .map_err(|e| ArchiveError::io("read the mode of", shown, e))
}

/// Removes what is in the way; a folder is left, and then in the way for good.
fn replace(parent: &OwnedFd, name: &OsStr, shown: &str) -> Outcome<()> {
    match nix::unistd::unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT | Errno::EISDIR) => Ok(()),
        Err(errno) => Err(ArchiveError::io("replace", shown, errno.into())),
    }
}
