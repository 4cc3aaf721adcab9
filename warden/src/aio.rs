//! The same handles for tokio programs.
//!
//! Calls that the kernel or a supervisor answers at once run on tokio's blocking pool; following a
//! process is a socket on the reactor and holds no thread.

use std::{
    collections::BTreeMap, fs::File, net::Ipv4Addr, os::unix::net::UnixStream as StdStream,
    time::Duration,
};

use tokio::{io::AsyncReadExt as _, net::UnixStream};

use crate::{
    ContainerId, ContainerSpec, DepotConfig, Ended, Event, Exit, Facilities, Info, Pack,
    PackReport, ProcessId, ProcessSpec, Result, Swept, Unpack, UnpackReport, WardenError,
    client::lost, wire::Frames,
};

/// See [`crate::Depot`].
#[derive(Clone, Debug)]
pub struct Depot(crate::Depot);

/// See [`crate::Container`].
#[derive(Clone, Debug)]
pub struct Container(crate::Container);

/// See [`crate::Process`].
#[derive(Clone, Debug)]
pub struct Process(crate::Process);

/// See [`crate::Events`].
#[derive(Debug)]
pub struct Events {
    id: ContainerId,
    stream: UnixStream,
    frames: Frames,
    done: bool,
}

/// See [`crate::Recovered`].
#[derive(Debug)]
pub enum Recovered {
    /// Its supervisor answers.
    Attached {
        /// The container.
        container: Container,
        /// Everything about it.
        info: Box<Info>,
    },
    /// It ended and its supervisor has left; destroy it when handled.
    Exited {
        /// The container.
        container: Container,
        /// How it ended.
        ended: Ended,
        /// The owner's notes.
        properties: BTreeMap<String, String>,
    },
    /// It was killed with its supervisor; it is swept already.
    Lost {
        /// Which one.
        id: ContainerId,
        /// The owner's notes, when they were readable.
        properties: BTreeMap<String, String>,
    },
}

/// See [`crate::probe()`].
///
/// # Errors
/// As there.
pub async fn probe(config: &DepotConfig) -> Result<Facilities> {
    let config = config.clone();
    blocking(move || crate::probe(&config)).await
}

// === impl Depot ===

impl Depot {
    /// See [`crate::Depot::open`].
    ///
    /// # Errors
    /// As there.
    pub async fn open(config: DepotConfig) -> Result<Self> {
        blocking(move || crate::Depot::open(config)).await.map(Self)
    }

    /// The blocking handle.
    #[must_use]
    pub fn blocking(&self) -> &crate::Depot {
        &self.0
    }

    /// See [`crate::Depot::create`]. When cancelled, the container may come to be nevertheless.
    ///
    /// # Errors
    /// As there.
    pub async fn create(&self, spec: ContainerSpec) -> Result<Container> {
        let depot = self.0.clone();
        blocking(move || depot.create(spec)).await.map(Container)
    }

    /// See [`crate::Depot::container`].
    ///
    /// # Errors
    /// As there.
    pub async fn container(&self, id: &ContainerId) -> Result<Container> {
        let (depot, id) = (self.0.clone(), id.clone());
        blocking(move || depot.container(&id)).await.map(Container)
    }

    /// See [`crate::Depot::recover`].
    ///
    /// # Errors
    /// As there.
    pub async fn recover(&self) -> Result<Vec<Recovered>> {
        let depot = self.0.clone();
        let found = blocking(move || depot.recover()).await?;
        Ok(found.into_iter().map(Recovered::from).collect())
    }

    /// See [`crate::Depot::sweep`].
    ///
    /// # Errors
    /// As there.
    pub async fn sweep(&self) -> Result<Swept> {
        let depot = self.0.clone();
        blocking(move || depot.sweep()).await
    }
}

// === impl Container ===

impl Container {
    /// The blocking handle.
    #[must_use]
    pub fn blocking(&self) -> &crate::Container {
        &self.0
    }

    /// See [`crate::Container::id`].
    #[must_use]
    pub fn id(&self) -> &ContainerId {
        self.0.id()
    }

    /// See [`crate::Container::address`].
    #[must_use]
    pub fn address(&self) -> Option<Ipv4Addr> {
        self.0.address()
    }

    /// See [`crate::Container::host_address`].
    #[must_use]
    pub fn host_address(&self) -> Option<Ipv4Addr> {
        self.0.host_address()
    }

    /// See [`crate::Container::uid`].
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.0.uid()
    }

    /// See [`crate::Container::run`].
    ///
    /// # Errors
    /// As there.
    pub async fn run(&self, spec: ProcessSpec) -> Result<Process> {
        let container = self.0.clone();
        blocking(move || container.run(&spec)).await.map(Process)
    }

    /// See [`crate::Container::process`].
    #[must_use]
    pub fn process(&self, id: ProcessId) -> Process {
        Process(self.0.process(id))
    }

    /// See [`crate::Container::unpack`].
    ///
    /// # Errors
    /// As there.
    pub async fn unpack(
        &self,
        archive: File,
        unpack: Unpack,
        within: Duration,
    ) -> Result<UnpackReport> {
        let container = self.0.clone();
        blocking(move || container.unpack(&archive, &unpack, within)).await
    }

    /// See [`crate::Container::pack`].
    ///
    /// # Errors
    /// As there.
    pub async fn pack(&self, pack: Pack, archive: File, within: Duration) -> Result<PackReport> {
        let container = self.0.clone();
        blocking(move || container.pack(&pack, &archive, within)).await
    }

    /// See [`crate::Container::info`].
    ///
    /// # Errors
    /// As there.
    pub async fn info(&self) -> Result<Info> {
        let container = self.0.clone();
        blocking(move || container.info()).await
    }

    /// See [`crate::Container::stop`].
    ///
    /// # Errors
    /// As there.
    pub async fn stop(&self, grace: Duration) -> Result<Ended> {
        let container = self.0.clone();
        blocking(move || container.stop(grace)).await
    }

    /// See [`crate::Container::set_properties`].
    ///
    /// # Errors
    /// As there.
    pub async fn set_properties(&self, properties: BTreeMap<String, String>) -> Result<()> {
        let container = self.0.clone();
        blocking(move || container.set_properties(&properties)).await
    }

    /// See [`crate::Container::destroy`].
    ///
    /// # Errors
    /// As there.
    pub async fn destroy(&self) -> Result<()> {
        let container = self.0.clone();
        blocking(move || container.destroy()).await
    }
}

// === impl Process ===

impl Process {
    /// Its number.
    #[must_use]
    pub fn id(&self) -> ProcessId {
        self.0.id()
    }

    /// See [`crate::Process::attach`].
    ///
    /// # Errors
    /// As there.
    pub async fn attach(&self, from: u64) -> Result<Events> {
        let process = self.0.clone();
        let (id, stream, frames) = blocking(move || {
            let (id, stream, frames) = process.attach(from)?.into_talk().into_parts();
            prepare(&stream).map_err(lost(&id, "attach"))?;
            Ok::<_, WardenError>((id, stream, frames))
        })
        .await?;
        let stream = UnixStream::from_std(stream).map_err(lost(&id, "attach"))?;
        Ok(Events {
            id,
            stream,
            frames,
            done: false,
        })
    }

    /// See [`crate::Process::wait`].
    ///
    /// # Errors
    /// As there.
    pub async fn wait(&self, within: Duration) -> Result<Exit> {
        let late = || WardenError::Deadline {
            id: self.0.container().id().clone(),
            operation: "exit",
            after: within,
        };
        let follow = async {
            let mut events = self.attach(u64::MAX).await?;
            while let Some(event) = events.next().await? {
                if let Event::Exited(exit) = event {
                    return Ok(exit);
                }
            }
            Err(events.unexpected("the end before the exit"))
        };
        tokio::time::timeout(within, follow)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    /// See [`crate::Process::signal`].
    ///
    /// # Errors
    /// As there.
    pub async fn signal(&self, signal: i32) -> Result<()> {
        let process = self.0.clone();
        blocking(move || process.signal(signal)).await
    }
}

// === impl Events ===

impl Events {
    /// The next event, or `None` after [`Event::Exited`]. Waits without end: a process may be
    /// silent for years. Cancel-safe.
    ///
    /// # Errors
    /// [`WardenError::Lost`] when the supervisor died, and the container with it.
    pub async fn next(&mut self) -> Result<Option<Event>> {
        if self.done {
            return Ok(None);
        }
        loop {
            let heard = self
                .frames
                .next_heard()
                .map_err(|e| self.unexpected(&e.to_string()))?;
            if let Some(heard) = heard {
                let event = heard
                    .into_event()
                    .map_err(|answer| self.unexpected(&format!("{answer:?}")))?;
                self.done = matches!(event, Event::Exited(_));
                return Ok(Some(event));
            }
            // On the heap, so that the future stays small.
            let mut buffer = vec![0; 16 * 1024];
            let doing = "tell about a process";
            match self
                .stream
                .read(&mut buffer)
                .await
                .map_err(lost(&self.id, doing))?
            {
                0 => {
                    let end = std::io::ErrorKind::UnexpectedEof.into();
                    return Err(lost(&self.id, doing)(end));
                }
                count => self.frames.feed(&buffer[..count]),
            }
        }
    }

    fn unexpected(&self, what: &str) -> WardenError {
        WardenError::Protocol {
            id: self.id.clone(),
            what: format!("unexpected {what}"),
        }
    }
}

impl From<crate::Recovered> for Recovered {
    fn from(found: crate::Recovered) -> Self {
        match found {
            crate::Recovered::Attached { container, info } => Self::Attached {
                container: Container(container),
                info,
            },
            crate::Recovered::Exited {
                container,
                ended,
                properties,
            } => Self::Exited {
                container: Container(container),
                ended,
                properties,
            },
            crate::Recovered::Lost { id, properties } => Self::Lost { id, properties },
        }
    }
}

fn prepare(stream: &StdStream) -> std::io::Result<()> {
    stream.set_read_timeout(None)?;
    stream.set_nonblocking(true)
}

/// Runs a blocking call on tokio's pool.
async fn blocking<T: Send + 'static>(call: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(call).await {
        Ok(value) => value,
        // The task is never aborted; a panic in it is a panic of ours. When the runtime is being
        // shut down nobody will poll this again.
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => std::future::pending().await,
        },
    }
}
