//! A broker, a blobstore and a dea in a process of its own, on loopback and in a temporary folder.
#![allow(dead_code, reason = "not every test uses every part")]

mod blobs;
mod witness;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cupola_component::{Bus, Deps};
use cupola_dea::Config;
use cupola_messages::dea::{self, Limits, StartAnswer, StartInstance};
use cupola_testkit::room::{RoleProcess, becomes, connect};
use cupola_testkit::{NatsServer, program};
use cupola_types::{
    AppGuid, AppVersion, DeaId, DiskMb, InstanceGuid, InstanceIndex, MemoryMb, Role,
};
use tokio_util::sync::CancellationToken;

pub(crate) use blobs::Blobs;
pub(crate) use cupola_testkit::room::privileged;
pub(crate) use witness::{Said, Witness};

const DEA_ID: &str = "test-dea";
/// How long the host may take to be as it was.
const TIDY_WITHIN: Duration = Duration::from_secs(5);

/// Everything around one dea.
pub(crate) struct Platform {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) bus: Bus,
    pub(crate) blobs: Blobs,
    pub(crate) witness: Witness,
    pub(crate) dea: RoleProcess,
    pub(crate) broker: NatsServer,
    /// First letters of everything that its containers leave on the host.
    prefix: String,
}

/// Runs the dea when this process was started to be it. Each test binary has one test that calls
/// this, so that the parent can kill a real process.
pub(crate) fn be_the_dea() {
    let Some(config) = RoleProcess::config() else {
        return;
    };
    let room = |config: Config, deps: Deps, shutdown: CancellationToken| async move {
        cupola_dea::build(config, deps).await?.run(shutdown).await
    };
    cupola_component::run(Role::Dea, &config, room);
    std::process::exit(0);
}

impl Platform {
    /// Starts everything; `extra` are more lines for the section `[dea]`.
    pub(crate) async fn start(extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("dea-")
            .tempdir_in("/tmp")
            .unwrap();
        let broker = NatsServer::start(dir.path());
        let bus = connect(&broker.url()).await;
        let letters = (0..5).map(|_| char::from(rand::random_range(b'a'..=b'z')));
        let prefix: String = std::iter::once('t').chain(letters).collect();
        let section = format!(
            "[dea]\ndata_dir = \"{}\"\nmemory = \"2G\"\ndisk = \"8G\"\nstop_grace = \"3s\"\n{extra}\n\
             [dea.depot]\nsupervisor = \"{}\"\nprefix = \"{prefix}\"\n",
            dir.path().join("dea").display(),
            program("cupola-warden").display(),
        );
        let dea = RoleProcess::new("dea_process", dir.path(), DEA_ID, &broker.url(), &section);
        let witness = Witness::listen(&bus).await;
        let blobs = Blobs::serve().await;
        let mut platform = Self {
            dir,
            bus,
            blobs,
            witness,
            dea,
            broker,
            prefix,
        };
        platform.start_dea().await;
        platform
    }

    /// Starts the dea's process and waits until it advertises.
    pub(crate) async fn start_dea(&mut self) {
        let since = self.witness.now();
        self.dea.start();
        self.see(since, "an advertisement", |said| said.advertised())
            .await;
    }

    /// Starts the broker again, where it was.
    pub(crate) async fn restart_broker(&mut self) {
        self.broker.restart();
        self.bus
            .wait_connected(Duration::from_secs(10))
            .await
            .unwrap();
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
        let none = || std::future::ready(self.containers().is_empty().then_some(()));
        let gone = becomes(TIDY_WITHIN, none).await;
        let left = self.containers();
        assert!(gone.is_some(), "left: {left:?}\n{}", self.log());
    }

    /// No cable and no mount of this platform is left.
    pub(crate) async fn nothing_is_left_on_the_host(&self) {
        let left = || leftovers(&self.prefix, self.dir.path());
        let none = || std::future::ready(left().is_empty().then_some(()));
        let gone = becomes(TIDY_WITHIN, none).await;
        assert!(gone.is_some(), "left: {:#?}", left());
    }

    pub(crate) fn log(&self) -> String {
        self.dea.log()
    }

    fn depot(&self) -> PathBuf {
        self.dir.path().join("dea/depot")
    }

    /// Removes containers that a failed test left.
    fn destroy_containers(&self) {
        let supervisor = program("cupola-warden");
        let config =
            cupola_warden::DepotConfig::new(self.depot(), self.prefix.as_str(), supervisor);
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
        self.dea.kill();
        if self.depot().exists() {
            self.destroy_containers();
        }
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
