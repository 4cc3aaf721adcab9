//! Where log lines go: standard error, a file that is set aside when it is full, or a system log.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::net::{ToSocketAddrs as _, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use tracing::Level;

/// Where the system's log listens.
const SYSTEM_LOG: [&str; 3] = ["/dev/log", "/var/run/syslog", "/var/run/log"];
/// The facility of daemons, as syslog numbers it.
const DAEMON: u8 = 3;

/// Where lines go.
#[derive(Debug)]
pub(super) enum Sink {
    Stderr,
    File(LogFile),
    System(UnixDatagram),
    Remote(UdpSocket),
}

/// A file that gives way to a new one when it has grown too large.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// 0 means none.
    limit: u64,
    /// Files to keep, this one included; 0 means all.
    keep: usize,
}

// === impl Sink ===

impl Sink {
    pub(super) fn file(path: &Path, limit: u64, keep: usize) -> io::Result<Self> {
        let (file, size) = open(path)?;
        Ok(Sink::File(LogFile {
            path: path.to_owned(),
            file,
            size,
            limit,
            keep,
        }))
    }

    pub(super) fn system() -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        // A log that is not read must not stop the server.
        socket.set_nonblocking(true)?;
        let mut last = io::Error::from(io::ErrorKind::NotFound);
        for path in SYSTEM_LOG {
            match socket.connect(path) {
                Ok(()) => return Ok(Sink::System(socket)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// `udp://host:port`; the port is 514 unless it is said.
    pub(super) fn remote(address: &str) -> io::Result<Self> {
        let bare = address.strip_prefix("udp://").unwrap_or(address);
        if bare.contains("://") {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "only udp:// is supported",
            ));
        }
        let with_port = match bare.rsplit_once(':') {
            Some((_, port)) if port.parse::<u16>().is_ok() => bare.to_owned(),
            _ => format!("{bare}:514"),
        };
        let to = with_port
            .to_socket_addrs()?
            .next()
            .ok_or(io::ErrorKind::NotFound)?;
        let from = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(from)?;
        socket.connect(to)?;
        socket.set_nonblocking(true)?;
        Ok(Sink::Remote(socket))
    }

    /// Writes one line, its end included.
    pub(super) fn write(&mut self, level: Level, line: &[u8]) -> io::Result<()> {
        match self {
            Sink::Stderr => io::stderr().write_all(line),
            Sink::File(file) => file.write(line),
            Sink::System(socket) => socket.send(&datagram(level, "", line)).map(|_| ()),
            Sink::Remote(socket) => {
                // Elsewhere nobody knows when and where it was written.
                let time = chrono::Local::now().format("%Y-%m-%dT%H:%M:%S%:z");
                let origin = format!("{time} {} ", host());
                socket.send(&datagram(level, &origin, line)).map(|_| ())
            }
        }
    }

    /// Opens a file again by its name; `None` when this is no file.
    pub(super) fn reopen(&mut self) -> Option<io::Result<()>> {
        match self {
            Sink::File(file) => Some(file.reopen()),
            _ => None,
        }
    }
}

/// This machine's name.
fn host() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match name.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}

/// `<priority>[time host ]program[pid]: text`
fn datagram(level: Level, origin: &str, line: &[u8]) -> Vec<u8> {
    let severity = match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 5,
        Level::DEBUG | Level::TRACE => 7,
    };
    let (program, pid) = (crate::ports::program(), std::process::id());
    let mut text = format!("<{}>{origin}{program}[{pid}]: ", DAEMON * 8 + severity).into_bytes();
    text.extend_from_slice(line.strip_suffix(b"\n").unwrap_or(line));
    text
}

// === impl LogFile ===

impl LogFile {
    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        self.file.write_all(line)?;
        self.size += line.len() as u64;
        if self.limit > 0 && self.size > self.limit {
            // If that fails, the old file goes on growing: better than no log.
            self.set_aside()?;
        }
        Ok(())
    }

    fn set_aside(&mut self) -> io::Result<()> {
        let stamp = chrono::Local::now().format("%Y.%m.%d.%H.%M.%S.%9f");
        let mut aside = self.path.clone().into_os_string();
        aside.push(format!(".{stamp}"));
        std::fs::rename(&self.path, &aside)?;
        self.reopen()?;
        let note = format!(
            "[{}] {} [INF] Rotated log, backup saved as {:?}\n",
            std::process::id(),
            chrono::Local::now().format("%Y/%m/%d %H:%M:%S%.6f"),
            Path::new(&aside)
        );
        self.file.write_all(note.as_bytes())?;
        self.size = note.len() as u64;
        self.remove_old()
    }

    /// Removes what was set aside first, beyond the number to keep.
    fn remove_old(&self) -> io::Result<()> {
        let (Some(name), true) = (self.path.file_name(), self.keep > 0) else {
            return Ok(());
        };
        let prefix = format!("{}.", name.to_string_lossy());
        let folder = match self.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let mut aside: Vec<_> = std::fs::read_dir(folder)?
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| name.strip_prefix(&prefix).is_some_and(is_stamp))
            .collect();
        aside.sort();
        let superfluous = aside.len().saturating_sub(self.keep.saturating_sub(1));
        for name in aside.iter().take(superfluous) {
            std::fs::remove_file(folder.join(name))?;
        }
        Ok(())
    }

    fn reopen(&mut self) -> io::Result<()> {
        (self.file, self.size) = open(&self.path)?;
        Ok(())
    }
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Whether this is the time a file was set aside, and not the end of another file's name.
fn is_stamp(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    lengths == [4, 2, 2, 2, 2, 2, 9]
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    #[test]
    fn a_full_file_gives_way_and_the_oldest_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.log");
        std::fs::write(folder.path().join("bus.log.old"), "not one of them").unwrap();
        let mut sink = Sink::file(&path, 200, 3).unwrap();
        for number in 0..40 {
            let line = format!("line {number} and some words to fill it\n");
            sink.write(Level::INFO, line.as_bytes()).unwrap();
        }
        let mut names: Vec<_> = std::fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"bus.log.old".to_owned()));
        assert!(std::fs::metadata(&path).unwrap().len() < 300);
        let log = std::fs::read_to_string(&path).unwrap();
        assert!(log.contains("[INF] Rotated log, backup saved as"), "{log}");
        let kept = names
            .iter()
            .filter(|name| *name != "bus.log" && *name != "bus.log.old");
        for name in kept {
            assert!(is_stamp(name.strip_prefix("bus.log.").unwrap()), "{name}");
        }
    }

    #[test]
    fn reopening_makes_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bus.log");
        let mut sink = Sink::file(&path, 0, 0).unwrap();
        sink.write(Level::INFO, b"one\n").unwrap();
        std::fs::rename(&path, folder.path().join("away")).unwrap();
        sink.write(Level::INFO, b"two\n").unwrap();
        sink.reopen().unwrap().unwrap();
        sink.write(Level::INFO, b"three\n").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "three\n");
        assert!(Sink::Stderr.reopen().is_none());
    }

    #[test]
    fn a_remote_log_gets_one_datagram_a_line() {
        let there = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = format!("udp://{}", there.local_addr().unwrap());
        let mut sink = Sink::remote(&address).unwrap();
        sink.write(Level::WARN, b"mind the gap\n").unwrap();
        let mut buffer = [0; 200];
        let count = there.recv(&mut buffer).unwrap();
        let text = String::from_utf8_lossy(&buffer[..count]);
        let (origin, program) = text.split_once("cupola").unwrap();
        let [time, host] = origin.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("{text}")
        };
        let time = time.strip_prefix("<28>").unwrap();
        chrono::DateTime::parse_from_rfc3339(time).unwrap();
        assert!(!host.is_empty() && program.contains('['), "{text}");
        assert!(text.ends_with("]: mind the gap"), "{text}");
        assert!(Sink::remote("tcp://127.0.0.1:1").is_err());
    }
}
