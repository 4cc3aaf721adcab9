//! What goes over the wire in a push: which files, what is already known there, and the archive of
//! the rest.

mod archive;
mod bits;
mod files;
mod ignore;
mod words;

pub(crate) use bits::prepare;
pub(crate) use words::random_suffix;
