//! The generated part of each role's config file. What is not set here has a default in the room.

use std::path::Path;

use anyhow::Context as _;
use cupola_types::Role;
use toml::{Table, Value, toml};

use super::{Addresses, Settings};
use crate::credentials::ADMIN;
use crate::data_folder::DataFolder;
use crate::identity::Identity;

/// User of the bulk API.
const BULK_USER: &str = "bulk_api";
/// The controller as a client of the user and token service.
const CONTROLLER_CLIENT: &str = "cloud_controller";
/// The root file system that every machine offers: a read-only view of its own `/usr`.
const STACK: &str = "cupola-host";

/// The file of `role`: who it is, how to reach the bus, what to log, and its own section.
pub(super) fn role_config(
    role: Role,
    settings: &Settings,
    identity: &Identity,
    folder: &DataFolder,
    addresses: &Addresses,
) -> anyhow::Result<Table> {
    let whom = identity.of(role)?;
    let id = whom.id.as_str();
    let mut config = toml! {
        [component]
        index = 0
        id = id
    };
    if role != Role::Bus {
        let (bus_url, seed) = (addresses.bus_url.as_str(), whom.nkey_seed.as_str());
        let inbox = whom.inbox_prefix(role);
        let bus = toml! {
            urls = [bus_url]
            nkey_seed = seed
            inbox_prefix = inbox
        };
        config.insert("bus".to_owned(), Value::Table(bus));
    }
    if let Some(log) = settings.common("log") {
        config.insert("log".to_owned(), Value::Table(log.clone()));
    }
    let own = folder.role_folder(role);
    let section = match role {
        Role::Bus => bus(identity)?,
        Role::Uaa => uaa(settings, identity, addresses, &own)?,
        Role::Loggregator => loggregator(settings, addresses),
        Role::CloudController => cloud_controller(settings, identity, addresses, &own)?,
        Role::Stager => stager(&own)?,
        Role::Dea => dea(&own)?,
        Role::Router => router(identity),
        Role::HealthManager => health_manager(identity, addresses, &own)?,
    };
    config.insert(role.as_str().to_owned(), Value::Table(section));
    Ok(config)
}

fn bus(identity: &Identity) -> anyhow::Result<Table> {
    let mut users = Vec::new();
    for role in Role::ALL.into_iter().filter(|role| *role != Role::Bus) {
        let whom = identity.of(role)?;
        let (nkey, allowed) = (whom.public_key()?, whom.permissions(role));
        let (publish, subscribe) = (allowed.publish, allowed.subscribe);
        let mut user = toml! {
            nkey = nkey
            [permissions.publish]
            allow = publish
            [permissions.subscribe]
            allow = subscribe
        };
        if allowed.allow_responses
            && let Some(Value::Table(permissions)) = user.get_mut("permissions")
        {
            let responses = toml! {
                max = 8
                expires = "2m"
            };
            permissions.insert("allow_responses".to_owned(), Value::Table(responses));
        }
        users.push(Value::Table(user));
    }
    Ok(toml! {
        server_name = "cupola"
        [authorization]
        users = users
    })
}

fn uaa(
    settings: &Settings,
    identity: &Identity,
    addresses: &Addresses,
    own: &Path,
) -> anyhow::Result<Table> {
    let issuer = addresses.external("http", addresses.uaa);
    let (database, key) = (sqlite(own, "uaa.db")?, identity.uaa_encryption_key.as_str());
    let (domain, password) = (settings.domain.as_str(), identity.admin_password.as_str());
    let secret = identity.controller_client_secret.as_str();
    Ok(toml! {
        issuer = issuer
        encryption_key = key
        domain = domain
        [database]
        url = database
        [admin]
        user_name = ADMIN
        password = password
        [[clients]]
        id = CONTROLLER_CLIENT
        secret = secret
    })
}

fn loggregator(settings: &Settings, addresses: &Addresses) -> Table {
    let (uaa, api) = (
        addresses.internal(addresses.uaa),
        addresses.internal(addresses.api),
    );
    let issuer = format!("{}/oauth/token", addresses.external("http", addresses.uaa));
    let hosts: Vec<String> = ["loggregator", "doppler", "log-cache"]
        .iter()
        .map(|name| format!("{name}.{}", settings.domain))
        .collect();
    toml! {
        uaa_url = uaa
        token_issuer = issuer
        cloud_controller_url = api
        hosts = hosts
    }
}

fn cloud_controller(
    settings: &Settings,
    identity: &Identity,
    addresses: &Addresses,
    own: &Path,
) -> anyhow::Result<Table> {
    let external = addresses.external("http", addresses.api);
    let internal = addresses.internal(addresses.api);
    let uaa_external = addresses.external("http", addresses.uaa);
    let uaa_internal = addresses.internal(addresses.uaa);
    let issuer = format!("{uaa_external}/oauth/token");
    let doppler = addresses.external("ws", addresses.logs);
    let log_cache = addresses.external("http", addresses.logs);
    let (database, domain) = (
        sqlite(own, "cloud_controller.db")?,
        settings.domain.as_str(),
    );
    let (blobs, work) = (text(&own.join("blobs"))?, text(&own.join("work"))?);
    let (signing, row) = (
        identity.signing_key.as_str(),
        identity.encryption_key.as_str(),
    );
    let bulk_password = identity.bulk_password.as_str();
    let client_secret = identity.controller_client_secret.as_str();
    let port = i64::from(addresses.http.port());
    Ok(toml! {
        external_url = external
        internal_url = internal
        domain = domain
        work_folder = work
        [database]
        url = database
        [blobstore.local]
        folder = blobs
        [uaa]
        external_url = uaa_external
        internal_url = uaa_internal
        issuer = issuer
        client_id = CONTROLLER_CLIENT
        client_secret = client_secret
        [logs]
        doppler_url = doppler
        log_cache_url = log_cache
        [secrets]
        url_signing_key = signing
        row_key = "1"
        bulk_user = BULK_USER
        bulk_password = bulk_password
        [secrets.row_keys]
        1 = row
        [info]
        apps_url_port = port
        [seed]
        stack = STACK
    })
}

fn stager(own: &Path) -> anyhow::Result<Table> {
    let folder = text(own)?;
    Ok(toml! {
        data_dir = folder
        [stacks]
        cupola-host = "host"
    })
}

fn dea(own: &Path) -> anyhow::Result<Table> {
    let folder = text(own)?;
    Ok(toml! {
        data_dir = folder
        [stacks]
        cupola-host = "host"
    })
}

fn router(identity: &Identity) -> Table {
    let password = identity.router_status_password.as_str();
    toml! {
        routes_password = password
    }
}

fn health_manager(identity: &Identity, addresses: &Addresses, own: &Path) -> anyhow::Result<Table> {
    let api = addresses.internal(addresses.api);
    let (password, state) = (
        identity.bulk_password.as_str(),
        text(&own.join("crashes.json"))?,
    );
    Ok(toml! {
        cloud_controller_url = api
        bulk_user = BULK_USER
        bulk_password = password
        state_file = state
    })
}

fn sqlite(folder: &Path, name: &str) -> anyhow::Result<String> {
    Ok(format!("sqlite://{}", text(&folder.join(name))?))
}

fn text(path: &Path) -> anyhow::Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.to_owned())
}
