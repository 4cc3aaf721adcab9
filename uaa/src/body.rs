//! Request bodies: limited in size and time, read as form or JSON.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;
use url::form_urlencoded;

use crate::refusal::Refusal;

/// Largest body. A group with a thousand members has about a hundred kilobytes.
const MAX_BYTES: usize = 256 * 1024;
/// How long a client may take to send it.
const DEADLINE: Duration = Duration::from_secs(15);
/// Most fields of a form.
const MAX_FIELDS: usize = 64;

/// A whole body. It may hold passwords, so it has no readable Debug.
pub(crate) struct Body(BytesMut);

/// A form. It may hold passwords, so it has no readable Debug.
#[derive(Default)]
pub(crate) struct Form(HashMap<String, String>);

// === impl Body ===

impl Body {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Refusal> {
        serde_json::from_slice(&self.0)
            .map_err(|error| Refusal::invalid_request(format!("The body is unusable: {error}")))
    }

    pub(crate) fn form(&self) -> Result<Form, Refusal> {
        Form::parse(&self.0)
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

impl FromRequest for Body {
    type Error = Refusal;
    type Future = LocalBoxFuture<'static, Result<Self, Refusal>>;

    fn from_request(_: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        Box::pin(async move {
            let collected = tokio::time::timeout(DEADLINE, collect(payload)).await;
            collected.map_err(|_| Refusal::invalid_request("The body did not arrive in time"))?
        })
    }
}

async fn collect(mut payload: Payload) -> Result<Body, Refusal> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Refusal::invalid_request("The body ended early"))?;
        if bytes.len() + chunk.len() > MAX_BYTES {
            return Err(Refusal::too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(Body(bytes))
}

// === impl Form ===

impl Form {
    /// Reads a form or a query. A field may come once (RFC 6749, 3.2).
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Refusal> {
        let mut fields = HashMap::new();
        for (name, value) in form_urlencoded::parse(text) {
            if fields.len() >= MAX_FIELDS {
                return Err(Refusal::invalid_request("Too many parameters"));
            }
            if fields
                .insert(name.into_owned(), value.into_owned())
                .is_some()
            {
                return Err(Refusal::invalid_request("A parameter is given twice"));
            }
        }
        Ok(Self(fields))
    }

    /// A field; an empty one counts as given.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A field that must be there and not be empty.
    pub(crate) fn require(&self, name: &str) -> Result<&str, Refusal> {
        match self.get(name) {
            Some(value) if !value.is_empty() => Ok(value),
            _ => Err(Refusal::invalid_request(format!(
                "The parameter '{name}' is missing"
            ))),
        }
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
