//! Errors of the v2 API: one type, and a table of every code the API promises.
//!
//! A handler says `Err(api_error::APP_NOT_FOUND.with(&guid))`; the client reads
//! `{"code": 100004, "description": "The app could not be found: …", "error_code": "CF-AppNotFound"}`.

mod table;

use std::error::Error as StdError;
use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

pub use table::*;

/// Content type of every JSON answer of the v2 API.
pub const JSON: &str = "application/json;charset=utf-8";

/// One row of the error table: what all errors of this name have in common.
#[derive(Debug, PartialEq, Eq)]
pub struct ErrorCode {
    /// Name without the `CF-` prefix, for example `AppNotFound`.
    pub name: &'static str,
    /// The number that old clients switch on.
    pub code: u32,
    /// HTTP status.
    pub status: u16,
    /// The sentence; each `%s` stands for one argument.
    pub template: &'static str,
}

/// An error of the v2 API on its way to the client.
///
/// The cause, if there is one, is for the log only; it never reaches the client.
#[derive(Debug, Clone)]
pub struct ApiError {
    code: &'static ErrorCode,
    status: StatusCode,
    description: String,
    http: Option<UpstreamHttp>,
    cause: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The exchange with a service broker that an error tells about (key `http` of the body).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UpstreamHttp {
    /// What was asked.
    pub uri: String,
    /// How it was asked.
    pub method: String,
    /// What came back, when anything did.
    pub status: Option<u16>,
}

#[derive(Serialize)]
struct Body<'a> {
    code: u32,
    description: &'a str,
    error_code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<&'a UpstreamHttp>,
}

// === impl ErrorCode ===

impl ErrorCode {
    /// The error without arguments, for templates without `%s`.
    #[must_use]
    pub fn bare(&'static self) -> ApiError {
        self.with_all(&[])
    }

    /// The error about one thing: `APP_NOT_FOUND.with(&guid)`.
    #[must_use]
    pub fn with(&'static self, argument: impl Display) -> ApiError {
        self.with_all(&[&argument])
    }

    /// The error about several things, in the order of the template.
    #[must_use]
    pub fn with_all(&'static self, arguments: &[&dyn Display]) -> ApiError {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let description = fill(self.template, arguments);
        ApiError {
            code: self,
            status,
            description,
            http: None,
            cause: None,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    /// An internal error; `cause` goes to the log, the client learns only that it happened.
    pub fn internal(cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        SERVER_ERROR.bare().caused_by(cause)
    }

    /// Adds what led to this error, for the log.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.cause = Some(Arc::from(cause.into()));
        self
    }

    /// Replaces the status of the table, where the same code is answered with different ones.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }

    /// Replaces the whole sentence, for texts that come from elsewhere (a broker, an operator).
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Tells which exchange with a broker failed.
    #[must_use]
    pub fn with_http(mut self, http: UpstreamHttp) -> Self {
        self.http = Some(http);
        self
    }

    /// The row of the table, to compare: `error.code() == &api_error::APP_NOT_FOUND`.
    #[must_use]
    pub fn code(&self) -> &'static ErrorCode {
        self.code
    }

    /// The sentence for the user.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// `CF-` and the name, as in the body.
    #[must_use]
    pub fn error_code(&self) -> String {
        format!("CF-{}", self.code.name)
    }

    /// The JSON body, also used inside failed jobs as `error_details`.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({
            "code": self.code.code,
            "description": self.description,
            "error_code": self.error_code(),
        })
    }
}

impl Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CF-{} ({}): {}",
            self.code.name, self.code.code, self.description
        )
    }
}

impl StdError for ApiError {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause
            .as_deref()
            .map(|cause| cause as &(dyn StdError + 'static))
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        let body = Body {
            code: self.code.code,
            description: &self.description,
            error_code: self.error_code(),
            http: self.http.as_ref(),
        };
        let mut answer = HttpResponse::build(self.status);
        if self.status == StatusCode::UNAUTHORIZED {
            answer.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        answer
            .content_type(JSON)
            .body(serde_json::to_string(&body).unwrap_or_default())
    }
}

// === what an API answers where no handler does ===

/// The answer to a path nobody serves: 404 with code 10000. Use as `default_service`.
pub async fn unknown_path() -> Result<HttpResponse, ApiError> {
    Err(NOT_FOUND.bare())
}

/// Middleware: the v2 API knows no 405; a wrong method on a known path is an unknown request.
///
/// # Errors
/// Passes on those of the inner service.
pub async fn unknown_method_is_not_found(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, actix_web::Error> {
    let response = next.call(request).await?;
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let request = response.into_parts().0;
        return Ok(ServiceResponse::new(
            request,
            NOT_FOUND.bare().error_response(),
        ));
    }
    Ok(response.map_into_boxed_body())
}

/// Marks an answer as JSON in the spelling of the v2 API.
#[must_use]
pub fn json_content_type() -> (header::HeaderName, HeaderValue) {
    (header::CONTENT_TYPE, HeaderValue::from_static(JSON))
}

/// An argument is cut at this length: it may be an outsider's text, and an answer is no place to
/// mirror megabytes.
const MAX_ARGUMENT_CHARS: usize = 2048;

fn fill(template: &str, arguments: &[&dyn Display]) -> String {
    let mut text = String::with_capacity(template.len() + 40);
    let mut arguments = arguments.iter();
    let mut pieces = template.split("%s");
    text.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        if let Some(argument) = arguments.next() {
            let mut rendered = String::new();
            // Writing to a string cannot fail; a Display that fails leaves its part out.
            let _ = write!(rendered, "{argument}");
            text.extend(rendered.chars().take(MAX_ARGUMENT_CHARS));
        }
        text.push_str(piece);
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::collections::HashSet;

    use super::*;

    #[test]
    fn fills_the_template_in_order() {
        let error = UNABLE_TO_PERFORM.with_all(&[&"rename", &"the row is locked"]);
        assert_eq!(
            error.description(),
            "rename could not be completed: the row is locked"
        );
        assert_eq!(error.error_code(), "CF-UnableToPerform");
    }

    #[test]
    fn an_argument_with_a_placeholder_is_not_filled_again() {
        let error = UNABLE_TO_PERFORM.with_all(&[&"%s", &"x"]);
        assert_eq!(error.description(), "%s could not be completed: x");
    }

    #[test]
    fn names_are_unique_and_statuses_are_errors() {
        let names: HashSet<_> = ALL.iter().map(|code| code.name).collect();
        assert_eq!(names.len(), ALL.len());
        for code in ALL {
            assert!((400..600).contains(&code.status), "{}", code.name);
            assert!(!code.template.is_empty(), "{}", code.name);
        }
    }

    #[test]
    fn numbers_are_unique_but_for_the_broker_family() {
        let mut seen = HashSet::new();
        for code in ALL.iter().filter(|code| code.code != SERVER_ERROR.code) {
            assert!(seen.insert(code.code), "{} reuses {}", code.name, code.code);
        }
    }

    #[actix_web::test]
    async fn body_has_the_three_keys_and_hides_the_cause() {
        let error = APP_NOT_FOUND.with("abc").caused_by("secret detail");
        let response = error.error_response();
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        let bytes = actix_web::body::to_bytes(response.into_body())
            .await
            .unwrap();
        insta::assert_snapshot!(
            String::from_utf8(bytes.to_vec()).unwrap(),
            @r#"{"code":100004,"description":"The app could not be found: abc","error_code":"CF-AppNotFound"}"#
        );
    }
}
