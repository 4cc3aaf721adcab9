//! Blobs: packages, droplets, build caches and single source files, in a local folder or in S3.
//!
//! Only the cloud controller touches the store; everybody else is given short-lived signed URLs.
//! A blob is written to a temporary place while its SHA-1 is computed and appears under
//! its key in one step, whole or not at all. Keys are spread over two levels of folders:
//!
//! ```text
//!   packages/3f/a1/3fa1c9…     Bucket::Packages, key 3fa1c9…
//! ```
//!
//! What it is not: a cache, a database of what exists, or an authority on who may read.

#![forbid(unsafe_code)]

mod config;
mod key;
mod store;

pub use config::{BlobstoreConfig, LocalConfig, S3Config};
pub use key::{BadKey, Bucket};
pub use store::{BlobError, Blobstore, Contents, Stored, digest};
