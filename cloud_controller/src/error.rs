//! What an action ends with when it does not succeed.

use actix_web::body::BoxBody;
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use cupola_blobstore::BlobError;
use cupola_db::{DbError, Failure};
use cupola_http::{ApiError, api_error};
use diesel::result::Error as DieselError;

use crate::sealed::SealError;

/// Either an answer for the client or a failure of the database, which the pool looks at
/// before it becomes one.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fail {
    /// The client is told this.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

// === impl Fail ===

impl Fail {
    /// The error that the client reads.
    pub(crate) fn into_api(self) -> ApiError {
        match self {
            Fail::Api(error) => error,
            Fail::Database(error) if error.is_retryable() => api_error::DATABASE_ERROR
                .bare()
                .with_status(StatusCode::SERVICE_UNAVAILABLE)
                .caused_by(error),
            Fail::Database(error) => api_error::DATABASE_ERROR.bare().caused_by(error),
        }
    }
}

impl Failure for Fail {
    fn database(&self) -> Option<&DieselError> {
        match self {
            Fail::Database(error) => error.database(),
            Fail::Api(_) => None,
        }
    }
}

impl From<DieselError> for Fail {
    fn from(error: DieselError) -> Self {
        Fail::Database(DbError::Query(error))
    }
}

impl From<BlobError> for Fail {
    fn from(error: BlobError) -> Self {
        Fail::Api(ApiError::internal(error))
    }
}

impl From<SealError> for Fail {
    fn from(error: SealError) -> Self {
        Fail::Api(ApiError::internal(error))
    }
}

impl From<Fail> for ApiError {
    fn from(fail: Fail) -> Self {
        fail.into_api()
    }
}

impl ResponseError for Fail {
    fn status_code(&self) -> StatusCode {
        match self {
            Fail::Api(error) => error.status_code(),
            Fail::Database(error) if error.is_retryable() => StatusCode::SERVICE_UNAVAILABLE,
            Fail::Database(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        match self {
            Fail::Api(error) => error.error_response(),
            Fail::Database(error) => {
                tracing::error!(error = %chain(error), "the database failed a request");
                let status = self.status_code();
                api_error::DATABASE_ERROR
                    .bare()
                    .with_status(status)
                    .error_response()
            }
        }
    }
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}
