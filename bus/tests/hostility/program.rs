//! The broker as a process of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::support::eventually;

/// The program, which is gone when the test is over.
pub(super) struct Running {
    pub(super) process: Child,
    folder: tempfile::TempDir,
    ports: Value,
}

impl Running {
    /// One that may have so many files open.
    pub(super) async fn start(descriptors: usize, config: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("bus.conf");
        std::fs::write(&file, config).unwrap();
        let log = std::fs::File::create(folder.path().join("log")).unwrap();
        let process = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -n {descriptors}; exec \"$0\" \"$@\""),
            ])
            .arg(env!("CARGO_BIN_EXE_cupola-bus"))
            .arg("-c")
            .arg(&file)
            .arg("--ports_file_dir")
            .arg(folder.path())
            .stderr(Stdio::from(log))
            .spawn()
            .unwrap();
        let mut ports = Value::Null;
        eventually("the ports file is there", || {
            ports = ports_in(folder.path()).unwrap_or_default();
            !ports.is_null()
        })
        .await;
        Running {
            process,
            folder,
            ports,
        }
    }

    pub(super) fn address(&self, what: &str) -> SocketAddr {
        let url = self.ports[what][0].as_str().unwrap();
        url.split("//").nth(1).unwrap().parse().unwrap()
    }

    /// Processor time it has used so far.
    pub(super) fn worked(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let fields: Vec<&str> = stat
            .rsplit_once(')')
            .unwrap()
            .1
            .split_whitespace()
            .collect();
        let ticks = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
        Duration::from_millis(ticks * 10)
    }

    pub(super) fn log_lines(&self) -> usize {
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
        log.lines().count()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn ports_in(folder: &Path) -> Option<Value> {
    let mut files = std::fs::read_dir(folder).ok()?.flatten();
    let file = files.find(|file| file.path().extension().is_some_and(|it| it == "ports"))?;
    serde_json::from_str(&std::fs::read_to_string(file.path()).ok()?).ok()
}
