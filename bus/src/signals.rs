//! What a running server is told by signals, and how another process tells it.

use std::path::Path;

use anyhow::{Context as _, bail};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{self, SignalKind, signal};

use crate::ports::program;

/// The kernel keeps this much of a program's name.
const COMM: usize = 15;

/// What a signal asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// End now; a terminal or an operator in haste.
    End,
    /// End, unless the end is prepared already (SIGTERM).
    Terminate,
    /// Open the log file again.
    Reopen,
    /// Leave in an orderly way.
    LameDuck,
    /// Read the configuration again.
    Reload,
}

/// The signals of this process.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    quit: unix::Signal,
    terminate: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    hangup: unix::Signal,
}

// === impl Signals ===

impl Signals {
    /// Takes the signals over from the system.
    pub(crate) fn new() -> anyhow::Result<Self> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            terminate: signal(SignalKind::terminate())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one. Nothing is lost when this is given up.
    pub(crate) async fn next(&mut self) -> Wish {
        let (wish, name) = tokio::select! {
            _ = self.interrupt.recv() => (Wish::End, "interrupt"),
            _ = self.quit.recv() => (Wish::End, "quit"),
            _ = self.terminate.recv() => (Wish::Terminate, "terminated"),
            _ = self.user1.recv() => (Wish::Reopen, "user defined signal 1"),
            _ = self.user2.recv() => (Wish::LameDuck, "user defined signal 2"),
            _ = self.hangup.recv() => (Wish::Reload, "hangup"),
        };
        tracing::info!("Trapped {name:?} signal");
        wish
    }
}

/// Sends `signal[=pid]` to a server; to the only one that runs when no pid is given.
///
/// # Errors
/// The signal is unknown, there is no such server, or there are several.
pub(crate) fn send(text: &str) -> anyhow::Result<()> {
    let (command, target) = match text.split_once('=') {
        Some((command, target)) => (command, Some(target)),
        None => (text, None),
    };
    if let Some((_, more)) = target.and_then(|target| target.split_once('=')) {
        bail!("invalid signal parameters: [{more}]");
    }
    let signal = match command {
        "stop" => Signal::SIGKILL,
        "quit" => Signal::SIGINT,
        "term" => Signal::SIGTERM,
        "reopen" => Signal::SIGUSR1,
        "reload" => Signal::SIGHUP,
        "ldm" => Signal::SIGUSR2,
        _ => bail!("unknown signal {command:?}: ldm, stop, quit, term, reopen or reload"),
    };
    for pid in targets(target.unwrap_or_default())? {
        kill(Pid::from_raw(pid), signal).map_err(|errno| match errno {
            Errno::ESRCH => anyhow::anyhow!("signal {command:?} {pid}: no such process"),
            errno => anyhow::anyhow!("signal {command:?} {pid}: {errno}"),
        })?;
    }
    Ok(())
}

/// The processes meant by a pid, a file that holds one, `12*` (all that begin so) or nothing.
fn targets(text: &str) -> anyhow::Result<Vec<i32>> {
    if let Some(prefix) = text.strip_suffix('*') {
        let mut found = servers()?;
        found.retain(|pid| pid.to_string().starts_with(prefix));
        if found.is_empty() {
            bail!("no {} processes running", program());
        }
        return Ok(found);
    }
    if !text.is_empty() {
        return Ok(vec![pid(text)?]);
    }
    let found = servers()?;
    match &found[..] {
        [] => bail!("no {} processes running", program()),
        [_] => Ok(found),
        several => {
            let list: Vec<String> = several.iter().map(i32::to_string).collect();
            bail!(
                "multiple {} processes running:\n{}",
                program(),
                list.join("\n")
            )
        }
    }
}

/// A pid, or that of a file. Only positive ones: the others mean groups of processes.
fn pid(text: &str) -> anyhow::Result<i32> {
    let read = |text: &str| text.trim().parse::<i32>().ok().filter(|pid| *pid > 0);
    if let Some(pid) = read(text) {
        return Ok(pid);
    }
    match std::fs::read_to_string(Path::new(text)) {
        Ok(held) => read(&held).with_context(|| format!("invalid pid in {text}")),
        Err(_) => bail!("invalid pid: {text}"),
    }
}

/// The other processes that run under this program's name.
fn servers() -> anyhow::Result<Vec<i32>> {
    let name = program();
    let mut end = COMM.min(name.len());
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let own = std::process::id().to_string();
    let mut found: Vec<i32> = std::fs::read_dir("/proc")
        .context("unable to resolve pid, try providing one")?
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let number = entry.file_name().into_string().ok()?;
            let pid = number.parse().ok()?;
            let comm = std::fs::read_to_string(entry.path().join("comm")).ok()?;
            (number != own && comm.trim_end() == &name[..end]).then_some(pid)
        })
        .collect();
    found.sort_unstable();
    Ok(found)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn targets_are_numbers_or_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bus.pid");
        std::fs::write(&file, "1234\n").unwrap();
        assert_eq!(targets("77").unwrap(), [77]);
        assert_eq!(targets(file.to_str().unwrap()).unwrap(), [1234]);
        for wrong in ["-1", "0", "/nowhere", "x"] {
            let error = targets(wrong).unwrap_err().to_string();
            assert!(error.contains("invalid pid"), "{error}");
        }
    }

    #[test]
    fn nobody_is_told_what_nobody_knows() {
        let error = send("hurry=1").unwrap_err().to_string();
        assert!(error.starts_with("unknown signal \"hurry\""), "{error}");
        let error = send("ldm=2147483647").unwrap_err().to_string();
        assert_eq!(error, "signal \"ldm\" 2147483647: no such process");
    }
}
