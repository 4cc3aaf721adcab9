//! JSON request bodies: limited in size, tolerant in form, and refused with `MessageParseError`.

use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::BytesMut;
use actix_web::{FromRequest, HttpRequest};
use futures_util::StreamExt as _;
use futures_util::future::LocalBoxFuture;
use serde::de::DeserializeOwned;

use crate::api_error::{self, ApiError};

/// Largest JSON body when the room sets no [`JsonLimit`]: 1 MiB.
pub const DEFAULT_JSON_LIMIT_BYTES: usize = 1024 * 1024;

/// How long a client may take to send a JSON body.
const DEADLINE: Duration = Duration::from_secs(30);

/// Largest JSON body in bytes, put into `app_data` by a room or a scope that needs another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimit(pub usize);

/// A JSON body of type `T`.
///
/// Old clients send no content type, the wrong one, an empty body or the empty string `""` where
/// they mean "nothing"; all of these are read as `{}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Json<T> {
    type Error = ApiError;
    type Future = LocalBoxFuture<'static, Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let limit = request
            .app_data::<JsonLimit>()
            .map_or(DEFAULT_JSON_LIMIT_BYTES, |l| l.0);
        let announced = announced_length(request);
        let payload = payload.take();
        Box::pin(async move {
            if announced.is_some_and(|length| length > limit) {
                return Err(too_large(limit));
            }
            let bytes = tokio::time::timeout(DEADLINE, collect(payload, limit)).await;
            let bytes = bytes.map_err(|_| too_slow())??;
            parse(&bytes).map(Json)
        })
    }
}

/// Reads `T` out of a body, with the tolerance described at [`Json`].
///
/// # Errors
/// `MessageParseError` that says where the text departs from what is expected.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, ApiError> {
    let text = body.trim_ascii();
    let text: &[u8] = if matches!(text, b"" | b"\"\"" | b"null") {
        b"{}"
    } else {
        text
    };
    serde_json::from_slice(text).map_err(|error| api_error::MESSAGE_PARSE_ERROR.with(error))
}

fn announced_length(request: &HttpRequest) -> Option<usize> {
    request
        .headers()
        .get(CONTENT_LENGTH)?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

async fn collect(mut payload: Payload, limit: usize) -> Result<BytesMut, ApiError> {
    let mut bytes = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| {
            api_error::MESSAGE_PARSE_ERROR
                .with("the body ended early")
                .caused_by(error.to_string())
        })?;
        if bytes.len() + chunk.len() > limit {
            return Err(too_large(limit));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

fn too_slow() -> ApiError {
    api_error::MESSAGE_PARSE_ERROR
        .with("the body did not arrive in time")
        .with_status(StatusCode::REQUEST_TIMEOUT)
}

fn too_large(limit: usize) -> ApiError {
    api_error::MESSAGE_PARSE_ERROR
        .with(format_args!("the body is larger than {limit} bytes"))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use actix_web::test::TestRequest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default)]
    struct Update {
        name: Option<String>,
    }

    #[derive(Debug, Deserialize)]
    struct Create {
        #[expect(dead_code, reason = "only whether it is there matters")]
        name: String,
    }

    async fn extract<T: DeserializeOwned + 'static>(
        body: impl Into<actix_web::web::Bytes>,
        limit: usize,
    ) -> Result<Json<T>, ApiError> {
        let (request, mut payload) = TestRequest::default()
            .app_data(JsonLimit(limit))
            .set_payload(body)
            .to_http_parts();
        Json::from_request(&request, &mut payload).await
    }

    #[actix_web::test]
    async fn reads_json_without_a_content_type() {
        let Json(update) = extract::<Update>(r#"{"name":"dora","x":1}"#, 100)
            .await
            .unwrap();
        assert_eq!(update.name.as_deref(), Some("dora"));
    }

    #[actix_web::test]
    async fn nothing_in_any_spelling_is_an_empty_object() {
        for body in ["", "\"\"", "null", "  \n"] {
            assert_eq!(
                extract::<Update>(body, 100).await.unwrap().0,
                Update::default()
            );
        }
    }

    #[actix_web::test]
    async fn a_missing_field_is_named() {
        let error = extract::<Create>("{}", 100).await.unwrap_err();
        assert_eq!(error.code(), &api_error::MESSAGE_PARSE_ERROR);
        assert!(error.description().contains("name"), "{error}");
    }

    #[actix_web::test]
    async fn a_body_over_the_limit_is_refused() {
        let error = extract::<Update>(vec![b' '; 101], 100).await.unwrap_err();
        assert_eq!(actix_web::ResponseError::status_code(&error), 413);
    }
}
