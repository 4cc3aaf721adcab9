//! The configuration, read at the start and again when somebody asks.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use cupola_bus::options::Options;
use cupola_bus::{Handle, conf};
use secrecy::ExposeSecret as _;

use crate::flags::Flags;
use crate::log::Log;
use crate::ports::Files;

/// From this size on, messages are a burden on everybody.
const LARGE: usize = 8 << 20;

/// What can be set anew while the program runs.
#[derive(Debug)]
pub(crate) struct Reloader {
    flags: Flags,
    options: Options,
    log: Log,
    files: Files,
    handle: Handle,
}

/// Reads the configuration file, if there is one, and lays the command line over it.
pub(crate) fn read(flags: &Flags) -> anyhow::Result<Options> {
    let mut options = match &flags.config {
        Some(path) => {
            let map = conf::read(path, &conf::System)?;
            let mut options = Options::from_map(&map)?;
            if map.entries().is_empty() {
                let empty = format!("{}: config has no values or is empty", path.display());
                options.doubtful.push(empty);
            }
            options
        }
        None => Options::default(),
    };
    flags.apply(&mut options)?;
    options.resolve()?;
    Ok(options)
}

/// Says what is understood, but not as it may be meant.
pub(crate) fn warn(options: &Options) {
    for doubt in &options.doubtful {
        tracing::warn!("{doubt}");
    }
    if !options.ignored.is_empty() {
        let list = options.ignored.join(", ");
        tracing::warn!("Settings without effect in this server: {list}");
    }
    let users = &options.config.authorization.users;
    let plain = users
        .iter()
        .filter_map(|user| user.password.as_ref())
        .any(|password| !password.expose_secret().starts_with("$2"));
    if plain {
        tracing::warn!("Plaintext passwords detected, use nkeys or bcrypt");
    }
    if options.config.limits.max_payload > LARGE {
        tracing::warn!(
            "Maximum payloads over 8.00 MB are generally discouraged and could lead to poor performance"
        );
    }
}

/// Says in the log what is different about it and about files; the rest is said by who acts by it.
fn report(old: &Options, new: &Options) {
    let switch = |name: &str, old: bool, new: bool| {
        if old != new {
            tracing::info!("Reloaded: {name} = {new}");
        }
    };
    let path = |name: &str, old: &Option<PathBuf>, new: &Option<PathBuf>| {
        if old != new {
            let new = new.as_deref().unwrap_or(Path::new(""));
            tracing::info!("Reloaded: {name} = {}", new.display());
        }
    };
    switch("debug", old.log.debug, new.log.debug);
    switch("trace", old.log.trace, new.log.trace);
    switch(
        "trace_verbose",
        old.log.trace_verbose,
        new.log.trace_verbose,
    );
    switch("logtime", old.log.time, new.log.time);
    switch("logtime_utc", old.log.utc, new.log.utc);
    switch("syslog", old.log.syslog, new.log.syslog);
    path("log_file", &old.log.file, &new.log.file);
    path("pid_file", &old.pid_file, &new.pid_file);
    path("ports_file_dir", &old.ports_file_dir, &new.ports_file_dir);
}

// === impl Reloader ===

impl Reloader {
    pub(crate) fn new(
        flags: Flags,
        options: Options,
        log: Log,
        files: Files,
        handle: Handle,
    ) -> Self {
        Reloader {
            flags,
            options,
            log,
            files,
            handle,
        }
    }

    pub(crate) fn reopen_log(&self) {
        self.log.reopen();
    }

    /// Reads the configuration again. What is wrong with it is said in the log, and then nothing changes.
    pub(crate) fn reload(&mut self) {
        match self.try_reload() {
            Ok(()) => tracing::info!("Reloaded server configuration"),
            Err(error) => tracing::error!("Failed to reload server configuration: {error:#}"),
        }
    }

    fn try_reload(&mut self) -> anyhow::Result<()> {
        if self.flags.config.is_none() {
            anyhow::bail!("can only reload config when a file is provided using -c or --config");
        }
        let new = read(&self.flags)?;
        self.handle.reload(&new.config)?;
        report(&self.options, &new);
        self.log
            .apply(&self.options.log, &new.log)
            .context("the log stays as it was")?;
        self.files.put_pid(new.pid_file.as_deref())?;
        self.files.put_ports(new.ports_file_dir.as_deref())?;
        self.options = new;
        warn(&self.options);
        Ok(())
    }
}
