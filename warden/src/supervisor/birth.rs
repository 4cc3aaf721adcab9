//! From nothing to a container that is ready.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{
            fs::PermissionsExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::Path,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sched::CloneFlags,
    sys::{
        resource::{Resource, getrlimit},
        signal::{SaFlags, SigAction, SigHandler, SigSet, Signal},
    },
};

use super::{Supervisor, complain, disk::DiskWatch};
use crate::{
    ContainerState, DiskMode, Missing, NetworkMode,
    cgroup::{Controller, Group, GroupError, OomWatch},
    client::SOCKET,
    depot::IMAGES,
    image,
    inside::{self, Birthright, Channel, Disk, Order, Step as _, StepError, Word},
    launch::{self, Birth, Durable, Launch, ProcessKey, State},
    seccomp,
    sys::{self, Forked},
};

/// Why there is no container.
enum Stillborn {
    Step(StepError),
    Missing(Missing),
}

/// How long pid 1 may take to build the house.
const HOUSE_WITHIN: Duration = Duration::from_secs(25);
/// The image of the writable layer, in the container's folder.
const IMAGE: &str = "image";

/// Makes the container and tells the creator; `None` when there is none.
pub(super) fn be_born() -> Option<Supervisor> {
    let mut creator = match detach() {
        Ok(creator) => creator,
        Err(error) => {
            complain(&error.to_string());
            return None;
        }
    };
    match build(&mut creator) {
        Ok(supervisor) => {
            // A creator that is gone never knew of this container: it must not live.
            if tell(&mut creator, &Birth::Ready).is_ok() {
                return Some(supervisor);
            }
            let _ = sys::signal_pidfd(supervisor.init_fd.as_fd(), nix::libc::SIGKILL);
            let _ = nix::sys::wait::waitpid(supervisor.init, None);
            let _ = supervisor.group.remove();
            None
        }
        Err(failure) => {
            let birth = match failure {
                Stillborn::Step(StepError { step, source }) => Birth::Failed {
                    step,
                    message: source.to_string(),
                    missing: None,
                },
                Stillborn::Missing(missing) => Birth::Failed {
                    step: missing.step.clone(),
                    message: missing.reason.clone(),
                    missing: Some(missing),
                },
            };
            if tell(&mut creator, &birth).is_err() {
                complain(&format!("{birth:?}"));
            }
            None
        }
    }
}

fn tell(creator: &mut UnixStream, birth: &Birth) -> io::Result<()> {
    creator.write_all(&serde_json::to_vec(birth)?)?;
    creator.shutdown(std::net::Shutdown::Both)
}

/// Belongs to nobody from here on; returns the creator's socket.
fn detach() -> Result<UnixStream, StepError> {
    // Whatever leaked into this process must not leak into a container.
    sys::close_from(3).step("close descriptors")?;
    // Fails when this process leads a session already, which is what is wanted.
    let _ = nix::unistd::setsid();
    let ignore = SigAction::new(SigHandler::SigIgn, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGHUP, Signal::SIGPIPE] {
        sys::set_signal(signal, &ignore).step("ignore signals")?;
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o022));
    let creator = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .step("take the creator's socket")?;
    let null = File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .step("open /dev/null")?;
    nix::unistd::dup2_stdin(&null).step("close stdin")?;
    Ok(creator.into())
}

fn build(creator: &mut UnixStream) -> Result<Supervisor, Stillborn> {
    let launch: Launch = launch::read_json(Path::new(launch::SPEC))
        .map_err(|e| step_error("read the spec", io::Error::other(e)))?;
    if launch.version != launch::VERSION {
        let what = format!("version {} instead of {}", launch.version, launch::VERSION);
        return Err(step_error("read the spec", io::Error::other(what)));
    }
    require_limits(&launch)?;
    let group = Group::new(launch.hierarchies.clone(), launch.cgroup.clone());
    let built = build_in(launch, group.clone(), creator);
    if built.is_err() {
        // The first failure is the one to tell.
        let _ = group.remove();
    }
    built
}

/// A limit that was asked for and cannot be held is an error, never silently dropped.
fn require_limits(launch: &Launch) -> Result<(), Stillborn> {
    let wanted = [
        (
            Controller::Memory,
            "memory limit",
            launch.spec.limits.memory_bytes.is_some(),
        ),
        (Controller::Cpu, "cpu shares", true),
        (Controller::Pids, "process limit", true),
    ];
    for (controller, facility, wanted) in wanted {
        if wanted && launch.hierarchies.place(controller).is_none() {
            return Err(Stillborn::Missing(Missing {
                facility: facility.to_owned(),
                step: "look for its cgroup controller".to_owned(),
                errno: None,
                reason: "no mounted cgroup hierarchy has it".to_owned(),
            }));
        }
    }
    Ok(())
}

fn build_in(
    launch: Launch,
    group: Group,
    creator: &mut UnixStream,
) -> Result<Supervisor, Stillborn> {
    let limits = &launch.spec.limits;
    group.create().map_err(group_error("make the cgroup"))?;
    // Before there is a limit to hit.
    let oom = OomWatch::new(&group)
        .step("watch the memory")
        .map_err(Stillborn::Step)?;
    group
        .limit(limits)
        .map_err(group_error("limit the cgroup"))?;
    let doors = group.doors().map_err(group_error("open the cgroup"))?;
    let (disk, device) = prepare_disk(&launch).map_err(Stillborn::Step)?;
    let owners = owners_of_layers(&launch)?;
    let nofile = clamp_nofile(limits.nofile).map_err(Stillborn::Step)?;
    let filter = seccomp::filter()
        .step("compile the filter")
        .map_err(Stillborn::Step)?;
    let (ours, theirs) = Channel::pair()
        .step("make a channel")
        .map_err(Stillborn::Step)?;
    let flags = namespaces(launch.spec.network);
    let forked = sys::new_namespaces(flags)
        .step("make namespaces")
        .map_err(Stillborn::Step)?;
    let (init, init_fd) = match forked {
        Forked::Parent(child) => child,
        Forked::Child => {
            // Of what was copied, pid 1 keeps what it is given and nothing else.
            drop((ours, oom, device));
            sys::close(creator);
            let birthright = Birthright {
                launch: &launch,
                channel: theirs,
                doors,
                disk,
                owners,
                filter,
                nofile,
            };
            std::process::exit(inside::run(birthright))
        }
    };
    drop((theirs, doors, owners));
    let kill = || {
        let _ = sys::signal_pidfd(init_fd.as_fd(), nix::libc::SIGKILL);
        let _ = nix::sys::wait::waitpid(init, None);
    };
    let ready = raise(&launch, &ours, init.as_raw());
    drop(device);
    let upper = ready.inspect_err(|_| kill()).map_err(Stillborn::Step)?;
    let listener = open_door(init.as_raw())
        .inspect_err(|_| kill())
        .map_err(Stillborn::Step)?;
    let disk = DiskWatch::new(upper, limits);
    Ok(Supervisor {
        group,
        channel: ours,
        channel_open: true,
        init,
        init_fd,
        oom,
        listener,
        disk,
        nofile,
        state: ContainerState::Active,
        reason: None,
        ended: None,
        last_stats: None,
        out_of_memory: false,
        over_disk: None,
        processes: std::collections::BTreeMap::new(),
        next_process: 1,
        clients: Vec::new(),
        dropped_bytes: 0,
        kill_at: None,
        oom_check_until: None,
        linger_until: None,
        leaving: false,
        launch,
    })
}

/// The cgroup namespace is not among them: it is made once pid 1 is in its cgroup.
fn namespaces(network: NetworkMode) -> i32 {
    let mut flags = CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    if network != NetworkMode::Host {
        flags |= CloneFlags::CLONE_NEWNET;
    }
    flags.bits()
}

/// Where the writable layer goes; the device must stay open until it is mounted.
fn prepare_disk(launch: &Launch) -> Result<(Disk, Option<File>), StepError> {
    match launch.spec.limits.disk_mode {
        DiskMode::SoftScan => Ok((Disk::Folder, None)),
        DiskMode::Image => {
            let template = image::template(&Path::new("..").join(IMAGES), &launch.spec.limits);
            let copy =
                image::copy_sparse(&template, Path::new(IMAGE)).step("copy the disk image")?;
            let (path, device) = sys::attach_loop(&copy).step("attach the disk image")?;
            Ok((Disk::Image(path), Some(device)))
        }
    }
}

/// Extra layers belong to the container's user; without any there is nothing to map.
fn owners_of_layers(launch: &Launch) -> Result<Option<OwnedFd>, Stillborn> {
    if launch.spec.layers.is_empty() {
        return Ok(None);
    }
    sys::mapped_users(launch.uid).map(Some).map_err(|error| {
        Stillborn::Missing(Missing {
            facility: "mapped layers".to_owned(),
            step: "make a user namespace for them".to_owned(),
            errno: error.raw_os_error(),
            reason: error.to_string(),
        })
    })
}

/// Raising a hard limit is refused on some machines even to root: what is there must do.
fn clamp_nofile(wanted: u64) -> Result<u64, StepError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).step("read the file limit")?;
    Ok(wanted.min(hard))
}

/// Plugs the cable in and waits until the house stands.
fn raise(launch: &Launch, channel: &Channel, init: i32) -> Result<File, StepError> {
    if let Some(cable) = &launch.cable {
        inside::plug_in(cable, init)?;
    }
    channel.send(&Order::Go, &[]).step("tell pid 1 to go on")?;
    let deadline = Instant::now() + HOUSE_WITHIN;
    let step = "wait for the house";
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut fds = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(left.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, timeout) {
            Ok(0) => return Err(io::Error::from(io::ErrorKind::TimedOut)).step(step),
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno).step(step),
        }
    }
    match channel.receive::<Word>().step(step)? {
        Some((Word::Ready, fds)) => {
            let upper = fds
                .into_iter()
                .next()
                .ok_or(io::ErrorKind::InvalidData)
                .step(step)?;
            Ok(File::from(upper))
        }
        Some((Word::Failed { step, message }, _)) => Err(io::Error::other(message)).step(step),
        Some((other, _)) => Err(io::Error::other(format!("{other:?}"))).step(step),
        None => Err(io::Error::other("pid 1 died")).step(step),
    }
}

/// The socket for clients, and the note by which they know whom they speak to.
fn open_door(init: i32) -> Result<UnixListener, StepError> {
    let listener = UnixListener::bind(SOCKET).step("listen")?;
    fs::set_permissions(SOCKET, fs::Permissions::from_mode(0o600)).step("close the door")?;
    listener.set_nonblocking(true).step("listen")?;
    let own = i32::try_from(std::process::id()).unwrap_or(-1);
    let state = State {
        supervisor: ProcessKey::of(own).step("look at itself")?,
        init: ProcessKey::of(init).step("look at pid 1")?,
    };
    launch::write_json(Path::new(launch::STATE), &state, Durable::No)
        .map_err(io::Error::other)
        .step("write the state")?;
    Ok(listener)
}

fn step_error(step: &str, source: io::Error) -> Stillborn {
    Stillborn::Step(StepError {
        step: step.to_owned(),
        source,
    })
}

fn group_error(what: &'static str) -> impl Fn(GroupError) -> Stillborn {
    move |error| step_error(&format!("{what} {}", error.path.display()), error.source)
}
