//! `/oauth/clients`: registering clients.

use actix_web::http::StatusCode;
use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_db::{Json, now};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::body::Body;
use crate::caller::Caller;
use crate::model::client::{self, AutoApprove, Client};
use crate::model::random_hex;
use crate::refusal::Refusal;
use crate::scim::listing::ListParameters;
use crate::state::Uaa;

/// Longest id, name, scope and the like.
const MAX_TEXT: usize = 255;
/// Most entries of a list.
const MAX_ENTRIES: usize = 200;
/// The schema of client lists.
const SCHEMA: &str = "http://cloudfoundry.org/schema/scim/oauth-clients-1.0";
/// The grants that a client may have.
const GRANTS: &[&str] = &[
    "password",
    "refresh_token",
    "client_credentials",
    "authorization_code",
];

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/oauth/clients")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            web::resource("/oauth/clients/{id}")
                .route(web::get().to(get))
                .route(web::put().to(update))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/oauth/clients/{id}/secret").route(web::put().to(change_secret)));
}

/// A client to be made or changed.
#[derive(Deserialize)]
struct ClientBody {
    #[serde(default)]
    client_id: String,
    client_secret: Option<SecretString>,
    name: Option<String>,
    #[serde(default)]
    scope: Vec<String>,
    #[serde(default)]
    authorities: Vec<String>,
    #[serde(default)]
    authorized_grant_types: Vec<String>,
    #[serde(default)]
    redirect_uri: Vec<String>,
    #[serde(default)]
    autoapprove: AutoApprove,
    access_token_validity: Option<i32>,
    refresh_token_validity: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SecretChange {
    old_secret: Option<SecretString>,
    #[serde(default)]
    secret: SecretString,
    #[serde(default)]
    change_mode: ChangeMode,
}

/// What happens to the secrets of a client: at most two live side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum ChangeMode {
    Add,
    Delete,
    #[default]
    Update,
}

async fn list(
    uaa: web::Data<Uaa>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["clients.read", "clients.admin"])?;
    let parameters = ListParameters::parse(request.query_string())?;
    let (offset, limit) = (parameters.offset(), parameters.limit());
    let page = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(client::list(c, offset, limit)?));
    let (clients, total) = page.await?;
    let mut answer = parameters.answer(clients.iter().map(show).collect::<Vec<_>>(), total);
    answer.schemas = vec![SCHEMA];
    Ok(HttpResponse::Ok().json(answer))
}

async fn get(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["clients.read", "clients.admin"])?;
    let id = id.into_inner();
    let found = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(client::find(c, &id)?))
        .await?;
    Ok(match found {
        Some(client) => HttpResponse::Ok().json(show(&client)),
        None => HttpResponse::NotFound().finish(),
    })
}

async fn create(uaa: web::Data<Uaa>, caller: Caller, body: Body) -> Result<HttpResponse, Refusal> {
    caller.require(&["clients.write", "clients.admin"])?;
    let body: ClientBody = body.json()?;
    let mut client = Client::new(body.client_id.clone());
    body.apply(&mut client).map_err(bad_client)?;
    check_rights(&caller, &client)?;
    let secret = body.client_secret.unwrap_or_default();
    if client.may_use("client_credentials") && secret.expose_secret().is_empty() {
        return Err(bad_client("client_secret is needed for client_credentials"));
    }
    client.secrets = Json(vec![hash(&uaa, &secret).await?]);
    let shown = show(&client);
    uaa.db
        .write(move |c| {
            if client::find(c, &client.id)?.is_some() {
                let reason = format!("Client already exists: {}", client.id);
                return Err(Refusal::invalid_client(StatusCode::CONFLICT, reason));
            }
            Ok(client::insert(c, &client)?)
        })
        .await?;
    Ok(HttpResponse::Created().json(shown))
}

async fn update(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["clients.write", "clients.admin"])?;
    let id = id.into_inner();
    let mut body: ClientBody = body.json()?;
    body.client_id.clone_from(&id);
    let shown = uaa
        .db
        .write(move |c| {
            let mut client = client::find(c, &id)?.ok_or_else(|| no_client(&id))?;
            check_rights(&caller, &client)?;
            body.apply(&mut client).map_err(bad_client)?;
            check_rights(&caller, &client)?;
            client.updated_at = now();
            client::update(c, &client)?;
            Ok::<_, Refusal>(show(&client))
        })
        .await?;
    Ok(HttpResponse::Ok().json(shown))
}

async fn delete(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["clients.write", "clients.admin"])?;
    let id = id.into_inner();
    let shown = uaa
        .db
        .write(move |c| {
            let client = client::find(c, &id)?.ok_or_else(|| no_client(&id))?;
            check_rights(&caller, &client)?;
            client::delete(c, &id)?;
            Ok::<_, Refusal>(show(&client))
        })
        .await?;
    Ok(HttpResponse::Ok().json(shown))
}

/// Changes, adds or takes away a secret; the old tokens end with it.
async fn change_secret(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    let own = caller.user.is_none() && caller.client.id == id;
    let admin = caller.may(&["clients.admin"]);
    if !own && !admin {
        caller.require(&["clients.secret"])?;
    }
    let change: SecretChange = body.json()?;
    let wanted = id.clone();
    let found = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(client::find(c, &wanted)?))
        .await?;
    let before = found.ok_or_else(|| no_client(&id))?;
    if !admin {
        let old = change.old_secret.unwrap_or_default();
        if !uaa
            .hasher
            .verify_client(&id, &old, &before.secrets.0)
            .await?
        {
            return Err(bad_client("Previous secret is required and must be right"));
        }
    }
    if change.change_mode != ChangeMode::Delete && change.secret.expose_secret().is_empty() {
        return Err(bad_client("secret is missing"));
    }
    let hashed = match change.change_mode {
        ChangeMode::Delete => String::new(),
        _ => hash(&uaa, &change.secret).await?,
    };
    uaa.db
        .write(move |c| {
            let mut client = client::find(c, &id)?.ok_or_else(|| no_client(&id))?;
            let secrets = &mut client.secrets.0;
            match change.change_mode {
                ChangeMode::Update => *secrets = vec![hashed.clone()],
                ChangeMode::Add if secrets.len() > 1 => {
                    return Err(bad_client(
                        "client secret is either empty or has two values",
                    ));
                }
                ChangeMode::Add => secrets.push(hashed.clone()),
                ChangeMode::Delete if secrets.len() < 2 => {
                    return Err(bad_client("the client has only one secret"));
                }
                // The older one.
                ChangeMode::Delete => drop(secrets.remove(0)),
            }
            client.salt = random_hex();
            client.updated_at = now();
            client::update(c, &client)?;
            Ok::<_, Refusal>(())
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({"status": "ok", "message": "secret updated"})))
}

async fn hash(uaa: &Uaa, secret: &SecretString) -> Result<String, Refusal> {
    match secret.expose_secret() {
        "" => Ok(String::new()),
        text if text.len() > MAX_TEXT => Err(bad_client("client_secret is too long")),
        _ => uaa.hasher.hash(secret).await,
    }
}

/// Who is no admin cannot make a client that may do more than himself.
fn check_rights(caller: &Caller, client: &Client) -> Result<(), Refusal> {
    if caller.may(&["clients.admin"]) {
        return Ok(());
    }
    if client.may_use("password") {
        return Err(bad_client("only an admin can give the password grant"));
    }
    let prefix = format!("{}.", client.id);
    let own = |scope: &&String| caller.claims.has_scope(scope) || scope.starts_with(&prefix);
    let harmless = |name: &str| ["uaa.none", "openid", "uaa.resource"].contains(&name);
    let scopes_fit = client.scopes.0.iter().all(|s| harmless(s) || own(&s));
    let authorities_fit = client
        .authorities
        .0
        .iter()
        .all(|a| a != "openid" && harmless(a));
    match scopes_fit && authorities_fit {
        true => Ok(()),
        false => Err(bad_client(
            "only an admin can give rights that he has not himself",
        )),
    }
}

// === impl ClientBody ===

impl ClientBody {
    /// Puts the body's attributes on `client`, or says what is wrong with them.
    fn apply(&self, client: &mut Client) -> Result<(), String> {
        let id = self.client_id.as_str();
        if id.is_empty() || id == "uaa" || id.contains(['/', '\\']) {
            return Err(format!("'{id}' cannot be a client id"));
        }
        let grants = &self.authorized_grant_types;
        if grants.is_empty() {
            return Err("An authorized grant type must be provided.".to_owned());
        }
        if let Some(unknown) = grants
            .iter()
            .find(|grant| !GRANTS.contains(&grant.as_str()))
        {
            return Err(format!("{unknown} is not an allowed grant type."));
        }
        let has = |grant: &str| grants.iter().any(|g| g == grant);
        if has("authorization_code") && self.redirect_uri.is_empty() {
            return Err("authorization_code needs a redirect_uri".to_owned());
        }
        let lists = [&self.scope, &self.authorities, grants, &self.redirect_uri];
        if lists.iter().any(|list| list.len() > MAX_ENTRIES) {
            return Err(format!("no list may have more than {MAX_ENTRIES} entries"));
        }
        let name = self.name.as_deref().unwrap_or(id);
        let texts = lists
            .into_iter()
            .flatten()
            .map(String::as_str)
            .chain([id, name]);
        if texts.into_iter().any(|text| text.len() > MAX_TEXT) {
            return Err(format!("no attribute may have more than {MAX_TEXT} bytes"));
        }
        name.clone_into(&mut client.name);
        client.scopes = Json(or_none(&self.scope));
        client.authorities = Json(or_none(&self.authorities));
        let mut grants = grants.clone();
        if (has("password") || has("authorization_code")) && !has("refresh_token") {
            grants.push("refresh_token".to_owned());
        }
        client.grant_types = Json(grants);
        client.redirect_uris = Json(self.redirect_uri.clone());
        client.auto_approve = Json(self.autoapprove.clone());
        client.access_validity = self.access_token_validity;
        client.refresh_validity = self.refresh_token_validity;
        Ok(())
    }
}

/// An empty list becomes the placeholder for "no rights".
fn or_none(list: &[String]) -> Vec<String> {
    if list.is_empty() {
        vec!["uaa.none".to_owned()]
    } else {
        list.to_vec()
    }
}

fn show(client: &Client) -> Value {
    json!({
        "client_id": client.id,
        "name": client.name,
        "scope": client.scopes.0,
        "authorities": client.authorities.0,
        "authorized_grant_types": client.grant_types.0,
        "redirect_uri": client.redirect_uris.0,
        "autoapprove": client.auto_approve.0,
        "access_token_validity": client.access_validity,
        "refresh_token_validity": client.refresh_validity,
        "resource_ids": ["none"],
        "lastModified": client.updated_at.and_utc().timestamp_millis(),
    })
}

fn bad_client(reason: impl Into<String>) -> Refusal {
    Refusal::invalid_client(StatusCode::BAD_REQUEST, reason)
}

fn no_client(id: &str) -> Refusal {
    let id: String = id.chars().take(100).collect();
    Refusal::invalid_client(
        StatusCode::NOT_FOUND,
        format!("No client with requested id: {id}"),
    )
}
