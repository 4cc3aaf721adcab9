//! The file behind a session.

use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Session;

/// A change takes milliseconds; whoever holds the lock for longer is stuck.
const CHANGE_LOCK_WAIT: Duration = Duration::from_secs(10);
/// A renewal of tokens holds its lock over two requests.
const RENEWAL_LOCK_WAIT: Duration = Duration::from_secs(90);
const LOCK_LOOK_EVERY: Duration = Duration::from_millis(10);
/// A session has a few kilobytes; more is not ours.
const LARGEST_SESSION: u64 = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    #[error("cannot make the state folder {}", path.display())]
    MakeFolder {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot read the state file {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the state file {} is not what cup wrote", path.display())]
    Corrupt {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    #[error("cannot write the state file {}", path.display())]
    Write {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot lock {}", path.display())]
    Lock {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("another cup has held {} for {} s", path.display(), waited.as_secs())]
    LockTimeout { path: PathBuf, waited: Duration },
}

/// Where sessions are kept.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    folder: PathBuf,
}

/// Held while tokens are renewed, so that two commands do not both spend one refresh token.
#[derive(Debug)]
pub(crate) struct RenewalLock {
    _held: File,
}

// === impl SessionError ===

impl SessionError {
    pub(crate) fn advice(&self) -> String {
        match self {
            Self::Corrupt { path, .. } => {
                format!(
                    "remove {} and log in again with 'cup login'",
                    path.display()
                )
            }
            Self::LockTimeout { .. } => "end the other cup process and try again".to_owned(),
            Self::MakeFolder { .. }
            | Self::Write { .. }
            | Self::Read { .. }
            | Self::Lock { .. } => {
                "check the folder's permissions and free space, or set CUP_HOME to another folder"
                    .to_owned()
            }
        }
    }
}

// === impl Store ===

impl Store {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.join("config.json")
    }

    /// The session as it is now; an absent file is an empty session.
    pub(crate) fn load(&self) -> Result<Session, SessionError> {
        let path = self.file();
        let text = match read_limited(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Session::default()),
            Err(source) => return Err(SessionError::Read { path, source }),
        };
        serde_json::from_slice(&text).map_err(|source| SessionError::Corrupt { path, source })
    }

    /// Changes the session, starting from what is on disk at this moment.
    pub(crate) fn update(
        &self,
        change: impl FnOnce(&mut Session),
    ) -> Result<Session, SessionError> {
        self.make_folder()?;
        let _held = self.lock("config.lock", CHANGE_LOCK_WAIT)?;
        let mut session = self.load()?;
        change(&mut session);
        self.save(&session)?;
        Ok(session)
    }

    /// Waits for its turn to renew tokens. Blocks; call it where blocking is allowed.
    pub(crate) fn lock_renewal(&self) -> Result<RenewalLock, SessionError> {
        self.make_folder()?;
        Ok(RenewalLock {
            _held: self.lock("renewal.lock", RENEWAL_LOCK_WAIT)?,
        })
    }

    fn make_folder(&self) -> Result<(), SessionError> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder)
            .map_err(|source| SessionError::MakeFolder {
                path: self.folder.clone(),
                source,
            })
    }

    /// The lock goes with the file handle, so a killed process leaves none behind.
    #[expect(
        clippy::disallowed_methods,
        reason = "nothing else runs in a command while it waits for another one"
    )]
    fn lock(&self, name: &str, patience: Duration) -> Result<File, SessionError> {
        let path = self.folder.join(name);
        let fail = |source| SessionError::Lock {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(fail)?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) if start.elapsed() < patience => {
                    std::thread::sleep(LOCK_LOOK_EVERY);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(SessionError::LockTimeout {
                        path,
                        waited: patience,
                    });
                }
                Err(TryLockError::Error(source)) => return Err(fail(source)),
            }
        }
    }

    fn save(&self, session: &Session) -> Result<(), SessionError> {
        let path = self.file();
        let fail = |source| SessionError::Write {
            path: path.clone(),
            source,
        };
        let mut text = serde_json::to_vec_pretty(session).map_err(|e| fail(e.into()))?;
        text.push(b'\n');
        // A temporary file is made with mode 0600 and takes the old one's place in one step.
        let mut file = tempfile::NamedTempFile::new_in(&self.folder).map_err(fail)?;
        file.write_all(&text).map_err(fail)?;
        file.as_file().sync_all().map_err(fail)?;
        file.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

fn read_limited(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let read = fs::File::open(path)?
        .take(LARGEST_SESSION + 1)
        .read_to_end(&mut text)?;
    if read as u64 > LARGEST_SESSION {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            "larger than any session",
        ));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::session::{Named, Secret, Tokens};

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("home"));
        (folder, store)
    }

    #[test]
    fn an_absent_file_is_an_empty_session_and_a_saved_one_is_private() {
        let (_folder, store) = store();
        assert_eq!(store.load().unwrap(), Session::default());
        let access = Secret::new("secret");
        store
            .update(|s| {
                s.tokens = Some(Tokens {
                    access,
                    refresh: None,
                    client: None,
                })
            })
            .unwrap();
        assert_eq!(
            store.load().unwrap().tokens.unwrap().access.reveal(),
            "secret"
        );
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(store.file()), 0o600);
        assert_eq!(mode(store.folder.clone()), 0o700);
    }

    #[test]
    fn a_damaged_file_is_named_and_left_as_it_is() {
        let (_folder, store) = store();
        store.update(|_| {}).unwrap();
        fs::write(store.file(), "{ half").unwrap();
        let error = store.update(|_| {}).unwrap_err();
        assert!(error.to_string().contains("config.json"), "{error}");
        assert!(error.advice().contains("remove"), "{}", error.advice());
        assert_eq!(fs::read(store.file()).unwrap(), b"{ half");
    }

    #[test]
    fn changes_at_the_same_time_are_all_kept() {
        let (_folder, store) = store();
        std::thread::scope(|scope| {
            for writer in 0..8 {
                let store = store.clone();
                scope.spawn(move || {
                    for turn in 0..10 {
                        store
                            .update(|session| {
                                let old = session.space.take().map(|s| s.name).unwrap_or_default();
                                session.space = Some(Named {
                                    guid: "g".parse().unwrap(),
                                    name: format!("{old}{writer}{turn} "),
                                });
                            })
                            .unwrap();
                    }
                });
            }
        });
        let names = store.load().unwrap().space.unwrap().name;
        assert_eq!(names.split_whitespace().count(), 80);
    }
}
