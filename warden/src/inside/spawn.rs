//! Starting something inside: fork, become the app's user with nothing to its name, then either
//! exec a program or carry an archive.

use std::{
    convert::Infallible,
    ffi::{CString, NulError},
    fs::File,
    io::{self, Read as _, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::FileExt as _,
    },
    path::Path,
    time::Duration,
};

use nix::{
    errno::Errno,
    libc::sock_filter,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        resource::{Resource, setrlimit},
        signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, Signal, sigprocmask},
        stat::{Mode, umask},
    },
    unistd::{Gid, Pid, Uid, setgroups, setresgid, setresuid, setsid},
};
use serde::{Deserialize, Serialize};

use super::{Step as _, StepError};
use crate::{
    Pack, ProcessSpec, Unpack, archive,
    launch::Launch,
    sys::{self, Forked},
};

/// What is to be done by a new process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Work {
    Exec(ProcessSpec),
    Unpack(Unpack),
    Pack(Pack),
}

/// What every new process needs to know.
pub(super) struct Task<'a> {
    pub(super) launch: &'a Launch,
    pub(super) filter: &'a [sock_filter],
    pub(super) nofile: u64,
    pub(super) null: &'a File,
}

/// What a process is given: where its output goes and what it carries.
struct Hands {
    work: Work,
    out: OwnedFd,
    err: OwnedFd,
    archive: Option<OwnedFd>,
}

/// The first of these that a program is found in, when its environment names no `PATH`.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";
/// How long an exec may take: the program's file may have to come from a slow disk.
const EXEC_WITHIN: Duration = Duration::from_secs(20);
/// The kernel's OOM killer takes apps before anything of the platform.
const OOM_SCORE: &[u8] = b"300";

/// Starts what the first descriptor describes; returns when the program runs.
pub(super) fn start(task: &Task<'_>, fds: Vec<OwnedFd>) -> Result<Pid, StepError> {
    let hands = Hands::from(fds)?;
    let (heard, told) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).step("make a pipe")?;
    match sys::fork().step("fork")? {
        Forked::Child => {
            drop(heard);
            let mut told = File::from(told);
            let code = match become_work(task, hands) {
                Ok(carry) => {
                    // As exec would, this tells that it runs.
                    drop(told);
                    carry()
                }
                Err(error) => {
                    let errno = error.source.raw_os_error().unwrap_or(0);
                    // Without a reader there is nobody to tell.
                    let _ = told.write_all(format!("{errno} {error}").as_bytes());
                    127
                }
            };
            std::process::exit(code)
        }
        Forked::Parent(pid) => {
            drop(told);
            let failure = hear_failure(heard.into(), EXEC_WITHIN).step("exec");
            match failure {
                Ok(None) => Ok(pid),
                Ok(Some(error)) => {
                    let _ = nix::sys::wait::waitpid(pid, None);
                    Err(error)
                }
                Err(error) => {
                    sys::kill(pid.as_raw(), nix::libc::SIGKILL);
                    let _ = nix::sys::wait::waitpid(pid, None);
                    Err(error)
                }
            }
        }
    }
}

/// What the child says before its end of the pipe is closed by exec: nothing when all is well.
fn hear_failure(from: File, within: Duration) -> io::Result<Option<StepError>> {
    let timeout = PollTimeout::try_from(within.as_millis()).unwrap_or(PollTimeout::MAX);
    let mut fds = [PollFd::new(from.as_fd(), PollFlags::POLLIN)];
    if poll(&mut fds, timeout)? == 0 {
        return Err(io::ErrorKind::TimedOut.into());
    }
    let mut said = String::new();
    from.take(4096).read_to_string(&mut said)?;
    if said.is_empty() {
        return Ok(None);
    }
    let (errno, text) = said.split_once(' ').unwrap_or(("0", &said));
    let step = text
        .split_once(": ")
        .map_or(text, |(step, _)| step)
        .to_owned();
    let source = match errno.parse() {
        Ok(errno) if errno != 0 => io::Error::from_raw_os_error(errno),
        _ => io::Error::other(text.to_owned()),
    };
    Ok(Some(StepError { step, source }))
}

/// Work that is a function of ours rather than a program; gives an exit code.
type Carry = Box<dyn FnOnce() -> i32>;

/// In the child. Does not return when the work is a program.
fn become_work(task: &Task<'_>, hands: Hands) -> Result<Carry, StepError> {
    setsid().step("make a session")?;
    nix::unistd::dup2_stdin(task.null).step("set stdin")?;
    nix::unistd::dup2_stdout(&hands.out).step("set stdout")?;
    nix::unistd::dup2_stderr(&hands.err).step("set stderr")?;
    reset_signals()?;
    limit(Resource::RLIMIT_CORE, 0)?;
    limit(Resource::RLIMIT_NOFILE, task.nofile)?;
    let score = File::options().write(true).open("/proc/self/oom_score_adj");
    score
        .and_then(|file| file.write_all_at(OOM_SCORE, 0))
        .step("set the OOM score")?;
    become_nobody_special(task.launch.uid)?;
    match hands.work {
        Work::Exec(spec) => exec(task, &spec).map(|never| match never {}),
        Work::Unpack(unpack) => carry(task, hands.archive, move |archive| {
            archive::unpack(archive, &unpack).and_then(|report| say(&report))
        }),
        Work::Pack(pack) => carry(task, hands.archive, move |archive| {
            archive::pack(&pack, archive).and_then(|report| say(&report))
        }),
    }
}

fn reset_signals() -> Result<(), StepError> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // Rust programs ignore SIGPIPE, and the supervisor SIGHUP; a program expects neither.
    for signal in [Signal::SIGPIPE, Signal::SIGHUP] {
        sys::set_signal(signal, &default).step("reset signals")?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).step("unblock signals")
}

fn limit(resource: Resource, value: u64) -> Result<(), StepError> {
    setrlimit(resource, value, value).step(format!("limit {resource:?}"))
}

/// From pid 1's root to a user with no name elsewhere and no capability at all.
fn become_nobody_special(uid: u32) -> Result<(), StepError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(uid));
    sys::drop_bounding(0).step("drop capabilities for good")?;
    setgroups(&[]).step("leave all groups")?;
    setresgid(gid, gid, gid).step("set the group")?;
    setresuid(uid, uid, uid).step("set the user")?;
    sys::keep_capabilities(0).step("drop capabilities")?;
    sys::lock_privileges().step("lock privileges")
}

fn exec(task: &Task<'_>, spec: &ProcessSpec) -> Result<Infallible, StepError> {
    umask(Mode::from_bits_truncate(spec.umask));
    std::env::set_current_dir(&spec.cwd).step(format!("enter {}", spec.cwd.display()))?;
    let env = merged_env(&task.launch.spec.env, &spec.env);
    let path = env
        .iter()
        .find(|(key, _)| *key == "PATH")
        .map_or(PATH, |(_, value)| *value);
    let program = spec.argv.first().map_or("", String::as_str);
    let candidates = candidates(program, path);
    let argv = c_strings(spec.argv.iter().map(String::as_str)).step("argv")?;
    let lines: Vec<String> = env
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let environment = c_strings(lines.iter().map(String::as_str)).step("env")?;
    let candidates = c_strings(candidates.iter().map(String::as_str)).step("argv")?;
    sys::set_cloexec_from(3).step("close descriptors")?;
    sys::filter_syscalls(task.filter).step("filter system calls")?;
    let mut worst = Errno::ENOENT;
    for candidate in &candidates {
        let Err(errno) = nix::unistd::execve(candidate, &argv, &environment);
        match errno {
            Errno::ENOENT | Errno::ENOTDIR => {}
            Errno::EACCES => worst = errno,
            other => return Err(other).step(format!("exec {program}")),
        }
    }
    Err(worst).step(format!("exec {program}"))
}

/// Later entries win.
fn merged_env<'a>(
    base: &'a [(String, String)],
    own: &'a [(String, String)],
) -> Vec<(&'a str, &'a str)> {
    let mut merged: Vec<(&str, &str)> = Vec::with_capacity(base.len() + own.len());
    for (key, value) in base.iter().chain(own) {
        match merged.iter_mut().find(|(known, _)| known == key) {
            Some(entry) => entry.1 = value,
            None => merged.push((key, value)),
        }
    }
    merged
}

fn candidates(program: &str, path: &str) -> Vec<String> {
    if program.contains('/') {
        return vec![program.to_owned()];
    }
    path.split(':')
        .map(|dir| if dir.is_empty() { "." } else { dir })
        .map(|dir| Path::new(dir).join(program).to_string_lossy().into_owned())
        .collect()
}

fn c_strings<'a>(words: impl Iterator<Item = &'a str>) -> Result<Vec<CString>, io::Error> {
    let words: Result<Vec<CString>, NulError> = words.map(CString::new).collect();
    words.map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a zero byte in a word"))
}

/// Prepares for carrying an archive; what is said about it goes to stdout.
fn carry(
    task: &Task<'_>,
    archive: Option<OwnedFd>,
    work: impl FnOnce(File) -> Result<(), archive::ArchiveError> + 'static,
) -> Result<Carry, StepError> {
    let archive = archive
        .ok_or(io::ErrorKind::InvalidInput)
        .step("find the archive")?;
    nix::unistd::dup2_stdin(&archive).step("take the archive")?;
    sys::filter_syscalls(task.filter).step("filter system calls")?;
    umask(Mode::from_bits_truncate(0o022));
    Ok(Box::new(move || {
        // Pid 1's own descriptors, of which this process is a copy, are none of its business. Those
        // of this function and its callers are closed by now.
        let archive = sys::close_from(3).and_then(|()| io::stdin().as_fd().try_clone_to_owned());
        let result = match archive {
            Ok(archive) => work(archive.into()),
            Err(error) => Err(archive::ArchiveError::io("take the archive", "", error)),
        };
        match result {
            Ok(()) => 0,
            Err(error) => {
                // The reader is gone when nobody cares any more.
                let _ = io::stdout().write_all(error.to_string().as_bytes());
                1
            }
        }
    }))
}

fn say<T: Serialize>(report: &T) -> Result<(), archive::ArchiveError> {
    let text = serde_json::to_vec(report).map_err(io::Error::from);
    text.and_then(|text| io::stdout().write_all(&text))
        .and_then(|()| io::stdout().flush())
        .map_err(|source| archive::ArchiveError::io("write the report", "", source))
}

// === impl Hands ===

impl Hands {
    fn from(fds: Vec<OwnedFd>) -> Result<Self, StepError> {
        let mut fds = fds.into_iter();
        let mut next = || fds.next().ok_or(io::ErrorKind::InvalidInput);
        let description = File::from(next().step("find the description")?);
        let (out, err) = (next().step("find stdout")?, next().step("find stderr")?);
        let length = description.metadata().step("read the description")?.len();
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length > crate::spec::REQUEST_MAX {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge)).step("read the description");
        }
        let mut bytes = vec![0; length];
        description
            .read_exact_at(&mut bytes, 0)
            .step("read the description")?;
        let work = serde_json::from_slice(&bytes).map_err(io::Error::from);
        Ok(Self {
            work: work.step("read the description")?,
            out,
            err,
            archive: fds.next(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{candidates, merged_env};

    #[test]
    fn a_process_overrides_its_container() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let base = [pair("HOME", "/a"), pair("LANG", "C")];
        let own = [pair("HOME", "/b"), pair("PORT", "1"), pair("HOME", "/c")];
        let merged = merged_env(&base, &own);
        assert_eq!(merged, [("HOME", "/c"), ("LANG", "C"), ("PORT", "1")]);
    }

    #[test]
    fn programs_are_searched_as_a_shell_would() {
        assert_eq!(candidates("./run", "/bin"), ["./run"]);
        assert_eq!(candidates("ls", "/a:/b"), ["/a/ls", "/b/ls"]);
    }
}
