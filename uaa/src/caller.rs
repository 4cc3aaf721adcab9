//! Who asks: a client by its secret, or the bearer of a token.

use actix_web::dev::Payload;
use actix_web::http::header::{AUTHORIZATION, HeaderMap};
use actix_web::{FromRequest, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cupola_http::credentials::Basic;
use cupola_http::{Claims, TokenError};
use futures_util::future::LocalBoxFuture;
use secrecy::SecretString;
use serde_json::Value;

use crate::body::Form;
use crate::model::client::{self, Client};
use crate::model::revocation;
use crate::model::user::{self, User};
use crate::refusal::Refusal;
use crate::state::Uaa;
use crate::token::revocation_signature;

/// Whoever bears a token that is good now: signed by us, not expired, not revoked, and nothing it
/// depends on has changed. An actix extractor.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) claims: Claims,
    /// All claims, as in the token.
    pub(crate) payload: Value,
    pub(crate) user: Option<User>,
    pub(crate) client: Client,
}

// === impl Caller ===

impl Caller {
    /// Whether the token holds one of `scopes`, or stands above them.
    pub(crate) fn may(&self, scopes: &[&str]) -> bool {
        self.claims.has_any_scope(scopes) || self.claims.has_scope("uaa.admin")
    }

    /// Refuses a token that holds none of `scopes`.
    pub(crate) fn require(&self, scopes: &[&str]) -> Result<(), Refusal> {
        if self.may(scopes) {
            Ok(())
        } else {
            Err(Refusal::insufficient_scope(scopes))
        }
    }

    /// Whether the caller is this user himself.
    pub(crate) fn is_user(&self, id: &str) -> bool {
        self.user.as_ref().is_some_and(|user| user.id == id)
    }

    /// Examines a token.
    pub(crate) async fn from_token(uaa: &Uaa, token: &str) -> Result<Self, Refusal> {
        let claims = uaa.keyring.verify(token).await.map_err(refuse)?;
        let payload = payload(token).ok_or_else(|| refuse(TokenError::Malformed { reason: "" }))?;
        let (user_id, client_id) = (claims.user_id.clone(), claims.client_id.clone());
        let jti = claims.token_id.clone();
        let (user, client, revoked) = uaa
            .db
            .read(move |c| {
                let user = user_id
                    .as_ref()
                    .map(|id| user::find(c, id.as_str()))
                    .transpose()?;
                let client = client::find(c, &client_id)?;
                Ok::<_, Refusal>((user.flatten(), client, revocation::exists(c, &jti)?))
            })
            .await?;
        let gone = || Refusal::invalid_token("The token has been revoked");
        let client = client.ok_or_else(gone)?;
        let inactive = user.as_ref().is_some_and(|user| !user.active);
        let missing = claims.user_id.is_some() && user.is_none();
        let signature = revocation_signature(&client, user.as_ref());
        let changed = payload.get("rev_sig").and_then(Value::as_str) != Some(&signature);
        if revoked || inactive || missing || changed {
            return Err(gone());
        }
        Ok(Self {
            claims,
            payload,
            user,
            client,
        })
    }
}

impl FromRequest for Caller {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let uaa = request.app_data::<web::Data<Uaa>>().cloned();
        let header = request.headers().get(AUTHORIZATION).cloned();
        Box::pin(async move {
            let uaa = uaa.ok_or_else(|| Refusal::internal("no state is set"))?;
            let header = header.as_ref().map(|value| value.to_str().unwrap_or("?"));
            let header = header.ok_or_else(Refusal::unauthenticated)?;
            match header.trim().split_once(' ') {
                Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                    Self::from_token(&uaa, token.trim()).await
                }
                _ => Err(Refusal::unauthenticated()),
            }
        })
    }
}

fn refuse(error: TokenError) -> Refusal {
    match error {
        TokenError::Missing => Refusal::unauthenticated(),
        TokenError::KeysUnavailable => Refusal::busy(),
        TokenError::Expired => Refusal::invalid_token("The token expired"),
        _ => Refusal::invalid_token("The token is malformed or was not issued here"),
    }
}

/// The claims of a token whose signature has been verified.
fn payload(token: &str) -> Option<Value> {
    let encoded = token.split('.').nth(1)?;
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(encoded).ok()?).ok()
}

/// The client that authenticates itself by HTTP Basic or by fields of the form.
pub(crate) async fn authenticate_client(
    uaa: &Uaa,
    headers: &HeaderMap,
    form: &Form,
) -> Result<Client, Refusal> {
    let (id, secret) = match Basic::from_headers(headers) {
        Some(basic) => (basic.user, basic.password),
        None => {
            let id = form.get("client_id").ok_or_else(Refusal::bad_client)?;
            let secret = SecretString::from(form.get("client_secret").unwrap_or_default());
            (id.to_owned(), secret)
        }
    };
    let wanted = id.clone();
    let client = uaa
        .db
        .read::<_, Refusal, _>(move |c| Ok(client::find(c, &wanted)?))
        .await?;
    let client = client.ok_or_else(Refusal::bad_client)?;
    if uaa
        .hasher
        .verify_client(&id, &secret, &client.secrets.0)
        .await?
    {
        Ok(client)
    } else {
        tracing::info!(client.id = id, "a client gave a wrong secret");
        Err(Refusal::bad_client())
    }
}
