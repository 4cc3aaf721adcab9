//! What this machine offers for containers: found out by trying, once a boot.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use anyhow::Context as _;
use cupola_warden::DepotConfig;
use cupola_warden::aio::probe;
use serde::{Deserialize, Serialize};
use tracing::warn;

/// The name of the file in the dea's folder.
const FILE: &str = "facilities.json";

/// What was found, and for which machine and supervisor it holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facilities {
    boot_id: String,
    supervisor: Option<(u64, i64, i64)>,
    /// Whether containers can share a folder and each own its files.
    pub(crate) mapped_layers: bool,
}

/// What this machine offers. Trying everything takes a tenth of a second, which a dea that comes
/// back to living containers should not spend: what was found since the machine started still
/// holds.
///
/// # Errors
/// When containers cannot be made here; names what is missing.
pub(crate) async fn of_machine(
    config: &DepotConfig,
    data_dir: &Path,
) -> anyhow::Result<Facilities> {
    let now = Facilities::unknown(&config.warden);
    let path = data_dir.join(FILE);
    let known = fs::read(&path)
        .ok()
        .and_then(|text| serde_json::from_slice::<Facilities>(&text).ok());
    if let Some(known) = known.filter(|known| known.is_of(&now)) {
        return Ok(known);
    }
    let found = probe(config)
        .await
        .context("cannot find out what this machine offers")?;
    found.require().context("containers cannot be made here")?;
    let facilities = Facilities {
        mapped_layers: found.has("mapped layers"),
        ..now
    };
    for missing in found.missing() {
        warn!("not needed, but missing: {missing}");
    }
    let noted = serde_json::to_vec(&facilities).map(|text| fs::write(&path, text));
    if let Ok(Err(error)) = noted {
        warn!("what the machine offers is not noted: {error}");
    }
    Ok(facilities)
}

// === impl Facilities ===

impl Facilities {
    fn unknown(supervisor: &Path) -> Self {
        let meta = fs::metadata(supervisor).ok();
        Self {
            boot_id: fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
            supervisor: meta.map(|meta| (meta.len(), meta.mtime(), meta.mtime_nsec())),
            mapped_layers: false,
        }
    }

    /// Whether it was found on the machine and for the supervisor of `now`.
    fn is_of(&self, now: &Self) -> bool {
        !now.boot_id.is_empty()
            && now.supervisor.is_some()
            && (&self.boot_id, &self.supervisor) == (&now.boot_id, &now.supervisor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_found_holds_for_one_boot_and_one_supervisor() {
        let now = Facilities::unknown(Path::new("/proc/self/exe"));
        assert!(now.is_of(&now));
        let other_boot = Facilities {
            boot_id: "other".to_owned(),
            ..now.clone()
        };
        assert!(!other_boot.is_of(&now));
        let other_supervisor = Facilities {
            supervisor: Some((1, 2, 3)),
            ..now.clone()
        };
        assert!(!other_supervisor.is_of(&now));
        let gone = Facilities::unknown(Path::new("/nonexistent"));
        assert!(!gone.is_of(&gone));
    }
}
