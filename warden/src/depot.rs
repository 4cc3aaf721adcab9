//! A folder of containers, and the names, addresses and uids that belong to it.

mod claim;
mod places;
mod settings;
mod start;
mod sweep;
mod trash;

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Child,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    Container, ContainerId, ContainerSpec, Ended, Info, Result, WardenError,
    cgroup::{Group, Hierarchies},
    launch::{self, Launch},
};
use claim::Claim;
use places::Places;
use trash::Trash;

pub use places::Subnet;
pub use settings::DepotSettings;
pub use sweep::Swept;

/// What a depot needs to know. Start from [`DepotConfig::new`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DepotConfig {
    /// The folder; made when it does not exist. Absolute. Not on an overlay file system.
    pub path: PathBuf,
    /// What its cgroups and cables are called: one to six of `a-z`.
    pub prefix: String,
    /// The `cupola-warden` executable.
    pub warden: PathBuf,
    /// The cgroup, from the root of each hierarchy, below which all depots of the machine live.
    #[serde(default = "defaults::cgroup_parent")]
    pub cgroup_parent: String,
    /// The pool of addresses, shared by all depots of the machine; each claims a block of it.
    #[serde(default = "defaults::subnet")]
    pub subnet: Subnet,
    /// The first uid of the pool shared by all depots; each claims `containers_max` of them.
    #[serde(default = "defaults::uid_base")]
    pub uid_base: u32,
    /// How many containers fit: a power of two. Must be the same for all depots of a machine.
    #[serde(default = "defaults::containers_max")]
    pub containers_max: u32,
    /// Where depots note what they have claimed.
    #[serde(default = "defaults::claims")]
    pub claims: PathBuf,
    /// Name servers for containers; empty: those of the host that a container could reach.
    #[serde(default)]
    pub nameservers: Vec<String>,
}

mod defaults {
    use std::{net::Ipv4Addr, path::PathBuf};

    use super::Subnet;

    pub(super) fn cgroup_parent() -> String {
        "cupola".to_owned()
    }
    pub(super) fn subnet() -> Subnet {
        Subnet {
            base: Ipv4Addr::new(10, 254, 0, 0),
            prefix: 16,
        }
    }
    pub(super) fn uid_base() -> u32 {
        200_000
    }
    pub(super) fn containers_max() -> u32 {
        256
    }
    pub(super) fn claims() -> PathBuf {
        PathBuf::from("/run/cupola")
    }
}

/// A folder of containers. Cheap to clone; dropping it leaves the containers alone.
#[derive(Clone)]
pub struct Depot {
    pub(crate) inner: Arc<Inner>,
}

/// What became of a container while nobody looked.
#[derive(Debug)]
pub enum Recovered {
    /// Its supervisor answers. It may have ended, see `info.state`; its last output can be read.
    Attached {
        /// The container.
        container: Container,
        /// Everything about it.
        info: Box<Info>,
    },
    /// It ended and its supervisor has left.
    Exited {
        /// To be destroyed by the owner when it has taken note.
        container: Container,
        /// How it ended.
        ended: Ended,
        /// The owner's notes.
        properties: BTreeMap<String, String>,
    },
    /// Supervisor and processes were killed, or the machine was restarted. It is swept already.
    Lost {
        /// Which one.
        id: ContainerId,
        /// The owner's notes, when they were readable.
        properties: BTreeMap<String, String>,
    },
}

/// The state all handles share.
pub(crate) struct Inner {
    pub(crate) config: DepotConfig,
    claim: Claim,
    hierarchies: Hierarchies,
    nameservers: Vec<String>,
    places: Mutex<Places>,
    /// Held for reading while a container is made, for writing while leftovers are swept.
    gate: RwLock<()>,
    /// Supervisors started by this process: to be reaped when they end.
    children: Mutex<Vec<Child>>,
    trash: Trash,
}

/// Where the skeleton of the host stack lies.
pub(crate) const STACK: &str = ".stack";
/// Where file system images to copy from lie.
pub(crate) const IMAGES: &str = ".images";
/// Where removed containers wait to be deleted.
pub(crate) const TRASH: &str = ".trash";
/// How long a supervisor may take to leave after it said that it would.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

// === impl DepotConfig ===

impl DepotConfig {
    /// A depot in `path` with the default pools.
    pub fn new(
        path: impl Into<PathBuf>,
        prefix: impl Into<String>,
        warden: impl Into<PathBuf>,
    ) -> Self {
        Self {
            path: path.into(),
            prefix: prefix.into(),
            warden: warden.into(),
            cgroup_parent: defaults::cgroup_parent(),
            subnet: defaults::subnet(),
            uid_base: defaults::uid_base(),
            containers_max: defaults::containers_max(),
            claims: defaults::claims(),
            nameservers: Vec::new(),
        }
    }

    fn check(&self) -> Result<()> {
        crate::spec::check_absolute("depot path", &self.path)?;
        crate::spec::check_absolute("claims", &self.claims)?;
        let prefix = &self.prefix;
        if !(1..=6).contains(&prefix.len()) || !prefix.bytes().all(|b| b.is_ascii_lowercase()) {
            return Err(WardenError::bad_spec(
                "prefix",
                format!("{prefix:?} is not 1 to 6 of a-z"),
            ));
        }
        let parent_ok = !self.cgroup_parent.is_empty()
            && self.cgroup_parent.split('/').all(|part| {
                !part.is_empty()
                    && part
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            });
        if !parent_ok {
            let reason = format!("{:?} is not words joined by /", self.cgroup_parent);
            return Err(WardenError::bad_spec("cgroup_parent", reason));
        }
        if !self.containers_max.is_power_of_two() || !(2..=16384).contains(&self.containers_max) {
            return Err(WardenError::bad_spec(
                "containers_max",
                "not a power of two up to 16384",
            ));
        }
        if self.uid_base < 1000 {
            return Err(WardenError::bad_spec(
                "uid_base",
                "below 1000 are users of the host",
            ));
        }
        if self.subnet.blocks(self.containers_max) == 0 {
            return Err(WardenError::bad_spec(
                "subnet",
                "too small for containers_max",
            ));
        }
        Ok(())
    }
}

// === impl Depot ===

impl Depot {
    /// Opens a depot: makes the folder, claims its names, addresses and uids, prepares the stack.
    /// Containers that are already there are left alone until [`Depot::recover`].
    ///
    /// # Errors
    /// [`WardenError::Busy`] when another process has it open, [`WardenError::NoBlock`] when every
    /// block is claimed, [`WardenError::Io`] and [`WardenError::BadSpec`] as they say.
    pub fn open(config: DepotConfig) -> Result<Self> {
        config.check()?;
        if !nix::unistd::geteuid().is_root() {
            return Err(crate::probe::not_root().into());
        }
        for dir in ["", STACK, IMAGES, TRASH] {
            make_private(&config.path.join(dir))?;
        }
        let hierarchies = Hierarchies::detect().map_err(WardenError::io("read", MOUNTINFO))?;
        let claim = Claim::take(&config, &hierarchies)?;
        crate::stack::prepare(&config.path.join(STACK))?;
        let nameservers = if config.nameservers.is_empty() {
            crate::stack::host_nameservers()
        } else {
            config.nameservers.clone()
        };
        let mut places = Places::new(config.containers_max);
        for id in ids_in(&config.path)? {
            let spec = config.path.join(id.as_str()).join(launch::SPEC);
            if let Ok(launch) = launch::read_json::<Launch>(&spec) {
                places.keep(launch.index);
            }
        }
        let trash = Trash::new(config.path.join(TRASH))?;
        Ok(Self {
            inner: Arc::new(Inner {
                config,
                claim,
                hierarchies,
                nameservers,
                places: Mutex::new(places),
                gate: RwLock::new(()),
                children: Mutex::new(Vec::new()),
                trash,
            }),
        })
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.inner.config.path
    }

    /// Builds a container; when this returns it is ready for processes.
    ///
    /// # Errors
    /// [`WardenError::Start`] names the step that failed; nothing of the container is left then.
    pub fn create(&self, spec: ContainerSpec) -> Result<Container> {
        start::create(&self.inner, spec)
    }

    /// A container that exists, by name. Nothing is asked of it yet.
    ///
    /// # Errors
    /// [`WardenError::Unknown`] when there is no such folder.
    pub fn container(&self, id: &ContainerId) -> Result<Container> {
        let spec = self.inner.container_dir(id).join(launch::SPEC);
        if !spec.exists() {
            return Err(WardenError::Unknown(id.clone()));
        }
        let launch: Launch = launch::read_json(&spec)?;
        Ok(Container::new(self.inner.clone(), Arc::new(launch)))
    }

    /// The names of all containers in the folder.
    ///
    /// # Errors
    /// [`WardenError::Io`] when the folder cannot be read.
    pub fn ids(&self) -> Result<Vec<ContainerId>> {
        ids_in(self.path())
    }

    /// Finds out what became of every container while this process was away. Containers that are
    /// lost are removed; then everything else that leaked is swept.
    ///
    /// # Errors
    /// [`WardenError::Io`] when the folder cannot be read or a lost one cannot be removed.
    pub fn recover(&self) -> Result<Vec<Recovered>> {
        let mut found = Vec::new();
        for id in self.ids()? {
            found.push(self.recover_one(id)?);
        }
        self.sweep()?;
        Ok(found)
    }

    fn recover_one(&self, id: ContainerId) -> Result<Recovered> {
        let dir = self.inner.container_dir(&id);
        let properties = launch::read_properties(&dir);
        if let Ok(container) = self.container(&id) {
            if let Ok(info) = container.info() {
                return Ok(Recovered::Attached {
                    container,
                    info: Box::new(info),
                });
            }
            let gone = self
                .inner
                .state_of(&id)
                .is_some_and(|s| !s.supervisor.is_alive());
            if let (true, Some(ended)) = (gone, launch::read_ended(&dir)) {
                return Ok(Recovered::Exited {
                    container,
                    ended,
                    properties,
                });
            }
        }
        self.inner.remove(&id, false)?;
        Ok(Recovered::Lost { id, properties })
    }

    /// Removes what belongs to this depot and to no container of it: cgroups, cables, processes,
    /// claims of places, half-made folders.
    ///
    /// # Errors
    /// [`WardenError::Io`] naming what could not be removed.
    pub fn sweep(&self) -> Result<Swept> {
        sweep::sweep(&self.inner)
    }

    /// Waits until everything that was destroyed is deleted from the disk.
    ///
    /// Returns false when that takes longer than `within`.
    #[must_use]
    pub fn wait_for_trash(&self, within: Duration) -> bool {
        self.inner.trash.wait(within)
    }
}

impl fmt::Debug for Depot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slot = &self.inner.claim.slot;
        f.debug_struct("Depot")
            .field("path", &self.path())
            .field("slot", slot)
            .finish()
    }
}

impl Drop for Inner {
    /// An empty depot leaves nothing in the machine but its folder.
    fn drop(&mut self) {
        self.reap();
        if ids_in(&self.config.path).is_ok_and(|ids| ids.is_empty()) {
            // What cannot be given back now is taken over by whoever needs it.
            let _ = self.claim.give_back(&self.config, &self.hierarchies);
        }
    }
}

// === impl Inner ===

impl Inner {
    pub(crate) fn container_dir(&self, id: &ContainerId) -> PathBuf {
        self.config.path.join(id.as_str())
    }

    /// The cgroup of a container, below each hierarchy's mount.
    pub(crate) fn cgroup(&self, id: &ContainerId) -> String {
        format!("{}/{id}", cgroup_of(&self.config, self.claim.slot))
    }

    /// The name of the host's end of the cable of a place.
    pub(crate) fn cable_name(&self, index: u32) -> String {
        format!("{}{index}", self.cable_prefix())
    }

    fn cable_prefix(&self) -> String {
        format!("{}{}-", self.config.prefix, self.claim.slot)
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_of(&self, id: &ContainerId) -> Option<launch::State> {
        launch::read_json(&self.container_dir(id).join(launch::STATE)).ok()
    }

    /// Removes a container: its supervisor is about to leave (`leaving`) or is killed.
    pub(crate) fn remove(&self, id: &ContainerId, leaving: bool) -> Result<()> {
        let dir = self.container_dir(id);
        if let Some(state) = self.state_of(id) {
            let patience = if leaving {
                LEAVE_WITHIN
            } else {
                Duration::ZERO
            };
            if !crate::sys::wait_gone(&state.supervisor, patience) {
                crate::sys::kill_key(&state.supervisor);
                crate::sys::wait_gone(&state.supervisor, LEAVE_WITHIN);
            }
        }
        self.reap();
        let launch = launch::read_json::<Launch>(&dir.join(launch::SPEC)).ok();
        // Normally the same; not when this depot has lost its slot since.
        let cgroup = launch
            .as_ref()
            .map_or_else(|| self.cgroup(id), |l| l.cgroup.clone());
        let group = Group::new(self.hierarchies.clone(), cgroup);
        group
            .remove()
            .map_err(|e| WardenError::io("remove the cgroup", e.path)(e.source))?;
        // The cable went with the container's network, or will soon; it is not waited for.
        let cable = launch
            .as_ref()
            .and_then(|l| l.cable.as_ref())
            .map(|c| c.name.clone());
        self.trash.take(&dir, cable)?;
        if let Some(launch) = launch {
            self.places().release(launch.index);
        }
        Ok(())
    }

    /// Takes note of supervisors that have ended, so that none stays a zombie.
    fn reap(&self) {
        let mut children = self.children.lock().unwrap_or_else(PoisonError::into_inner);
        children.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    }
}

const MOUNTINFO: &str = "/proc/self/mountinfo";

/// The cgroup of a depot.
fn cgroup_of(config: &DepotConfig, slot: u32) -> String {
    format!("{}/{}{slot}", config.cgroup_parent, config.prefix)
}

fn ids_in(path: &Path) -> Result<Vec<ContainerId>> {
    let entries = fs::read_dir(path).map_err(WardenError::io("read", path))?;
    let mut ids = Vec::new();
    for entry in entries {
        let entry = entry.map_err(WardenError::io("read", path))?;
        ids.extend(
            entry
                .file_name()
                .to_str()
                .and_then(|name| ContainerId::new(name).ok()),
        );
    }
    ids.sort();
    Ok(ids)
}

/// Makes a folder that only root may enter.
pub(crate) fn make_private(path: &Path) -> Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(0o700)))
        .map_err(WardenError::io("make", path))
}
