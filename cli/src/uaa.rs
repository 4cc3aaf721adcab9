//! The login server: prompts, tokens, passwords.

use std::collections::BTreeMap;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use crate::client::{ApiError, Client, Request, join};
use crate::session::{ClientCredentials, Secret, Tokens};

/// `cf:` in Base64: the public client of every command line, with an empty secret.
const PUBLIC_CLIENT: &str = "Basic Y2Y6";

/// What `/login` says: which questions to ask.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct LoginPage {
    /// Name of the field, then its kind (`text` or `password`) and label.
    #[serde(default)]
    pub(crate) prompts: BTreeMap<String, (String, String)>,
}

#[derive(Debug, Deserialize)]
struct TokenAnswer {
    access_token: Secret,
    #[serde(default)]
    refresh_token: Option<Secret>,
}

// === impl LoginPage ===

impl LoginPage {
    /// The questions for a person, text before passwords; the one-time code is not among them.
    pub(crate) fn questions(&self) -> Vec<(String, bool, String)> {
        let mut questions: Vec<(String, bool, String)> = self
            .prompts
            .iter()
            .filter(|(name, _)| *name != "passcode")
            .map(|(name, (kind, label))| (name.clone(), kind == "password", label.clone()))
            .collect();
        questions.sort_by_key(|(_, secret, _)| *secret);
        questions
    }
}

/// The questions that the login server wants asked.
pub(crate) async fn login_page(client: &Client) -> Result<LoginPage, ApiError> {
    let url = join(&client.target()?.login, "/login")?;
    client
        .send_open(&Request::new(Method::GET, url))
        .await?
        .accepted()?
        .json()
}

/// A person's tokens for the answers to the questions.
pub(crate) async fn log_in(
    client: &Client,
    answers: &[(String, String)],
    origin: Option<&str>,
) -> Result<Tokens, ApiError> {
    let mut fields = vec![("grant_type", "password"), ("scope", "")];
    fields.extend(
        answers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str())),
    );
    let mut request = token_request(client)?;
    if let Some(origin) = origin {
        let hint = json!({ "origin": origin }).to_string();
        request
            .url
            .query_pairs_mut()
            .append_pair("login_hint", &hint);
    }
    let answer = ask(client, &request.form(&fields).authorization(PUBLIC_CLIENT)).await?;
    Ok(Tokens {
        access: answer.access_token,
        refresh: answer.refresh_token,
        client: None,
    })
}

/// A client's token. It is sent by form, without basic authentication, as `cf` does.
pub(crate) async fn log_in_client(
    client: &Client,
    credentials: ClientCredentials,
) -> Result<Tokens, ApiError> {
    let fields = [
        ("grant_type", "client_credentials"),
        ("client_id", credentials.id.as_str()),
        ("client_secret", credentials.secret.reveal()),
    ];
    let answer = ask(client, &token_request(client)?.form(&fields)).await?;
    Ok(Tokens {
        access: answer.access_token,
        refresh: None,
        client: Some(credentials),
    })
}

/// New tokens for ended ones.
pub(crate) async fn renew(client: &Client, ended: &Tokens) -> Result<Tokens, ApiError> {
    let renewed = match (&ended.client, &ended.refresh) {
        (Some(credentials), _) => log_in_client(client, credentials.clone()).await,
        (None, Some(refresh)) => renew_person(client, refresh).await,
        (None, None) => return Err(ApiError::LoginExpired),
    };
    renewed.map_err(|error| match error.refusal() {
        // Only a refusal of the grant itself means that the person has to act.
        Some(refusal) if matches!(refusal.status.as_u16(), 400 | 401 | 403) => {
            ApiError::LoginExpired
        }
        _ => error,
    })
}

async fn renew_person(client: &Client, refresh: &Secret) -> Result<Tokens, ApiError> {
    let fields = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh.reveal()),
        ("scope", ""),
    ];
    let request = token_request(client)?
        .form(&fields)
        .authorization(PUBLIC_CLIENT);
    let answer = ask(client, &request).await?;
    Ok(Tokens {
        access: answer.access_token,
        // A server that does not rotate may leave it out.
        refresh: Some(answer.refresh_token.unwrap_or_else(|| refresh.clone())),
        client: None,
    })
}

/// Sets a new password for whoever is logged in.
pub(crate) async fn change_password(
    client: &Client,
    user_id: &str,
    old: &Secret,
    new: &Secret,
) -> Result<(), ApiError> {
    let url = join(&client.target()?.uaa, &format!("/Users/{user_id}/password"))?;
    let body = json!({ "oldPassword": old.reveal(), "password": new.reveal() });
    client
        .send(&Request::new(Method::PUT, url).json(&body)?)
        .await
        .map(drop)
}

fn token_request(client: &Client) -> Result<Request, ApiError> {
    let url = join(&client.target()?.login, "/oauth/token")?;
    Ok(Request::new(Method::POST, url))
}

async fn ask(client: &Client, request: &Request) -> Result<TokenAnswer, ApiError> {
    client.send_open(request).await?.accepted()?.json()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]
    use super::*;

    #[test]
    fn text_is_asked_before_passwords_and_the_one_time_code_not_at_all() {
        let page: LoginPage = serde_json::from_value(json!({
            "prompts": {
                "passcode": ["password", "Code"],
                "password": ["password", "Password"],
                "username": ["text", "Email"],
            },
        }))
        .unwrap();
        let names: Vec<_> = page
            .questions()
            .into_iter()
            .map(|(name, secret, _)| (name, secret))
            .collect();
        assert_eq!(
            names,
            [
                ("username".to_owned(), false),
                ("password".to_owned(), true)
            ]
        );
    }
}
