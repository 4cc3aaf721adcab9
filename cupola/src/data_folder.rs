//! The data folder: everything that a platform keeps, under one path.
//!
//! ```text
//! cupola.toml        settings of the operator, optional
//! platform.json      secrets and addresses that were chosen at the first start (0600)
//! config/<role>.toml what each role reads (0600, owned by the role's user)
//! log/<role>.log     what each role says
//! run/               the lock and the status of a running supervisor
//! <role>/            what the role keeps (owned by the role's user)
//! ```

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, bail};
use cupola_types::Role;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::{Gid, Uid, chown};

use crate::args::Unusable;

/// How often the lock is tried for, and the time between.
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(10);

/// A platform's data folder, by its absolute path.
#[derive(Debug, Clone)]
pub(crate) struct DataFolder {
    root: PathBuf,
}

/// Held while a supervisor runs on the folder.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: Flock<File>,
}

impl DataFolder {
    /// The folder at `path`, made if it is not there.
    pub(crate) fn create(path: &Path) -> anyhow::Result<Self> {
        make_folder(path, 0o755)?;
        let root = path
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", path.display()))?;
        let folder = Self { root };
        for (name, mode) in [("config", 0o755), ("log", 0o755), ("run", 0o755)] {
            make_folder(&folder.root.join(name), mode)?;
        }
        Ok(folder)
    }

    /// The folder at `path`, be it there or not; only for looking.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let root = path
            .canonicalize()
            .or_else(|_| std::path::absolute(path))
            .with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(Self { root })
    }

    /// The folder at `path`, which a platform was started on before.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        if !path.join("platform.json").exists() {
            bail!(Unusable(format!(
                "{} is no data folder of a platform: start one with `cupola up --data-dir {}`",
                path.display(),
                path.display()
            )));
        }
        let root = path
            .canonicalize()
            .with_context(|| format!("cannot resolve {}", path.display()))?;
        Ok(Self { root })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn platform_file(&self) -> PathBuf {
        self.root.join("platform.json")
    }

    pub(crate) fn settings_file(&self) -> PathBuf {
        self.root.join("cupola.toml")
    }

    pub(crate) fn config_file(&self, role: Role) -> PathBuf {
        self.root.join("config").join(format!("{role}.toml"))
    }

    pub(crate) fn log_file(&self, role: Role) -> PathBuf {
        self.root.join("log").join(format!("{role}.log"))
    }

    pub(crate) fn status_file(&self) -> PathBuf {
        self.root.join("run/status.json")
    }

    pub(crate) fn role_folder(&self, role: Role) -> PathBuf {
        self.root.join(role.as_str())
    }

    /// Takes the folder for this supervisor.
    pub(crate) fn lock(&self) -> anyhow::Result<Lock> {
        let path = self.root.join("run/lock");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o644)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        let mut holder = String::new();
        let _ = file.read_to_string(&mut holder);
        for _ in 0..LOCK_TRIES {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(mut lock) => {
                    lock.set_len(0)?;
                    std::io::Seek::rewind(&mut *lock)?;
                    write!(lock, "{}", std::process::id())?;
                    return Ok(Lock { _file: lock });
                }
                Err((unlocked, _)) => file = unlocked,
            }
            // It may have been `cupola status`, which only looks whether it can be had.
            #[expect(clippy::disallowed_methods, reason = "no runtime runs yet")]
            std::thread::sleep(LOCK_PAUSE);
        }
        bail!(Unusable(format!(
            "another `cupola up` (pid {}) runs on {}: stop it, or use another --data-dir",
            holder.trim(),
            self.root.display()
        )))
    }

    /// Whether a supervisor holds the folder.
    pub(crate) fn is_locked(&self) -> bool {
        let Ok(file) = File::open(self.root.join("run/lock")) else {
            return false;
        };
        Flock::lock(file, FlockArg::LockSharedNonblock).is_err()
    }

    /// The folder of `role`, owned by `owner` and closed to everybody else.
    pub(crate) fn prepare_role(&self, role: Role, owner: Option<(Uid, Gid)>) -> anyhow::Result<()> {
        let folder = self.role_folder(role);
        make_folder(&folder, 0o700)?;
        fs::set_permissions(&folder, Permissions::from_mode(0o700))?;
        if let Some((uid, gid)) = owner {
            give_away(&folder, uid, gid)
                .with_context(|| format!("cannot give {} to uid {uid}", folder.display()))?;
        }
        Ok(())
    }
}

/// Writes a file whole or not at all, readable by its owner alone.
pub(crate) fn write_private(
    path: &Path,
    content: &[u8],
    owner: Option<(Uid, Gid)>,
) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let temporary = path.with_extension("new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&temporary)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        file.sync_all()?;
        if let Some((uid, gid)) = owner {
            chown(&temporary, Some(uid), Some(gid))?;
        }
        fs::rename(&temporary, path)?;
        // Only now does it survive a power cut under its name.
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

fn make_folder(path: &Path, mode: u32) -> anyhow::Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(mode)
        .create(path)
        .with_context(|| format!("cannot make the folder {}", path.display()))
}

/// Changes the owner of a tree; only where it differs, so that a warm start touches nothing. The
/// folder itself comes last: while it has the old owner, the work is not done. Does not follow
/// links.
fn give_away(path: &Path, uid: Uid, gid: Gid) -> anyhow::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.uid() == uid.as_raw() && metadata.gid() == gid.as_raw() {
        return Ok(());
    }
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            give_away(&entry?.path(), uid, gid)?;
        }
    }
    std::os::unix::fs::lchown(path, Some(uid.as_raw()), Some(gid.as_raw()))?;
    Ok(())
}

/// The first folder on the way to `path` that other users cannot pass through.
pub(crate) fn closed_ancestor(path: &Path) -> Option<PathBuf> {
    path.ancestors()
        .filter(|ancestor| ancestor.is_dir())
        .find(|ancestor| fs::metadata(ancestor).is_ok_and(|m| m.mode() & 0o001 == 0))
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_folder_is_held_by_one_supervisor_at_a_time() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        assert!(!folder.is_locked());
        let lock = folder.lock().unwrap();
        assert!(folder.is_locked());
        let error = folder.lock().unwrap_err().to_string();
        assert!(error.contains(&std::process::id().to_string()), "{error}");
        drop(lock);
        folder.lock().unwrap();
    }

    #[test]
    fn a_look_at_the_lock_does_not_keep_a_supervisor_out() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = DataFolder::create(temporary.path()).unwrap();
        drop(folder.lock().unwrap());
        let file = File::open(folder.root.join("run/lock")).unwrap();
        let look = Flock::lock(file, FlockArg::LockSharedNonblock).unwrap();
        let looking = std::thread::spawn(move || drop(look));
        assert!(folder.lock().is_ok());
        looking.join().unwrap();
    }

    #[test]
    fn a_tree_that_was_given_away_by_half_is_finished() {
        if !Uid::effective().is_root() {
            return; // only root can give files away
        }
        let temporary = tempfile::tempdir().unwrap();
        let (tree, file) = (
            temporary.path().join("uaa"),
            temporary.path().join("uaa/x/db"),
        );
        fs::create_dir_all(tree.join("x")).unwrap();
        fs::write(&file, "").unwrap();
        // What was done before a crash in the middle: from the leaves up.
        let (uid, gid) = (Uid::from_raw(4_999_999), Gid::from_raw(4_999_999));
        std::os::unix::fs::lchown(&file, Some(uid.as_raw()), Some(gid.as_raw())).unwrap();
        give_away(&tree, uid, gid).unwrap();
        for path in [tree.join("x"), file, tree] {
            assert_eq!(fs::metadata(path).unwrap().uid(), uid.as_raw());
        }
    }

    #[test]
    fn private_files_are_closed_to_others() {
        let temporary = tempfile::tempdir().unwrap();
        let path = temporary.path().join("secret");
        fs::write(&path, "old").unwrap();
        write_private(&path, b"new", None).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_folder_that_was_never_used_is_named() {
        let error = DataFolder::open(Path::new("/nonexistent/data"))
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("/nonexistent/data") && error.contains("cupola up"),
            "{error}"
        );
    }

    #[test]
    fn a_closed_folder_on_the_way_is_found() {
        let temporary = tempfile::tempdir().unwrap();
        fs::set_permissions(temporary.path(), Permissions::from_mode(0o700)).unwrap();
        let inner = temporary.path().join("inner");
        fs::create_dir(&inner).unwrap();
        assert_eq!(closed_ancestor(&inner), Some(temporary.path().to_owned()));
    }
}
