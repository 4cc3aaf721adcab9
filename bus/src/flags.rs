//! The command line: nats-server's flags, in Go's style (`-x v`, `--x=v`, one dash or two).

mod apply;

use std::ffi::OsString;
use std::path::PathBuf;

use cupola_bus::config::{ParseRouteError, RouteUrl};

/// What `-h` prints after the line that names the program.
pub(crate) const HELP: &str = "
Server options:
    -a, --addr, --net HOST        listen on HOST (default 0.0.0.0)
    -p, --port PORT               listen on PORT; -1 lets the system choose (default 4222)
    -n, --name, --server_name N   the server's name (default: its id)
    -P, --pid FILE                write the process id to FILE
    -m, --http_port PORT          serve monitoring on PORT
    -ms, --https_port PORT        serve monitoring on PORT over TLS
    -c, --config FILE             read a configuration file
    -t                            check the configuration file and exit
    -sl, --signal SIGNAL[=PID]    send a running server SIGNAL: ldm, stop, quit, term, reopen or reload;
                                  PID is a process id or a file that holds one
        --client_advertise H:P    tell clients to use this address
        --ports_file_dir DIR      write a file that names the ports to DIR (<program>_<pid>.ports)

Logging options:
    -l, --log FILE                log to FILE instead of standard error
    -T, --logtime                 the time in log lines (default true)
        --logtime_utc             that time in UTC
    -s, --syslog                  log to the system's log
    -r, --remote_syslog ADDRESS   log to a system log elsewhere (udp://localhost:514)
    -D, --debug                   log debug messages
    -V, --trace                   log the protocol of clients
    -VV                           and that of the system account
    -DV                           -D and -V
    -DVV                          -D and -VV
        --log_size_limit BYTES    begin a new log file after BYTES
        --max_traced_msg_len N    show at most N bytes of a traced message (default: all)

JetStream options (accepted, without effect: this server keeps nothing):
    -js, --jetstream
    -sd, --store_dir DIR

Authorization options:
        --user NAME, --pass PW    the one user who may connect
        --auth TOKEN              the token to connect with

TLS options:
        --tls                     secure client connections
        --tlscert FILE            the server's certificate
        --tlskey FILE             its private key
        --tlsverify               clients must show a certificate
        --tlscacert FILE          whose certificates are trusted
        --help_tls                how these work together

Cluster options:
        --cluster, --cluster_listen URL
                                  accept routes on URL (nats://[user:pass@]host:port)
        --cluster_name NAME       the cluster's name (default: made up)
        --routes URL,URL          other servers to connect to
        --no_advertise            keep the other servers' addresses from clients
        --cluster_advertise H:P   tell other servers to use this address
        --connect_retries N       attempts to reach servers heard of from others

Profiling options (accepted, without effect):
        --profile PORT

Other:
    -h, --help                    print this
    -v, --version                 print the version
";

/// What `--help_tls` prints.
pub(crate) const HELP_TLS: &str = "
With --tls, --tlscert and --tlskey client connections are secured by TLS: the server proves who it is
with the certificate, clients prove nothing.

With --tlsverify clients must show a certificate as well, which one of --tlscacert vouches for.

More (cipher suites, certificates for several names, users by certificate) is set in the configuration
file, in `tls { … }`.
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    HelpTls,
    Version,
    /// Tell another server something: `signal[=pid]`.
    Signal(String),
    Run(Box<Flags>),
}

/// Settings of the command line; they win over the configuration file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) test: bool,
    server: ServerFlags,
    log: LogFlags,
    tls: TlsFlags,
    cluster: ClusterFlags,
}

#[derive(Clone, Debug, Default)]
struct ServerFlags {
    host: Option<String>,
    port: Option<u16>,
    name: Option<String>,
    monitor_port: Option<u16>,
    monitor_https_port: Option<u16>,
    pid_file: Option<PathBuf>,
    ports_file_dir: Option<PathBuf>,
    advertise: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    /// Those without effect that were given.
    ignored: Vec<String>,
}

#[derive(Clone, Debug, Default)]
struct LogFlags {
    file: Option<PathBuf>,
    size_limit: Option<u64>,
    max_traced: Option<usize>,
    syslog: Option<bool>,
    remote_syslog: Option<String>,
    time: Option<bool>,
    utc: Option<bool>,
    debug: Option<bool>,
    trace: Option<bool>,
    verbose: Option<bool>,
}

#[derive(Clone, Debug, Default)]
struct TlsFlags {
    /// `Some(false)` switches the TLS of the file off.
    on: Option<bool>,
    verify: bool,
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
    ca: Option<PathBuf>,
}

#[derive(Clone, Debug, Default)]
struct ClusterFlags {
    /// `nats://[user:pass@]host:port`; `Some(None)` switches the cluster of the file off.
    listen: Option<Option<RouteUrl>>,
    /// Whether the port was -1.
    any_port: bool,
    name: Option<String>,
    routes: Option<Vec<RouteUrl>>,
    no_advertise: Option<bool>,
    advertise: Option<String>,
    connect_retries: Option<u32>,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("invalid value {value:?} for flag -{flag}: parse error")]
    BadValue { flag: String, value: String },
    #[error("invalid boolean value {value:?} for -{flag}: parse error")]
    BadSwitch { flag: String, value: String },
    #[error("bad flag syntax: {0}")]
    Syntax(String),
    #[error("unrecognized command: {0:?}")]
    Extra(String),
    #[error("error parsing flag -{flag}: {source}")]
    Route {
        flag: String,
        source: ParseRouteError,
    },
    #[error("{0}")]
    Combination(&'static str),
}

/// A flag and what may have been given with it.
struct Given<'a, I> {
    flag: String,
    value: Option<String>,
    rest: &'a mut I,
}

// === impl Given ===

impl<I: Iterator<Item = String>> Given<'_, I> {
    /// `-x` or `-x=true`; the next word is not its value.
    fn switch(self) -> Result<bool, FlagError> {
        match self.value.as_deref() {
            None | Some("true" | "TRUE" | "True" | "1" | "t" | "T") => Ok(true),
            Some("false" | "FALSE" | "False" | "0" | "f" | "F") => Ok(false),
            Some(value) => Err(FlagError::BadSwitch {
                value: value.to_owned(),
                flag: self.flag,
            }),
        }
    }

    fn text(self) -> Result<String, FlagError> {
        let next = self.value.or_else(|| self.rest.next());
        next.ok_or(FlagError::NoValue(self.flag))
    }

    fn path(self) -> Result<PathBuf, FlagError> {
        self.text().map(PathBuf::from)
    }

    fn number<N: TryFrom<i64>>(self) -> Result<N, FlagError> {
        let flag = self.flag.clone();
        let value = self.text()?;
        let number = value.parse::<i64>().ok();
        number
            .and_then(|number| N::try_from(number).ok())
            .ok_or(FlagError::BadValue { flag, value })
    }

    /// -1 means that the system chooses, 0 that the default is meant.
    fn port(self) -> Result<Option<u16>, FlagError> {
        let flag = self.flag.clone();
        match self.number::<i64>()? {
            -1 => Ok(Some(0)),
            0 => Ok(None),
            port => u16::try_from(port)
                .map(Some)
                .map_err(|_| FlagError::BadValue {
                    flag,
                    value: port.to_string(),
                }),
        }
    }
}

/// Reads the command line, program name excluded.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, FlagError> {
    let mut flags = Flags::default();
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    let mut signal = None;
    let (mut help, mut help_tls, mut version) = (false, false, false);
    // What stands behind the flags, if anything does.
    let mut word = None;
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            word = arguments.next();
            break;
        }
        let dashes = argument.len() - argument.trim_start_matches('-').len();
        if dashes == 0 || argument == "-" {
            word = Some(argument);
            break;
        }
        let flag = &argument[dashes.min(2)..];
        if flag.starts_with(['-', '=']) {
            return Err(FlagError::Syntax(argument));
        }
        let (flag, value) = match flag.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        let name = flag.clone();
        let given = Given {
            flag,
            value,
            rest: &mut arguments,
        };
        match name.as_str() {
            "h" | "help" => help = given.switch()?,
            "help_tls" => help_tls = given.switch()?,
            "v" | "version" => version = given.switch()?,
            "sl" | "signal" => signal = Some(given.text()?),
            "c" | "config" => flags.config = Some(given.path()?),
            "t" => flags.test = given.switch()?,
            _ => flags.set(&name, given)?,
        }
    }
    // All flags are looked at before any of this is done.
    if version {
        return Ok(Command::Version);
    }
    if help {
        return Ok(Command::Help);
    }
    if help_tls {
        return Ok(Command::HelpTls);
    }
    match word.as_deref().map(str::to_ascii_lowercase).as_deref() {
        None => {}
        Some("version") => return Ok(Command::Version),
        Some("help") => return Ok(Command::Help),
        Some(_) => return Err(FlagError::Extra(word.unwrap_or_default())),
    }
    if let Some(signal) = signal {
        return Ok(Command::Signal(signal));
    }
    if flags.test && flags.config.is_none() {
        return Err(FlagError::Combination(
            "must specify [-c, --config] option to check configuration file syntax",
        ));
    }
    Ok(Command::Run(Box::new(flags)))
}

impl Flags {
    fn set<I: Iterator<Item = String>>(
        &mut self,
        name: &str,
        given: Given<'_, I>,
    ) -> Result<(), FlagError> {
        let Flags {
            server,
            log,
            tls,
            cluster,
            ..
        } = self;
        match name {
            "a" | "addr" | "net" => server.host = Some(given.text()?),
            "p" | "port" => server.port = given.port()?,
            "n" | "name" | "server_name" => server.name = Some(given.text()?),
            "m" | "http_port" => server.monitor_port = given.port()?,
            "ms" | "https_port" => server.monitor_https_port = given.port()?,
            "P" | "pid" => server.pid_file = Some(given.path()?),
            "ports_file_dir" => server.ports_file_dir = Some(given.path()?),
            "client_advertise" => server.advertise = Some(given.text()?),
            "user" => server.user = Some(given.text()?),
            "pass" => server.password = Some(given.text()?),
            "auth" => server.token = Some(given.text()?),
            "l" | "log" => log.file = Some(given.path()?),
            "log_size_limit" => log.size_limit = Some(given.number()?),
            "max_traced_msg_len" => log.max_traced = Some(given.number()?),
            "s" | "syslog" => log.syslog = Some(given.switch()?),
            "r" | "remote_syslog" => log.remote_syslog = Some(given.text()?),
            "T" | "logtime" => log.time = Some(given.switch()?),
            "logtime_utc" => log.utc = Some(given.switch()?),
            "D" | "debug" => log.debug = Some(given.switch()?),
            "V" | "trace" => log.trace = Some(given.switch()?),
            "DV" => {
                log.debug = Some(given.switch()?);
                log.trace = log.debug;
            }
            "VV" => {
                log.verbose = Some(given.switch()?);
                log.trace = log.verbose;
            }
            "DVV" => {
                log.verbose = Some(given.switch()?);
                (log.debug, log.trace) = (log.verbose, log.verbose);
            }
            "tls" => tls.on = Some(given.switch()?),
            "tlsverify" => tls.verify = given.switch()?,
            "tlscert" => tls.cert = Some(given.path()?),
            "tlskey" => tls.key = Some(given.path()?),
            "tlscacert" => tls.ca = Some(given.path()?),
            "cluster" | "cluster_listen" => cluster.set_listen(name, &given.text()?)?,
            "cluster_name" => cluster.name = Some(given.text()?),
            "routes" => {
                let text = given.text()?;
                let urls = text.split(',').map(str::trim).filter(|url| !url.is_empty());
                cluster.routes = Some(urls.map(|url| route(name, url)).collect::<Result<_, _>>()?);
            }
            "no_advertise" => cluster.no_advertise = Some(given.switch()?),
            "cluster_advertise" => cluster.advertise = Some(given.text()?),
            "connect_retries" => cluster.connect_retries = Some(given.number()?),
            "js" | "jetstream" => {
                given.switch()?;
                server.ignored.push("jetstream".to_owned());
            }
            "sd" | "store_dir" => {
                given.text()?;
                server.ignored.push("store_dir".to_owned());
            }
            "profile" => {
                given.text()?;
                server.ignored.push("profile".to_owned());
            }
            _ => return Err(FlagError::Unknown(given.flag)),
        }
        Ok(())
    }
}

impl ClusterFlags {
    fn set_listen(&mut self, flag: &str, url: &str) -> Result<(), FlagError> {
        if url.trim().is_empty() {
            self.listen = Some(None);
            return Ok(());
        }
        let host = url
            .split_once("://")
            .map(|(_, rest)| rest.trim_end_matches('/'));
        let port = host
            .and_then(|host| host.rsplit_once(':'))
            .map(|(_, port)| port);
        if port.is_none_or(|port| port != "-1" && port.parse::<u16>().is_err()) {
            return Err(FlagError::Combination(
                "the cluster's URL needs scheme, host and port, as in nats://127.0.0.1:6222",
            ));
        }
        // -1 is no port to a URL, but means here that the system chooses.
        let (url, any_port) = match url.strip_suffix(":-1") {
            Some(bare) => (format!("{bare}:1"), true),
            None => (url.to_owned(), false),
        };
        let url = route(flag, &url)?;
        if url.user.is_some() && url.password.is_none() {
            return Err(FlagError::Combination(
                "expected cluster password to be set",
            ));
        }
        self.listen = Some(Some(url));
        self.any_port = any_port;
        Ok(())
    }
}

fn route(flag: &str, url: &str) -> Result<RouteUrl, FlagError> {
    url.parse().map_err(|source| FlagError::Route {
        flag: flag.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests;
