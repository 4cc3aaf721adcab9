//! Another configuration for a running broker.

use std::fmt;
use std::net::SocketAddr;

use secrecy::ExposeSecret as _;

use crate::client::Kind;
use crate::config::{Authorization, Config, Permissions, User};
use crate::hub::Hub;
use crate::session::End;
use crate::settings::Settings;

use super::BuildError;

/// Why a configuration was not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It makes no sense.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// It changes what only a restart can change.
    #[error("config reload not supported for {field}: old={old}, new={new}")]
    Fixed {
        /// The setting.
        field: &'static str,
        /// Its value.
        old: String,
        /// What it should have become.
        new: String,
    },
}

/// Checks a configuration and puts it into force.
pub(super) fn apply(hub: &Hub, config: &Config) -> Result<(), ReloadError> {
    let old = hub.settings();
    refuse_fixed(hub, &old.config, config)?;
    let (settings, access) = Settings::compile(config)?;
    report(&old.config, config);
    let announce = old.advertised != settings.advertised
        || old.limits.max_payload != settings.limits.max_payload;
    let most = settings.limits.max_connections;
    access.apply(&hub.accounts, hub.system_client());
    hub.events.attach(hub);
    let name = config.cluster.as_ref().and_then(|it| it.name.as_deref());
    if let (Some(node), Some(name)) = (hub.cluster(), name) {
        node.rename(name);
    }
    hub.replace_settings(settings);
    if let Some(node) = hub.cluster() {
        node.apply_settings(hub, &old);
    }
    let closed = close_excess(hub, most);
    if closed > 0 {
        tracing::info!("Closed {closed} connections to fall within max_connections");
    }
    if announce {
        hub.announce();
    }
    Ok(())
}

/// Sends those away who came last, when there are more than there may be now.
fn close_excess(hub: &Hub, most: usize) -> usize {
    let mut clients = hub.clients();
    clients.retain(|client| client.kind == Kind::Client);
    clients.sort_unstable_by_key(|client| client.id);
    let excess = clients.split_off(most.min(clients.len()));
    for client in &excess {
        client.end(End::TooManyConnections);
    }
    excess.len()
}

/// Sockets and names stay: others know this server by them.
fn refuse_fixed(hub: &Hub, old: &Config, new: &Config) -> Result<(), ReloadError> {
    let port = |config: &Config| settled(config.listen, Some(hub.address)).port();
    fixed("Host", &old.listen.ip(), &new.listen.ip())?;
    fixed("Port", &port(old), &port(new))?;
    fixed("HTTP", &Shown(&old.monitor), &Shown(&new.monitor))?;
    fixed(
        "HTTPS",
        &Shown(&old.monitor_https),
        &Shown(&new.monitor_https),
    )?;
    fixed(
        "HTTPBasePath",
        &old.monitor_base_path,
        &new.monitor_base_path,
    )?;
    fixed(
        "ServerName",
        &Shown(&old.server_name),
        &Shown(&new.server_name),
    )?;
    fixed("NoHeaderSupport", &!old.headers, &!new.headers)?;
    let websocket = |config: &Config| {
        let listen = config.websocket.as_ref()?.listen;
        Some(settled(listen, hub.websocket_address.get().copied()))
    };
    fixed(
        "Websocket",
        &Shown(&websocket(old)),
        &Shown(&websocket(new)),
    )?;
    let listen = |config: &Config| {
        let bound = hub.cluster().map(|node| node.listen);
        let listen = config.cluster.as_ref()?.listen;
        Some(listen.map(|listen| settled(listen, bound)))
    };
    fixed(
        "cluster host and port",
        &Shown(&listen(old)),
        &Shown(&listen(new)),
    )
}

/// A port that was left to the system is the one it gave: a file may go on not naming it, or name it now.
fn settled(mut configured: SocketAddr, bound: Option<SocketAddr>) -> SocketAddr {
    if let (0, Some(bound)) = (configured.port(), bound) {
        configured.set_port(bound.port());
    }
    configured
}

fn fixed<T: PartialEq + fmt::Display>(
    field: &'static str,
    old: &T,
    new: &T,
) -> Result<(), ReloadError> {
    if old == new {
        return Ok(());
    }
    Err(ReloadError::Fixed {
        field,
        old: old.to_string(),
        new: new.to_string(),
    })
}

/// Something that need not be there, for a message.
#[derive(PartialEq)]
struct Shown<'a, T>(&'a Option<T>);

impl<T: fmt::Debug> fmt::Display for Shown<'_, T> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(value) => write!(to, "{value:?}"),
            None => to.write_str("none"),
        }
    }
}

/// Says in the log what is different.
fn report(old: &Config, new: &Config) {
    macro_rules! changed {
        ($name:literal, $($field:tt)+) => {
            if old.$($field)+ != new.$($field)+ {
                tracing::info!("Reloaded: {} = {:?}", $name, new.$($field)+);
            }
        };
    }
    changed!("max_connections", limits.max_connections);
    changed!("max_subscriptions", limits.max_subscriptions);
    changed!("max_sub_tokens", limits.max_subject_tokens);
    changed!("max_control_line", limits.max_control_line);
    changed!("max_payload", limits.max_payload);
    changed!("max_pending", limits.max_pending);
    changed!("max_memory", limits.max_memory);
    changed!("ping_interval", limits.ping_interval);
    changed!("ping_max", limits.ping_max);
    changed!("write_deadline", limits.write_deadline);
    changed!("authorization timeout", limits.auth_timeout);
    changed!("max_traced_msg_len", limits.max_traced);
    changed!("lame_duck_duration", lame_duck.duration);
    changed!("lame_duck_grace_period", lame_duck.grace_period);
    changed!("max_closed_clients", max_closed_clients);
    if let (true, Some(awake)) = (old.stay_awake != new.stay_awake, new.stay_awake) {
        tracing::info!("Reloaded: stay_awake = {awake}");
    }
    if old.client_advertise != new.client_advertise {
        let advertise = new.client_advertise.as_deref().unwrap_or_default();
        tracing::info!("Reloaded: client_advertise = {advertise}");
    }
    if old.server_tags != new.server_tags {
        tracing::info!("Reloaded: tags");
    }
    if !same_authorization(&old.authorization, &new.authorization) {
        tracing::info!("Reloaded: authorization users");
    }
    // Files may have other contents under the same name.
    match (&old.tls, &new.tls) {
        (_, Some(_)) => tracing::info!("Reloaded: tls = enabled"),
        (Some(_), None) => tracing::info!("Reloaded: tls = disabled"),
        (None, None) => {}
    }
    if !old.accounts.is_empty() || !new.accounts.is_empty() {
        tracing::info!("Reloaded: accounts");
    }
    if new.cluster.as_ref().is_some_and(|it| it.tls.is_some()) {
        tracing::info!("Reloaded: cluster");
    }
    let routes = |config: &Config| -> Vec<String> {
        let routes = config.cluster.iter().flat_map(|it| &it.routes);
        routes.map(ToString::to_string).collect()
    };
    if routes(old) != routes(new) {
        tracing::info!("Reloaded: cluster routes");
    }
    // As with the certificates of clients.
    if new.cluster.as_ref().is_some_and(|it| it.tls.is_some()) {
        tracing::info!("Reloaded: cluster tls");
    }
}

fn same_authorization(one: &Authorization, other: &Authorization) -> bool {
    let secret = |secret: &Option<secrecy::SecretString>| {
        secret.as_ref().map(|it| it.expose_secret().to_owned())
    };
    let user = |one: &User, other: &User| {
        (&one.nkey, &one.user, &one.password_file)
            == (&other.nkey, &other.user, &other.password_file)
            && secret(&one.password) == secret(&other.password)
            && same_permissions(&one.permissions, &other.permissions)
    };
    one.no_auth_user == other.no_auth_user
        && secret(&one.token) == secret(&other.token)
        && same_permissions(&one.default_permissions, &other.default_permissions)
        && one.users.len() == other.users.len()
        && one
            .users
            .iter()
            .zip(&other.users)
            .all(|(one, other)| user(one, other))
}

/// By what they say: there are no secrets in them.
fn same_permissions(one: &Option<Permissions>, other: &Option<Permissions>) -> bool {
    format!("{one:?}") == format!("{other:?}")
}
