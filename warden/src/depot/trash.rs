//! Deleting what takes its time, away from those who wait.
//!
//! A removed container's folder is renamed into the trash, which is one step whatever its size; one
//! thread empties the trash. The kernel takes its time with cables too.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{Sender, channel},
    },
    time::Duration,
};

use crate::{Result, WardenError};

/// The trash of a depot.
#[derive(Debug)]
pub(super) struct Trash {
    dir: PathBuf,
    // Unbounded, but each entry is a folder that was a container: bounded by what was created.
    queue: Sender<Rubbish>,
    waiting: Arc<Waiting>,
    serial: AtomicU64,
}

/// What is left of a container.
#[derive(Debug)]
struct Rubbish {
    folder: PathBuf,
    cable: Option<String>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: Mutex<usize>,
    changed: Condvar,
}

// === impl Trash ===

impl Trash {
    /// Takes over the folder and begins with what an earlier process left in it.
    pub(super) fn new(dir: PathBuf) -> Result<Self> {
        let (queue, work) = channel::<Rubbish>();
        let waiting = Arc::new(Waiting::default());
        let done = waiting.clone();
        std::thread::Builder::new()
            .name("warden-trash".to_owned())
            .spawn(move || {
                for rubbish in work {
                    // What cannot be removed now is left for the next sweep, or for when the depot
                    // is next opened.
                    if let Some(cable) = rubbish.cable {
                        let _ = crate::netlink::delete_link(&cable);
                    }
                    let _ = crate::sys::remove_tree(&rubbish.folder);
                    done.add(-1);
                }
            })
            .map_err(WardenError::io("start the thread for", &dir))?;
        let trash = Self {
            dir,
            queue,
            waiting,
            serial: AtomicU64::new(0),
        };
        let left = fs::read_dir(&trash.dir).map_err(WardenError::io("read", &trash.dir))?;
        for entry in left.flatten() {
            trash.enqueue(Rubbish {
                folder: entry.path(),
                cable: None,
            });
        }
        Ok(trash)
    }

    /// Removes a folder, and a cable that goes with it; fine when there is none.
    pub(super) fn take(&self, path: &Path, cable: Option<String>) -> Result<()> {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed);
        let name = format!(
            "{}-{}-{serial}",
            std::process::id(),
            crate::launch::now_ms()
        );
        let to = self.dir.join(name);
        match fs::rename(path, &to) {
            Ok(()) => {
                self.enqueue(Rubbish { folder: to, cable });
                Ok(())
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(WardenError::io("remove", path)(error)),
        }
    }

    /// Waits until nothing is left to delete.
    pub(super) fn wait(&self, within: Duration) -> bool {
        let count = self
            .waiting
            .count
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let (_count, timeout) = self
            .waiting
            .changed
            .wait_timeout_while(count, within, |count| *count > 0)
            .unwrap_or_else(PoisonError::into_inner);
        !timeout.timed_out()
    }

    fn enqueue(&self, rubbish: Rubbish) {
        self.waiting.add(1);
        if self.queue.send(rubbish).is_err() {
            self.waiting.add(-1);
        }
    }
}

impl Waiting {
    fn add(&self, change: isize) {
        let mut count = self.count.lock().unwrap_or_else(PoisonError::into_inner);
        *count = count.saturating_add_signed(change);
        self.changed.notify_all();
    }
}
