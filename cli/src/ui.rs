//! What a person sees: words, colours, questions, progress.
//!
//! Results go to stdout, complaints and progress to stderr. Colours are off in pipes, and nothing
//! is asked unless someone sits at a terminal.

use std::cell::RefCell;
use std::fmt::Display;
use std::io::{self, BufRead, Write};

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

use crate::surroundings::Terminals;
use crate::table::Table;

/// Longest answer that is read at a prompt, in bytes.
const LONGEST_ANSWER: u64 = 64 * 1024;

const STRONG: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const HEADING: Style = Style::new().bold();

/// Writing a result failed. A reader that went away is no failure at all: see `failure`.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the output")]
pub(crate) struct OutputError(#[source] pub(crate) io::Error);

/// A question could not be put or its answer not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PromptError {
    #[error("there is no terminal to ask on: {what}")]
    NoTerminal { what: String, instead: &'static str },
    #[error("no answer was given for {what}")]
    NoAnswer { what: String },
    #[error("cannot read the answer")]
    Read(#[source] io::Error),
    #[error(transparent)]
    Output(#[from] OutputError),
}

#[derive(Debug)]
pub(crate) struct Ui {
    color: bool,
    terminals: Terminals,
    /// What is drawn at the bottom of the terminal just now; lines are written above it.
    live: RefCell<Option<ProgressBar>>,
}

// === impl Ui ===

impl Ui {
    pub(crate) fn new(color: bool, terminals: Terminals) -> Self {
        Self {
            color,
            terminals,
            live: RefCell::new(None),
        }
    }

    /// Whether questions can be asked.
    pub(crate) fn interactive(&self) -> bool {
        self.terminals.stdin && self.terminals.stdout
    }

    /// One line of result.
    pub(crate) fn say(&self, line: impl Display) -> Result<(), OutputError> {
        self.above_progress(|| {
            let mut out = io::stdout().lock();
            writeln!(out, "{line}")
                .and_then(|()| out.flush())
                .map_err(OutputError)
        })
    }

    /// An empty line.
    pub(crate) fn gap(&self) -> Result<(), OutputError> {
        self.say("")
    }

    /// Result bytes exactly as they are.
    pub(crate) fn raw(&self, bytes: &[u8]) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        out.write_all(bytes)
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }

    pub(crate) fn ok(&self) -> Result<(), OutputError> {
        self.say(self.paint(GOOD, "OK"))
    }

    /// Something that a person should know although the command goes on.
    pub(crate) fn warn(&self, line: impl Display) {
        self.above_progress(|| {
            // When stderr is gone there is nobody to tell.
            let _ = writeln!(io::stderr().lock(), "{}", printable(&line.to_string()));
        });
    }

    pub(crate) fn table(&self, table: &Table) -> Result<(), OutputError> {
        for line in table.lines(|heading| self.paint(HEADING, heading)) {
            self.say(line)?;
        }
        Ok(())
    }

    /// A name or value that the eye should find.
    pub(crate) fn strong(&self, text: impl Display) -> String {
        self.paint(STRONG, &printable(&text.to_string()))
    }

    pub(crate) fn heading(&self, text: &str) -> String {
        self.paint(HEADING, text)
    }

    /// A state word in the colour of its meaning.
    pub(crate) fn state(&self, text: &str) -> String {
        match text {
            "running" | "started" => self.paint(GOOD, text),
            "crashed" | "flapping" | "down" => self.paint(BAD, text),
            other => printable(other),
        }
    }

    fn paint(&self, style: Style, text: &str) -> String {
        if self.color {
            format!("{style}{text}{style:#}")
        } else {
            text.to_owned()
        }
    }

    // --- questions ---

    /// Asks for a line of text.
    pub(crate) fn ask(&self, label: &str, instead: &'static str) -> Result<String, PromptError> {
        self.require_terminal(label, instead)?;
        self.prompt(label)?;
        Ok(read_answer(label)?.trim().to_owned())
    }

    /// Asks for text that must not be seen.
    pub(crate) fn ask_secret(
        &self,
        label: &str,
        instead: &'static str,
    ) -> Result<String, PromptError> {
        self.require_terminal(label, instead)?;
        // Before the prompt, so that not even the fastest paste is echoed.
        let hidden = HiddenInput::start().map_err(PromptError::Read)?;
        self.prompt(label)?;
        let answer = read_answer(label);
        drop(hidden);
        // The line end was not echoed either.
        self.gap()?;
        Ok(answer?.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// Yes only when the answer says so.
    pub(crate) fn confirm(
        &self,
        question: &str,
        instead: &'static str,
    ) -> Result<bool, PromptError> {
        let answer = self.ask(&format!("{question} [yN]"), instead)?;
        Ok(matches!(answer.to_ascii_lowercase().as_str(), "y" | "yes"))
    }

    fn require_terminal(&self, what: &str, instead: &'static str) -> Result<(), PromptError> {
        if self.interactive() {
            return Ok(());
        }
        Err(PromptError::NoTerminal {
            what: what.to_owned(),
            instead,
        })
    }

    fn prompt(&self, label: &str) -> Result<(), OutputError> {
        let mut out = io::stdout().lock();
        write!(out, "{label}{} ", self.paint(STRONG, ">"))
            .and_then(|()| out.flush())
            .map_err(OutputError)
    }

    // --- progress ---

    /// A bar that counts bytes; invisible where stderr is no terminal.
    pub(crate) fn byte_bar(&self, total: u64) -> Progress<'_> {
        let style = "  {bytes} / {total_bytes} [{bar:40}] {percent}% {elapsed}";
        self.start(ProgressBar::new(total), style)
    }

    /// A turning wheel with a word beside it.
    pub(crate) fn wheel(&self, word: &'static str) -> Progress<'_> {
        let progress = self.start(ProgressBar::new_spinner(), "   {spinner} {msg} {elapsed}");
        progress.bar.set_message(word);
        progress
    }

    fn start(&self, bar: ProgressBar, template: &str) -> Progress<'_> {
        let target = if self.terminals.stderr {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        bar.set_draw_target(target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.progress_chars("=> "));
        }
        self.live.replace(Some(bar.clone()));
        Progress { bar, ui: self }
    }

    fn above_progress<T>(&self, write: impl FnOnce() -> T) -> T {
        let live = self.live.borrow().clone();
        match live {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }
}

fn read_answer(what: &str) -> Result<String, PromptError> {
    let mut answer = String::new();
    let mut limited = io::Read::take(io::stdin().lock(), LONGEST_ANSWER);
    match limited.read_line(&mut answer).map_err(PromptError::Read)? {
        0 => Err(PromptError::NoAnswer {
            what: what.to_owned(),
        }),
        _ => Ok(answer),
    }
}

/// While it lives the terminal does not show what is typed.
struct HiddenInput {
    before: Termios,
}

// === impl HiddenInput ===

impl HiddenInput {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // At once and without discarding what was typed ahead.
        tcsetattr(io::stdin(), SetArg::TCSANOW, &hidden)?;
        Ok(Self { before })
    }
}

impl Drop for HiddenInput {
    fn drop(&mut self) {
        // The terminal may have gone away; then there is nothing to restore.
        let _ = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before);
    }
}

/// Something drawn at the bottom of the terminal; it goes away when dropped.
#[derive(Debug)]
pub(crate) struct Progress<'a> {
    bar: ProgressBar,
    ui: &'a Ui,
}

// === impl Progress ===

impl Progress<'_> {
    pub(crate) fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    pub(crate) fn tick(&self) {
        self.bar.tick();
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        // Draws are rationed: without this a quick upload would vanish at 0 %.
        self.bar.force_draw();
        self.bar.finish_and_clear();
        self.ui.live.replace(None);
    }
}

/// Text of others without the control characters that could drive a terminal.
pub(crate) fn printable(text: &str) -> String {
    if !text.chars().any(char::is_control) {
        return text.to_owned();
    }
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\t' && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

/// A log line: the colours that its writer chose stay, everything else that could drive a terminal
/// goes.
pub(crate) fn log_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_control() && c != '\t') {
        safe.push_str(&rest[..at]);
        let length = color_sequence(&rest[at..]);
        if length > 0 {
            safe.push_str(&rest[at..at + length]);
            rest = &rest[at + length..];
        } else {
            safe.push('\u{fffd}');
            let mut letters = rest[at..].chars();
            letters.next();
            rest = letters.as_str();
        }
    }
    safe.push_str(rest);
    safe
}

/// How many bytes `ESC [ digits ; digits m` takes at the start of the text; 0 when it is not one.
fn color_sequence(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else {
        return 0;
    };
    let end = parameters
        .find(|c: char| !c.is_ascii_digit() && c != ';')
        .unwrap_or(0);
    if parameters[end..].starts_with('m') {
        2 + end + 1
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_keep_their_colours_and_nothing_else() {
        assert_eq!(log_text("\x1b[1;31mred\x1b[m\tx"), "\x1b[1;31mred\x1b[m\tx");
        assert_eq!(
            log_text("\x1b]0;title\x07\x1b[2J"),
            "\u{fffd}]0;title\u{fffd}\u{fffd}[2J"
        );
        assert_eq!(log_text("\x1b[3"), "\u{fffd}[3");
        assert_eq!(log_text("\u{9b}31mü"), "\u{fffd}31mü");
    }

    #[test]
    fn text_of_others_cannot_drive_the_terminal() {
        assert_eq!(printable("plain ü"), "plain ü");
        assert_eq!(printable("a\x1b[2Jb\r"), "a\u{fffd}[2Jb\u{fffd}");
        assert_eq!(printable("a\tb\nc"), "a\tb\nc");
    }
}
