//! What clients ask for, and the answers.

use std::{
    fs::File,
    io::Write as _,
    os::fd::{AsFd as _, OwnedFd},
    time::Duration,
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::PollFlags,
    sys::{
        memfd::{MFdFlags, memfd_create},
        socket::{getsockopt, sockopt::PeerCredentials},
    },
};

use super::{CLIENTS_MAX, Client, Process, Supervisor, Waiting, complain};
use crate::{
    Ended, Info, ProcessId, ProcessRole,
    inside::{Order, Work},
    wire::{Answer, Request},
};

/// How many processes may run at once by request; what they start themselves is limited by pids.
const RUNNING_MAX: usize = 64;
/// What an archive carrier says is short.
const REPORT_BUFFER: u32 = 16 * 1024;

// === impl Supervisor ===

impl Supervisor {
    pub(super) fn accept(&mut self) {
        let Ok((stream, _)) = self.listener.accept() else {
            return;
        };
        let own = nix::unistd::geteuid().as_raw();
        let trusted = getsockopt(&stream, PeerCredentials).is_ok_and(|peer| peer.uid() == own);
        if trusted && self.clients.len() < CLIENTS_MAX && stream.set_nonblocking(true).is_ok() {
            self.clients.push(Client::new(stream));
        }
    }

    pub(super) fn serve_client(&mut self, index: usize, ready: PollFlags) {
        let Some(client) = self.clients.get_mut(index) else {
            return;
        };
        if ready.contains(PollFlags::POLLOUT) {
            client.flush();
        }
        if !ready.intersects(PollFlags::POLLIN | PollFlags::POLLHUP | PollFlags::POLLERR) {
            return;
        }
        match client.hear() {
            Ok(Some((request, fd))) if !client.is_busy() => self.handle(index, request, fd),
            Ok(None) => {}
            // The other side is gone, or says more than one thing at a time.
            Ok(Some(_)) | Err(_) => client.gone = true,
        }
    }

    fn handle(&mut self, index: usize, request: Request, fd: Option<OwnedFd>) {
        let client = &mut self.clients[index];
        match request {
            Request::Run(spec) => {
                let (name, main) = (spec.name.clone(), spec.role == ProcessRole::Main);
                let buffer = spec.output_buffer;
                match spec.check() {
                    Ok(()) => self.start(index, name, main, buffer, &Work::Exec(spec), None),
                    Err(error) => Self::refuse(client, "spec", error),
                }
            }
            Request::Unpack(unpack) => {
                let work = Work::Unpack(unpack);
                self.start(index, "unpack".to_owned(), false, REPORT_BUFFER, &work, fd);
            }
            Request::Pack(pack) => {
                let work = Work::Pack(pack);
                self.start(index, "pack".to_owned(), false, REPORT_BUFFER, &work, fd);
            }
            Request::Attach {
                process: ProcessId(number),
                from,
            } => match self.processes.get(&number) {
                Some(process) => {
                    client.say(&Answer::Attached);
                    client.follow(number, from.min(process.ring.end()));
                }
                None => Self::refuse(client, "find the process", "there is no such process"),
            },
            Request::Signal {
                process: ProcessId(number),
                signal,
            } => {
                let order = Order::Signal {
                    process: number,
                    signal,
                };
                let runs = self
                    .processes
                    .get(&number)
                    .is_some_and(|p| p.exit.is_none());
                if runs && self.channel.send(&order, &[]).is_ok() {
                    client.waiting = Some(Waiting::Signal(number));
                } else {
                    Self::refuse(client, "find the process", "it does not run");
                }
            }
            Request::Stop { grace_ms } => match self.ended.clone() {
                Some(ended) => client.say(&Answer::Ended(ended)),
                None => {
                    client.waiting = Some(Waiting::Stop);
                    self.stop(Duration::from_millis(grace_ms.min(86_400_000)));
                }
            },
            Request::Info => {
                let info = self.info();
                self.clients[index].say(&Answer::Info(Box::new(info)));
            }
            Request::Destroy => {
                client.waiting = Some(Waiting::Destroy);
                self.leaving = true;
                if self.ended.is_some() {
                    self.answer_destroyed();
                } else {
                    self.end(crate::EndReason::Stopped);
                }
            }
        }
    }

    fn start(
        &mut self,
        index: usize,
        name: String,
        main: bool,
        buffer: u32,
        work: &Work,
        archive: Option<OwnedFd>,
    ) {
        let number = self.next_process;
        match self.try_start(number, name, main, buffer, work, archive) {
            Ok(process) => {
                self.next_process += 1;
                self.processes.insert(number, process);
                self.clients[index].waiting = Some(Waiting::Start(number));
            }
            Err((step, message)) => Self::refuse(&mut self.clients[index], step, message),
        }
    }

    fn try_start(
        &self,
        number: u32,
        name: String,
        main: bool,
        buffer: u32,
        work: &Work,
        archive: Option<OwnedFd>,
    ) -> Result<Process, (&'static str, String)> {
        if !self.state.can_run() {
            return Err((
                "check the state",
                format!("the container is {:?}", self.state),
            ));
        }
        if main && self.processes.values().any(|process| process.main) {
            return Err(("check the role", "it has a main process already".to_owned()));
        }
        let running = self.processes.values().filter(|p| p.exit.is_none()).count();
        if running >= RUNNING_MAX {
            return Err((
                "check the number",
                format!("{RUNNING_MAX} processes run already"),
            ));
        }
        if !matches!(work, Work::Exec(_)) && archive.is_none() {
            return Err((
                "find the archive",
                "no descriptor came with the request".to_owned(),
            ));
        }
        let fail = |step| move |error: std::io::Error| (step, error.to_string());
        let description = describe(work).map_err(fail("describe the process"))?;
        let (out, out_end) = output_pipe().map_err(fail("make a pipe"))?;
        let (err, err_end) = output_pipe().map_err(fail("make a pipe"))?;
        let mut fds = vec![description.as_fd(), out_end.as_fd(), err_end.as_fd()];
        fds.extend(archive.as_ref().map(|archive| archive.as_fd()));
        self.channel
            .send(&Order::Spawn { process: number }, &fds)
            .map_err(fail("ask pid 1"))?;
        Ok(Process::new(name, main, buffer, out, err))
    }

    pub(super) fn answer_start(&mut self, number: u32, result: Result<(), (String, String)>) {
        let waiting = Some(Waiting::Start(number));
        let Some(client) = self.clients.iter_mut().find(|c| c.waiting == waiting) else {
            // Whoever asked went away before the answer: the process is nobody's.
            if result.is_ok() {
                let signal = nix::libc::SIGKILL;
                let order = Order::Signal {
                    process: number,
                    signal,
                };
                if self.channel.send(&order, &[]).is_err() {
                    complain("cannot reach pid 1");
                }
            }
            return;
        };
        client.waiting = None;
        match result {
            Ok(()) => client.say(&Answer::Started {
                process: ProcessId(number),
            }),
            Err((step, message)) => client.say(&Answer::Failed { step, message }),
        }
    }

    pub(super) fn answer_signal(&mut self, number: u32, reached: bool) {
        let waiting = Some(Waiting::Signal(number));
        let Some(client) = self.clients.iter_mut().find(|c| c.waiting == waiting) else {
            return;
        };
        client.waiting = None;
        if reached {
            client.say(&Answer::Done);
        } else {
            Self::refuse(client, "send the signal", "it does not run");
        }
    }

    /// Tells those who wait for the end; whatever else was asked will not happen.
    pub(super) fn answer_ended(&mut self, ended: &Ended) {
        for client in &mut self.clients {
            match client.waiting {
                Some(Waiting::Stop) => client.say(&Answer::Ended(ended.clone())),
                Some(Waiting::Start(_) | Waiting::Signal(_)) => {
                    Self::refuse(client, "ask pid 1", "the container has ended");
                }
                Some(Waiting::Destroy) | None => continue,
            }
            client.waiting = None;
        }
    }

    /// Tells those who asked for the end of everything, just before it.
    pub(super) fn answer_destroyed(&mut self) {
        for client in &mut self.clients {
            if client.waiting == Some(Waiting::Destroy) {
                client.waiting = None;
                client.say(&Answer::Done);
                client.flush();
            }
        }
    }

    fn info(&self) -> Info {
        let launch = &self.launch;
        Info {
            id: launch.spec.id.clone(),
            state: self.state,
            ended: self.ended.clone(),
            processes: self
                .processes
                .iter()
                .map(|(number, p)| p.info(*number))
                .collect(),
            uid: launch.uid,
            network: launch.spec.network,
            address: launch.cable.as_ref().map(|cable| cable.inside),
            host_address: launch.cable.as_ref().map(|cable| cable.outside),
            disk_mode: launch.spec.limits.disk_mode,
            nofile: self.nofile,
            supervisor_pid: std::process::id(),
            init_pid: self.init.as_raw().unsigned_abs(),
            created_at_ms: launch.created_at_ms,
            dropped_bytes: self.dropped_bytes,
            properties: std::collections::BTreeMap::new(),
            stats: self.stats(),
        }
    }
}

/// A description as a file without a name, because it may be larger than a message.
fn describe(work: &Work) -> std::io::Result<File> {
    let mut file = File::from(memfd_create(c"process", MFdFlags::MFD_CLOEXEC)?);
    file.write_all(&serde_json::to_vec(work)?)?;
    Ok(file)
}

/// A pipe whose reading end does not block.
fn output_pipe() -> std::io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, writer))
}
