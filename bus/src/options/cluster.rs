//! `cluster { … }`.

use crate::conf::{ConfError, Kind};
use crate::config::{Cluster, ClusterAuthorization, RouteUrl};

use super::read::{Address, Field};
use super::tls;

const KNOWN: [&str; 18] = [
    "name",
    "listen",
    "host",
    "port",
    "authorization",
    "routes",
    "tls",
    "advertise",
    "no_advertise",
    "connect_retries",
    "connect_backoff",
    "permissions",
    "pool_size",
    "accounts",
    "compression",
    "ping_interval",
    "ping_max",
    "write_deadline",
];

/// Reads the section; its address is still names.
pub(super) fn read(
    field: Field<'_>,
    ignored: &mut Vec<String>,
) -> Result<(Cluster, Address), ConfError> {
    let mut cluster = Cluster::default();
    let mut address = Address::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "name" => cluster.name = Some(field.text()?),
            "listen" => address = field.listen()?,
            "host" | "net" => address.host = Some(field.text()?),
            "port" => address.port = field.port()?,
            "authorization" => cluster.authorization = authorization(field)?,
            "routes" => cluster.routes = routes(field)?,
            "tls" => cluster.tls = Some(tls::read(field, tls::Of::Routes, ignored)?),
            "cluster_advertise" | "advertise" => cluster.advertise = Some(field.text()?),
            "no_advertise" => cluster.no_advertise = field.boolean()?,
            "connect_retries" => {
                cluster.connect_retries =
                    u32::try_from(field.integer()?.max(0)).unwrap_or(u32::MAX);
            }
            "connect_backoff" => cluster.connect_backoff = field.boolean()?,
            "ping_interval" => cluster.ping_interval = Some(field.duration()?),
            "ping_max" => {
                cluster.ping_max = Some(u32::try_from(field.count()?).unwrap_or(u32::MAX));
            }
            "write_deadline" => cluster.write_deadline = Some(field.duration()?),
            // One connection to each peer carries everything, uncompressed; peers agree to that.
            "pool_size" => {
                field.integer()?;
            }
            "compression" => {
                if !matches!(
                    field.value().kind,
                    Kind::Text(_) | Kind::Bool(_) | Kind::Map(_)
                ) {
                    return Err(field.kind("a boolean, a mode or a map"));
                }
                ignored.push(format!("cluster.{}", entry.key));
            }
            "write_timeout" => ignored.push(format!("cluster.{}", entry.key)),
            "accounts" => {
                field.texts()?;
                ignored.push("cluster.accounts".to_owned());
            }
            // To leave these out would let through what somebody wanted stopped.
            "permissions" => return field.unsupported(),
            _ => field.unknown(&KNOWN)?,
        }
    }
    Ok((cluster, address))
}

fn authorization(field: Field<'_>) -> Result<ClusterAuthorization, ConfError> {
    let section = field;
    let mut known = ClusterAuthorization::default();
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "user" | "username" => known.user = Some(field.text()?),
            "pass" | "password" => known.password = Some(field.text()?.into()),
            "timeout" => {
                known.timeout = field.duration_or(ClusterAuthorization::default().timeout)?;
            }
            "token" => return Err(section.wrong("Cluster authorization does not support tokens")),
            "users" => {
                return Err(section.wrong("Cluster authorization does not allow multiple users"));
            }
            "permissions" | "default_permissions" => return field.unsupported(),
            _ => field.unknown(&["user", "password", "timeout"])?,
        }
    }
    Ok(known)
}

fn routes(field: Field<'_>) -> Result<Vec<RouteUrl>, ConfError> {
    if !matches!(field.value().kind, Kind::Array(_)) {
        return Err(field.kind("an array"));
    }
    let mut routes: Vec<RouteUrl> = Vec::new();
    for text in field.texts()? {
        let route: RouteUrl = text
            .parse()
            .map_err(|error| field.wrong(format!("error parsing route url: {error}")))?;
        let known = |other: &RouteUrl| (&other.host, other.port) == (&route.host, route.port);
        if !routes.iter().any(known) {
            routes.push(route);
        }
    }
    Ok(routes)
}
