//! `/oauth/authorize` for the bearer of a token: how a command-line client gets a code for another
//! program (`cf ssh-code`).

use actix_web::http::header::LOCATION;
use actix_web::web::{self, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use chrono::TimeDelta;
use cupola_db::{Json, now};
use url::Url;

use super::NO_STORE;
use crate::body::{Body, Form};
use crate::caller::Caller;
use crate::model::authorization_code::{self, AuthorizationCode};
use crate::model::client::{self, Client};
use crate::model::{digest_id, group, random_hex};
use crate::refusal::Refusal;
use crate::scope;
use crate::state::Uaa;

/// How long a code is good.
const VALIDITY: TimeDelta = TimeDelta::minutes(5);
/// Longest challenge (RFC 7636: 43 to 128 characters).
const MAX_CHALLENGE: usize = 128;

pub(super) fn configure(config: &mut ServiceConfig) {
    config.service(
        web::resource("/oauth/authorize")
            .route(web::get().to(by_query))
            .route(web::post().to(by_form)),
    );
}

async fn by_query(
    uaa: web::Data<Uaa>,
    request: HttpRequest,
    caller: Caller,
) -> Result<HttpResponse, Refusal> {
    authorize(
        &uaa,
        &caller,
        &Form::parse(request.query_string().as_bytes())?,
    )
    .await
}

async fn by_form(uaa: web::Data<Uaa>, caller: Caller, body: Body) -> Result<HttpResponse, Refusal> {
    authorize(&uaa, &caller, &body.form()?).await
}

/// Gives out a code for a client that needs no approval by the user.
async fn authorize(uaa: &Uaa, caller: &Caller, form: &Form) -> Result<HttpResponse, Refusal> {
    if !caller.claims.has_scope("uaa.user") {
        return Err(Refusal::insufficient_scope(&["uaa.user"]));
    }
    let user = caller.user.as_ref().ok_or_else(Refusal::unauthenticated)?;
    if form.require("response_type")? != "code" {
        return Err(Refusal::unsupported_response_type());
    }
    let client_id = form.require("client_id")?.to_owned();
    let user_id = user.id.clone();
    let (client, groups) = uaa
        .db
        .read::<_, Refusal, _>(move |c| {
            Ok((client::find(c, &client_id)?, group::of_user(c, &user_id)?))
        })
        .await?;
    let client = client.filter(|client| client.may_use("authorization_code"));
    let client = client.ok_or_else(|| {
        Refusal::unauthorized_client("The client may not use authorization codes")
    })?;
    let mut redirect = redirect_uri(&client, form.get("redirect_uri"))?;
    let requested = scope::requested(form.get("scope"));
    let held = scope::of_user(&groups);
    let scopes = scope::grant(&held, &client.scopes.0, requested.as_ref());
    if scopes.is_empty() {
        return Err(Refusal::invalid_scope(
            "None of the requested scopes is allowed",
        ));
    }
    if !scopes
        .iter()
        .all(|scope| client.auto_approve.0.covers(scope))
    {
        return Err(Refusal::access_denied(
            "The client needs an approval, for which there is no page",
        ));
    }
    let (challenge, challenge_method) = challenge(form)?;
    let code = random_hex();
    let row = AuthorizationCode {
        id: digest_id(&code),
        user_id: user.id.clone(),
        client_id: client.id,
        scopes: Json(scopes.into_iter().collect()),
        redirect_uri: form.get("redirect_uri").unwrap_or_default().to_owned(),
        challenge,
        challenge_method,
        authenticated_at: now(),
        expires_at: now() + VALIDITY,
    };
    uaa.db
        .write::<_, Refusal, _>(move |c| Ok(authorization_code::insert(c, &row)?))
        .await?;
    redirect.query_pairs_mut().append_pair("code", &code);
    if let Some(state) = form.get("state") {
        redirect.query_pairs_mut().append_pair("state", state);
    }
    let mut response = HttpResponse::Found();
    for header in NO_STORE {
        response.insert_header(header);
    }
    Ok(response
        .insert_header((LOCATION, redirect.as_str()))
        .finish())
}

/// The registered address that was asked for, or the only one there is. Compared as text: a
/// pattern here has let many a code go astray.
fn redirect_uri(client: &Client, asked: Option<&str>) -> Result<Url, Refusal> {
    let registered = match (
        asked.filter(|uri| !uri.is_empty()),
        client.redirect_uris.0.as_slice(),
    ) {
        (Some(asked), all) => all.iter().find(|uri| *uri == asked),
        (None, [only]) => Some(only),
        (None, _) => None,
    };
    let uri = registered.ok_or_else(Refusal::redirect_uri_mismatch)?;
    Url::parse(uri).map_err(|_| Refusal::redirect_uri_mismatch())
}

fn challenge(form: &Form) -> Result<(Option<String>, Option<String>), Refusal> {
    let Some(challenge) = form.get("code_challenge").filter(|c| !c.is_empty()) else {
        return Ok((None, None));
    };
    let method = form.get("code_challenge_method").unwrap_or("plain");
    if challenge.len() > MAX_CHALLENGE || !["S256", "plain"].contains(&method) {
        return Err(Refusal::invalid_request("The code challenge is unusable"));
    }
    Ok((Some(challenge.to_owned()), Some(method.to_owned())))
}
