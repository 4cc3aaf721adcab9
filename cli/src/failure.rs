//! How a command ends that did not succeed: one chained line that says what failed and why, a
//! second that says what to do next, and the exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::client::ApiError;
use crate::manifest::ManifestError;
use crate::plan::UsageError;
use crate::session::SessionError;
use crate::surroundings::SurroundingsError;
use crate::ui::{OutputError, PromptError, printable};

/// The command ran and did not succeed.
const FAILED: u8 = 1;
/// The command could not be understood; the same number as `EX_USAGE` of sysexits and as the
/// platform's own binaries use for a wrong configuration.
const MISUSED: u8 = 64;

/// A failure together with what the person can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Advised {
    message: String,
    advice: String,
}

// === impl Advised ===

impl Advised {
    pub(crate) fn new(message: impl Into<String>, advice: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            advice: advice.into(),
        }
    }
}

/// Says why and returns the exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    if reader_went_away(error) {
        return ExitCode::SUCCESS;
    }
    let misused = is_misuse(error);
    let mut words = chain(error);
    if let Some(advice) = advice(error) {
        words.push_str("\nTIP: ");
        words.push_str(&printable(&advice));
    }
    // Nothing can be done when the streams are gone; the exit code still tells.
    let _ = writeln!(io::stderr().lock(), "{words}");
    if !misused {
        let _ = writeln!(io::stdout().lock(), "FAILED");
    }
    ExitCode::from(if misused { MISUSED } else { FAILED })
}

/// `cup app | head -1` is no failure.
fn reader_went_away(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<OutputError>())
        .any(|output| output.0.kind() == io::ErrorKind::BrokenPipe)
}

fn is_misuse(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.is::<UsageError>() || cause.is::<SurroundingsError>() || cause.is::<ManifestError>()
    })
}

/// Every cause on one line, each once.
fn chain(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let words = cause.to_string();
        if line.ends_with(&words) {
            continue;
        }
        if !line.is_empty() {
            line.push_str(": ");
        }
        line.push_str(&words);
    }
    printable(&line)
}

/// The most specific advice in the chain.
fn advice(error: &anyhow::Error) -> Option<String> {
    error.chain().find_map(|cause| {
        if let Some(advised) = cause.downcast_ref::<Advised>() {
            return Some(advised.advice.clone());
        }
        if let Some(api) = cause.downcast_ref::<ApiError>() {
            return api.advice();
        }
        if let Some(session) = cause.downcast_ref::<SessionError>() {
            return Some(session.advice());
        }
        match cause.downcast_ref::<PromptError>() {
            Some(PromptError::NoTerminal { instead, .. }) => Some((*instead).to_owned()),
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn causes_are_chained_on_one_line_and_told_once() {
        let error = Err::<(), _>(io::Error::other("disk gone"))
            .context("writing x")
            .context("saving the session");
        let error = error.err().map(|error| chain(&error));
        assert_eq!(
            error.as_deref(),
            Some("saving the session: writing x: disk gone")
        );
    }

    #[test]
    fn a_reader_that_left_is_no_failure_but_a_broken_connection_is() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(reader_went_away(&anyhow::Error::new(OutputError(broken()))));
        assert!(!reader_went_away(&anyhow::Error::new(broken())));
    }

    #[test]
    fn advice_comes_from_whoever_knows_best() {
        let error = anyhow::Error::new(Advised::new("no such app", "run 'cup apps'"));
        assert_eq!(
            advice(&error.context("showing x")).as_deref(),
            Some("run 'cup apps'")
        );
    }
}
