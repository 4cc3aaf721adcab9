//! The files that tell others about this process: its id, and its ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupola_bus::options::Options;

/// Files that are removed when the program ends.
#[derive(Debug, Default)]
pub(crate) struct Files(Vec<PathBuf>);

impl Drop for Files {
    fn drop(&mut self) {
        for path in &self.0 {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes the files the options ask for.
pub(crate) fn write(
    options: &Options,
    clients: SocketAddr,
    monitor: Option<SocketAddr>,
) -> anyhow::Result<Files> {
    let mut files = Files::default();
    let pid = std::process::id();
    if let Some(path) = &options.pid_file {
        put(&mut files, path.clone(), &pid.to_string())?;
    }
    if let Some(folder) = &options.ports_file_dir {
        let mut ports = serde_json::json!({ "nats": [format!("nats://{}", dialable(clients))] });
        if let Some(monitor) = monitor {
            ports["monitoring"] = serde_json::json!([format!("http://{}", dialable(monitor))]);
        }
        put(
            &mut files,
            folder.join(format!("{}_{pid}.ports", program())),
            &ports.to_string(),
        )?;
    }
    Ok(files)
}

/// Writes beside and renames, so that no reader sees half a file.
fn put(files: &mut Files, path: PathBuf, text: &str) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text)
        .and_then(|()| std::fs::rename(&beside, &path))
        .with_context(|| format!("cannot write {}", path.display()))?;
    files.0.push(path);
    Ok(())
}

/// An address that can be dialled from here.
fn dialable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    address
}

/// The name this program was started by.
fn program() -> String {
    std::env::args_os()
        .next()
        .as_deref()
        .map(Path::new)
        .and_then(Path::file_name)
        .map_or_else(
            || "cupola-bus".to_owned(),
            |name| name.to_string_lossy().into_owned(),
        )
}
