//! Reading an uploaded zip without believing it.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use zip::ZipArchive;
use zip::read::ZipFile;

use super::path::{check_link, parts};
use super::{BitsError, BitsLimits};

const END_SIGNATURE: [u8; 4] = *b"PK\x05\x06";
/// Length of the end record without its comment.
const END_BYTES: usize = 22;
const MAX_COMMENT: usize = 65_535;
/// Bits of a unix mode that say what kind of file it is.
const KIND: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
const FOLDER: u32 = 0o040_000;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Regular,
    Folder,
    Link,
}

/// An archive whose number of entries has been checked.
pub(super) struct Archive {
    pub(super) zip: ZipArchive<BufReader<File>>,
}

/// Names seen so far, for finding clashes between them.
#[derive(Debug, Default)]
pub(super) struct Names {
    taken: HashSet<String>,
    links: HashSet<String>,
}

// === impl Archive ===

impl Archive {
    pub(super) fn open(file: &Path, limits: &BitsLimits) -> Result<Self, BitsError> {
        let mut opened = File::open(file).map_err(BitsError::io("open the upload"))?;
        let claimed = claimed_entries(&mut opened)?;
        if claimed > limits.entries {
            return Err(too_many(limits));
        }
        let zip = ZipArchive::new(BufReader::new(opened)).map_err(|error| not_a_zip(&error))?;
        if zip.len() > limits.entries {
            return Err(too_many(limits));
        }
        Ok(Self { zip })
    }
}

/// What the end record says of the number of entries: looked at before the directory is read into
/// memory, for a directory of millions fits a small file. Archives that need 64-bit records are
/// larger than any package may be.
fn claimed_entries(file: &mut File) -> Result<usize, BitsError> {
    let failed = BitsError::io("read the upload");
    let length = file.seek(SeekFrom::End(0)).map_err(&failed)?;
    let tail = length.min((END_BYTES + MAX_COMMENT) as u64);
    file.seek(SeekFrom::End(-i64::try_from(tail).unwrap_or_default()))
        .map_err(&failed)?;
    let mut bytes = Vec::new();
    file.take(tail).read_to_end(&mut bytes).map_err(&failed)?;
    let at = bytes
        .windows(END_BYTES)
        .rposition(|window| window.starts_with(&END_SIGNATURE))
        .ok_or_else(|| BitsError::Invalid("the upload is not a zip archive".into()))?;
    let count = u16::from_le_bytes([bytes[at + 10], bytes[at + 11]]);
    let directory = u32::from_le_bytes([
        bytes[at + 12],
        bytes[at + 13],
        bytes[at + 14],
        bytes[at + 15],
    ]);
    if count == u16::MAX || directory == u32::MAX {
        return Err(BitsError::Invalid(
            "the archive has more entries than a package may".into(),
        ));
    }
    Ok(usize::from(count))
}

/// What an entry is; anything but files, folders and links is refused.
pub(super) fn kind<R: Read>(entry: &ZipFile<'_, R>, name: &str) -> Result<Kind, BitsError> {
    let by_name = if name.ends_with('/') {
        Kind::Folder
    } else {
        Kind::Regular
    };
    match entry.unix_mode().map(|mode| mode & KIND) {
        None | Some(0) => Ok(by_name),
        Some(REGULAR) => Ok(by_name),
        Some(FOLDER) => Ok(Kind::Folder),
        Some(LINK) => Ok(Kind::Link),
        Some(_) => Err(BitsError::Invalid(format!(
            "{name:?} is neither a file nor a folder nor a link"
        ))),
    }
}

/// The name of an entry, as it is stored.
pub(super) fn name<R: Read>(entry: &ZipFile<'_, R>) -> Result<String, BitsError> {
    let raw = entry.name_raw();
    String::from_utf8(raw.to_vec())
        .map_err(|_| BitsError::Invalid("a file name in the archive is not UTF-8".into()))
}

// === impl Names ===

impl Names {
    /// Takes a name for an entry. Folders may be named often; whatever else is named twice, or lies
    /// below a link, could be made to land elsewhere.
    pub(super) fn take(&mut self, name: &str, kind: Kind) -> Result<(), BitsError> {
        let parts = parts(name).map_err(BitsError::Invalid)?;
        let mut above = String::new();
        for part in &parts[..parts.len() - 1] {
            above.push_str(part);
            if self.links.contains(&above) {
                return Err(BitsError::Invalid(format!("{name:?} lies below a link")));
            }
            above.push('/');
        }
        let whole = parts.join("/");
        if kind == Kind::Link {
            self.links.insert(whole.clone());
        }
        if !self.taken.insert(whole) && kind != Kind::Folder {
            return Err(BitsError::Invalid(format!(
                "{name:?} is in the package twice"
            )));
        }
        Ok(())
    }

    /// Checks what could not be checked name by name: nothing lies below a link that came later.
    pub(super) fn check(&self) -> Result<(), BitsError> {
        for name in &self.taken {
            let below = name
                .match_indices('/')
                .any(|(at, _)| self.links.contains(&name[..at]));
            if below {
                return Err(BitsError::Invalid(format!("{name:?} lies below a link")));
            }
        }
        Ok(())
    }
}

/// Reads and checks the target of a link.
pub(super) fn check_target<R: Read>(
    entry: &mut ZipFile<'_, R>,
    name: &str,
) -> Result<(), BitsError> {
    let mut target = String::new();
    entry
        .take(4097)
        .read_to_string(&mut target)
        .map_err(|_| BitsError::Invalid(format!("the link {name:?} cannot be read")))?;
    let parts = parts(name).map_err(BitsError::Invalid)?;
    check_link(&parts, &target).map_err(BitsError::Invalid)
}

pub(super) fn not_a_zip(error: &zip::result::ZipError) -> BitsError {
    BitsError::Invalid(format!("the upload is not a usable zip archive: {error}"))
}

fn too_many(limits: &BitsLimits) -> BitsError {
    BitsError::Invalid(format!(
        "the package has more than {} entries",
        limits.entries
    ))
}
