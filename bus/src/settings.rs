//! What is in force: the configuration, checked and compiled. A reload replaces it as a whole.

use std::time::Duration;

use crate::access::Access;
use crate::auth::Users;
use crate::broker::BuildError;
use crate::cluster::{RouteRights, RouteTls};
use crate::config::{Config, Limits};
use crate::doors::Door;
use crate::security::Security;
use crate::whereabouts::Advertised;

/// What connections act by.
#[derive(Debug)]
pub(crate) struct Settings {
    /// As it was read.
    pub(crate) config: Config,
    pub(crate) limits: Limits,
    pub(crate) users: Users,
    /// What secures the doors.
    pub(crate) security: Security,
    /// The address clients are to use.
    pub(crate) advertised: Option<Advertised>,
    /// The address other servers are to use.
    pub(crate) route_advertised: Option<Advertised>,
    /// What secures routes; they are in clear when absent.
    pub(crate) route_tls: Option<RouteTls>,
    /// What crosses routes; everything when absent.
    pub(crate) route_rights: Option<RouteRights>,
}

// === impl Settings ===

impl Settings {
    /// Checks and compiles a configuration; what it says of accounts is still to be applied.
    ///
    /// # Errors
    /// It makes no sense.
    pub(crate) fn compile(config: &Config) -> Result<(Self, Access), BuildError> {
        check(&config.limits)?;
        let (users, access) = Access::compile(config)?;
        let settings = Settings {
            limits: config.limits.clone(),
            security: Security::compile(config)?,
            route_tls: config
                .cluster
                .as_ref()
                .and_then(RouteTls::compile)
                .transpose()
                .map_err(BuildError::ClusterTls)?,
            route_rights: config
                .cluster
                .as_ref()
                .and_then(|cluster| cluster.permissions.as_ref())
                .map(RouteRights::compile)
                .transpose()
                .map_err(BuildError::ClusterPermissions)?,
            users,
            advertised: Advertised::read("client_advertise", config.client_advertise.as_deref())?,
            route_advertised: Advertised::read(
                "advertise of the cluster",
                (config.cluster.as_ref()).and_then(|cluster| cluster.advertise.as_deref()),
            )?,
            config: config.clone(),
        };
        Ok((settings, access))
    }
}

impl Settings {
    /// How often a silent client of a door is pinged.
    pub(crate) fn ping_interval(&self, door: Door) -> Duration {
        let websocket = self.security.websocket.as_ref();
        let own = websocket.filter(|_| door == Door::Websocket);
        own.and_then(|own| own.ping_interval)
            .unwrap_or(self.limits.ping_interval)
    }

    /// Whether the certificate a client shows says which user it is.
    pub(crate) fn maps_users(&self, door: Door) -> bool {
        let tls = match door {
            Door::Clients => self.security.tls.as_ref(),
            Door::Websocket => self
                .security
                .websocket
                .as_ref()
                .and_then(|own| own.tls.as_ref()),
            // Servers are no users.
            Door::Routes => None,
        };
        tls.is_some_and(|tls| tls.maps_users)
    }

    /// Who may come by a door.
    pub(crate) fn users_of(&self, door: Door) -> &Users {
        let websocket = self.security.websocket.as_ref();
        let own = websocket.filter(|_| door == Door::Websocket);
        own.and_then(|own| own.users.as_ref())
            .unwrap_or(&self.users)
    }
}

fn check(limits: &Limits) -> Result<(), BuildError> {
    let wrong = |text| Err(BuildError::Limits(text));
    if limits.max_payload > limits.max_pending {
        return wrong("max_payload must not be above max_pending");
    }
    if limits.max_memory > 0 && limits.max_memory / 2 < limits.max_payload {
        return wrong("max_memory must be at least twice max_payload");
    }
    if limits.max_payload >= 1_000_000_000 {
        return wrong("max_payload must be below 1 GB");
    }
    if limits.max_control_line < 64 || limits.max_control_line > 1 << 20 {
        return wrong("max_control_line must be between 64 bytes and 1 MB");
    }
    if limits.max_connections == 0 {
        return wrong("max_connections must not be 0");
    }
    if limits.ping_interval.is_zero() || limits.ping_interval > Duration::from_secs(366 * 86_400) {
        return wrong("ping_interval must be above 0 and below a year");
    }
    if limits.write_deadline.is_zero() || limits.auth_timeout.is_zero() {
        return wrong("write_deadline and the authorization timeout must not be 0");
    }
    Ok(())
}
