//! What a person sees and types at a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::process::Child;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::openpty;

use crate::cup::{Cup, ended};
use crate::platform::Platform;

/// A command that shows nothing for so long hangs.
const LONGEST_SILENCE_MS: u16 = 20_000;

/// A command at a terminal of its own.
struct Session {
    child: Child,
    terminal: File,
    shown: String,
    /// How much of it has been looked at.
    seen: usize,
}

// === impl Session ===

impl Session {
    fn start(cup: &Cup, arguments: &[&str]) -> Self {
        let pair = openpty(None, None).unwrap();
        let mut command = cup.command(arguments);
        command
            .env("TERM", "xterm")
            .stdin(pair.slave.try_clone().unwrap())
            .stdout(pair.slave.try_clone().unwrap())
            .stderr(pair.slave);
        let child = command.spawn().unwrap();
        // Our own handles on the command's side of the terminal close with it.
        drop(command);
        Self {
            child,
            terminal: File::from(pair.master),
            shown: String::new(),
            seen: 0,
        }
    }

    /// Reads until these words come, behind those that were seen before.
    #[track_caller]
    fn sees(&mut self, words: &str) -> &mut Self {
        loop {
            if let Some(at) = self.shown[self.seen..].find(words) {
                self.seen += at + words.len();
                return self;
            }
            assert!(
                self.read(),
                "no {words:?} in {:?}",
                &self.shown[self.seen..]
            );
        }
    }

    /// Whether more came. At the end of the last writer a terminal answers with an error.
    fn read(&mut self) -> bool {
        let mut waiting = [PollFd::new(self.terminal.as_fd(), PollFlags::POLLIN)];
        let ready = poll(&mut waiting, PollTimeout::from(LONGEST_SILENCE_MS)).unwrap();
        if ready == 0 {
            self.child.kill().unwrap();
            panic!("nothing comes after {:?}", self.shown);
        }
        let mut piece = [0; 1024];
        let read = self.terminal.read(&mut piece).unwrap_or(0);
        self.shown
            .push_str(&String::from_utf8_lossy(&piece[..read]));
        read > 0
    }

    fn types(&mut self, line: &str) -> &mut Self {
        self.terminal
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
        self
    }

    /// The exit code and everything that was shown.
    fn end(mut self) -> (Option<i32>, String) {
        while self.read() {}
        (ended(&mut self.child).code(), self.shown)
    }
}

#[test]
fn login_asks_for_what_is_missing_and_hides_the_password() {
    let platform = Platform::start();
    platform.model().orgs = vec!["cupola", "other"];
    let cup = Cup::new().with("NO_COLOR", "1");
    let mut session = Session::start(&cup, &["login"]);
    session.sees("API endpoint> ").types(&platform.url());
    session.sees("Email> ").types("admin");
    session.sees("Password> ").types("wrong");
    session.sees("Credentials were rejected, please try again.");
    session.sees("Password> ").types("secret");
    session.sees("1. cupola").sees("2. other").sees("Org> ");
    session.types("other").sees("Targeted space dev");
    let (code, shown) = session.end();
    assert_eq!(code, Some(0), "{shown}");
    for password in ["secret", "wrong"] {
        assert!(!shown.contains(password), "{shown}");
    }
    assert_eq!(cup.state()["org"]["name"], "other");
}

#[test]
fn nothing_is_deleted_without_a_yes() {
    let platform = Platform::start();
    platform.model().add_app("hello");
    let cup = Cup::logged_in(&platform);
    let mut session = Session::start(&cup, &["delete", "hello"]);
    session.sees("Really delete the app").types("n");
    assert_eq!(session.end().0, Some(0));
    assert!(platform.model().app("hello").is_some());
    let mut session = Session::start(&cup, &["delete", "hello"]);
    session.sees("Really delete the app").types("y");
    assert_eq!(session.end().0, Some(0));
    assert!(platform.model().app("hello").is_none());
}

#[test]
fn a_terminal_gets_colours_and_progress_unless_no_color_is_set() {
    let platform = Platform::start();
    let cup = Cup::logged_in(&platform);
    cup.file("index.html", "hi");
    let (code, shown) = Session::start(&cup, &["push", "hello"]).end();
    assert_eq!(code, Some(0), "{shown}");
    assert!(
        shown.contains("\x1b[1m") && shown.contains("100%"),
        "{shown}"
    );
    let cup = cup.with("NO_COLOR", "1");
    let (_, shown) = Session::start(&cup, &["apps"]).end();
    assert!(!shown.contains("\x1b["), "{shown}");
}
