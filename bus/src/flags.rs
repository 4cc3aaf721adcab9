//! The command line: nats-server's flags, in Go's style (`-x v`, `--x=v`, one dash or two).

use std::ffi::OsString;
use std::path::PathBuf;

use cupola_bus::config::User;
use cupola_bus::options::Options;

/// What `-h` prints.
pub(crate) const HELP: &str = "\
Usage: cupola-bus [options]

Server options:
    -a, --addr, --net HOST       listen on HOST (default 0.0.0.0)
    -p, --port PORT              listen on PORT; -1 lets the system choose (default 4222)
    -n, --name, --server_name N  the server's name (default: its id)
    -m, --http_port PORT         serve monitoring on PORT
    -c, --config FILE            read a configuration file
    -t                           check the configuration file and exit
    -P, --pid FILE               write the process id to FILE
        --ports_file_dir DIR     write a file that names the ports to DIR
        --client_advertise H:P   tell clients to use this address
        --user NAME, --pass PW   the one user who may connect
        --auth TOKEN             the token to connect with
Logging options:
    -l, --log FILE               log to FILE instead of standard error
    -T, --logtime=false          leave the time out of log lines
    -D, --debug                  log debug messages
    -V, --trace                  log even more
    -DV                          both
Other:
    -v, --version                print the version
    -h, --help                   print this
";

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Command {
    Help,
    Version,
    Run(Box<Flags>),
}

/// Settings of the command line; they win over the configuration file.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) config: Option<PathBuf>,
    pub(crate) test: bool,
    host: Option<String>,
    port: Option<u16>,
    name: Option<String>,
    monitor_port: Option<u16>,
    pid_file: Option<PathBuf>,
    ports_file_dir: Option<PathBuf>,
    log_file: Option<PathBuf>,
    advertise: Option<String>,
    user: Option<String>,
    password: Option<String>,
    token: Option<String>,
    logtime: Option<bool>,
    debug: bool,
    trace: bool,
}

/// What is wrong with the command line.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FlagError {
    #[error("flag provided but not defined: -{0}")]
    Unknown(String),
    #[error("flag needs an argument: -{0}")]
    NoValue(String),
    #[error("invalid value {value:?} for flag -{flag}")]
    BadValue { flag: String, value: String },
    #[error("unexpected argument {0:?}")]
    Extra(String),
}

/// Reads the command line, program name excluded.
pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Command, FlagError> {
    let mut flags = Flags::default();
    let mut arguments = arguments.map(|argument| argument.to_string_lossy().into_owned());
    while let Some(argument) = arguments.next() {
        let Some(flag) = argument
            .strip_prefix("--")
            .or_else(|| argument.strip_prefix('-'))
        else {
            return Err(FlagError::Extra(argument));
        };
        let (flag, mut given) = match flag.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), Some(value.to_owned())),
            None => (flag.to_owned(), None),
        };
        let switch = |given: Option<String>| match given.as_deref() {
            None | Some("true" | "1" | "t") => Ok(true),
            Some("false" | "0" | "f") => Ok(false),
            Some(value) => Err(FlagError::BadValue {
                flag: flag.clone(),
                value: value.to_owned(),
            }),
        };
        let mut value = || {
            given
                .take()
                .or_else(|| arguments.next())
                .ok_or_else(|| FlagError::NoValue(flag.clone()))
        };
        match flag.as_str() {
            "h" | "help" => return Ok(Command::Help),
            "v" | "version" => return Ok(Command::Version),
            "c" | "config" => flags.config = Some(value()?.into()),
            "a" | "addr" | "net" => flags.host = Some(value()?),
            "p" | "port" => flags.port = Some(port(&flag, &value()?)?),
            "n" | "name" | "server_name" => flags.name = Some(value()?),
            "m" | "http_port" => flags.monitor_port = Some(port(&flag, &value()?)?),
            "P" | "pid" => flags.pid_file = Some(value()?.into()),
            "ports_file_dir" => flags.ports_file_dir = Some(value()?.into()),
            "l" | "log" => flags.log_file = Some(value()?.into()),
            "client_advertise" => flags.advertise = Some(value()?),
            "user" => flags.user = Some(value()?),
            "pass" => flags.password = Some(value()?),
            "auth" => flags.token = Some(value()?),
            "t" => flags.test = switch(given)?,
            "T" | "logtime" => flags.logtime = Some(switch(given)?),
            "D" | "debug" => flags.debug = switch(given)?,
            "V" | "trace" => flags.trace = switch(given)?,
            "DV" => {
                flags.debug = switch(given)?;
                flags.trace = flags.debug;
            }
            _ => return Err(FlagError::Unknown(flag)),
        }
    }
    Ok(Command::Run(Box::new(flags)))
}

fn port(flag: &str, value: &str) -> Result<u16, FlagError> {
    match value {
        "-1" => Ok(0),
        _ => value.parse().map_err(|_| FlagError::BadValue {
            flag: flag.to_owned(),
            value: value.to_owned(),
        }),
    }
}

impl Flags {
    /// Lays the flags over what the file said.
    pub(crate) fn apply(self, options: &mut Options) {
        set(&mut options.host, self.host);
        set(&mut options.port, self.port);
        set(&mut options.logtime, self.logtime);
        keep(&mut options.monitor_port, self.monitor_port);
        keep(&mut options.pid_file, self.pid_file);
        keep(&mut options.ports_file_dir, self.ports_file_dir);
        keep(&mut options.log_file, self.log_file);
        keep(&mut options.config.server_name, self.name);
        keep(&mut options.config.client_advertise, self.advertise);
        options.debug |= self.debug;
        options.trace |= self.trace;
        let authorization = &mut options.config.authorization;
        if self.user.is_some() || self.password.is_some() {
            // As with nats-server, users of the command line replace those of the file.
            authorization.users = vec![User {
                user: self.user,
                password: self.password.map(Into::into),
                ..User::default()
            }];
        }
        keep(&mut authorization.token, self.token.map(Into::into));
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn keep<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use super::*;

    fn line(text: &str) -> Result<Command, FlagError> {
        parse(text.split_ascii_whitespace().map(OsString::from))
    }

    #[test]
    fn one_dash_or_two_with_or_without_equals() {
        let Ok(Command::Run(flags)) =
            line("-p -1 --net=127.0.0.1 -m 0 --name x -DV -c=/a.conf --logtime=false")
        else {
            panic!("not understood");
        };
        let mut options = Options::default();
        flags.apply(&mut options);
        assert_eq!((options.host.as_str(), options.port), ("127.0.0.1", 0));
        assert_eq!(options.monitor_port, Some(0));
        assert!(options.debug && options.trace && !options.logtime);
    }

    #[test]
    fn mistakes_are_named() {
        assert_eq!(
            line("-nope").unwrap_err(),
            FlagError::Unknown("nope".into())
        );
        assert_eq!(line("-p").unwrap_err(), FlagError::NoValue("p".into()));
        assert!(matches!(line("-p 99999"), Err(FlagError::BadValue { .. })));
        assert_eq!(line("x").unwrap_err(), FlagError::Extra("x".into()));
        assert!(matches!(line("-v"), Ok(Command::Version)));
    }
}
