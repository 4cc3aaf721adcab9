//! What exists from the start: known groups, clients, the first admin.
//!
//! Runs at every start and changes only what is not as configured, so a start on a folder that is
//! in order reads three small tables, writes nothing and hashes nothing.

use cupola_db::{Conn, Db, Json};
use serde::Serialize;

use crate::config::{Config, FirstAdmin, SeedClient};
use crate::model::client::{self, AutoApprove, Client};
use crate::model::user::{self, INTERNAL, User};
use crate::model::{group, random_hex};
use crate::password::Hasher;
use crate::refusal::Refusal;
use crate::scope::{FIRST_ADMIN, KNOWN_GROUPS};
use crate::seal::Seal;
use secrecy::{ExposeSecret as _, SecretString};

/// What there is before anything is done.
struct Found {
    groups: Vec<String>,
    seeds: Vec<(String, Option<String>)>,
    has_admin: bool,
}

/// Brings the database in line with `config`.
pub(crate) async fn run(
    db: &Db,
    hasher: &Hasher,
    seal: &Seal,
    config: &Config,
) -> Result<(), Refusal> {
    let admin_name = config.admin.as_ref().map(|admin| admin.user_name.clone());
    let found = db
        .read(move |c| {
            let admin = admin_name.as_deref();
            let admin = admin
                .map(|name| user::find_by_name(c, INTERNAL, name))
                .transpose()?;
            Ok::<_, Refusal>(Found {
                groups: group::names(c)?,
                seeds: client::seeds(c)?,
                has_admin: admin.flatten().is_some(),
            })
        })
        .await?;
    let missing: Vec<&str> = KNOWN_GROUPS
        .iter()
        .copied()
        .filter(|k| !found.groups.iter().any(|g| g == k))
        .collect();
    let clients = changed_clients(&found, hasher, seal, config).await?;
    let admin = match &config.admin {
        Some(admin) if !found.has_admin => Some(first_admin(admin, hasher).await?),
        _ => None,
    };
    if missing.is_empty() && clients.is_empty() && admin.is_none() {
        return Ok(());
    }
    db.write(move |c| {
        for name in &missing {
            group::ensure(c, name)?;
        }
        for client in &clients {
            store(c, client)?;
        }
        if let Some(admin) = &admin {
            make_admin(c, admin)?;
        }
        Ok::<_, Refusal>(())
    })
    .await
}

fn store(c: &mut Conn, client: &Client) -> Result<(), Refusal> {
    match client::find(c, &client.id)? {
        Some(before) => {
            let created_at = before.created_at;
            client::update(
                c,
                &Client {
                    created_at,
                    ..client.clone()
                },
            )?;
        }
        None => client::insert(c, client)?,
    }
    Ok(())
}

/// Another UAA may have made him meanwhile; then he stays as he is.
fn make_admin(c: &mut Conn, admin: &User) -> Result<(), Refusal> {
    if user::find_by_name(c, INTERNAL, &admin.user_name)?.is_some() {
        return Ok(());
    }
    user::insert(c, admin)?;
    for name in FIRST_ADMIN {
        let group = group::ensure(c, name)?;
        group::add_member(c, &group, &admin.id)?;
    }
    tracing::info!(user.name = admin.user_name, "made the first admin");
    Ok(())
}

async fn first_admin(admin: &FirstAdmin, hasher: &Hasher) -> Result<User, Refusal> {
    let mut user = User::new(INTERNAL, &admin.user_name);
    if let Some(email) = &admin.email {
        user.email.clone_from(email);
    }
    user.given_name.clone_from(&admin.user_name);
    user.family_name.clone_from(&admin.user_name);
    user.password_hash = Some(hasher.hash(&admin.password).await?);
    Ok(user)
}

/// The clients whose configuration is not the one that their rows were made from.
async fn changed_clients(
    found: &Found,
    hasher: &Hasher,
    seal: &Seal,
    config: &Config,
) -> Result<Vec<Client>, Refusal> {
    let cf = SeedClient::new("cf", SecretString::default());
    let overridden = config.clients.iter().any(|client| client.id == cf.id);
    let built_in = (!overridden).then_some(&cf);
    let issuer = config.issuer.as_str().trim_end_matches('/');
    let mut changed = Vec::new();
    for seed in built_in.into_iter().chain(&config.clients) {
        let mut client = resolve(seed, issuer);
        let fingerprint = fingerprint(seal, &client, &seed.secret);
        let known = found.seeds.iter().find(|(id, _)| *id == client.id);
        if known.is_some_and(|(_, seed)| seed.as_deref() == Some(&fingerprint)) {
            continue;
        }
        let secret = match seed.secret.expose_secret() {
            "" => String::new(),
            _ => hasher.hash(&seed.secret).await?,
        };
        client.secrets = Json(vec![secret]);
        client.seed = Some(fingerprint);
        client.salt = random_hex();
        changed.push(client);
    }
    Ok(changed)
}

fn fingerprint(seal: &Seal, client: &Client, secret: &SecretString) -> String {
    #[derive(Serialize)]
    struct Seeded<'a> {
        lists: [&'a Vec<String>; 4],
        auto_approve: &'a AutoApprove,
        validity: [Option<i32>; 2],
        secret: &'a str,
    }
    let seeded = Seeded {
        lists: [
            &client.scopes.0,
            &client.authorities.0,
            &client.grant_types.0,
            &client.redirect_uris.0,
        ],
        auto_approve: &client.auto_approve.0,
        validity: [client.access_validity, client.refresh_validity],
        secret: secret.expose_secret(),
    };
    seal.fingerprint(&serde_json::to_vec(&seeded).unwrap_or_default())
}

/// The client as configured, filled up from what is known about its id.
fn resolve(seed: &SeedClient, issuer: &str) -> Client {
    let mut client = known(&seed.id, issuer);
    let seconds = |value: Option<u32>| value.and_then(|v| i32::try_from(v).ok());
    if let Some(scopes) = &seed.scopes {
        client.scopes = Json(scopes.clone());
    }
    if let Some(authorities) = &seed.authorities {
        client.authorities = Json(authorities.clone());
    }
    if let Some(grant_types) = &seed.grant_types {
        client.grant_types = Json(grant_types.clone());
    }
    if let Some(redirect_uris) = &seed.redirect_uris {
        client.redirect_uris = Json(redirect_uris.clone());
    }
    if let Some(auto_approve) = &seed.auto_approve {
        client.auto_approve = Json(auto_approve.clone());
    }
    client.access_validity = seconds(seed.access_token_seconds).or(client.access_validity);
    client.refresh_validity = seconds(seed.refresh_token_seconds).or(client.refresh_validity);
    client
}

/// The clients of the platform. All but `cf` and `ssh-proxy` act for themselves.
fn known(id: &str, issuer: &str) -> Client {
    let list = |text: &str| Json(text.split_whitespace().map(str::to_owned).collect());
    let mut client = Client::new(id);
    client.grant_types = list("client_credentials");
    let authorities = match id {
        "cf" => {
            client.grant_types = list("password refresh_token");
            client.scopes = list(
                "network.admin network.write cloud_controller.read cloud_controller.write \
                 cloud_controller.admin cloud_controller.admin_read_only \
                 cloud_controller.global_auditor openid password.write scim.read scim.write \
                 doppler.firehose uaa.user routing.router_groups.read \
                 routing.router_groups.write clients.read",
            );
            client.access_validity = Some(1_200);
            client.refresh_validity = Some(2_592_000);
            "uaa.none"
        }
        "ssh-proxy" => {
            client.grant_types = list("authorization_code refresh_token");
            client.scopes =
                list("openid cloud_controller.read cloud_controller.write cloud_controller.admin");
            client.redirect_uris = Json(vec![format!("{issuer}/login")]);
            client.auto_approve = Json(AutoApprove::All(true));
            "uaa.none"
        }
        "admin" => {
            "clients.read clients.write clients.secret clients.admin uaa.admin scim.read \
             scim.write password.write tokens.revoke"
        }
        "cloud_controller" => "scim.read scim.write scim.userids password.write uaa.resource",
        "cloud_controller_username_lookup" => "scim.userids scim.read",
        "cc-service-dashboards" => {
            client.scopes = list("openid cloud_controller_service_permissions.read");
            "clients.read clients.write clients.admin"
        }
        "doppler" => "uaa.resource",
        "gorouter" => "routing.routes.read",
        "network-policy" => "uaa.resource cloud_controller.admin_read_only",
        _ => "uaa.none",
    };
    client.authorities = list(authorities);
    client
}
