//! Packages: what a push sends, checked and made whole.
//!
//! A push sends a zip of the files that the resource pool does not have and a list of those it has.
//! Nothing of either is trusted: names that leave the root, links that point out of it, special
//! files, too many entries and too many bytes (counted while they are unpacked, whatever the
//! headers say) are refused before anything is kept.

mod archive;
mod package;
mod path;
mod resource;

pub(crate) use package::{Assembled, assemble};
pub(crate) use resource::{Resource, known_fields, parse_list};

use thiserror::Error;

/// Why an upload is refused, or could not be worked on.
#[derive(Debug, Error)]
pub(crate) enum BitsError {
    /// The archive or the list of resources is not acceptable.
    #[error("{0}")]
    Invalid(String),
    /// A resource's path is not acceptable.
    #[error("{0}")]
    BadPath(String),
    /// A resource's mode is not acceptable.
    #[error("{0}")]
    BadMode(String),
    /// This machine could not do its part.
    #[error("cannot {action}")]
    Io {
        action: &'static str,
        #[source]
        source: std::io::Error,
    },
}

// === impl BitsError ===

impl BitsError {
    fn io(action: &'static str) -> impl Fn(std::io::Error) -> Self {
        move |source| BitsError::Io { action, source }
    }
}

/// What a package may hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BitsLimits {
    /// Bytes of all files together.
    pub(crate) bytes: u64,
    /// Files, folders and links together.
    pub(crate) entries: usize,
    /// Sizes of files that the resource pool keeps.
    pub(crate) pool_bytes: (u64, u64),
}
