//! Running `cup` with a home of its own.

use std::ffi::OsStr;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::platform::Platform;

/// No command of these tests takes longer; one that does hangs.
const LONGEST_RUN: Duration = Duration::from_secs(60);

/// A person at a shell, with a home and a working folder.
#[derive(Debug)]
pub(crate) struct Cup {
    folder: TempDir,
    variables: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

// === impl Cup ===

impl Cup {
    pub(crate) fn new() -> Self {
        let cup = Self {
            folder: tempfile::tempdir().unwrap(),
            variables: Vec::new(),
        };
        std::fs::create_dir(cup.work()).unwrap();
        cup
    }

    /// Somebody who is logged in and works in the space `dev`.
    pub(crate) fn logged_in(platform: &Platform) -> Self {
        let cup = Self::new();
        cup.run([
            "login",
            "-a",
            &platform.url(),
            "-u",
            "admin",
            "-p",
            "secret",
        ])
        .succeeded();
        platform.forget_requests();
        cup
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    pub(crate) fn state(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.home().join("config.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Puts a file into the working folder.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.work().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
        self
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cup"));
        command
            .args(arguments)
            .current_dir(self.work())
            .env_clear()
            .env("CUP_HOME", self.home())
            .env("TZ", "UTC")
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        let mut child = self.command(arguments).spawn().unwrap();
        let stdout = collected(child.stdout.take().unwrap());
        let stderr = collected(child.stderr.take().unwrap());
        let status = ended(&mut child);
        Run {
            code: status.code(),
            stdout: stdout.join().unwrap(),
            stderr: stderr.join().unwrap(),
        }
    }
}

fn collected(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = Vec::new();
        pipe.read_to_end(&mut text).unwrap();
        String::from_utf8_lossy(&text).into_owned()
    })
}

/// Waits for the end of a command, but not for ever.
#[expect(
    clippy::disallowed_methods,
    reason = "there is no wait with a deadline on a child"
)]
pub(crate) fn ended(child: &mut Child) -> ExitStatus {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status;
        }
        if start.elapsed() > LONGEST_RUN {
            child.kill().unwrap();
            panic!("cup hangs");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

// === impl Run ===

impl Run {
    #[track_caller]
    pub(crate) fn succeeded(self) -> Self {
        assert_eq!(self.code, Some(0), "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn failed(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        assert_eq!(self.stdout.ends_with("FAILED\n"), code == 1, "{self}");
        self
    }

    #[track_caller]
    pub(crate) fn says(self, words: &str) -> Self {
        assert!(self.stdout.contains(words), "no {words:?} in\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn complains(self, words: &str) -> Self {
        assert!(self.stderr.contains(words), "no {words:?} in\n{self}");
        self
    }

    #[track_caller]
    pub(crate) fn keeps_quiet_about(self, words: &str) -> Self {
        assert!(!self.stdout.contains(words), "{words:?} in\n{self}");
        assert!(!self.stderr.contains(words), "{words:?} in\n{self}");
        self
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exit {:?}\n--- stdout\n{}--- stderr\n{}",
            self.code, self.stdout, self.stderr
        )
    }
}

/// A folder with one page.
pub(crate) fn site(cup: &Cup) {
    cup.file("index.html", "<h1>hello</h1>")
        .file("css/site.css", "h1 {}");
}
