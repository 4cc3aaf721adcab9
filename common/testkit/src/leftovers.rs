//! What containers could leave behind on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything of a platform that a machine holds: for comparing before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// Processes of container supervisors, by command line.
    pub supervisors: BTreeSet<String>,
    /// Mount points below the data folder.
    pub mounts: BTreeSet<String>,
    /// Control groups that containers made.
    pub cgroups: BTreeSet<String>,
    /// Network interfaces.
    pub interfaces: BTreeSet<String>,
    /// Containers' folders.
    pub folders: BTreeSet<String>,
    /// Loop devices in use.
    pub loop_devices: BTreeSet<String>,
}

impl Leftovers {
    /// What the machine holds now that belongs to the platform in `data_dir`.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        let data = data_dir.to_string_lossy().into_owned();
        Self {
            supervisors: supervisors(&data),
            mounts: mounts(&data),
            cgroups: cgroups(),
            interfaces: names("/sys/class/net"),
            folders: container_folders(data_dir),
            loop_devices: loop_devices(&data),
        }
    }
}

fn names(folder: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

fn supervisors(data: &str) -> BTreeSet<String> {
    let pids = names("/proc")
        .into_iter()
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    pids.filter_map(|pid| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        (line.contains("cupola-warden") && line.contains(data)).then(|| format!("{pid} {line}"))
    })
    .collect()
}

fn mounts(data: &str) -> BTreeSet<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| point.starts_with(data))
        .map(str::to_owned)
        .collect()
}

/// Groups of containers, in every hierarchy. Those of another platform on the machine are seen
/// too, so a test that compares runs alone.
fn cgroups() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![std::path::PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                let path = entry.path();
                if path.to_string_lossy().contains("cupola") {
                    found.insert(path.to_string_lossy().into_owned());
                }
                folders.push(path);
            }
        }
    }
    found
}

fn container_folders(data_dir: &Path) -> BTreeSet<String> {
    ["dea/depot", "stager/depot"]
        .iter()
        .flat_map(|depot| names(&data_dir.join(depot).to_string_lossy()))
        .collect()
}

fn loop_devices(data: &str) -> BTreeSet<String> {
    let devices = names("/sys/block")
        .into_iter()
        .filter(|name| name.starts_with("loop"));
    devices
        .filter_map(|name| {
            let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file")).ok()?;
            file.starts_with(data)
                .then(|| format!("{name} {}", file.trim()))
        })
        .collect()
}
