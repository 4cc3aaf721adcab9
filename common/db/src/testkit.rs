//! Fresh databases for tests, on both engines.
//!
//! PostgreSQL is a private server: initialised in a temporary folder, on a random loopback port,
//! under an unprivileged account when the tests run as root, stopped when the value is dropped.

#![allow(
    clippy::missing_panics_doc,
    reason = "a test kit fails by panicking, with the reason"
)]

use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{DatabaseConfig, Db, Migrations};

/// A database that nobody has used, gone when dropped.
#[derive(Debug)]
pub struct TestDb {
    /// Open and migrated.
    pub db: Db,
    /// How to open it a second time.
    pub config: DatabaseConfig,
    /// The url in there, readable.
    pub url: String,
    _folder: Option<TempDir>,
}

/// A private PostgreSQL server.
#[derive(Debug)]
pub struct PostgresServer {
    child: Child,
    port: u16,
    databases: AtomicU32,
    _folder: TempDir,
}

/// Who the server runs as.
#[derive(Clone, Copy)]
struct Account {
    uid: u32,
    gid: u32,
}

/// A SQLite file in a temporary folder.
pub async fn sqlite(migrations: Migrations) -> TestDb {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let url = format!("sqlite://{}/test.db", folder.path().display());
    let config = DatabaseConfig::at(url.clone());
    let db = Db::open(config.clone(), migrations)
        .await
        .expect("open a fresh SQLite database");
    TestDb {
        db,
        config,
        url,
        _folder: Some(folder),
    }
}

// === impl PostgresServer ===

impl PostgresServer {
    /// Initialises and starts a server, and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        let bin = binaries();
        let account = unprivileged();
        let folder = tempfile::Builder::new()
            .prefix("cupola-pg-")
            .tempdir_in(std::env::temp_dir())
            .expect("a temporary folder");
        let data = folder.path().join("data");
        std::fs::create_dir(&data).expect("create the data folder");
        if let Some(account) = account {
            for path in [folder.path(), &data] {
                std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid))
                    .expect("give the data folder to the server's account");
            }
        }
        let output = command(&bin.join("initdb"), account, folder.path())
            .args([
                "--no-sync",
                "--auth=trust",
                "--username=cupola",
                "--encoding=UTF8",
            ])
            .args(["--locale=C", "-D"])
            .arg(&data)
            .output()
            .expect("run initdb");
        assert!(
            output.status.success(),
            "initdb failed: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("create the server log");
        let child = command(&bin.join("postgres"), account, folder.path())
            .arg("-D")
            .arg(&data)
            .args([
                "-c",
                "listen_addresses=127.0.0.1",
                "-c",
                "unix_socket_directories=",
            ])
            .args(["-c", &format!("port={port}"), "-c", "fsync=off"])
            .args(["-c", "shared_buffers=16MB", "-c", "max_connections=60"])
            .args(["-c", "max_worker_processes=0", "-c", "autovacuum=off"])
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("start postgres");
        let mut server = Self {
            child,
            port,
            databases: AtomicU32::new(0),
            _folder: folder,
        };
        server.wait_until_ready(&bin);
        server
    }

    /// The url of a new, empty database on this server.
    pub async fn empty_database(&self) -> String {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let (admin, connection) =
            tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls)
                .await
                .expect("connect to the private PostgreSQL");
        let driver = tokio::spawn(connection);
        admin
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .await
            .expect("create a test database");
        drop(admin);
        driver
            .await
            .expect("join the connection")
            .expect("close the connection");
        self.url(&name)
    }

    /// A new database on this server, open and migrated.
    pub async fn fresh(&self, migrations: Migrations) -> TestDb {
        let url = self.empty_database().await;
        let config = DatabaseConfig::at(url.clone());
        let db = Db::open(config.clone(), migrations)
            .await
            .expect("open a fresh database");
        TestDb {
            db,
            config,
            url,
            _folder: None,
        }
    }

    /// Kills every client's server process, as an administrator or a failover would.
    pub async fn kill_clients(&self) {
        let (admin, connection) =
            tokio_postgres::connect(&self.url("postgres"), tokio_postgres::NoTls)
                .await
                .expect("connect to the private PostgreSQL");
        let driver = tokio::spawn(connection);
        admin
            .batch_execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                 WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'",
            )
            .await
            .expect("terminate the other backends");
        drop(admin);
        driver
            .await
            .expect("join the connection")
            .expect("close the connection");
    }

    fn url(&self, database: &str) -> String {
        format!("postgres://cupola@127.0.0.1:{}/{database}", self.port)
    }

    fn wait_until_ready(&mut self, bin: &Path) {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            let ready = Command::new(bin.join("pg_isready"))
                .args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .status()
                .is_ok_and(|status| status.success());
            if ready {
                return;
            }
            let ended = self.child.try_wait().expect("ask for the server's state");
            assert!(
                ended.is_none(),
                "the private PostgreSQL ended at start: {ended:?}"
            );
            assert!(
                Instant::now() < deadline,
                "the private PostgreSQL did not come up in 30 s"
            );
            #[expect(
                clippy::disallowed_methods,
                reason = "a test waits for a process to answer"
            )]
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // The data is thrown away: no reason to be gentle, and its children end with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(program: &Path, account: Option<Account>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null());
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn binaries() -> PathBuf {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|version| version.path().join("bin"))
        .collect();
    found.sort();
    found.reverse();
    found.extend(std::env::split_paths(
        &std::env::var_os("PATH").unwrap_or_default(),
    ));
    found
        .into_iter()
        .find(|bin| {
            ["initdb", "postgres", "pg_isready"]
                .iter()
                .all(|tool| bin.join(tool).is_file())
        })
        .expect(
            "PostgreSQL's server programs (initdb, postgres) are needed for this test: \
             neither /usr/lib/postgresql/*/bin nor PATH has them (Debian: apt install postgresql)",
        )
}

/// The server refuses to run as root: an ordinary account takes its place.
fn unprivileged() -> Option<Account> {
    use std::os::unix::fs::MetadataExt;
    let me = std::fs::metadata("/proc/self").expect("read /proc/self");
    if me.uid() != 0 {
        return None;
    }
    let passwd = std::fs::read_to_string("/etc/passwd").expect("read /etc/passwd");
    let account = |name: &str| {
        let line = passwd
            .lines()
            .find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2);
        Some(Account {
            uid: fields.next()?.parse().ok()?,
            gid: fields.next()?.parse().ok()?,
        })
    };
    Some(
        account("postgres")
            .or_else(|| account("nobody"))
            .expect("an account `postgres` or `nobody` to run the server as"),
    )
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free loopback port")
        .port()
}
