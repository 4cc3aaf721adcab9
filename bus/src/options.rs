//! nats-server's settings, from its configuration file to ours.
//!
//! What this broker has, it takes over. What it knows to be without meaning here (persistence and other
//! protocols) it names in [`Options::ignored`]. What it does not have but somebody relies on is an
//! error: starting without it would be worse than not starting.

mod accounts;
mod auth;
mod cluster;
mod log;
mod operator;
mod read;
mod tls;
mod websocket;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use crate::broker::BuildError;
use crate::conf::{ConfError, ConfErrors, Entry, Kind, Map, Position, Problem};
use crate::config::{Config, Limits};
pub use log::Log;
pub use read::Address;
use read::Field;

/// Where anything listens unless it is said.
const ANYWHERE: &str = "0.0.0.0";

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
    /// Port for monitoring over HTTPS; none when absent.
    pub monitor_https_port: Option<u16>,
    /// Where websockets are served, when they are.
    pub websocket: Address,
    /// Where routes are accepted, when there is a cluster.
    pub cluster: Address,
    /// Where to write the process id.
    pub pid_file: Option<PathBuf>,
    /// Where to write a file that names the ports.
    pub ports_file_dir: Option<PathBuf>,
    /// The log.
    pub log: Log,
    /// Settings that have no effect here.
    pub ignored: Vec<String>,
    /// What is understood, but should be written in another way.
    pub doubtful: Vec<String>,
    /// Whether the file lists users: a single user of the command line does not replace them.
    pub lists_users: bool,
    /// Where the file says what: its keys in lower case.
    places: Vec<(String, Position)>,
}

/// Settings that contradict each other, or lead nowhere.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A name that leads to no address.
    #[error("cannot resolve {host:?}")]
    Resolve {
        /// The name.
        host: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Two settings that exclude each other, or one that lacks another.
    #[error("{0}")]
    Contradiction(&'static str),
}

impl Default for Options {
    fn default() -> Self {
        Options {
            config: Config::default(),
            host: ANYWHERE.to_owned(),
            port: 4222,
            monitor_host: None,
            monitor_port: None,
            monitor_https_port: None,
            websocket: Address::default(),
            cluster: Address::default(),
            pid_file: None,
            ports_file_dir: None,
            log: Log::default(),
            ignored: Vec::new(),
            doubtful: Vec::new(),
            lists_users: false,
            places: Vec::new(),
        }
    }
}

// === impl Options ===

impl Options {
    /// Takes over a parsed configuration file.
    ///
    /// # Errors
    /// Keys are unknown, not supported, or have senseless values. All sections are looked at.
    pub fn from_map(map: &Map) -> Result<Self, ConfErrors> {
        let mut options = Options::default();
        let mut errors = Vec::new();
        for entry in map.entries() {
            match options.log.set(entry) {
                Ok(true) => {}
                Ok(false) => errors.extend(options.set(entry).err()),
                Err(error) => errors.push(error),
            }
            options.doubt(entry);
            let key = entry.key.to_ascii_lowercase();
            options.places.push((key, entry.at.clone()));
        }
        errors.extend(auth::alone(map, &options.config).err());
        if errors.is_empty() {
            Ok(options)
        } else {
            Err(ConfErrors(errors))
        }
    }

    /// Where the file says what does not work out, if it says it at all.
    pub fn place_of(&self, error: &BuildError) -> Option<&Position> {
        let keys: &[&str] = match error {
            BuildError::Tls(_) => &["tls"],
            BuildError::Websocket(_) => &["websocket", "ws"],
            BuildError::ClusterTls(_) => &["cluster"],
            BuildError::Access(error) => error.keys(),
            _ => &[],
        };
        let mut places = self.places.iter();
        places.find_map(|(key, at)| keys.contains(&key.as_str()).then_some(at))
    }

    /// Turns host names into the addresses of [`Options::config`], and checks what one setting says
    /// about another.
    ///
    /// # Errors
    /// A name leads nowhere, or settings contradict each other.
    pub fn resolve(&mut self) -> Result<(), OptionsError> {
        let config = &mut self.config;
        let has_blank = |name: &Option<String>| name.as_ref().is_some_and(|it| it.contains(' '));
        if has_blank(&config.server_name) {
            return wrong("server name cannot contain spaces");
        }
        if config
            .cluster
            .as_ref()
            .is_some_and(|it| has_blank(&it.name))
        {
            return wrong("cluster name cannot contain spaces");
        }
        let advertised = config.client_advertise.as_ref();
        if advertised.is_some_and(|it| it.contains(':') && Address::parse(it).is_err()) {
            return wrong("client_advertise is not of the form host:port");
        }
        if config.limits.max_payload == UNLIMITED {
            config.limits.max_payload = config.limits.max_pending.min(LARGEST);
        }
        config.listen = resolve(&self.host, self.port)?;
        if self.monitor_port.is_some() && self.monitor_https_port.is_some() {
            return wrong("cannot serve monitoring by http and https at the same time");
        }
        if self.monitor_https_port.is_some() && config.tls.is_none() {
            return wrong("monitoring by https requires TLS configuration");
        }
        let monitor = self.monitor_host.as_ref().unwrap_or(&self.host);
        let at = |port: Option<u16>| port.map(|port| resolve(monitor, port)).transpose();
        config.monitor = at(self.monitor_port)?;
        config.monitor_https = at(self.monitor_https_port)?;
        // Without a port there is no listener, whatever else the section says.
        config.websocket = config
            .websocket
            .take()
            .filter(|_| self.websocket.port.is_some());
        if let (Some(websocket), Some(address)) = (&mut config.websocket, self.websocket.resolve()?)
        {
            websocket.listen = address;
            if websocket.tls.is_none() && !websocket.no_tls {
                return wrong("websocket requires TLS configuration");
            }
        }
        if let Some(cluster) = &mut config.cluster {
            cluster.listen = self.cluster.resolve()?;
            if cluster.listen.is_none() && !cluster.routes.is_empty() {
                return wrong("solicited routes require cluster capabilities, e.g. --cluster");
            }
        }
        if config.lame_duck.grace_period >= config.lame_duck.duration {
            return wrong("lame duck grace period should be strictly lower than its duration");
        }
        Ok(())
    }

    fn set(&mut self, entry: &Entry) -> Result<(), ConfError> {
        let field = Field(entry);
        let config = &mut self.config;
        let limits = &mut config.limits;
        match entry.key.to_ascii_lowercase().as_str() {
            "listen" => {
                let Address { host, port } = field.listen()?;
                self.host = host.unwrap_or_else(|| std::mem::take(&mut self.host));
                self.port = port.unwrap_or(self.port);
            }
            "host" | "net" => self.host = field.text()?,
            "port" => self.port = field.port()?.unwrap_or(self.port),
            "http" => {
                let Address { host, port } = field.listen()?;
                (self.monitor_host, self.monitor_port) = (host, port);
            }
            "https" => {
                let Address { host, port } = field.listen()?;
                (self.monitor_host, self.monitor_https_port) = (host, port);
            }
            "http_port" | "monitor_port" => self.monitor_port = field.port()?,
            "https_port" => self.monitor_https_port = field.port()?,
            "http_base_path" => config.monitor_base_path = field.text()?,
            "server_name" => config.server_name = Some(field.text()?),
            "server_tags" => {
                config.server_tags = match &field.value().kind {
                    Kind::Text(text) => text.split(',').map(|tag| tag.trim().to_owned()).collect(),
                    _ => field.texts()?,
                };
            }
            "client_advertise" => config.client_advertise = Some(field.text()?),
            "authorization" => self.lists_users |= auth::read(config, field)?,
            "no_auth_user" => config.authorization.no_auth_user = Some(field.text()?),
            "tls" => config.tls = Some(tls::read(field, tls::Of::Clients, &mut self.ignored)?),
            "stay_awake" => config.stay_awake = Some(field.boolean()?),
            "no_header_support" => config.headers = !field.boolean()?,
            "allow_non_tls" => config.allow_non_tls = field.boolean()?,
            "websocket" | "ws" => {
                let (websocket, address) = websocket::read(field, &mut self.ignored)?;
                (config.websocket, self.websocket) = (Some(websocket), address);
            }
            "cluster" => {
                let (cluster, address) = cluster::read(field, &mut self.ignored)?;
                (config.cluster, self.cluster) = (Some(cluster), address);
            }
            "accounts" => config.accounts = accounts::read(field, &mut self.ignored)?,
            "mappings" | "maps" => config.mappings = accounts::mappings(field)?,
            "system_account" | "system" => config.system_account = Some(field.text()?),
            "operator" | "operators" | "roots" | "root" | "root_operators" | "root_operator" => {
                operator::operators(config.operator.get_or_insert_default(), field)?;
            }
            "trusted" | "trusted_keys" => {
                config.operator.get_or_insert_default().trusted_keys = field.texts()?;
            }
            "resolver" | "account_resolver" | "accounts_resolver" => {
                operator::resolver(config.operator.get_or_insert_default(), field)?;
            }
            "resolver_preload" => {
                operator::preload(config.operator.get_or_insert_default(), field)?;
            }
            "no_system_account" | "no_system" | "no_sys_acc" => {
                config.no_system_account = field.boolean()?;
            }
            "max_closed_clients" => {
                config.max_closed_clients = match field.count_or_any()? {
                    0 => Config::default().max_closed_clients,
                    count => count,
                };
            }
            "max_payload" => {
                let unlimited = matches!(field.value().kind, Kind::Integer(..0));
                limits.max_payload = if unlimited {
                    UNLIMITED
                } else {
                    field.size_or(Limits::default().max_payload)?
                };
            }
            "max_pending" => limits.max_pending = field.size_or(Limits::default().max_pending)?,
            "max_memory" => limits.max_memory = field.size_or(Limits::default().max_memory)?,
            "max_control_line" => {
                limits.max_control_line = field.size_or(Limits::default().max_control_line)?;
            }
            "max_connections" | "max_conn" => {
                limits.max_connections = match field.count_or_any()? {
                    0 => usize::MAX,
                    count => count,
                };
            }
            "max_subscriptions" | "max_subs" => limits.max_subscriptions = field.count_or_any()?,
            "max_sub_tokens" | "max_subscription_tokens" => {
                limits.max_subject_tokens = match field.count()? {
                    count @ 1..=255 => count,
                    _ => return Err(field.wrong("must be between 1 and 255")),
                };
            }
            "max_traced_msg_len" => limits.max_traced = field.count_or_any()?,
            "no_fast_producer_stall" => limits.stall_producers = !field.boolean()?,
            "ping_interval" => {
                limits.ping_interval = field.duration_or(Limits::default().ping_interval)?;
            }
            "ping_max" => {
                limits.ping_max = match field.count()? {
                    0 => Limits::default().ping_max,
                    count => u32::try_from(count).unwrap_or(u32::MAX),
                };
            }
            "disable_short_first_ping" => {
                if field.boolean()? {
                    limits.first_ping = Duration::MAX;
                }
            }
            "write_deadline" => {
                limits.write_deadline = field.duration_or(Limits::default().write_deadline)?;
            }
            "write_timeout" => {
                if !["default", "close", "retry"].contains(&field.text()?.as_str()) {
                    return Err(field.wrong("is none of default, close and retry"));
                }
                self.ignored.push(entry.key.clone());
            }
            "proxy_protocol" => field.unsupported_if_true()?,
            "lame_duck_duration" => {
                config.lame_duck.duration = field.written_duration()?;
                if config.lame_duck.duration < Duration::from_secs(30) {
                    return Err(field.wrong("must be at least 30s"));
                }
            }
            "lame_duck_grace_period" => config.lame_duck.grace_period = field.written_duration()?,
            "pid_file" | "pidfile" => self.pid_file = Some(field.text()?.into()),
            "ports_file_dir" => self.ports_file_dir = Some(field.text()?.into()),
            known if IGNORED.contains(&known) => self.ignored.push(entry.key.clone()),
            known if UNSUPPORTED.contains(&known) => return field.unsupported(),
            _ => field.unknown(&KNOWN)?,
        }
        Ok(())
    }

    /// Notes durations that are written as bare numbers, and those that may come of it.
    fn doubt(&mut self, entry: &Entry) {
        let known = ["ping_interval", "write_deadline"];
        if let Kind::Map(map) = &entry.value.kind
            && ["cluster", "authorization"]
                .iter()
                .any(|known| entry.key.eq_ignore_ascii_case(known))
        {
            map.entries().iter().for_each(|entry| self.doubt(entry));
        }
        if entry.key.eq_ignore_ascii_case("timeout")
            && Field(entry).duration().is_ok_and(|it| it > LONG_TIMEOUT)
        {
            let doubt = entry.at.error(Problem::LongTimeout(entry.key.clone()));
            self.doubtful.push(doubt.to_string());
        }
        if matches!(entry.value.kind, Kind::Integer(_) | Kind::Float(_))
            && known
                .iter()
                .any(|known| entry.key.eq_ignore_ascii_case(known))
        {
            let doubt = entry.at.error(Problem::BareDuration(entry.key.clone()));
            self.doubtful.push(doubt.to_string());
        }
    }
}

impl Address {
    /// The address, if a port was given.
    fn resolve(&self) -> Result<Option<SocketAddr>, OptionsError> {
        let host = self.host.as_deref().unwrap_or(ANYWHERE);
        self.port.map(|port| resolve(host, port)).transpose()
    }
}

/// What stands for a payload of any size until it is known how much may wait for a client.
const UNLIMITED: usize = usize::MAX;
/// Larger ones cannot be written into a control line.
const LARGEST: usize = 999_999_999;
/// A timeout above this is most likely a minute that became a million.
const LONG_TIMEOUT: Duration = Duration::from_secs(60);

/// Settings without a meaning for a broker that keeps nothing and speaks one protocol, or whose effect
/// comes without them here.
const IGNORED: [&str; 21] = [
    "jetstream",
    "store_dir",
    "storedir",
    "default_js_domain",
    "leaf",
    "leafnodes",
    "mqtt",
    "gateway",
    "prof_port",
    "prof_block_rate",
    "connect_error_reports",
    "reconnect_error_reports",
    "disable_sublist_cache",
    "no_sublist_cache",
    "proxies",
    "server_metadata",
    "feature_flags",
    "ocsp",
    "ocsp_cache",
    "default_sentinel",
    "resolver_pinned_accounts",
];

/// Settings that somebody relies on and this broker cannot honour.
const UNSUPPORTED: [&str; 1] = ["resolver_tls"];

/// What a slip of the pen may have meant.
const KNOWN: [&str; 62] = [
    "listen",
    "host",
    "port",
    "http",
    "https",
    "http_port",
    "https_port",
    "http_base_path",
    "server_name",
    "server_tags",
    "client_advertise",
    "no_header_support",
    "stay_awake",
    "authorization",
    "no_auth_user",
    "tls",
    "allow_non_tls",
    "websocket",
    "cluster",
    "accounts",
    "system_account",
    "no_system_account",
    "mappings",
    "operator",
    "resolver",
    "resolver_preload",
    "trusted_keys",
    "max_closed_clients",
    "max_payload",
    "max_pending",
    "max_memory",
    "max_control_line",
    "max_connections",
    "max_subscriptions",
    "max_sub_tokens",
    "max_traced_msg_len",
    "no_fast_producer_stall",
    "ping_interval",
    "ping_max",
    "write_deadline",
    "lame_duck_duration",
    "lame_duck_grace_period",
    "pid_file",
    "ports_file_dir",
    "log_file",
    "logfile_size_limit",
    "logfile_max_num",
    "syslog",
    "remote_syslog",
    "debug",
    "trace",
    "trace_verbose",
    "logtime",
    "logtime_utc",
    "jetstream",
    "store_dir",
    "leafnodes",
    "mqtt",
    "gateway",
    "prof_port",
    "connect_error_reports",
    "disable_sublist_cache",
];

fn wrong<T>(text: &'static str) -> Result<T, OptionsError> {
    Err(OptionsError::Contradiction(text))
}

fn resolve(host: &str, port: u16) -> Result<SocketAddr, OptionsError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let fail = |source| OptionsError::Resolve {
        host: host.to_owned(),
        source,
    };
    let found = (bare, port).to_socket_addrs().map_err(fail)?;
    preferred(found).ok_or_else(|| fail(std::io::ErrorKind::NotFound.into()))
}

/// Of several addresses nats-server takes the first of IPv4; many a client tries no other.
fn preferred(found: impl Iterator<Item = SocketAddr>) -> Option<SocketAddr> {
    let mut found: Vec<SocketAddr> = found.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied()
}

#[cfg(test)]
mod tests;
