//! Removing what belongs to this depot and to nobody in it.

use std::{collections::BTreeSet, fs, path::Path, sync::PoisonError};

use super::{Inner, cgroup_of};
use crate::{
    ContainerId, Result, WardenError,
    cgroup::Group,
    launch::{self, Launch},
};

/// What a sweep removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Supervisors without a folder.
    pub supervisors: usize,
    /// Cgroups.
    pub cgroups: usize,
    /// Cables.
    pub cables: usize,
    /// Folders without a readable spec.
    pub folders: usize,
}

pub(super) fn sweep(depot: &Inner) -> Result<Swept> {
    let mut swept = Swept::default();
    let _alone = depot.gate.write().unwrap_or_else(PoisonError::into_inner);
    depot.reap();
    let mut ids = BTreeSet::new();
    let mut cables = BTreeSet::new();
    for id in super::ids_in(&depot.config.path)? {
        let spec = depot.container_dir(&id).join(launch::SPEC);
        match launch::read_json::<Launch>(&spec) {
            Ok(launch) => {
                cables.extend(launch.cable.map(|cable| cable.name));
                ids.insert(id);
            }
            // Nobody is making one now, so this one was never finished.
            Err(_) => {
                depot.remove(&id, false)?;
                swept.folders += 1;
            }
        }
    }
    swept.supervisors = end_strays(depot, &ids);
    swept.cgroups = sweep_cgroups(depot, &ids)?;
    for name in crate::netlink::link_names(&depot.cable_prefix()) {
        if !cables.contains(&name) {
            crate::netlink::delete_link(&name)
                .map_err(WardenError::io("remove the cable", &name))?;
            swept.cables += 1;
        }
    }
    Ok(swept)
}

fn sweep_cgroups(depot: &Inner, keep: &BTreeSet<ContainerId>) -> Result<usize> {
    let parent = cgroup_of(&depot.config, depot.claim.slot);
    let mut stray = BTreeSet::new();
    for mount in depot.hierarchies.mounts() {
        let Ok(entries) = fs::read_dir(mount.join(&parent)) else {
            continue;
        };
        for entry in entries
            .flatten()
            .filter(|e| e.file_type().is_ok_and(|t| t.is_dir()))
        {
            let name = entry.file_name().to_string_lossy().into_owned();
            if ContainerId::new(name.clone()).map_or(true, |id| !keep.contains(&id)) {
                stray.insert(name);
            }
        }
    }
    for name in &stray {
        let group = Group::new(depot.hierarchies.clone(), format!("{parent}/{name}"));
        group
            .remove()
            .map_err(|e| WardenError::io("remove the cgroup", e.path)(e.source))?;
    }
    Ok(stray.len())
}

/// Ends supervisors that work in a folder of this depot which is no container any more.
fn end_strays(depot: &Inner, keep: &BTreeSet<ContainerId>) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else {
        return 0;
    };
    let mut ended = 0;
    for entry in processes.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse::<i32>().ok())
        else {
            continue;
        };
        let Some(name) = folder_of_supervisor(&entry.path(), &depot.config.path) else {
            continue;
        };
        if ContainerId::new(name).map_or(true, |id| !keep.contains(&id)) {
            crate::sys::kill(pid, nix::libc::SIGKILL);
            ended += 1;
        }
    }
    ended
}

/// The folder of `depot` that a process supervises; `None` for any other process.
fn folder_of_supervisor(process: &Path, depot: &Path) -> Option<String> {
    let command = fs::read(process.join("cmdline")).ok()?;
    if command.split(|b| *b == 0).nth(1) != Some(b"supervise") {
        return None;
    }
    let cwd = fs::read_link(process.join("cwd")).ok()?;
    let inside = cwd.strip_prefix(depot).ok()?;
    // A folder in the trash is `.trash/<name>`, or has " (deleted)" at its end.
    Some(inside.to_string_lossy().into_owned())
}
