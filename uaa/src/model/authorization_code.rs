//! Authorization codes: good once, for five minutes.

use chrono::NaiveDateTime;
use cupola_db::{Conn, sql};
use diesel::prelude::*;

use super::{Names, digest_id};
use crate::schema::authorization_codes;

/// A code, as kept.
#[derive(Debug, Clone, PartialEq, Queryable, Selectable, Insertable)]
#[diesel(table_name = authorization_codes)]
pub(crate) struct AuthorizationCode {
    pub(crate) id: String,
    pub(crate) user_id: String,
    pub(crate) client_id: String,
    pub(crate) scopes: Names,
    pub(crate) redirect_uri: String,
    pub(crate) challenge: Option<String>,
    pub(crate) challenge_method: Option<String>,
    pub(crate) authenticated_at: NaiveDateTime,
    pub(crate) expires_at: NaiveDateTime,
}

pub(crate) fn insert(c: &mut Conn, code: &AuthorizationCode) -> QueryResult<()> {
    sql!(c, c => diesel::insert_into(authorization_codes::table).values(code).execute(c))
        .map(|_| ())
}

/// Takes the code out; who comes second finds nothing.
pub(crate) fn redeem(c: &mut Conn, code: &str) -> QueryResult<Option<AuthorizationCode>> {
    let row: QueryResult<AuthorizationCode> = sql!(c, c => diesel::delete(
            authorization_codes::table.find(digest_id(code)))
        .returning(AuthorizationCode::as_returning())
        .get_result(c));
    row.optional()
}

/// Removes what has expired.
pub(crate) fn sweep(c: &mut Conn, now: NaiveDateTime) -> QueryResult<usize> {
    let expired = authorization_codes::table.filter(authorization_codes::expires_at.le(now));
    sql!(c, c => diesel::delete(expired).execute(c))
}
