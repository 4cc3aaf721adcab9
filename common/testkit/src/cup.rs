//! The real command-line client.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::programs::program;

/// `cup` with a home of its own.
#[derive(Debug)]
pub struct Cup {
    program: PathBuf,
    home: tempfile::TempDir,
}

/// A command that has run.
#[derive(Debug)]
pub struct Ran {
    /// The words of the command.
    pub command: String,
    /// Whether it ended with status 0.
    pub ok: bool,
    /// What it printed.
    pub stdout: String,
    /// What it complained of.
    pub stderr: String,
    /// How long it took.
    pub took: Duration,
}

impl Cup {
    /// A client that knows nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            program: program("cup"),
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// The command, ready to be changed and run.
    #[must_use]
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(args)
            .env("CUP_HOME", self.home.path())
            .stdin(Stdio::null());
        command
    }

    /// The client's own folder.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command to its end.
    #[must_use]
    pub fn run(&self, args: &[&str]) -> Ran {
        Ran::of(args, self.command(args))
    }
}

impl Default for Cup {
    fn default() -> Self {
        Self::new()
    }
}

impl Ran {
    fn of(args: &[&str], mut command: Command) -> Self {
        let started = Instant::now();
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().unwrap();
        Self {
            command: args.join(" "),
            ok: status.success(),
            stdout: String::from_utf8_lossy(&stdout).into_owned(),
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
            took: started.elapsed(),
        }
    }

    /// Everything that it printed.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Fails the test unless the command succeeded.
    ///
    /// # Panics
    /// With what it printed.
    #[track_caller]
    pub fn succeeds(self) -> Self {
        assert!(self.ok, "`cup {}` failed:\n{}", self.command, self.text());
        self
    }

    /// Fails the test unless the command failed.
    ///
    /// # Panics
    /// With what it printed.
    #[track_caller]
    pub fn fails(self) -> Self {
        assert!(
            !self.ok,
            "`cup {}` succeeded:\n{}",
            self.command,
            self.text()
        );
        self
    }

    /// Fails the test unless the command printed `text`.
    ///
    /// # Panics
    /// With what it printed.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        let said = self.text();
        assert!(
            said.contains(text),
            "`cup {}` does not say {text:?}:\n{said}",
            self.command
        );
        self
    }
}
