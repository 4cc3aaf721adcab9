//! A broker, a controller's blob addresses and a stager in a process of its own, on loopback and
//! in a temporary folder.

use std::collections::HashSet;
use std::fs;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cupola_component::{Bus, Deps};
use cupola_messages::logs;
use cupola_messages::staging::{self, Advertise, Completed, StartAnswer, StartStaging};
use cupola_stager::Config;
use cupola_testkit::room::{RoleProcess, becomes, connect};
use cupola_testkit::{Listening, NatsServer, example, program};
use cupola_types::{AppGuid, Role, StagerId};
use nix::sys::signal::Signal;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

pub(crate) use cupola_testkit::room::privileged;

const STAGER_ID: &str = "test-stager";
/// How long anything may take here.
const PATIENCE: Duration = Duration::from_secs(30);

/// Everything around one stager.
pub(crate) struct Platform {
    // In the order in which they have to go.
    stager: RoleProcess,
    pub(crate) bus: Bus,
    _broker: NatsServer,
    /// What the controller answers.
    pub(crate) controller: MockServer,
    lines: Arc<Mutex<Vec<(AppGuid, String)>>>,
    advertised: Arc<Mutex<Option<Advertise>>>,
    pub(crate) dir: tempfile::TempDir,
}

/// Runs the stager when this process was started to be it. The test binary has one test that calls
/// this, so that the parent can kill a real process.
pub(crate) fn be_the_stager() {
    let Some(config) = RoleProcess::config() else {
        return;
    };
    let room = |config: Config, deps: Deps, shutdown: CancellationToken| async move {
        cupola_stager::build(config, deps)
            .await?
            .run(shutdown)
            .await
    };
    cupola_component::run(Role::Stager, &config, room);
    std::process::exit(0);
}

impl Platform {
    /// Starts everything; `extra` are more lines for the section `[stager]`.
    pub(crate) async fn start(extra: &str) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("stager-")
            .tempdir_in("/tmp")
            .unwrap();
        let broker = NatsServer::start(dir.path());
        let section = format!(
            "[stager]\ndata_dir = \"{}\"\ntools_dir = \"{}\"\n{extra}\n\
             [stager.depot]\nsupervisor = \"{}\"\nprefix = \"tstg\"\n",
            dir.path().join("stager").display(),
            program("cupola-staticfile").parent().unwrap().display(),
            program("cupola-warden").display(),
        );
        let (test, url) = ("stager_process", broker.url());
        let mut platform = Self {
            stager: RoleProcess::new(test, dir.path(), STAGER_ID, &url, &section),
            dir,
            bus: connect(&url).await,
            controller: MockServer::start().await,
            lines: Arc::default(),
            advertised: Arc::default(),
            _broker: broker,
        };
        platform.listen().await;
        platform.start_stager().await;
        platform
    }

    async fn listen(&self) {
        let mut batches = self.bus.subscribe(&logs::ALL).await.unwrap();
        let lines = Arc::clone(&self.lines);
        tokio::spawn(async move {
            while let Some(batch) = batches.next().await {
                let said = batch
                    .lines
                    .into_iter()
                    .map(|line| (batch.app_id.clone(), line.message));
                lines.lock().unwrap().extend(said);
            }
        });
        let mut advertisements = self.bus.subscribe(&staging::ADVERTISE).await.unwrap();
        let last = Arc::clone(&self.advertised);
        tokio::spawn(async move {
            while let Some(advertise) = advertisements.next().await {
                *last.lock().unwrap() = Some(advertise);
            }
        });
        self.bus.flush(PATIENCE).await.unwrap();
    }

    /// Starts the stager's process and waits until it advertises.
    pub(crate) async fn start_stager(&mut self) {
        *self.advertised.lock().unwrap() = None;
        self.stager.start();
        self.until("an advertisement", || self.advertised()).await;
    }

    pub(crate) fn advertised(&self) -> Option<Advertise> {
        self.advertised.lock().unwrap().clone()
    }

    /// SIGKILL, and the wait for it to be gone.
    pub(crate) fn kill_stager(&mut self) {
        self.stager.kill();
    }

    /// SIGTERM, and the wait for it to be gone.
    pub(crate) async fn stop_stager(&mut self) {
        self.stager.signal(Signal::SIGTERM);
        self.stager.ends(PATIENCE).await;
    }

    /// Puts the zip of a package where the order of `task` finds it.
    pub(crate) async fn offer(&self, task: &str, package: Vec<u8>) {
        let get = Mock::given(method("GET")).and(path(format!("/{task}/package")));
        get.respond_with(ResponseTemplate::new(200).set_body_bytes(package))
            .mount(&self.controller)
            .await;
        let post = Mock::given(method("POST"));
        post.respond_with(ResponseTemplate::new(200))
            .mount(&self.controller)
            .await;
    }

    /// An order for a build whose app has the name of its task.
    pub(crate) fn order(&self, task: &str) -> StartStaging {
        let at = |what: &str| format!("{}/{task}/{what}", self.controller.uri());
        let order = json!({
            "app_id": task,
            "task_id": format!("task-{task}"),
            "properties": {"vcap_application": {"application_name": task}},
            "download_uri": at("package"),
            "upload_uri": at("droplet"),
            "buildpack_cache_download_uri": at("cache"),
            "buildpack_cache_upload_uri": at("cache"),
            "completed_uri": at("completed"),
            "memory_limit": 64,
            "disk_limit": 64,
            "timeout": 30,
        });
        serde_json::from_value(order).unwrap()
    }

    pub(crate) async fn ask(&self, order: &StartStaging) -> StartAnswer {
        let call = staging::start(&StagerId::new(STAGER_ID));
        self.bus
            .request(&call, order, Duration::from_secs(2))
            .await
            .unwrap()
    }

    /// Orders a build that must be accepted.
    pub(crate) async fn accepted(&self, order: &StartStaging) {
        let answer = self.ask(order).await;
        assert!(
            matches!(answer, StartAnswer::Accepted { .. }),
            "{answer:?}\n{}",
            self.log()
        );
    }

    /// Offers an example, orders its build and waits for the result.
    pub(crate) async fn stage(&self, name: &str) -> Completed {
        self.offer(name, zip_of(&example(name))).await;
        let order = self.order(name);
        self.accepted(&order).await;
        self.completed(name).await
    }

    /// The result that the controller was sent.
    pub(crate) async fn completed(&self, task: &str) -> Completed {
        let body = self.received(task, "completed").await;
        serde_json::from_slice(&body).unwrap()
    }

    /// What was posted to an address of a task.
    pub(crate) async fn received(&self, task: &str, what: &str) -> Vec<u8> {
        let path = format!("/{task}/{what}");
        let body = becomes(PATIENCE, || self.posted(&path)).await;
        body.unwrap_or_else(|| panic!("no {what} of {task}\n{}", self.log()))
    }

    pub(crate) async fn posted(&self, path: &str) -> Option<Vec<u8>> {
        let requests = self.controller.received_requests().await.unwrap();
        let posts = requests
            .into_iter()
            .filter(|request| request.method == "POST");
        posts
            .filter(|request| request.url.path() == path)
            .map(|request| request.body)
            .next_back()
    }

    /// The files of the droplet that was uploaded.
    pub(crate) async fn droplet(&self, task: &str) -> Vec<(String, u32, String)> {
        let body = self.received(task, "droplet").await;
        let mut files = Vec::new();
        let inflated = flate2::read::GzDecoder::new(&body[..]);
        for entry in tar::Archive::new(inflated).entries().unwrap() {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().to_str().unwrap().to_owned();
            let mode = entry.header().mode().unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            files.push((name, mode, String::from_utf8_lossy(&content).into_owned()));
        }
        files
    }

    /// The lines that an app's log got so far.
    pub(crate) fn lines(&self, app: &str) -> Vec<String> {
        let lines = self.lines.lock().unwrap();
        lines
            .iter()
            .filter(|(of, _)| of.as_str() == app)
            .map(|(_, line)| line.clone())
            .collect()
    }

    /// Waits until an app's log has a line with `text`.
    pub(crate) async fn line(&self, app: &str, text: &str) -> String {
        let found = || self.lines(app).into_iter().find(|line| line.contains(text));
        self.until(&format!("the line {text:?} of {app}"), found)
            .await
    }

    pub(crate) async fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let found = becomes(PATIENCE, || std::future::ready(found())).await;
        found.unwrap_or_else(|| panic!("no {what}\n{}", self.log()))
    }

    /// Waits until nothing of a build is left: no container, no cgroup, no file, nothing to tell.
    pub(crate) async fn nothing_is_left(&self) {
        let folder = self.dir.path().join("stager");
        let left = || {
            let mut left = names(&folder.join("journal"));
            left.extend(names(&folder.join("scratch")));
            let depot = names(&folder.join("depot")).into_iter();
            left.extend(depot.filter(|name| !name.starts_with('.') && name.len() == 20));
            left.extend(mounts_below(&folder));
            left
        };
        let none = || std::future::ready(left().is_empty().then_some(()));
        let gone = becomes(PATIENCE, none).await;
        assert!(gone.is_some(), "left: {:?}\n{}", left(), self.log());
    }

    /// The most memory that the stager ever had, in kB.
    pub(crate) fn peak_memory_kb(&self) -> u64 {
        let pid = self.stager.pid();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        self.stager.log()
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn mounts_below(folder: &Path) -> HashSet<String> {
    let all = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = all.lines().filter_map(|line| line.split(' ').nth(4));
    points
        .filter(|point| Path::new(point).starts_with(folder))
        .map(str::to_owned)
        .collect()
}

/// The package of a folder, as `cup push` makes it.
pub(crate) fn zip_of(folder: &Path) -> Vec<u8> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path)
            } else {
                files.push(path)
            }
        }
    }
    files.sort_unstable();
    let name = |path: &PathBuf| {
        path.strip_prefix(folder)
            .unwrap()
            .to_str()
            .unwrap()
            .to_owned()
    };
    zip(&files
        .iter()
        .map(|path| (name(path), fs::read(path).unwrap()))
        .collect::<Vec<_>>())
}

pub(crate) fn zip(files: &[(String, Vec<u8>)]) -> Vec<u8> {
    let options = ::zip::write::SimpleFileOptions::default();
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(name.as_str(), options).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A package of text files.
pub(crate) fn app(files: &[(&str, &str)]) -> Vec<u8> {
    let owned = |(name, content): &(&str, &str)| ((*name).to_owned(), content.as_bytes().to_vec());
    zip(&files.iter().map(owned).collect::<Vec<_>>())
}

/// A folder served over HTTP by the server of static sites.
pub(crate) fn file_server(root: &Path) -> Listening {
    let mut server = Command::new(program("cupola-staticfile"));
    Listening::start(server.args(["--port", "0", "--root"]).arg(root))
}

/// A package with one file and one symlink.
pub(crate) fn zip_with_link(file: (&str, &str), link: (&str, &str)) -> Vec<u8> {
    let options = ::zip::write::SimpleFileOptions::default();
    let mut writer = ::zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file(file.0, options).unwrap();
    writer.write_all(file.1.as_bytes()).unwrap();
    writer.add_symlink(link.0, link.1, options).unwrap();
    writer.finish().unwrap().into_inner()
}
