//! How often each index crashed of late.

use std::collections::HashMap;
use std::path::Path;

use cupola_types::{AppGuid, AppVersion, InstanceIndex};
use serde::{Deserialize, Serialize};

use crate::Moment;
use crate::config::Timing;

/// Most indices remembered.
const MAX_REMEMBERED: usize = 100_000;

/// One copy of one version of an app.
pub(crate) type Key = (AppGuid, AppVersion, InstanceIndex);

/// How one index crashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Crash {
    pub(crate) count: u32,
    pub(crate) last: Moment,
    /// The same in seconds since 1970, for whoever asks.
    pub(crate) last_unix: i64,
}

/// All remembered crashes.
#[derive(Debug, Default)]
pub(crate) struct Crashes {
    by_index: HashMap<Key, Crash>,
}

/// A crash in the state file.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    app: AppGuid,
    version: AppVersion,
    index: InstanceIndex,
    count: u32,
    last_unix: i64,
}

impl Crashes {
    pub(crate) fn note(&mut self, key: Key, now: Moment, now_unix: i64) {
        if self.by_index.len() >= MAX_REMEMBERED && !self.by_index.contains_key(&key) {
            return;
        }
        let crash = self.by_index.entry(key).or_insert(Crash {
            count: 0,
            last: now,
            last_unix: now_unix,
        });
        crash.count = crash.count.saturating_add(1);
        crash.last = now;
        crash.last_unix = now_unix;
    }

    pub(crate) fn get(&self, key: &Key) -> Option<Crash> {
        self.by_index.get(key).copied()
    }

    pub(crate) fn forget_old(&mut self, timing: &Timing, now: Moment) {
        self.by_index
            .retain(|_, crash| now.saturating_sub(crash.last) < timing.crash_memory);
    }

    /// The owner touched the app: it starts with a clean slate.
    pub(crate) fn forgive(&mut self, app: &AppGuid, current: &AppVersion) {
        self.by_index
            .retain(|(a, version, _), _| a != app || version == current);
    }

    pub(crate) fn of_app<'a>(
        &'a self,
        app: &'a AppGuid,
    ) -> impl Iterator<Item = (&'a Key, &'a Crash)> {
        self.by_index.iter().filter(move |((a, _, _), _)| a == app)
    }

    /// Reads what an earlier process kept. A file that cannot be read is as good as none: the
    /// counts only delay restarts.
    pub(crate) fn load(path: &Path, now: Moment, now_unix: i64) -> Self {
        let kept: Vec<Kept> = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                tracing::warn!("crash counts in {} are damaged: {error}", path.display());
                Vec::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!("crash counts in {} are not read: {error}", path.display());
                Vec::new()
            }
        };
        let by_index = kept.into_iter().take(MAX_REMEMBERED).map(|kept| {
            let age = u64::try_from(now_unix.saturating_sub(kept.last_unix)).unwrap_or(0);
            let last = now.saturating_sub(std::time::Duration::from_secs(age));
            let crash = Crash {
                count: kept.count,
                last,
                last_unix: kept.last_unix,
            };
            ((kept.app, kept.version, kept.index), crash)
        });
        Self {
            by_index: by_index.collect(),
        }
    }

    /// The text for the state file.
    pub(crate) fn to_json(&self) -> Vec<u8> {
        let kept = self
            .by_index
            .iter()
            .map(|((app, version, index), crash)| Kept {
                app: app.clone(),
                version: version.clone(),
                index: *index,
                count: crash.count,
                last_unix: crash.last_unix,
            });
        serde_json::to_vec(&kept.collect::<Vec<_>>()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn crashes_survive_a_restart_of_the_process() {
        let key = (AppGuid::new("a"), AppVersion::new("v"), InstanceIndex(0));
        let mut crashes = Crashes::default();
        crashes.note(key.clone(), Moment::from_secs(50), 1_000);
        crashes.note(key.clone(), Moment::from_secs(60), 1_010);
        let directory = std::env::temp_dir().join(format!("crashes-{}", std::process::id()));
        std::fs::write(&directory, crashes.to_json()).unwrap();
        let again = Crashes::load(&directory, Moment::from_secs(100), 1_030)
            .get(&key)
            .unwrap();
        std::fs::remove_file(&directory).unwrap();
        assert_eq!((again.count, again.last), (2, Moment::from_secs(80)));
    }
}
