//! What the process finds around itself: environment, terminals, working folder. Read once, at
//! the edge; nothing below looks at the environment again.

use std::env;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::time::Duration;

/// How long staging may take when `CUP_STAGING_TIMEOUT` does not say.
const STAGING_TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// How long the first instance may take when `CUP_STARTUP_TIMEOUT` does not say.
const STARTUP_TIMEOUT: Duration = Duration::from_secs(5 * 60);
/// Longest wait that can be asked for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 3600);

/// An environment variable that `cup` reads holds something it cannot use.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SurroundingsError {
    #[error("{name}={value:?} is not a duration: write minutes (15) or a unit (90s, 5m, 1h)")]
    BadDuration { name: &'static str, value: String },
    #[error("{name}={value:?} is neither true nor false")]
    BadSwitch { name: &'static str, value: String },
    #[error("there is no place to keep state: neither CUP_HOME nor HOME is set")]
    NoHome,
    #[error("cannot tell the working folder")]
    NoWorkingDir(#[source] std::io::Error),
}

/// Where the requests and responses are written, for `CUP_TRACE` and `-v`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TraceTo {
    Nowhere,
    Stderr,
    File(PathBuf),
}

/// Which of the standard streams are terminals.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terminals {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct Surroundings {
    /// Folder of the state that one command leaves for the next.
    pub(crate) home: PathBuf,
    pub(crate) working_dir: PathBuf,
    pub(crate) trace: TraceTo,
    pub(crate) color: bool,
    pub(crate) terminals: Terminals,
    pub(crate) staging_timeout: Duration,
    pub(crate) startup_timeout: Duration,
    /// `CUP_USERNAME` and `CUP_PASSWORD`, for `auth` without arguments.
    pub(crate) username: Option<String>,
    pub(crate) password: Option<String>,
}

// === impl Surroundings ===

impl Surroundings {
    pub(crate) fn read() -> Result<Self, SurroundingsError> {
        let terminals = Terminals {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        };
        Ok(Self {
            home: home()?,
            working_dir: env::current_dir().map_err(SurroundingsError::NoWorkingDir)?,
            trace: trace(text("CUP_TRACE")),
            color: color(text("CUP_COLOR"), text("NO_COLOR"), terminals.stdout)?,
            terminals,
            staging_timeout: timeout("CUP_STAGING_TIMEOUT", STAGING_TIMEOUT)?,
            startup_timeout: timeout("CUP_STARTUP_TIMEOUT", STARTUP_TIMEOUT)?,
            username: text("CUP_USERNAME"),
            password: text("CUP_PASSWORD"),
        })
    }

    /// With `-v` on the command line, requests are shown as with `CUP_TRACE=true`.
    pub(crate) fn with_verbosity(mut self, verbose: bool) -> Self {
        if verbose && self.trace == TraceTo::Nowhere {
            self.trace = TraceTo::Stderr;
        }
        self
    }
}

/// A variable that is set to the empty text counts as not set.
fn text(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

fn home() -> Result<PathBuf, SurroundingsError> {
    if let Some(home) = env::var_os("CUP_HOME").filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(home));
    }
    let home = env::var_os("HOME")
        .filter(|v| !v.is_empty())
        .ok_or(SurroundingsError::NoHome)?;
    Ok(PathBuf::from(home).join(".cup"))
}

fn switch(name: &'static str, value: &str) -> Result<bool, SurroundingsError> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(SurroundingsError::BadSwitch {
            name,
            value: value.to_owned(),
        }),
    }
}

fn trace(value: Option<String>) -> TraceTo {
    match value.as_deref() {
        None => TraceTo::Nowhere,
        Some(value) => match switch("CUP_TRACE", value) {
            Ok(true) => TraceTo::Stderr,
            Ok(false) => TraceTo::Nowhere,
            Err(_) => TraceTo::File(PathBuf::from(value)),
        },
    }
}

/// `CUP_COLOR` decides; without it colours need a terminal and no `NO_COLOR`.
fn color(
    wish: Option<String>,
    no_color: Option<String>,
    terminal: bool,
) -> Result<bool, SurroundingsError> {
    match wish {
        Some(wish) => switch("CUP_COLOR", &wish),
        None => Ok(terminal && no_color.is_none()),
    }
}

fn timeout(name: &'static str, default: Duration) -> Result<Duration, SurroundingsError> {
    match text(name) {
        None => Ok(default),
        Some(value) => duration(&value).ok_or(SurroundingsError::BadDuration {
            name,
            value: value.clone(),
        }),
    }
}

/// Reads `15` (minutes, as in `cf`), `90s`, `5m` or `1h`; nothing above a day, nothing of zero.
fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    let (digits, unit_seconds) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(digits) if text.ends_with('s') => (digits, 1),
        Some(digits) if text.ends_with('h') => (digits, 3600),
        Some(digits) => (digits, 60),
        None => (text, 60),
    };
    let seconds = digits.parse::<u32>().ok()?.checked_mul(unit_seconds)?;
    let duration = Duration::from_secs(u64::from(seconds));
    (duration > Duration::ZERO && duration <= LONGEST_TIMEOUT).then_some(duration)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn a_bare_timeout_counts_minutes() {
        assert_eq!(duration("15"), Some(Duration::from_secs(900)));
        assert_eq!(duration("90s"), Some(Duration::from_secs(90)));
        assert_eq!(duration("5m"), Some(Duration::from_secs(300)));
        assert_eq!(duration("1h"), Some(Duration::from_secs(3600)));
        for bad in ["", "0", "x", "-1", "1.5", "5d", "99999999999h", "25h", "s"] {
            assert_eq!(duration(bad), None, "{bad:?} was accepted");
        }
    }

    #[test]
    fn colours_need_a_terminal_unless_asked_for() {
        assert!(color(None, None, true).unwrap());
        assert!(!color(None, None, false).unwrap());
        assert!(!color(None, Some("1".into()), true).unwrap());
        assert!(color(Some("true".into()), Some("1".into()), false).unwrap());
        assert!(!color(Some("false".into()), None, true).unwrap());
        assert!(color(Some("maybe".into()), None, true).is_err());
    }

    #[test]
    fn a_trace_goes_nowhere_to_stderr_or_into_a_file() {
        assert_eq!(trace(None), TraceTo::Nowhere);
        assert_eq!(trace(Some("false".into())), TraceTo::Nowhere);
        assert_eq!(trace(Some("TRUE".into())), TraceTo::Stderr);
        assert_eq!(trace(Some("/tmp/t".into())), TraceTo::File("/tmp/t".into()));
    }
}
