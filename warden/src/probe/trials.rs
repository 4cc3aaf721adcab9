//! The trials.
