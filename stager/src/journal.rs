//! What must be told to the controller even if this process is killed: one small file per task.
//!
//! The file is written when a task is accepted, with the result "the stager was restarted"; the
//! true result replaces it before it is sent, and the file goes when the controller has taken it.
//! So whatever lies in the folder at a start is simply sent.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use cupola_messages::staging::Completed;
use cupola_types::StagingTaskId;
use serde::{Deserialize, Serialize};

/// Largest entry that is read back, in bytes.
const MAX_ENTRY_BYTES: u64 = 1024 * 1024;

/// The folder of entries.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    folder: PathBuf,
}

/// What is to be told, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) completed_uri: String,
    pub(crate) completed: Completed,
}

/// The journal could not be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} the journal file {}", path.display())]
pub(crate) struct JournalError {
    operation: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl Journal {
    pub(crate) fn open(folder: PathBuf) -> Result<Self, JournalError> {
        fs::create_dir_all(&folder).map_err(failed("make the folder of", &folder))?;
        Ok(Self { folder })
    }

    /// Puts `entry` down, in place of an earlier one for the same task.
    pub(crate) fn put(&self, entry: &Entry) -> Result<(), JournalError> {
        let path = self.path(&entry.completed.task_id);
        let text =
            serde_json::to_vec(entry).map_err(|error| failed("write", &path)(error.into()))?;
        let draft = path.with_extension("draft");
        // Mode 0600: the URL in it is good for answering in the app's name.
        let write = || {
            let mut options = fs::OpenOptions::new();
            let mut file = options
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&draft)?;
            file.write_all(&text)?;
            fs::rename(&draft, &path)
        };
        write().map_err(failed("write", &path))
    }

    /// Strikes out what was told.
    pub(crate) fn remove(&self, task: &StagingTaskId) -> Result<(), JournalError> {
        let path = self.path(task);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Everything that is still to be told. Files that are no entries are removed.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, JournalError> {
        let list = || -> io::Result<Vec<PathBuf>> {
            fs::read_dir(&self.folder)?
                .map(|found| Ok(found?.path()))
                .collect()
        };
        let paths = list().map_err(failed("list", &self.folder))?;
        let mut entries = Vec::new();
        for path in paths {
            match read(&path) {
                Some(entry) => entries.push(entry),
                None => {
                    let shown = path.display();
                    tracing::warn!(path = %shown, "removing a file that is no journal entry");
                    fs::remove_file(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        Ok(entries)
    }

    fn path(&self, task: &StagingTaskId) -> PathBuf {
        self.folder.join(format!("{task}.json"))
    }
}

fn read(path: &Path) -> Option<Entry> {
    if path.extension()? != "json" || fs::metadata(path).ok()?.len() > MAX_ENTRY_BYTES {
        return None;
    }
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_owned();
    move |source| JournalError {
        operation,
        path,
        source,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use cupola_types::AppGuid;

    use super::*;

    fn entry(task: &str, sha1: Option<&str>) -> Entry {
        Entry {
            completed_uri: "http://127.0.0.1:1/done?signature=x".to_owned(),
            completed: Completed {
                task_id: StagingTaskId::new(task),
                app_id: AppGuid::new("app"),
                stager_id: None,
                detected_buildpack: None,
                buildpack_key: None,
                droplet_sha1: sha1.map(str::to_owned),
                detected_start_command: None,
                error_info: None,
            },
        }
    }

    #[test]
    fn the_last_word_on_a_task_is_kept_until_it_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().join("journal")).unwrap();
        journal.put(&entry("t-1", None)).unwrap();
        journal.put(&entry("t-1", Some("abc"))).unwrap();
        journal.put(&entry("t-2", None)).unwrap();
        let mut found = journal.entries().unwrap();
        found.sort_by_key(|entry| entry.completed.task_id.to_string());
        assert_eq!(found, [entry("t-1", Some("abc")), entry("t-2", None)]);
        journal.remove(&StagingTaskId::new("t-1")).unwrap();
        journal.remove(&StagingTaskId::new("t-1")).unwrap();
        assert_eq!(journal.entries().unwrap(), [entry("t-2", None)]);
    }

    #[test]
    fn half_written_and_foreign_files_are_cleared_away() {
        let folder = tempfile::tempdir().unwrap();
        let journal = Journal::open(folder.path().to_owned()).unwrap();
        for name in ["t.draft", "t.json", "other"] {
            fs::write(folder.path().join(name), "{\"completed_uri\":").unwrap();
        }
        assert!(journal.entries().unwrap().is_empty());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
