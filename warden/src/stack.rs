//! The host stack: an empty house with the host's programs in it.
//!
//! The skeleton is made once per depot: folders, links as the host has them (`bin -> usr/bin`), and
//! an `/etc` with nothing of this host in it but what programs need to find each other. Each
//! container lays its writable layer over it and binds the host's folders into it.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use crate::{Result, WardenError};

/// Folders of the skeleton and their modes.
const FOLDERS: [(&str, u32); 20] = [
    ("dev", 0o755),
    ("etc", 0o755),
    ("etc/alternatives", 0o755),
    ("etc/pki", 0o755),
    ("etc/pki/tls", 0o755),
    ("etc/pki/tls/certs", 0o755),
    ("etc/pki/ca-trust", 0o755),
    ("etc/ssl", 0o755),
    ("etc/ssl/certs", 0o755),
    ("home", 0o755),
    ("home/vcap", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("tmp", 0o1777),
    ("usr", 0o755),
    ("var", 0o755),
    ("var/log", 0o755),
    ("var/tmp", 0o1777),
];
/// Host folders that are links into `/usr` on most systems and folders on some.
const PROGRAMS: [&str; 7] = ["bin", "lib", "lib32", "lib64", "libx32", "libexec", "sbin"];
/// Host folders under `/etc` that are bound read-only when they exist. No keys, no accounts.
const SHARED: [&str; 4] = [
    "etc/alternatives",
    "etc/pki/ca-trust",
    "etc/pki/tls/certs",
    "etc/ssl/certs",
];
/// Host files that are copied when they exist: public tables that programs look things up in.
const COPIED: [&str; 8] = [
    "etc/ld.so.cache",
    "etc/ld.so.conf",
    "etc/localtime",
    "etc/mime.types",
    "etc/protocols",
    "etc/services",
    "etc/shells",
    "etc/ssl/openssl.cnf",
];
/// The largest of them is a library cache of some hundred KiB.
const COPIED_MAX: u64 = 8 * 1024 * 1024;
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n\
    networks: files\nprotocols: files\nservices: files\n";

/// Makes or refreshes the skeleton.
pub(crate) fn prepare(dir: &Path) -> Result<()> {
    for (name, mode) in FOLDERS {
        folder(&dir.join(name), mode)?;
    }
    for name in PROGRAMS {
        let (host, ours) = (Path::new("/").join(name), dir.join(name));
        match fs::read_link(&host) {
            Ok(target) => link(&target, &ours)?,
            Err(_) if host.is_dir() => folder(&ours, 0o755)?,
            Err(_) => {}
        }
    }
    for name in COPIED {
        let host = Path::new("/").join(name);
        if fs::metadata(&host).is_ok_and(|meta| meta.is_file() && meta.len() <= COPIED_MAX) {
            let bytes = fs::read(&host).map_err(WardenError::io("read", &host))?;
            file(&dir.join(name), &bytes)?;
        }
    }
    file(&dir.join("etc/nsswitch.conf"), NSSWITCH.as_bytes())?;
    // The overlay shows the mode of the skeleton's root as the mode of `/`.
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))
        .map_err(WardenError::io("set the mode of", dir))
}

/// What the host stack binds read-only: host paths, which are also the paths inside.
pub(crate) fn binds() -> Vec<PathBuf> {
    let mut binds = vec![PathBuf::from("/usr")];
    let is_folder = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.is_dir());
    let programs = PROGRAMS.iter().map(|name| Path::new("/").join(name));
    binds.extend(programs.filter(|path| is_folder(path)));
    let shared = SHARED.iter().map(|name| Path::new("/").join(name));
    binds.extend(shared.filter(|path| path.is_dir()));
    binds
}

/// The host's name servers that a container with a network of its own could reach.
pub(crate) fn host_nameservers() -> Vec<String> {
    parse_nameservers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

fn parse_nameservers(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("nameserver")?
                .trim()
                .parse::<IpAddr>()
                .ok()
        })
        .filter(|address| !address.is_loopback())
        .take(3)
        .map(|address| address.to_string())
        .collect()
}

fn folder(path: &Path, mode: u32) -> Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(WardenError::io("make", path)(error));
        }
        _ => {}
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(WardenError::io("set the mode of", path))
}

fn link(target: &Path, path: &Path) -> Result<()> {
    if fs::read_link(path).is_ok_and(|existing| existing == target) {
        return Ok(());
    }
    let _ = fs::remove_file(path);
    symlink(target, path).map_err(WardenError::io("link", path))
}

/// Containers may be running on the skeleton: a file that is right already is not touched.
fn file(path: &Path, bytes: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|existing| existing == bytes) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    fs::write(&fresh, bytes)
        .and_then(|()| fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)))
        .and_then(|()| fs::rename(&fresh, path))
        .map_err(WardenError::io("write", path))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn only_reachable_name_servers_are_passed_on() {
        let text = "# x\nnameserver 127.0.0.53\nnameserver 10.0.0.2\nnameserver ::1\nsearch a\n\
            nameserver 2001:db8::1\nnameserver x\n";
        assert_eq!(parse_nameservers(text), ["10.0.0.2", "2001:db8::1"]);
    }

    #[test]
    fn the_skeleton_can_be_made_twice_and_holds_nothing_of_the_host() {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path()).unwrap();
        prepare(dir.path()).unwrap();
        assert!(dir.path().join("etc/nsswitch.conf").exists());
        for private in [
            "etc/passwd",
            "etc/shadow",
            "etc/hostname",
            "etc/ssl/private",
        ] {
            assert!(!dir.path().join(private).exists(), "{private}");
        }
    }
}
