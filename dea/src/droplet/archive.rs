//! Makes a verified droplet ready for many starts: inflates it once and looks what is in it.
//!
//! Nothing of the archive is ever unpacked on the host. That is done by warden inside each
//! container, as the container's user; here it is only inflated, measured and searched.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType};

/// Largest `staging_info.yml` that is read; a real one has a few lines.
const MAX_STAGING_INFO_BYTES: u64 = 64 * 1024;
/// How much is read and written at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// How much one droplet may become when it is inflated.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ArchiveLimits {
    /// Size of the inflated archive.
    pub(crate) max_bytes: u64,
    /// Number of entries, of whatever kind.
    pub(crate) max_entries: u64,
}

/// What a droplet holds, as far as starting it needs to know. Kept beside the archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Size of the inflated archive in bytes.
    pub(crate) bytes: u64,
    /// Number of entries.
    pub(crate) entries: u64,
    /// What the stager said; absent in droplets of the first generation.
    pub(crate) staging_info: Option<StagingInfo>,
    /// Whether there is a `startup` script, as in droplets of the first generation.
    pub(crate) startup: bool,
}

/// The part of `staging_info.yml` that starting needs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StagingInfo {
    /// The command that the buildpack or the Procfile gave for `web`.
    #[serde(default)]
    pub(crate) start_command: Option<String>,
}

/// Why a droplet's archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ArchiveError {
    #[error("cannot read the droplet's archive")]
    Read(#[source] io::Error),
    #[error("cannot write {path:?}")]
    Write { path: PathBuf, source: io::Error },
    #[error("the droplet inflates to more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the droplet holds more than {limit} entries")]
    TooMany { limit: u64 },
    #[error("the droplet is empty")]
    Empty,
    #[error("the droplet's staging_info.yml is larger than {MAX_STAGING_INFO_BYTES} bytes")]
    StagingInfoSize,
    #[error("the droplet's staging_info.yml cannot be understood: {reason}")]
    StagingInfoSyntax { reason: String },
}

/// Inflates the gzipped tar `source` to the new file `target` and looks into it. Blocks.
pub(crate) fn prepare(
    source: &Path,
    target: &Path,
    limits: ArchiveLimits,
) -> Result<Contents, ArchiveError> {
    let bytes = inflate(source, target, limits.max_bytes)?;
    let contents = inspect(File::open(target).map_err(ArchiveError::Read)?, limits)?;
    Ok(Contents { bytes, ..contents })
}

fn inflate(source: &Path, target: &Path, max_bytes: u64) -> Result<u64, ArchiveError> {
    let source = File::open(source).map_err(ArchiveError::Read)?;
    let mut inflated = MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, source));
    let write_error = |source| ArchiveError::Write {
        path: target.to_owned(),
        source,
    };
    let mut file = File::create_new(target).map_err(write_error)?;
    let mut buffer = vec![0; BUFFER_BYTES];
    let mut bytes = 0;
    loop {
        // Told apart: a bad archive is the app's fault, a full disk is ours.
        let read = match inflated.read(&mut buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => read,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(ArchiveError::Read(e)),
        };
        bytes += read as u64;
        if bytes > max_bytes {
            return Err(ArchiveError::TooLarge { limit: max_bytes });
        }
        file.write_all(&buffer[..read]).map_err(write_error)?;
    }
}

fn inspect(tar: File, limits: ArchiveLimits) -> Result<Contents, ArchiveError> {
    let mut contents = Contents::default();
    let mut archive = Archive::new(tar);
    for entry in archive.entries_with_seek().map_err(ArchiveError::Read)? {
        let mut entry = entry.map_err(ArchiveError::Read)?;
        contents.entries += 1;
        if contents.entries > limits.max_entries {
            return Err(ArchiveError::TooMany {
                limit: limits.max_entries,
            });
        }
        if entry.header().entry_type() != EntryType::Regular {
            continue;
        }
        match at_top(&entry.path().map_err(ArchiveError::Read)?).as_deref() {
            Some("staging_info.yml") => {
                contents.staging_info = Some(StagingInfo::read(&mut entry)?)
            }
            Some("startup") => contents.startup = true,
            _ => {}
        }
    }
    if contents.entries == 0 {
        Err(ArchiveError::Empty)
    } else {
        Ok(contents)
    }
}

/// The name of an entry that lies directly in the droplet's root.
fn at_top(path: &Path) -> Option<String> {
    let mut parts = path.components().filter(|part| *part != Component::CurDir);
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(name)), None) => Some(name.to_str()?.to_owned()),
        _ => None,
    }
}

// === impl StagingInfo ===

impl StagingInfo {
    fn read(entry: &mut impl Read) -> Result<Self, ArchiveError> {
        let mut text = Vec::new();
        let mut bounded = entry.take(MAX_STAGING_INFO_BYTES + 1);
        bounded.read_to_end(&mut text).map_err(ArchiveError::Read)?;
        if text.len() as u64 > MAX_STAGING_INFO_BYTES {
            return Err(ArchiveError::StagingInfoSize);
        }
        Self::parse(&String::from_utf8_lossy(&text))
    }

    fn parse(text: &str) -> Result<Self, ArchiveError> {
        serde_saphyr::from_str(text).map_err(|e| ArchiveError::StagingInfoSyntax {
            reason: e.to_string(),
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const LIMITS: ArchiveLimits = ArchiveLimits {
        max_bytes: 1 << 20,
        max_entries: 50,
    };

    /// A droplet with these files.
    pub(crate) fn droplet(files: &[(&str, &str)]) -> Vec<u8> {
        let gz = GzEncoder::new(Vec::new(), Compression::fast());
        let mut archive = tar::Builder::new(gz);
        for (name, body) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(body.len() as u64);
            header.set_mode(0o755);
            archive
                .append_data(&mut header, name, body.as_bytes())
                .unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap()
    }

    fn run(bytes: &[u8]) -> Result<Contents, ArchiveError> {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("droplet.tgz");
        std::fs::write(&source, bytes).unwrap();
        prepare(&source, &dir.path().join("droplet.tar"), LIMITS)
    }

    #[test]
    fn finds_what_the_stager_said_and_ignores_the_rest() {
        let info =
            "---\nbuildpack_path: /x\ndetected_buildpack: Static\nstart_command: ./run $PORT\n";
        let found = run(&droplet(&[
            ("./app/staging_info.yml", "start_command: not this one"),
            ("./staging_info.yml", info),
        ]))
        .unwrap();
        assert_eq!(
            found.staging_info.unwrap().start_command.as_deref(),
            Some("./run $PORT")
        );
        assert_eq!((found.entries, found.startup), (2, false));
        let old = run(&droplet(&[("./startup", "#!/bin/sh")])).unwrap();
        assert_eq!((old.staging_info, old.startup), (None, true));
    }

    #[test]
    fn refuses_what_is_too_much_or_makes_no_sense() {
        let zeros = "0".repeat((1 << 20) + 1);
        assert!(matches!(
            run(&droplet(&[("big", &zeros)])),
            Err(ArchiveError::TooLarge { .. })
        ));
        let names: Vec<String> = (0..51).map(|n| n.to_string()).collect();
        let many: Vec<_> = names.iter().map(|name| (name.as_str(), "")).collect();
        assert!(matches!(
            run(&droplet(&many)),
            Err(ArchiveError::TooMany { .. })
        ));
        assert!(matches!(run(&droplet(&[])), Err(ArchiveError::Empty)));
        assert!(matches!(
            run(&droplet(&[("staging_info.yml", "start_command: [a, b]")])),
            Err(ArchiveError::StagingInfoSyntax { .. })
        ));
        let long = "#".repeat(70_000);
        assert!(matches!(
            run(&droplet(&[("staging_info.yml", &long)])),
            Err(ArchiveError::StagingInfoSize)
        ));
    }

    #[test]
    fn garbage_and_cut_archives_are_errors_not_panics() {
        let whole = droplet(&[("a", "some text that is long enough to be cut")]);
        for cut in 0..whole.len() {
            assert!(run(&whole[..cut]).is_err(), "cut at {cut}");
        }
        let mut noise = GzEncoder::new(Vec::new(), Compression::fast());
        noise.write_all(&[0x5a; 2048]).unwrap();
        assert!(run(&noise.finish().unwrap()).is_err());
    }
}
