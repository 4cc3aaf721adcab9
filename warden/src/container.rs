//! Handles to a container and to a process in it.

use std::{
    fmt,
    net::Ipv4Addr,
    os::fd::{AsFd, BorrowedFd},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    ContainerId, Ended, Events, Exit, Info, Pack, PackReport, ProcessId, ProcessSpec, Result,
    Unpack, UnpackReport, WardenError,
    client::Conversation,
    depot::Inner,
    launch::Launch,
    wire::{Answer, Request},
};

/// How long a supervisor may take to answer what it can answer at once.
const SOON: Duration = Duration::from_secs(10);
/// How long the kernel may take to end everything after a KILL.
const KILLED_WITHIN: Duration = Duration::from_secs(10);
/// The most a packer or unpacker has to say.
const REPORT_MAX: usize = 16 * 1024;

/// A container. Cheap to clone; dropping it leaves the container alone.
#[derive(Clone)]
pub struct Container {
    depot: Arc<Inner>,
    launch: Arc<Launch>,
    dir: PathBuf,
}

/// A process in a container. Dropping it leaves the process alone.
#[derive(Clone, Debug)]
pub struct Process {
    container: Container,
    id: ProcessId,
}

// === impl Container ===

impl Container {
    pub(crate) fn new(depot: Arc<Inner>, launch: Arc<Launch>) -> Self {
        let dir = depot.container_dir(&launch.spec.id);
        Self { depot, launch, dir }
    }

    /// Its name.
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        &self.launch.spec.id
    }

    /// Its address, when it has a network of its own. Dial it from the host at any port.
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.launch.cable.as_ref().map(|cable| cable.inside)
    }

    /// The host's end of its cable: how the container reaches the host.
    #[must_use]
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        self.launch.cable.as_ref().map(|cable| cable.outside)
    }

    /// The uid and gid of its processes as the host sees it.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.launch.uid
    }

    /// Its folder in the depot.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Starts a process; returns when the program is running.
    ///
    /// # Errors
    /// [`WardenError::Refused`] with the step that failed ("exec": no such program).
    pub fn run(&self, spec: &ProcessSpec) -> Result<Process> {
        spec.check()?;
        let mut talk = Conversation::open(self.id(), &self.dir)?;
        talk.send(&Request::Run(spec.clone()), &[])?;
        self.started(&mut talk, "run a process")
    }

    /// A process that was run before, by its number (see [`Info::processes`]).
    #[must_use]
    pub fn process(&self, id: ProcessId) -> Process {
        Process {
            container: self.clone(),
            id,
        }
    }

    /// Places an archive inside: see [`Unpack`] for what is refused. Blocks until done.
    ///
    /// # Errors
    /// [`WardenError::Refused`] naming the entry that was refused; what came before it is left.
    pub fn unpack(
        &self,
        archive: impl AsFd,
        unpack: &Unpack,
        within: Duration,
    ) -> Result<UnpackReport> {
        crate::spec::check_absolute("target", &unpack.target)?;
        let request = Request::Unpack(unpack.clone());
        self.carry(&request, archive.as_fd(), "unpack an archive", within)
    }

    /// Reads a folder inside into a gzip'd archive, written to `archive`. Blocks until done.
    ///
    /// # Errors
    /// [`WardenError::Refused`] naming the path at fault or the limit that was hit.
    pub fn pack(&self, pack: &Pack, archive: impl AsFd, within: Duration) -> Result<PackReport> {
        crate::spec::check_absolute("source", &pack.source)?;
        self.carry(
            &Request::Pack(pack.clone()),
            archive.as_fd(),
            "pack a folder",
            within,
        )
    }

    /// Everything about it, live.
    ///
    /// # Errors
    /// [`WardenError::Lost`] when its supervisor is gone.
    pub fn info(&self) -> Result<Info> {
        match Conversation::ask(
            self.id(),
            &self.dir,
            "tell about itself",
            &Request::Info,
            SOON,
        )? {
            Answer::Info(mut info) => {
                info.properties = crate::launch::read_properties(&self.dir);
                Ok(*info)
            }
            other => Err(self.unexpected(&other)),
        }
    }

    /// TERM to every process, KILL to what is left after `grace`; returns when nothing runs inside.
    /// The container remains, with its last output, until [`Container::destroy`].
    ///
    /// # Errors
    /// [`WardenError::Lost`] when its supervisor is gone (then nothing runs inside either).
    pub fn stop(&self, grace: Duration) -> Result<Ended> {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        let request = Request::Stop { grace_ms };
        let within = grace.saturating_add(KILLED_WITHIN);
        match Conversation::ask(self.id(), &self.dir, "stop", &request, within)? {
            Answer::Ended(ended) => Ok(ended),
            other => Err(self.unexpected(&other)),
        }
    }

    /// Replaces the owner's notes.
    ///
    /// # Errors
    /// [`WardenError::Io`] when they cannot be written.
    pub fn set_properties(
        &self,
        properties: &std::collections::BTreeMap<String, String>,
    ) -> Result<()> {
        crate::launch::write_properties(&self.dir, properties)
    }

    /// Kills what runs inside and removes everything of it: processes, cgroups, network, files.
    /// Files go to the depot's trash and are removed in the background. Idempotent.
    ///
    /// # Errors
    /// When something cannot be removed; [`crate::Depot::sweep`] will try again.
    pub fn destroy(&self) -> Result<()> {
        // A supervisor that does not answer is killed by the depot.
        let asked = Conversation::ask(self.id(), &self.dir, "end", &Request::Destroy, SOON);
        self.depot.remove(self.id(), asked.is_ok())
    }

    fn started(&self, talk: &mut Conversation, operation: &'static str) -> Result<Process> {
        match talk.answer(operation, SOON)? {
            Answer::Started { process } => Ok(self.process(process)),
            other => Err(self.unexpected(&other)),
        }
    }

    fn carry<T: serde::de::DeserializeOwned>(
        &self,
        request: &Request,
        archive: BorrowedFd<'_>,
        operation: &'static str,
        within: Duration,
    ) -> Result<T> {
        let mut talk = Conversation::open(self.id(), &self.dir)?;
        talk.send(request, &[archive])?;
        let process = self.started(&mut talk, operation)?;
        drop(talk);
        let collected = process.attach(0)?.collect(REPORT_MAX, within);
        if matches!(collected, Err(WardenError::Deadline { .. })) {
            // It must not go on writing behind the back of somebody who gave up.
            process.signal(nix::libc::SIGKILL)?;
        }
        let (said, exit) = collected?;
        let refused = |step: &str, message: String| WardenError::Refused {
            id: self.id().clone(),
            operation,
            step: step.to_owned(),
            message,
        };
        if !exit.success() {
            let said = String::from_utf8_lossy(&said).trim().to_owned();
            let message = if said.is_empty() {
                exit.to_string()
            } else {
                said
            };
            return Err(refused("archive", message));
        }
        serde_json::from_slice(&said).map_err(|error| refused("report", error.to_string()))
    }

    fn unexpected(&self, answer: &Answer) -> WardenError {
        WardenError::Protocol {
            id: self.id().clone(),
            what: format!("unexpected {answer:?}"),
        }
    }
}

impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Container")
            .field("id", self.id())
            .field("dir", &self.dir)
            .finish()
    }
}

// === impl Process ===

impl Process {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// The container it is in.
    #[must_use]
    pub fn container(&self) -> &Container {
        &self.container
    }

    /// Follows it from byte `from` of its output on (0: all that is kept).
    ///
    /// # Errors
    /// [`WardenError::Refused`] when there is no such process.
    pub fn attach(&self, from: u64) -> Result<Events> {
        let mut talk = Conversation::open(self.container.id(), &self.container.dir)?;
        talk.send(
            &Request::Attach {
                process: self.id,
                from,
            },
            &[],
        )?;
        match talk.answer("attach", SOON)? {
            Answer::Attached => Ok(Events::new(talk)),
            other => Err(self.container.unexpected(&other)),
        }
    }

    /// Waits until it is gone.
    ///
    /// # Errors
    /// [`WardenError::Deadline`] when it still runs after `within`.
    pub fn wait(&self, within: Duration) -> Result<Exit> {
        // Only what comes from now on: output that is kept is of no interest here.
        self.attach(u64::MAX)?
            .collect(0, within)
            .map(|(_, exit)| exit)
    }

    /// Sends a signal to it and its process group.
    ///
    /// # Errors
    /// [`WardenError::Refused`] when it is gone.
    pub fn signal(&self, signal: i32) -> Result<()> {
        let container = &self.container;
        let request = Request::Signal {
            process: self.id,
            signal,
        };
        match Conversation::ask(container.id(), &container.dir, "signal", &request, SOON)? {
            Answer::Done => Ok(()),
            other => Err(container.unexpected(&other)),
        }
    }
}
