//! The root file system of a container.
//!
//! ```text
//! overlay  /            the stack's folder below, the container's writable layer above
//! bind     /usr …       the host's programs (host stack): read-only
//! proc     /proc        with what tells about or changes the host masked
//! tmpfs    /dev         eight devices, own terminals, /dev/shm with a size
//! bind     …            what the spec asks for
//! ```
//!
//! Every mount is nosuid, every one but `/dev` nodev. Sources are opened on the host before the
//! root is changed and put in place after, so that no path of a stack can lead back to the host.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::fs::{PermissionsExt as _, chown, symlink},
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::{OFlag, openat},
    mount::{MntFlags, MsFlags, mount, umount2},
    sys::stat::{Mode, SFlag, makedev, mknod},
};

use super::{Step as _, StepError};
use crate::{
    Access, Stack,
    depot::STACK,
    launch::Launch,
    stack,
    sys::{self, TreeFlags},
};

/// Where the writable layer is.
#[derive(Debug)]
pub(crate) enum Disk {
    /// In the container's folder.
    Folder,
    /// On this block device.
    Image(PathBuf),
}

/// A mount that waits for its place.
struct Pending {
    tree: OwnedFd,
    target: PathBuf,
    is_folder: bool,
}

/// Files of `/proc` that tell about the host or change it: replaced by nothing.
const MASKED: [&str; 16] = [
    "acpi",
    "asound",
    "interrupts",
    "kallsyms",
    "kcore",
    "key-users",
    "keys",
    "kmsg",
    "latency_stats",
    "pagetypeinfo",
    "sched_debug",
    "scsi",
    "slabinfo",
    "sysrq-trigger",
    "timer_list",
    "vmallocinfo",
];
/// Folders of `/proc` that may be read but not written.
const READ_ONLY: [&str; 5] = ["bus", "driver", "fs", "irq", "sys"];
/// Name, major, minor.
const DEVICES: [(&str, u64, u64); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];
const ROOT: &str = "root";
const NONE: Option<&str> = None;

/// Builds it and moves in. The working folder must be the container's. Returns a descriptor of the
/// writable layer's folder.
pub(super) fn build(
    launch: &Launch,
    disk: &Disk,
    owners: Option<OwnedFd>,
) -> Result<File, StepError> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .step("make mounts private")?;
    let base = writable_layer(disk)?;
    furnish(launch, &base)?;
    let mut pending = Vec::new();
    if launch.spec.stack == Stack::Host {
        for path in stack::binds() {
            let flags = TreeFlags {
                read_only: true,
                no_exec: false,
            };
            pending.push(Pending::open(&path, path.clone(), flags)?);
        }
    }
    for bind in &launch.spec.binds {
        let flags = TreeFlags {
            read_only: bind.access == Access::ReadOnly,
            no_exec: false,
        };
        pending.push(Pending::open(&bind.source, bind.target.clone(), flags)?);
    }
    let layers = place_layers(launch, owners.as_ref())?;
    mount_overlay(launch, &base, layers)?;
    let upper = File::open(base.join("upper")).step("open the writable layer")?;
    move_in()?;
    mount_proc()?;
    mount_dev(launch)?;
    for bind in &pending {
        bind.place()?;
    }
    Ok(upper)
}

fn writable_layer(disk: &Disk) -> Result<PathBuf, StepError> {
    let base = match disk {
        Disk::Folder => PathBuf::from("."),
        Disk::Image(device) => {
            let base = PathBuf::from("disk");
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
            fs::create_dir(&base).step("make the disk's folder")?;
            mount(
                Some(device),
                &base,
                Some("ext4"),
                flags,
                Some("noinit_itable"),
            )
            .step(format!("mount the disk image {}", device.display()))?;
            base
        }
    };
    for name in ["upper", "work"] {
        let path = base.join(name);
        fs::create_dir(&path).step(format!("make {}", path.display()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .step(format!("set the mode of {}", path.display()))?;
    }
    Ok(base)
}

/// What is this container's own: its accounts, its name, its home.
fn furnish(launch: &Launch, base: &Path) -> Result<(), StepError> {
    let uid = launch.uid;
    let upper = base.join("upper");
    let folder = |path: &Path| match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    };
    for name in ["etc", "home", "home/vcap"] {
        folder(&upper.join(name)).step(format!("make /{name}"))?;
    }
    chown(upper.join("home/vcap"), Some(uid), Some(uid)).step("give /home/vcap to vcap")?;
    let name = &launch.spec.hostname;
    let address = launch
        .cable
        .as_ref()
        .map_or("127.0.1.1".to_owned(), |c| c.inside.to_string());
    let servers: String = launch
        .nameservers
        .iter()
        .map(|server| format!("nameserver {server}\n"))
        .collect();
    let files = [
        (
            "passwd",
            format!(
                "root:x:0:0:root:/root:/bin/false\nvcap:x:{uid}:{uid}::/home/vcap:/bin/sh\n\
                 nobody:x:65534:65534::/:/bin/false\n"
            ),
        ),
        (
            "group",
            format!("root:x:0:\nvcap:x:{uid}:\nnogroup:x:65534:\n"),
        ),
        ("hostname", format!("{name}\n")),
        (
            "hosts",
            format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n{address} {name}\n"),
        ),
        ("resolv.conf", servers),
    ];
    for (file, text) in files {
        fs::write(upper.join("etc").join(file), text).step(format!("write /etc/{file}"))?;
    }
    Ok(())
}

/// Puts the extra layers where the overlay can name them, owned by the container's user.
fn place_layers(launch: &Launch, owners: Option<&OwnedFd>) -> Result<Vec<PathBuf>, StepError> {
    let folder = Path::new("layers");
    let mut placed = Vec::new();
    for (layer, number) in launch.spec.layers.iter().zip(0..) {
        let step = || format!("lay in {}", layer.display());
        let target = folder.join(i32::to_string(&number));
        fs::create_dir_all(&target).step(step())?;
        let flags = TreeFlags {
            read_only: true,
            no_exec: false,
        };
        let owners = owners.map(|owners| owners.as_fd());
        let tree = sys::clone_tree(layer, flags, owners).step(step())?;
        let place = File::open(&target).step(step())?;
        sys::place_tree(tree.as_fd(), place.as_fd()).step(step())?;
        placed.push(target);
    }
    Ok(placed)
}

fn mount_overlay(launch: &Launch, base: &Path, layers: Vec<PathBuf>) -> Result<(), StepError> {
    // Relative, so that /proc/self/mountinfo inside does not tell where the depot is.
    let stack = match &launch.spec.stack {
        Stack::Host => PathBuf::from("..").join(STACK),
        Stack::Dir(path) => path.clone(),
    };
    let quoted = |path: PathBuf| {
        path.to_string_lossy()
            .replace('\\', "\\\\")
            .replace(':', "\\:")
    };
    let lower: Vec<String> = layers.into_iter().chain([stack]).map(quoted).collect();
    let (lower, base) = (lower.join(":"), base.display());
    let options = format!("lowerdir={lower},upperdir={base}/upper,workdir={base}/work,volatile");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    fs::create_dir(ROOT).step("make the root folder")?;
    mount(
        Some("overlay"),
        ROOT,
        Some("overlay"),
        flags,
        Some(options.as_str()),
    )
    .step("mount the overlay")
}

fn move_in() -> Result<(), StepError> {
    std::env::set_current_dir(ROOT).step("enter the root folder")?;
    nix::unistd::pivot_root(".", ".").step("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).step("leave the old root")?;
    std::env::set_current_dir("/").step("enter the new root")
}

fn mount_proc() -> Result<(), StepError> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    ensure_folder("/proc")?;
    // Of other users' processes, which is pid 1 alone, nothing is to be seen.
    mount(
        Some("proc"),
        "/proc",
        Some("proc"),
        flags,
        Some("hidepid=invisible"),
    )
    .step("mount /proc")?;
    for name in READ_ONLY {
        let path = Path::new("/proc").join(name);
        if path.is_dir() {
            let flags = TreeFlags {
                read_only: true,
                no_exec: true,
            };
            Pending::open(&path, path.clone(), flags)?.place()?;
        }
    }
    Ok(())
}

/// Lays nothing over what must not be read; needs `/dev/null` of the container.
fn mask_proc() -> Result<(), StepError> {
    for name in MASKED {
        let path = Path::new("/proc").join(name);
        let Ok(meta) = fs::symlink_metadata(&path) else {
            continue;
        };
        if meta.is_dir() {
            let flags =
                MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
            mount(
                Some("tmpfs"),
                &path,
                Some("tmpfs"),
                flags,
                Some("size=4k,mode=755"),
            )
        } else {
            mount(Some("/dev/null"), &path, NONE, MsFlags::MS_BIND, NONE)
        }
        .step(format!("mask {}", path.display()))?;
    }
    Ok(())
}

fn mount_dev(launch: &Launch) -> Result<(), StepError> {
    ensure_folder("/dev")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    let options = "mode=755,size=64k,nr_inodes=64";
    mount(Some("tmpfs"), "/dev", Some("tmpfs"), flags, Some(options)).step("mount /dev")?;
    let mask = nix::sys::stat::umask(Mode::empty());
    let made = DEVICES.iter().try_for_each(|(name, major, minor)| {
        let path = Path::new("/dev").join(name);
        mknod(
            &path,
            SFlag::S_IFCHR,
            Mode::from_bits_truncate(0o666),
            makedev(*major, *minor),
        )
        .step(format!("make {}", path.display()))
    });
    nix::sys::stat::umask(mask);
    made?;
    for name in ["pts", "shm"] {
        fs::create_dir(Path::new("/dev").join(name)).step(format!("make /dev/{name}"))?;
    }
    let options = "newinstance,ptmxmode=0666,mode=0620,max=64";
    mount(
        Some("devpts"),
        "/dev/pts",
        Some("devpts"),
        flags,
        Some(options),
    )
    .step("mount /dev/pts")?;
    let size = launch.spec.limits.shm_bytes;
    let options = format!("mode=1777,size={size},nr_inodes=16384");
    let flags = flags | MsFlags::MS_NODEV;
    mount(
        Some("shm"),
        "/dev/shm",
        Some("tmpfs"),
        flags,
        Some(options.as_str()),
    )
    .step("mount /dev/shm")?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, name) in links {
        symlink(target, Path::new("/dev").join(name)).step(format!("link /dev/{name}"))?;
    }
    mask_proc()
}

fn ensure_folder(path: &str) -> Result<(), StepError> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).step(format!("make {path}"))
        }
        _ => Ok(()),
    }
}

// === impl Pending ===

impl Pending {
    fn open(source: &Path, target: PathBuf, flags: TreeFlags) -> Result<Self, StepError> {
        let step = || format!("bind {}", source.display());
        let is_folder = fs::metadata(source).step(step())?.is_dir();
        let tree = sys::clone_tree(source, flags, None).step(step())?;
        Ok(Self {
            tree,
            target,
            is_folder,
        })
    }

    /// Puts it in place in the current root; makes the target when it does not exist.
    fn place(&self) -> Result<(), StepError> {
        let step = || format!("bind onto {}", self.target.display());
        let target = self.open_target().step(step())?;
        sys::place_tree(self.tree.as_fd(), target.as_fd()).step(step())
    }

    fn open_target(&self) -> io::Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let mut at = nix::fcntl::open("/", flags | OFlag::O_DIRECTORY, Mode::empty())?;
        let parts: Vec<&OsStr> = self.target.iter().skip(1).collect();
        for (depth, part) in parts.iter().enumerate() {
            let last = depth + 1 == parts.len();
            at = match openat(&at, *part, flags, Mode::empty()).map_err(io::Error::from) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    if last && !self.is_folder {
                        let make = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_WRONLY;
                        let mode = Mode::from_bits_truncate(0o644);
                        openat(&at, *part, make | OFlag::O_CLOEXEC, mode)?;
                    } else {
                        let mode = Mode::from_bits_truncate(0o755);
                        nix::sys::stat::mkdirat(&at, *part, mode)?;
                    }
                    openat(&at, *part, flags, Mode::empty())?
                }
                result => result?,
            };
        }
        Ok(at)
    }
}
