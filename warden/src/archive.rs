//! Archives in and out of a container, by code that runs inside it as its user.
//!
//! Being inside is the first wall: whatever an archive says, nothing but the container's own files
//! can be reached. The second is that every path is opened beneath the target folder by the kernel
//! (`openat2`), so that no link in the archive or made meanwhile leads elsewhere.

mod pack;
mod unpack;

use std::{fmt, io};

pub(crate) use pack::pack;
pub(crate) use unpack::unpack;

/// What was wrong, and with which entry.
#[derive(Debug)]
pub(crate) struct ArchiveError {
    what: String,
    entry: String,
    source: Option<io::Error>,
}

// === impl ArchiveError ===

impl ArchiveError {
    pub(crate) fn io(what: &str, entry: impl Into<String>, source: io::Error) -> Self {
        Self {
            what: format!("cannot {what}"),
            entry: entry.into(),
            source: Some(source),
        }
    }

    fn refused(entry: impl Into<String>, why: impl Into<String>) -> Self {
        Self {
            what: why.into(),
            entry: entry.into(),
            source: None,
        }
    }
}

impl fmt::Display for ArchiveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        if !self.entry.is_empty() {
            write!(f, " {:?}", self.entry)?;
        }
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}
