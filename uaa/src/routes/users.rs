//! `/Users`: SCIM users.

mod password;

use actix_web::http::StatusCode;
use actix_web::http::header::{ETAG, IF_MATCH, LOCATION};
use actix_web::web::{self, Path, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use cupola_db::now;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use crate::body::Body;
use crate::caller::Caller;
use crate::model::user::{self, INTERNAL, User};
use crate::model::{group, login_failure};
use crate::refusal::Refusal;
use crate::scim::json::{UserBody, only, user as to_json};
use crate::scim::listing::ListParameters;
use crate::scope::EVERY_USER;
use crate::state::Uaa;

pub(super) fn configure(config: &mut ServiceConfig) {
    config
        .service(
            web::resource("/Users")
                .route(web::get().to(list))
                .route(web::post().to(create)),
        )
        .service(
            web::resource("/Users/{id}")
                .route(web::get().to(get))
                .route(web::put().to(update))
                .route(web::delete().to(delete)),
        )
        .service(web::resource("/Users/{id}/status").route(web::patch().to(status)))
        .service(web::resource("/Users/{id}/password").route(web::put().to(password::change)));
}

async fn list(
    uaa: web::Data<Uaa>,
    caller: Caller,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.read"])?;
    let parameters = ListParameters::parse(request.query_string())?;
    let listing = parameters.users(parameters.expression(user::ATTRIBUTES)?);
    let (users, total, mut groups) = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let (users, total) = user::list(c, &listing)?;
            let ids: Vec<&str> = users.iter().map(|user| user.id.as_str()).collect();
            let groups = group::of_users(c, &ids)?;
            Ok((users, total, groups))
        })
        .await?;
    let attributes = parameters.attributes.as_deref();
    let resources = users
        .iter()
        .map(|user| {
            let groups = groups.remove(&user.id).unwrap_or_default();
            only(to_json(user, &groups, &implied()), attributes)
        })
        .collect();
    Ok(HttpResponse::Ok().json(parameters.answer(resources, total)))
}

async fn get(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    if !caller.is_user(&id) {
        caller.require(&["scim.read"])?;
    }
    let found = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            let user = user::find(c, &id)?.ok_or_else(|| Refusal::scim_not_found("User", &id))?;
            let groups = group::of_user(c, &user.id)?;
            Ok((user, groups))
        })
        .await?;
    Ok(answer(StatusCode::OK, &found.0, &found.1))
}

async fn create(uaa: web::Data<Uaa>, caller: Caller, body: Body) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write", "scim.create"])?;
    let body: UserBody = body.json()?;
    let mut user = User::new(INTERNAL, "");
    body.apply(&mut user)
        .map_err(Refusal::invalid_scim_resource)?;
    if user.origin == INTERNAL {
        let password = body.password.unwrap_or_default();
        if let Err(reason) = uaa.check_new_password(password.expose_secret()) {
            return Err(Refusal::invalid_password(StatusCode::BAD_REQUEST, reason));
        }
        user.password_hash = Some(uaa.hasher.hash(&password).await?);
    }
    let made = user.clone();
    uaa.db
        .write(move |c| {
            if let Some(existing) = user::find_by_name(c, &made.origin, &made.user_name)? {
                return Err(exists(&existing));
            }
            Ok(user::insert(c, &made)?)
        })
        .await?;
    tracing::info!(user.id = user.id, "made a user");
    Ok(answer(StatusCode::CREATED, &user, &[]))
}

async fn update(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    let id = id.into_inner();
    if !caller.is_user(&id) {
        caller.require(&["scim.write"])?;
    }
    let may_do_all = caller.may(&["scim.write"]);
    let version = expected_version(&request)?;
    let version = version.ok_or_else(|| Refusal::scim("Missing If-Match for PUT"))?;
    let body: UserBody = body.json()?;
    let (user, groups) = uaa
        .db
        .write(move |c| {
            let before = user::find(c, &id)?.ok_or_else(|| Refusal::scim_not_found("User", &id))?;
            version.check(before.version)?;
            let mut after = before.clone();
            body.apply(&mut after)
                .map_err(Refusal::invalid_scim_resource)?;
            after.origin.clone_from(&before.origin);
            if !may_do_all {
                // Of himself a user may change how he is called, not who he is.
                after.user_name.clone_from(&before.user_name);
                after.user_key.clone_from(&before.user_key);
                (after.active, after.verified) = (before.active, before.verified);
                after.external_id.clone_from(&before.external_id);
            }
            if let Some(other) = user::find_by_name(c, &after.origin, &after.user_name)?
                && other.id != after.id
            {
                return Err(exists(&other));
            }
            after.version = before.version + 1;
            after.updated_at = now();
            user::update(c, &after)?;
            let groups = group::of_user(c, &after.id)?;
            Ok((after, groups))
        })
        .await?;
    Ok(answer(StatusCode::OK, &user, &groups))
}

async fn delete(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write"])?;
    let id = id.into_inner();
    let version = expected_version(&request)?;
    let (user, groups) = uaa
        .db
        .write(move |c| {
            let user = user::find(c, &id)?.ok_or_else(|| Refusal::scim_not_found("User", &id))?;
            if let Some(version) = &version {
                version.check(user.version)?;
            }
            let groups = group::of_user(c, &id)?;
            user::delete(c, &id)?;
            Ok::<_, Refusal>((user, groups))
        })
        .await?;
    tracing::info!(user.id = user.id, "deleted a user");
    Ok(answer(StatusCode::OK, &user, &groups))
}

/// Unlocks an account: `{"locked": false}`.
async fn status(
    uaa: web::Data<Uaa>,
    caller: Caller,
    id: Path<String>,
    body: Body,
) -> Result<HttpResponse, Refusal> {
    caller.require(&["scim.write", "uaa.account_status.write"])?;
    let body: Value = body.json()?;
    if body.get("locked") != Some(&Value::Bool(false)) {
        return Err(Refusal::scim("Only {\"locked\": false} can be set"));
    }
    let id = id.into_inner();
    uaa.db
        .write(move |c| {
            if user::find(c, &id)?.is_none() {
                return Err(Refusal::scim_not_found("User", &id));
            }
            Ok(login_failure::clear(c, &id)?)
        })
        .await?;
    Ok(HttpResponse::Ok().json(json!({ "locked": false })))
}

/// The version that a change is based on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    Any,
    Exactly(i32),
}

impl Version {
    pub(super) fn check(self, current: i32) -> Result<(), Refusal> {
        match self {
            Self::Any => Ok(()),
            Self::Exactly(version) if version == current => Ok(()),
            Self::Exactly(_) => Err(Refusal::wrong_version()),
        }
    }
}

/// Reads `If-Match`.
pub(super) fn expected_version(request: &HttpRequest) -> Result<Option<Version>, Refusal> {
    let Some(value) = request.headers().get(IF_MATCH) else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim().trim_matches('"');
    match text {
        "*" => Ok(Some(Version::Any)),
        number => match number.parse() {
            Ok(version) => Ok(Some(Version::Exactly(version))),
            Err(_) => Err(Refusal::scim("If-Match is not a version")),
        },
    }
}

fn answer(status: StatusCode, user: &User, groups: &[(String, String)]) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.insert_header((ETAG, format!("\"{}\"", user.version)));
    if status == StatusCode::CREATED {
        response.insert_header((LOCATION, format!("/Users/{}", user.id)));
    }
    response.json(to_json(user, groups, &implied()))
}

fn exists(user: &User) -> Refusal {
    Refusal::scim_exists(format!("Username already in use: {}", user.user_name))
        .with("user_id", user.id.clone())
        .with("active", user.active)
        .with("verified", user.verified)
}

/// The groups that every user is in.
fn implied() -> Vec<String> {
    EVERY_USER.iter().map(|scope| (*scope).to_owned()).collect()
}
