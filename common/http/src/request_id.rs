//! Request ids: every request has one, every answer shows it, every log line carries it.

use std::future::{Ready, ready};
use std::time::Instant;

use actix_web::body::MessageBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::InternalError;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, FromRequest, HttpMessage as _, HttpRequest};
use tracing::Instrument as _;

use crate::api_error::ApiError;

/// The header that carries a request id in and out.
pub const HEADER: HeaderName = HeaderName::from_static("x-vcap-request-id");

/// Longest id that is taken from outside.
const MAX_LEN: usize = 255;

/// Id of one request. An actix extractor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestId(String);

// === impl RequestId ===

impl RequestId {
    /// A new random id.
    #[must_use]
    pub fn generate() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }

    /// The id as text: letters, digits and `-_.:` only, so it is inert wherever it is printed.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id that came with the request if it is inert, else a new one.
    fn take_or_make(request: &ServiceRequest) -> Self {
        let inert = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        let given = request
            .headers()
            .get(HEADER)
            .and_then(|value| value.to_str().ok());
        match given {
            Some(id) if !id.is_empty() && id.len() <= MAX_LEN && id.chars().all(inert) => {
                Self(id.to_owned())
            }
            _ => Self::generate(),
        }
    }

    fn header_value(&self) -> HeaderValue {
        HeaderValue::from_str(&self.0).unwrap_or_else(|_| HeaderValue::from_static("-"))
    }
}

impl FromRequest for RequestId {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let id = request.extensions().get::<Self>().cloned();
        ready(Ok(id.unwrap_or_else(Self::generate)))
    }
}

/// Middleware: takes or makes the id, puts it on the request, its span and its answer, writes the
/// access line and, for errors of ours, the cause. The server kit wraps every app in it.
///
/// # Errors
/// Passes on those of the inner service, with the id on their answer.
pub async fn trace<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, Error> {
    let started = Instant::now();
    let id = RequestId::take_or_make(&request);
    request.extensions_mut().insert(id.clone());
    // The path only: a query may carry a signature.
    let method = request.method().clone();
    let path = request.path().to_owned();
    let span = tracing::info_span!("request", request.id = id.as_str());
    let outcome = next.call(request).instrument(span.clone()).await;
    let _inside = span.entered();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Ok(mut response) => {
            let status = response.status().as_u16();
            tracing::debug!(%method, path, status, duration_ms, "answered");
            if let Some(error) = response.response().error() {
                log_cause(error, status);
            }
            response.headers_mut().insert(HEADER, id.header_value());
            Ok(response)
        }
        Err(error) => {
            let mut response = error.error_response();
            let status = response.status().as_u16();
            tracing::debug!(%method, path, status, duration_ms, "answered");
            log_cause(&error, status);
            response.headers_mut().insert(HEADER, id.header_value());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

/// A failure of ours is logged once, here, with everything that led to it.
fn log_cause(error: &Error, status: u16) {
    match error.as_error::<ApiError>() {
        Some(error) if status >= 500 => {
            tracing::error!(
                status,
                error = error as &dyn std::error::Error,
                "request failed"
            );
        }
        Some(error) => {
            tracing::debug!(
                status,
                error = error as &dyn std::error::Error,
                "request refused"
            );
        }
        None if status >= 500 => tracing::error!(status, %error, "request failed"),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use actix_web::middleware::from_fn;
    use actix_web::test::{TestRequest, call_service, init_service, read_body};
    use actix_web::{App, HttpResponse, web};

    use super::*;

    async fn echo(id: RequestId) -> HttpResponse {
        HttpResponse::Ok().body(id.as_str().to_owned())
    }

    async fn answer(given: Option<&str>) -> (String, String) {
        let app = App::new()
            .wrap(from_fn(trace))
            .route("/", web::get().to(echo));
        let app = init_service(app).await;
        let mut request = TestRequest::get().uri("/");
        if let Some(given) = given {
            request = request.insert_header((HEADER, given));
        }
        let response = call_service(&app, request.to_request()).await;
        let header = response.headers().get(HEADER).and_then(|v| v.to_str().ok());
        let header = header.unwrap_or_default().to_owned();
        (
            header,
            String::from_utf8_lossy(&read_body(response).await).into_owned(),
        )
    }

    #[actix_web::test]
    async fn keeps_a_given_id_and_shows_it_to_handler_and_client() {
        let (header, seen) = answer(Some("abc-1::2")).await;
        assert_eq!((header.as_str(), seen.as_str()), ("abc-1::2", "abc-1::2"));
    }

    #[actix_web::test]
    async fn makes_an_id_where_there_is_none_or_a_bad_one() {
        for given in [
            None,
            Some(""),
            Some("a b"),
            Some("<x>"),
            Some(&*"a".repeat(300)),
        ] {
            let (header, seen) = answer(given).await;
            assert_eq!(header.len(), 36, "{given:?}");
            assert_eq!(header, seen);
        }
    }
}
