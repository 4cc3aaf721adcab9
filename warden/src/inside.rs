//! Inside a container: pid 1, the house it builds, and what it starts in it.
//!
//! This code runs in the supervisor's binary after the fork into new namespaces, as root until the
//! house stands, then with just enough capabilities to start processes under another uid.

mod channel;
mod house;
mod init;
mod network;
mod spawn;

pub(crate) use channel::{Channel, Order, Word};
pub(crate) use house::Disk;
pub(crate) use init::{Birthright, run};
pub(crate) use network::plug_in;
pub(crate) use spawn::Work;

use std::{fmt, io};

/// A step that failed, for somebody to read.
#[derive(Debug)]
pub(crate) struct StepError {
    pub(crate) step: String,
    pub(crate) source: io::Error,
}

/// Names the step of a result.
pub(crate) trait Step<T> {
    /// Says what was being done.
    fn step(self, step: impl Into<String>) -> Result<T, StepError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step(self, step: impl Into<String>) -> Result<T, StepError> {
        self.map_err(|error| StepError {
            step: step.into(),
            source: error.into(),
        })
    }
}

impl fmt::Display for StepError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.source)
    }
}
