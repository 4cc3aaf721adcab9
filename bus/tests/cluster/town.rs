//! Networks of the test's own: a namespace for each server, all plugged into a switch in another one, from
//! where the clients come. A plug can be pulled.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const PREFIX: &str = "cupola-bus-test-";
static TOWNS: AtomicUsize = AtomicUsize::new(0);

/// A switch and the servers plugged into it.
pub(crate) struct Town {
    name: String,
    houses: Vec<House>,
    folder: tempfile::TempDir,
}

/// A namespace with a server in it.
pub(crate) struct House {
    name: String,
    plug: String,
    program: PathBuf,
    config: PathBuf,
    log: PathBuf,
    process: Option<Child>,
    pub(crate) clients: SocketAddr,
}

/// A nats-server or ours.
#[derive(Clone, Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) path: PathBuf,
}

/// `cupola-bus`.
pub(crate) fn ours() -> Option<Program> {
    there("ours", env!("CARGO_BIN_EXE_cupola-bus").into())
}

/// Debian's nats-server.
pub(crate) fn old() -> Option<Program> {
    there("2.9.10", "/usr/sbin/nats-server".into())
}

/// The nats-server that `make bench-bus` fetches.
pub(crate) fn new() -> Option<Program> {
    let target = Path::new(env!("CARGO_BIN_EXE_cupola-bus"))
        .ancestors()
        .nth(2);
    let target = target.unwrap_or(Path::new("."));
    there("2.15.1", target.join("bench-bus/pypi/bin/nats-server"))
}

fn there(name: &'static str, path: PathBuf) -> Option<Program> {
    if path.is_file() {
        return Some(Program { name, path });
    }
    eprintln!("SKIPPED: no nats-server {name} at {}", path.display());
    None
}

/// Runs `test` where the clients of a new town are, unless this machine allows no such thing.
pub(crate) fn visit<F, Fut>(programs: &[Program], test: F)
where
    F: FnOnce(Town) -> Fut + Send,
    Fut: Future<Output = ()>,
{
    if !nix::unistd::geteuid().is_root() {
        eprintln!("SKIPPED: network namespaces need root");
        return;
    }
    let town = Town::build(programs);
    let space = std::fs::File::open(format!("/run/netns/{}", town.name)).unwrap();
    // A thread of its own: only that is moved.
    let done = std::thread::scope(|scope| {
        let visitor = scope.spawn(|| {
            nix::sched::setns(space, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.unwrap().block_on(test(town));
        });
        visitor.join()
    });
    if let Err(panic) = done {
        std::panic::resume_unwind(panic);
    }
}

/// `ip` with these words.
fn ip(words: &str) {
    let status = Command::new("ip").args(words.split(' ')).status().unwrap();
    assert!(status.success(), "ip {words}");
}

impl Town {
    fn build(programs: &[Program]) -> Self {
        sweep();
        let number = TOWNS.fetch_add(1, Ordering::Relaxed);
        let name = format!("{PREFIX}{}-{number}", std::process::id());
        let mut town = Town {
            name: name.clone(),
            houses: Vec::new(),
            folder: tempfile::tempdir().unwrap(),
        };
        ip(&format!("netns add {name}"));
        ip(&format!("-n {name} link set lo up"));
        ip(&format!("-n {name} link add switch type bridge"));
        ip(&format!("-n {name} addr add 10.77.0.1/24 dev switch"));
        ip(&format!("-n {name} link set switch up"));
        for (at, program) in programs.iter().enumerate() {
            let house = House::build(&town, at, program);
            town.houses.push(house);
        }
        for house in &mut town.houses {
            house.start();
        }
        town
    }

    pub(crate) fn house(&mut self, at: usize) -> &mut House {
        &mut self.houses[at]
    }

    /// Pulls the plug of a house, or puts it back.
    pub(crate) fn plug(&self, at: usize, up: bool) {
        let state = if up { "up" } else { "down" };
        ip(&format!(
            "-n {} link set {} {state}",
            self.name, self.houses[at].plug
        ));
    }
}

impl House {
    fn build(town: &Town, at: usize, program: &Program) -> Self {
        let (switch, name) = (&town.name, format!("{}-{at}", town.name));
        let plug = format!("plug{at}");
        let own = format!("10.77.0.{}", 11 + at);
        ip(&format!("netns add {name}"));
        ip(&format!(
            "-n {switch} link add {plug} type veth peer name eth0 netns {name}"
        ));
        ip(&format!("-n {switch} link set {plug} master switch up"));
        ip(&format!("-n {name} addr add {own}/24 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
        // All but the first know only the first, as most clusters are set up; the first knows the second,
        // so that it, too, comes back when it has been away.
        let known = if at == 0 { 12 } else { 11 };
        let config = town.folder.path().join(format!("{at}.conf"));
        let text = format!(
            "listen: \"{own}:4222\"\nserver_name: \"{at}-{}\"\n\
             cluster {{\n  name: town\n  listen: \"{own}:6222\"\n  routes: [\"nats://10.77.0.{known}:6222\"]\n\
             connect_retries: 3\n  authorization {{ user: route, password: \"s3cret\", timeout: 5 }}\n}}\n\
             ping_interval: \"1s\"\nping_max: 2\n",
            program.name
        )
        .replace(
            "nats://10.77",
            "nats://route:s3cret@10.77",
        );
        std::fs::write(&config, text).unwrap();
        House {
            plug,
            program: program.path.clone(),
            log: town.folder.path().join(format!("{at}.log")),
            config,
            process: None,
            clients: format!("{own}:4222").parse().unwrap(),
            name,
        }
    }

    /// Starts its server.
    pub(crate) fn start(&mut self) {
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&self.log)
            .unwrap();
        let process = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .arg(&self.program)
            .arg("-c")
            .arg(&self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// Kills its server (SIGKILL).
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill().unwrap();
            process.wait().unwrap();
        }
    }

    /// What its server has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Town {
    fn drop(&mut self) {
        let broken = std::thread::panicking();
        for house in &mut self.houses {
            house.kill();
            if broken {
                eprintln!("--- {}:\n{}", house.name, house.log());
            }
            remove(&house.name);
        }
        remove(&self.name);
    }
}

fn remove(name: &str) {
    let _ = Command::new("ip").args(["netns", "del", name]).status();
}

/// Removes what tests have left that were killed.
fn sweep() {
    let Ok(spaces) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for space in spaces.flatten() {
        let name = space.file_name().to_string_lossy().into_owned();
        let pid = name
            .strip_prefix(PREFIX)
            .and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            remove(&name);
        }
    }
}

/// Waits until a server lets clients in.
pub(crate) fn wait_for(address: SocketAddr, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !is_open(address) {
        assert!(Instant::now() < deadline, "no server at {address}");
        std::thread::yield_now();
    }
}

/// Whether a server lets clients in.
pub(crate) fn is_open(address: SocketAddr) -> bool {
    std::net::TcpStream::connect_timeout(&address, Duration::from_millis(500)).is_ok()
}
