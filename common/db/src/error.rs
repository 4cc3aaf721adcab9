//! What can go wrong between a handler and its rows.

use diesel::result::{DatabaseErrorKind, Error as DieselError};
use thiserror::Error;

/// A failure of the database, as opposed to an answer nobody likes.
#[derive(Debug, Error)]
pub enum DbError {
    /// The url in the configuration cannot be used.
    #[error("database url is not usable: {0}")]
    Url(String),
    /// No connection could be made.
    #[error("cannot connect to the database: {0}")]
    Connect(String),
    /// More work is queued than the configuration allows.
    #[error("the database queue is full ({0} waiting)")]
    Busy(usize),
    /// The answer did not come within the deadline; a write was rolled back.
    #[error("the database did not answer in time")]
    Deadline,
    /// The pool was closed, or the closure panicked.
    #[error("the database worker gave no answer")]
    NoAnswer,
    /// The schema could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migrate(String),
    /// A statement failed.
    #[error("database statement failed")]
    Query(#[from] DieselError),
}

/// An error that a closure given to [`Db`](crate::Db) may return: anything that can carry a [`DbError`].
pub trait Failure: From<DbError> + Send + 'static {
    /// The database's own error inside, if that is what went wrong.
    fn database(&self) -> Option<&DieselError>;
}

// === impl DbError ===

impl DbError {
    /// Whether trying the same again later can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            DbError::Busy(_) | DbError::Deadline | DbError::Connect(_) => true,
            DbError::Query(e) => is_conflict(e) || is_connection_lost(e),
            DbError::Url(_) | DbError::NoAnswer | DbError::Migrate(_) => false,
        }
    }

    /// Whether a unique index refused the row.
    #[must_use]
    pub fn is_unique_violation(&self) -> bool {
        matches!(
            self,
            DbError::Query(DieselError::DatabaseError(
                DatabaseErrorKind::UniqueViolation,
                _
            ))
        )
    }
}

impl Failure for DbError {
    fn database(&self) -> Option<&DieselError> {
        match self {
            DbError::Query(e) => Some(e),
            _ => None,
        }
    }
}

/// Whether the transaction lost against another one and may simply be run again.
pub(crate) fn is_conflict(error: &DieselError) -> bool {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        DieselError::DatabaseError(_, info) => {
            let text = info.message();
            text.contains("deadlock detected") || text.contains("database is locked")
        }
        _ => false,
    }
}

/// Whether the connection is gone: a killed PostgreSQL backend surfaces as "unable to send" first
/// and as "closed" afterwards.
pub(crate) fn is_connection_lost(error: &DieselError) -> bool {
    match error {
        DieselError::BrokenTransactionManager => true,
        DieselError::DatabaseError(
            DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection,
            _,
        ) => true,
        DieselError::DatabaseError(_, info) => {
            let text = info.message();
            text.contains("connection closed") || text.contains("terminating connection")
        }
        _ => false,
    }
}
