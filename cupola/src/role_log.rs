//! What a role says: one file, bounded while the role runs.
//!
//! Roles write straight into the file, so that they depend on nobody for it and lose nothing when
//! the supervisor is killed. When the file has become too large the supervisor copies it aside and
//! empties it; writers append, so they go on at its new end. What is written between the end of
//! the copy and the emptying, some microseconds, is lost.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

/// A log file that is larger than this is copied aside and emptied.
const KEPT_BYTES: u64 = 16 * 1024 * 1024;
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How much of the end is searched for a role's last words.
const TAIL_BYTES: u64 = 16 * 1024;

/// The log file of one role.
#[derive(Debug, Clone)]
pub(crate) struct RoleLog {
    path: PathBuf,
    kept_bytes: u64,
}

impl RoleLog {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            kept_bytes: KEPT_BYTES,
        }
    }

    /// The file, for a process to write to.
    pub(crate) fn open(&self) -> anyhow::Result<File> {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(&self.path)
            .with_context(|| format!("cannot open {}", self.path.display()))
    }

    /// Looks after the file's size for ever.
    pub(crate) async fn keep_bounded(&self) {
        loop {
            sleep(LOOK_EVERY).await;
            if !fs::metadata(&self.path).is_ok_and(|m| m.len() > self.kept_bytes) {
                continue;
            }
            let log = self.clone();
            let moved = tokio::task::spawn_blocking(move || log.rotate()).await;
            if let Ok(Err(error)) = moved {
                tracing::warn!("{} cannot be kept short: {error}", self.path.display());
            }
        }
    }

    /// Copies the file aside and empties it. When there is no room for the copy, the file is
    /// emptied all the same.
    fn rotate(&self) -> io::Result<()> {
        let aside = self.path.with_extension("log.1");
        let temporary = self.path.with_extension("log.new");
        let mut log = OpenOptions::new().read(true).write(true).open(&self.path)?;
        let copied = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(&temporary)
            .and_then(|mut copy| io::copy(&mut log, &mut copy))
            .and_then(|_| fs::rename(&temporary, &aside));
        log.set_len(0)?;
        if copied.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        copied
    }

    /// Why the role gave up, in its own words, and where there are more.
    pub(crate) fn last_words(&self) -> String {
        let tail = self.tail().unwrap_or_default();
        let mut lines = tail.lines().rev().filter(|line| !line.trim().is_empty());
        let last = lines.clone().next();
        let words = lines
            .find_map(|line| Some(line.split_once(" ERROR ")?.1))
            .or(last)
            .unwrap_or("it says nothing");
        // `cupola_component::run: uaa cannot start: …`
        let words = match words.split_once(": ") {
            Some((module, rest)) if !module.contains(' ') && module.contains("::") => rest,
            _ => words,
        };
        let words = words
            .split_once(" cannot start: ")
            .map_or(words, |(_, why)| why);
        format!("{} (see {})", words.trim(), self.path.display())
    }

    fn tail(&self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
        let mut tail = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut tail)?;
        Ok(String::from_utf8_lossy(&tail).into_owned())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;
    use std::io::Write as _;

    #[tokio::test]
    async fn a_log_is_bounded_while_its_role_writes() {
        let folder = tempfile::tempdir().unwrap();
        let log = RoleLog {
            path: folder.path().join("dea.log"),
            kept_bytes: 1_000,
        };
        let mut writer = log.open().unwrap();
        writer.write_all(&[b'a'; 1_500]).unwrap();
        let bounded = async {
            while fs::metadata(&log.path).unwrap().len() > 0 {
                sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            () = log.keep_bounded() => unreachable!("it goes on for ever"),
            done = tokio::time::timeout(Duration::from_secs(10), bounded) => done.unwrap(),
        }
        writer.write_all(b"new").unwrap();
        assert_eq!(fs::read(&log.path).unwrap(), b"new", "no hole before it");
        assert_eq!(
            fs::read(folder.path().join("dea.log.1")).unwrap(),
            [b'a'; 1_500]
        );
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 2, "{left:?}");
    }

    #[test]
    fn the_last_error_is_told_without_its_clutter() {
        let folder = tempfile::tempdir().unwrap();
        let log = RoleLog::new(folder.path().join("uaa.log"));
        assert!(log.last_words().starts_with("it says nothing (see /"));
        let text = "2026-01-01T00:00:00Z ERROR cupola_component::run: uaa cannot start: no key\n\
                    2026-01-01T00:00:00Z  INFO cupola_component::run: bye\n\n";
        fs::write(&log.path, text).unwrap();
        let words = log.last_words();
        assert!(words.starts_with("no key (see /"), "{words}");
    }
}
