//! Making a container: allot a place, write it down, start its supervisor, hear how it went.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::{fs::DirBuilderExt as _, net::UnixStream},
    },
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, PoisonError},
    time::Duration,
};

use super::Inner;
use crate::{
    Container, ContainerSpec, DiskMode, NetworkMode, Result, WardenError,
    launch::{self, Birth, Cable, Durable, Launch},
};

/// How long a supervisor may take to build a container on a busy machine.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The most a supervisor may say about its birth.
const BIRTH_MAX: u64 = 64 * 1024;

pub(super) fn create(depot: &Arc<Inner>, spec: ContainerSpec) -> Result<Container> {
    spec.check()?;
    depot.reap();
    let _no_sweep = depot.gate.read().unwrap_or_else(PoisonError::into_inner);
    let id = spec.id.clone();
    let dir = depot.container_dir(&id);
    match fs::DirBuilder::new().mode(0o700).create(&dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            return Err(WardenError::Exists(id));
        }
        result => result.map_err(WardenError::io("make", &dir))?,
    }
    let Some(index) = depot.places().take() else {
        depot.trash.take(&dir, None)?;
        return Err(WardenError::Full {
            max: depot.config.containers_max,
        });
    };
    let launch = allot(depot, spec, index);
    match build(depot, &launch, &dir) {
        Ok(()) => Ok(Container::new(depot.clone(), Arc::new(launch))),
        Err(error) => {
            // The first error is the one to tell; what is left is for the sweep.
            if depot.remove(&id, false).is_err() {
                depot.places().release(index);
            }
            Err(error)
        }
    }
}

fn allot(depot: &Inner, spec: ContainerSpec, index: u32) -> Launch {
    let cable = (spec.network == NetworkMode::Isolated).then(|| {
        let (outside, inside) = depot.claim.block.cable(index);
        Cable {
            name: depot.cable_name(index),
            outside,
            inside,
        }
    });
    Launch {
        version: launch::VERSION,
        index,
        uid: depot.claim.uid + index,
        cable,
        cgroup: depot.cgroup(&spec.id),
        hierarchies: depot.hierarchies.clone(),
        created_at_ms: launch::now_ms(),
        nameservers: depot.nameservers.clone(),
        spec,
    }
}

fn build(depot: &Inner, launch: &Launch, dir: &Path) -> Result<()> {
    if launch.spec.limits.disk_mode == DiskMode::Image {
        crate::image::prepare(&depot.config.path.join(super::IMAGES), &launch.spec.limits)?;
    }
    launch::write_json(&dir.join(launch::SPEC), launch, Durable::No)?;
    if !launch.spec.properties.is_empty() {
        launch::write_properties(dir, &launch.spec.properties)?;
    }
    let (ours, theirs) = UnixStream::pair().map_err(WardenError::io("connect to", dir))?;
    let child = spawn(depot, dir, theirs)?;
    depot
        .children
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(child);
    let failed = |step: String, message: String| {
        // Whatever else it had to say may be the reason.
        let log = fs::read_to_string(dir.join(LOG)).unwrap_or_default();
        let message = format!("{message} {}", log.trim()).trim().to_owned();
        Err(WardenError::Start {
            id: launch.spec.id.clone(),
            step,
            message,
        })
    };
    match hear_birth(ours) {
        Ok(Birth::Ready) => Ok(()),
        Ok(Birth::Failed {
            missing: Some(missing),
            ..
        }) => Err(missing.into()),
        Ok(Birth::Failed {
            step,
            message,
            missing: None,
        }) => failed(step, message),
        Err(error) => failed("supervisor".to_owned(), error.to_string()),
    }
}

/// What a supervisor writes when it has nobody to tell.
const LOG: &str = "supervisor.log";

fn spawn(depot: &Inner, dir: &Path, birth: UnixStream) -> Result<Child> {
    let log = File::create(dir.join(LOG)).map_err(WardenError::io("make", dir))?;
    Command::new(&depot.config.warden)
        .arg("supervise")
        .env_clear()
        .current_dir(dir)
        .stdin(Stdio::from(OwnedFd::from(birth)))
        .stdout(Stdio::null())
        .stderr(Stdio::from(log))
        .spawn()
        .map_err(WardenError::io("run", &depot.config.warden))
}

/// One JSON value, then the supervisor closes its end.
fn hear_birth(from: UnixStream) -> io::Result<Birth> {
    from.set_read_timeout(Some(READY_WITHIN))?;
    let mut said = Vec::new();
    from.take(BIRTH_MAX).read_to_end(&mut said)?;
    if said.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "it ended without a word",
        ));
    }
    Ok(serde_json::from_slice(&said)?)
}
