//! The droplet cache: each droplet is fetched, verified and unpacked once, and then shared.
//!
//! ```text
//! droplets/
//!   boot_id           the boot in which the entries were made
//!   <sha1>/           complete by virtue of its name: renamed here when everything is written
//!     contents.json   what is in it
//!     layer/          the unpacked droplet as a tree from / on: a read-only layer that all its
//!                     instances share, each with a writable layer of its own above
//!     droplet.tar     instead of layer/ where the machine cannot map a layer's owner: unpacked in
//!                     each container, by warden
//!   work/             downloads and half-made entries; emptied at start
//! ```
//!
//! Concurrent starts of one droplet share one download. An entry nobody uses is kept for a while,
//! so that a stopped app starts again without a download, and then removed.
//! Nothing is synced to the disk: a crash of this process loses nothing, and after a crash of the
//! machine (another boot id) the cache starts empty.

mod archive;
mod download;
mod unpack;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use archive::ArchiveError;
#[cfg(test)]
pub(crate) use archive::StagingInfo;
pub(crate) use archive::{ArchiveLimits, Contents};
pub(crate) use download::DownloadLimits;
use download::{DownloadError, Downloader};
use unpack::UnpackError;

/// The inflated archive in an entry.
const TAR: &str = "droplet.tar";
/// The unpacked droplet in an entry.
const LAYER: &str = "layer";
/// How much of an archive is read at a time.
const UNPACK_BUFFER: usize = 256 * 1024;
/// What is in it.
const CONTENTS: &str = "contents.json";

/// The SHA-1 of a droplet's archive: the cache's key, safe to be a file name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct DropletSha(String);

/// Text that should have been a SHA-1 is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the droplet's sha1 is not 40 hex digits")]
pub(crate) struct BadSha;

/// Why a droplet cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DropletError {
    #[error("cannot download the droplet")]
    Download(#[from] DownloadError),
    #[error("cannot use the droplet")]
    Archive(#[from] ArchiveError),
    #[error("cannot unpack the droplet")]
    Unpack(#[from] UnpackError),
    #[error("cannot {action} {path:?} in the droplet cache")]
    Cache {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the download was abandoned because the dea is shutting down")]
    Abandoned,
}

/// How droplets are kept and given to containers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// Unpacked once; containers share it as a layer.
    Layer,
    /// As an archive; each container unpacks its own.
    Archive,
}

/// A droplet, ready for a container.
#[derive(Debug)]
pub(crate) enum Ready {
    /// A folder to lay under the container.
    Layer(PathBuf),
    /// An archive to unpack in it.
    Archive(fs::File),
}

/// Limits of the cache, from the room's configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheLimits {
    pub(crate) download: DownloadLimits,
    pub(crate) archive: ArchiveLimits,
    /// How long a droplet that no instance uses is kept.
    pub(crate) keep_unused: Duration,
}

/// The cache. Cheap to clone; all clones are the same cache.
#[derive(Debug, Clone)]
pub(crate) struct DropletCache {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    form: Form,
    limits: CacheLimits,
    downloader: Downloader,
    tasks: TaskTracker,
    /// One entry per droplet that is in use, being fetched, or was used a moment ago.
    /// Never held across an await.
    entries: Mutex<HashMap<DropletSha, Entry>>,
}

/// A fetch that several wait for.
type Fetch = Shared<BoxFuture<'static, Result<(), Arc<DropletError>>>>;

#[derive(Debug, Default)]
struct Entry {
    users: usize,
    unused_since: Option<Instant>,
    fetch: Option<Fetch>,
}

/// The right to use a droplet: it stays in the cache at least as long as this lives.
#[derive(Debug)]
pub(crate) struct DropletLease {
    cache: DropletCache,
    sha: DropletSha,
    contents: Contents,
}

// === impl DropletSha ===

impl DropletSha {
    pub(crate) fn parse(text: &str) -> Result<Self, BadSha> {
        if text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(BadSha)
        }
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for DropletSha {
    type Error = BadSha;

    fn try_from(text: String) -> Result<Self, BadSha> {
        Self::parse(&text)
    }
}

impl From<DropletSha> for String {
    fn from(sha: DropletSha) -> String {
        sha.0
    }
}

// === impl DropletCache ===

impl DropletCache {
    /// Opens the cache in `dir`: entries of this boot are kept, everything else is removed.
    pub(crate) fn open(
        dir: PathBuf,
        form: Form,
        limits: CacheLimits,
        tasks: TaskTracker,
    ) -> Result<Self, DropletError> {
        let downloader = Downloader::new(limits.download)?;
        let cache = Self {
            inner: Arc::new(Inner {
                dir,
                form,
                limits,
                downloader,
                tasks,
                entries: Mutex::default(),
            }),
        };
        cache.inner.prepare()?;
        Ok(cache)
    }

    /// Takes the droplet into use, fetching it from `uri` unless it is here already.
    ///
    /// Cancel-safe: the fetch goes on for others, and for the next who asks.
    pub(crate) async fn acquire(
        &self,
        sha: &DropletSha,
        uri: &str,
    ) -> Result<DropletLease, Arc<DropletError>> {
        let mut lease = self.hold(sha.clone());
        if !self.inner.is_stored(sha) {
            self.fetch(sha, uri).await?;
        }
        lease.load().map_err(Arc::new)?;
        Ok(lease)
    }

    /// Takes a droplet into use again after a restart; `None` when it is not here any more.
    pub(crate) fn reacquire(&self, sha: &DropletSha) -> Option<DropletLease> {
        let mut lease = self.hold(sha.clone());
        lease.load().ok()?;
        Some(lease)
    }

    /// Removes what nobody has used for long; called now and then.
    pub(crate) fn sweep(&self, now: Instant) {
        let keep = self.inner.limits.keep_unused;
        let mut entries = self.inner.entries.lock();
        for sha in self.inner.stored() {
            let entry = entries.entry(sha).or_default();
            if entry.users == 0 && entry.unused_since.is_none() {
                entry.unused_since = Some(now);
            }
        }
        let expired: Vec<DropletSha> = entries
            .iter()
            .filter(|(_, e)| e.users == 0 && e.fetch.is_none())
            .filter(|(_, e)| {
                e.unused_since
                    .is_some_and(|at| now.duration_since(at) >= keep)
            })
            .map(|(sha, _)| sha.clone())
            .collect();
        for sha in expired {
            entries.remove(&sha);
            // Renamed under the lock, so that nobody can take it into use half removed.
            self.inner.discard(&self.inner.entry_dir(&sha));
            debug!(
                droplet.sha1 = sha.as_str(),
                "unused droplet removed from the cache"
            );
        }
    }

    /// How many droplets are stored.
    pub(crate) fn len(&self) -> usize {
        self.inner.stored().len()
    }

    fn hold(&self, sha: DropletSha) -> DropletLease {
        let mut entries = self.inner.entries.lock();
        let entry = entries.entry(sha.clone()).or_default();
        entry.users += 1;
        entry.unused_since = None;
        DropletLease {
            cache: self.clone(),
            sha,
            contents: Contents::default(),
        }
    }

    fn release(&self, sha: &DropletSha) {
        let mut entries = self.inner.entries.lock();
        if let Some(entry) = entries.get_mut(sha) {
            entry.users = entry.users.saturating_sub(1);
            if entry.users == 0 {
                entry.unused_since = Some(Instant::now());
            }
        }
    }

    async fn fetch(&self, sha: &DropletSha, uri: &str) -> Result<(), Arc<DropletError>> {
        let fetch = {
            let mut entries = self.inner.entries.lock();
            let entry = entries.entry(sha.clone()).or_default();
            entry
                .fetch
                .get_or_insert_with(|| self.spawn_fetch(sha.clone(), uri.to_owned()))
                .clone()
        };
        fetch.await
    }

    /// The fetch runs as a task of its own: it ends whether or not its first caller waits.
    fn spawn_fetch(&self, sha: DropletSha, uri: String) -> Fetch {
        let inner = Arc::clone(&self.inner);
        let task = self.inner.tasks.spawn(async move {
            let result = inner.fetch(&sha, &uri).await.map_err(Arc::new);
            if let Some(entry) = inner.entries.lock().get_mut(&sha) {
                entry.fetch = None;
            }
            result
        });
        let outcome = async move { task.await.unwrap_or(Err(Arc::new(DropletError::Abandoned))) };
        outcome.boxed().shared()
    }
}

// === impl Inner ===

impl Inner {
    fn entry_dir(&self, sha: &DropletSha) -> PathBuf {
        self.dir.join(sha.as_str())
    }

    /// What there is of a droplet for containers.
    fn body(&self, sha: &DropletSha) -> PathBuf {
        self.entry_dir(sha).join(match self.form {
            Form::Layer => LAYER,
            Form::Archive => TAR,
        })
    }

    fn is_stored(&self, sha: &DropletSha) -> bool {
        self.body(sha).exists()
    }

    fn work_dir(&self) -> PathBuf {
        self.dir.join("work")
    }

    /// A fresh name in the work folder; the same file system as the cache, so renames are atomic.
    fn scratch(&self, what: &str) -> PathBuf {
        self.work_dir()
            .join(format!("{what}-{:016x}", rand::random::<u64>()))
    }

    fn prepare(&self) -> Result<(), DropletError> {
        let boot_file = self.dir.join("boot_id");
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        if fs::read_to_string(&boot_file).ok().as_deref() != Some(&boot_id) {
            remove_tree(&self.dir)?;
        }
        remove_tree(&self.work_dir())?;
        make_dir(&self.work_dir())?;
        fs::write(&boot_file, &boot_id).map_err(cache_error("write", &boot_file))
    }

    fn stored(&self) -> Vec<DropletSha> {
        let names = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        names
            .filter_map(|e| DropletSha::parse(e.file_name().to_str()?).ok())
            .collect()
    }

    async fn fetch(self: &Arc<Self>, sha: &DropletSha, uri: &str) -> Result<(), DropletError> {
        if self.is_stored(sha) {
            return Ok(()); // another fetch ended between the look and this one
        }
        let begun = Instant::now();
        let archive = self.scratch("archive");
        let downloaded = self.downloader.download(sha, uri, &archive).await;
        let result = match downloaded {
            Ok(bytes) => {
                let (inner, sha, archive) = (Arc::clone(self), sha.clone(), archive.clone());
                let making = tokio::task::spawn_blocking(move || inner.make(&sha, &archive));
                let made = making.await.unwrap_or(Err(DropletError::Abandoned));
                made.map(|contents| (bytes, contents))
            }
            Err(error) => Err(error.into()),
        };
        // The archive has served, whichever way it went.
        let _ = fs::remove_file(&archive);
        let (bytes, contents) = result?;
        info!(
            droplet.sha1 = sha.as_str(),
            droplet.archive_bytes = bytes,
            droplet.inflated_bytes = contents.bytes,
            elapsed_ms = begun.elapsed().as_millis(),
            "droplet fetched"
        );
        Ok(())
    }

    /// Makes an entry beside the cache and renames it into place when complete. Blocks.
    fn make(&self, sha: &DropletSha, archive: &Path) -> Result<Contents, DropletError> {
        let scratch = self.scratch("entry");
        let result = self.make_in(&scratch, archive).and_then(|contents| {
            let target = self.entry_dir(sha);
            if target.exists() {
                self.discard(&target); // kept in the other form, by a dea of before
            }
            fs::rename(&scratch, &target).map_err(cache_error("rename to", &target))?;
            Ok(contents)
        });
        if result.is_err() {
            let _ = remove_tree(&scratch);
        }
        result
    }

    fn make_in(&self, scratch: &Path, archive: &Path) -> Result<Contents, DropletError> {
        make_dir(scratch)?;
        let tar = scratch.join(TAR);
        let contents = archive::prepare(archive, &tar, self.limits.archive)?;
        if self.form == Form::Layer {
            make_layer(&scratch.join(LAYER), &tar, self.limits.archive)?;
            fs::remove_file(&tar).map_err(cache_error("remove", &tar))?;
        }
        let note = scratch.join(CONTENTS);
        let text = serde_json::to_vec(&contents).unwrap_or_default();
        fs::write(&note, text).map_err(cache_error("write", &note))?;
        Ok(contents)
    }

    /// Moves a folder out of the way at once and removes it in the background.
    fn discard(&self, path: &Path) {
        let trash = self.scratch("trash");
        if let Err(error) = fs::rename(path, &trash) {
            if error.kind() != io::ErrorKind::NotFound {
                warn!(path = %path.display(), %error, "cannot remove a cached droplet");
            }
            return;
        }
        self.tasks.spawn_blocking(move || {
            if let Err(error) = remove_tree(&trash) {
                warn!(%error, "cannot remove a cached droplet");
            }
        });
    }
}

// === impl DropletLease ===

impl DropletLease {
    /// What a container is given of it.
    pub(crate) fn ready(&self) -> Result<Ready, DropletError> {
        let path = self.cache.inner.body(&self.sha);
        match self.cache.inner.form {
            Form::Layer => Ok(Ready::Layer(path)),
            Form::Archive => fs::File::open(&path)
                .map(Ready::Archive)
                .map_err(cache_error("open", &path)),
        }
    }

    /// Bytes that it takes in each container without being counted there.
    pub(crate) fn shared_bytes(&self) -> u64 {
        match self.cache.inner.form {
            Form::Layer => self.contents.bytes,
            Form::Archive => 0,
        }
    }

    /// What is in it.
    pub(crate) fn contents(&self) -> &Contents {
        &self.contents
    }

    fn load(&mut self) -> Result<(), DropletError> {
        let note = self.cache.inner.entry_dir(&self.sha).join(CONTENTS);
        let failed = cache_error("read", &note);
        let text = fs::read(&note);
        let contents = text.and_then(|text| Ok(serde_json::from_slice(&text)?));
        self.contents = contents.map_err(failed)?;
        Ok(())
    }
}

impl Drop for DropletLease {
    fn drop(&mut self) {
        self.cache.release(&self.sha);
    }
}

/// Unpacks `tar` to where a container finds it, as a tree from `/` on.
fn make_layer(layer: &Path, tar: &Path, limits: ArchiveLimits) -> Result<(), DropletError> {
    let home = layer.join("home/vcap");
    make_dir(&home)?;
    let archive = fs::File::open(tar).map_err(cache_error("open", tar))?;
    unpack::unpack(
        io::BufReader::with_capacity(UNPACK_BUFFER, archive),
        &home,
        limits,
    )?;
    for folder in [layer, &layer.join("home"), &home] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755))
            .map_err(cache_error("open up", folder))?;
    }
    // Where a droplet has one of these as a file, the app will say what it misses.
    for folder in ["app", "logs", "tmp"].map(|name| home.join(name)) {
        if fs::symlink_metadata(&folder).is_err() {
            make_dir(&folder)?;
        }
    }
    Ok(())
}

fn cache_error(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DropletError {
    let path = path.to_owned();
    move |source| DropletError::Cache {
        action,
        path,
        source,
    }
}

fn make_dir(path: &Path) -> Result<(), DropletError> {
    fs::create_dir_all(path).map_err(cache_error("make", path))
}

fn remove_tree(path: &Path) -> Result<(), DropletError> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(cache_error("remove", path)(e)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
