//! A broker, a blobstore and a dea in a process of its own, on loopback and in a temporary folder.
#![allow(dead_code, reason = "not every test uses every part")]

mod blobs;
mod witness;

use std::fs::{self, File};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cupola_component::{Bus, BusConfig, Deps};
use cupola_dea::Config;
use cupola_messages::dea::{self, Limits, StartAnswer, StartInstance};
use cupola_types::{
    AppGuid, AppVersion, DeaId, DiskMb, InstanceGuid, InstanceIndex, MemoryMb, Role,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio_util::sync::CancellationToken;

pub(crate) use blobs::Blobs;
pub(crate) use witness::{Said, Witness};

/// Set for the process that is the dea.
const DEA_CONFIG: &str = "CUPOLA_TEST_DEA_CONFIG";
const DEA_ID: &str = "test-dea";

/// Everything around one dea.
pub(crate) struct Platform {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) bus: Bus,
    pub(crate) blobs: Blobs,
    pub(crate) witness: Witness,
    broker: Child,
    broker_port: u16,
    /// First letters of everything that its containers leave on the host.
    prefix: String,
    dea: Option<Child>,
}

/// Runs the dea when this process was started to be it. Each test binary has one test that calls
/// this, so that the parent can kill a real process.
pub(crate) fn be_the_dea() {
    let Some(config) = std::env::var_os(DEA_CONFIG) else {
        return;
    };
    let room = |config: Config, deps: Deps, shutdown: CancellationToken| async move {
        cupola_dea::build(config, deps).await?.run(shutdown).await
    };
    cupola_component::run(Role::Dea, Path::new(&config), room);
    std::process::exit(0);
}

/// Whether containers can be made here; says so when not.
pub(crate) fn privileged() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        println!("SKIPPED: this test makes containers and needs root");
    }
    root
}

impl Platform {
    /// Starts everything; `extra` are more lines for the section `[dea]`.
    pub(crate) async fn start(extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dea-")
            .tempdir_in("/tmp")
            .unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let broker = start_broker(port, dir.path());
        cupola_component::install_crypto();
        let url = format!("nats://127.0.0.1:{port}");
        let bus = BusConfig {
            urls: vec![url.clone()],
            nkey_seed: None,
            user: None,
            password: None,
            inbox_prefix: "_INBOX.test".to_owned(),
        };
        let bus = Bus::connect(&bus, "test").await.unwrap();
        bus.wait_connected(Duration::from_secs(10)).await.unwrap();
        let letters = (0..5).map(|_| char::from(rand::random_range(b'a'..=b'z')));
        let prefix: String = std::iter::once('t').chain(letters).collect();
        let config = format!(
            "[component]\nid = \"{DEA_ID}\"\n[bus]\nurls = [\"{url}\"]\n\
             [log]\nfilter = \"debug,hyper=info,async_nats=info,reqwest=info\"\n\
             [dea]\ndata_dir = \"{}\"\nmemory = \"2G\"\ndisk = \"8G\"\nstop_grace = \"3s\"\n{extra}\n\
             [dea.containers]\nsupervisor = \"{}\"\nprefix = \"{prefix}\"\n",
            dir.path().join("dea").display(),
            supervisor().display(),
        );
        fs::write(dir.path().join("dea.toml"), config).unwrap();
        let witness = Witness::listen(&bus).await;
        let blobs = Blobs::serve().await;
        let mut platform = Self {
            dir,
            bus,
            blobs,
            witness,
            broker,
            broker_port: port,
            prefix,
            dea: None,
        };
        platform.start_dea().await;
        platform
    }

    /// Starts the dea's process and waits until it advertises.
    pub(crate) async fn start_dea(&mut self) {
        let log = File::options()
            .append(true)
            .create(true)
            .open(self.dir.path().join("dea.log"))
            .unwrap();
        let since = self.witness.now();
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "dea_process", "--nocapture", "--test-threads=1"])
            .env(DEA_CONFIG, self.dir.path().join("dea.toml"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.dea = Some(child);
        let ready = self
            .witness
            .wait(since, "an advertisement", |said| said.advertised())
            .await;
        if let Err(why) = ready {
            panic!("{why}\n{}", self.log());
        }
    }

    /// SIGKILL to the broker.
    pub(crate) fn kill_broker(&mut self) {
        self.broker.kill().unwrap();
        self.broker.wait().unwrap();
    }

    /// Starts the broker again, where it was.
    pub(crate) async fn restart_broker(&mut self) {
        self.broker = start_broker(self.broker_port, self.dir.path());
        self.bus
            .wait_connected(Duration::from_secs(10))
            .await
            .unwrap();
    }

    pub(crate) fn signal_dea(&self, signal: Signal) {
        let dea = self.dea.as_ref().expect("the dea runs");
        kill(Pid::from_raw(i32::try_from(dea.id()).unwrap()), signal).unwrap();
    }

    /// SIGKILL, and the wait for it to be gone.
    pub(crate) fn kill_dea(&mut self) {
        let mut dea = self.dea.take().expect("the dea runs");
        dea.kill().unwrap();
        dea.wait().unwrap();
    }

    /// Waits for the dea's process to end by itself.
    pub(crate) async fn dea_ends(&mut self, within: Duration) {
        let mut dea = self.dea.take().expect("the dea runs");
        let deadline = Instant::now() + within;
        while dea.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                dea.kill().unwrap();
                dea.wait().unwrap();
                panic!("the dea did not end within {within:?}\n{}", self.log());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// An order for copy `index` of an app of the tests' server, with these variables.
    pub(crate) fn order(&self, app: &str, index: u32, env: &[&str]) -> StartInstance {
        StartInstance {
            droplet: AppGuid::new(app),
            version: AppVersion::new("v1"),
            name: app.to_owned(),
            index: InstanceIndex(index),
            uris: vec![format!("{app}.example.test")],
            sha1: self.blobs.sha1(),
            executable_uri: self.blobs.uri(),
            limits: Limits {
                mem: MemoryMb(64),
                disk: DiskMb(64),
                fds: 256,
            },
            env: env.iter().map(|pair| (*pair).to_owned()).collect(),
            services: Vec::new(),
            cc_partition: "default".to_owned(),
            start_command: None,
            health_check_timeout: Some(10),
            health_check_type: None,
            vcap_application: Default::default(),
            stack: String::new(),
            egress_network_rules: Vec::new(),
        }
    }

    pub(crate) async fn ask(&self, order: &StartInstance) -> StartAnswer {
        let call = dea::start(&DeaId::new(DEA_ID));
        self.bus
            .request(&call, order, Duration::from_secs(2))
            .await
            .unwrap()
    }

    /// Orders a start that must be accepted.
    pub(crate) async fn accepted(&self, order: &StartInstance) -> InstanceGuid {
        match self.ask(order).await {
            StartAnswer::Accepted { instance } => instance,
            refused @ StartAnswer::Refused { .. } => panic!("{refused:?}\n{}", self.log()),
        }
    }

    /// Orders a start and waits until the routers are told; returns where it listens.
    pub(crate) async fn running(&self, order: &StartInstance) -> (InstanceGuid, SocketAddr) {
        let since = self.witness.now();
        let guid = self.accepted(order).await;
        (guid, self.registered(since, order).await)
    }

    pub(crate) async fn registered(&self, since: usize, order: &StartInstance) -> SocketAddr {
        let (app, index) = (order.droplet.as_str(), order.index.to_string());
        self.see(since, "a registration", |said| {
            let registration = said.registered()?;
            let same = registration.app.as_deref() == Some(app)
                && registration.private_instance_index.as_deref() == Some(&index);
            let host = registration.host.parse().ok()?;
            same.then(|| SocketAddr::new(host, registration.port))
        })
        .await
    }

    /// Waits until something was said since `since`.
    pub(crate) async fn see<T>(
        &self,
        since: usize,
        what: &str,
        pick: impl FnMut(&witness::Said) -> Option<T>,
    ) -> T {
        match self.witness.wait(since, what, pick).await {
            Ok(found) => found,
            Err(why) => panic!("{why}\n{}", self.log()),
        }
    }

    /// The containers there are.
    pub(crate) fn containers(&self) -> Vec<String> {
        let names = fs::read_dir(self.depot()).into_iter().flatten().flatten();
        let names = names.filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| !name.starts_with('.'))
            .filter(|name| name.len() == 32)
            .collect()
    }

    pub(crate) async fn no_container_is_left(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        while !self.containers().is_empty() {
            assert!(
                Instant::now() < deadline,
                "left: {:?}\n{}",
                self.containers(),
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// No cable and no mount of this platform is left.
    pub(crate) async fn nothing_is_left_on_the_host(&self) {
        let deadline = Instant::now() + Duration::from_secs(5);
        loop {
            let left = leftovers(&self.prefix, self.dir.path());
            if left.is_empty() {
                return;
            }
            assert!(Instant::now() < deadline, "left: {left:#?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("dea.log")).unwrap_or_default()
    }

    fn depot(&self) -> PathBuf {
        self.dir.path().join("dea/depot")
    }

    /// Removes containers that a failed test left.
    fn destroy_containers(&self) {
        let config =
            cupola_warden::DepotConfig::new(self.depot(), self.prefix.as_str(), supervisor());
        let Ok(depot) = cupola_warden::Depot::open(config) else {
            return;
        };
        for found in depot.recover().unwrap_or_default() {
            if let cupola_warden::Recovered::Attached { container, .. }
            | cupola_warden::Recovered::Exited { container, .. } = found
            {
                let _ = container.destroy();
            }
        }
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if let Some(mut dea) = self.dea.take() {
            let _ = dea.kill();
            let _ = dea.wait();
        }
        if self.depot().exists() {
            self.destroy_containers();
        }
        let _ = self.broker.kill();
        let _ = self.broker.wait();
    }
}

/// Cables by their prefix, mounts by the folder they lie in.
fn leftovers(prefix: &str, dir: &Path) -> Vec<String> {
    let links = fs::read_dir("/sys/class/net")
        .into_iter()
        .flatten()
        .flatten();
    let links = links.filter_map(|entry| entry.file_name().into_string().ok());
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let dir = dir.display().to_string();
    let mounts = mounts
        .lines()
        .filter(|line| line.contains(&dir))
        .map(str::to_owned);
    links
        .filter(|name| name.starts_with(prefix))
        .chain(mounts)
        .collect()
}

fn start_broker(port: u16, dir: &Path) -> Child {
    let log = File::options()
        .append(true)
        .create(true)
        .open(dir.join("broker.log"))
        .unwrap();
    Command::new("nats-server")
        .args(["-a", "127.0.0.1", "-p", &port.to_string()])
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("nats-server is needed for this test: apt-get install nats-server")
}

/// One GET; the body, or why not.
pub(crate) async fn get(endpoint: SocketAddr, path: &str) -> Result<String, String> {
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(5))
        .build();
    let request = client.unwrap().get(format!("http://{endpoint}/{path}"));
    let answer = request.send().await.map_err(|e| e.to_string())?;
    answer.text().await.map_err(|e| e.to_string())
}

/// The supervisor's executable, built when it is not there.
fn supervisor() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let path = this.ancestors().nth(2).unwrap().join("cupola-warden");
    if !path.exists() {
        let built = Command::new(env!("CARGO"))
            .args(["build", "-p", "cupola-warden"])
            .status();
        assert!(
            built.unwrap().success() && path.exists(),
            "cupola-warden cannot be built"
        );
    }
    path
}
