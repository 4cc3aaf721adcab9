//! What a container and a process in it shall be.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{ContainerId, WardenError};

/// Everything about a container but the processes in it. Start from [`ContainerSpec::new`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContainerSpec {
    /// Its name within the depot.
    pub id: ContainerId,
    /// What the root file system is made of.
    pub stack: Stack,
    /// Folders laid over the stack and under the writable layer, the first on top: each a tree from
    /// `/` on. Never written to, and shared by any number of containers; what root owns in them
    /// belongs to the container's user inside. They must not change while a container uses them.
    pub layers: Vec<PathBuf>,
    /// What `hostname` says inside.
    pub hostname: String,
    /// How it is connected.
    pub network: NetworkMode,
    /// What it may use.
    pub limits: Limits,
    /// Host paths that appear inside, each nosuid and nodev.
    pub binds: Vec<Bind>,
    /// Environment of every process in it; a process's own entries win.
    pub env: Vec<(String, String)>,
    /// Notes of the owner, kept with the container and given back by [`crate::Depot::recover`].
    /// They lie in a file of mode 0600; still, keep passwords out.
    pub properties: BTreeMap<String, String>,
    /// How long an ended container waits for its owner to fetch the rest of its output, in seconds.
    pub linger_seconds: u32,
}

/// What the root file system is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stack {
    /// A generated skeleton with the host's `/usr` bound read-only; a writable layer on top.
    Host,
    /// A folder with a whole root file system, read only, with a writable layer on top.
    Dir(PathBuf),
}

/// How a container is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkMode {
    /// A network of its own with one cable to the host: an address of its own, reachable from the host.
    Isolated,
    /// The host's network. The app is not separated from it: only for trusted code.
    Host,
    /// A network of its own with nothing but loopback.
    Offline,
}

/// How the disk limit is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DiskMode {
    /// The writable layer is counted every few seconds; a container that is over is stopped.
    SoftScan,
    /// The writable layer is a file system image of that size: writes fail with "no space left".
    Image,
}

/// What a container may use. Zero is never "unlimited": `None` is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Memory and swap together, in bytes, page cache included.
    pub memory_bytes: Option<u64>,
    /// Share of the processor against other containers; 1024 is one whole share.
    pub cpu_shares: u32,
    /// Processes and threads.
    pub pids: u32,
    /// Open files per process; clamped to what the host allows, see [`crate::Info::nofile`].
    pub nofile: u64,
    /// Bytes of the writable layer.
    pub disk_bytes: Option<u64>,
    /// Files and folders of the writable layer.
    pub disk_inodes: u64,
    /// How `disk_bytes` is held.
    pub disk_mode: DiskMode,
    /// Size of `/dev/shm` in bytes; it counts as memory too.
    pub shm_bytes: u64,
}

/// A host path that appears inside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bind {
    /// Absolute path on the host; a folder or a file.
    pub source: PathBuf,
    /// Absolute path inside; made when it does not exist.
    pub target: PathBuf,
    /// Whether it can be written through.
    pub access: Access,
}

/// Whether a bind can be written through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Reads only.
    ReadOnly,
    /// Reads and writes, subject to the ownership of the files. Not counted as disk.
    ReadWrite,
}

/// A program to run in a container, as its user `vcap`, without capabilities.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessSpec {
    /// A word for the logs: "web", "compile".
    pub name: String,
    /// Program (searched in the `PATH` of the environment when without a slash) and arguments.
    pub argv: Vec<String>,
    /// Environment, on top of the container's.
    pub env: Vec<(String, String)>,
    /// Working folder; must exist.
    pub cwd: PathBuf,
    /// File mode mask.
    pub umask: u32,
    /// Whether the container ends with it.
    pub role: ProcessRole,
    /// How many bytes of output are kept for clients that attach late, 4 KiB to 4 MiB.
    pub output_buffer: u32,
}

/// Whether the container ends with a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProcessRole {
    /// When it exits, everything else is killed and the container has ended. At most one.
    Main,
    /// One of several; the container outlives it.
    Job,
}

/// Place a tar archive (plain or gzip) inside, as the container's user and from within.
///
/// Refused: names with `..`, absolute names, symlinks that leave the folder (unless [`Links::Any`])
/// and anything behind one, hard links to outside, devices, fifos. Set-id bits are dropped.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unpack {
    /// Folder inside; made when it does not exist.
    pub target: PathBuf,
    /// Which symlinks may be in it.
    pub links: Links,
    /// Most bytes the contents may have.
    pub bytes_max: u64,
    /// Most entries.
    pub entries_max: u64,
}

/// Which symlinks an archive may have. Nothing is ever written through one that leaves the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Links {
    /// Only those that stay within the folder: for what a user has sent.
    Within,
    /// Any: for what was packed from a container, where links to the stack are usual.
    Any,
}

/// Read a folder inside into a gzip'd tar archive, as the container's user and from within.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pack {
    /// Folder inside; names in the archive are relative to it (`./…`).
    pub source: PathBuf,
    /// Names directly in `source` that are left out.
    pub exclude: Vec<String>,
    /// Most bytes the contents may have.
    pub bytes_max: u64,
    /// Most entries.
    pub entries_max: u64,
}

/// The largest request a supervisor accepts: an environment of a megabyte is plenty.
pub(crate) const REQUEST_MAX: usize = 2 * 1024 * 1024;
/// All layers of an overlay must be named on one page.
const LAYERS_MAX: usize = 32;
/// Bounds of [`ProcessSpec::output_buffer`].
pub(crate) const OUTPUT_BUFFER: std::ops::RangeInclusive<u32> = 4096..=4 * 1024 * 1024;

// === impl ContainerSpec ===

impl ContainerSpec {
    /// A container on the host stack with an isolated network and default limits.
    #[must_use]
    pub fn new(id: ContainerId) -> Self {
        Self {
            hostname: id.as_str().to_owned(),
            id,
            stack: Stack::Host,
            layers: Vec::new(),
            network: NetworkMode::Isolated,
            limits: Limits::default(),
            binds: Vec::new(),
            env: Vec::new(),
            properties: BTreeMap::new(),
            linger_seconds: 900,
        }
    }

    pub(crate) fn check(&self) -> Result<(), WardenError> {
        let host_ok = !self.hostname.is_empty()
            && self.hostname.len() <= 63
            && self
                .hostname
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.');
        if !host_ok {
            return Err(WardenError::bad_spec(
                "hostname",
                format!("{:?} is not 1 to 63 letters, digits, - or .", self.hostname),
            ));
        }
        for bind in &self.binds {
            check_absolute("bind source", &bind.source)?;
            check_absolute("bind target", &bind.target)?;
        }
        if self.layers.len() > LAYERS_MAX {
            return Err(WardenError::bad_spec(
                "layers",
                format!("more than {LAYERS_MAX}"),
            ));
        }
        for layer in &self.layers {
            check_absolute("layer", layer)?;
        }
        if let Stack::Dir(path) = &self.stack {
            check_absolute("stack", path)?;
        }
        check_env(&self.env)?;
        self.limits.check()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: Some(256 << 20),
            cpu_shares: 256,
            pids: 512,
            nofile: 16384,
            disk_bytes: Some(1 << 30),
            disk_inodes: 200_000,
            disk_mode: DiskMode::SoftScan,
            shm_bytes: 64 << 20,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), WardenError> {
        if self.memory_bytes.is_some_and(|bytes| bytes < 4 << 20) {
            return Err(WardenError::bad_spec("memory_bytes", "less than 4 MiB"));
        }
        if self.pids < 2 {
            return Err(WardenError::bad_spec("pids", "less than 2"));
        }
        if !(2..=262_144).contains(&self.cpu_shares) {
            return Err(WardenError::bad_spec("cpu_shares", "not 2 to 262144"));
        }
        match (self.disk_mode, self.disk_bytes) {
            (DiskMode::Image, None) => {
                Err(WardenError::bad_spec("disk_bytes", "an image needs a size"))
            }
            (DiskMode::Image, Some(bytes)) if bytes < 8 << 20 => Err(WardenError::bad_spec(
                "disk_bytes",
                "an image needs at least 8 MiB",
            )),
            _ => Ok(()),
        }
    }
}

impl Bind {
    /// A bind that can be read only.
    #[must_use]
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            access: Access::ReadOnly,
        }
    }

    /// A bind that can be written through.
    #[must_use]
    pub fn read_write(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            target: target.into(),
            access: Access::ReadWrite,
        }
    }
}

impl ProcessSpec {
    /// A job named after its program, in `/home/vcap`, umask 022, with 256 KiB of output kept.
    #[must_use]
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        let argv: Vec<String> = argv.into_iter().map(Into::into).collect();
        let program = argv.first().map_or("", String::as_str);
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            name,
            argv,
            env: Vec::new(),
            cwd: PathBuf::from("/home/vcap"),
            umask: 0o022,
            role: ProcessRole::Job,
            output_buffer: 256 * 1024,
        }
    }

    pub(crate) fn check(&self) -> Result<(), WardenError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(WardenError::bad_spec("argv", "no program"));
        }
        if self.argv.iter().any(|word| word.contains('\0')) {
            return Err(WardenError::bad_spec("argv", "a word contains a zero byte"));
        }
        if self.umask > 0o777 {
            return Err(WardenError::bad_spec("umask", "more than 0777"));
        }
        if !OUTPUT_BUFFER.contains(&self.output_buffer) {
            return Err(WardenError::bad_spec("output_buffer", "not 4 KiB to 4 MiB"));
        }
        check_absolute("cwd", &self.cwd)?;
        check_env(&self.env)
    }
}

impl Unpack {
    /// Up to 4 GiB in 200 000 entries into `target`.
    #[must_use]
    pub fn into_dir(target: impl Into<PathBuf>) -> Self {
        Self {
            target: target.into(),
            links: Links::Within,
            bytes_max: 4 << 30,
            entries_max: 200_000,
        }
    }
}

impl Pack {
    /// All of `source`, up to 4 GiB in 200 000 entries.
    #[must_use]
    pub fn from_dir(source: impl Into<PathBuf>) -> Self {
        Self {
            source: source.into(),
            exclude: Vec::new(),
            bytes_max: 4 << 30,
            entries_max: 200_000,
        }
    }
}

pub(crate) fn check_absolute(
    field: &'static str,
    path: &std::path::Path,
) -> Result<(), WardenError> {
    use std::{os::unix::ffi::OsStrExt as _, path::Component};
    let plain = path
        .components()
        .all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if path.is_absolute() && plain && !path.as_os_str().as_bytes().contains(&0) {
        Ok(())
    } else {
        Err(WardenError::bad_spec(
            field,
            format!("{} is not a plain absolute path", path.display()),
        ))
    }
}

fn check_env(env: &[(String, String)]) -> Result<(), WardenError> {
    for (key, value) in env {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(WardenError::bad_spec(
                "env",
                format!("{key:?} is not a name"),
            ));
        }
        if value.contains('\0') {
            return Err(WardenError::bad_spec(
                "env",
                format!("{key} contains a zero byte"),
            ));
        }
    }
    Ok(())
}
