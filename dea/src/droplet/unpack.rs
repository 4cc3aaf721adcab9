//! Unpacks a droplet into a folder on the host, trusting nothing in it.
//!
//! The tree becomes a read-only layer of containers, so it is written by root on the host: an entry
//! may not climb out of the folder, go through a symbolic link, be a device, or keep a set-id bit.
//! Symbolic links themselves may point anywhere: they are followed only inside a container.
//! The folder is private to this process until it is complete, so looking at a parent before
//! writing below it is not a race.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, SystemTime};

use tar::{Archive, EntryType};

use super::archive::ArchiveLimits;

/// Longest path in a droplet in bytes: what the kernel takes in one call, less our own prefix.
const MAX_PATH_BYTES: usize = 3500;
/// Deepest nesting of folders in a droplet.
const MAX_DEPTH: usize = 100;

/// Why a droplet was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("cannot read the droplet's archive")]
    Read(#[source] io::Error),
    #[error("entry {path:?} of the droplet leads out of it or through a symbolic link")]
    Escape { path: PathBuf },
    #[error("entry {path:?} of the droplet is a {kind}, which a droplet cannot hold")]
    Kind { path: PathBuf, kind: &'static str },
    #[error("entry {path:?} of the droplet has a name that is empty, too long or nested too deep")]
    Name { path: PathBuf },
    #[error("the droplet's files are larger than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the droplet holds more than {limit} entries")]
    TooMany { limit: u64 },
    #[error("cannot write {path:?} of the droplet")]
    Write { path: PathBuf, source: io::Error },
}

/// Unpacks the tar `archive` into the existing empty folder `root`; returns the sum of all file
/// sizes. Blocks.
pub(crate) fn unpack(
    archive: impl Read,
    root: &Path,
    limits: ArchiveLimits,
) -> Result<u64, UnpackError> {
    let mut unpacker = Unpacker {
        root: root.to_owned(),
        limits,
        entries: 0,
        bytes: 0,
        real_dirs: HashSet::new(),
        dir_modes: Vec::new(),
    };
    for entry in Archive::new(archive).entries().map_err(UnpackError::Read)? {
        unpacker.entry(&mut entry.map_err(UnpackError::Read)?)?;
    }
    unpacker.set_dir_modes()?;
    Ok(unpacker.bytes)
}

struct Unpacker {
    root: PathBuf,
    limits: ArchiveLimits,
    entries: u64,
    bytes: u64,
    /// Folders below `root` that are known to be real ones, not links.
    real_dirs: HashSet<PathBuf>,
    /// Modes of folders, set at the end so that a read-only one can still be filled.
    dir_modes: Vec<(PathBuf, u32)>,
}

// === impl Unpacker ===

impl Unpacker {
    fn entry<R: Read>(&mut self, entry: &mut tar::Entry<'_, R>) -> Result<(), UnpackError> {
        self.entries += 1;
        if self.entries > self.limits.max_entries {
            return Err(UnpackError::TooMany {
                limit: self.limits.max_entries,
            });
        }
        let path = relative(Path::new(OsStr::from_bytes(&entry.path_bytes())))?;
        let kind = entry.header().entry_type();
        if path.as_os_str().is_empty() || kind == EntryType::XGlobalHeader {
            return Ok(()); // "./", the folder we unpack into, or no entry at all
        }
        let mode = entry.header().mode().unwrap_or(0o644) & 0o777;
        let refused = |kind| {
            Err(UnpackError::Kind {
                path: path.clone(),
                kind,
            })
        };
        match kind {
            EntryType::Directory => self.directory(&path, mode),
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&path, mode, entry)
            }
            EntryType::Symlink => {
                let target = link_target(entry, &path)?;
                self.prepare(&path)?;
                symlink(&target, self.root.join(&path)).map_err(write_error(&path))
            }
            EntryType::Link => {
                let target = relative(&link_target(entry, &path)?)?;
                self.hard_link(&path, &target)
            }
            EntryType::Block | EntryType::Char => refused("device"),
            EntryType::Fifo => refused("named pipe"),
            _ => refused("kind of entry nobody knows"),
        }
    }

    fn directory(&mut self, path: &Path, mode: u32) -> Result<(), UnpackError> {
        self.real_dir(path)?;
        // Whoever runs the app must be able to enter and fill its own folders.
        self.dir_modes.push((path.to_owned(), mode | 0o700));
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        path: &Path,
        mode: u32,
        entry: &mut tar::Entry<'_, R>,
    ) -> Result<(), UnpackError> {
        self.prepare(path)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.root.join(path))
            .map_err(write_error(path))?;
        let modified = entry.header().mtime().ok();
        let room = self.limits.max_bytes.saturating_sub(self.bytes);
        let copied = io::copy(&mut Read::take(entry, room.saturating_add(1)), &mut file)
            .map_err(write_error(path))?;
        if copied > room {
            return Err(UnpackError::TooLarge {
                limit: self.limits.max_bytes,
            });
        }
        self.bytes += copied;
        set_times(&file, modified);
        // Through the descriptor, so that nothing is followed. Readable for its owner, or the
        // container's user could not even copy it.
        let permissions = Permissions::from_mode(mode | 0o400);
        file.set_permissions(permissions).map_err(write_error(path))
    }

    fn hard_link(&mut self, path: &Path, target: &Path) -> Result<(), UnpackError> {
        let escape = || UnpackError::Escape {
            path: path.to_owned(),
        };
        let mut parent = self.root.clone();
        for part in target.parent().into_iter().flat_map(Path::components) {
            parent.push(part);
            if !fs::symlink_metadata(&parent).is_ok_and(|meta| meta.is_dir()) {
                return Err(escape());
            }
        }
        let source = self.root.join(target);
        if !fs::symlink_metadata(&source).is_ok_and(|meta| meta.is_file()) || path == target {
            return Err(escape());
        }
        self.prepare(path)?;
        fs::hard_link(&source, self.root.join(path)).map_err(write_error(path))
    }

    /// Makes the parents of `path` and removes a file or link of that name: in an archive the
    /// last entry of a name wins.
    fn prepare(&mut self, path: &Path) -> Result<(), UnpackError> {
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            self.real_dir(parent)?;
        }
        let target = self.root.join(path);
        match fs::symlink_metadata(&target) {
            Ok(meta) if meta.is_dir() => Err(UnpackError::Escape {
                path: path.to_owned(),
            }),
            Ok(_) => fs::remove_file(&target).map_err(write_error(path)),
            Err(_) => Ok(()),
        }
    }

    /// Makes `path` and its parents real folders; refuses to go through a link.
    fn real_dir(&mut self, path: &Path) -> Result<(), UnpackError> {
        let mut so_far = PathBuf::new();
        if self.real_dirs.contains(path) {
            return Ok(());
        }
        for part in path.components() {
            so_far.push(part);
            if self.real_dirs.contains(&so_far) {
                continue;
            }
            let full = self.root.join(&so_far);
            match fs::symlink_metadata(&full) {
                Ok(meta) if meta.is_dir() => {}
                Ok(_) => {
                    return Err(UnpackError::Escape {
                        path: path.to_owned(),
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let made = fs::DirBuilder::new().mode(0o700).create(&full);
                    made.map_err(write_error(&so_far))?;
                    self.dir_modes.push((so_far.clone(), 0o755));
                }
                Err(e) => return Err(write_error(&so_far)(e)),
            }
            self.real_dirs.insert(so_far.clone());
        }
        Ok(())
    }

    /// In order: what the archive says of a folder comes after what was assumed of it.
    fn set_dir_modes(&self) -> Result<(), UnpackError> {
        for (path, mode) in &self.dir_modes {
            let permissions = Permissions::from_mode(*mode);
            fs::set_permissions(self.root.join(path), permissions).map_err(write_error(path))?;
        }
        Ok(())
    }
}

/// Servers derive Last-Modified and ETag from the time of change, so instances should agree. A time
/// that the file system cannot hold is not worth failing for.
fn set_times(file: &File, modified: Option<u64>) {
    let since_epoch = modified.map(Duration::from_secs);
    if let Some(at) = since_epoch.and_then(|d| SystemTime::UNIX_EPOCH.checked_add(d)) {
        let _ = file.set_modified(at);
    }
}

/// The path as one below the root: no `..`, not absolute, within the limits.
fn relative(path: &Path) -> Result<PathBuf, UnpackError> {
    if path.as_os_str().len() > MAX_PATH_BYTES {
        let shown: String = path.to_string_lossy().chars().take(100).collect();
        return Err(UnpackError::Name { path: shown.into() });
    }
    let mut clean = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(UnpackError::Escape {
                    path: path.to_owned(),
                });
            }
        }
    }
    if clean.components().count() > MAX_DEPTH {
        return Err(UnpackError::Name {
            path: path.to_owned(),
        });
    }
    Ok(clean)
}

fn link_target<R: Read>(entry: &tar::Entry<'_, R>, path: &Path) -> Result<PathBuf, UnpackError> {
    let target = entry.link_name_bytes().filter(|name| !name.is_empty());
    let target = target.ok_or_else(|| UnpackError::Name {
        path: path.to_owned(),
    })?;
    Ok(PathBuf::from(OsStr::from_bytes(&target)))
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> UnpackError {
    let path = path.to_owned();
    move |source| UnpackError::Write { path, source }
}

#[cfg(test)]
mod tests;
