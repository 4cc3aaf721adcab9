//! A client for itself.

use cupola_db::now;

use super::nothing_granted;
use crate::body::Form;
use crate::model::client::Client;
use crate::refusal::Refusal;
use crate::scope;
use crate::state::Uaa;
use crate::token::{Grant, TokenResponse};

pub(super) fn grant(uaa: &Uaa, client: &Client, form: &Form) -> Result<TokenResponse, Refusal> {
    // Who can be impersonated without a secret has no rights of its own.
    if client.secrets.0.iter().any(String::is_empty) {
        return Err(Refusal::unauthorized_client(
            "A client without a secret cannot do this",
        ));
    }
    let held = client.authorities.0.iter().cloned().collect();
    let requested = scope::requested(form.get("scope"));
    let scopes = match &requested {
        Some(wanted) => wanted.intersection(&held).cloned().collect(),
        None => held,
    };
    if scopes.is_empty() {
        return Err(nothing_granted());
    }
    let now = now();
    let grant = Grant {
        client,
        user: None,
        scopes,
        grant_type: "client_credentials",
        authenticated_at: now,
    };
    uaa.issue(&grant, now, false)
}
