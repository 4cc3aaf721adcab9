//! `cluster { … }`.

use crate::conf::{ConfError, Kind};
use crate::config::{Cluster, ClusterAuthorization, RoutePermissions, RouteUrl, SubjectRules};

use super::read::{Address, Field};
use super::{auth, tls};

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
    let mut in_authorization = None;
    for entry in field.map()?.entries() {
        let field = Field(entry);
        match entry.key.to_ascii_lowercase().as_str() {
            "name" => cluster.name = Some(field.text()?),
            "listen" => address = field.listen()?,
            "host" | "net" => address.host = Some(field.text()?),
            "port" => address.port = field.port()?,
            "authorization" => {
                (cluster.authorization, in_authorization) = authorization(field)?;
            }
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
            "permissions" => cluster.permissions = Some(permissions(field)?),
            _ => field.unknown(&KNOWN)?,
        }
    }
    cluster.permissions = cluster.permissions.or(in_authorization);
    Ok((cluster, address))
}

/// Credentials, and the permissions that used to stand beside them.
fn authorization(
    field: Field<'_>,
) -> Result<(ClusterAuthorization, Option<RoutePermissions>), ConfError> {
    let section = field;
    let mut known = ClusterAuthorization::default();
    let mut granted = None;
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
            "permissions" | "default_permissions" | "default_permission" => {
                granted = Some(permissions(field)?);
            }
            _ => field.unknown(&["user", "password", "timeout", "permissions"])?,
        }
    }
    Ok((known, granted))
}

/// What crosses routes; written like the permissions of a user.
fn permissions(field: Field<'_>) -> Result<RoutePermissions, ConfError> {
    let granted = auth::permissions(field)?;
    if granted.allow_responses.is_some() {
        return Err(field.wrong("Cluster permissions do not support dynamic responses"));
    }
    let sound = |rules: &SubjectRules| {
        let mut subjects = rules.allow.iter().flatten().chain(&rules.deny);
        subjects
            .find(|subject| !crate::subject::is_valid(subject.as_bytes()))
            .map_or(Ok(()), |subject| {
                Err(field.wrong(format!("{subject:?} is not a subject")))
            })
    };
    granted
        .publish
        .iter()
        .chain(&granted.subscribe)
        .try_for_each(sound)?;
    Ok(RoutePermissions {
        import: granted.publish,
        export: granted.subscribe,
    })
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
