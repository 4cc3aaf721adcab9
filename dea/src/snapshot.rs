//! `instances.json`: what a dea needs to know again after it was killed.
//!
//! Written whole through a second file and a rename after each change, by one task. It holds no
//! environment, no services and no addresses of droplets.

use std::fs;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use tracing::{error, warn};

use crate::dea::Shared;
use crate::instance::{Instance, seconds};

/// Largest snapshot that is read: a thousand instances with a hundred routes each.
const MAX_BYTES: u64 = 64 * 1024 * 1024;

/// The content of the file.
#[derive(Debug, Serialize, Deserialize)]
struct Snapshot {
    /// When it was written, in seconds since the epoch.
    time: f64,
    instances: Vec<Instance>,
}

/// Where a dea's snapshot lies.
pub(crate) fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("instances.json")
}

/// The instances of the snapshot. One that cannot be read counts as empty: the containers
/// themselves say enough to be adopted.
pub(crate) fn load(path: &Path) -> Vec<Instance> {
    let read = || -> io::Result<Snapshot> {
        if fs::metadata(path)?.len() > MAX_BYTES {
            return Err(io::Error::other("it is too large"));
        }
        Ok(serde_json::from_slice(&fs::read(path)?)?)
    };
    match read() {
        Ok(snapshot) => snapshot.instances,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(e) => {
            error!(path = %path.display(), "the snapshot cannot be read: {e}");
            Vec::new()
        }
    }
}

/// Replaces the snapshot. Blocks.
///
/// Not synced: it has to survive the end of this process, and after that of the machine there is
/// no container left to know of.
pub(crate) fn save(path: &Path, instances: Vec<Instance>) -> io::Result<()> {
    let snapshot = Snapshot {
        time: seconds(SystemTime::now()),
        instances,
    };
    let next = path.with_extension("json.next");
    let file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)?;
    let mut file = io::BufWriter::new(file);
    serde_json::to_writer(&mut file, &snapshot)?;
    io::Write::flush(&mut file)?;
    fs::rename(&next, path)
}

/// Saves after each change until the dea closes, and a last time after that.
pub(crate) async fn keep(dea: Shared) {
    let mut changes = dea.registry.changes();
    loop {
        changes.borrow_and_update();
        write(&dea).await;
        tokio::select! {
            changed = changes.changed() => if changed.is_err() { return },
            () = dea.closing.cancelled() => break,
        }
    }
    write(&dea).await;
}

async fn write(dea: &Shared) {
    let path = path(&dea.config.data_dir);
    let instances = dea.registry.read(|book| {
        book.instances()
            .filter(|i| i.is_saved())
            .cloned()
            .collect::<Vec<_>>()
    });
    let saved = tokio::task::spawn_blocking(move || save(&path, instances)).await;
    if let Ok(Err(error)) = saved {
        warn!("the snapshot cannot be written: {error}");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use std::os::unix::fs::MetadataExt as _;

    use super::*;
    use crate::instance::tests::instance;

    #[test]
    fn what_was_saved_is_loaded_and_only_the_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        assert!(load(&path).is_empty());
        for count in [2, 1] {
            let instances: Vec<_> = (0..count).map(|n| instance("a", n)).collect();
            save(&path, instances.clone()).unwrap();
            assert_eq!(load(&path), instances);
        }
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_broken_snapshot_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = path(dir.path());
        fs::write(&path, "{\"time\": 1, \"instances\": [{").unwrap();
        assert!(load(&path).is_empty());
    }
}
