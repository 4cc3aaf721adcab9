//! The files that tell others about this process: its id, and its ports.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupola_bus::options::Options;
use cupola_bus::{Broker, Config, machine};
use serde::Serialize;

/// Files that are removed when the program ends, and what is in them.
#[derive(Debug)]
pub(crate) struct Files {
    pid: Option<PathBuf>,
    ports: Option<PathBuf>,
    listing: Listing,
}

/// What a ports file says, in nats-server's words. What is not served is left out.
#[derive(Debug, Serialize)]
struct Listing {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    nats: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    monitoring: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    cluster: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    websocket: Vec<String>,
}

// === impl Files ===

impl Files {
    /// Writes the files the options ask for.
    pub(crate) fn write(options: &Options, broker: &Broker) -> anyhow::Result<Self> {
        let mut files = Files {
            pid: None,
            ports: None,
            listing: Listing::of(broker)?.secured(&options.config),
        };
        files
            .put_pid(options.pid_file.as_deref())
            .context("Could not write pidfile")?;
        // As with nats-server, a server without this file is better than none.
        if let Err(error) = files.put_ports(options.ports_file_dir.as_deref()) {
            tracing::error!("Error writing ports file: {error:#}");
        }
        Ok(files)
    }

    /// Writes the process id there, and no longer where it was.
    pub(crate) fn put_pid(&mut self, path: Option<&Path>) -> anyhow::Result<()> {
        if self.pid.as_deref() != path {
            let text = std::process::id().to_string();
            replace(&mut self.pid, path.map(Path::to_owned), &text)?;
        }
        Ok(())
    }

    /// Writes the ports into that folder, and no longer where they were.
    pub(crate) fn put_ports(&mut self, folder: Option<&Path>) -> anyhow::Result<()> {
        let name = format!("{}_{}.ports", program(), std::process::id());
        let path = folder.map(|folder| folder.join(name));
        if self.ports != path {
            let text = serde_json::to_string(&self.listing)?;
            replace(&mut self.ports, path, &text)?;
        }
        Ok(())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        for path in [&self.pid, &self.ports].into_iter().flatten() {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Writes the new file beside its place and renames it, so that no reader sees half a file; then
/// removes the old one.
fn replace(place: &mut Option<PathBuf>, path: Option<PathBuf>, text: &str) -> anyhow::Result<()> {
    if let Some(path) = &path {
        let beside = path.with_extension("new");
        std::fs::write(&beside, text)
            .and_then(|()| std::fs::rename(&beside, path))
            .with_context(|| format!("cannot write {}", path.display()))?;
    }
    if let Some(old) = std::mem::replace(place, path) {
        let _ = std::fs::remove_file(old);
    }
    Ok(())
}

// === impl Listing ===

impl Listing {
    fn of(broker: &Broker) -> anyhow::Result<Self> {
        let list = |scheme: &str, address: Option<SocketAddr>| {
            let dialable = address.into_iter().flat_map(machine::dialable);
            dialable
                .map(|address| format!("{scheme}://{address}"))
                .collect()
        };
        Ok(Listing {
            nats: list("nats", Some(broker.client_address()?)),
            monitoring: match broker.monitor_https_address() {
                https @ Some(_) => list("https", https),
                None => list("http", broker.monitor_address()),
            },
            cluster: list("nats", broker.cluster_address()),
            websocket: match broker.websocket_address() {
                Some((address, secure)) => list(if secure { "wss" } else { "ws" }, Some(address)),
                None => Vec::new(),
            },
        })
    }

    /// Says which doors only let in those who come over TLS.
    fn secured(mut self, config: &Config) -> Self {
        if config.tls.is_some() && !config.allow_non_tls {
            over_tls(&mut self.nats);
        }
        if config.cluster.as_ref().is_some_and(|it| it.tls.is_some()) {
            over_tls(&mut self.cluster);
        }
        self
    }
}

/// Other scheme, same address.
fn over_tls(urls: &mut [String]) {
    for url in urls {
        if let Some((_, address)) = url.split_once("://") {
            *url = format!("tls://{address}");
        }
    }
}

/// The name this program was started by.
pub(crate) fn program() -> String {
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
