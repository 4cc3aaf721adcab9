//! A whole platform.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::cup::{Cup, Ran};
use crate::http::{Answer, HttpRequest, request};
use crate::nats_server::{NatsServer, on_nats_server};
use crate::programs::program;
use crate::wait::until;

/// How long anything may take that should take moments, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to start a platform.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Text of `cupola.toml`.
    pub settings: String,
    /// Further flags of `cupola up`.
    pub flags: Vec<String>,
    /// Do not log in the client.
    pub logged_out: bool,
}

/// A running platform. Dropping it stops it; a failing test shows the logs.
#[derive(Debug)]
pub struct Platform {
    folder: tempfile::TempDir,
    process: Option<Child>,
    options: Options,
    cup: Cup,
    nats_server: Option<NatsServer>,
    /// Time from the start of the process until it said that it is ready.
    pub ready_after: Duration,
}

/// What `cupola status` says of a role.
#[derive(Debug, Clone)]
pub struct RoleStatus {
    /// Absent while it is down.
    pub pid: Option<i32>,
    /// How often it was started again.
    pub restarts: u64,
    /// `healthy`, `starting`, `failing` or `down`.
    pub health: String,
    /// Its listening address by socket name.
    pub addresses: Value,
}

impl Platform {
    /// Starts a platform on a new folder and logs the client in as admin.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Options::default())
    }

    /// Starts a platform on a new folder.
    #[must_use]
    pub fn start_with(options: Options) -> Self {
        Self::start_in(new_folder(), options)
    }

    /// Starts a platform on a folder that may have been used before.
    ///
    /// # Panics
    /// When it does not come up.
    #[must_use]
    pub fn start_in(folder: tempfile::TempDir, options: Options) -> Self {
        if !options.settings.is_empty() {
            std::fs::write(folder.path().join("data/cupola.toml"), &options.settings).unwrap();
        }
        let mut platform = Self {
            nats_server: on_nats_server()
                .then(|| NatsServer::for_platform(&folder.path().join("data"))),
            folder,
            process: None,
            options,
            cup: Cup::new(),
            ready_after: Duration::ZERO,
        };
        platform.up();
        if !platform.options.logged_out {
            platform.log_in();
        }
        platform
    }

    /// Starts the stopped platform again on the same folder.
    pub fn up(&mut self) {
        let output = self.folder.path().join("up.log");
        let log = File::create(&output).unwrap();
        let begun = Instant::now();
        let bus = self
            .nats_server
            .as_ref()
            .map(|server| ["--bus-url".to_owned(), server.url()]);
        let child = Command::new(program("cupola"))
            .args(["up", "--data-dir"])
            .arg(self.data_dir())
            .args(["--http", "127.0.0.1:0"])
            .args(&self.options.flags)
            .args(bus.into_iter().flatten())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(child);
        let ready = until(PATIENCE, || {
            let said = std::fs::read_to_string(&output).unwrap_or_default();
            if let Some(child) = &mut self.process
                && let Ok(Some(status)) = child.try_wait()
            {
                panic!("`cupola up` ended with {status}:\n{said}\n{}", self.logs());
            }
            said.contains("ready after").then(|| begun.elapsed())
        });
        self.ready_after = ready.unwrap_or_else(|| {
            let said = std::fs::read_to_string(&output).unwrap_or_default();
            panic!("the platform does not come up:\n{said}\n{}", self.logs())
        });
    }

    /// Stops the platform the way Ctrl-C does and waits for its end.
    pub fn stop(&mut self) {
        let Some(mut child) = self.process.take() else {
            return;
        };
        let _ = kill(pid_of(&child), Signal::SIGINT);
        if until(PATIENCE, || child.try_wait().ok().flatten()).is_none() {
            let _ = child.kill();
            let _ = child.wait();
            eprintln!("`cupola up` did not stop:\n{}", self.logs());
        }
    }

    /// Kills the supervisor, and with it all roles, without a warning.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.process.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the platform and gives its folder, for another start.
    #[must_use]
    pub fn into_folder(mut self) -> tempfile::TempDir {
        self.stop();
        std::mem::replace(&mut self.folder, tempfile::tempdir().unwrap())
    }

    /// The platform's data folder.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// The supervisor.
    ///
    /// # Panics
    /// When the platform is stopped.
    #[must_use]
    pub fn pid(&self) -> Pid {
        pid_of(self.process.as_ref().expect("the platform is stopped"))
    }

    /// Everything that the supervisor and the roles said.
    #[must_use]
    pub fn logs(&self) -> String {
        let mut files = vec![self.folder.path().join("up.log")];
        files.extend(
            self.nats_server
                .as_ref()
                .map(|server| server.log().to_owned()),
        );
        if let Ok(entries) = std::fs::read_dir(self.data_dir().join("log")) {
            files.extend(entries.flatten().map(|entry| entry.path()));
        }
        files
            .iter()
            .map(|file| {
                let text = std::fs::read_to_string(file).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(60).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                format!("=== {}\n{}\n", file.display(), tail.join("\n"))
            })
            .collect()
    }

    /// The value of a line of `cupola credentials`.
    ///
    /// # Panics
    /// When there is no such line.
    #[must_use]
    pub fn credential(&self, name: &str) -> String {
        let output = self.cupola(&["credentials"]);
        let line = output
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{name}=")));
        line.unwrap_or_else(|| panic!("no {name}= in {output}"))
            .to_owned()
    }

    /// Runs `cupola <command> --data-dir <this one>` and gives what it prints.
    ///
    /// # Panics
    /// When it fails.
    #[must_use]
    pub fn cupola(&self, command: &[&str]) -> String {
        let output = Command::new(program("cupola"))
            .args(command)
            .arg("--data-dir")
            .arg(self.data_dir())
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "cupola {command:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// What `cupola status --json` says of a role.
    ///
    /// # Panics
    /// When it says nothing of it.
    #[must_use]
    pub fn role(&self, role: &str) -> RoleStatus {
        let status: Value = serde_json::from_str(&self.cupola(&["status", "--json"])).unwrap();
        let roles = status["roles"].as_array().unwrap();
        let role = roles
            .iter()
            .find(|r| r["role"] == role)
            .expect("no such role");
        RoleStatus {
            pid: role["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok()),
            restarts: role["restarts"].as_u64().unwrap(),
            health: role["health"].as_str().unwrap().to_owned(),
            addresses: role["addresses"].clone(),
        }
    }

    /// A listening address of a role.
    ///
    /// # Panics
    /// When it has no such socket.
    #[must_use]
    pub fn address(&self, role: &str, socket: &str) -> SocketAddr {
        let role = self.role(role);
        role.addresses[socket]
            .as_str()
            .expect("no such socket")
            .parse()
            .unwrap()
    }

    /// Kills a role without a warning and waits until it is healthy again.
    ///
    /// # Panics
    /// When it does not come back.
    pub fn kill_role(&mut self, role: &str) {
        if role == "bus"
            && let Some(server) = &mut self.nats_server
        {
            server.restart();
            return;
        }
        let before = self.role(role);
        kill(
            Pid::from_raw(before.pid.expect("the role is down")),
            Signal::SIGKILL,
        )
        .unwrap();
        let back = until(PATIENCE, || {
            let now = self.role(role);
            (now.restarts > before.restarts && now.health == "healthy").then_some(())
        });
        assert!(
            back.is_some(),
            "{role} does not come back:\n{}",
            self.logs()
        );
    }

    /// Logs the client in as admin, at the organization and space that the first start made.
    pub fn log_in(&self) {
        self.cup(&["api", &self.credential("api")]).succeeds();
        let password = self.credential("password");
        self.cup(&["auth", &self.credential("user"), &password])
            .succeeds();
        self.cup(&["target", "-o", "cupola", "-s", "dev"])
            .succeeds();
    }

    /// Runs the client.
    #[must_use]
    pub fn cup(&self, args: &[&str]) -> Ran {
        self.cup.run(args)
    }

    /// The client itself.
    #[must_use]
    pub fn client(&self) -> &Cup {
        &self.cup
    }

    /// The host name of an app.
    #[must_use]
    pub fn host(&self, app: &str) -> String {
        format!("{app}.{}", self.credential("domain"))
    }

    /// GET through the router.
    ///
    /// # Panics
    /// When no answer comes.
    #[must_use]
    pub fn get(&self, app: &str, path: &str) -> Answer {
        self.try_get(app, path)
            .unwrap_or_else(|e| panic!("GET {app}{path}: {e}\n{}", self.logs()))
    }

    /// GET through the router.
    ///
    /// # Errors
    /// Whatever goes wrong on the connection.
    pub fn try_get(&self, app: &str, path: &str) -> std::io::Result<Answer> {
        let host = self.host(app);
        let to = self.address("router", "http");
        let get = HttpRequest {
            method: "GET",
            host: &host,
            path,
            headers: &[],
            body: &[],
        };
        request(to, &get)
    }

    /// GET through the router until the answer has `status`.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub fn wait_for(&self, app: &str, path: &str, status: u16) -> Answer {
        let answer = until(PATIENCE, || {
            self.try_get(app, path)
                .ok()
                .filter(|answer| answer.status == status)
        });
        answer.unwrap_or_else(|| {
            panic!("{app}{path} never answers {status}:\n{}", self.logs());
        })
    }

    /// The roles that this platform runs, in starting order.
    #[must_use]
    pub fn roles(&self) -> Vec<String> {
        let status: Value = serde_json::from_str(&self.cupola(&["status", "--json"])).unwrap();
        let roles = status["roles"].as_array().unwrap();
        roles
            .iter()
            .map(|role| role["role"].as_str().unwrap().to_owned())
            .collect()
    }

    /// A file in the folder above the data folder, for a test's own use.
    #[must_use]
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.logs());
        }
        self.stop();
    }
}

/// A folder that roles running as users of their own can pass through.
fn new_folder() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::Builder::new()
        .prefix("cupola-")
        .tempdir()
        .unwrap();
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(folder.path(), open).unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    folder
}

fn pid_of(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).unwrap())
}
