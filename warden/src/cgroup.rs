//! Limits and accounts, by cgroup.
//!
//! Which version a controller lives in is found out per controller, never per host: a machine may
//! have memory in version 1 and an empty version 2 beside it. Paths below the mount points are the
//! same everywhere: `<parent>/<depot>/<container>`.

mod group;
mod oom;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

pub(crate) use group::{Doors, Group, GroupError};
pub(crate) use oom::OomWatch;

/// Where the controllers are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchies {
    /// One entry per version 1 mount that has a controller of ours.
    pub(crate) v1: Vec<Hierarchy>,
    /// The version 2 mount, when it has a controller of ours.
    pub(crate) v2: Option<Hierarchy>,
}

/// A mounted hierarchy and those of its controllers that we use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hierarchy {
    pub(crate) mount: PathBuf,
    pub(crate) controllers: Vec<Controller>,
}

/// A controller that we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Controller {
    Memory,
    Cpu,
    Cpuacct,
    Pids,
    Devices,
}

/// The version of a controller on this machine and a folder in its hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    V1(PathBuf),
    V2(PathBuf),
}

const CONTROLLERS: [(Controller, &str); 5] = [
    (Controller::Memory, "memory"),
    (Controller::Cpu, "cpu"),
    (Controller::Cpuacct, "cpuacct"),
    (Controller::Pids, "pids"),
    (Controller::Devices, "devices"),
];

// === impl Hierarchies ===

impl Hierarchies {
    /// Looks at what is mounted here.
    pub(crate) fn detect() -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mountinfo")?;
        Ok(Self::parse(&mounts, |mount| {
            fs::read_to_string(mount.join("cgroup.controllers")).unwrap_or_default()
        }))
    }

    fn parse(mountinfo: &str, v2_controllers: impl Fn(&Path) -> String) -> Self {
        let mut found = Self::default();
        for line in mountinfo.lines() {
            let Some((place, kind)) = line.split_once(" - ") else {
                continue;
            };
            let Some(mount) = place.split(' ').nth(4) else {
                continue;
            };
            let mount = PathBuf::from(mount);
            let mut kind = kind.split(' ');
            match kind.next() {
                Some("cgroup") => {
                    let options = kind.nth(1).unwrap_or_default();
                    let controllers = named(options.split(','));
                    let known = found.v1.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !known {
                        found.v1.push(Hierarchy { mount, controllers });
                    }
                }
                Some("cgroup2") if found.v2.is_none() => {
                    let controllers = named(v2_controllers(&mount).split_whitespace());
                    if !controllers.is_empty() {
                        found.v2 = Some(Hierarchy { mount, controllers });
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// Where a controller is; `None` when the machine does not offer it.
    pub(crate) fn place(&self, controller: Controller) -> Option<Place> {
        let v1 = self.v1.iter().find(|h| h.controllers.contains(&controller));
        v1.map(|h| Place::V1(h.mount.clone())).or_else(|| {
            let v2 = self.v2.as_ref()?;
            // Version 2 always counts processor time, with or without the controller.
            let counts = controller == Controller::Cpuacct;
            (counts || v2.controllers.contains(&controller)).then(|| Place::V2(v2.mount.clone()))
        })
    }

    /// Every mount in which a container has a folder.
    pub(crate) fn mounts(&self) -> impl Iterator<Item = &Path> {
        self.v1.iter().chain(&self.v2).map(|h| h.mount.as_path())
    }

    /// Makes the folders above the containers', and in version 2 hands their controllers down.
    pub(crate) fn make_parent(&self, parent: &str) -> Result<(), (PathBuf, io::Error)> {
        for hierarchy in self.v1.iter().chain(&self.v2) {
            let mut dir = hierarchy.mount.clone();
            for part in parent.split('/') {
                if self.v2.as_ref() == Some(hierarchy) {
                    hierarchy.hand_down(&dir).map_err(|e| (dir.clone(), e))?;
                }
                dir.push(part);
                match fs::create_dir(&dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err((dir, error));
                    }
                    _ => {}
                }
            }
            if self.v2.as_ref() == Some(hierarchy) {
                hierarchy.hand_down(&dir).map_err(|e| (dir.clone(), e))?;
            }
        }
        Ok(())
    }
}

impl Hierarchies {
    /// Removes the folders above the containers', as far as they are empty.
    pub(crate) fn remove_parent(&self, parent: &str) {
        for mount in self.mounts() {
            let mut below = Some(Path::new(parent));
            while let Some(path) = below.filter(|path| !path.as_os_str().is_empty()) {
                // Somebody else's folder in it is the usual reason to stop here.
                if fs::remove_dir(mount.join(path)).is_err() {
                    break;
                }
                below = path.parent();
            }
        }
    }
}

impl Place {
    fn join(self, path: &str) -> Self {
        match self {
            Self::V1(dir) => Self::V1(dir.join(path)),
            Self::V2(dir) => Self::V2(dir.join(path)),
        }
    }
}

impl Hierarchy {
    fn hand_down(&self, dir: &Path) -> io::Result<()> {
        let file = dir.join("cgroup.subtree_control");
        let on = fs::read_to_string(&file)?;
        for (controller, name) in CONTROLLERS {
            if self.controllers.contains(&controller) && !on.split_whitespace().any(|n| n == name) {
                fs::write(&file, format!("+{name}"))?;
            }
        }
        Ok(())
    }
}

fn named<'a>(names: impl Iterator<Item = &'a str>) -> Vec<Controller> {
    let names: Vec<&str> = names.collect();
    CONTROLLERS
        .iter()
        .filter(|(_, n)| names.contains(n))
        .map(|(c, _)| *c)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";

    #[test]
    fn a_stray_controller_in_version_2_does_not_make_the_host_version_2() {
        let found = Hierarchies::parse(HYBRID, |_| "hugetlb\n".to_owned());
        assert_eq!(found.v2, None);
        let memory = Path::new("/sys/fs/cgroup/memory");
        assert_eq!(
            found.place(Controller::Memory),
            Some(Place::V1(memory.into()))
        );
        let both = Path::new("/sys/fs/cgroup/cpu,cpuacct");
        assert_eq!(
            found.place(Controller::Cpuacct),
            Some(Place::V1(both.into()))
        );
        assert_eq!(found.place(Controller::Pids), None);
        assert_eq!(found.mounts().count(), 2);
    }

    #[test]
    fn each_controller_is_looked_up_by_itself() {
        let found = Hierarchies::parse(HYBRID, |_| "pids memory io\n".to_owned());
        let unified = Path::new("/sys/fs/cgroup/unified");
        assert_eq!(
            found.place(Controller::Pids),
            Some(Place::V2(unified.into()))
        );
        assert!(matches!(
            found.place(Controller::Memory),
            Some(Place::V1(_))
        ));
        assert_eq!(found.place(Controller::Devices), None);
    }
}
