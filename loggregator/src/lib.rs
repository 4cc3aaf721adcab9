//! App logs: keeps the last lines of each app and streams them to whoever may read them.
//!
//! Lines arrive on the bus in batches from the components that read or wrote them. They are kept
//! in memory only, bounded per app and in total, and are served in three forms: to clients of the
//! doppler generation, to those of the loggregator before it, and to readers of log-cache. Who may
//! read an app's log is the cloud controller's to say; it is asked with the reader's own token.

#![forbid(unsafe_code)]

mod access;
mod api;
mod archive;
mod config;
mod envelope;
mod multipart;
mod room;

pub use config::Config;
pub use room::{Room, build};
