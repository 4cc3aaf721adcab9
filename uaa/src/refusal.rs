//! Errors in UAA's shape: `{"error": "...", "error_description": "..."}`.

use std::error::Error as StdError;
use std::fmt;

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use cupola_db::{DbError, Failure};
use serde_json::{Map, Value};

use crate::scim::filter::FilterError;

/// What clients show to who mistyped.
const BAD_CREDENTIALS: &str = "Bad credentials";

/// A request is refused, with a reason that the client can act on.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    error: &'static str,
    description: String,
    extra: Map<String, Value>,
    challenge: Challenge,
    cause: Option<Box<dyn StdError + Send + Sync>>,
}

/// What a 401 tells the client to authenticate with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Challenge {
    None,
    Bearer,
    Basic,
}

// === impl Refusal ===

impl Refusal {
    fn new(status: StatusCode, error: &'static str, description: impl Into<String>) -> Self {
        Self {
            status,
            error,
            description: description.into(),
            extra: Map::new(),
            challenge: Challenge::None,
            cause: None,
        }
    }

    pub(crate) fn invalid_request(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    pub(crate) fn invalid_grant(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_grant", description)
    }

    pub(crate) fn invalid_scope(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_scope", description)
    }

    pub(crate) fn unsupported_grant_type(grant: &str) -> Self {
        let grant: String = grant.chars().take(100).collect();
        let description = format!("Unsupported grant type: {grant}");
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_grant_type",
            description,
        )
    }

    pub(crate) fn unsupported_response_type() -> Self {
        let description = "Unsupported response types: only 'code' is supported";
        Self::new(
            StatusCode::BAD_REQUEST,
            "unsupported_response_type",
            description,
        )
    }

    pub(crate) fn redirect_uri_mismatch() -> Self {
        let description = "Invalid redirect did not match one of the registered values";
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", description)
    }

    /// The client may not do this at all.
    pub(crate) fn unauthorized_client(description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized_client", description)
    }

    /// Client id or secret is wrong.
    pub(crate) fn bad_client() -> Self {
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", BAD_CREDENTIALS);
        Self {
            challenge: Challenge::Basic,
            ..refusal
        }
    }

    /// User name or password is wrong, or the account is locked.
    pub(crate) fn unauthorized(description: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", description)
    }

    pub(crate) fn bad_credentials() -> Self {
        Self::unauthorized(BAD_CREDENTIALS)
    }

    /// Whether it says that name and password do not belong together.
    pub(crate) fn is_bad_credentials(&self) -> bool {
        self.error == "unauthorized" && self.description == BAD_CREDENTIALS
    }

    /// No token was sent.
    pub(crate) fn unauthenticated() -> Self {
        let description = "Full authentication is required to access this resource";
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "unauthorized", description);
        Self {
            challenge: Challenge::Bearer,
            ..refusal
        }
    }

    /// The token is of no use (any more). Clients refresh on this one only.
    pub(crate) fn invalid_token(description: impl Into<String>) -> Self {
        let refusal = Self::new(StatusCode::UNAUTHORIZED, "invalid_token", description);
        Self {
            challenge: Challenge::Bearer,
            ..refusal
        }
    }

    pub(crate) fn access_denied(description: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "access_denied", description)
    }

    /// The token lacks all of `scopes`, one of which is needed.
    pub(crate) fn insufficient_scope(scopes: &[&str]) -> Self {
        let description = "Insufficient scope for this resource";
        let mut refusal = Self::new(StatusCode::FORBIDDEN, "insufficient_scope", description);
        refusal
            .extra
            .insert("scope".to_owned(), scopes.join(" ").into());
        Self {
            challenge: Challenge::Bearer,
            ..refusal
        }
    }

    pub(crate) fn scim(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "scim", description)
    }

    pub(crate) fn invalid_scim_resource(description: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_scim_resource",
            description,
        )
    }

    pub(crate) fn scim_not_found(what: &str, id: &str) -> Self {
        let id: String = id.chars().take(100).collect();
        let description = format!("{what} {id} does not exist");
        Self::new(
            StatusCode::NOT_FOUND,
            "scim_resource_not_found",
            description,
        )
    }

    pub(crate) fn scim_exists(description: impl Into<String>) -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "scim_resource_already_exists",
            description,
        )
    }

    pub(crate) fn member_exists() -> Self {
        let description = "The user is a member of the group already";
        Self::new(StatusCode::CONFLICT, "member_already_exists", description)
    }

    pub(crate) fn wrong_version() -> Self {
        let description = "The resource has been changed since that version";
        Self::new(
            StatusCode::PRECONDITION_FAILED,
            "scim_resource_version",
            description,
        )
    }

    pub(crate) fn invalid_password(status: StatusCode, description: impl Into<String>) -> Self {
        Self::new(status, "invalid_password", description)
    }

    pub(crate) fn invalid_client(status: StatusCode, description: impl Into<String>) -> Self {
        Self::new(status, "invalid_client", description)
    }

    pub(crate) fn not_found(error: &'static str, description: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, error, description)
    }

    pub(crate) fn method_not_allowed(method: &str) -> Self {
        let description = format!("Request method '{method}' not supported");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            description,
        )
    }

    pub(crate) fn too_large() -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request",
            "The body is too large",
        )
    }

    /// More is asked than can be done at the moment; the same may work in a second.
    pub(crate) fn busy() -> Self {
        let description = "The server is busy, please try again";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "temporarily_unavailable",
            description,
        )
    }

    /// A failure of ours; `cause` is for the log alone.
    pub(crate) fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        let description = "An internal error occurred";
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self {
            cause: Some(cause.into()),
            ..Self::new(status, "server_error", description)
        }
    }

    /// Whether it says that a token is dead (rather than that we are in trouble).
    pub(crate) fn is_invalid_token(&self) -> bool {
        self.error == "invalid_token"
    }

    /// The same refusal with another status.
    pub(crate) fn at(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Adds a field to the body.
    pub(crate) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    fn challenge(&self) -> Option<String> {
        let quoted = |text: &str| text.replace(['"', '\\'], "'");
        match self.challenge {
            Challenge::None => None,
            Challenge::Basic => Some("Basic realm=\"UAA/client\"".to_owned()),
            Challenge::Bearer => Some(format!(
                "Bearer realm=\"UAA/oauth\", error=\"{}\", error_description=\"{}\"",
                self.error,
                quoted(&self.description)
            )),
        }
    }
}

/// For the log, so with the cause.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error, self.description)?;
        let mut cause = self.cause.as_deref().map(|cause| cause as &dyn StdError);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

impl StdError for Refusal {}

impl ResponseError for Refusal {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let mut body = self.extra.clone();
        body.insert("error".to_owned(), self.error.into());
        body.insert(
            "error_description".to_owned(),
            self.description.clone().into(),
        );
        if self.error.contains("scim") {
            body.insert("message".to_owned(), self.description.clone().into());
        }
        let mut response = HttpResponse::build(self.status);
        response.insert_header((CACHE_CONTROL, "no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.insert_header((RETRY_AFTER, "1"));
        }
        if let Some(value) = self
            .challenge()
            .and_then(|c| HeaderValue::from_str(&c).ok())
        {
            response.insert_header((WWW_AUTHENTICATE, value));
        }
        response.json(body)
    }
}

impl From<DbError> for Refusal {
    fn from(error: DbError) -> Self {
        if error.is_retryable() {
            return Self {
                cause: Some(Box::new(error)),
                ..Self::busy()
            };
        }
        Self::internal(error)
    }
}

impl From<diesel::result::Error> for Refusal {
    fn from(error: diesel::result::Error) -> Self {
        DbError::Query(error).into()
    }
}

impl From<FilterError> for Refusal {
    fn from(error: FilterError) -> Self {
        Self::scim(error.to_string())
    }
}

impl Failure for Refusal {
    fn database(&self) -> Option<&diesel::result::Error> {
        match self.cause.as_deref()?.downcast_ref::<DbError>()? {
            DbError::Query(error) => Some(error),
            _ => None,
        }
    }
}
