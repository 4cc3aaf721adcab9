//! A folder into a gzip'd tar archive.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, BufWriter, Read, Write},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use flate2::{Compression, write::GzEncoder};
use nix::{dir::Dir, fcntl::OFlag};
use tar::{EntryType, Header};

use super::ArchiveError;
use crate::{Pack, PackReport, sys};

/// The state of a packing.
struct Packer<'a, W: Write> {
    order: &'a Pack,
    root: OwnedFd,
    archive: tar::Builder<W>,
    report: PackReport,
}

type Outcome<T> = Result<T, ArchiveError>;

/// Reads as zeros: what fills up a file that shrank while it was being read.
struct Zeros;

/// Packs a folder into `archive`, in the order of names, so that equal folders give equal archives.
pub(crate) fn pack(order: &Pack, archive: File) -> Outcome<PackReport> {
    let shown = order.source.to_string_lossy().into_owned();
    let root = File::open(&order.source).map_err(|e| ArchiveError::io("open", &shown, e))?;
    let writer = BufWriter::with_capacity(64 * 1024, archive);
    let encoder = GzEncoder::new(writer, Compression::fast());
    let mut packer = Packer {
        order,
        root: root.into(),
        archive: tar::Builder::new(encoder),
        report: PackReport::default(),
    };
    packer.walk()?;
    let fail = |e| ArchiveError::io("finish the archive", "", e);
    let encoder = packer.archive.into_inner().map_err(fail)?;
    encoder
        .finish()
        .and_then(|mut writer| writer.flush())
        .map_err(fail)?;
    Ok(packer.report)
}

// === impl Packer ===

impl<W: Write> Packer<'_, W> {
    fn walk(&mut self) -> Outcome<()> {
        // A stack of our own: folders may be nested deeper than a thread's stack.
        let mut pending = vec![PathBuf::new()];
        while let Some(path) = pending.pop() {
            let shown = path.to_string_lossy().into_owned();
            let dir = self.open(&path, OFlag::O_RDONLY | OFlag::O_DIRECTORY);
            let dir = dir.map_err(|e| ArchiveError::io("open", &shown, e))?;
            let meta = File::from(
                dir.try_clone()
                    .map_err(|e| ArchiveError::io("open", &shown, e))?,
            )
            .metadata()
            .map_err(|e| ArchiveError::io("look at", &shown, e))?;
            self.add(EntryType::Directory, &path, &meta, None)?;
            let mut folders = Vec::new();
            for name in names_in(dir, &shown)? {
                let left_out = |excluded: &String| OsStr::new(excluded) == name;
                if path.as_os_str().is_empty() && self.order.exclude.iter().any(left_out) {
                    continue;
                }
                let inner = path.join(&name);
                if self.entry(&inner)? {
                    folders.push(inner);
                }
            }
            folders.reverse();
            pending.append(&mut folders);
        }
        Ok(())
    }

    /// Adds a file or a link; says whether it is a folder instead.
    fn entry(&mut self, path: &Path) -> Outcome<bool> {
        let shown = path.to_string_lossy().into_owned();
        let fail = |what, e| ArchiveError::io(what, &shown, e);
        let found = self.open(path, OFlag::O_PATH | OFlag::O_NOFOLLOW);
        let found = File::from(found.map_err(|e| fail("find", e))?);
        let meta = found.metadata().map_err(|e| fail("look at", e))?;
        if meta.is_dir() {
            return Ok(true);
        }
        if meta.is_symlink() {
            let target =
                nix::fcntl::readlinkat(&found, "").map_err(|e| fail("read the link", e.into()))?;
            self.add(EntryType::Symlink, path, &meta, Some(&target))?;
        } else if meta.is_file() {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
            let file = File::from(self.open(path, flags).map_err(|e| fail("open", e))?);
            let meta = file.metadata().map_err(|e| fail("look at", e))?;
            self.add_file(path, &meta, file)?;
        } else {
            self.report.skipped += 1;
        }
        Ok(false)
    }

    fn add(
        &mut self,
        kind: EntryType,
        path: &Path,
        meta: &fs::Metadata,
        link: Option<&OsStr>,
    ) -> Outcome<()> {
        let shown = path.to_string_lossy().into_owned();
        self.count(&shown)?;
        let mut header = header(kind, meta, 0);
        let name = Path::new(".").join(path);
        let done = match link {
            Some(target) => self
                .archive
                .append_link(&mut header, &name, Path::new(target)),
            None => self.archive.append_data(&mut header, &name, io::empty()),
        };
        done.map_err(|e| ArchiveError::io("pack", shown, e))
    }

    fn add_file(&mut self, path: &Path, meta: &fs::Metadata, file: File) -> Outcome<()> {
        let shown = path.to_string_lossy().into_owned();
        self.count(&shown)?;
        self.report.bytes += meta.len();
        if self.report.bytes > self.order.bytes_max {
            let why = format!("more than {} bytes, reached in", self.order.bytes_max);
            return Err(ArchiveError::refused(shown, why));
        }
        let mut header = header(EntryType::Regular, meta, meta.len());
        // Exactly as long as announced, even when it changes meanwhile.
        let contents = file.chain(Zeros).take(meta.len());
        self.archive
            .append_data(&mut header, Path::new(".").join(path), contents)
            .map_err(|e| ArchiveError::io("pack", shown, e))
    }

    fn count(&mut self, shown: &str) -> Outcome<()> {
        self.report.entries += 1;
        if self.report.entries > self.order.entries_max {
            let why = format!(
                "more than {} entries, the first too many is",
                self.order.entries_max
            );
            return Err(ArchiveError::refused(shown, why));
        }
        Ok(())
    }

    fn open(&self, path: &Path, flags: OFlag) -> io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() {
            Path::new(".")
        } else {
            path
        };
        sys::open_beneath(self.root.as_fd(), path.as_os_str(), flags, 0)
    }
}

impl Read for Zeros {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

fn names_in(dir: OwnedFd, shown: &str) -> Outcome<Vec<OsString>> {
    let fail = |e: nix::Error| ArchiveError::io("read the folder", shown, e.into());
    let mut dir = Dir::from_fd(dir).map_err(fail)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(fail)?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort();
    Ok(names)
}

fn header(kind: EntryType, meta: &fs::Metadata, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(meta.mode() & 0o777);
    header.set_mtime(u64::try_from(meta.mtime()).unwrap_or(0));
    header.set_size(size);
    header.set_uid(0);
    header.set_gid(0);
    header
}
