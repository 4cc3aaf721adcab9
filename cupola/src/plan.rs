//! From settings to what each role reads: one config file a role, made anew at each start.

mod sections;
mod settings;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use cupola_types::Role;
use nix::unistd::{Gid, Uid};
use toml::{Table, Value};

use crate::data_folder::{DataFolder, closed_ancestor, write_private};
use crate::identity::Identity;
use crate::role_log::RoleLog;
use crate::role_process::RoleProcess;
use crate::sockets::HeldSocket;

pub(crate) use settings::Settings;

/// How long roles may take to stop. A dea stops all its instances first.
const DEA_STOPS_WITHIN: Duration = Duration::from_secs(30);
const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// Everything needed to start the roles.
#[derive(Debug)]
pub(crate) struct Plan {
    processes: Vec<ProcessPlan>,
    addresses: Addresses,
    domain: String,
}

#[derive(Debug)]
struct ProcessPlan {
    role: Role,
    user: Option<(Uid, Gid)>,
    sockets: Vec<Arc<HeldSocket>>,
    config: PathBuf,
    log: PathBuf,
    folder: PathBuf,
    executable: PathBuf,
}

/// Where things are, as other processes and clients are told.
#[derive(Debug, Clone)]
pub(crate) struct Addresses {
    pub(crate) http: SocketAddr,
    pub(crate) api: SocketAddr,
    pub(crate) uaa: SocketAddr,
    pub(crate) logs: SocketAddr,
    pub(crate) bus_url: String,
    /// The host that clients use to reach the sockets above.
    pub(crate) external_host: String,
}

impl Addresses {
    /// From what is known of the sockets.
    pub(crate) fn new(
        settings: &Settings,
        socket: impl Fn(Role, &str) -> Option<SocketAddr>,
    ) -> anyhow::Result<Self> {
        let of = |role: Role, name: &str| {
            socket(role, name).with_context(|| format!("no socket {name} for {role}"))
        };
        let bus_url = match &settings.bus_url {
            Some(url) => url.clone(),
            None => format!("nats://{}", reachable(of(Role::Bus, "nats")?)),
        };
        let api = of(Role::CloudController, "api")?;
        let external_host = settings
            .external_host
            .clone()
            .unwrap_or_else(|| reachable(api).ip().to_string());
        Ok(Self {
            http: of(Role::Router, "http")?,
            api,
            uaa: of(Role::Uaa, "http")?,
            logs: of(Role::Loggregator, "http")?,
            bus_url,
            external_host,
        })
    }

    /// The URL of a socket for clients.
    pub(crate) fn external(&self, scheme: &str, socket: SocketAddr) -> String {
        format!("{scheme}://{}:{}", self.external_host, socket.port())
    }

    /// The URL of a socket for other roles on this machine.
    pub(crate) fn internal(&self, socket: SocketAddr) -> String {
        format!("http://{}", reachable(socket))
    }
}

/// An address to dial for a socket that may listen everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

impl Plan {
    /// Works everything out and writes the roles' config files.
    pub(crate) fn make(
        settings: &Settings,
        identity: &Identity,
        folder: &DataFolder,
        sockets: Vec<HeldSocket>,
    ) -> anyhow::Result<Self> {
        let executable =
            std::env::current_exe().context("cannot tell which file this program is")?;
        let addresses = Addresses::new(settings, |role, name| {
            let socket = sockets.iter().find(|s| s.role == role && s.name == name);
            socket.map(|s| s.address)
        })?;
        let sockets: Vec<Arc<HeldSocket>> = sockets.into_iter().map(Arc::new).collect();
        let unprivileged = can_drop_privileges(settings, folder.root(), &executable);
        let mut processes = Vec::new();
        for (number, role) in (0u32..).zip(settings.roles()) {
            let user = (unprivileged && !matches!(role, Role::Dea | Role::Stager)).then(|| {
                let id = settings.uid_base(folder.root()) + number;
                (Uid::from_raw(id), Gid::from_raw(id))
            });
            folder.prepare_role(role, user)?;
            let config = role_config(role, settings, identity, folder, &addresses)?;
            let config_file = folder.config_file(role);
            write_private(&config_file, toml::to_string(&config)?.as_bytes(), user)?;
            processes.push(ProcessPlan {
                role,
                user,
                sockets: sockets.iter().filter(|s| s.role == role).cloned().collect(),
                config: config_file,
                log: folder.log_file(role),
                folder: folder.role_folder(role),
                executable: executable.clone(),
            });
        }
        Ok(Self {
            processes,
            addresses,
            domain: settings.domain.clone(),
        })
    }

    /// The roles to run, in starting order, with their addresses.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (Role, Vec<(String, SocketAddr)>)> {
        self.processes.iter().map(|process| {
            let addresses = process
                .sockets
                .iter()
                .map(|s| (s.name.to_owned(), s.address));
            (process.role, addresses.collect())
        })
    }

    /// The processes to run.
    pub(crate) fn processes(&self) -> impl Iterator<Item = RoleProcess> {
        self.processes.iter().map(|plan| RoleProcess {
            role: plan.role,
            executable: plan.executable.clone(),
            config: plan.config.clone(),
            log: RoleLog::new(plan.log.clone()),
            working_folder: plan.folder.clone(),
            user: plan.user,
            sockets: plan.sockets.clone(),
            stop_within: if plan.role == Role::Dea {
                DEA_STOPS_WITHIN
            } else {
                STOPS_WITHIN
            },
        })
    }

    /// Where the API answers clients.
    pub(crate) fn api_url(&self) -> String {
        self.addresses.external("http", self.addresses.api)
    }

    pub(crate) fn domain(&self) -> &str {
        &self.domain
    }

    /// Where an app with this host name answers.
    pub(crate) fn app_url(&self, host: &str) -> String {
        match self.addresses.http.port() {
            80 => format!("http://{host}.{}", self.domain),
            port => format!("http://{host}.{}:{port}", self.domain),
        }
    }
}

/// What `role` reads: what is generated, and the operator's settings over it.
pub(crate) fn role_config(
    role: Role,
    settings: &Settings,
    identity: &Identity,
    folder: &DataFolder,
    addresses: &Addresses,
) -> anyhow::Result<Table> {
    let mut config = sections::role_config(role, settings, identity, folder, addresses)?;
    if let Some(overlay) = settings.section(role) {
        merge(&mut config, role.as_str(), overlay);
    }
    Ok(config)
}

/// Whether roles can run as users of their own. When folders on the way are closed to others they
/// cannot, which is said once.
fn can_drop_privileges(settings: &Settings, data: &Path, executable: &Path) -> bool {
    if !settings.unprivileged_roles {
        return false;
    }
    let closed = [data, executable].into_iter().find_map(closed_ancestor);
    if let Some(closed) = &closed {
        tracing::warn!(
            "all roles run as root, because {} is closed to other users: `chmod o+x` it, or put \
             the data folder and the program elsewhere, so that each role gets a user of its own",
            closed.display()
        );
    }
    closed.is_none()
}

/// Puts the operator's settings of a role over the generated ones, table by table.
fn merge(config: &mut Table, key: &str, overlay: &Table) {
    let below = config
        .entry(key)
        .or_insert_with(|| Value::Table(Table::new()));
    let Value::Table(below) = below else { return };
    for (key, value) in overlay {
        match value {
            Value::Table(overlay) if below.get(key).is_some_and(Value::is_table) => {
                merge(below, key, overlay);
            }
            value => {
                below.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn the_operator_s_settings_win_and_leave_the_others_alone() {
        let mut config: Table = "[dea]\nmemory = 1\n[dea.containers]\nport = 1\nprefix = 'a'\n"
            .parse()
            .unwrap();
        let overlay: Table = "memory = 2\n[containers]\nport = 2\n".parse().unwrap();
        merge(&mut config, "dea", &overlay);
        let expected: Table = "[dea]\nmemory = 2\n[dea.containers]\nport = 2\nprefix = 'a'\n"
            .parse()
            .unwrap();
        assert_eq!(config, expected);
    }

    #[test]
    fn a_socket_that_listens_everywhere_is_dialled_on_loopback() {
        assert_eq!(
            reachable("0.0.0.0:80".parse().unwrap()),
            "127.0.0.1:80".parse().unwrap()
        );
        assert_eq!(
            reachable("10.0.0.1:80".parse().unwrap()),
            "10.0.0.1:80".parse().unwrap()
        );
    }
}
