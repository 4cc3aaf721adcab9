//! nats-server's settings, from its configuration file to ours.
//!
//! What this broker has, it takes over. What it knows to be without meaning here (persistence and other
//! protocols) it names in [`Options::ignored`]. What it does not have but somebody relies on (TLS,
//! clusters, accounts) is an error: starting without it would be worse than not starting.

mod auth;
mod read;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;

use crate::conf::{ConfError, Entry, Map, Problem};
use crate::config::Config;
use read::Field;

/// All a broker program can be told by a nats-server configuration file.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the broker itself needs; its addresses are set by [`Options::resolve`].
    pub config: Config,
    /// Host to listen on. Default `0.0.0.0`.
    pub host: String,
    /// Port to listen on; 0 lets the system choose. Default 4222.
    pub port: u16,
    /// Host for monitoring; the one for clients when absent.
    pub monitor_host: Option<String>,
    /// Port for monitoring; none when absent.
    pub monitor_port: Option<u16>,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// Where to write a file that names the ports.
    pub ports_file_dir: Option<PathBuf>,
    /// Where to log; standard error when absent.
    pub log_file: Option<PathBuf>,
    /// Log debug messages.
    pub debug: bool,
    /// Log even more.
    pub trace: bool,
    /// Put the time into log lines.
    pub logtime: bool,
    /// Settings that have no effect here.
    pub ignored: Vec<String>,
}

/// A name that leads to no address.
#[derive(Debug, thiserror::Error)]
#[error("cannot resolve {host:?}")]
pub struct ResolveError {
    /// The name.
    pub host: String,
    /// Why not.
    #[source]
    pub source: std::io::Error,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::default(),
            host: "0.0.0.0".to_owned(),
            port: 4222,
            monitor_host: None,
            monitor_port: None,
            pid_file: None,
            ports_file_dir: None,
            log_file: None,
            debug: false,
            trace: false,
            logtime: true,
            ignored: Vec::new(),
        }
    }
}

// === impl Options ===

impl Options {
    /// Takes over a parsed configuration file.
    ///
    /// # Errors
    /// A key is unknown, not supported, or has a senseless value.
    pub fn from_map(map: &Map) -> Result<Self, ConfError> {
        let mut options = Options::default();
        for entry in map.entries() {
            options.set(entry)?;
        }
        Ok(options)
    }

    /// Turns host names into the addresses of [`Options::config`].
    ///
    /// # Errors
    /// A name leads nowhere.
    pub fn resolve(&mut self) -> Result<(), ResolveError> {
        self.config.listen = resolve(&self.host, self.port)?;
        let host = self.monitor_host.as_ref().unwrap_or(&self.host);
        self.config.monitor = self
            .monitor_port
            .map(|port| resolve(host, port))
            .transpose()?;
        Ok(())
    }

    fn set(&mut self, entry: &Entry) -> Result<(), ConfError> {
        let field = Field(entry);
        let limits = &mut self.config.limits;
        match entry.key.to_ascii_lowercase().as_str() {
            "listen" => {
                let (host, port) = field.listen()?;
                self.host = host.unwrap_or_else(|| std::mem::take(&mut self.host));
                self.port = port;
            }
            "host" | "net" | "addr" => self.host = field.text()?,
            "port" => self.port = field.port()?,
            "http" => {
                let (host, port) = field.listen()?;
                self.monitor_host = host;
                self.monitor_port = Some(port);
            }
            "http_port" | "monitor_port" => self.monitor_port = Some(field.port()?),
            "server_name" => self.config.server_name = Some(field.text()?),
            "client_advertise" => self.config.client_advertise = Some(field.text()?),
            "authorization" => auth::read(&mut self.config, field.map()?)?,
            "no_auth_user" => self.config.authorization.no_auth_user = Some(field.text()?),
            "max_payload" => limits.max_payload = field.size()?,
            "max_pending" => limits.max_pending = field.size()?,
            "max_control_line" => limits.max_control_line = field.size()?,
            "max_connections" | "max_conn" => limits.max_connections = field.count()?,
            "max_subscriptions" | "max_subs" => limits.max_subscriptions = field.count_or_any()?,
            "ping_interval" => limits.ping_interval = field.duration()?,
            "ping_max" => {
                limits.ping_max = u32::try_from(field.count()?).unwrap_or(u32::MAX);
            }
            "disable_short_first_ping" => {
                if field.boolean()? {
                    limits.first_ping = std::time::Duration::MAX;
                }
            }
            "write_deadline" => limits.write_deadline = field.duration()?,
            "pid_file" | "pidfile" => self.pid_file = Some(field.text()?.into()),
            "ports_file_dir" => self.ports_file_dir = Some(field.text()?.into()),
            "log_file" | "logfile" => self.log_file = Some(field.text()?.into()),
            "debug" => self.debug = field.boolean()?,
            "trace" => self.trace = field.boolean()?,
            "logtime" => self.logtime = field.boolean()?,
            known if IGNORED.contains(&known) => self.ignored.push(entry.key.clone()),
            known if UNSUPPORTED.contains(&known) => {
                return Err(entry.at.error(Problem::Unsupported(entry.key.clone())));
            }
            // A key that is only there to be used as a variable is no setting.
            _ if entry
                .key
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte == b'_') => {}
            _ => return Err(entry.at.error(Problem::UnknownField(entry.key.clone()))),
        }
        Ok(())
    }
}

/// Settings without a meaning for a broker that keeps nothing and speaks one protocol.
const IGNORED: [&str; 29] = [
    "jetstream",
    "store_dir",
    "leaf",
    "leafnodes",
    "mqtt",
    "gateway",
    "prof_port",
    "max_traced_msg_len",
    "max_closed_clients",
    "connect_error_reports",
    "reconnect_error_reports",
    "disable_sublist_cache",
    "no_fast_producer_stall",
    "no_sys_acc",
    "no_system_account",
    "server_tags",
    "lame_duck_duration",
    "lame_duck_grace_period",
    "trace_verbose",
    "logtime_utc",
    "logfile_size_limit",
    "logfile_max_num",
    "log_size_limit",
    "syslog",
    "remote_syslog",
    "http_base_path",
    "max_traced_msg",
    "system",
    "no_header_support",
];

/// Settings that somebody relies on and this broker cannot honour.
const UNSUPPORTED: [&str; 20] = [
    "tls",
    "allow_non_tls",
    "cluster",
    "accounts",
    "system_account",
    "operator",
    "operators",
    "resolver",
    "resolver_preload",
    "resolver_tls",
    "trusted",
    "trusted_keys",
    "websocket",
    "https",
    "https_port",
    "mappings",
    "maps",
    "default_js_domain",
    "max_sub_tokens",
    "ocsp",
];

fn resolve(host: &str, port: u16) -> Result<SocketAddr, ResolveError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let fail = |source| ResolveError {
        host: host.to_owned(),
        source,
    };
    let mut found = (bare, port).to_socket_addrs().map_err(fail)?;
    found
        .next()
        .ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))
}

#[cfg(test)]
mod tests;
