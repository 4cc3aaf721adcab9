//! Hard disk limits: the writable layer as a file system in a file.
//!
//! Making a file system takes tens of milliseconds, copying an empty one takes one: an image per
//! size is made once per depot, each container gets a sparse copy.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use nix::unistd::{Whence, lseek64};

use crate::{Limits, Missing, Result, WardenError};

/// How long making a file system may take.
const MADE_WITHIN: Duration = Duration::from_secs(60);
/// What a file system needs for itself: a fixed part, per file, and a part of its size.
const OVERHEAD: u64 = 2 << 20;
const PER_INODE: u64 = 256;
const SHARE: u64 = 64;

/// The image to copy from for these limits.
pub(crate) fn template(images: &Path, limits: &Limits) -> PathBuf {
    let bytes = limits.disk_bytes.unwrap_or(0);
    images.join(format!("ext4-{bytes}-{}", limits.disk_inodes))
}

/// Makes the image to copy from, unless it is there already.
pub(crate) fn prepare(images: &Path, limits: &Limits) -> Result<()> {
    let path = template(images, limits);
    if path.exists() {
        return Ok(());
    }
    let bytes = limits.disk_bytes.unwrap_or(0);
    let size = bytes + OVERHEAD + limits.disk_inodes * PER_INODE + bytes / SHARE;
    // Several at once may make the same one; the last rename wins and all are alike.
    let name = format!(
        "new-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    );
    let fresh = images.join(name);
    let file = File::create(&fresh).map_err(WardenError::io("make", &fresh))?;
    file.set_len(size)
        .map_err(WardenError::io("size", &fresh))?;
    let made = make_filesystem(&fresh, limits.disk_inodes);
    let done =
        made.and_then(|()| fs::rename(&fresh, &path).map_err(WardenError::io("rename", &fresh)));
    if done.is_err() {
        let _ = fs::remove_file(&fresh);
    }
    done
}

fn make_filesystem(path: &Path, inodes: u64) -> Result<()> {
    let missing = |step: &str, errno, reason: String| Missing {
        facility: "disk images".to_owned(),
        step: step.to_owned(),
        errno,
        reason,
    };
    // No journal: the content dies with the container. No reserve for root: apps are not root.
    let mut child = Command::new("mkfs.ext4")
        .args(["-q", "-F", "-m", "0", "-b", "4096", "-I", "256", "-N"])
        .arg(inodes.to_string())
        .args(["-O", "^has_journal,^resize_inode,^metadata_csum_seed"])
        .args(["-E", "lazy_itable_init=1,nodiscard,root_owner=0:0"])
        .arg(path)
        .env("PATH", "/usr/sbin:/sbin:/usr/bin:/bin")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| missing("run mkfs.ext4", e.raw_os_error(), e.to_string()))?;
    let deadline = Instant::now() + MADE_WITHIN;
    let status = loop {
        match child
            .try_wait()
            .map_err(WardenError::io("wait for mkfs.ext4 on", path))?
        {
            Some(status) => break status,
            None if Instant::now() > deadline => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(missing("mkfs.ext4", None, "it took too long".to_owned()).into());
            }
            None => crate::sys::pause(Duration::from_millis(2)),
        }
    };
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.take() {
        // What it said is a help, not a need.
        let _ = io::Read::read_to_string(&mut io::Read::take(stderr, 4096), &mut said);
    }
    Err(missing("mkfs.ext4", status.code(), said.trim().to_owned()).into())
}

/// Copies only what is not a hole.
pub(crate) fn copy_sparse(from: &Path, to: &Path) -> io::Result<File> {
    let source = File::open(from)?;
    let size = source.metadata()?.len();
    let copy = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(to)?;
    copy.set_len(size)?;
    let signed =
        |n: u64| i64::try_from(n).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge));
    let mut at = 0;
    while at < size {
        let data = match lseek64(source.as_fd(), signed(at)?, Whence::SeekData) {
            Err(nix::errno::Errno::ENXIO) => break,
            result => result?.unsigned_abs(),
        };
        at = lseek64(source.as_fd(), signed(data)?, Whence::SeekHole)?.unsigned_abs();
        (&source).seek(SeekFrom::Start(data))?;
        (&copy).seek(SeekFrom::Start(data))?;
        io::copy(&mut (&source).take(at - data), &mut &copy)?;
    }
    Ok(copy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::os::unix::fs::{FileExt as _, MetadataExt as _};

    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_the_same_holes() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a"), dir.path().join("b"));
        let file = File::create(&from).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"begin", 0).unwrap();
        file.write_all_at(b"middle", 32 << 20).unwrap();
        copy_sparse(&from, &to).unwrap();
        assert!(fs::read(&from).unwrap() == fs::read(&to).unwrap());
        assert!(fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20);
    }
}
