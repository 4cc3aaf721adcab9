//! What containers could leave behind on a machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Where depots claim their names (see `cupola-warden`): one file a depot, with its folder and the
/// name of its control group, which its network interfaces begin with as well.
const CLAIMS: &str = "/run/cupola";

/// Everything of one platform's containers that the machine holds, for comparing before and after.
/// Other platforms on the machine do not show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftovers {
    /// Container supervisors, by pid and command line.
    pub supervisors: BTreeSet<String>,
    /// Mount points below the data folder.
    pub mounts: BTreeSet<String>,
    /// Control groups of containers, in any hierarchy.
    pub cgroups: BTreeSet<String>,
    /// Network interfaces of containers.
    pub interfaces: BTreeSet<String>,
    /// Folders of containers, and what waits to be removed.
    pub folders: BTreeSet<String>,
    /// Temporary files of uploads and downloads.
    pub temporary_files: BTreeSet<String>,
    /// Loop devices on files below the data folder.
    pub loop_devices: BTreeSet<String>,
}

impl Leftovers {
    /// What the machine holds now that belongs to the platform in `data_dir`.
    #[must_use]
    pub fn of(data_dir: &Path) -> Self {
        let data = data_dir.to_string_lossy().into_owned();
        let depots = depot_names(&data);
        Self {
            supervisors: supervisors(&data),
            mounts: mounts(&data),
            cgroups: cgroups(&depots),
            interfaces: interfaces(&depots),
            folders: below(data_dir, &["dea/depot", "stager/depot"]),
            temporary_files: below(
                data_dir,
                &[
                    "cloud_controller/work",
                    "dea/droplets/work",
                    "dea/trash",
                    "stager/work",
                ],
            ),
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

/// What the platform's depots are called on this machine, such as `dea2`.
fn depot_names(data: &str) -> BTreeSet<String> {
    let claims = names(CLAIMS).into_iter().filter_map(|name| {
        let text = fs::read(format!("{CLAIMS}/{name}")).ok()?;
        let claim: Value = serde_json::from_slice(&text).ok()?;
        let depot = claim["depot"].as_str()?;
        let cgroup = claim["cgroup"].as_str()?;
        depot
            .starts_with(data)
            .then(|| cgroup.rsplit('/').next().unwrap_or(cgroup).to_owned())
    });
    claims.collect()
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

/// Groups below those of the depots.
fn cgroups(depots: &BTreeSet<String>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut folders = vec![(std::path::PathBuf::from("/sys/fs/cgroup"), false)];
    while let Some((folder, inside)) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if inside {
                    found.insert(entry.path().to_string_lossy().into_owned());
                }
                let name = entry.file_name().to_string_lossy().into_owned();
                folders.push((entry.path(), inside || depots.contains(&name)));
            }
        }
    }
    found
}

fn interfaces(depots: &BTreeSet<String>) -> BTreeSet<String> {
    let all = names("/sys/class/net").into_iter();
    all.filter(|name| {
        depots
            .iter()
            .any(|depot| name.starts_with(&format!("{depot}-")))
    })
    .collect()
}

fn below(data_dir: &Path, folders: &[&str]) -> BTreeSet<String> {
    let each = folders.iter().flat_map(|folder| {
        let inside = names(&data_dir.join(folder).to_string_lossy());
        inside
            .into_iter()
            .map(move |name| format!("{folder}/{name}"))
    });
    each.collect()
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
