//! The trials, each in a process of its own that is thrown away afterwards.

use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use nix::{
    errno::Errno,
    fcntl::OFlag,
    mount::{MsFlags, mount},
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::{CloneFlags, unshare},
};
use serde::{Deserialize, Serialize};

use super::{Facilities, Facility};
use crate::{
    DiskMode, Limits, Missing,
    cgroup::{Controller, Group, GroupError, Hierarchies, OomWatch, Place},
    image,
    inside::{Step as _, StepError},
    netlink::Netlink,
    seccomp,
    sys::{self, Forked, TreeFlags},
};

type Outcome = Result<Option<String>, StepError>;

/// How a trial went, as its process tells it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Told {
    Works(Option<String>),
    Failed {
        step: String,
        errno: Option<i32>,
        reason: String,
    },
}

/// How long one trial may take.
const TRIAL_WITHIN: Duration = Duration::from_secs(10);
/// What a trial says is short.
const TOLD_MAX: u64 = 16 * 1024;

/// `cupola-warden probe <depot> <cgroup parent>`: prints [`Facilities`] as JSON.
#[must_use]
pub(crate) fn run(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    let [depot, parent] = args.as_slice() else {
        return ExitCode::from(64);
    };
    let scratch = Path::new(depot).join(format!(".probe-{}", std::process::id()));
    let facilities = Facilities {
        tried: try_all(&scratch, &parent.to_string_lossy()),
    };
    // What is left of it is in the depot's own folder and named by our pid.
    let _ = sys::remove_tree(&scratch);
    let printed = serde_json::to_vec(&facilities).map_err(io::Error::from);
    match printed.and_then(|text| io::stdout().write_all(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn try_all(scratch: &Path, parent: &str) -> Vec<Facility> {
    let namespaces = [
        ("mount namespaces", CloneFlags::CLONE_NEWNS),
        ("pid namespaces", CloneFlags::CLONE_NEWPID),
        ("network namespaces", CloneFlags::CLONE_NEWNET),
        ("host name namespaces", CloneFlags::CLONE_NEWUTS),
        ("ipc namespaces", CloneFlags::CLONE_NEWIPC),
        ("cgroup namespaces", CloneFlags::CLONE_NEWCGROUP),
    ];
    let mut tried: Vec<Facility> = namespaces
        .into_iter()
        .map(|(name, flag)| trial(name, true, || unshare(flag).step("unshare").map(|()| None)))
        .collect();
    let limit = |name, needed, controller, file: &'static str, value: &'static str| {
        trial(name, needed, move || {
            try_limit(parent, controller, file, value)
        })
    };
    let (v1_memory, v1_cpu) = ("memory.limit_in_bytes memory.max", "cpu.shares cpu.weight");
    tried.extend([
        trial("overlay file systems", true, || try_overlay(scratch)),
        trial("mount trees", true, try_trees),
        trial("private process tables", true, try_proc),
        trial("network cables", true, try_cable),
        trial("system call filters", true, try_filter),
        trial("dropping capabilities", true, try_capabilities),
        trial("process descriptors", true, try_pidfd),
        trial("confined paths", true, try_beneath),
        limit(
            "memory limit",
            true,
            Controller::Memory,
            v1_memory,
            "16777216",
        ),
        limit("cpu shares", true, Controller::Cpu, v1_cpu, "128"),
        limit(
            "process limit",
            true,
            Controller::Pids,
            "pids.max pids.max",
            "16",
        ),
        limit("processor accounts", false, Controller::Cpuacct, "", ""),
        trial("device list", false, || try_devices(parent)),
        trial("mapped layers", false, || try_mapped(scratch)),
        trial("disk images", false, || try_image(scratch)),
    ]);
    tried
}

/// Runs a trial in a process of its own and hears how it went.
fn trial(name: &str, needed: bool, attempt: impl FnOnce() -> Outcome) -> Facility {
    let told = in_child(attempt).unwrap_or_else(|error| Told::Failed {
        step: "run the trial".to_owned(),
        errno: error.raw_os_error(),
        reason: error.to_string(),
    });
    let (how, missing) = match told {
        Told::Works(how) => (how, None),
        Told::Failed {
            step,
            errno,
            reason,
        } => (
            None,
            Some(Missing {
                facility: name.to_owned(),
                step,
                errno,
                reason,
            }),
        ),
    };
    Facility {
        name: name.to_owned(),
        needed,
        missing,
        how,
    }
}

fn in_child(attempt: impl FnOnce() -> Outcome) -> io::Result<Told> {
    let (heard, told) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
    match sys::fork()? {
        Forked::Child => {
            let word = match attempt() {
                Ok(how) => Told::Works(how),
                Err(StepError { step, source }) => Told::Failed {
                    step,
                    errno: source.raw_os_error(),
                    reason: source.to_string(),
                },
            };
            let said = serde_json::to_vec(&word).map_err(io::Error::from);
            let done = said.and_then(|text| File::from(told).write_all(&text));
            std::process::exit(i32::from(done.is_err()))
        }
        Forked::Parent(pid) => {
            drop(told);
            let mut fds = [PollFd::new(heard.as_fd(), PollFlags::POLLIN)];
            let timeout =
                PollTimeout::try_from(TRIAL_WITHIN.as_millis()).unwrap_or(PollTimeout::MAX);
            if poll(&mut fds, timeout)? == 0 {
                sys::kill(pid.as_raw(), nix::libc::SIGKILL);
            }
            let mut said = Vec::new();
            File::from(heard).take(TOLD_MAX).read_to_end(&mut said)?;
            nix::sys::wait::waitpid(pid, None)?;
            Ok(serde_json::from_slice(&said)?)
        }
    }
}

fn own_mounts() -> Result<(), StepError> {
    unshare(CloneFlags::CLONE_NEWNS).step("unshare")?;
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).step("make mounts private")
}

fn try_overlay(scratch: &Path) -> Outcome {
    own_mounts()?;
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir_all(scratch.join(name)).step("make a folder in the depot")?;
    }
    std::env::set_current_dir(scratch).step("enter the depot")?;
    let options = "lowerdir=lower,upperdir=upper,workdir=work,volatile";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("overlay"),
        "merged",
        Some("overlay"),
        flags,
        Some(options),
    )
    .step("mount an overlay over the depot's file system, which must not be an overlay itself")?;
    fs::write("merged/file", "x").step("write through an overlay")?;
    Ok(None)
}

fn try_trees() -> Outcome {
    own_mounts()?;
    let flags = TreeFlags {
        read_only: true,
        no_exec: false,
    };
    let tree = sys::clone_tree(Path::new("/usr"), flags, None).step("clone the mounts of /usr")?;
    let target = File::open("/usr").step("open /usr")?;
    sys::place_tree(tree.as_fd(), target.as_fd()).step("move the mounts")?;
    match fs::write("/usr/.cupola-probe", "x") {
        Err(error) if error.raw_os_error() == Some(Errno::EROFS as i32) => Ok(None),
        result => {
            let _ = fs::remove_file("/usr/.cupola-probe");
            let what = format!("writing to it: {result:?}");
            Err(io::Error::other(what)).step("make the mounts read-only")
        }
    }
}

fn try_mapped(scratch: &Path) -> Outcome {
    use std::os::unix::fs::MetadataExt as _;
    const SOMEBODY: u32 = 54_321;
    own_mounts()?;
    for name in ["layer", "mapped", "upper2", "work2", "merged2"] {
        fs::create_dir_all(scratch.join(name)).step("make a folder in the depot")?;
    }
    std::env::set_current_dir(scratch).step("enter the depot")?;
    fs::write("layer/file", "x").step("write to the depot")?;
    let owners = sys::mapped_users(SOMEBODY).step("make a user namespace")?;
    let flags = TreeFlags {
        read_only: true,
        no_exec: false,
    };
    let tree = sys::clone_tree(Path::new("layer"), flags, Some(owners.as_fd()))
        .step("map the owners of a mount")?;
    let target = File::open("mapped").step("open a folder in the depot")?;
    sys::place_tree(tree.as_fd(), target.as_fd()).step("move the mount")?;
    let options = "lowerdir=mapped,upperdir=upper2,workdir=work2,volatile";
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(
        Some("overlay"),
        "merged2",
        Some("overlay"),
        flags,
        Some(options),
    )
    .step("mount an overlay over it")?;
    let owner = fs::metadata("merged2/file")
        .step("look through the overlay")?
        .uid();
    if owner == SOMEBODY {
        Ok(Some("idmapped mounts".to_owned()))
    } else {
        Err(io::Error::other(format!("the file belongs to {owner}"))).step("see it at work")
    }
}

fn try_proc() -> Outcome {
    let flags = CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWPID;
    match sys::new_namespaces(flags.bits()).step("clone3 with a descriptor")? {
        Forked::Child => {
            let done = || -> Result<(), StepError> {
                let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
                    .step("make mounts private")?;
                let hidden = Some("hidepid=invisible");
                mount(
                    Some("proc"),
                    "/proc",
                    Some("proc"),
                    MsFlags::MS_NOSUID,
                    hidden,
                )
                .step("mount proc")
            };
            let errno = done()
                .err()
                .map_or(0, |e| e.source.raw_os_error().unwrap_or(255));
            std::process::exit(errno)
        }
        Forked::Parent((pid, _)) => match nix::sys::wait::waitpid(pid, None).step("wait")? {
            nix::sys::wait::WaitStatus::Exited(_, 0) => Ok(None),
            nix::sys::wait::WaitStatus::Exited(_, errno) => {
                Err(io::Error::from_raw_os_error(errno))
                    .step("mount proc without others' processes")
            }
            other => Err(io::Error::other(format!("{other:?}"))).step("mount proc"),
        },
    }
}

fn try_cable() -> Outcome {
    unshare(CloneFlags::CLONE_NEWNET).step("unshare")?;
    let there = File::open("/proc/self/ns/net").step("open the network namespace")?;
    let mut netlink = Netlink::open().step("open netlink")?;
    netlink
        .add_cable("probe0", "probe1", there.as_fd())
        .step("make a veth pair")?;
    let index = crate::netlink::index_of("probe0").step("find it")?;
    netlink
        .add_address(index, [10, 255, 255, 1].into(), 30)
        .step("give it an address")?;
    netlink.set_up(index).step("switch it on")?;
    Ok(Some("veth".to_owned()))
}

fn try_filter() -> Outcome {
    let filter = seccomp::filter().step("compile")?;
    sys::lock_privileges().step("set no_new_privs")?;
    sys::filter_syscalls(&filter).step("install")?;
    match unshare(CloneFlags::CLONE_NEWUTS) {
        Err(Errno::EPERM) => Ok(None),
        result => Err(io::Error::other(format!("unshare gave {result:?}"))).step("see it at work"),
    }
}

fn try_capabilities() -> Outcome {
    sys::drop_bounding(0).step("drop the bounding set")?;
    sys::keep_capabilities(0).step("drop all")?;
    match nix::unistd::sethostname("never") {
        Err(Errno::EPERM) => Ok(None),
        result => Err(io::Error::other(format!("{result:?}"))).step("see them gone"),
    }
}

fn try_pidfd() -> Outcome {
    let own = i32::try_from(std::process::id()).unwrap_or(-1);
    let pidfd = sys::pidfd_of(own).step("pidfd_open")?;
    sys::signal_pidfd(pidfd.as_fd(), 0).step("pidfd_send_signal")?;
    Ok(None)
}

fn try_beneath() -> Outcome {
    let root = File::open("/proc").step("open a folder")?;
    let open = |path: &str| sys::open_beneath(root.as_fd(), OsStr::new(path), OFlag::O_RDONLY, 0);
    open("self/status").map(drop).or_else(|error| {
        // `self` is a link, and within.
        Err(error).step("open a path beneath it")
    })?;
    match open("../etc/passwd") {
        Err(error) if error.raw_os_error() == Some(Errno::EXDEV as i32) => Ok(None),
        result => Err(io::Error::other(format!("{result:?}"))).step("refuse a path that leaves"),
    }
}

/// Makes a group, writes a limit and reads it back; `files`: the version 1 and 2 names of it.
fn try_limit(parent: &str, controller: Controller, files: &str, value: &str) -> Outcome {
    with_group(parent, |hierarchies, group| {
        let missing = || io::Error::other("no mounted cgroup hierarchy has it");
        let (version, file) = match hierarchies.place(controller) {
            Some(Place::V1(_)) => ("cgroup v1", files.split(' ').next()),
            Some(Place::V2(_)) => ("cgroup v2", files.split(' ').nth(1)),
            None => return Err(missing()).step("look for its cgroup controller"),
        };
        if let Some(file) = file.filter(|file| !file.is_empty()) {
            let path = group
                .dir_of(controller)
                .ok_or_else(missing)
                .step("find its folder")?;
            let path: PathBuf = path.join(file);
            fs::write(&path, value).step(format!("write {file}"))?;
            let read = fs::read_to_string(&path).step(format!("read {file}"))?;
            if read.trim() != value {
                let what = format!("{value} was written, {} is there", read.trim());
                return Err(io::Error::other(what)).step(format!("read {file} back"));
            }
        }
        if controller == Controller::Memory {
            OomWatch::new(group).step("watch for running out of it")?;
        }
        Ok(Some(version.to_owned()))
    })
}

fn try_devices(parent: &str) -> Outcome {
    with_group(parent, |hierarchies, group| {
        match hierarchies.place(Controller::Devices) {
        Some(Place::V1(_)) => {
            let limits = Limits { memory_bytes: None, ..Limits::default() };
            group.limit(&limits).map_err(group_error)?;
            Ok(Some("cgroup v1".to_owned()))
        }
        _ => Err(io::Error::other(
            "no mounted cgroup hierarchy has it; devices stay out of reach because no mount has \
             any and nobody inside may make one",
        ))
        .step("look for its cgroup controller"),
    }
    })
}

fn with_group(parent: &str, attempt: impl FnOnce(&Hierarchies, &Group) -> Outcome) -> Outcome {
    let hierarchies = Hierarchies::detect().step("look for cgroups")?;
    let path = format!("{parent}/probe-{}", std::process::id());
    let group = Group::new(hierarchies.clone(), path);
    let outcome = create_below(&hierarchies, parent, &group)
        .map_err(group_error)
        .and_then(|()| attempt(&hierarchies, &group));
    let removed = group.remove().map_err(group_error);
    hierarchies.remove_parent(parent);
    outcome.and_then(|how| removed.map(|()| how))
}

/// Others who find the parent empty remove it: then it is made again.
fn create_below(hierarchies: &Hierarchies, parent: &str, group: &Group) -> Result<(), GroupError> {
    let mut tries = 0..10;
    loop {
        hierarchies
            .make_parent(parent)
            .map_err(|(path, source)| GroupError { path, source })?;
        match group.create() {
            Err(error)
                if error.source.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {}
            result => return result,
        }
    }
}

fn group_error(error: GroupError) -> StepError {
    StepError {
        step: format!("use {}", error.path.display()),
        source: error.source,
    }
}

fn try_image(scratch: &Path) -> Outcome {
    own_mounts()?;
    let limits = Limits {
        disk_mode: DiskMode::Image,
        disk_bytes: Some(8 << 20),
        disk_inodes: 512,
        ..Limits::default()
    };
    fs::create_dir_all(scratch.join("disk")).step("make a folder in the depot")?;
    image::prepare(scratch, &limits)
        .map_err(io::Error::other)
        .step("make a file system")?;
    let copy = scratch.join("image");
    let file = image::copy_sparse(&image::template(scratch, &limits), &copy).step("copy it")?;
    let (path, _device) = sys::attach_loop(&file).step("attach it to a loop device")?;
    mount(
        Some(&path),
        &scratch.join("disk"),
        Some("ext4"),
        MsFlags::empty(),
        None::<&str>,
    )
    .step("mount it")?;
    fs::write(scratch.join("disk/file"), "x").step("write to it")?;
    Ok(Some("ext4 on a loop device".to_owned()))
}
