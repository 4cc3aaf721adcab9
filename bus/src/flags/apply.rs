//! What the command line changes in what the file said.

use cupola_bus::config::Tls;
use cupola_bus::options::{Address, Options};

use super::{ClusterFlags, FlagError, Flags, LogFlags, ServerFlags, TlsFlags};

impl Flags {
    /// Lays the flags over what the file said.
    pub(crate) fn apply(&self, options: &mut Options) -> Result<(), FlagError> {
        self.server.apply(options)?;
        self.log.apply(options);
        self.tls.apply(options)?;
        self.cluster.apply(options);
        Ok(())
    }
}

impl ServerFlags {
    fn apply(&self, options: &mut Options) -> Result<(), FlagError> {
        set(&mut options.host, &self.host);
        set(&mut options.port, &self.port);
        keep(&mut options.monitor_port, &self.monitor_port);
        keep(&mut options.monitor_https_port, &self.monitor_https_port);
        keep(&mut options.pid_file, &self.pid_file);
        keep(&mut options.ports_file_dir, &self.ports_file_dir);
        keep(&mut options.config.server_name, &self.name);
        keep(&mut options.config.client_advertise, &self.advertise);
        for flag in &self.ignored {
            if !options.ignored.contains(flag) {
                options.ignored.push(flag.clone());
            }
        }
        self.apply_login(options)
    }

    /// Who may come in, as nats-server has it: a list of users stays, beside which a token may be; of a
    /// single user name and password are replaced, and a token takes its place.
    fn apply_login(&self, options: &mut Options) -> Result<(), FlagError> {
        let accounts = options.config.accounts.iter();
        let wrong = |text| Err(FlagError::Combination(text));
        if accounts.clone().any(|account| !account.users.is_empty()) {
            if self.user.is_some() {
                return wrong("Can not have a single user/pass and accounts");
            }
            if self.token.is_some() {
                return wrong("Can not have a token and accounts");
            }
        }
        let authorization = &mut options.config.authorization;
        keep(
            &mut authorization.token,
            &self.token.clone().map(Into::into),
        );
        if options.lists_users {
            return Ok(());
        }
        let mut single = authorization.users.pop().unwrap_or_default();
        keep(&mut single.user, &self.user);
        keep(&mut single.password, &self.password.clone().map(Into::into));
        if single.user.is_some() && authorization.token.is_none() {
            single.password.get_or_insert_default();
            authorization.users.push(single);
        }
        Ok(())
    }
}

impl LogFlags {
    fn apply(&self, options: &mut Options) {
        let log = &mut options.log;
        keep(&mut log.file, &self.file);
        keep(&mut log.remote_syslog, &self.remote_syslog);
        set(&mut log.size_limit, &self.size_limit);
        set(&mut log.syslog, &self.syslog);
        set(&mut log.time, &self.time);
        set(&mut log.utc, &self.utc);
        set(&mut log.debug, &self.debug);
        set(&mut log.trace, &self.trace);
        set(&mut log.trace_verbose, &self.verbose);
        set(&mut options.config.limits.max_traced, &self.max_traced);
    }
}

impl TlsFlags {
    fn apply(&self, options: &mut Options) -> Result<(), FlagError> {
        let silent = !self.verify
            && self.cert.is_none()
            && self.key.is_none()
            && self.ca.is_none()
            && self.on.is_none();
        if silent {
            return Ok(());
        }
        if self.on == Some(false) {
            options.config.tls = None;
            return Ok(());
        }
        let wrong = |text| Err(FlagError::Combination(text));
        if self.cert.is_none() {
            return wrong("TLS Server certificate must be present and valid");
        }
        if self.key.is_none() {
            return wrong("TLS Server private key must be present and valid");
        }
        options.config.tls = Some(Tls {
            cert_file: self.cert.clone(),
            key_file: self.key.clone(),
            ca_file: self.ca.clone(),
            verify: self.verify,
            certs: Vec::new(),
            ..options.config.tls.take().unwrap_or_default()
        });
        Ok(())
    }
}

impl ClusterFlags {
    fn apply(&self, options: &mut Options) {
        match &self.listen {
            Some(None) => {
                options.config.cluster = None;
                return;
            }
            Some(Some(url)) => {
                options.cluster = Address {
                    host: Some(url.host.clone()),
                    port: Some(if self.any_port { 0 } else { url.port }),
                };
                let cluster = options.config.cluster.get_or_insert_default();
                // Whoever names no user wants none, whatever the file says.
                cluster.authorization.user = url.user.clone();
                cluster.authorization.password = url.password.clone();
            }
            None => {}
        }
        let silent = self.name.is_none()
            && self.routes.is_none()
            && self.no_advertise.is_none()
            && self.advertise.is_none()
            && self.connect_retries.is_none();
        if silent {
            return;
        }
        let cluster = options.config.cluster.get_or_insert_default();
        keep(&mut cluster.name, &self.name);
        keep(&mut cluster.advertise, &self.advertise);
        set(&mut cluster.routes, &self.routes);
        set(&mut cluster.no_advertise, &self.no_advertise);
        set(&mut cluster.connect_retries, &self.connect_retries);
    }
}

fn set<T: Clone>(place: &mut T, value: &Option<T>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

fn keep<T: Clone>(place: &mut Option<T>, value: &Option<T>) {
    if value.is_some() {
        place.clone_from(value);
    }
}
